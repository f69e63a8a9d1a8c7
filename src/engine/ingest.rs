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

use super::activity::Activity;
use super::admission::Admission;
use super::completing::Reached;
use super::dead_letters::DeadLetters;
use super::epochs::Epochs;
use super::holding::Holder;
use super::meter::{Part, Recorded, WorkerMeter};
use super::partition::Partition;
use super::partition_state::PartitionState;
use super::protocol::{SlowestWatermark, Watermarks};
use super::{Counters, Settings};
use crate::acceptance::Ledger;
use crate::completeness::Arrivals;
use crate::event::Kind;
use crate::log::{BlockStart, PartitionName, PartitionProgress};
use crate::sources::{Discovered, Lag, Moved, Source, SourceError};
use crate::time::{Definition, Epoch, Through};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The partitions of a worker.
pub struct Ingest {
    definition: Definition,
    idle_timeout: Duration,
    poll_interval: Duration,
    dead_letters: Arc<DeadLetters>,
    counters: Arc<Counters>,
    meter: Arc<WorkerMeter>,
    /// The partitions that are not exhausted, or whose end is not yet reported.
    partitions: Vec<Partition>,
    /// The partitions that have ended and are wanted still, by name.
    ended: BTreeMap<PartitionName, Partition>,
    /// The highest watermark of the exhausted partitions, in milliseconds.
    exhausted_max_ms: Option<i64>,
    /// The highest watermark that partitions may reach, in milliseconds. `None` until it is known;
    /// until then, events that set a watermark wait.
    watermark_limit_ms: Option<i64>,
    /// The epochs that take no more events.
    closed_through: Through,
    /// Whether partitions are read only up to their offsets in the store.
    replaying: bool,
    ledger: Ledger,
    arrivals: Arrivals,
    recorded: Recorded,
    /// The latest record time of the exhausted partitions of each kind, in milliseconds.
    recorded_max_ms: [Option<i64>; Kind::COUNT],
    wanted: BTreeSet<Epoch>,
    /// The number of requests to worker 0, and how many of them it has answered.
    asked: u64,
    granted: u64,
    /// The limit that the clock gave when the publication began, in milliseconds.
    clock_limit_ms: i64,
    /// The budget of a topic in a round, and the remaining budget of each topic.
    budget: Budget,
    budgets: [Budget; Kind::ALL.len()],
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
        meter: Arc<WorkerMeter>,
    ) -> Ingest {
        let budget = Budget { events: settings.round_events, bytes: settings.round_bytes };
        Ingest {
            definition: settings.definition,
            idle_timeout: settings.idle_timeout,
            poll_interval: settings.poll_interval,
            dead_letters,
            counters,
            meter,
            partitions: Vec::new(),
            ended: BTreeMap::new(),
            exhausted_max_ms: None,
            watermark_limit_ms: None,
            closed_through: Through::Nothing,
            replaying: true,
            ledger: Ledger::default(),
            arrivals: Arrivals::default(),
            recorded: Recorded::default(),
            recorded_max_ms: [None; Kind::COUNT],
            wanted: BTreeSet::new(),
            asked: 0,
            granted: 0,
            clock_limit_ms: i64::MIN,
            budget,
            budgets: [budget; Kind::ALL.len()],
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
        let number = self.meter.add_partition(&partition.name);
        self.meter.doing.begin(Activity::Opening(number));
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
        let mut opened = Partition::new(definition, name, reader?, block, progress, found_at_start);
        opened.number = number;
        self.partitions.push(opened);
        Ok(())
    }

    /// Goes on in the file that holds a partition now, if this worker reads it. One that has ended
    /// begins again where it ended, if more may follow there. Returns whether something of it is
    /// lost.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn relocate(&mut self, source: &dyn Source, moved: &Moved) -> Result<bool, SourceError> {
        let mut partitions = self.partitions.iter_mut();
        if let Some(partition) = partitions.find(|partition| partition.name == moved.partition) {
            return partition.relocate(source, moved.file.as_ref());
        }
        let Some(partition) = self.ended.get_mut(&moved.partition) else { return Ok(false) };
        let has_lost = partition.relocate(source, moved.file.as_ref())?;
        if !partition.is_exhausted() {
            self.partitions.extend(self.ended.remove(&moved.partition));
        }
        Ok(has_lost)
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

    /// Lets watermarks come as far as a limit, in milliseconds.
    pub fn align(&mut self, limit_ms: i64) {
        self.watermark_limit_ms = Some(limit_ms);
    }

    /// Rejects events of these epochs from now on.
    pub fn close(&mut self, through: Through) {
        self.closed_through = self.closed_through.max(through);
        self.wanted.retain(|wanted| !through.contains(*wanted));
    }

    /// Starts a round with a full budget.
    pub fn begin_round(&mut self) {
        self.budgets = [self.budget; Kind::ALL.len()];
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

    /// Returns how far each partition is read. `is_full` tells whether the worker takes no more
    /// events now.
    pub fn states(&self, is_full: bool) -> impl Iterator<Item = PartitionState> + '_ {
        let all = self.partitions.iter().chain(self.ended.values());
        all.map(move |partition| partition.state(self.watermark_limit_ms, is_full))
    }

    /// Returns when the events were recorded that were read since the last call.
    pub fn take_recorded(&mut self) -> Recorded {
        std::mem::take(&mut self.recorded)
    }

    /// Returns the watermarks of all partitions.
    pub fn watermarks(&self) -> Watermarks {
        let each = self.partitions.iter().map(Partition::watermarks);
        let exhausted = Watermarks { max_ms: self.exhausted_max_ms, ..Watermarks::NONE };
        each.fold(exhausted, Watermarks::merge)
    }

    /// Returns the active partition with the lowest watermark, and why that stands still. `is_full`
    /// tells whether the worker takes no more events now.
    pub fn holder(&self, is_full: bool) -> Option<Holder> {
        let lowest = self.partitions.iter().min_by_key(|one| one.watermarks().slowest)?;
        let is_active = lowest.watermarks().slowest != SlowestWatermark::NoneActive;
        is_active.then(|| Holder {
            partition: lowest.name.clone(),
            reason: lowest.reason(self.watermark_limit_ms, is_full),
        })
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
        // Reading a partition changes no other one, so their order is looked up only once.
        let indices = 0..self.partitions.len();
        let mut readable: BinaryHeap<_> =
            indices.filter_map(|index| self.readable(index, now)).collect();
        while let Some(Reverse((_, index))) = readable.pop() {
            let kind = self.partitions[index].name.kind;
            if self.budgets[kind as usize].is_spent() {
                ingested.budget_spent = true;
                self.partitions[index].held_back = true;
                continue;
            }
            ingested.work += self.read(index, epochs, now)?;
            readable.extend(self.readable(index, now));
        }
        Ok(ingested)
    }

    /// Returns a partition if it can be read; the one with the lowest watermark is the greatest.
    fn readable(&self, index: usize, now: Instant) -> Option<Reverse<(Option<i64>, usize)>> {
        let partition = &self.partitions[index];
        let may_read = !self.replaying || partition.is_replaying();
        let is_readable =
            may_read && !partition.held_back && partition.may_have_more(now, self.poll_interval);
        is_readable.then(|| Reverse((partition.judge.watermark_ms(), index)))
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
        let began = Instant::now();
        if partition.needs_records() {
            self.meter.doing.begin(Activity::Polling(partition.number));
            let read = partition.poll(now, self.idle_timeout, &self.dead_letters)?;
            partition.check_end()?;
            budget.spend(0, read.bytes.max(read.records));
            self.counters.add_bytes(read.bytes);
            self.meter.add(Part::Poll, began.elapsed());
            return Ok(usize::from(!read.is_nothing()));
        }
        self.meter.doing.begin(Activity::Admitting(partition.number));
        let mut admission = Admission {
            definition: &self.definition,
            watermark_limit_ms: self.watermark_limit_ms,
            closed_through: self.closed_through,
            replaying: self.replaying,
            epochs,
            wanted: &mut self.wanted,
            ledger: &mut self.ledger,
            arrivals: &mut self.arrivals,
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
            false => {
                self.counters.add_events(events);
                if events > 0 {
                    let last = &partition.batch.events[partition.next - 1];
                    self.recorded.add(last.record_time_ms, events as u64);
                }
            }
        }
        self.meter.add(Part::Admit, began.elapsed());
        Ok(events)
    }

    /// The number of rows of the ledger that wait for the end of the publication.
    pub fn ledger_rows(&self) -> usize {
        self.ledger.len()
    }

    /// Returns what has arrived since the last call.
    pub fn take_arrivals(&mut self) -> Arrivals {
        std::mem::take(&mut self.arrivals)
    }

    /// Returns how far the records of each kind are read.
    pub fn reached(&self) -> [Reached; Kind::COUNT] {
        Kind::ALL.map(|kind| {
            let max_ms = self.recorded_max_ms[kind as usize];
            let record_times = Watermarks { max_ms, ..Watermarks::NONE };
            let exhausted = Reached { record_times, ..Reached::NOTHING };
            let of_kind = self.partitions.iter().filter(|one| one.name.kind == kind);
            of_kind.map(Partition::reached).fold(exhausted, Reached::merge)
        })
    }

    /// Returns the progress of all partitions that moved since the last call, and the ledger of
    /// their events. What is closed needs no replay once this is committed. Drops exhausted
    /// partitions.
    pub fn snapshot(&mut self) -> (Vec<PartitionProgress>, Ledger) {
        let mut progress = Vec::new();
        self.ended.retain(|_, partition| {
            if partition.forget_replay(self.closed_through) {
                progress.extend(partition.take_changed_progress(&self.dead_letters));
            }
            partition.is_wanted()
        });
        for mut partition in std::mem::take(&mut self.partitions) {
            partition.forget_replay(self.closed_through);
            progress.extend(partition.take_changed_progress(&self.dead_letters));
            if !partition.is_exhausted() {
                self.partitions.push(partition);
                continue;
            }
            self.exhausted_max_ms = self.exhausted_max_ms.max(partition.judge.watermark_ms());
            let recorded = &mut self.recorded_max_ms[partition.name.kind as usize];
            *recorded = (*recorded).max(partition.recorded_ms);
            partition.end();
            if partition.is_wanted() {
                self.ended.insert(partition.name.clone(), partition);
            }
        }
        (progress, std::mem::take(&mut self.ledger))
    }
}
