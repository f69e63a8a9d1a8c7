//! A partition on a worker: its reader, its buffered records, and its position.

use super::dead_letters::DeadLetters;
use super::protocol::{SlowestWatermark, Watermarks};
use crate::acceptance::{Reading, Watermark};
use crate::log::{PartitionName, PartitionProgress};
use crate::sources::{Batch, Lag, PartitionReader, Polled, SourceError};
use crate::time::Epoch;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The number of records decoded at a time. It bounds the memory of a partition.
const BATCH_RECORDS_MAX: usize = 2048;

/// A partition and its reader.
pub(super) struct Partition {
    pub(super) name: PartitionName,
    reader: Box<dyn PartitionReader>,
    pub(super) watermark: Watermark,
    /// The records read last; the events before index `next` are processed.
    pub(super) batch: Batch,
    pub(super) next: usize,
    /// The reading of the next event if it must wait, with the watermark before it in milliseconds.
    pub(super) pending_reading: Option<(Reading, Option<i64>)>,
    end: End,
    idle: bool,
    /// Whether it was idle in the previous job, and has had no new records since.
    was_idle: bool,
    /// Records before this offset are in the store: they are replayed, but not counted again.
    pub(super) live_from_offset: u64,
    /// Whether to skip it for the rest of this call of [`super::ingest::Ingest::poll`].
    pub(super) held_back: bool,
    /// For each epoch not final, the first offset that contributed, and the watermark before it.
    pub(super) replay_points: BTreeMap<Epoch, (u64, Option<i64>)>,
    /// The epoch of the last event that contributed.
    pub(super) last_epoch: Option<Epoch>,
    /// Whether it was ever polled. Its first offset is not known before.
    was_polled: bool,
    /// The number of malformed records since the last report.
    malformed: u64,
    /// The last reported progress.
    reported: Option<PartitionProgress>,
}

/// Whether the end of a partition was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    NotSeen,
    /// Seen first at `since` and again at `last`, without new records in between.
    Seen {
        since: Instant,
        last: Instant,
    },
    Exhausted,
}

impl Partition {
    pub(super) fn new(
        name: PartitionName,
        reader: Box<dyn PartitionReader>,
        watermark: Watermark,
        progress: Option<PartitionProgress>,
    ) -> Partition {
        let progress = progress.map(|at| PartitionProgress { malformed: 0, ..at });
        let next_offset = progress.as_ref().map_or(0, |at| at.replay_offset);
        Partition {
            name,
            reader,
            watermark,
            batch: Batch { next_offset, ..Batch::default() },
            next: 0,
            pending_reading: None,
            end: End::NotSeen,
            idle: false,
            was_idle: progress.as_ref().is_some_and(|at| at.idle),
            live_from_offset: progress.as_ref().map_or(0, |at| at.next_offset),
            held_back: false,
            was_polled: false,
            replay_points: BTreeMap::new(),
            last_epoch: None,
            malformed: 0,
            reported: progress,
        }
    }

    /// Whether all buffered events are processed.
    pub(super) fn is_drained(&self) -> bool {
        self.next == self.batch.events.len()
    }

    /// Whether the next record was already read by an earlier job.
    pub(super) fn is_replaying(&self) -> bool {
        self.next_offset() < self.live_from_offset
    }

    /// Returns an error if the partition ends before an offset that an earlier job has read.
    pub(super) fn check_end(&self) -> Result<(), SourceError> {
        if self.end_was_seen() && self.is_drained() && self.is_replaying() {
            let (partition, end) = (self.name.clone(), self.next_offset());
            return Err(SourceError::Shrunk { partition, end, offset: self.live_from_offset });
        }
        Ok(())
    }

    /// Returns the index of the first event in the batch at or after an offset.
    pub(super) fn first_event_from(&self, offset: u64) -> usize {
        self.batch.events.partition_point(|event| event.offset < offset)
    }

    /// Whether its end was seen, without new records since.
    pub(super) fn end_was_seen(&self) -> bool {
        self.end != End::NotSeen
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.end == End::Exhausted && self.is_drained()
    }

    pub(super) fn may_have_more(&self, now: Instant, poll_interval: Duration) -> bool {
        let end_may_have_moved = match self.end {
            End::NotSeen => true,
            End::Seen { last, .. } => now.duration_since(last) >= poll_interval,
            End::Exhausted => false,
        };
        !self.is_drained() || end_may_have_moved
    }

    pub(super) fn watermarks(&self) -> Watermarks {
        let is_active = !self.idle && !self.is_exhausted();
        let slowest = match self.watermark.at_ms() {
            _ if !is_active => SlowestWatermark::NoneActive,
            Some(at_ms) => SlowestWatermark::At(at_ms),
            None => SlowestWatermark::Unknown,
        };
        Watermarks { slowest, max_ms: self.watermark.at_ms(), exhausted: self.is_exhausted() }
    }

    /// Reads more records. Returns the number of bytes read.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        idle_timeout: Duration,
        dead_letters: &DeadLetters,
    ) -> Result<u64, SourceError> {
        self.was_polled = true;
        self.report_malformed_before(u64::MAX, dead_letters);
        self.batch.clear();
        self.next = 0;
        let polled = self.reader.poll(&mut self.batch, BATCH_RECORDS_MAX)?;
        let nothing = self.batch.bytes == 0;
        self.end = match (polled, self.end) {
            (Polled::More, _) => End::NotSeen,
            (Polled::Exhausted, _) => End::Exhausted,
            (Polled::AtEnd, End::Seen { since, .. }) if nothing => End::Seen { since, last: now },
            (Polled::AtEnd, _) => End::Seen { since: now, last: now },
        };
        self.was_idle &= nothing || self.is_replaying();
        self.idle = match self.end {
            End::Seen { since, .. } => {
                nothing && (self.was_idle || now.duration_since(since) >= idle_timeout)
            }
            _ => false,
        };
        self.held_back = nothing;
        Ok(self.batch.bytes)
    }

    /// Returns how much is left to read, and the events that are read but not processed.
    pub(super) fn lag(&self) -> Lag {
        let waiting = self.batch.events.len() - self.next;
        self.reader.lag().merge(Lag::of_records(Some(waiting as u64)))
    }

    /// Returns the offset after the last processed record.
    pub(super) fn next_offset(&self) -> u64 {
        self.batch.events.get(self.next).map_or(self.batch.next_offset, |event| event.offset)
    }

    /// Counts the malformed records before an offset and writes them to the dead letters.
    pub(super) fn report_malformed_before(&mut self, before: u64, dead_letters: &DeadLetters) {
        let settled = self.batch.malformed.partition_point(|record| record.offset < before);
        for record in self.batch.malformed.drain(..settled) {
            if record.offset >= self.live_from_offset {
                dead_letters.write(&self.name, &record);
                self.malformed += 1;
            }
        }
    }

    /// Returns its progress if it differs from the last reported one.
    pub(super) fn take_changed_progress(
        &mut self,
        dead_letters: &DeadLetters,
    ) -> Option<PartitionProgress> {
        if !self.was_polled {
            return None;
        }
        let next_offset = self.next_offset();
        let at_end = if self.is_drained() { u64::MAX } else { next_offset };
        self.report_malformed_before(at_end, dead_letters);
        let watermark_ms = match self.pending_reading {
            Some((_, before_ms)) => before_ms,
            None => self.watermark.at_ms(),
        };
        let replay =
            self.replay_points.values().min().copied().unwrap_or((next_offset, watermark_ms));
        let progress = PartitionProgress {
            partition: self.name.clone(),
            next_offset,
            watermark_ms,
            replay_offset: replay.0,
            replay_watermark_ms: replay.1,
            malformed: std::mem::take(&mut self.malformed),
            idle: self.idle || self.was_idle || self.is_exhausted(),
        };
        let unmoved = PartitionProgress { malformed: 0, ..progress.clone() };
        if progress.malformed == 0 && self.reported.as_ref() == Some(&unmoved) {
            return None;
        }
        self.reported = Some(unmoved);
        Some(progress)
    }
}
