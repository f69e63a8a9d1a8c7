//! The decisions of worker 0: which epochs open and close, when publications begin, and when the
//! job ends.
//!
//! A state machine without I/O or clock: it takes reports and returns commands.

#[cfg(test)]
mod tests;

use super::holding::Holder;
use super::protocol::{Command, Report, SlowestWatermark, Watermarks};
use crate::sources::Discovered;
use crate::stores::Progress;
use crate::time::{Definition, Epoch, Publication, Round, Through};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The parameters of a job for the coordinator.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The definition of epochs and of when they close.
    pub definition: Definition,
    /// The number of workers.
    pub workers: usize,
    /// How far a watermark may be ahead of the slowest one, in milliseconds.
    pub alignment_ms: i64,
    /// The maximum number of epoch dataflows alive at once on a worker.
    pub open_epochs_max: usize,
    /// The interval between publications.
    pub publish_interval: Duration,
    /// Whether to continue at the end of the logs.
    pub follow: bool,
    /// The progress of the store at the start.
    pub progress: Progress,
}

/// The state of the store that the coordinator tracks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// The last committed publication.
    pub publication: Publication,
    /// The epochs that are final in it.
    pub final_through: Through,
}

/// The state machine of worker 0.
pub struct Coordinator {
    rules: Rules,
    reports: Vec<Option<Report>>,
    /// The number of bytes assigned to each worker.
    loads: Vec<u64>,
    assigned: u64,
    /// The open epochs.
    open: BTreeSet<Epoch>,
    /// The number of epochs opened so far.
    opened: u64,
    closed_through: Through,
    /// The lowest watermark and the limit of all others, as announced, in milliseconds.
    aligned_ms: Option<(i64, i64)>,
    /// For each worker, how many of its requests were answered.
    granted: Vec<u64>,
    round: Round,
    begun_at: Instant,
    /// When a publication last began early because of requests.
    answered_at: Option<Instant>,
    /// Whether the replay is not complete. No epoch closes until it is: during the replay,
    /// watermarks lag behind the positions in the store.
    replaying: bool,
    /// Whether no more records will ever follow.
    exhausted: bool,
    /// How often something changed that no report tells of.
    noted: u64,
    /// The time since which the current publication contains changes.
    changed_at: Option<Instant>,
    committed: Committed,
    /// The activity at the end of the last publication, to detect whether there are changes since.
    published: Option<Activity>,
    draining: bool,
    ended: bool,
}

/// The state whose changes call for a new publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Activity {
    round: Round,
    completed: u64,
    closed_through: Through,
    /// The number of requests of all workers.
    asked: u64,
    /// See [`Coordinator::note_change`].
    noted: u64,
}

impl Coordinator {
    /// Creates the coordinator of a job, which begins with its replay.
    pub fn new(rules: Rules, now: Instant) -> Coordinator {
        let final_through = rules.progress.final_through;
        Coordinator {
            closed_through: final_through,
            reports: vec![None; rules.workers],
            loads: vec![0; rules.workers],
            granted: vec![0; rules.workers],
            rules,
            assigned: 0,
            open: BTreeSet::new(),
            opened: 0,
            aligned_ms: None,
            round: Round::first(Publication::REPLAY),
            begun_at: now,
            answered_at: None,
            replaying: true,
            exhausted: false,
            noted: 0,
            changed_at: None,
            committed: Committed { final_through, ..Committed::default() },
            published: None,
            draining: false,
            ended: false,
        }
    }

    /// Returns the first commands: they announce which epochs are final in the store.
    pub fn begin(&self) -> Vec<Command> {
        match self.closed_through {
            Through::Nothing => Vec::new(),
            through => vec![Command::Close(through), Command::Finalize(through)],
        }
    }

    /// Stores the latest report of a worker.
    pub fn receive(&mut self, report: Report) {
        let worker = report.worker;
        self.reports[worker] = Some(report);
    }

    /// Notes that something changed that is to be published, and that no worker reports.
    pub fn note_change(&mut self) {
        self.noted += 1;
    }

    /// Handles a commit.
    pub fn committed(&mut self, committed: Committed) -> Vec<Command> {
        let has_new_final_epochs = committed.final_through > self.committed.final_through;
        self.committed = committed;
        has_new_final_epochs
            .then_some(Command::Finalize(committed.final_through))
            .into_iter()
            .collect()
    }

    /// Assigns new partitions, largest first, each to the worker with the fewest bytes so far.
    pub fn assign(&mut self, mut discovered: Vec<Discovered>) -> Vec<Command> {
        discovered.sort_by(|one, other| {
            other.size_bytes.cmp(&one.size_bytes).then_with(|| one.name.cmp(&other.name))
        });
        let commands = discovered.into_iter().map(|partition| {
            let lightest = (0..self.loads.len()).min_by_key(|worker| self.loads[*worker]);
            let worker = lightest.unwrap_or(0);
            self.loads[worker] += partition.size_bytes.max(1);
            let progress =
                self.rules.progress.partitions.get(&partition.name).cloned().map(Box::new);
            Command::Assign { worker, partition, progress }
        });
        let commands: Vec<_> = commands.collect();
        self.assigned += commands.len() as u64;
        commands
    }

    /// Returns the commands that are due now. `clock_ms` is the time of the clock, in milliseconds:
    /// the few decisions that depend on it take effect at the beginning of a publication, and are
    /// committed.
    pub fn decide(&mut self, now: Instant, clock_ms: i64) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.ended {
            return commands;
        }
        let failure = self.reported().find_map(|report| report.failure.clone());
        if let Some(failure) = failure {
            self.ended = true;
            return vec![Command::Abort(failure)];
        }
        if self.reported().any(|report| report.stop) && !self.draining {
            self.draining = true;
            commands.push(Command::Drain);
        }
        let watermarks = self.watermarks(clock_ms);
        if let Some(watermarks) = watermarks
            && !self.replaying
        {
            self.align(watermarks, &mut commands);
            self.close(watermarks, &mut commands);
        }
        self.open_wanted(watermarks, &mut commands);
        self.advance(now, clock_ms, &mut commands);
        if self.is_finished() {
            self.ended = true;
            commands.push(Command::End);
        }
        commands
    }

    fn reported(&self) -> impl Iterator<Item = &Report> {
        self.reports.iter().flatten()
    }

    /// Returns the watermarks of all partitions, once every worker has reported after the last
    /// assignment and the last answer to its requests.
    ///
    /// While no partition is active, time passes by the clock, so the highest watermark counts only
    /// as far as the clock could have come.
    fn watermarks(&self, clock_ms: i64) -> Option<Watermarks> {
        let mut all = Watermarks::NONE;
        for (report, granted) in self.reports.iter().zip(&self.granted) {
            let report = report.as_ref()?;
            if report.assigned != self.assigned || report.granted != *granted {
                return None;
            }
            all = all.merge(report.watermarks);
        }
        let clock_limit_ms = clock_ms.saturating_add(self.rules.definition.max_future_ms);
        all.max_ms = all.max_ms.map(|max_ms| max_ms.min(clock_limit_ms));
        Some(all)
    }

    /// Aligns partitions to the slowest active one. While none is active, they are aligned to the
    /// highest watermark: a partition that becomes active must not run ahead before it is known
    /// which others have become active.
    fn align(&mut self, watermarks: Watermarks, commands: &mut Vec<Command>) {
        let slowest_ms = match watermarks.slowest {
            SlowestWatermark::Unknown => None,
            SlowestWatermark::At(slowest_ms) => Some(slowest_ms),
            SlowestWatermark::NoneActive => watermarks.max_ms,
        };
        if let Some(slowest_ms) = slowest_ms
            && let limit_ms = slowest_ms.saturating_add(self.alignment_ms())
            && self.aligned_ms != Some((slowest_ms, limit_ms))
        {
            self.aligned_ms = Some((slowest_ms, limit_ms));
            commands.push(Command::Align { slowest_ms, limit_ms });
        }
    }

    /// How far a watermark may be ahead of the slowest one now. While memory is scarce, nobody may:
    /// only the slowest can close epochs.
    fn alignment_ms(&self) -> i64 {
        let is_scarce = self.reported().any(|report| report.memory_is_scarce);
        if is_scarce { 0 } else { self.rules.alignment_ms }
    }

    /// Returns the partition with the lowest watermark of all, as the workers reported it.
    pub fn holder(&self) -> Option<(SlowestWatermark, Holder)> {
        let holders = self
            .reported()
            .filter_map(|report| Some((report.watermarks.slowest, report.holder.clone()?)));
        holders.min_by_key(|(slowest, _)| *slowest)
    }

    /// Closes the epochs that no partition holds open.
    ///
    /// When no partition is active, every epoch closes only if all are exhausted. While all are
    /// idle, event time has advanced to the highest watermark and no further: a quiet night must
    /// not make the next morning's first event late.
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

    /// Opens wanted epochs, earliest first, up to the limit on live dataflows. What the slowest
    /// partition needs is always opened: only it can close the epochs that are open.
    fn open_wanted(&mut self, watermarks: Option<Watermarks>, commands: &mut Vec<Command>) {
        let definition = self.rules.definition;
        let needed_through = match watermarks.map(|watermarks| watermarks.slowest) {
            Some(SlowestWatermark::At(slowest_ms)) => {
                Some(definition.epoch(slowest_ms.saturating_add(definition.max_delay_ms)))
            }
            _ => None,
        };
        let wanted: BTreeSet<Epoch> =
            self.reported().flat_map(|report| report.wanted.iter().copied()).collect();
        for epoch in wanted {
            if self.closed_through.contains(epoch) || self.open.contains(&epoch) {
                continue;
            }
            let live = self.opened - self.completed_min();
            let open_epochs_max = self.rules.open_epochs_max;
            // The replay needs all epochs that were open before, perhaps under a higher limit.
            let is_stuck = self.open.len() >= open_epochs_max && Some(epoch) <= needed_through;
            if live >= open_epochs_max as u64 && !self.replaying && !is_stuck {
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

    /// Keeps the rounds of all workers close together, and begins publications.
    fn advance(&mut self, now: Instant, clock_ms: i64, commands: &mut Vec<Command>) {
        let latest = self.reported().map(|report| report.round).max().unwrap_or_default();
        let round = self.round.max(latest);
        if self.replaying {
            if self.is_replayed() {
                self.replaying = false;
                self.committed.publication = self.rules.progress.publication;
                let first = Round::first(self.committed.publication.next());
                return self.begin_publication(first, clock_ms, commands);
            }
        } else if let Some(activity) = self.due_publication(round, now) {
            let first = Round::first(round.publication().next());
            self.published = Some(Activity { round: first, ..activity });
            self.changed_at = None;
            return self.begin_publication(first, clock_ms, commands);
        }
        if round > self.round {
            self.round = round;
            commands.push(Command::Advance(round));
        }
    }

    /// Begins a publication, and answers all requests.
    fn begin_publication(&mut self, round: Round, clock_ms: i64, commands: &mut Vec<Command>) {
        self.round = round;
        let asked = self.reports.iter().map(|report| report.as_ref().map_or(0, |r| r.asked));
        self.granted = asked.collect();
        commands.push(Command::Begin { round, clock_ms, granted: self.granted.clone() });
    }

    /// Whether all workers have replayed all partitions.
    fn is_replayed(&self) -> bool {
        let replayed = |report: &Report| report.replayed && report.assigned == self.assigned;
        self.reports.iter().all(|report| report.as_ref().is_some_and(replayed))
    }

    /// Returns the current activity if the publication is to end now.
    ///
    /// After a pause longer than the interval, it ends as soon as all available records are read,
    /// so that a burst of events is published whole and at once. Requests end it early, at most
    /// once in an interval, and the publication that answers them may end as early as if they had
    /// not.
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
        let row_limit_near = self.reported().any(|report| report.row_limit_near);
        let is_due = is_over(self.begun_at) && (quiet || is_over(changed_at));
        if is_due || row_limit_near || self.has_read_everything() {
            self.begun_at = now;
            return Some(activity);
        }
        let has_requests = activity.asked > self.granted.iter().sum();
        if has_requests && is_over(self.begun_at) && self.answered_at.is_none_or(is_over) {
            self.answered_at = Some(now);
            return Some(activity);
        }
        None
    }

    /// Whether something was read or has happened that no committed publication includes.
    pub fn has_uncommitted(&self) -> bool {
        let is_committed = self.committed.publication.next() >= self.round.publication();
        let is_unchanged = is_committed && self.published == Some(self.activity(self.round));
        !self.replaying && !is_unchanged
    }

    fn activity(&self, round: Round) -> Activity {
        let completed = self.completed_min();
        let asked = self.reported().map(|report| report.asked).sum();
        let (closed_through, noted) = (self.closed_through, self.noted);
        Activity { round, completed, closed_through, asked, noted }
    }

    /// Whether the job will read nothing more, and no round contains what was read.
    fn has_read_everything(&self) -> bool {
        let has_ended_rounds = || self.reported().all(|report| report.round_is_empty);
        self.is_drained()
            || self.exhausted && self.completed_min() == self.opened && has_ended_rounds()
    }

    fn is_drained(&self) -> bool {
        self.draining && self.reports.iter().flatten().all(|report| report.drained)
    }

    /// Whether everything read is committed. A job stopped during the replay has nothing to commit.
    fn is_finished(&self) -> bool {
        if self.replaying {
            return self.is_drained();
        }
        let is_committed = self.committed.publication.next() == self.round.publication();
        self.has_read_everything()
            && is_committed
            && self.published == Some(self.activity(self.round))
    }
}
