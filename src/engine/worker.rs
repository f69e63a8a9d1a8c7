//! The loop of a worker: execute commands, read events, step the dataflows, forward, report.

use super::activity::Activity;
use super::epochs::Epochs;
use super::holding::Holder;
use super::ingest::Ingest;
use super::leader::Leader;
use super::memory::{Memory, Supply};
use super::meter::{Part, WorkerMeter};
use super::pace::Pace;
use super::protocol::{Channels, Command, Report};
use super::table::{Table, WorkerProgress};
use super::{EngineError, Job, Summary};
use crate::log::PartitionProgress;
use crate::query::Digests;
use crate::sources::{Discovered, Moved, Source};
use crate::stores::LeaseState;
use crate::time::{Publication, Round, Through};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use timely::worker::Worker;

/// How often a source is maintained and the lag is measured.
const MAINTENANCE_INTERVAL: Duration = Duration::from_millis(500);

/// Runs a worker until the job ends.
///
/// # Errors
/// If this worker or another one fails.
pub fn run(worker: &mut Worker, job: &Job, memory: Arc<Memory>) -> Result<Summary, EngineError> {
    job.counters.set_replaying(true);
    let meter = job.counters.meter().add_worker(worker.index());
    if job.counters.meter().is_served() {
        meter.operators.install(worker);
    }
    let mut state = State::build(worker, job, memory, Arc::clone(&meter));
    meter.doing.begin(Activity::OpeningStore);
    let mut leader = (state.index == 0).then(|| Leader::new(&mut state, job));
    let mut began = Instant::now();
    while !state.ended {
        if let Some(leader) = &mut leader {
            meter.doing.begin(Activity::Leading);
            leader.step(&mut state, job);
        }
        meter.doing.begin(Activity::Executing);
        state.execute_commands(worker);
        let busy = state.read();
        meter.doing.begin(Activity::Forwarding);
        state.end_round_if_due();
        state.forward();
        state.check_memory();
        state.report();
        state.maintain();
        let pause = if busy { Duration::ZERO } else { state.pause() };
        meter.doing.begin(Activity::Stepping(pause.as_millis() as u64));
        worker.step_or_park(Some(pause));
        let ended = Instant::now();
        meter.add(Part::Loop, ended - began);
        began = ended;
    }
    meter.doing.begin(Activity::ClosingStore);
    state.summary.live_epochs_max = state.epochs.live_max();
    if let Some(leader) = leader {
        let ended = match (&state.failure, state.summary.stopped) {
            (Some(_), _) => LeaseState::Failed,
            (None, true) => LeaseState::Stopped,
            (None, false) => LeaseState::Finished,
        };
        leader.finish(&mut state, ended);
    }
    meter.doing.begin(Activity::Waiting);
    match state.failure {
        Some(failure) => Err(failure),
        None => Ok(state.summary),
    }
}

/// The state of a worker.
pub(super) struct State<'a> {
    index: usize,
    job: &'a Job,
    pub(super) meter: Arc<WorkerMeter>,
    pub(super) source: Box<dyn Source>,
    pub(super) channels: Channels,
    epochs: Epochs,
    ingest: Ingest,
    pub(super) table: Table,
    pace: Pace,
    /// The time of the first read in the current round.
    round_began: Instant,
    /// The time of the last read.
    read_at: Instant,
    /// Rounds that have ended but are not complete, with the times of their first reads, oldest
    /// first.
    in_flight: VecDeque<(Round, Instant)>,
    /// Publications that have ended but are not complete, oldest first.
    ended_publications: VecDeque<EndedPublication>,
    assigned: u64,
    drained: bool,
    last_report: Option<Report>,
    maintained_at: Option<Instant>,
    holder: Option<Holder>,
    memory: Arc<Memory>,
    memory_is_scarce: bool,
    failure: Option<EngineError>,
    ended: bool,
    pub(super) summary: Summary,
}

/// A publication that a worker has left.
struct EndedPublication {
    publication: Publication,
    /// The publication that the worker entered next.
    next: Publication,
    /// The progress of the worker at its end; the digests are added when it is complete.
    progress: WorkerProgress,
}

impl<'a> State<'a> {
    /// Builds the dataflows that live as long as the job, in the same order on every worker.
    fn build(
        worker: &mut Worker,
        job: &'a Job,
        memory: Arc<Memory>,
        meter: Arc<WorkerMeter>,
    ) -> State<'a> {
        let round = Round::first(Publication::REPLAY);
        let settings = &job.settings;
        let channels = Channels::build(worker);
        let table = Table::build(worker, settings);
        let epochs = Epochs::build(worker, settings, round);
        let (dead_letters, counters) = (Arc::clone(&job.dead_letters), Arc::clone(&job.counters));
        State {
            index: worker.index(),
            job,
            source: (job.source)(),
            channels,
            epochs,
            ingest: Ingest::new(settings, dead_letters, counters, Arc::clone(&meter)),
            meter,
            table,
            pace: Pace::new(round),
            round_began: Instant::now(),
            read_at: Instant::now(),
            in_flight: VecDeque::new(),
            ended_publications: VecDeque::new(),
            assigned: 0,
            drained: false,
            last_report: None,
            maintained_at: None,
            holder: None,
            memory,
            memory_is_scarce: false,
            failure: None,
            ended: false,
            summary: Summary::default(),
        }
    }

    /// Records a failure, which ends the job. Only the first one is reported.
    pub(super) fn fail(&mut self, failure: EngineError) {
        self.failure.get_or_insert(failure);
    }

    /// Whether a failure was recorded.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    fn execute_commands(&mut self, worker: &mut Worker) {
        while let Some(command) = self.channels.next_command() {
            match command {
                Command::Assign { worker, partition, progress } => {
                    self.assign(worker, &partition, progress.map(|at| *at));
                }
                Command::Relocate(moved) => self.relocate(&moved),
                Command::Open(epoch) => {
                    self.epochs.open(worker, epoch, self.pace.round());
                    self.summary.epochs += 1;
                }
                Command::Close(through) => {
                    self.ingest.close(through);
                    self.epochs.close(through);
                }
                Command::Generation(generation) => self.table.set_generation(generation),
                Command::Gather(epoch) => self.epochs.gather_members(epoch),
                Command::Align { slowest_ms, limit_ms } => {
                    self.job.counters.set_watermark(slowest_ms);
                    self.ingest.align(limit_ms);
                }
                Command::Advance(round) => self.follow(round),
                Command::Begin { round, clock_ms, granted } => {
                    self.follow(round);
                    self.ingest.begin_publication(granted[self.index], clock_ms);
                }
                Command::Finalize(through) => self.finalize(through),
                Command::Drain => self.drain(),
                Command::End => self.ended = true,
                Command::Abort(failure) => {
                    self.ended = true;
                    self.fail(EngineError::Worker(failure));
                }
            }
        }
    }

    fn finalize(&mut self, through: Through) {
        if let Some(across) = self.table.across() {
            across.finalize(through);
        }
    }

    fn relocate(&mut self, moved: &Moved) {
        match self.ingest.relocate(self.source.as_ref(), moved) {
            Ok(false) => {}
            // A loss is committed like records.
            Ok(true) => {
                self.round_began =
                    if self.pace.is_empty() { Instant::now() } else { self.round_began };
                self.pace.note_read();
            }
            Err(error) => self.fail(error.into()),
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
        tracing::info!("worker {worker} reads {}", partition.name);
        self.maintained_at = None;
        if let Err(error) = self.ingest.open(self.source.as_ref(), partition, progress) {
            self.fail(error.into());
        }
    }

    /// Stops reading, and ends the round so that everything read becomes complete.
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
            && self.rows_waiting() < self.job.settings.rows_waiting_max
    }

    /// The number of rows, sums and counts of the ledger that wait for the end of a publication.
    fn rows_waiting(&self) -> usize {
        self.epochs.rows_waiting() + self.ingest.ledger_rows()
    }

    /// Reads more events in this round. Returns whether more can be read immediately.
    fn read(&mut self) -> bool {
        if !self.may_read() {
            return false;
        }
        let now = Instant::now();
        match self.ingest.poll(&mut self.epochs, now) {
            Ok(progress) => {
                if progress.work > 0 {
                    self.read_at = now;
                    self.round_began = if self.pace.is_empty() { now } else { self.round_began };
                    self.pace.note_read();
                }
                if progress.budget_spent {
                    self.end_round();
                }
                progress.budget_spent
            }
            Err(error) => {
                self.fail(error.into());
                false
            }
        }
    }

    /// Ends the round if it has been open for a tick, if no new events have arrived for a moment,
    /// or if none will arrive. A steady stream fills a round for a whole tick: small rounds cost
    /// much more than large ones.
    fn end_round_if_due(&mut self) {
        let settings = &self.job.settings;
        let waited = self.round_began.elapsed() >= settings.tick;
        let paused = self.read_at.elapsed() >= settings.poll_interval;
        let is_over = waited || paused && self.ingest.is_caught_up() || self.ingest.is_exhausted();
        if is_over {
            self.end_round();
        }
    }

    /// Ends the round, unless nothing was read in it.
    fn end_round(&mut self) {
        if let Some(next) = self.pace.end() {
            self.enter(next);
        }
    }

    /// Follows the others into a round.
    fn follow(&mut self, round: Round) {
        if let Some(round) = self.pace.follow(round) {
            self.enter(round);
        }
    }

    /// Enters a later round. If it belongs to another publication, records the progress of this
    /// worker at the end of the current one.
    fn enter(&mut self, round: Round) {
        let (before, after) = (self.pace.round().publication(), round.publication());
        if after > before {
            // The store already contains the progress of the replay.
            let is_after_replay = before > Publication::REPLAY;
            let (partitions, ledger) =
                if is_after_replay { self.ingest.snapshot() } else { Default::default() };
            self.job.counters.set_begun();
            self.meter.doing.begin(Activity::EndingRound);
            // Before the positions after them are forwarded.
            if let Err(error) = self.job.dead_letters.flush() {
                self.fail(error.into());
            }
            let closed_through = self.ingest.closed_through();
            let (arrivals, reached) = (self.ingest.take_arrivals(), self.ingest.reached());
            let (digests, recorded) = (Digests::new(), self.ingest.take_recorded());
            let progress = WorkerProgress {
                partitions,
                ledger,
                closed_through,
                digests,
                arrivals,
                reached,
                recorded,
            };
            let ended = EndedPublication { publication: before, next: after, progress };
            self.ended_publications.push_back(ended);
            self.ingest.go_live();
            self.job.counters.set_replaying(false);
        }
        if !self.pace.is_empty() {
            self.in_flight.push_back((self.pace.round(), self.round_began));
        }
        self.pace.enter(round);
        self.ingest.begin_round();
        self.epochs.advance_to(round);
    }

    /// Forwards the publications that have become complete. A worker that has failed forwards none,
    /// so that nothing more is committed.
    fn forward(&mut self) {
        if self.failure.is_some() {
            return;
        }
        if let Some(error) = self.table.take_failure() {
            return self.fail(error.into());
        }
        let closed = self.epochs.take_closed_members(self.table.publication());
        if !closed.is_empty() {
            self.table.send_members(closed);
        }
        let frontier = self.epochs.frontier();
        self.epochs.retire();
        while let Some((round, began)) = self.in_flight.front()
            && *round < frontier
        {
            self.summary.round_times.add(began.elapsed());
            self.job.counters.meter().rounds.observe(began.elapsed());
            self.summary.state_max = self.summary.state_max.max(self.epochs.size());
            self.in_flight.pop_front();
        }
        while let Some(ended) = self.ended_publications.front()
            && frontier >= Round::first(ended.next)
            && let Some(ended) = self.ended_publications.pop_front()
        {
            let EndedPublication { publication, next, mut progress } = ended;
            assert_eq!(publication, self.table.publication(), "publications are consecutive");
            let (rows, digests) = self.epochs.take_rows(publication);
            progress.digests = digests;
            let members = self.epochs.take_members(publication);
            self.table.forward(rows, members, progress, next);
        }
    }

    /// Whether all available records are processed, and nothing was read for a poll interval.
    fn is_quiet(&self) -> bool {
        let settled = self.read_at.elapsed() > self.job.settings.poll_interval;
        self.pace.is_empty() && settled && self.ingest.is_caught_up()
    }

    /// Looks how much memory is left. Fails if the process has reached its limit.
    fn check_memory(&mut self) {
        let supply = self.memory.supply();
        self.memory_is_scarce = supply != Supply::Ample;
        if let Supply::Exhausted(used) = supply
            && !self.has_failed()
        {
            let largest = self.epochs.largest().map_or("no epoch is open".into(), |largest| {
                let (epoch, showings) = largest;
                let start = self.job.settings.definition.start_rfc3339(epoch);
                format!(
                    "the largest open epoch is {epoch} ({start}), with {showings} showings on \
                     worker {}",
                    self.index
                )
            });
            self.fail(EngineError::State { used, limit: self.memory.limit(), largest });
        }
    }

    /// Sends a report to worker 0 if the state has changed.
    fn report(&mut self) {
        let job = self.job;
        let (asked, granted) = self.ingest.requests();
        let report = Report {
            worker: self.index,
            round: self.pace.round(),
            assigned: self.assigned,
            replayed: self.ingest.is_replayed(),
            asked,
            granted,
            watermarks: self.ingest.watermarks(),
            wanted: self.ingest.wanted(),
            completed: self.epochs.completed(),
            round_is_empty: self.pace.is_empty(),
            quiet: self.is_quiet(),
            memory_is_scarce: self.memory_is_scarce,
            holder: self.holder.clone(),
            row_limit_near: self.rows_waiting() * 2 >= job.settings.rows_waiting_max,
            drained: self.drained,
            stop: job.stop.load(Ordering::Relaxed),
            failure: self.failure.as_ref().map(EngineError::to_failure),
        };
        if self.last_report.as_ref() != Some(&report) {
            self.channels.report(report.clone());
            self.last_report = Some(report);
        }
    }

    /// Maintains the source, and measures the lag for the progress display, from time to time.
    fn maintain(&mut self) {
        let maintained_at = self.maintained_at;
        if maintained_at.is_none_or(|at| at.elapsed() >= MAINTENANCE_INTERVAL) {
            let now = Instant::now();
            self.maintained_at = Some(now);
            self.meter.doing.begin(Activity::Maintaining);
            let (counters, is_full) = (&self.job.counters, !self.may_read());
            counters.set_lag(self.index, self.ingest.lag());
            if counters.meter().is_served() {
                counters.set_partitions(self.index, self.ingest.states(is_full));
                self.meter.set_slow(self.epochs.sizes(), now);
            }
            self.meter.in_flight.store(self.in_flight.len() as u64, Ordering::Relaxed);
            self.meter.rows_waiting.store(self.rows_waiting() as u64, Ordering::Relaxed);
            self.meter.dataflows.store(self.epochs.live() as u64, Ordering::Relaxed);
            self.holder = self.ingest.holder(is_full);
            if let Err(error) = self.source.maintain() {
                self.fail(error.into());
            }
        }
    }

    /// Returns how long to park if no message arrives.
    fn pause(&self) -> Duration {
        let settings = &self.job.settings;
        if self.pace.is_empty() {
            return settings.poll_interval;
        }
        settings.tick.saturating_sub(self.round_began.elapsed()).min(settings.poll_interval)
    }
}
