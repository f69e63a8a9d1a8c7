//! What a process measures of itself: written by its threads a few times in a round, and read by
//! whoever asks.

use super::activity::{Activity, Doing};
use super::dead_letters::DeadLetters;
use super::operators::OperatorLog;
use super::watchdog::{Stall, ThreadHandle, Watched};
use crate::event::Kind;
use crate::log::PartitionName;
use crate::metrics::Histogram;
use crate::showings::StateSize;
use crate::time::{Epoch, clock_ms};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// What a process measures of itself.
#[derive(Debug, Default)]
pub struct Meter {
    workers: Mutex<Vec<Arc<WorkerMeter>>>,
    /// What the thread of the store is doing.
    pub(super) store: Doing,
    is_served: AtomicBool,
    /// How long commits take.
    pub commits: Histogram,
    /// How long events take until their rows are committed.
    pub event_to_row: Histogram,
    /// How long rounds take.
    pub rounds: Histogram,
    /// The threads that do not get on, as the watchdog has seen them last, and from when on that is
    /// unhealthy.
    stalls: Mutex<(Vec<Stall>, Duration)>,
    dead_letters: OnceLock<Arc<DeadLetters>>,
}

/// A part of a worker's loop that is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Reading and decoding.
    Poll,
    /// Judging events, and sending them to the workers that own their requests.
    Admit,
    /// Everything, waiting included.
    Loop,
}

/// What a worker measures of itself.
#[derive(Debug)]
pub struct WorkerMeter {
    /// Its number, of all workers of the job.
    pub index: usize,
    pub(super) doing: Doing,
    thread: ThreadHandle,
    nanos: [AtomicU64; 3],
    /// The rounds that are not complete.
    pub in_flight: AtomicU64,
    /// The rows and sums that wait for the next publication.
    pub rows_waiting: AtomicU64,
    /// The dataflows of epochs that are alive.
    pub dataflows: AtomicU64,
    /// Its time in operators, and waiting.
    pub operators: Arc<OperatorLog>,
    slow: Mutex<Slow>,
}

/// What is set about twice a second.
#[derive(Debug, Default)]
struct Slow {
    epochs: Vec<(Epoch, StateSize)>,
    /// The partitions that it has opened, by their numbers.
    partitions: Vec<PartitionName>,
    /// When a window began, and how long it had waited until then.
    window: Option<(Instant, Duration)>,
    busy: Option<f64>,
}

/// How long the window of the busy share is, at least.
const BUSY_WINDOW: Duration = Duration::from_secs(5);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Meter {
    /// Notes, before the workers begin, that somebody may ask: then they measure their operators
    /// and partitions too, which costs a little.
    pub fn serve(&self) {
        self.is_served.store(true, Ordering::Relaxed);
    }

    /// Whether somebody may ask.
    pub(super) fn is_served(&self) -> bool {
        self.is_served.load(Ordering::Relaxed)
    }

    /// Adds a worker, on its thread.
    pub(super) fn add_worker(&self, index: usize) -> Arc<WorkerMeter> {
        let worker = Arc::new(WorkerMeter {
            index,
            doing: Doing::default(),
            thread: ThreadHandle::of_this(),
            nanos: Default::default(),
            in_flight: AtomicU64::new(0),
            rows_waiting: AtomicU64::new(0),
            dataflows: AtomicU64::new(0),
            operators: Arc::default(),
            slow: Mutex::default(),
        });
        lock(&self.workers).push(Arc::clone(&worker));
        worker
    }

    /// The workers of this process, once they have begun.
    pub fn workers(&self) -> Vec<Arc<WorkerMeter>> {
        lock(&self.workers).clone()
    }

    pub(super) fn set_stalls(&self, stalls: Vec<Stall>, unhealthy_after: Duration) {
        *lock(&self.stalls) = (stalls, unhealthy_after);
    }

    /// The threads that do not get on, and for how long.
    pub fn stalls(&self) -> Vec<Stall> {
        lock(&self.stalls).0.clone()
    }

    /// Describes the worker that has not got on for so long that people must know, if there is one.
    pub fn unhealthy(&self) -> Option<String> {
        let (stalls, after) = lock(&self.stalls).clone();
        let is_worker = |stall: &&Stall| stall.thread != Watched::Store && stall.lasted >= after;
        stalls.iter().find(is_worker).map(|stall| self.describe(stall))
    }

    /// Describes a stall.
    pub(super) fn describe(&self, stall: &Stall) -> String {
        let seconds = stall.lasted.as_secs();
        let Stall { thread: Watched::Worker(index), activity, .. } = stall else {
            return format!("the store has not answered for {seconds} s: {}", stall.activity);
        };
        let workers = self.workers();
        let worker = workers.iter().find(|worker| worker.index == *index);
        let name = |number| worker.and_then(|worker| worker.partition(number));
        let partition = activity.partition().and_then(name);
        let partition = partition.map(|name| format!(" {name}")).unwrap_or_default();
        let operator = match (activity, worker) {
            (Activity::Stepping(_), Some(worker)) => worker.operator(),
            _ => None,
        };
        let operator = operator.map(|name| format!(", in the operator {name}")).unwrap_or_default();
        format!("worker {index} has not got on for {seconds} s: {activity}{partition}{operator}")
    }

    pub(super) fn set_dead_letters(&self, dead_letters: &Arc<DeadLetters>) {
        let _ = self.dead_letters.set(Arc::clone(dead_letters));
    }

    /// The malformed records that this process has read, by log and reason.
    pub fn malformed(&self) -> BTreeMap<(Kind, String), u64> {
        self.dead_letters.get().map(|letters| letters.reasons()).unwrap_or_default()
    }
}

impl WorkerMeter {
    /// How often it has begun something. `None` if it waits: the job starts, or has ended.
    pub fn begun(&self) -> Option<u64> {
        let (activity, begun) = self.doing.now();
        (!activity.is_waiting()).then_some(begun)
    }

    /// Adds time to a part.
    #[inline]
    pub(super) fn add(&self, part: Part, time: Duration) {
        let nanos = &self.nanos[part as usize];
        // Only its own thread writes.
        let before = nanos.load(Ordering::Relaxed);
        nanos.store(before + time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// The time of a part.
    pub fn time(&self, part: Part) -> Duration {
        Duration::from_nanos(self.nanos[part as usize].load(Ordering::Relaxed))
    }

    /// Gives a partition that it opens a number.
    pub(super) fn add_partition(&self, name: &PartitionName) -> u64 {
        let partitions = &mut lock(&self.slow).partitions;
        partitions.push(name.clone());
        partitions.len() as u64 - 1
    }

    fn partition(&self, number: u64) -> Option<PartitionName> {
        lock(&self.slow).partitions.get(usize::try_from(number).ok()?).cloned()
    }

    /// The operator that it is in, asked while it does not get on.
    fn operator(&self) -> Option<String> {
        let number = self.thread.operator()?;
        let name = self.operators.name(number);
        Some(name.unwrap_or_else(|| format!("number {number}")))
    }

    /// Sets the state of its open epochs, and how busy it was lately.
    pub(super) fn set_slow(&self, epochs: Vec<(Epoch, StateSize)>, now: Instant) {
        let waited = self.operators.waited();
        let mut slow = lock(&self.slow);
        slow.epochs = epochs;
        let (began, before) = *slow.window.get_or_insert((now, waited));
        let lasted = now.duration_since(began);
        if lasted >= BUSY_WINDOW {
            let waited_in = waited.saturating_sub(before).as_secs_f64();
            slow.busy = Some((1.0 - waited_in / lasted.as_secs_f64()).clamp(0.0, 1.0));
            slow.window = Some((now, waited));
        }
    }

    /// The state that it keeps of its open epochs.
    pub fn epochs(&self) -> Vec<(Epoch, StateSize)> {
        lock(&self.slow).epochs.clone()
    }

    /// The share of the last seconds in which it did not wait, from 0 to 1, once it is known.
    pub fn busy(&self) -> Option<f64> {
        lock(&self.slow).busy
    }
}

/// When events were recorded, or else read, of which the rows are not committed: one of each batch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded(Vec<(i64, u64)>);

/// The most times that are kept of a publication; further batches count as the last one.
const TIMES_MAX: usize = 256;

impl Recorded {
    /// Adds a batch of events that ends with one of this record time, in milliseconds.
    pub(super) fn add(&mut self, record_time_ms: Option<i64>, events: u64) {
        let is_full = self.0.len() >= TIMES_MAX;
        match self.0.last_mut() {
            Some((_, last)) if is_full => *last += events,
            _ => self.0.push((record_time_ms.unwrap_or_else(clock_ms), events)),
        }
    }

    /// Adds the times of others.
    pub(super) fn append(&mut self, others: Recorded) {
        self.0.extend(others.0);
    }

    /// Adds what they took until now, by the clock, to a histogram.
    pub(super) fn observe(self, histogram: &Histogram, clock_ms: i64) {
        for (at_ms, events) in self.0 {
            let took_ms = clock_ms.saturating_sub(at_ms).max(0);
            histogram.observe_many(Duration::from_millis(took_ms.unsigned_abs()), events);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_beyond_the_bound_count_as_the_last_ones() {
        let mut recorded = Recorded::default();
        for time_ms in 0..1_000 {
            recorded.add(Some(time_ms), 2);
        }
        assert_eq!(recorded.0.len(), TIMES_MAX);
        let histogram = Histogram::default();
        recorded.observe(&histogram, 500);
        let all = histogram.now().cumulative;
        assert_eq!(all.last(), Some(&2_000));
    }

    #[test]
    fn a_stall_is_described_with_what_is_known() {
        let meter = Meter::default();
        let worker = meter.add_worker(4);
        let name = PartitionName { kind: Kind::Play, name: "kafka:p/3".into() };
        let number = worker.add_partition(&name);
        let (thread, lasted) = (Watched::Worker(4), Duration::from_secs(21));
        let said = |thread, activity| meter.describe(&Stall { thread, activity, lasted });
        let reading = "worker 4 has not got on for 21 s: reading plays kafka:p/3";
        assert_eq!(said(thread, Activity::Polling(number)), reading);
        let stepping = "worker 4 has not got on for 21 s: in a step of the dataflows";
        assert_eq!(said(thread, Activity::Stepping(0)), stepping);
        let guard = timely::scheduling::current::enter(9);
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let said = &said;
            scope.spawn(move || sender.send(said(thread, Activity::Stepping(0))).unwrap());
            assert_eq!(receiver.recv().unwrap(), format!("{stepping}, in the operator number 9"));
        });
        drop(guard);
        let store = said(Watched::Store, Activity::Committing(3));
        assert_eq!(store, "the store has not answered for 21 s: committing publication 3");
        meter.set_stalls(
            vec![Stall { thread, activity: Activity::Leading, lasted }],
            Duration::from_secs(20),
        );
        assert!(meter.unhealthy().unwrap().ends_with("21 s: deciding"));
        meter.set_stalls(
            vec![Stall { thread: Watched::Store, activity: Activity::Leading, lasted }],
            Duration::ZERO,
        );
        assert_eq!(meter.unhealthy(), None);
    }
}
