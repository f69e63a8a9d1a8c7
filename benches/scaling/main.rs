//! One point of the scaling curves: a job on a repeated log in memory, with a store on disk.
//!
//! `run.py` beside this file runs it; see README.md there. It is called twice: with `--make`, it
//! writes the part of a generated log that is repeated. Without, it reads the part, prints `ready`,
//! waits for a line, runs the job, and prints its time, processor time and memory in JSON, and what
//! the rows of the store must add up to.

#[path = "../common/mod.rs"]
mod common;
mod exact;
mod part;
mod source;
mod usage;

use common::{parameter, run};
use serde::Serialize;
use source::Repeated;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use trendmark::dataflows;
use trendmark::engine::{Cluster, Counters, Settings};
use trendmark::generate::Model;
use trendmark::query::QueryInstance;
use trendmark::stores::memory::MemoryStore;
use trendmark::stores::sqlite::SqliteStore;
use trendmark::stores::{Claim, Store};
use trendmark::time::Definition;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a job used in this process.
#[derive(Serialize)]
struct Used {
    /// Events that this process read.
    events: u64,
    /// From the start of the workers to the end of the job, in the first process.
    wall_s: f64,
    user_s: f64,
    system_s: f64,
    /// The peak of resident memory, without what the log and the program took before.
    memory_bytes: u64,
    /// The same in each tenth of the time.
    memory_by_tenth: Vec<u64>,
    /// What the log and the program took before.
    log_bytes: u64,
    publications: u64,
    epochs_open_max: usize,
}

/// What is printed.
#[derive(Serialize)]
struct Printed {
    /// The time of the source for one event, in nanoseconds.
    source_ns: f64,
    /// Events of the whole log.
    events: u64,
    used: Used,
    sums: exact::Sums,
}

fn model() -> Model {
    Model {
        impressions: parameter("--impressions", 1_000_000, 1_000_000),
        videos: parameter("--videos", 10_000, 10_000),
        videos_per_request: parameter("--videos-per-request", 20, 20),
        duration_ms: parameter("--period-ms", 3_600_000, 3_600_000),
        scatter: parameter("--scatter", true, true),
        late_rate: 0.0,
        future_rate: 0.0,
        malformed_rate: 0.0,
        ..Model::default()
    }
}

fn definition() -> Definition {
    let default = Definition::default();
    let epoch_length_ms = parameter("--epoch-ms", default.epoch_length_ms, 0);
    Definition {
        epoch_length_ms,
        join_window_epochs: parameter("--join-window", default.join_window_epochs, 0),
        max_leap_ms: Definition::default_max_leap_ms(epoch_length_ms, default.max_delay_ms),
        ..default
    }
}

fn cluster() -> Cluster {
    let addresses: String = parameter("--addresses", String::new(), String::new());
    let addresses = addresses.split(',').filter(|address| !address.is_empty());
    Cluster {
        process: parameter("--process", 0, 0),
        addresses: addresses.map(str::to_string).collect(),
        ..Cluster::threads(parameter("--workers", 2, 2))
    }
}

/// The settings of the product, with the queries that were named.
fn job_settings() -> Settings {
    let named: String = parameter("--query", "trends".into(), String::new());
    let find = |name| dataflows::find(name).unwrap_or_else(|| panic!("no query {name}"));
    let mut queries = vec![QueryInstance::new(dataflows::LEDGER)];
    queries.extend(named.split(',').map(find).map(QueryInstance::new));
    Settings::new(definition(), queries)
}

/// A new store in the first process. The others have none, and this is never used there.
fn new_store(settings: &Settings, process: usize) -> Box<dyn Store> {
    let (definition, queries) = (&settings.definition, &settings.queries);
    if process > 0 {
        return Box::new(MemoryStore::new(definition, queries));
    }
    let path: PathBuf = parameter("--store", PathBuf::new(), PathBuf::new());
    Box::new(SqliteStore::open(&path, definition, queries, &Claim::default()).unwrap())
}

/// Runs the job to its end.
fn measure(log: &Repeated, cluster: &Cluster) -> Used {
    let settings = job_settings();
    let store = new_store(&settings, cluster.process);
    let counters = Arc::new(Counters::default());
    let is_over = AtomicBool::new(false);
    let log_bytes = usage::resident_bytes();
    usage::forget_peak();
    let [user_s, system_s] = usage::processor_s();
    let (elapsed, summary, samples) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| usage::sample(&is_over));
        let launch = scope.spawn(|| {
            while !counters.is_launched() {
                std::thread::sleep(Duration::from_micros(200));
            }
            Instant::now()
        });
        let summary = run(cluster, settings, log, Arc::clone(&counters), store);
        let end = Instant::now();
        is_over.store(true, Ordering::Relaxed);
        (end.duration_since(launch.join().unwrap()), summary, sampler.join().unwrap())
    });
    let after = usage::processor_s();
    let beyond_log = |bytes: u64| bytes.saturating_sub(log_bytes);
    Used {
        events: counters.events(),
        wall_s: elapsed.as_secs_f64(),
        user_s: after[0] - user_s,
        system_s: after[1] - system_s,
        memory_bytes: beyond_log(usage::peak_bytes()),
        memory_by_tenth: usage::tenths(&samples).into_iter().map(beyond_log).collect(),
        log_bytes,
        publications: summary.publications,
        epochs_open_max: summary.live_epochs_max,
    }
}

fn main() {
    let path: PathBuf = parameter("--part", PathBuf::new(), PathBuf::new());
    if path.as_os_str().is_empty() {
        return println!("this is run by benches/scaling/run.py");
    }
    let model = model();
    if std::env::args().any(|argument| argument == "--make") {
        return part::make(&model, &path);
    }
    let repetitions = parameter("--repetitions", 1, 1);
    let (start_ms, period_ms) = (model.start_ms, model.duration_ms);
    let partitions = part::read(&path, parameter("--partitions", 8, 8));
    let log = Repeated::new(partitions, start_ms, period_ms, repetitions);
    let source_ns = log.cost_ns();
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let cluster = cluster();
    let used = measure(&log, &cluster);
    let sums = if cluster.process == 0 {
        exact::sums(log.records(), &definition(), start_ms, period_ms, repetitions)
    } else {
        exact::Sums::default()
    };
    let printed = Printed { source_ns, events: log.events(), used, sums };
    println!("{}", serde_json::to_string(&printed).unwrap());
}
