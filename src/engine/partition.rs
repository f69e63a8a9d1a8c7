//! A partition on a worker: its reader, its buffered records, and its position.

mod moves;
mod shown;

use super::completing::Reached;
use super::dead_letters::DeadLetters;
use super::protocol::{SlowestWatermark, Watermarks};
use crate::acceptance::{Ahead, ClockLimit, Judge, LogEnd, Missing, Plain, Reading};
use crate::event::Event;
use crate::log::{BlockStart, Loss, PartitionName, PartitionProgress};
use crate::sources::{Batch, Lag, PartitionReader, Polled, SourceError};
use crate::time::{Definition, Epoch, Through};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The number of records decoded at a time. It bounds the memory of a partition.
const BATCH_RECORDS_MAX: usize = 2048;
/// How many idle timeouts accepted events may arrive without moving the watermark, before the
/// partition is idle.
const IDLE_UNMOVED: u32 = 10;

/// A partition and its reader.
pub(super) struct Partition {
    pub(super) name: PartitionName,
    /// Its number among those that the worker has opened.
    pub(super) number: u64,
    reader: Box<dyn PartitionReader>,
    pub(super) judge: Judge,
    /// The records read last; the events before index `next` are processed.
    pub(super) batch: Batch,
    pub(super) next: usize,
    /// The reading of the next event if it must wait, with the watermark before it in milliseconds.
    pub(super) pending_reading: Option<(Reading, Option<i64>)>,
    /// Whether the next event can be judged only when more records are read.
    needs_followers: bool,
    end: End,
    activity: Activity,
    /// The number of its request to worker 0, while it waits for the answer.
    ask: Option<u64>,
    /// Events before this offset arrived before the latest limit of the clock.
    clock_is_final_before: u64,
    /// Records before this offset are in the store: they are replayed, but not counted again.
    pub(super) live_from_offset: u64,
    /// The latest time of the records of its accepted events, in milliseconds.
    pub(super) recorded_ms: Option<i64>,
    /// Whether to skip it for the rest of this call of [`super::ingest::Ingest::poll`].
    pub(super) held_back: bool,
    /// For each epoch not final, the first offset that contributed.
    pub(super) replay_points: BTreeMap<Epoch, ReplayPoint>,
    /// The epoch of the last event that contributed.
    pub(super) last_epoch: Option<Epoch>,
    quiet: Quiet,
    /// When it was last at its end.
    ended_at: Option<Instant>,
    /// Whether it was ever polled. Its first offset is not known before.
    was_polled: bool,
    /// The number of malformed records since the last report.
    malformed: u64,
    /// What is, or may be, missing of it.
    lost: Option<Loss>,
    /// The last reported progress.
    reported: Option<PartitionProgress>,
}

/// The first event that contributed to an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReplayPoint {
    /// Its offset.
    pub(super) offset: u64,
    /// The watermark before it, in milliseconds.
    pub(super) watermark_ms: Option<i64>,
    /// The block that contains it.
    pub(super) block: BlockStart,
}

/// Whether a partition holds epochs open, and whether its events may be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    /// It holds epochs open, and its events are judged.
    Active,
    /// It was found while the job ran. It holds epochs open, and its events wait for worker 0.
    Starting,
    /// It holds no epoch open, and new events wait for worker 0.
    Idle,
}

/// What tells whether a partition is idle.
struct Quiet {
    /// Whether it was found at the start of the job.
    found_at_start: bool,
    /// The time of the last accepted event.
    accepted_at: Option<Instant>,
    /// The time when an accepted event last moved the watermark, or when it was opened.
    moved_at: Instant,
    /// The time when its end was seen first.
    first_end_at: Option<Instant>,
}

/// How much a poll has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Amount {
    /// The number of bytes, as they are in the source: a few compressed bytes can hold many
    /// records.
    pub(super) bytes: u64,
    /// The number of records, empty ones included.
    pub(super) records: u64,
    /// Whether it was found that something is, or may be, missing.
    pub(super) has_lost: bool,
}

impl Amount {
    /// Whether nothing was read.
    pub(super) fn is_nothing(self) -> bool {
        self.bytes == 0 && self.records == 0 && !self.has_lost
    }
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
        definition: &Definition,
        name: PartitionName,
        reader: Box<dyn PartitionReader>,
        block: BlockStart,
        progress: Option<PartitionProgress>,
        found_at_start: bool,
    ) -> Partition {
        let progress = progress.map(|at| PartitionProgress { malformed: 0, ..at });
        let decisions = progress.as_ref().map(|at| at.decisions.clone()).unwrap_or_default();
        Partition {
            name,
            number: 0,
            reader,
            judge: Judge::resume(definition, block, decisions),
            batch: Batch { next_offset: block.offset, ..Batch::default() },
            next: 0,
            pending_reading: None,
            needs_followers: false,
            end: End::NotSeen,
            activity: match &progress {
                Some(at) if at.idle => Activity::Idle,
                _ if found_at_start => Activity::Active,
                _ => Activity::Starting,
            },
            ask: None,
            clock_is_final_before: 0,
            live_from_offset: progress.as_ref().map_or(0, |at| at.next_offset),
            recorded_ms: None,
            held_back: false,
            was_polled: false,
            replay_points: BTreeMap::new(),
            last_epoch: None,
            quiet: Quiet {
                found_at_start,
                accepted_at: None,
                moved_at: Instant::now(),
                first_end_at: None,
            },
            ended_at: None,
            malformed: 0,
            lost: progress.as_ref().and_then(|at| at.lost.clone()).filter(Loss::outlives_file),
            reported: progress,
        }
    }

    /// Whether all buffered events are processed.
    pub(super) fn is_drained(&self) -> bool {
        self.next == self.batch.events.len()
    }

    /// Whether more records must be read before an event can be processed.
    pub(super) fn needs_records(&self) -> bool {
        self.is_drained() || self.needs_followers
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
        !self.is_drained() && self.ask.is_none() || end_may_have_moved
    }

    pub(super) fn watermarks(&self) -> Watermarks {
        let is_active = self.activity != Activity::Idle && !self.is_exhausted();
        let slowest = match self.judge.watermark_ms() {
            _ if !is_active => SlowestWatermark::NoneActive,
            Some(at_ms) => SlowestWatermark::At(at_ms),
            None => SlowestWatermark::Unknown,
        };
        Watermarks { slowest, max_ms: self.judge.watermark_ms(), exhausted: self.is_exhausted() }
    }

    /// Returns how far its records are read.
    pub(super) fn reached(&self) -> Reached {
        let slowest = match (self.watermarks().slowest, self.recorded_ms) {
            (SlowestWatermark::NoneActive, _) => SlowestWatermark::NoneActive,
            (_, Some(at_ms)) => SlowestWatermark::At(at_ms),
            (_, None) => SlowestWatermark::Unknown,
        };
        let (max_ms, exhausted) = (self.recorded_ms, self.is_exhausted());
        let lag = self.lag();
        let is_known = !lag.is_partial && lag.bytes == 0;
        Reached {
            record_times: Watermarks { slowest, max_ms, exhausted },
            unread: is_known.then_some(lag.records),
        }
    }

    /// Judges the next event, or says that it must wait: for more records, or for worker 0. Every
    /// request to worker 0 takes the next number of `asked`.
    #[inline]
    pub(super) fn read_next(&mut self, limit_ms: i64, asked: &mut u64) -> Option<Reading> {
        if self.ask.is_some() {
            self.held_back = true;
            return None;
        }
        let event = &self.batch.events[self.next];
        let is_replayed = event.offset < self.live_from_offset;
        if self.activity != Activity::Active && !is_replayed {
            self.ask(asked);
            return None;
        }
        let ahead = Ahead {
            events: &self.batch.events[self.next..],
            next_offset: self.batch.next_offset,
            end: match self.end {
                End::NotSeen => LogEnd::NotReached,
                End::Seen { .. } => LogEnd::Live,
                End::Exhausted => LogEnd::Exhausted,
            },
            clock: ClockLimit {
                limit_ms,
                is_final: is_replayed || event.offset < self.clock_is_final_before,
            },
        };
        match self.judge.read(&ahead) {
            Ok(reading) => Some(reading),
            Err(Missing::Followers) => {
                self.needs_followers = true;
                None
            }
            Err(Missing::Clock) => {
                self.ask(asked);
                None
            }
        }
    }

    /// Returns the next events before an index, with the bounds within which they are plain. None
    /// if the next one must be judged by itself.
    #[inline]
    pub(super) fn plain_ahead(&self, end: usize) -> Option<(&[Event], Plain)> {
        let events = &self.batch.events[self.next..end];
        let first = events.first()?;
        let is_judged = self.activity == Activity::Active || first.offset < self.live_from_offset;
        if !is_judged || self.ask.is_some() || self.pending_reading.is_some() {
            return None;
        }
        let plain = self.judge.plain(first.offset)?;
        Some((&events[..events.len().min(plain.events_max)], plain))
    }

    /// Notes that the next `count` events are plain and were accepted. `latest_ms` is the latest of
    /// their times, in milliseconds.
    pub(super) fn pass_plain(&mut self, count: usize, latest_ms: i64, now: Instant) {
        if count > 0 {
            let before_ms = self.judge.watermark_ms();
            self.judge.pass_plain(&self.batch.events[self.next..self.next + count], latest_ms);
            self.next += count;
            self.note_accepted(before_ms, now);
        }
    }

    #[cold]
    fn ask(&mut self, asked: &mut u64) {
        *asked += 1;
        self.ask = Some(*asked);
        self.held_back = true;
    }

    /// Handles the answers to the requests up to a number: its events are judged from now on, and
    /// the clock has given a limit for those that have arrived.
    pub(super) fn grant(&mut self, through: u64) {
        if self.ask.is_some_and(|ask| ask <= through) {
            self.ask = None;
            self.activity = Activity::Active;
            self.clock_is_final_before = self.batch.next_offset;
        }
    }

    /// Notes that an event was accepted, and the watermark before it, in milliseconds.
    #[inline]
    pub(super) fn note_accepted(&mut self, before_ms: Option<i64>, now: Instant) {
        self.quiet.accepted_at = Some(now);
        if self.judge.watermark_ms() > before_ms {
            self.quiet.moved_at = now;
        }
    }

    /// Reads more records. Returns how much was read.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        idle_timeout: Duration,
        dead_letters: &DeadLetters,
    ) -> Result<Amount, SourceError> {
        self.was_polled = true;
        self.needs_followers = false;
        self.report_malformed(dead_letters);
        self.batch.discard(self.next);
        self.next = 0;
        let before = self.batch.next_offset;
        let polled = self.reader.poll(&mut self.batch, BATCH_RECORDS_MAX)?;
        let has_lost = self.note_loss();
        let amount = Amount {
            bytes: self.batch.bytes,
            records: self.batch.next_offset.saturating_sub(before),
            has_lost,
        };
        let nothing = amount.is_nothing();
        self.end = match (polled, self.end) {
            (Polled::More, _) => End::NotSeen,
            (Polled::Exhausted, _) => End::Exhausted,
            (Polled::AtEnd, End::Seen { since, .. }) if nothing => End::Seen { since, last: now },
            (Polled::AtEnd, _) => End::Seen { since: now, last: now },
        };
        if self.end != End::NotSeen {
            self.ended_at = Some(now);
        }
        if self.is_quiet(now, idle_timeout) {
            self.activity = Activity::Idle;
        }
        self.held_back = nothing;
        Ok(amount)
    }

    /// Whether it is at its end, and nothing was accepted, or moved its watermark, for so long that
    /// it must not hold epochs open.
    fn is_quiet(&mut self, now: Instant, idle_timeout: Duration) -> bool {
        if !matches!(self.end, End::Seen { .. }) || !self.is_drained() || self.is_replaying() {
            return false;
        }
        let Quiet { found_at_start, accepted_at, moved_at, first_end_at } = &mut self.quiet;
        let first_end_at = *first_end_at.get_or_insert(now);
        let is_over = |at: Instant, timeouts| now.duration_since(at) >= idle_timeout * timeouts;
        match *accepted_at {
            Some(accepted_at) => is_over(accepted_at, 1) || is_over(*moved_at, IDLE_UNMOVED),
            // Nothing honest was seen in this job.
            None => !*found_at_start || is_over(first_end_at, 1),
        }
    }

    /// Whether it is wanted after its end: a file may come back, and what an open epoch needs of it
    /// must be read again at a restart, until that epoch closes.
    pub(super) fn is_wanted(&self) -> bool {
        self.reader.file().is_some() || !self.replay_points.is_empty()
    }

    /// Drops the replay points of closed epochs. Returns whether there were any.
    pub(super) fn forget_replay(&mut self, closed: Through) -> bool {
        let before = self.replay_points.len();
        self.replay_points.retain(|epoch, _| !closed.contains(*epoch));
        self.replay_points.len() < before
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

    /// Counts the malformed records before the next event, and writes them to the dead letters.
    fn report_malformed(&mut self, dead_letters: &DeadLetters) {
        let before = if self.is_drained() { u64::MAX } else { self.next_offset() };
        let settled = self.batch.malformed.partition_point(|record| record.offset < before);
        for record in self.batch.malformed.drain(..settled) {
            if record.offset >= self.live_from_offset {
                dead_letters.write(&self.name, &record);
                self.malformed += record.records;
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
        self.report_malformed(dead_letters);
        let next_offset = self.next_offset();
        let (watermark_ms, block) = match self.pending_reading {
            Some((_, before_ms)) => (before_ms, self.judge.block()),
            None => (self.judge.watermark_ms(), self.judge.next_block(next_offset)),
        };
        let here = ReplayPoint { offset: next_offset, watermark_ms, block };
        let replay = self.replay_points.values().min().copied().unwrap_or(here);
        self.judge.forget_before(replay.block.offset);
        let progress = PartitionProgress {
            partition: self.name.clone(),
            next_offset,
            watermark_ms,
            replay_offset: replay.offset,
            replay_watermark_ms: replay.watermark_ms,
            block: replay.block,
            decisions: self.judge.decisions().to_vec(),
            malformed: std::mem::take(&mut self.malformed),
            idle: self.activity == Activity::Idle || self.is_exhausted(),
            file: self.reader.file(),
            lost: self.lost.clone(),
        };
        let unmoved = PartitionProgress { malformed: 0, ..progress.clone() };
        if progress.malformed == 0 && self.reported.as_ref() == Some(&unmoved) {
            return None;
        }
        self.reported = Some(unmoved);
        Some(progress)
    }
}
