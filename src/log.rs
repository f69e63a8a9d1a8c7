//! Logs: the partitions that they consist of, and how far a partition was read.

use crate::event::Kind;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The identity of a partition, the same in every process and after a restart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionName {
    /// Which of the logs it belongs to.
    pub kind: Kind,
    /// Its name within its log: the path of a file, or topic and number.
    pub name: String,
}

impl fmt::Display for PartitionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.kind.topic(), self.name)
    }
}

/// How far a partition was read, as of a publication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionProgress {
    /// Which partition.
    pub partition: PartitionName,
    /// The offset after the last record that the publication accounts for.
    pub next_offset: u64,
    /// Its watermark, in milliseconds; none before its first honest event.
    pub watermark_ms: Option<i64>,
    /// The first offset that contributed to an epoch still open, or `next_offset`.
    pub replay_offset: u64,
    /// The watermark just before the replay offset.
    pub replay_watermark_ms: Option<i64>,
    /// Malformed records: all of them, or those since the publication before, as the holder says.
    pub malformed: u64,
    /// Whether it holds no epoch open: it is exhausted, or idle.
    pub idle: bool,
}

/// The least watermark of the partitions that hold epochs open, or the greatest of all if none
/// does, in milliseconds.
pub fn watermark_ms<'a>(
    partitions: impl IntoIterator<Item = &'a PartitionProgress> + Clone,
) -> Option<i64> {
    let active = partitions.clone().into_iter().filter(|progress| !progress.idle);
    match active.map(|progress| progress.watermark_ms).min() {
        Some(least_ms) => least_ms,
        None => partitions.into_iter().filter_map(|progress| progress.watermark_ms).max(),
    }
}
