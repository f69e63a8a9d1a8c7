//! The lease of a store: which job has it, whether that job still lives, and how the last one
//! ended.
//!
//! The job that has a store renews its lease every [`RENEWAL_INTERVAL`], also when it commits
//! nothing. A job that starts on a store with a lease waits for its end (`Claim::wait`). It
//! judges the lease by whether it *changes* while it watches, on its own clock: the clocks of two
//! hosts differ, so the times in a lease are for people only.
//!
//! A lease prevents nothing by itself. Whatever it says, the fencing of the store ensures that only
//! one job commits. The lease keeps two jobs from fencing each other in turns.

mod process;
mod watch;

pub use process::Process;
pub(super) use watch::Found;

use super::StoreError;
use crate::time::{clock_ms, rfc3339};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use watch::{Verdict, Watch};

/// The interval between two renewals of a lease.
pub const RENEWAL_INTERVAL: Duration = Duration::from_secs(2);
/// How long a lease must stay unchanged until it has expired.
pub const EXPIRY: Duration = Duration::from_secs(10);
/// The pause between two looks at the lease of another job.
const WATCH_PAUSE: Duration = Duration::from_millis(500);
/// The time over which the rate of a job is averaged.
const RATE_TIME: Duration = Duration::from_secs(10);

/// What the job that has a store does, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeaseState {
    /// It has claimed the store, perhaps at the same time as another job.
    Claimed,
    /// Its claim has won. It fences the job before it, and reads the store.
    Starting,
    /// It runs.
    Running,
    /// It has read its logs to their ends.
    Finished,
    /// It was asked to stop.
    Stopped,
    /// It has failed.
    Failed,
}

/// The lease of a store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// The process that has the store.
    #[serde(flatten)]
    pub process: Process,
    /// The generation of its job.
    pub generation: u64,
    /// A random number, which tells two jobs apart that claim the same generation.
    pub claim: u64,
    /// When the job took the store, in milliseconds since 1970, by the clock of its host.
    pub since_ms: i64,
    /// When the lease was last written, by the same clock.
    pub renewed_ms: i64,
    /// When a job last committed a publication, by the clock of that job's host; `None` if none
    /// has. In Kafka up to [`RENEWAL_INTERVAL`] older than the last commit of a running job.
    pub committed_ms: Option<i64>,
    /// What the job does.
    pub state: LeaseState,
    /// What holds the job: which partition, why and since when, as text; `None` if nothing does.
    pub holder: Option<String>,
    /// How many records per second its last commits have added, as an average that halves in about
    /// seven seconds. Leases of earlier versions have none.
    #[serde(default)]
    pub rate: f64,
}

impl LeaseState {
    /// The name in messages and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            LeaseState::Claimed | LeaseState::Starting => "starting",
            LeaseState::Running => "running",
            LeaseState::Finished => "finished",
            LeaseState::Stopped => "stopped",
            LeaseState::Failed => "failed",
        }
    }

    /// Whether the job has ended.
    pub fn is_over(self) -> bool {
        !matches!(self, LeaseState::Claimed | LeaseState::Starting | LeaseState::Running)
    }
}

impl Lease {
    /// Returns the lease of this process for a generation of a store, whose last lease is `before`.
    pub(super) fn new(generation: u64, before: Option<&Lease>) -> Lease {
        let now_ms = clock_ms();
        Lease {
            process: Process::this(),
            generation,
            // The keys of a `RandomState` are random.
            claim: RandomState::new().hash_one(now_ms),
            since_ms: now_ms,
            renewed_ms: now_ms,
            committed_ms: before.and_then(|before| before.committed_ms),
            state: LeaseState::Claimed,
            holder: None,
            rate: 0.0,
        }
    }

    /// Returns the lease renewed now.
    pub(super) fn renewed(&self) -> Lease {
        Lease { renewed_ms: clock_ms(), ..self.clone() }
    }

    /// Returns the lease renewed now, as part of a commit of so many records.
    pub(super) fn committed(&self, records: u64) -> Lease {
        let now_ms = clock_ms();
        let elapsed = Duration::from_millis(difference(now_ms, self.committed_or_since_ms()));
        let rate = averaged(self.rate, records, elapsed);
        Lease { renewed_ms: now_ms, committed_ms: Some(now_ms), rate, ..self.clone() }
    }

    /// The time of the last commit of its own job, or of its start if there was none.
    fn committed_or_since_ms(&self) -> i64 {
        self.committed_ms.unwrap_or(self.since_ms).max(self.since_ms)
    }

    /// How long the job had committed nothing when it last renewed the lease. The clocks of other
    /// hosts do not matter.
    pub fn without_commit(&self) -> Duration {
        Duration::from_millis(difference(self.renewed_ms, self.committed_or_since_ms()))
    }

    /// How many records per second the job commits, as of the last renewal.
    pub fn rate(&self) -> f64 {
        averaged(self.rate, 0, self.without_commit())
    }

    /// What changes with every renewal.
    pub fn sign(&self) -> (u64, i64) {
        (self.claim, self.renewed_ms)
    }

    /// Whether its job has surely ended: it said so, or its process is gone from this machine.
    pub fn is_over(&self) -> bool {
        self.state.is_over() || self.process.is_gone()
    }

    /// The time since the lease was renewed. Negative differences of clocks count as none.
    pub fn age(&self) -> Duration {
        age(self.renewed_ms)
    }

    /// The time since the last commit of a publication, if there was one.
    pub fn commit_age(&self) -> Option<Duration> {
        self.committed_ms.map(age)
    }

    pub(super) fn to_json(&self) -> String {
        match serde_json::to_string(self) {
            Ok(json) => json,
            Err(error) => unreachable!("a lease serializes to JSON: {error}"),
        }
    }
}

fn age(then_ms: i64) -> Duration {
    Duration::from_millis(difference(clock_ms(), then_ms))
}

/// The time from one moment to a later one, in milliseconds: none if it is earlier.
fn difference(later_ms: i64, earlier_ms: i64) -> u64 {
    later_ms.saturating_sub(earlier_ms).max(0).unsigned_abs()
}

/// Returns the rate after so many more records in the time since the last ones, per second. What
/// lies back counts the less, the longer ago it is.
fn averaged(rate: f64, records: u64, elapsed: Duration) -> f64 {
    // Two commits may be in the same millisecond.
    let elapsed_s = elapsed.as_secs_f64().max(1e-3);
    let kept = (-elapsed_s / RATE_TIME.as_secs_f64()).exp();
    rate * kept + records as f64 / elapsed_s * (1.0 - kept)
}

impl fmt::Display for Lease {
    /// `process 4711 on alpha, generation 3, since 2026-11-27T10:00:00Z`
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = rfc3339(self.since_ms);
        write!(formatter, "{}, generation {}, since {since}", self.process, self.generation)
    }
}

/// How a job that starts claims a store.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    /// Whether to take the store from a job that still has it, without waiting.
    pub take_over: bool,
    /// Ends the wait when it is set.
    pub stop: Arc<AtomicBool>,
}

impl Claim {
    /// Waits until the store may be taken. `find` looks for the job that has it.
    ///
    /// # Errors
    /// When the job that has the store lives on, when `stop` is set, and those of `find`.
    pub(super) fn wait(
        &self,
        store: &str,
        mut find: impl FnMut() -> Result<Found, StoreError>,
    ) -> Result<(), StoreError> {
        let started = Instant::now();
        let mut watch = Watch::new(self.take_over);
        let mut is_told = false;
        loop {
            let found = find()?;
            match (watch.decide(started.elapsed(), &found), found) {
                (Verdict::Take, Found::Held { holder, .. }) if is_told => {
                    tracing::warn!("`{store}`: no sign of life of {holder}; taking the store over");
                    return Ok(());
                }
                (Verdict::Take, _) => return Ok(()),
                (Verdict::Refuse, Found::Held { holder, .. }) => {
                    return Err(StoreError::InUse { store: store.to_owned(), holder });
                }
                (Verdict::Wait, Found::Held { holder, .. }) if !is_told => {
                    is_told = true;
                    tracing::warn!(
                        "`{store}` is in use by another job: {holder}; waiting {} s for a sign of \
                         life: without one this job takes the store, otherwise it ends \
                         (--take-over takes the store at once)",
                        EXPIRY.as_secs()
                    );
                }
                (Verdict::Wait | Verdict::Refuse, _) => {}
            }
            if self.stop.load(Ordering::Relaxed) {
                return Err(StoreError::Stopped { store: store.to_owned() });
            }
            thread::sleep(WATCH_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_follows_the_records_and_fades_without_any() {
        let mut rate = 0.0;
        // 20 commits a second, each of 500 records.
        for _ in 0..2_000 {
            rate = averaged(rate, 500, Duration::from_millis(50));
        }
        assert!((9_990.0..=10_000.1).contains(&rate), "{rate}");
        // A burst of commits within a millisecond has a share, not more.
        assert!(averaged(rate, 500, Duration::ZERO) < rate + 60.0);
        assert!((3_600.0..3_700.0).contains(&averaged(rate, 0, RATE_TIME)));
        assert!(averaged(rate, 0, Duration::from_secs(120)) < 0.1);
    }

    #[test]
    fn the_time_without_a_commit_is_by_the_clock_of_the_job_alone() {
        let lease = Lease { since_ms: 50_000, renewed_ms: 62_000, ..Lease::new(1, None) };
        let after = |committed_ms| Lease { committed_ms, ..lease.clone() }.without_commit();
        assert_eq!(after(None), Duration::from_secs(12));
        assert_eq!(after(Some(61_500)), Duration::from_millis(500));
        assert_eq!(after(Some(7)), Duration::from_secs(12), "another job has committed that");
    }
}
