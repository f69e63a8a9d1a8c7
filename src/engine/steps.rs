//! When each worker of a process has made its last step: whether the process makes progress.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The last steps of the workers that are at work.
#[derive(Debug, Default)]
pub struct Steps(Mutex<BTreeMap<usize, Instant>>);

impl Steps {
    /// Notes that a worker makes a step.
    pub fn note(&self, worker: usize, at: Instant) {
        self.workers().insert(worker, at);
    }

    /// Notes that a worker has left its loop.
    pub fn note_end(&self, worker: usize) {
        self.workers().remove(&worker);
    }

    /// Returns the last step of the worker whose last step is the longest ago; `None` if no worker
    /// is at work.
    pub fn slowest(&self) -> Option<Instant> {
        self.workers().values().min().copied()
    }

    fn workers(&self) -> MutexGuard<'_, BTreeMap<usize, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_slowest_worker_at_work_counts() {
        let (steps, began) = (Steps::default(), Instant::now());
        let at = |second| began + Duration::from_secs(second);
        assert_eq!(steps.slowest(), None);
        steps.note(3, at(1));
        steps.note(4, at(2));
        assert_eq!(steps.slowest(), Some(at(1)));
        steps.note(3, at(5));
        assert_eq!(steps.slowest(), Some(at(2)));
        steps.note_end(4);
        assert_eq!(steps.slowest(), Some(at(5)));
        steps.note_end(3);
        assert_eq!(steps.slowest(), None);
    }
}
