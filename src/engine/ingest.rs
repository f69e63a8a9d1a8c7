//! Reads the partitions of a worker, decides on their events, and sends the accepted ones to their
//! epochs.
//!
//! A partition pauses before an event, without losing it, for one of these reasons:
//! - worker 0 must answer first: the partition was idle, or the log alone does not tell whether the
//!   event's stamp is plausible;
//! - *alignment*: its watermark would run too far ahead of the slowest partition of the job;
//! - an epoch that the event needs is not open yet on every worker;
//! - the round is full: each topic has its own budget of events and bytes in a round, and the
//!   number of rounds in flight is bounded, so that no topic can starve the other.

use super::dead_letters::DeadLetters;
use super::epochs::Epochs;
use super::partition::{Partition, ReplayPoint};
use super::protocol::Watermarks;
use super::{Counters, Settings};
use crate::acceptance::{Fate, Ledger, Reading, admit, counted_epoch};
use crate::event::{Event, Kind, Touch};
use crate::log::{BlockStart, PartitionProgress};
use crate::sources::{Discovered, Lag, Source, SourceError};
use crate::time::{Definition, Epoch, EpochRange, Through, rfc3339};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The partitions of a worker.
pub struct Ingest {
    definition: Definition,
    alignment_ms: i64,
    idle_timeout: Duration,
    poll_interval: Duration,
    dead_letters: Arc<DeadLetters>,
    counters: Arc<Counters>,
    /// The partitions that are not exhausted, or whose end is not yet reported.
    partitions: Vec<Partition>,
    /// The highest watermark of the exhausted partitions, in milliseconds.
    exhausted_max_ms: Option<i64>,
    /// The highest watermark that partitions may reach, in milliseconds: the slowest watermark plus
    /// the alignment bound. `None` until it is known; until then, events that set a watermark wait.
    watermark_limit_ms: Option<i64>,
    /// The epochs that take no more events.
    closed_through: Through,
    /// Whether partitions are read only up to their offsets in the store.
    replaying: bool,
    ledger: Ledger,
    wanted: BTreeSet<Epoch>,
    /// The number of requests to worker 0, and how many of them it has answered.
    asked: u64,
    granted: u64,
    /// The limit that the clock gave when the publication began, in milliseconds.
    clock_limit_ms: i64,
    /// The budget of a topic in a round, and the remaining budget of each topic.
    budget: Budget,
    budgets: [Budget; 2],
}

#[derive(Clone, Copy, Debug)]
struct Budget {
    events: usize,
    bytes: u64,
}

impl Budget {
    fn is_spent(&self) -> bool {
        self.events == 0 || self.bytes == 0
    }

    fn spend(&mut self, events: usize, bytes: u64) {
        self.events = self.events.saturating_sub(events);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// The result of [`Ingest::poll`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ingested {
    /// The work done: the number of events, plus one for each poll that read something.
    pub work: usize,
    /// Whether a topic with more to read has spent its budget.
    pub budget_spent: bool,
}

impl Ingest {
    /// Creates an ingest without partitions.
    pub fn new(
        settings: &Settings,
        dead_letters: Arc<DeadLetters>,
        counters: Arc<Counters>,
    ) -> Ingest {
        let budget = Budget { events: settings.round_events, bytes: settings.round_bytes };
        Ingest {
            definition: settings.definition,
            alignment_ms: settings.alignment_ms,
            idle_timeout: settings.idle_timeout,
            poll_interval: settings.poll_interval,
            dead_letters,
            counters,
            partitions: Vec::new(),
            exhausted_max_ms: None,
            watermark_limit_ms: None,
            closed_through: Through::Nothing,
            replaying: true,
            ledger: Ledger::default(),
            wanted: BTreeSet::new(),
            asked: 0,
            granted: 0,
            clock_limit_ms: i64::MIN,
            budget,
            budgets: [budget; 2],
        }
    }

    /// Opens a partition, at its beginning or at its replay offset.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(
        &mut self,
        source: &dyn Source,
        partition: &Discovered,
        progress: Option<PartitionProgress>,
    ) -> Result<(), SourceError> {
        let found_at_start = self.replaying;
        let mut block = progress.as_ref().map(|at| at.block);
        let mut reader = source.open(partition, block.map(|block| block.offset));
        if let (Some(at), Err(SourceError::Retention { .. })) = (&progress, &reader)
            && at.block.offset < at.replay_offset
        {
            // The block is wanted, but only the events from the replay offset on are needed.
            block = Some(BlockStart {
                offset: at.replay_offset,
                watermark_ms: at.replay_watermark_ms,
                ..at.block
            });
            reader = source.open(partition, Some(at.replay_offset));
        }
        let (definition, name) = (&self.definition, partition.name.clone());
        let block = block.unwrap_or_default();
        let opened = Partition::new(definition, name, reader?, block, progress, found_at_start);
        self.partitions.push(opened);
        Ok(())
    }

    /// Whether all partitions have been read up to their offsets in the store.
    pub fn is_replayed(&self) -> bool {
        !self.partitions.iter().any(Partition::is_replaying)
    }

    /// Ends the replay: partitions are read beyond their offsets in the store.
    pub fn go_live(&mut self) {
        self.replaying = false;
    }

    /// Handles the beginning of a publication: worker 0 has answered the requests of this worker up
    /// to `granted`, and its clock showed `clock_ms`.
    pub fn begin_publication(&mut self, granted: u64, clock_ms: i64) {
        self.granted = granted;
        self.clock_limit_ms = clock_ms.saturating_add(self.definition.max_future_ms);
        self.partitions.iter_mut().for_each(|partition| partition.grant(granted));
    }

    /// The number of requests to worker 0, and how many of them it has answered.
    pub fn requests(&self) -> (u64, u64) {
        (self.asked, self.granted)
    }

    /// Returns the epochs that take no more events.
    pub fn closed_through(&self) -> Through {
        self.closed_through
    }

    /// Lets partitions run ahead of a watermark, in milliseconds, by the alignment bound.
    pub fn align(&mut self, slowest_ms: i64) {
        self.watermark_limit_ms = Some(slowest_ms.saturating_add(self.alignment_ms));
    }

    /// Rejects events of these epochs from now on.
    pub fn close(&mut self, through: Through) {
        self.closed_through = self.closed_through.max(through);
        self.wanted.retain(|wanted| !through.contains(*wanted));
    }

    /// Drops the replay offsets of epochs that are final in the store.
    pub fn finalize(&mut self, through: Through) {
        for partition in &mut self.partitions {
            partition.replay_points.retain(|epoch, _| !through.contains(*epoch));
        }
    }

    /// Starts a round with a full budget.
    pub fn begin_round(&mut self) {
        self.budgets = [self.budget; 2];
    }

    /// Returns the epochs that events wait for.
    pub fn wanted(&self) -> Vec<Epoch> {
        self.wanted.iter().copied().collect()
    }

    /// Whether all available records are processed.
    pub fn is_caught_up(&self) -> bool {
        self.partitions.iter().all(|partition| partition.is_drained() && partition.end_was_seen())
    }

    /// Whether all records are processed, and no more will follow.
    pub fn is_exhausted(&self) -> bool {
        self.partitions.iter().all(Partition::is_exhausted)
    }

    /// Returns how much of the partitions is left to read.
    pub fn lag(&self) -> Lag {
        self.partitions.iter().map(Partition::lag).fold(Lag::default(), Lag::merge)
    }

    /// Returns the watermarks of all partitions.
    pub fn watermarks(&self) -> Watermarks {
        let each = self.partitions.iter().map(Partition::watermarks);
        let exhausted = Watermarks { max_ms: self.exhausted_max_ms, ..Watermarks::NONE };
        each.fold(exhausted, Watermarks::merge)
    }

    /// Reads repeatedly from the partition with the lowest watermark, until the round is full or no
    /// partition can be read.
    ///
    /// # Errors
    /// If a partition cannot be read.
    pub fn poll(&mut self, epochs: &mut Epochs, now: Instant) -> Result<Ingested, SourceError> {
        let mut ingested = Ingested::default();
        for partition in &mut self.partitions {
            partition.held_back = false;
        }
        self.wanted.retain(|epoch| !epochs.is_open(*epoch));
        while let Some(index) = self.next_partition(now) {
            let kind = self.partitions[index].name.kind;
            if self.budgets[kind as usize].is_spent() {
                ingested.budget_spent = true;
                self.partitions[index].held_back = true;
                continue;
            }
            ingested.work += self.read(index, epochs, now)?;
        }
        Ok(ingested)
    }

    /// Returns the readable partition with the lowest watermark.
    fn next_partition(&self, now: Instant) -> Option<usize> {
        let readable = self.partitions.iter().enumerate().filter(|(_, partition)| {
            let may_read = !self.replaying || partition.is_replaying();
            may_read && !partition.held_back && partition.may_have_more(now, self.poll_interval)
        });
        readable.min_by_key(|(_, partition)| partition.judge.watermark_ms()).map(|(index, _)| index)
    }

    /// Processes the buffered events of a partition, or polls it if there are none. Returns the
    /// number of events, or 1 for a poll that read something.
    fn read(
        &mut self,
        index: usize,
        epochs: &mut Epochs,
        now: Instant,
    ) -> Result<usize, SourceError> {
        let partition = &mut self.partitions[index];
        let budget = &mut self.budgets[partition.name.kind as usize];
        if partition.needs_records() {
            let read = partition.poll(now, self.idle_timeout, &self.dead_letters)?;
            partition.check_end()?;
            budget.spend(0, read.bytes.max(read.records));
            self.counters.add_bytes(read.bytes);
            return Ok(usize::from(!read.is_nothing()));
        }
        let mut admission = Admission {
            definition: &self.definition,
            watermark_limit_ms: self.watermark_limit_ms,
            closed_through: self.closed_through,
            replaying: self.replaying,
            epochs,
            wanted: &mut self.wanted,
            ledger: &mut self.ledger,
            counters: &self.counters,
            asked: &mut self.asked,
            clock_limit_ms: self.clock_limit_ms,
            now,
        };
        let replaying = partition.is_replaying();
        let events = admission.process_events(partition, budget.events);
        partition.check_end()?;
        budget.spend(events, 0);
        match replaying {
            true => self.counters.add_replayed(events),
            false => self.counters.add_events(events),
        }
        Ok(events)
    }

    /// The number of rows of the ledger that wait for the end of the publication.
    pub fn ledger_rows(&self) -> usize {
        self.ledger.len()
    }

    /// Returns the progress of all partitions that moved since the last call, and the ledger of
    /// their events. Drops exhausted partitions.
    pub fn snapshot(&mut self) -> (Vec<PartitionProgress>, Ledger) {
        let mut progress = Vec::new();
        self.partitions.retain_mut(|partition| {
            progress.extend(partition.take_changed_progress(&self.dead_letters));
            let exhausted = partition.is_exhausted();
            if exhausted {
                self.exhausted_max_ms = self.exhausted_max_ms.max(partition.judge.watermark_ms());
            }
            !exhausted
        });
        (progress, std::mem::take(&mut self.ledger))
    }
}

/// Decides on the events of a partition, and sends the accepted ones to their epochs.
struct Admission<'a> {
    definition: &'a Definition,
    watermark_limit_ms: Option<i64>,
    closed_through: Through,
    replaying: bool,
    epochs: &'a mut Epochs,
    wanted: &'a mut BTreeSet<Epoch>,
    ledger: &'a mut Ledger,
    counters: &'a Counters,
    asked: &'a mut u64,
    clock_limit_ms: i64,
    now: Instant,
}

/// Consecutive events with the same epoch and fate, as most have; they are counted together.
struct SameFateEvents {
    /// The epoch under which they are counted.
    epoch: Option<Epoch>,
    fate: Fate,
    events: u64,
}

impl SameFateEvents {
    #[inline]
    fn has_fate(&self, epoch: Option<Epoch>, fate: Fate) -> bool {
        self.epoch == epoch && std::mem::discriminant(&self.fate) == std::mem::discriminant(&fate)
    }
}

impl Admission<'_> {
    /// Processes the next events of a partition, at most `events_max`, until one must wait. Returns
    /// their number.
    fn process_events(&mut self, partition: &mut Partition, events_max: usize) -> usize {
        let start = partition.next;
        let replayed = partition.is_replaying();
        let end = match replayed {
            true => partition.first_event_from(partition.live_from_offset),
            false => partition.batch.events.len(),
        };
        let kind = partition.name.kind;
        let mut same: Option<SameFateEvents> = None;
        while partition.next < end && partition.next - start < events_max {
            let event = partition.batch.events[partition.next];
            let Some((reading, before_ms)) = self.read_next(partition) else { break };
            let fate = admit(self.definition, kind, &reading, self.closed_through);
            if let Fate::Accepted(epochs) = fate {
                if !self.send(partition, &event, &reading, epochs, before_ms) {
                    partition.pending_reading = Some((reading, before_ms));
                    partition.held_back = true;
                    break;
                }
                partition.note_accepted(before_ms, self.now);
            }
            partition.next += 1;
            if replayed {
                continue;
            }
            self.report(partition, &event, fate, before_ms);
            let epoch = counted_epoch(&reading, fate);
            match &mut same {
                Some(same) if same.has_fate(epoch, fate) => same.events += 1,
                _ => {
                    self.count(kind, same.take());
                    same = Some(SameFateEvents { epoch, fate, events: 1 });
                }
            }
        }
        self.count(kind, same);
        partition.next - start
    }

    /// Returns the reading of the next event and the watermark before it, unless it must wait.
    #[inline]
    fn read_next(&mut self, partition: &mut Partition) -> Option<(Reading, Option<i64>)> {
        let before_ms = partition.judge.watermark_ms();
        match partition.pending_reading.take() {
            Some(waited) => Some(waited),
            None => {
                let reading = partition.read_next(self.clock_limit_ms, self.asked)?;
                Some((reading, before_ms))
            }
        }
    }

    /// Keeps the first rejected events for people, and tells them of leaps of the watermark.
    #[inline]
    fn report(&self, partition: &Partition, event: &Event, fate: Fate, before_ms: Option<i64>) {
        let after_ms = partition.judge.watermark_ms();
        match (before_ms, after_ms) {
            (Some(before_ms), Some(after_ms))
                if after_ms.saturating_sub(before_ms) > self.definition.max_leap_ms =>
            {
                self.report_leap(partition, event, before_ms, after_ms);
            }
            _ if matches!(fate, Fate::Accepted(_)) => {}
            _ => self.report_rejected(partition, event, fate),
        }
    }

    #[cold]
    fn report_rejected(&self, partition: &Partition, event: &Event, fate: Fate) {
        self.counters.note_rejected(fate, || {
            let what = if fate == Fate::Late { "late" } else { "future" };
            let (name, offset) = (&partition.name, event.offset);
            let (time, stamp) = (rfc3339(event.event_time_ms), rfc3339(event.stamp_ms()));
            let watermark = partition.judge.watermark_ms().map_or("none".into(), rfc3339);
            format!(
                "the first {what} event is in {name} at offset {offset}: its event time is {time}, \
                 the time of its record {stamp}, and the watermark was {watermark}"
            )
        });
    }

    #[cold]
    fn report_leap(&self, partition: &Partition, event: &Event, before_ms: i64, after_ms: i64) {
        if self.counters.note_leap() {
            tracing::warn!(
                "the watermark of {} leaps from {} to {} at offset {}: earlier events of the \
                 partition are late from now on, as --max-delay says",
                partition.name,
                rfc3339(before_ms),
                rfc3339(after_ms),
                event.offset
            );
        }
    }

    fn count(&mut self, kind: Kind, same: Option<SameFateEvents>) {
        if let Some(SameFateEvents { epoch, fate, events }) = same {
            self.ledger.record(epoch, kind, fate, events);
        }
    }

    /// Sends an accepted event to the epochs that it contributes to. Returns `false` if it must
    /// wait.
    fn send(
        &mut self,
        partition: &mut Partition,
        event: &Event,
        reading: &Reading,
        epochs: EpochRange,
        before_ms: Option<i64>,
    ) -> bool {
        // Alignment is not needed in the replay, which opens only epochs that were open before.
        let is_ahead = partition.judge.watermark_ms() > self.watermark_limit_ms;
        if is_ahead && !self.replaying {
            return false;
        }
        // The epochs of the previous event stay ready until they close.
        let is_new_epoch = partition.last_epoch != Some(reading.epoch);
        if is_new_epoch && !self.all_ready(epochs) {
            return false;
        }
        for epoch in epochs.iter() {
            let touch = match partition.name.kind {
                Kind::Impression => Touch::SHOWN,
                Kind::Play if epoch == reading.epoch => Touch::PLAYED_IN_EPOCH,
                Kind::Play => Touch::PLAYED,
            };
            let open = self.epochs.ready(epoch).expect("all epochs of the event are ready");
            open.send(event.request, event.video, touch);
        }
        if is_new_epoch {
            partition.last_epoch = Some(reading.epoch);
            let block = partition.judge.block();
            let point = ReplayPoint { offset: event.offset, watermark_ms: before_ms, block };
            for epoch in epochs.iter() {
                partition.replay_points.entry(epoch).or_insert(point);
            }
        }
        true
    }

    /// Whether touches can be sent to all these epochs. Marks those that are not open as wanted.
    fn all_ready(&mut self, epochs: EpochRange) -> bool {
        let mut all_ready = true;
        for epoch in epochs.iter() {
            if self.epochs.ready(epoch).is_none() {
                all_ready = false;
                if !self.epochs.is_open(epoch) {
                    self.wanted.insert(epoch);
                }
            }
        }
        all_ready
    }
}
