//! The names of partitions in Kafka: `kafka:TOPIC/NUMBER`.

use crate::event::Kind;
use crate::log::PartitionName;

/// A partition in Kafka. No file has such a name, as those of files end in what they hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TopicPartition {
    pub(super) topic: String,
    pub(super) number: i32,
}

impl TopicPartition {
    /// The place of a partition, if it is one in Kafka.
    pub(super) fn of(partition: &PartitionName) -> Option<TopicPartition> {
        let (topic, number) = partition.name.strip_prefix("kafka:")?.rsplit_once('/')?;
        let number = number.parse().ok().filter(|number| *number >= 0)?;
        Some(TopicPartition { topic: topic.into(), number })
    }

    /// The name of this place in a log of a kind.
    pub(super) fn name(&self, kind: Kind) -> PartitionName {
        PartitionName { kind, name: format!("kafka:{}/{}", self.topic, self.number) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_from_its_name() {
        let place = TopicPartition { topic: "plays.v1".into(), number: 12 };
        assert_eq!(place.name(Kind::Play).to_string(), "plays kafka:plays.v1/12");
        assert_eq!(TopicPartition::of(&place.name(Kind::Play)), Some(place));
        for name in ["plays.jsonl", "kafka:plays", "kafka:plays/-1", "kafka:plays/0.jsonl"] {
            assert_eq!(
                TopicPartition::of(&PartitionName { kind: Kind::Play, name: name.into() }),
                None
            );
        }
    }
}
