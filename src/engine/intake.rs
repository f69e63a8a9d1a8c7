//! The partitions of a worker: which is read next, which of its events are accepted, where they go.
//!
//! Three things hold a partition back, one event at a time, and lose nothing:
//! - *alignment*: its watermark would run too far ahead of the slowest partition of the job;
//! - an epoch that its next event needs is not open yet on every worker;
//! - the round is full: each topic has its own budget of events and bytes in a round, and the
//!   number of rounds in flight is bounded, so that no topic can starve the other.

use super::control::Watermarks;
use super::dead_letters::DeadLetters;
use super::epochs::Epochs;
use super::partition::Partition;
use super::{Counters, Settings};
use crate::event::{Event, Kind, Touch};
use crate::ledger::{Ledger, Verdict};
use crate::sources::{Discovered, Source, SourceError};
use crate::stores::PartitionProgress;
use crate::time::{Definition, Epoch};
use crate::watermark::{Judgement, Watermark};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The partitions of a worker.
pub struct Intake {
    definition: Definition,
    alignment_ms: i64,
    idle_timeout: Duration,
    poll_interval: Duration,
    dead_letters: Arc<DeadLetters>,
    counters: Arc<Counters>,
    /// Those that are not exhausted, or whose end is not reported yet.
    partitions: Vec<Partition>,
    /// The largest watermark of those that are exhausted, in milliseconds.
    exhausted_max_ms: Option<i64>,
    /// The watermark up to which partitions may run: the slowest, plus the alignment bound.
    watermark_limit_ms: i64,
    /// Epochs up to this one take no more events.
    closed_through: Epoch,
    /// Whether partitions are read only as far as the store says that they were.
    replaying: bool,
    ledger: Ledger,
    wanted: BTreeSet<Epoch>,
    /// What may be read of a topic in a round, and what is left of that for each.
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

/// What a call of [`Intake::poll`] came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Records that were dealt with, events or not.
    pub records: usize,
    /// Whether the budget of a topic with more to read is spent.
    pub full: bool,
}

impl Intake {
    /// No partitions yet.
    pub fn new(
        settings: &Settings,
        dead_letters: Arc<DeadLetters>,
        counters: Arc<Counters>,
    ) -> Intake {
        let budget = Budget { events: settings.round_events, bytes: settings.round_bytes };
        Intake {
            definition: settings.definition,
            alignment_ms: settings.alignment_ms,
            idle_timeout: settings.idle_timeout,
            poll_interval: settings.poll_interval,
            dead_letters,
            counters,
            partitions: Vec::new(),
            exhausted_max_ms: None,
            watermark_limit_ms: i64::MIN,
            closed_through: Epoch(i64::MIN),
            replaying: true,
            ledger: Ledger::default(),
            wanted: BTreeSet::new(),
            budget,
            budgets: [budget; 2],
        }
    }

    /// Starts to read a partition, from its beginning or from where it must be replayed.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(
        &mut self,
        source: &dyn Source,
        partition: &Discovered,
        progress: Option<PartitionProgress>,
    ) -> Result<(), SourceError> {
        let reader = source.open(partition, progress.as_ref().map(|at| at.replay_offset))?;
        let before_ms = progress.as_ref().and_then(|at| at.replay_watermark_ms);
        let watermark = Watermark::new(self.definition, partition.name.kind, before_ms);
        let name = partition.name.clone();
        self.partitions.push(Partition::new(name, reader, watermark, progress));
        Ok(())
    }

    /// Whether all partitions have been read as far as the store says that they were.
    pub fn is_replayed(&self) -> bool {
        !self.partitions.iter().any(Partition::is_replaying)
    }

    /// Reads on beyond what is replayed.
    pub fn go_live(&mut self) {
        self.replaying = false;
    }

    /// Epochs up to this one take no more events.
    pub fn closed_through(&self) -> Epoch {
        self.closed_through
    }

    /// Lets partitions run as far as the alignment bound ahead of a watermark.
    pub fn align(&mut self, slowest_ms: i64) {
        self.watermark_limit_ms = slowest_ms.saturating_add(self.alignment_ms);
    }

    /// Rejects, from now on, events of epochs up to this one.
    pub fn close_through(&mut self, epoch: Epoch) {
        self.closed_through = self.closed_through.max(epoch);
        self.wanted.retain(|wanted| *wanted > epoch);
    }

    /// Forgets where epochs started that the store holds as final.
    pub fn finalize_through(&mut self, epoch: Epoch) {
        for partition in &mut self.partitions {
            partition.starts = partition.starts.split_off(&epoch.plus(1));
        }
    }

    /// Starts a round with a full budget.
    pub fn begin_round(&mut self) {
        self.budgets = [self.budget; 2];
    }

    /// Epochs that events wait for.
    pub fn wanted(&self) -> Vec<Epoch> {
        self.wanted.iter().copied().collect()
    }

    /// Whether everything that is there was read and dealt with.
    pub fn is_caught_up(&self) -> bool {
        self.partitions.iter().all(|partition| partition.is_drained() && partition.end_was_seen())
    }

    /// The watermarks of all partitions.
    pub fn watermarks(&self) -> Watermarks {
        let each = self.partitions.iter().map(Partition::watermarks);
        let exhausted = Watermarks { max_ms: self.exhausted_max_ms, ..Watermarks::NONE };
        each.fold(exhausted, Watermarks::and)
    }

    /// Reads on, always where the watermark is least, until the round is full, nothing more is
    /// there or everything is held back.
    ///
    /// # Errors
    /// When a partition cannot be read on.
    pub fn poll(&mut self, epochs: &mut Epochs, now: Instant) -> Result<Progress, SourceError> {
        let mut progress = Progress::default();
        for partition in &mut self.partitions {
            partition.held_back = false;
        }
        self.wanted.retain(|epoch| !epochs.is_open(*epoch));
        while let Some(index) = self.next_partition(now) {
            let kind = self.partitions[index].name.kind;
            if self.budgets[kind as usize].is_spent() {
                progress.full = true;
                self.partitions[index].held_back = true;
                continue;
            }
            progress.records += self.read(index, epochs, now)?;
        }
        Ok(progress)
    }

    /// The readable partition with the least watermark.
    fn next_partition(&self, now: Instant) -> Option<usize> {
        let readable = self.partitions.iter().enumerate().filter(|(_, partition)| {
            let may_read = !self.replaying || partition.is_replaying();
            may_read && !partition.held_back && partition.may_have_more(now, self.poll_interval)
        });
        readable.min_by_key(|(_, partition)| partition.watermark.at_ms()).map(|(index, _)| index)
    }

    /// Deals with the events that a partition holds, or polls it for more. Returns how many
    /// records it got on by.
    fn read(
        &mut self,
        index: usize,
        epochs: &mut Epochs,
        now: Instant,
    ) -> Result<usize, SourceError> {
        let partition = &mut self.partitions[index];
        let budget = &mut self.budgets[partition.name.kind as usize];
        if partition.is_drained() {
            let bytes = partition.poll(now, self.idle_timeout, &self.dead_letters)?;
            partition.check_end()?;
            budget.spend(0, bytes);
            self.counters.add_bytes(bytes);
            return Ok(usize::from(bytes > 0));
        }
        let mut judge = Judge {
            watermark_limit_ms: self.watermark_limit_ms,
            closed_through: self.closed_through,
            replaying: self.replaying,
            epochs,
            wanted: &mut self.wanted,
            ledger: &mut self.ledger,
        };
        let replaying = partition.is_replaying();
        let events = judge.pass_on(partition, budget.events);
        partition.check_end()?;
        budget.spend(events, 0);
        match replaying {
            true => self.counters.add_replayed(events),
            false => self.counters.add_events(events),
        }
        Ok(events)
    }

    /// Where all partitions that moved stand, and what became of their events, since the last
    /// call. Partitions that are exhausted are let go.
    pub fn snapshot(&mut self) -> (Vec<PartitionProgress>, Ledger) {
        let mut progress = Vec::new();
        self.partitions.retain_mut(|partition| {
            progress.extend(partition.moved(&self.dead_letters));
            let exhausted = partition.is_exhausted();
            if exhausted {
                self.exhausted_max_ms = self.exhausted_max_ms.max(partition.watermark.at_ms());
            }
            !exhausted
        });
        (progress, std::mem::take(&mut self.ledger))
    }
}

/// Decides on the events of a partition, and passes on what is accepted.
struct Judge<'a> {
    watermark_limit_ms: i64,
    closed_through: Epoch,
    replaying: bool,
    epochs: &'a mut Epochs,
    wanted: &'a mut BTreeSet<Epoch>,
    ledger: &'a mut Ledger,
}

impl Judge<'_> {
    /// Deals with the next events of a partition, `events_max` at most, until one must wait.
    /// Returns how many.
    fn pass_on(&mut self, partition: &mut Partition, events_max: usize) -> usize {
        let start = partition.next;
        let replayed = partition.is_replaying();
        let end = match replayed {
            true => partition.first_event_from(partition.counted_from),
            false => partition.batch.events.len(),
        };
        // Consecutive events mostly fare alike, so they are counted together.
        let mut alike: Option<(Epoch, Verdict, u64)> = None;
        while partition.next < end && partition.next - start < events_max {
            let event = partition.batch.events[partition.next];
            let before_ms = partition.watermark.at_ms();
            let judged = partition.waiting.take();
            let (judgement, before_ms) =
                judged.unwrap_or_else(|| (partition.watermark.read(&event), before_ms));
            let Some(verdict) = self.admit(partition, &event, &judgement, before_ms) else {
                partition.waiting = Some((judgement, before_ms));
                partition.held_back = true;
                break;
            };
            partition.next += 1;
            if replayed {
                continue;
            }
            match &mut alike {
                Some((epoch, same, events)) if *epoch == judgement.epoch && *same == verdict => {
                    *events += 1;
                }
                _ => {
                    self.count(partition.name.kind, alike.take());
                    alike = Some((judgement.epoch, verdict, 1));
                }
            }
        }
        self.count(partition.name.kind, alike);
        partition.next - start
    }

    fn count(&mut self, kind: Kind, alike: Option<(Epoch, Verdict, u64)>) {
        if let Some((epoch, verdict, events)) = alike {
            self.ledger.record(epoch, kind, verdict, events);
        }
    }

    /// What finally becomes of an event, and if it is accepted, passes it on; none if it must wait.
    fn admit(
        &mut self,
        partition: &mut Partition,
        event: &Event,
        judgement: &Judgement,
        before_ms: Option<i64>,
    ) -> Option<Verdict> {
        if judgement.verdict != Verdict::Accepted {
            return Some(judgement.verdict);
        }
        if judgement.epoch <= self.closed_through {
            return Some(Verdict::Late);
        }
        // What is replayed opens only epochs that were open before.
        let is_ahead = partition.watermark.at_ms() > Some(self.watermark_limit_ms);
        if is_ahead && !self.replaying {
            return None;
        }
        let epochs = partition.watermark.contributes_to(judgement.epoch);
        let first = (*epochs.start()).max(self.closed_through.0.saturating_add(1));
        let epochs = first..=*epochs.end();
        // Epochs that the event before went to stay ready until they close.
        let is_new_epoch = partition.last_epoch != judgement.epoch;
        if is_new_epoch && !self.all_ready(epochs.clone()) {
            return None;
        }
        for epoch in epochs.clone().map(Epoch) {
            let touch = match partition.name.kind {
                Kind::Impression => Touch::SHOWN,
                Kind::Play if epoch == judgement.epoch => Touch::PLAYED_HERE,
                Kind::Play => Touch::PLAYED,
            };
            let open = self.epochs.ready(epoch).expect("all epochs of the event are ready");
            open.send(event.request, event.video, touch);
        }
        if is_new_epoch {
            partition.last_epoch = judgement.epoch;
            for epoch in epochs.map(Epoch) {
                partition.starts.entry(epoch).or_insert((event.offset, before_ms));
            }
        }
        Some(Verdict::Accepted)
    }

    /// Whether touches can be sent to all these epochs; those that are not open become wanted.
    fn all_ready(&mut self, epochs: std::ops::RangeInclusive<i64>) -> bool {
        let mut all_ready = true;
        for epoch in epochs.map(Epoch) {
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
