//! A distribution of times that threads add to without waiting for each other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets, in seconds. They reach from a small commit to a backlog of an
/// hour.
pub const BOUNDS: [f64; 15] =
    [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3_600.0];

/// A distribution of times.
#[derive(Debug, Default)]
pub struct Histogram {
    /// The number of times in each bucket, the last one without a bound.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

/// A histogram at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// The number of times up to each of [`BOUNDS`], and of all.
    pub cumulative: Vec<u64>,
    /// The sum of all times, in seconds.
    pub sum_seconds: f64,
}

impl Histogram {
    /// Adds a time.
    pub fn observe(&self, time: Duration) {
        self.observe_many(time, 1);
    }

    /// Adds a time that `number` things took.
    pub fn observe_many(&self, time: Duration, number: u64) {
        let seconds = time.as_secs_f64();
        let bucket = BOUNDS.partition_point(|bound| *bound < seconds);
        self.buckets[bucket].fetch_add(number, Ordering::Relaxed);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.sum_micros.fetch_add(micros.saturating_mul(number), Ordering::Relaxed);
    }

    /// Returns what was added so far.
    pub fn now(&self) -> Distribution {
        let mut before = 0;
        let cumulative = self.buckets.iter().map(|bucket| {
            before += bucket.load(Ordering::Relaxed);
            before
        });
        let cumulative = cumulative.collect();
        Distribution {
            cumulative,
            sum_seconds: self.sum_micros.load(Ordering::Relaxed) as f64 / 1e6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_is_at_most_its_bound() {
        let histogram = Histogram::default();
        histogram.observe(Duration::ZERO);
        histogram.observe(Duration::from_millis(5));
        histogram.observe_many(Duration::from_secs(2), 10);
        histogram.observe(Duration::from_secs(100_000));
        let Distribution { cumulative, sum_seconds } = histogram.now();
        let at = |bound: f64| cumulative[BOUNDS.iter().position(|one| *one == bound).unwrap()];
        assert_eq!((at(0.001), at(0.005), at(1.0), at(2.5), at(3_600.0)), (1, 2, 2, 12, 12));
        assert_eq!(cumulative.last(), Some(&13));
        assert_eq!(sum_seconds, 100_020.005);
    }
}
