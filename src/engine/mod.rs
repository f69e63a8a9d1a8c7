//! The engine: a multi-process timely job that reads partitions and commits rows.
//!
//! ```text
//! partition ─ poll ─ admit ─┬─► epoch e   : arrange by request ─► queries ──┐
//!            (ingest)       └─► epoch e+1 : …              (epochs)         ├─► table ─► committer
//!                 └ positions, ledger ───────────────────────── (worker) ───┘           (store)
//! ```
//!
//! Every worker runs the same loop (`worker`): execute commands, read, step, report. Worker 0
//! makes all decisions (`leader`, `coordinator`) and owns the store (`committer`). Only the engine
//! uses timely's worker.
//!
//! A job begins with its *replay*: it reads partitions again, from their replay offsets to the
//! offsets in the store, which rebuilds the state of the open epochs. Nothing is committed during
//! the replay. At its end the digests of the rebuilt rows are compared with those in the store, and
//! the job continues where the last one left off. With a new store there is nothing to replay.

mod across;
mod activity;
mod admission;
mod cluster;
mod committer;
mod completing;
mod connect;
mod coordinator;
mod dead_letters;
mod discovery;
mod epochs;
mod holding;
mod ingest;
mod leader;
mod memory;
mod meter;
mod metrics;
mod observer;
mod operators;
mod pace;
mod partition;
mod partition_state;
mod peers;
mod protocol;
mod round_times;
mod routes;
mod rows;
mod sets;
mod settings;
mod table;
mod titling;
mod usable;
mod watchdog;
mod worker;

use crate::event::Kind;
pub use cluster::Cluster;
use cluster::Communication;
pub use dead_letters::{DeadLetterError, DeadLetters};
pub use holding::{Holder, Reason};
use memory::Memory;
pub use memory::resident as resident_memory;
pub use meter::{Meter, Part, WorkerMeter};
pub use metrics::Counters;
pub use observer::Observer;
pub use partition_state::{PartitionState, STALLED_AFTER};
pub use protocol::Failure;
pub use round_times::RoundTimes;
pub use sets::SetsSettings;
pub use settings::Settings;
pub use usable::Records;
use watchdog::guard::Guard;
pub use watchdog::{Stall, Watched};

use crate::console;
use crate::log::PartitionName;
use crate::sets::SetsError;
use crate::showings::StateSize;
use crate::sources::{Source, SourceError};
use crate::stores::{Store, StoreError};
use crate::time::Epoch;
use crate::titles::JobTitles;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Opens the store of a job, and takes it over.
pub type StoreOpener = Box<dyn FnOnce() -> Result<Box<dyn Store>, StoreError> + Send>;

/// The inputs of a job in this process.
pub struct Job {
    /// The settings, the same in every process.
    pub settings: Settings,
    /// Makes a source for each worker.
    pub source: Box<dyn Fn() -> Box<dyn Source> + Send + Sync>,
    /// Opens the store, in the first process only. Called once all processes are connected: until
    /// then nobody would renew its lease.
    pub store: Mutex<Option<StoreOpener>>,
    /// The files of titles, in the first process only. They are read before the store is taken.
    pub titles: Mutex<Option<JobTitles>>,
    /// The destination of malformed records.
    pub dead_letters: Arc<DeadLetters>,
    /// Progress counters.
    pub counters: Arc<Counters>,
    /// Is told of what is committed, in the first process.
    pub observer: Option<Arc<dyn Observer>>,
    /// Set to end the job early; everything read by then is committed.
    pub stop: Arc<AtomicBool>,
}

/// Statistics of a finished job, in this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The maximum number of epoch dataflows alive at once on a worker.
    pub live_epochs_max: usize,
    /// The number of epochs that were opened.
    pub epochs: u64,
    /// The state of the open epochs when it was largest, of all workers together.
    pub state_max: StateSize,
    /// How long rounds took.
    pub round_times: RoundTimes,
    /// The number of committed publications, in the first process.
    pub publications: u64,
    /// The time from the launch to the end of the replay, in the first process.
    pub replay: Duration,
    /// Whether the job was ended early.
    pub stopped: bool,
    /// What was found and is not read, in words for people, in the first process.
    pub left_out: Vec<String>,
    /// The records of each log that were read and committed, by [`crate::event::Kind`], in the
    /// first process.
    pub records: [Records; Kind::COUNT],
}

impl Summary {
    fn merge(self, other: Summary) -> Summary {
        Summary {
            live_epochs_max: self.live_epochs_max.max(other.live_epochs_max),
            epochs: self.epochs.max(other.epochs),
            state_max: self.state_max.plus(other.state_max),
            round_times: self.round_times.merge(&other.round_times),
            publications: self.publications.max(other.publications),
            replay: self.replay.max(other.replay),
            stopped: self.stopped || other.stopped,
            left_out: [self.left_out, other.left_out].concat(),
            records: Kind::ALL.map(|kind| {
                let kind = kind as usize;
                self.records[kind].plus(other.records[kind])
            }),
        }
    }
}

/// The reasons why a job fails.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A source failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The files of the sets cannot be written.
    #[error(transparent)]
    Sets(#[from] SetsError),
    /// Malformed records cannot be written to the dead letters.
    #[error(transparent)]
    DeadLetters(#[from] DeadLetterError),
    /// A log has changed since it was read.
    #[error(
        "replaying the logs gives other events or rows for epoch {epoch} than the store holds: \
         records that were read before have changed; restore the logs, or \
         go on without reading them again with --accept-loss"
    )]
    Replay {
        /// The first epoch that differs.
        epoch: Epoch,
    },
    /// The state needs more memory than it may take.
    #[error(
        "this process takes {} MiB of memory, and --state-max allows {} MiB: {largest}; allow \
         more, start more processes, or keep fewer epochs open (--join-window, --max-delay, \
         --alignment)",
        used >> 20,
        limit >> 20
    )]
    State {
        /// The memory of the process, in bytes.
        used: u64,
        /// The limit, in bytes.
        limit: u64,
        /// The open epoch with the most showings, and their number, as text.
        largest: String,
    },
    /// The processes cannot connect to each other.
    #[error("{0}")]
    Launch(String),
    /// The job was asked to stop before its processes had met.
    #[error("stopped while waiting for the other processes: nothing was read")]
    Stopped,
    /// A worker of this or another process has failed.
    #[error("a worker has failed: {0}")]
    Worker(Failure),
}

/// The exit code of a job that was asked to stop.
const EXIT_STOPPED: u8 = 0;
/// The exit code of a job whose arguments are wrong.
pub const EXIT_USAGE: u8 = 2;
/// The exit code of a job that has failed for another reason than the following.
const EXIT_FAILED: u8 = 1;
/// The exit code of a process whose worker does not get on.
const EXIT_STALLED: u8 = 8;
/// The exit code of a job whose store another job has. A supervisor must not start it again: it
/// would take the store back.
pub const EXIT_FENCED: u8 = 5;
/// The exit code of a job that is done, and whose input could not be used: the same command reads
/// nothing more of it.
pub const EXIT_UNUSABLE: u8 = 6;

impl EngineError {
    /// The exit code of all processes of the job.
    pub fn exit_code(&self) -> u8 {
        match self {
            EngineError::Stopped | EngineError::Store(StoreError::Stopped { .. }) => EXIT_STOPPED,
            EngineError::Store(error) if error.is_fenced() => EXIT_FENCED,
            EngineError::Store(error) if error.is_usage() => EXIT_USAGE,
            EngineError::Worker(failure) => failure.exit_code,
            _ => EXIT_FAILED,
        }
    }

    /// Returns the message of a job that was asked to stop before it had its store.
    pub fn as_stopped(&self) -> Option<String> {
        match self {
            EngineError::Worker(failure) => {
                (failure.exit_code == EXIT_STOPPED).then(|| failure.text.clone())
            }
            error => (error.exit_code() == EXIT_STOPPED).then(|| error.to_string()),
        }
    }

    /// Returns what the other workers are told.
    fn to_failure(&self) -> Failure {
        Failure { text: self.to_string(), exit_code: self.exit_code() }
    }

    /// Whether the logs no longer give what the store holds, but may be read on from the
    /// `next_offset` of each partition in the store.
    pub fn is_loss(&self, next_offset: impl Fn(&PartitionName) -> Option<u64>) -> bool {
        match self {
            EngineError::Source(error) => error.is_loss(next_offset),
            EngineError::Replay { .. } => true,
            _ => false,
        }
    }
}

/// Runs a job to its end.
///
/// # Errors
/// If a source or the store fails, here or in another process. Committed publications remain.
///
/// If another process of the job dies or freezes, this one ends with exit code 1 and a message.
///
/// # Panics
/// If a worker panics. The program must then exit: the remaining workers would wait for ever.
pub fn run(cluster: &Cluster, job: Job) -> Result<Summary, EngineError> {
    // Differential's `idle_merge_effort` stays off: a trace with unmerged batches would make its
    // worker step continuously, and merge batches early that must be merged again later.
    let config = timely::WorkerConfig::default();
    // Without this limit, a process that was busy once retains its largest buffers for ever.
    let mut hooks = timely::communication::Hooks::default();
    hooks.refill.limit = Some(1);
    let connected = cluster.communication(hooks, &job.stop);
    let Communication { builders, guard, peers } = connected.map_err(|error| {
        // What another process that was stopped has done to this one is no failure.
        if job.stop.load(Ordering::Relaxed) {
            EngineError::Stopped
        } else {
            EngineError::Launch(error)
        }
    })?;
    let job = Arc::new(job);
    if cluster.process > 0 {
        // The first process has a store to open before.
        job.counters.set_launched();
    }
    job.counters.meter().set_dead_letters(&job.dead_letters);
    let guard_of_threads = Guard::start(job.settings.watchdog, Arc::clone(&job.counters));
    let memory = Arc::new(Memory::limited_to(job.settings.state_max));
    let is_over = Arc::new(AtomicBool::new(false));
    let guards = {
        let is_over = Arc::clone(&is_over);
        timely::execute::execute_from(builders, guard, config, move |worker| {
            let result = worker::run(worker, &job, Arc::clone(&memory));
            if let Err(failure) = &result {
                exit_if_stuck(failure, Arc::clone(&is_over));
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
            // The error of the failed worker is more specific than `Worker`, which others return.
            Ok(Err(error)) => {
                if matches!(failure, None | Some(EngineError::Worker(_))) {
                    failure = Some(error);
                }
            }
            Err(panic) => {
                let panicked = Failure { text: panic, exit_code: EXIT_FAILED };
                failure = failure.or(Some(EngineError::Worker(panicked)));
            }
        }
    }
    is_over.store(true, Ordering::Relaxed);
    drop(guard_of_threads);
    peers.finish();
    failure.map_or(Ok(summary), Err)
}

/// The maximum time for the dataflows of a failed job to shut down.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// Ends the process if timely does not shut down after a failure. Timely steps its dataflows until
/// all are complete everywhere, which a failure elsewhere may prevent.
fn exit_if_stuck(failure: &EngineError, is_over: Arc<AtomicBool>) {
    let exit_code = i32::from(failure.exit_code());
    let failure = failure.to_string();
    std::thread::spawn(move || {
        std::thread::sleep(SHUTDOWN_TIMEOUT);
        if !is_over.load(Ordering::Relaxed) {
            console::fail_with(exit_code, failure);
        }
    });
}
