//! The partitions of the logs, and how far each was read.

use crate::event::Kind;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of a partition, the same in every process and after a restart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionName {
    /// The log that the partition belongs to.
    pub kind: Kind,
    /// The name within the log: a file path, or a topic and partition number.
    pub name: String,
}

impl fmt::Display for PartitionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.kind.topic(), self.name)
    }
}

/// The position of a partition as of a publication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionProgress {
    /// The partition.
    pub partition: PartitionName,
    /// The offset after the last record that the publication includes.
    pub next_offset: u64,
    /// The watermark, in milliseconds; `None` before the first event that is not future.
    pub watermark_ms: Option<i64>,
    /// The first offset that contributed to an epoch not yet final; `next_offset` if there is none.
    pub replay_offset: u64,
    /// The watermark just before the replay offset, in milliseconds.
    pub replay_watermark_ms: Option<i64>,
    /// The number of malformed records: in total, or since the previous publication, depending on
    /// the containing struct.
    pub malformed: u64,
    /// Whether the partition holds no epoch open, because it is exhausted or idle.
    pub idle: bool,
}

/// Returns the lowest watermark of the partitions that hold epochs open, in milliseconds, or the
/// highest watermark of all partitions if none of them does.
pub fn watermark_ms<'a>(
    partitions: impl IntoIterator<Item = &'a PartitionProgress> + Clone,
) -> Option<i64> {
    let active = partitions.clone().into_iter().filter(|progress| !progress.idle);
    match active.map(|progress| progress.watermark_ms).min() {
        Some(least_ms) => least_ms,
        None => partitions.into_iter().filter_map(|progress| progress.watermark_ms).max(),
    }
}
