//! The names of partitions in Kafka: `kafka:TOPIC/NUMBER`.

use crate::event::Kind;
use crate::log::PartitionName;

/// A partition in Kafka. No file has such a name, as those of files end in what they hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) topic: String,
    pub(super) number: i32,
}

impl Place {
    /// The place of a partition, if it is one in Kafka.
    pub(super) fn of(partition: &PartitionName) -> Option<Place> {
        let (topic, number) = partition.name.strip_prefix("kafka:")?.rsplit_once('/')?;
        let number = number.parse().ok().filter(|number| *number >= 0)?;
        Some(Place { topic: topic.into(), number })
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
        let place = Place { topic: "plays.v1".into(), number: 12 };
        assert_eq!(place.name(Kind::Play).to_string(), "plays kafka:plays.v1/12");
        assert_eq!(Place::of(&place.name(Kind::Play)), Some(place));
        for name in ["plays.jsonl", "kafka:plays", "kafka:plays/-1", "kafka:plays/0.jsonl"] {
            assert_eq!(Place::of(&PartitionName { kind: Kind::Play, name: name.into() }), None);
        }
    }
}
