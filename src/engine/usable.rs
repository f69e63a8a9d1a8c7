//! How many of the records of a log could be used.

use crate::event::Kind;
use crate::stores::Changeset;

/// The committed records of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Those that are events.
    pub events: u64,
    /// Those that are not.
    pub malformed: u64,
}

impl Records {
    /// The number of all records.
    pub fn all(self) -> u64 {
        self.events + self.malformed
    }

    /// Whether more than a share of the records is malformed; without a share, whether all are.
    pub fn are_unusable(self, malformed_max: Option<f64>) -> bool {
        match malformed_max {
            Some(share) => self.malformed as f64 > share * self.all() as f64,
            None => self.malformed > 0 && self.events == 0,
        }
    }

    /// These records and others.
    #[must_use]
    pub fn plus(self, other: Records) -> Records {
        Records { events: self.events + other.events, malformed: self.malformed + other.malformed }
    }

    /// Whether all records are malformed, and more than a share of them, if one is given.
    pub fn are_useless(self, malformed_max: Option<f64>) -> bool {
        self.are_unusable(None) && self.are_unusable(malformed_max)
    }

    /// Returns how many of the records of a log are malformed, as text.
    pub fn describe(self, kind: Kind) -> String {
        let (malformed, all, topic) = (self.malformed, self.all(), kind.topic());
        match malformed == all {
            true => format!("all {all} records of the {topic} are malformed"),
            false => format!("{malformed} of {all} records of the {topic} are malformed"),
        }
    }

    /// Adds the records of a publication to those of each log.
    pub(super) fn add(records: &mut [Records; Kind::COUNT], changes: &Changeset) {
        for (key, counts) in changes.ledger.iter() {
            records[key.kind as usize].events += counts.accepted + counts.late + counts.future;
        }
        for at in &changes.partitions {
            records[at.partition.kind as usize].malformed += at.malformed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_unusable_above_a_share_or_if_all_are_malformed() {
        let cases = [
            (0, 0, None, false),
            (0, 1, None, true),
            (1, 99, None, false),
            (99, 1, Some(0.01), false),
            (98, 2, Some(0.01), true),
            (9, 1, Some(0.0), true),
            (9, 0, Some(0.0), false),
            (0, 9, Some(1.0), false),
        ];
        for (events, malformed, share, expected) in cases {
            assert_eq!(Records { events, malformed }.are_unusable(share), expected);
        }
        for (events, malformed, share, expected) in [
            (0, 0, None, false),
            (0, 9, None, true),
            (1, 9, None, false),
            (0, 9, Some(0.5), true),
            (1, 9, Some(0.5), false),
            (0, 9, Some(1.0), false),
        ] {
            assert_eq!(Records { events, malformed }.are_useless(share), expected);
        }
    }
}
