//! Events that need no decision of their own, as nearly all of a log: a few comparisons tell.

use crate::event::Event;
use std::ops::Range;

/// Bounds within which the next events of a partition are *plain*: their stamps are plausible, they
/// are neither early nor future, and no epoch closes.
#[derive(Clone, Debug)]
pub struct Plain {
    /// The event times, in milliseconds.
    pub times_ms: Range<i64>,
    /// The latest stamp, in milliseconds.
    pub(super) stamps_through_ms: i64,
    /// How far an event time may be after its stamp, in milliseconds.
    pub(super) max_future_ms: i64,
    /// The events of a block lie before this offset.
    pub(super) offsets_before: u64,
    /// The number of events that may belong to the block.
    pub events_max: usize,
}

impl Plain {
    /// Whether an event is plain, if those before it are.
    #[inline]
    pub fn contains(&self, event: &Event) -> bool {
        let stamp_ms = event.stamp_ms();
        self.times_ms.contains(&event.event_time_ms)
            && stamp_ms <= self.stamps_through_ms
            && event.event_time_ms <= stamp_ms.saturating_add(self.max_future_ms)
            && event.offset < self.offsets_before
    }
}
