//! The engine: a multi-process timely job that turns partitions into committed rows.
//!
//! ```text
//! partition ─ poll ─ admit ─┬─► epoch e   : arrange by request ─► queries ──┐
//!            (ingest)       └─► epoch e+1 : …              (epochs)         ├─► table ─► committer
//!                 └ positions, ledger ───────────────────────── (worker) ───┘           (store)
//! ```
//!
//! Every worker runs the same loop (`worker`): execute commands, read, step, report. Worker 0
//! decides (`leader`, `coordinator`) and owns the store (`committer`). This module alone knows
//! timely's worker.
//!
//! A job begins with its *replay*: partitions are read again from their replay offsets to where the
//! store says that they were read, which rebuilds the state of the open epochs. Nothing of it is
//! committed; its digests are compared with the store's, and then the job goes on where the last
//! one left off. For a new store there is nothing to replay.

mod across;
mod cluster;
mod committer;
mod coordinator;
mod dead_letters;
mod epochs;
mod ingest;
mod leader;
mod metrics;
mod partition;
mod protocol;
mod rows;
mod settings;
mod table;
mod worker;

pub use cluster::Cluster;
pub use dead_letters::DeadLetters;
pub use metrics::Counters;
pub use settings::Settings;

use crate::sources::{Source, SourceError};
use crate::stores::{Store, StoreError};
use crate::time::Epoch;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What this process brings to a job.
pub struct Job {
    /// What to compute.
    pub settings: Settings,
    /// Makes a source for each worker.
    pub source: Box<dyn Fn() -> Box<dyn Source> + Send + Sync>,
    /// The store, in the first process only.
    pub store: Mutex<Option<Box<dyn Store>>>,
    /// Where malformed records go.
    pub dead_letters: Arc<DeadLetters>,
    /// What has been done so far.
    pub counters: Arc<Counters>,
    /// Set to end the job early; what was read is committed.
    pub stop: Arc<AtomicBool>,
}

/// How a job went, in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The most dataflows of epochs that lived at once on a worker.
    pub live_epochs_max: usize,
    /// How many epochs were opened.
    pub epochs: u64,
    /// Publications that were committed, in the first process.
    pub publications: u64,
    /// How long the replay took, from the launch on, in the first process.
    pub replay: Duration,
    /// Whether the job was ended early.
    pub stopped: bool,
}

impl Summary {
    fn merge(self, other: Summary) -> Summary {
        Summary {
            live_epochs_max: self.live_epochs_max.max(other.live_epochs_max),
            epochs: self.epochs.max(other.epochs),
            publications: self.publications.max(other.publications),
            replay: self.replay.max(other.replay),
            stopped: self.stopped || other.stopped,
        }
    }
}

/// Why a job has failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A source cannot be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A log does not give again what it gave before.
    #[error(
        "replaying the logs gives other rows of epoch {epoch} than the store holds: what was read \
         before has changed; restore the logs, or start with a new store"
    )]
    Replay {
        /// The first epoch that differs.
        epoch: Epoch,
    },
    /// The processes cannot find each other.
    #[error(
        "cannot start the workers: {0}; check --hostfile, and that no other job uses its ports"
    )]
    Launch(String),
    /// A worker of this or another process has failed.
    #[error("a worker has failed: {0}")]
    Worker(String),
}

/// Runs a job to its end.
///
/// # Errors
/// When a source or the store fails, here or in another process. What was committed stays.
///
/// # Panics
/// When another process of the job dies. A program must end when that happens, as must one whose
/// worker panics: the workers that are left would wait for ever.
pub fn run(cluster: &Cluster, job: Job) -> Result<Summary, EngineError> {
    // Differential's `idle_merge_effort` stays off: a trace with anything left to merge would have
    // its worker step again and again, and merge early what it must merge once more.
    let config = timely::WorkerConfig::default();
    // A process that was once busy would keep its largest buffers for ever.
    let mut hooks = timely::communication::Hooks::default();
    hooks.refill.limit = Some(1);
    let (builders, others) =
        cluster.communication().try_build_with(hooks).map_err(EngineError::Launch)?;
    let job = Arc::new(job);
    let is_over = Arc::new(AtomicBool::new(false));
    let guards = {
        let is_over = Arc::clone(&is_over);
        timely::execute::execute_from(builders, others, config, move |worker| {
            let result = worker::run(worker, &job);
            if let Err(failure) = &result {
                end_soon(failure.to_string(), Arc::clone(&is_over));
            }
            result
        })
    };
    let guards = guards.map_err(EngineError::Launch)?;
    let mut summary = Summary::default();
    let mut failure = None;
    for result in guards.join() {
        match result {
            Ok(Ok(part)) => summary = summary.merge(part),
            // The error of the worker that failed says more than that of those who heard of it.
            Ok(Err(error)) => {
                if matches!(failure, None | Some(EngineError::Worker(_))) {
                    failure = Some(error);
                }
            }
            Err(panic) => failure = failure.or(Some(EngineError::Worker(panic))),
        }
    }
    is_over.store(true, Ordering::Relaxed);
    failure.map_or(Ok(summary), Err)
}

/// How long the dataflows of a job that has failed may take to wind up.
const WIND_UP_MAX: Duration = Duration::from_secs(10);

/// Ends the process if timely does not come to an end after a failure: it steps its dataflows until
/// all are complete everywhere, and a failure elsewhere may have taken away what they wait for.
fn end_soon(failure: String, is_over: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        std::thread::sleep(WIND_UP_MAX);
        if !is_over.load(Ordering::Relaxed) {
            eprintln!("error: {failure}");
            std::process::exit(1);
        }
    });
}
