//! The engine: a multi-process timely job that turns partitions into committed rows.
//!
//! ```text
//! partition ─ poll ─ judge ─┬─► epoch e   : arrange by request ─► queries ──┐
//!            (intake)       └─► epoch e+1 : …              (epochs)         ├─► table ─► committer
//!                 └ positions, ledger ───────────────────────── (worker) ───┘           (store)
//! ```
//!
//! Every worker runs the same loop (`worker`): obey orders, read, step, report. Worker 0 decides
//! (`coordinator`) and owns the store (`committer`). This module alone knows timely's worker.
//!
//! A job begins with its *replay*: partitions are read again from their replay offsets to where the
//! store says that they were read, which rebuilds the state of the open epochs. Nothing of it is
//! committed; its digests are compared with the store's, and then the job goes on where the last
//! one left off. For a new store there is nothing to replay.

mod committer;
mod control;
mod coordinator;
mod dead_letters;
mod epochs;
mod intake;
mod partition;
mod table;
mod worker;

pub use dead_letters::DeadLetters;

use crate::query::Query;
use crate::sources::{Source, SourceError};
use crate::stores::{Store, StoreError};
use crate::time::{Definition, format_duration};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use timely::CommunicationConfig;

/// How many threads and processes share the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Workers, each a thread, in every process.
    pub workers: usize,
    /// The number of this process.
    pub process: usize,
    /// The `host:port` of every process, in the order of their numbers; one process needs none.
    pub addresses: Vec<String>,
}

impl Cluster {
    /// One process with so many workers.
    pub fn threads(workers: usize) -> Cluster {
        Cluster { workers, process: 0, addresses: Vec::new() }
    }

    /// How many processes there are.
    pub fn processes(&self) -> usize {
        self.addresses.len().max(1)
    }

    fn communication(&self) -> CommunicationConfig {
        match (self.processes(), self.workers) {
            (1, 1) => CommunicationConfig::Thread,
            (1, workers) => CommunicationConfig::Process(workers),
            (_, threads) => CommunicationConfig::Cluster {
                threads,
                process: self.process,
                addresses: self.addresses.clone(),
                report: false,
                zerocopy: false,
            },
        }
    }
}

/// What to compute and how to go about it. The same in every process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is computed.
    pub definition: Definition,
    /// The queries, in the order in which the store knows them.
    pub queries: Vec<&'static Query>,
    /// How often to publish.
    pub publish_interval: Duration,
    /// The longest that events wait for their round to fill.
    pub tick: Duration,
    /// The most events of a topic in a round of one worker.
    pub round_events: usize,
    /// The most bytes of a topic in a round of one worker.
    pub round_bytes: u64,
    /// The most rounds of a worker that may be under way.
    pub rounds_in_flight: usize,
    /// How many bytes of what came for an open epoch are arranged together on a worker. Fewer wait
    /// until their publication is over.
    pub gather_bytes: usize,
    /// The most changed rows, and sums that are to become rows, that may wait on a worker for the
    /// next publication. A sum waits on every worker that has a part in it.
    pub rows_waiting_max: usize,
    /// How far the watermark of a partition may run ahead of the slowest, in milliseconds.
    pub alignment_ms: i64,
    /// Whether to go on when everything is read.
    pub follow: bool,
    /// How long nothing must come, after the end of a partition was seen, for it to be idle.
    pub idle_timeout: Duration,
    /// How often to look for more at the end of a partition.
    pub poll_interval: Duration,
    /// The query whose rows the store wants back after a replay, see [`Store::restore`].
    pub restored_query: Option<usize>,
}

impl Settings {
    /// What is computed, in words: two jobs that say the same give the same rows.
    fn description(&self) -> String {
        let Definition { epoch_length_ms, join_window_epochs, max_delay_ms, max_future_ms } =
            self.definition;
        let queries: Vec<_> =
            self.queries.iter().map(|query| format!("{} {}", query.name, query.version)).collect();
        format!(
            "epoch-length {}, join-window {join_window_epochs}, max-delay {}, max-future {}, \
             queries {}",
            format_duration(epoch_length_ms),
            format_duration(max_delay_ms),
            format_duration(max_future_ms),
            queries.join(", ")
        )
    }

    /// The defaults, for these queries.
    pub fn new(definition: Definition, queries: Vec<&'static Query>) -> Settings {
        Settings {
            definition,
            queries,
            publish_interval: Duration::from_secs(1),
            tick: Duration::from_millis(100),
            round_events: 100_000,
            round_bytes: 64 << 20,
            rounds_in_flight: 16,
            gather_bytes: 2 << 20,
            rows_waiting_max: 1 << 20,
            alignment_ms: definition.epoch_length_ms,
            follow: false,
            idle_timeout: Duration::from_secs(10),
            poll_interval: Duration::from_millis(10),
            restored_query: None,
        }
    }
}

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
    fn add_events(&self, events: usize) {
        self.events.fetch_add(events as u64, Ordering::Relaxed);
    }

    fn add_replayed(&self, events: usize) {
        self.replayed.fetch_add(events as u64, Ordering::Relaxed);
    }

    fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn add_bytes_total(&self, bytes: u64) {
        self.bytes_total.fetch_add(bytes, Ordering::Relaxed);
    }

    fn set_launched(&self) {
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
    fn and(self, other: Summary) -> Summary {
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
        epoch: i64,
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
            Ok(Ok(part)) => summary = summary.and(part),
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
