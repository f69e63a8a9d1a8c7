//! Where events go: those of an epoch go where one before them went, until an epoch closes.

use crate::completeness::Counter;
use crate::time::{Epoch, Through};
use std::ops::Range;

/// The way of the events of a partition that belong to an epoch.
pub(super) struct Route {
    pub epoch: Epoch,
    /// The times of the epoch, in milliseconds.
    pub times_ms: Range<i64>,
    /// The open epochs that they contribute to, by index: all are ready.
    pub open: Range<usize>,
    /// The number of events that took it.
    pub events: u64,
    /// When their records were written.
    pub arrived: Counter,
}

/// The routes of a partition while the same epochs are open.
#[derive(Default)]
pub(super) struct Routes {
    /// The epochs that have closed for the partition.
    pub closed_through: Through,
    pub all: Vec<Route>,
    /// The index of the last route that was found: the next event mostly takes it, too.
    latest: usize,
}

impl Routes {
    /// Adds a route, unless there is one of its epoch.
    pub fn add(&mut self, route: Route) {
        if self.all.iter().all(|known| known.epoch != route.epoch) {
            self.all.push(route);
        }
    }

    /// Returns the route of the events of a time, in milliseconds.
    #[inline]
    pub fn find(&mut self, time_ms: i64) -> Option<&mut Route> {
        let is_latest = |route: &Route| route.times_ms.contains(&time_ms);
        if !self.all.get(self.latest).is_some_and(is_latest) {
            self.latest = self.all.iter().position(|route| route.times_ms.contains(&time_ms))?;
        }
        self.all.get_mut(self.latest)
    }
}
