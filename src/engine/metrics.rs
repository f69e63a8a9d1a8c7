//! What a process has done so far, to be watched from outside.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a process has done so far, to be watched from outside.
#[derive(Debug, Default)]
pub struct Counters {
    events: AtomicU64,
    replayed: AtomicU64,
    bytes: AtomicU64,
    bytes_total: AtomicU64,
    launched: AtomicBool,
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

    pub(super) fn add_bytes_total(&self, bytes: u64) {
        self.bytes_total.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn set_launched(&self) {
        self.launched.store(true, Ordering::Relaxed);
    }

    /// Whether the workers have started, which they do when all processes have met.
    pub fn is_launched(&self) -> bool {
        self.launched.load(Ordering::Relaxed)
    }

    /// Events read by this process for the first time.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Events read again by this process, to rebuild the state that the store reflects.
    pub fn replayed(&self) -> u64 {
        self.replayed.load(Ordering::Relaxed)
    }

    /// Bytes read by this process.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes of all partitions that this process has been assigned.
    pub fn bytes_total(&self) -> u64 {
        self.bytes_total.load(Ordering::Relaxed)
    }
}
