//! What worker 0 decides: which epochs open and close, when a publication begins, when to end.
//!
//! A state machine without input, output or clock: reports go in, orders come out.

use super::control::{Order, Report, Watermarks};
use crate::rounds;
use crate::sources::Discovered;
use crate::stores::Progress;
use crate::time::{Definition, Epoch};
use std::collections::{BTreeMap, BTreeSet};
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
    pub publication: u64,
    /// All epochs up to this one are final in it.
    pub final_through: Option<Epoch>,
}

/// The state machine of worker 0.
pub struct Coordinator {
    rules: Rules,
    reports: Vec<Option<Report>>,
    /// Bytes assigned to each worker.
    loads: Vec<u64>,
    assigned: u64,
    /// Epochs that were ordered to open and not to close.
    open: BTreeSet<Epoch>,
    /// How many epochs were ever ordered to open.
    opened: u64,
    closed_through: Option<Epoch>,
    aligned_ms: Option<i64>,
    round: u64,
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
    round: u64,
    completed: u64,
    closed_through: Option<Epoch>,
}

impl Coordinator {
    /// At the start of a job, which begins with its replay.
    pub fn new(rules: Rules, now: Instant) -> Coordinator {
        Coordinator {
            closed_through: rules.progress.final_through,
            reports: vec![None; rules.workers],
            loads: vec![0; rules.workers],
            rules,
            assigned: 0,
            open: BTreeSet::new(),
            opened: 0,
            aligned_ms: None,
            round: rounds::first(rounds::REPLAY),
            begun_at: now,
            replaying: true,
            exhausted: false,
            changed_at: None,
            committed: Committed::default(),
            published: None,
            draining: false,
            ended: false,
        }
    }

    /// What every worker must do before anything else.
    pub fn begin(&self) -> Vec<Order> {
        self.closed_through.map(Order::Close).into_iter().collect()
    }

    /// Takes a report in.
    pub fn hear(&mut self, report: Report) {
        let worker = report.worker;
        self.reports[worker] = Some(report);
    }

    /// Learns what the store has reached.
    pub fn committed(&mut self, committed: Committed) -> Vec<Order> {
        let news = committed
            .final_through
            .filter(|_| committed.final_through != self.committed.final_through);
        self.committed = committed;
        news.map(Order::Final).into_iter().collect()
    }

    /// Shares new partitions out, the largest first, each to the worker with the least so far.
    pub fn assign(&mut self, mut discovered: Vec<Discovered>) -> Vec<Order> {
        let progress: BTreeMap<_, _> =
            self.rules.progress.partitions.iter().map(|at| (&at.partition, at)).collect();
        discovered.sort_by(|one, other| {
            other.size_bytes.cmp(&one.size_bytes).then_with(|| one.name.cmp(&other.name))
        });
        let orders = discovered.into_iter().map(|partition| {
            let lightest = (0..self.loads.len()).min_by_key(|worker| self.loads[*worker]);
            let worker = lightest.unwrap_or(0);
            self.loads[worker] += partition.size_bytes.max(1);
            let progress = progress.get(&partition.name).copied().cloned();
            Order::Assign { worker, partition, progress }
        });
        let orders: Vec<_> = orders.collect();
        self.assigned += orders.len() as u64;
        orders
    }

    /// Everything that is to be done now.
    pub fn decide(&mut self, now: Instant) -> Vec<Order> {
        let mut orders = Vec::new();
        if self.ended {
            return orders;
        }
        let failure = self.reported().find_map(|report| self.fault(report));
        if let Some(failure) = failure {
            self.ended = true;
            return vec![Order::Abort(failure)];
        }
        if self.reported().any(|report| report.stop) && !self.draining {
            self.draining = true;
            orders.push(Order::Drain);
        }
        if let Some(watermarks) = self.watermarks()
            && !self.replaying
        {
            self.align(watermarks, &mut orders);
            self.close(watermarks, &mut orders);
        }
        self.open_wanted(&mut orders);
        self.advance(now, &mut orders);
        if self.is_finished() {
            self.ended = true;
            orders.push(Order::End);
        }
        orders
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
            all = all.and(report.watermarks);
        }
        Some(all)
    }

    /// Lets partitions run as far as the slowest active one allows. While none is active, whoever
    /// wakes must not run ahead of the largest watermark, until it is known who else has woken.
    fn align(&mut self, watermarks: Watermarks, orders: &mut Vec<Order>) {
        let slowest_ms = watermarks.active_min_ms.or(watermarks.max_ms);
        if let Some(slowest_ms) = slowest_ms.filter(|at_ms| *at_ms != i64::MIN)
            && self.aligned_ms != Some(slowest_ms)
        {
            self.aligned_ms = Some(slowest_ms);
            orders.push(Order::Align(slowest_ms));
        }
    }

    /// Closes what no partition holds open.
    ///
    /// When no partition is active, only exhaustion of all says that nothing will follow. While
    /// all are idle, event time has passed as far as the largest watermark tells, and no further:
    /// a quiet night must not make the next morning's first event late.
    fn close(&mut self, watermarks: Watermarks, orders: &mut Vec<Order>) {
        self.exhausted = watermarks.exhausted && !self.rules.follow;
        let closed_through = match watermarks {
            Watermarks { active_min_ms: Some(i64::MIN), .. } => None,
            Watermarks { active_min_ms: Some(slowest_ms), .. } => Some(slowest_ms),
            _ if self.exhausted => Some(i64::MAX),
            Watermarks { max_ms, .. } => max_ms,
        };
        let closed_through = closed_through.map(|watermark_ms| match watermark_ms {
            i64::MAX => Epoch(i64::MAX),
            _ => self.rules.definition.closed_through(watermark_ms),
        });
        if closed_through > self.closed_through {
            self.closed_through = closed_through;
            self.open.retain(|epoch| Some(*epoch) > closed_through);
            orders.extend(closed_through.map(Order::Close));
        }
    }

    /// Opens wanted epochs, the earliest first, as far as the bound on live dataflows allows.
    fn open_wanted(&mut self, orders: &mut Vec<Order>) {
        let wanted: BTreeSet<Epoch> =
            self.reported().flat_map(|report| report.wanted.iter().copied()).collect();
        for epoch in wanted {
            if Some(epoch) <= self.closed_through || self.open.contains(&epoch) {
                continue;
            }
            let live = self.opened - self.completed_min();
            // Replay needs what was open before, which another bound may have allowed.
            if live >= self.rules.open_epochs_max as u64 && !self.replaying {
                break;
            }
            self.open.insert(epoch);
            self.opened += 1;
            orders.push(Order::Open(epoch));
        }
    }

    fn completed_min(&self) -> u64 {
        let completed =
            self.reports.iter().map(|report| report.as_ref().map_or(0, |r| r.completed));
        completed.min().unwrap_or(0)
    }

    /// Keeps the rounds of all workers together, and begins publications.
    fn advance(&mut self, now: Instant, orders: &mut Vec<Order>) {
        let latest = self.reported().map(|report| report.round).max().unwrap_or(0);
        let mut round = self.round.max(latest);
        if self.replaying {
            if self.is_replayed() {
                self.replaying = false;
                round = rounds::first(rounds::REPLAY + 1);
                self.committed.publication = rounds::REPLAY;
            }
        } else if let Some(activity) = self.due_publication(round, now) {
            round = rounds::first(rounds::publication(round) + 1);
            self.published = Some(Activity { round, ..activity });
            self.begun_at = now;
            self.changed_at = None;
        }
        if round > self.round {
            self.round = round;
            orders.push(Order::Advance(round));
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
    fn due_publication(&mut self, round: u64, now: Instant) -> Option<Activity> {
        let publication = rounds::publication(round);
        let busy = self.committed.publication + 1 < publication;
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

    fn activity(&self, round: u64) -> Activity {
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
        let is_committed = self.committed.publication + 1 == rounds::publication(self.round);
        self.is_last() && is_committed && self.published == Some(self.activity(self.round))
    }
}
