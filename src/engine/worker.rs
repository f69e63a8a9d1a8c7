//! The loop of a worker: obey orders, read a round, let the dataflows run, hand on, report.

use super::committer::Committer;
use super::control::{Control, Order, Report};
use super::coordinator::{Coordinator, Rules};
use super::epochs::Epochs;
use super::intake::Intake;
use super::table::{Table, WorkerProgress};
use super::{EngineError, Job, Summary};
use crate::digest::Digests;
use crate::rounds;
use crate::sources::{Discovered, PartitionName, Source, SourceError};
use crate::stores::{PartitionProgress, Progress, Publication};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use timely::worker::Worker;

/// How many rounds a worker that is filling one may be behind the others.
const ROUNDS_BEHIND_MAX: u64 = 2;
/// How often to look for new partitions while following.
const DISCOVERY_INTERVAL: Duration = Duration::from_millis(500);

/// Runs a worker until the job ends.
///
/// # Errors
/// When this worker or another one fails.
pub fn run(worker: &mut Worker, job: &Job) -> Result<Summary, EngineError> {
    job.counters.set_launched();
    let mut state = State::build(worker, job);
    let mut head = state.head(job);
    while !state.ended {
        if let Some(head) = &mut head {
            head.lead(&mut state, job);
        }
        state.obey(worker);
        let busy = state.read();
        state.end_round_if_due();
        state.hand_on();
        state.report();
        let pause = if busy { Duration::ZERO } else { state.pause() };
        worker.step_or_park(Some(pause));
    }
    state.summary.live_epochs_max = state.epochs.live_max();
    match state.failure {
        Some(failure) => Err(failure),
        None => Ok(state.summary),
    }
}

/// What a worker has and knows.
struct State<'a> {
    index: usize,
    job: &'a Job,
    /// What this worker computes, as [`Settings::description`] tells it.
    description: String,
    source: Box<dyn Source>,
    control: Control,
    epochs: Epochs,
    intake: Intake,
    table: Table,
    /// The round that is being filled, since when, and whether anything was read in it.
    round: u64,
    round_began: Instant,
    round_is_empty: bool,
    /// When something was last read.
    read_at: Instant,
    /// Rounds that were ended and are not complete, oldest first.
    in_flight: VecDeque<u64>,
    /// What to hand on of publications that were ended and are not complete, oldest first.
    ended_publications: VecDeque<(u64, WorkerProgress)>,
    assigned: u64,
    drained: bool,
    last_report: Option<Report>,
    failure: Option<EngineError>,
    ended: bool,
    summary: Summary,
}

impl<'a> State<'a> {
    /// Builds the dataflows that live as long as the job, in the same order on every worker.
    fn build(worker: &mut Worker, job: &'a Job) -> State<'a> {
        let round = rounds::first(rounds::REPLAY);
        let settings = &job.settings;
        let control = Control::build(worker);
        let table = Table::build(worker, rounds::publication(round));
        let epochs = Epochs::build(worker, settings, round);
        let dead_letters = Arc::clone(&job.dead_letters);
        State {
            index: worker.index(),
            job,
            description: settings.description(),
            source: (job.source)(),
            control,
            epochs,
            intake: Intake::new(settings, dead_letters, Arc::clone(&job.counters)),
            table,
            round,
            round_began: Instant::now(),
            round_is_empty: true,
            read_at: Instant::now(),
            in_flight: VecDeque::new(),
            ended_publications: VecDeque::new(),
            assigned: 0,
            drained: false,
            last_report: None,
            failure: None,
            ended: false,
            summary: Summary::default(),
        }
    }

    /// What makes worker 0 the first.
    fn head(&mut self, job: &Job) -> Option<Head> {
        (self.index == 0).then(|| Head::new(self, job))
    }

    fn obey(&mut self, worker: &mut Worker) {
        while let Some(order) = self.control.next_order() {
            match order {
                Order::Assign { worker, partition, progress } => {
                    self.assign(worker, &partition, progress);
                }
                Order::Open(epoch) => {
                    self.epochs.open(worker, epoch, self.round);
                    self.summary.epochs += 1;
                }
                Order::Close(epoch) => {
                    self.intake.close_through(epoch);
                    self.epochs.close_through(epoch);
                }
                Order::Align(slowest_ms) => self.intake.align(slowest_ms),
                Order::Advance(round) => self.follow(round),
                Order::Final(epoch) => self.intake.finalize_through(epoch),
                Order::Drain => self.drain(),
                Order::End => self.ended = true,
                Order::Abort(reason) => {
                    self.ended = true;
                    self.failure.get_or_insert(EngineError::Worker(reason));
                }
            }
        }
    }

    fn assign(
        &mut self,
        worker: usize,
        partition: &Discovered,
        progress: Option<PartitionProgress>,
    ) {
        self.assigned += 1;
        if worker != self.index {
            return;
        }
        self.job.counters.add_bytes_total(partition.size_bytes);
        if let Err(error) = self.intake.open(self.source.as_ref(), partition, progress) {
            self.failure.get_or_insert(error.into());
        }
    }

    /// Reads no further, and ends the round so that all that was read becomes complete.
    fn drain(&mut self) {
        self.drained = true;
        self.summary.stopped = true;
        self.end_round();
    }

    /// Whether more may be read now.
    fn may_read(&self) -> bool {
        !self.drained
            && self.failure.is_none()
            && self.in_flight.len() < self.job.settings.rounds_in_flight
            && self.epochs.rows_waiting() < self.job.settings.rows_waiting_max
    }

    /// Reads on in this round. Returns whether there is more to read at once.
    fn read(&mut self) -> bool {
        if !self.may_read() {
            return false;
        }
        let now = Instant::now();
        match self.intake.poll(&mut self.epochs, now) {
            Ok(progress) => {
                if progress.records > 0 {
                    self.read_at = now;
                    self.round_began = if self.round_is_empty { now } else { self.round_began };
                    self.round_is_empty = false;
                }
                if progress.full {
                    self.end_round();
                }
                progress.full
            }
            Err(error) => {
                self.failure.get_or_insert(error.into());
                false
            }
        }
    }

    /// Ends a round that has waited long enough, or to which nothing was added for a moment. A
    /// steady stream fills rounds for a tick: small rounds cost much more than large ones.
    fn end_round_if_due(&mut self) {
        let settings = &self.job.settings;
        let waited = self.round_began.elapsed() >= settings.tick;
        let paused = self.read_at.elapsed() >= settings.poll_interval;
        if !self.round_is_empty && (waited || paused && self.intake.is_caught_up()) {
            self.end_round();
        }
    }

    /// Ends the round, unless nothing was read in it.
    fn end_round(&mut self) {
        if !self.round_is_empty
            && let Some(next) = rounds::next(self.round)
        {
            self.enter(next);
        }
    }

    /// Follows the others into a round. The border of a publication is crossed at once. Otherwise
    /// a round that is being filled is left to fill, unless the others are too far ahead: if every
    /// worker ended its round whenever another did, all rounds would be small.
    fn follow(&mut self, round: u64) {
        let crosses = rounds::publication(round) > rounds::publication(self.round);
        let behind = round.saturating_sub(self.round);
        if crosses || behind > ROUNDS_BEHIND_MAX || behind > 0 && self.round_is_empty {
            self.enter(round);
        }
    }

    /// Enters a later round, and if it belongs to another publication, puts down where this
    /// worker stood at the end of the last.
    fn enter(&mut self, round: u64) {
        let (before, after) = (rounds::publication(self.round), rounds::publication(round));
        if after > before {
            // Of what is replayed, nothing is news.
            let is_news = before > rounds::REPLAY;
            let (partitions, ledger) =
                if is_news { self.intake.snapshot() } else { Default::default() };
            self.job.dead_letters.flush();
            let closed_through = self.intake.closed_through();
            let digests = Digests::new();
            let progress = WorkerProgress { partitions, ledger, closed_through, digests };
            self.ended_publications.push_back((before, progress));
            self.intake.go_live();
        }
        if !self.round_is_empty {
            self.in_flight.push_back(self.round);
        }
        self.round = round;
        self.round_is_empty = true;
        self.intake.begin_round();
        self.epochs.advance_to(round);
    }

    /// Hands on the publications that have become complete.
    fn hand_on(&mut self) {
        let frontier = self.epochs.frontier();
        self.epochs.retire();
        while self.in_flight.front().is_some_and(|round| *round < frontier) {
            self.in_flight.pop_front();
        }
        while let Some((publication, _)) = self.ended_publications.front()
            && frontier >= rounds::first(publication + 1)
            && let Some((publication, mut progress)) = self.ended_publications.pop_front()
        {
            assert_eq!(publication, self.table.publication(), "publications come one by one");
            let (rows, digests) = self.epochs.take_rows(publication);
            progress.digests = digests;
            self.table.hand_on(rows, progress);
        }
    }

    /// Whether all that is there is dealt with, and one more look at it has brought nothing.
    fn is_quiet(&self) -> bool {
        let settled = self.read_at.elapsed() > self.job.settings.poll_interval;
        self.round_is_empty && settled && self.intake.is_caught_up()
    }

    /// Tells worker 0 how things stand, if that has changed.
    fn report(&mut self) {
        let job = self.job;
        let report = Report {
            worker: self.index,
            job: self.description.clone(),
            round: self.round,
            assigned: self.assigned,
            replayed: self.intake.is_replayed(),
            watermarks: self.intake.watermarks(),
            wanted: self.intake.wanted(),
            completed: self.epochs.completed(),
            quiet: self.is_quiet(),
            pressed: self.epochs.rows_waiting() * 2 >= job.settings.rows_waiting_max,
            drained: self.drained,
            stop: job.stop.load(Ordering::Relaxed),
            failure: self.failure.as_ref().map(ToString::to_string),
        };
        if self.last_report.as_ref() != Some(&report) {
            self.control.report(report.clone());
            self.last_report = Some(report);
        }
    }

    /// How long to sleep if no message comes, which is when nothing can be done.
    fn pause(&self) -> Duration {
        let settings = &self.job.settings;
        if self.round_is_empty {
            return settings.poll_interval;
        }
        settings.tick.saturating_sub(self.round_began.elapsed()).min(settings.poll_interval)
    }
}

/// What only worker 0 has: it decides, looks for partitions, and brings publications to the store.
struct Head {
    coordinator: Coordinator,
    /// What the store reflects, until replay has shown that the logs still say the same.
    progress: Option<Progress>,
    launched_at: Instant,
    /// The positions of the publication that is being committed.
    positions: Vec<(PartitionName, u64)>,
    committer: Option<Committer>,
    known: BTreeSet<PartitionName>,
    looked_at: Option<Instant>,
}

impl Head {
    fn new(state: &mut State<'_>, job: &Job) -> Head {
        let settings = &job.settings;
        let mut store = job.store.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        let progress = store.as_mut().map_or(Ok(Progress::default()), |store| store.progress());
        let progress = progress.unwrap_or_else(|error| {
            state.failure.get_or_insert(error.into());
            Progress::default()
        });
        state.table.resume(&progress.partitions);
        let rules = Rules {
            definition: settings.definition,
            job: settings.description(),
            workers: state.table.workers(),
            open_epochs_max: settings.definition.open_epochs_max(settings.alignment_ms),
            publish_interval: settings.publish_interval,
            follow: settings.follow,
            progress: progress.clone(),
        };
        let coordinator = Coordinator::new(rules, Instant::now());
        state.control.order(coordinator.begin());
        Head {
            coordinator,
            progress: Some(progress),
            launched_at: Instant::now(),
            positions: Vec::new(),
            committer: store.map(|store| Committer::start(store, std::thread::current())),
            known: BTreeSet::new(),
            looked_at: None,
        }
    }

    fn lead(&mut self, state: &mut State<'_>, job: &Job) {
        let mut orders = Vec::new();
        for report in state.control.reports() {
            self.coordinator.hear(report);
        }
        if let Err(error) = self.look_for_partitions(state, job, &mut orders) {
            state.failure.get_or_insert(error);
        }
        if let Err(error) = self.commit(state, &mut orders) {
            self.committer = None;
            state.failure.get_or_insert(error);
        }
        orders.extend(self.coordinator.decide(Instant::now()));
        if !orders.is_empty() {
            state.control.order(orders);
        }
    }

    /// Assigns partitions that were not known: at the start, and again and again when following.
    fn look_for_partitions(
        &mut self,
        state: &mut State<'_>,
        job: &Job,
        orders: &mut Vec<Order>,
    ) -> Result<(), EngineError> {
        let settings = &job.settings;
        let due = match self.looked_at {
            None => true,
            Some(at) => settings.follow && at.elapsed() >= DISCOVERY_INTERVAL,
        };
        if due && state.failure.is_none() {
            self.looked_at = Some(Instant::now());
            let mut discovered = state.source.discover()?;
            discovered.retain(|partition| self.known.insert(partition.name.clone()));
            self.find_lost()?;
            orders.extend(self.coordinator.assign(discovered));
        }
        Ok(())
    }

    /// Makes sure that all partitions are there that must be replayed.
    fn find_lost(&self) -> Result<(), SourceError> {
        let Some(progress) = &self.progress else { return Ok(()) };
        let needed = progress.partitions.iter().filter(|at| at.replay_offset < at.next_offset);
        match needed.into_iter().find(|at| !self.known.contains(&at.partition)) {
            Some(lost) => Err(SourceError::Lost {
                partition: lost.partition.clone(),
                offset: lost.replay_offset,
            }),
            None => Ok(()),
        }
    }

    /// Brings a complete publication to the store, and learns what was committed.
    fn commit(
        &mut self,
        state: &mut State<'_>,
        orders: &mut Vec<Order>,
    ) -> Result<(), EngineError> {
        let Some(committer) = &self.committer else { return Ok(()) };
        match state.table.receive() {
            Some((rounds::REPLAY, rebuilt)) => {
                if let Some(progress) = self.progress.take() {
                    state.summary.replay = self.launched_at.elapsed();
                    compare(&progress, &rebuilt)?;
                    committer.restore(rebuilt.rows);
                }
            }
            Some((publication, content)) => {
                let partitions = content.partitions.iter();
                self.positions =
                    partitions.map(|at| (at.partition.clone(), at.next_offset)).collect();
                committer.commit(publication, content);
            }
            None => {}
        }
        if let Some(committed) = committer.done()? {
            state.summary.publications += 1;
            state.source.committed(&std::mem::take(&mut self.positions));
            orders.extend(self.coordinator.committed(committed));
        }
        Ok(())
    }
}

/// Compares what a replay has rebuilt with what the store reflects.
fn compare(progress: &Progress, rebuilt: &Publication) -> Result<(), EngineError> {
    let epochs: BTreeSet<_> = progress.digests.keys().chain(rebuilt.digests.keys()).collect();
    match epochs.into_iter().find(|at| progress.digests.get(at) != rebuilt.digests.get(at)) {
        Some(epoch) => Err(EngineError::Replay { epoch: epoch.0 }),
        None => Ok(()),
    }
}
