//! What worker 0 decides: which epochs open and close, when a publication begins, when to end.
//!
//! A state machine without input, output or clock: reports go in, commands come out.

#[cfg(test)]
mod tests;

use super::protocol::{Command, Report, SlowestWatermark, Watermarks};
use crate::sources::Discovered;
use crate::stores::Progress;
use crate::time::{Definition, Epoch, Publication, Round, Through};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// What the coordinator needs to know of a job.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What is computed.
    pub definition: Definition,
    /// The same with the queries, in words, as every worker must report it.
    pub job: String,
    /// How many workers there are.
    pub workers: usize,
    /// How many dataflows of epochs may live on a worker at a time.
    pub open_epochs_max: usize,
    /// How often to publish.
    pub publish_interval: Duration,
    /// Whether more may follow once everything is read.
    pub follow: bool,
    /// What the store reflects at the start.
    pub progress: Progress,
}

/// What the store has reached, as far as the coordinator must know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// The last publication that was committed.
    pub publication: Publication,
    /// How far epochs are final in it.
    pub final_through: Through,
}

/// The state machine of worker 0.
pub struct Coordinator {
    rules: Rules,
    reports: Vec<Option<Report>>,
    /// Bytes assigned to each worker.
    loads: Vec<u64>,
    assigned: u64,
    /// Epochs that were opened and not closed.
    open: BTreeSet<Epoch>,
    /// How many epochs were ever opened.
    opened: u64,
    closed_through: Through,
    aligned_ms: Option<i64>,
    round: Round,
    begun_at: Instant,
    /// Whether the state that the store reflects is not rebuilt yet. No epoch closes until it is:
    /// the partitions are read again from where they were, not from where they are.
    replaying: bool,
    /// Whether nothing will ever come any more.
    exhausted: bool,
    /// Since when the current publication holds something new.
    changed_at: Option<Instant>,
    committed: Committed,
    /// What the last publication took in, to tell whether another would hold anything new.
    published: Option<Activity>,
    draining: bool,
    ended: bool,
}

/// What a publication would hold something new of, if it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Activity {
    round: Round,
    completed: u64,
    closed_through: Through,
}

impl Coordinator {
    /// At the start of a job, which begins with its replay.
    pub fn new(rules: Rules, now: Instant) -> Coordinator {
        let final_through = rules.progress.final_through;
        Coordinator {
            closed_through: final_through,
            reports: vec![None; rules.workers],
            loads: vec![0; rules.workers],
            rules,
            assigned: 0,
            open: BTreeSet::new(),
            opened: 0,
            aligned_ms: None,
            round: Round::first(Publication::REPLAY),
            begun_at: now,
            replaying: true,
            exhausted: false,
            changed_at: None,
            committed: Committed { final_through, ..Committed::default() },
            published: None,
            draining: false,
            ended: false,
        }
    }

    /// What every worker must do before anything else: learn what is final in the store.
    pub fn begin(&self) -> Vec<Command> {
        match self.closed_through {
            Through::Nothing => Vec::new(),
            through => vec![Command::Close(through), Command::Finalize(through)],
        }
    }

    /// Receives a report.
    pub fn receive(&mut self, report: Report) {
        let worker = report.worker;
        self.reports[worker] = Some(report);
    }

    /// Learns what the store has reached.
    pub fn committed(&mut self, committed: Committed) -> Vec<Command> {
        let is_news = committed.final_through > self.committed.final_through;
        self.committed = committed;
        is_news.then_some(Command::Finalize(committed.final_through)).into_iter().collect()
    }

    /// Shares new partitions out, the largest first, each to the worker with the least so far.
    pub fn assign(&mut self, mut discovered: Vec<Discovered>) -> Vec<Command> {
        discovered.sort_by(|one, other| {
            other.size_bytes.cmp(&one.size_bytes).then_with(|| one.name.cmp(&other.name))
        });
        let commands = discovered.into_iter().map(|partition| {
            let lightest = (0..self.loads.len()).min_by_key(|worker| self.loads[*worker]);
            let worker = lightest.unwrap_or(0);
            self.loads[worker] += partition.size_bytes.max(1);
            let progress = self.rules.progress.partitions.get(&partition.name).cloned();
            Command::Assign { worker, partition, progress }
        });
        let commands: Vec<_> = commands.collect();
        self.assigned += commands.len() as u64;
        commands
    }

    /// Everything that is to be done now.
    pub fn decide(&mut self, now: Instant) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.ended {
            return commands;
        }
        let failure = self.reported().find_map(|report| self.fault(report));
        if let Some(failure) = failure {
            self.ended = true;
            return vec![Command::Abort(failure)];
        }
        if self.reported().any(|report| report.stop) && !self.draining {
            self.draining = true;
            commands.push(Command::Drain);
        }
        if let Some(watermarks) = self.watermarks()
            && !self.replaying
        {
            self.align(watermarks, &mut commands);
            self.close(watermarks, &mut commands);
        }
        self.open_wanted(&mut commands);
        self.advance(now, &mut commands);
        if self.is_finished() {
            self.ended = true;
            commands.push(Command::End);
        }
        commands
    }

    /// Why the job cannot go on with a worker.
    fn fault(&self, report: &Report) -> Option<String> {
        let differs = report.job != self.rules.job;
        let difference = differs.then(|| {
            format!(
                "worker {} computes {}, but worker 0 {}; start all processes with the same flags",
                report.worker, report.job, self.rules.job
            )
        });
        report.failure.clone().or(difference)
    }

    fn reported(&self) -> impl Iterator<Item = &Report> {
        self.reports.iter().flatten()
    }

    /// The watermarks of all partitions, once every worker has reported on all it was assigned.
    fn watermarks(&self) -> Option<Watermarks> {
        let mut all = Watermarks::NONE;
        for report in &self.reports {
            let report = report.as_ref().filter(|report| report.assigned == self.assigned)?;
            all = all.merge(report.watermarks);
        }
        Some(all)
    }

    /// Lets partitions run as far as the slowest active one allows. While none is active, whoever
    /// wakes must not run ahead of the largest watermark, until it is known who else has woken.
    fn align(&mut self, watermarks: Watermarks, commands: &mut Vec<Command>) {
        let slowest_ms = match watermarks.slowest {
            SlowestWatermark::Unknown => None,
            SlowestWatermark::At(slowest_ms) => Some(slowest_ms),
            SlowestWatermark::NoneActive => watermarks.max_ms,
        };
        if let Some(slowest_ms) = slowest_ms
            && self.aligned_ms != Some(slowest_ms)
        {
            self.aligned_ms = Some(slowest_ms);
            commands.push(Command::Align(slowest_ms));
        }
    }

    /// Closes what no partition holds open.
    ///
    /// When no partition is active, only exhaustion of all says that nothing will follow. While
    /// all are idle, event time has passed as far as the largest watermark tells, and no further:
    /// a quiet night must not make the next morning's first event late.
    fn close(&mut self, watermarks: Watermarks, commands: &mut Vec<Command>) {
        self.exhausted = watermarks.exhausted && !self.rules.follow;
        let passed = |watermark_ms| self.rules.definition.closed_through(watermark_ms);
        let closed_through = match watermarks.slowest {
            SlowestWatermark::Unknown => Through::Nothing,
            SlowestWatermark::At(slowest_ms) => passed(slowest_ms),
            SlowestWatermark::NoneActive if self.exhausted => Through::Everything,
            SlowestWatermark::NoneActive => watermarks.max_ms.map_or(Through::Nothing, passed),
        };
        if closed_through > self.closed_through {
            self.closed_through = closed_through;
            self.open.retain(|epoch| !closed_through.contains(*epoch));
            commands.push(Command::Close(closed_through));
        }
    }

    /// Opens wanted epochs, the earliest first, as far as the bound on live dataflows allows.
    fn open_wanted(&mut self, commands: &mut Vec<Command>) {
        let wanted: BTreeSet<Epoch> =
            self.reported().flat_map(|report| report.wanted.iter().copied()).collect();
        for epoch in wanted {
            if self.closed_through.contains(epoch) || self.open.contains(&epoch) {
                continue;
            }
            let live = self.opened - self.completed_min();
            // Replay needs what was open before, which another bound may have allowed.
            if live >= self.rules.open_epochs_max as u64 && !self.replaying {
                break;
            }
            self.open.insert(epoch);
            self.opened += 1;
            commands.push(Command::Open(epoch));
        }
    }

    fn completed_min(&self) -> u64 {
        let completed =
            self.reports.iter().map(|report| report.as_ref().map_or(0, |r| r.completed));
        completed.min().unwrap_or(0)
    }

    /// Keeps the rounds of all workers together, and begins publications.
    fn advance(&mut self, now: Instant, commands: &mut Vec<Command>) {
        let latest = self.reported().map(|report| report.round).max().unwrap_or_default();
        let mut round = self.round.max(latest);
        if self.replaying {
            if self.is_replayed() {
                self.replaying = false;
                self.committed.publication = self.rules.progress.publication;
                round = Round::first(self.committed.publication.next());
            }
        } else if let Some(activity) = self.due_publication(round, now) {
            round = Round::first(round.publication().next());
            self.published = Some(Activity { round, ..activity });
            self.begun_at = now;
            self.changed_at = None;
        }
        if round > self.round {
            self.round = round;
            commands.push(Command::Advance(round));
        }
    }

    /// Whether all workers have replayed all partitions that there are.
    fn is_replayed(&self) -> bool {
        let replayed = |report: &Report| report.replayed && report.assigned == self.assigned;
        self.reports.iter().all(|report| report.as_ref().is_some_and(replayed))
    }

    /// Whether the current publication is to end now, and what it then takes in.
    ///
    /// After a pause longer than the interval it ends as soon as all that has come was read, so
    /// that a burst of events is published whole and at once.
    fn due_publication(&mut self, round: Round, now: Instant) -> Option<Activity> {
        let busy = self.committed.publication.next() < round.publication();
        if busy || self.reports.iter().any(Option::is_none) {
            return None;
        }
        let activity = self.activity(round);
        if self.published == Some(activity) {
            self.changed_at = None;
            return None;
        }
        let changed_at = *self.changed_at.get_or_insert(now);
        let is_over = |since| now.duration_since(since) >= self.rules.publish_interval;
        let quiet = self.reported().all(|report| report.quiet);
        let due = is_over(self.begun_at) && (quiet || is_over(changed_at));
        let pressed = self.reported().any(|report| report.pressed);
        (due || pressed || self.is_last()).then_some(activity)
    }

    fn activity(&self, round: Round) -> Activity {
        let completed = self.completed_min();
        Activity { round, completed, closed_through: self.closed_through }
    }

    /// Whether what has been read is all that the job will ever read.
    fn is_last(&self) -> bool {
        self.is_drained() || self.exhausted && self.completed_min() == self.opened
    }

    fn is_drained(&self) -> bool {
        self.draining && self.reports.iter().flatten().all(|report| report.drained)
    }

    /// Whether the store holds everything. A job that is ended while it replays has nothing new.
    fn is_finished(&self) -> bool {
        if self.replaying {
            return self.is_drained();
        }
        let is_committed = self.committed.publication.next() == self.round.publication();
        self.is_last() && is_committed && self.published == Some(self.activity(self.round))
    }
}
