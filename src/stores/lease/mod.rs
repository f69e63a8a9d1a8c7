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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
        }
    }

    /// Returns the lease renewed now; `committed` if this is part of a commit.
    pub(super) fn renewed(&self, committed: bool) -> Lease {
        let renewed_ms = clock_ms();
        let committed_ms = if committed { Some(renewed_ms) } else { self.committed_ms };
        Lease { renewed_ms, committed_ms, ..self.clone() }
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
    Duration::from_millis(clock_ms().saturating_sub(then_ms).max(0).unsigned_abs())
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
