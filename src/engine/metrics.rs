//! The progress of a process, to be read from other threads.

use crate::sources::Lag;
use crate::time::Publication;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Progress counters of a process, to be read from other threads.
#[derive(Debug, Default)]
pub struct Counters {
    events: AtomicU64,
    replayed: AtomicU64,
    bytes: AtomicU64,
    launched: AtomicBool,
    replaying: AtomicBool,
    gauges: Mutex<Gauges>,
}

/// Values that are set about once a second.
#[derive(Debug, Default)]
struct Gauges {
    /// The lag of each worker.
    lags: BTreeMap<usize, Lag>,
    watermark_ms: Option<i64>,
    committed: Option<(Publication, Instant)>,
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

    pub(super) fn set_launched(&self) {
        self.launched.store(true, Ordering::Relaxed);
    }

    pub(super) fn set_replaying(&self, is_replaying: bool) {
        self.replaying.store(is_replaying, Ordering::Relaxed);
    }

    pub(super) fn set_lag(&self, worker: usize, lag: Lag) {
        self.gauges().lags.insert(worker, lag);
    }

    pub(super) fn set_watermark(&self, watermark_ms: i64) {
        self.gauges().watermark_ms = Some(watermark_ms);
    }

    pub(super) fn set_committed(&self, publication: Publication) {
        self.gauges().committed = Some((publication, Instant::now()));
    }

    fn gauges(&self) -> MutexGuard<'_, Gauges> {
        self.gauges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the workers have started. They start once all processes are connected.
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

    /// The watermark of the job, in milliseconds: the lowest of all active partitions.
    pub fn watermark_ms(&self) -> Option<i64> {
        self.gauges().watermark_ms
    }

    /// The last publication that this process has committed, and when.
    pub fn committed(&self) -> Option<(Publication, Instant)> {
        self.gauges().committed
    }
}
