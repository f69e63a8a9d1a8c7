//! The progress of a process, to be read from other threads.

use super::holding::Holder;
use super::meter::Meter;
use super::partition_state::{self, PartitionState};
use crate::acceptance::Fate;
use crate::event::Event;
use crate::log::PartitionName;
use crate::sources::Lag;
use crate::time::{Publication, probable_unit};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The number of leaps of watermarks that are logged; later ones are not.
const LEAPS_LOGGED_MAX: u64 = 5;

/// After how long without progress the partition that holds the job is shown.
const HELD_AFTER: Duration = Duration::from_secs(5);

/// Progress counters of a process, to be read from other threads.
#[derive(Debug, Default)]
pub struct Counters {
    events: AtomicU64,
    replayed: AtomicU64,
    bytes: AtomicU64,
    launched: AtomicBool,
    replaying: AtomicBool,
    gauges: Mutex<Gauges>,
    /// The first late and the first future event, as text.
    first_late: OnceLock<String>,
    first_future: OnceLock<String>,
    leaps: AtomicU64,
    /// Whether a warning told of times in another unit.
    is_unit_noted: AtomicBool,
    meter: Meter,
}

/// Returns the words for an event whose time looks like one in another unit than milliseconds, with
/// a separator before them; nothing for others.
pub(super) fn unit_hint(event: &Event) -> String {
    let hint = |what, time_ms| {
        let unit = probable_unit(time_ms)?;
        Some(format!(": its {what} looks like {unit} since 1970, expected milliseconds"))
    };
    let of_record = || hint("record time", event.record_time_ms?);
    hint("event time", event.event_time_ms).or_else(of_record).unwrap_or_default()
}

/// Values that are set about once a second.
#[derive(Debug, Default)]
struct Gauges {
    /// The lag of each worker.
    lags: BTreeMap<usize, Lag>,
    /// The partitions of each worker.
    partitions: BTreeMap<usize, BTreeMap<PartitionName, PartitionState>>,
    watermark_ms: Option<i64>,
    committed: Option<(Publication, Instant)>,
    /// When the last publication began, in any process.
    begun_at: Option<Instant>,
    /// Since when this process is through with the replay.
    live_since: Option<Instant>,
    /// Since when there is something to commit.
    uncommitted_since: Option<Instant>,
    holder: Option<(Holder, Duration)>,
}

impl Counters {
    pub(super) fn add_events(&self, events: usize) {
        self.events.fetch_add(events as u64, Ordering::Relaxed);
    }

    pub(super) fn add_replayed(&self, events: usize) {
        self.replayed.fetch_add(events as u64, Ordering::Relaxed);
    }

    pub(super) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Keeps the first late and the first future event of the process.
    pub(super) fn note_rejected(&self, fate: Fate, event: impl Fn() -> String) {
        match fate {
            Fate::Accepted(_) => {}
            Fate::Late => drop(self.first_late.get_or_init(event)),
            Fate::Future => drop(self.first_future.get_or_init(event)),
        }
    }

    /// Warns, once, if the first event of a partition looks like one in another unit of time. Its
    /// log may be consistent, so that nothing is late.
    #[cold]
    pub(super) fn note_unit(&self, partition: &PartitionName, event: &Event) {
        let hint = unit_hint(event);
        if !hint.is_empty() && !self.is_unit_noted.swap(true, Ordering::Relaxed) {
            tracing::warn!("check the times of {partition}, at offset {}{hint}", event.offset);
        }
    }

    /// Counts a leap of a watermark. Returns whether it is among the first, which are logged.
    pub(super) fn note_leap(&self) -> bool {
        self.leaps.fetch_add(1, Ordering::Relaxed) < LEAPS_LOGGED_MAX
    }

    pub(super) fn set_launched(&self) {
        self.launched.store(true, Ordering::Relaxed);
    }

    pub(super) fn set_replaying(&self, is_replaying: bool) {
        self.replaying.store(is_replaying, Ordering::Relaxed);
        if !is_replaying {
            self.gauges().live_since.get_or_insert_with(Instant::now);
        }
    }

    pub(super) fn set_lag(&self, worker: usize, lag: Lag) {
        self.gauges().lags.insert(worker, lag);
    }

    /// Sets what a worker has seen of its partitions.
    pub(super) fn set_partitions(
        &self,
        worker: usize,
        states: impl Iterator<Item = PartitionState>,
    ) {
        let mut gauges = self.gauges();
        let before = gauges.partitions.remove(&worker).unwrap_or_default();
        let since = |state: PartitionState| match before.get(&state.partition) {
            Some(before) if before.next_offset == state.next_offset => {
                PartitionState { moved_at: before.moved_at, ..state }
            }
            _ => state,
        };
        let states = states.map(since).map(|state| (state.partition.clone(), state));
        gauges.partitions.insert(worker, states.collect());
    }

    pub(super) fn set_watermark(&self, watermark_ms: i64) {
        self.gauges().watermark_ms = Some(watermark_ms);
    }

    pub(super) fn set_committed(&self, publication: Publication) {
        let mut gauges = self.gauges();
        gauges.committed = Some((publication, Instant::now()));
        gauges.uncommitted_since = None;
    }

    pub(super) fn set_begun(&self) {
        self.gauges().begun_at = Some(Instant::now());
    }

    /// Notes whether there is something to commit.
    pub(super) fn set_uncommitted(&self, is_there: bool) {
        let since = &mut self.gauges().uncommitted_since;
        *since = is_there.then(|| since.unwrap_or_else(Instant::now));
    }

    pub(super) fn set_holder(&self, holder: Option<(Holder, Duration)>) {
        self.gauges().holder = holder;
    }

    fn gauges(&self) -> MutexGuard<'_, Gauges> {
        self.gauges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first late event that this process has read, and the first future one, as text.
    pub fn first_rejected(&self) -> Vec<&str> {
        let first = [self.first_late.get(), self.first_future.get()];
        first.into_iter().flatten().map(String::as_str).collect()
    }

    /// Whether the workers have started: once all processes are connected, and in the first process
    /// once the store is open.
    pub fn is_launched(&self) -> bool {
        self.launched.load(Ordering::Relaxed)
    }

    /// Whether the replay at the start of the job is not complete.
    pub fn is_replaying(&self) -> bool {
        self.replaying.load(Ordering::Relaxed)
    }

    /// The number of events that this process has read for the first time.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// The number of events that this process has read again in the replay.
    pub fn replayed(&self) -> u64 {
        self.replayed.load(Ordering::Relaxed)
    }

    /// The number of bytes that this process has read.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How much of the partitions of this process is not read yet; at most a second old.
    pub fn lag(&self) -> Lag {
        self.gauges().lags.values().copied().fold(Lag::default(), Lag::merge)
    }

    /// How much of a partition of this process is not read yet; about a second old. `None` if this
    /// process does not read it.
    pub fn lag_of(&self, partition: &PartitionName) -> Option<Lag> {
        let gauges = self.gauges();
        let mut workers = gauges.partitions.values();
        workers.find_map(|of_worker| of_worker.get(partition)).map(|state| state.lag)
    }

    /// The partitions that this process reads, about a second ago.
    pub fn partitions(&self) -> Vec<PartitionState> {
        self.gauges().partitions.values().flat_map(BTreeMap::values).cloned().collect()
    }

    /// Whether this process keeps up with its partitions; `None` if that is not known.
    pub fn is_keeping_up(&self, now: Instant) -> Option<bool> {
        let ran = now.saturating_duration_since(self.live_since()?);
        partition_state::keeping_up(&self.partitions(), ran, now)
    }

    /// Since when this process is through with the replay, if it is.
    pub fn live_since(&self) -> Option<Instant> {
        self.gauges().live_since
    }

    /// What this process measures of itself.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// The watermark of the job, in milliseconds: the lowest of all active partitions.
    pub fn watermark_ms(&self) -> Option<i64> {
        self.gauges().watermark_ms
    }

    /// Which partition holds the job, for how long, and why, once it has for five seconds.
    pub fn holder(&self) -> Option<String> {
        let (Holder { partition, reason }, lasted) = self.gauges().holder.clone()?;
        (lasted >= HELD_AFTER).then(|| format!("{partition} for {} s: {reason}", lasted.as_secs()))
    }

    /// Which partition keeps epochs from closing, and for how long.
    pub fn held_by(&self) -> Option<(Holder, Duration)> {
        self.gauges().holder.clone()
    }

    /// When a publication began last, in any process: then the last but one was committed.
    pub fn begun_at(&self) -> Option<Instant> {
        self.gauges().begun_at
    }

    /// Since when there is something that is not committed. Only the first process knows.
    pub fn uncommitted_since(&self) -> Option<Instant> {
        self.gauges().uncommitted_since
    }

    /// The last publication that this process has committed, and when.
    pub fn committed(&self) -> Option<(Publication, Instant)> {
        self.gauges().committed
    }
}
