//! What is told of a partition to people: no decision depends on it.

use super::super::holding::Reason;
use super::super::partition_state::PartitionState;
use super::{Activity, Partition};
use std::time::Instant;

impl Partition {
    /// Returns why the watermark stands still, if it does. `limit_ms` is the highest watermark that
    /// it may reach.
    pub(in crate::engine) fn reason(&self, limit_ms: Option<i64>, is_full: bool) -> Reason {
        if let Some(wait) = self.reader.waits_for() {
            return Reason::Source(wait);
        }
        if self.ask.is_some() {
            return Reason::NextPublication;
        }
        match self.pending_reading {
            Some(_) if self.judge.watermark_ms() > limit_ms => Reason::Aligned,
            Some(_) => Reason::EpochNotOpen,
            None if self.is_drained() && self.end_was_seen() => Reason::NoData,
            None if is_full => Reason::BackPressure,
            None => Reason::Reading,
        }
    }

    /// Returns how far it is read, for people. The arguments are those of [`Partition::reason`].
    pub(in crate::engine) fn state(&self, limit_ms: Option<i64>, is_full: bool) -> PartitionState {
        let is_exhausted = self.is_exhausted();
        PartitionState {
            partition: self.name.clone(),
            next_offset: self.next_offset(),
            watermark_ms: self.judge.watermark_ms(),
            lag: self.lag(),
            is_file: self.reader.file().is_some(),
            is_at_end: self.end_was_seen() && self.is_drained(),
            is_idle: is_exhausted || self.activity == Activity::Idle,
            reason: if is_exhausted { Reason::NoData } else { self.reason(limit_ms, is_full) },
            ended_at: self.ended_at,
            moved_at: Instant::now(),
        }
    }
}
