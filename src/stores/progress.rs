//! The progress that a store reflects, and how a publication advances it.

use crate::log::{self, PartitionName, PartitionProgress};
use crate::query::{Digests, digest};
use crate::stores::Changeset;
use crate::time::{Publication, Through};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// The progress that a store reflects, from which the next job resumes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The generation of the job that owns the store, counted from 1. Earlier jobs are fenced.
    pub generation: u64,
    /// The number of the last committed publication, counted from 1.
    pub publication: Publication,
    /// The epochs that are final.
    pub final_through: Through,
    /// The progress of every partition; `malformed` counts all its malformed records.
    #[serde(serialize_with = "serialize_list", deserialize_with = "deserialize_list")]
    pub partitions: BTreeMap<PartitionName, PartitionProgress>,
    /// The digest of the rows and showings of each epoch that has any and is not final.
    pub digests: Digests,
}

impl Progress {
    /// Applies a publication.
    ///
    /// # Panics
    /// When it is not the next publication: a bug in the engine.
    pub fn apply(&mut self, changes: &Changeset) {
        assert_eq!(changes.publication, self.publication.next(), "publications are consecutive");
        self.publication = changes.publication;
        self.final_through = self.final_through.max(changes.final_through);
        for moved in &changes.partitions {
            let before = self.partitions.get(&moved.partition);
            let malformed = before.map_or(0, |before| before.malformed) + moved.malformed;
            let progress = PartitionProgress { malformed, ..moved.clone() };
            self.partitions.insert(moved.partition.clone(), progress);
        }
        digest::merge(&mut self.digests, &changes.digests);
        self.digests.retain(|epoch, _| !self.final_through.contains(*epoch));
    }

    /// Returns the number of records between earlier progress and this. Of a partition that is new,
    /// only those count that were read.
    pub fn records_since(&self, before: &Progress) -> u64 {
        let read = self.partitions.iter().map(|(name, at)| {
            let from = before.partitions.get(name).map_or(at.replay_offset, |at| at.next_offset);
            at.next_offset.saturating_sub(from)
        });
        read.sum()
    }

    /// Returns the least watermark of the partitions that hold epochs open, in milliseconds, or the
    /// greatest of all partitions if none does.
    pub fn watermark_ms(&self) -> Option<i64> {
        log::watermark_ms(self.partitions.values())
    }
}

/// Serializes partitions as a list, as JSON keys must be strings.
fn serialize_list<S: Serializer>(
    partitions: &BTreeMap<PartitionName, PartitionProgress>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(partitions.values())
}

fn deserialize_list<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<PartitionName, PartitionProgress>, D::Error> {
    let partitions = Vec::<PartitionProgress>::deserialize(deserializer)?;
    Ok(partitions.into_iter().map(|progress| (progress.partition.clone(), progress)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;
    use crate::log::{BlockStart, Decision};
    use crate::query::Digest;
    use crate::time::Epoch;

    fn partition(name: &str, next_offset: u64, malformed: u64) -> PartitionProgress {
        PartitionProgress {
            partition: PartitionName { kind: Kind::Play, name: name.into() },
            next_offset,
            watermark_ms: Some(1_000 * next_offset as i64),
            replay_offset: 0,
            replay_watermark_ms: None,
            block: BlockStart { offset: 3, watermark_ms: Some(5), supported_ms: None },
            decisions: vec![Decision::new(4, 7_000, true)],
            malformed,
            idle: false,
            file: None,
            lost: None,
        }
    }

    fn changes(publication: u64) -> Changeset {
        Changeset { publication: Publication(publication), ..Changeset::default() }
    }

    #[test]
    fn progress_is_updated_by_publications() {
        let mut progress = Progress { generation: 3, ..Progress::default() };
        progress.apply(&Changeset {
            partitions: vec![partition("a", 5, 2), partition("b", 9, 0)],
            digests: Digests::from([(Epoch(1), Digest(10)), (Epoch(2), Digest(20))]),
            ..changes(1)
        });
        assert_eq!(progress.watermark_ms(), Some(5_000));
        progress.apply(&Changeset {
            partitions: vec![partition("a", 7, 1)],
            final_through: Through::Epoch(Epoch(1)),
            digests: Digests::from([(Epoch(2), Digest(1))]),
            ..changes(2)
        });
        // `final_through` never decreases.
        progress.apply(&changes(3));
        assert_eq!((progress.generation, progress.publication), (3, Publication(3)));
        assert_eq!(progress.final_through, Through::Epoch(Epoch(1)));
        assert_eq!(progress.digests, Digests::from([(Epoch(2), Digest(21))]));
        let partitions: Vec<_> = progress.partitions.values().cloned().collect();
        assert_eq!(partitions, [partition("a", 7, 3), partition("b", 9, 0)]);
        let json = serde_json::to_string(&progress).unwrap();
        assert_eq!(serde_json::from_str::<Progress>(&json).unwrap(), progress);
    }
}
