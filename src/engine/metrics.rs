//! Progress counters of a process, to be read from other threads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Progress counters of a process, to be read from other threads.
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

    /// Whether the workers have started. They start once all processes are connected.
    pub fn is_launched(&self) -> bool {
        self.launched.load(Ordering::Relaxed)
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

    /// The total size in bytes of the partitions assigned to this process.
    pub fn bytes_total(&self) -> u64 {
        self.bytes_total.load(Ordering::Relaxed)
    }
}
