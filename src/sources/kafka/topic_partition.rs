//! The names of Kafka partitions: `kafka:TOPIC/NUMBER`.

use crate::event::Kind;
use crate::kafka::parse_partition;
use crate::log::PartitionName;

/// A Kafka partition. Its name cannot clash with a file name, which ends in a file format.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TopicPartition {
    pub(super) topic: String,
    pub(super) number: i32,
}

impl TopicPartition {
    /// Parses the name of a partition; `None` if it is not a Kafka partition.
    pub(super) fn of(partition: &PartitionName) -> Option<TopicPartition> {
        let (topic, number) = parse_partition(&partition.name)?;
        Some(TopicPartition { topic: topic.into(), number })
    }

    /// Returns the name of this partition in the log of `kind`.
    pub(super) fn name(&self, kind: Kind) -> PartitionName {
        PartitionName { kind, name: format!("kafka:{}/{}", self.topic, self.number) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_partition_is_parsed_from_its_name() {
        let topic_partition = TopicPartition { topic: "plays.v1".into(), number: 12 };
        assert_eq!(topic_partition.name(Kind::Play).to_string(), "plays kafka:plays.v1/12");
        assert_eq!(TopicPartition::of(&topic_partition.name(Kind::Play)), Some(topic_partition));
        for name in ["plays.jsonl", "kafka:plays", "kafka:plays/-1", "kafka:plays/0.jsonl"] {
            assert_eq!(
                TopicPartition::of(&PartitionName { kind: Kind::Play, name: name.into() }),
                None
            );
        }
    }
}
