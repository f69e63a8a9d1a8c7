//! Shared by the benchmarks: a log in memory, a run of the engine, medians, memory.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use trendmark::dataflows;
use trendmark::engine::{
    self, Cluster, Counters, DeadLetters, Job, Observer, Settings, StoreOpener, Summary,
};
use trendmark::event::Event;
use trendmark::generate::{Generator, Model};
use trendmark::log::PartitionName;
use trendmark::query::QueryInstance;
use trendmark::sources::Source;
use trendmark::sources::memory::MemorySource;
use trendmark::stores::Store;
use trendmark::stores::memory::MemoryStore;
use trendmark::time::Definition;

/// The value of a flag; the default is `large`, or `small` with `--test`.
pub fn parameter<T: std::str::FromStr>(flag: &str, large: T, small: T) -> T {
    let arguments: Vec<String> = std::env::args().collect();
    let given = arguments.iter().position(|argument| argument == flag);
    match given.and_then(|at| arguments.get(at + 1)) {
        Some(value) => value.parse().unwrap_or_else(|_| panic!("invalid {flag} {value}")),
        None if is_test() => small,
        None => large,
    }
}

/// Whether the benchmark is only tested.
pub fn is_test() -> bool {
    std::env::args().any(|argument| argument == "--test")
}

/// A generated log, decoded and in memory, and its number of events.
pub fn generated(model: &Model) -> (MemorySource, u64) {
    let mut partitions: BTreeMap<PartitionName, Vec<Event>> = BTreeMap::new();
    for arrival in Generator::new(model).unwrap() {
        let name = format!("{:02}", arrival.partition);
        let partition = partitions.entry(PartitionName { kind: arrival.kind, name }).or_default();
        partition.extend(arrival.event(partition.len() as u64));
    }
    let events = partitions.values().map(|events| events.len() as u64).sum();
    (MemorySource::new(partitions.into_iter().collect()), events)
}

/// The settings of a job with the query `trends`.
pub fn settings() -> Settings {
    let queries = [dataflows::LEDGER, dataflows::ALL[0]].map(QueryInstance::new);
    Settings::new(Definition::default(), queries.into())
}

/// Runs the engine and returns its summary.
pub fn run<S: Source + Clone + Sync + 'static>(
    cluster: &Cluster,
    settings: Settings,
    source: &S,
    counters: Arc<Counters>,
    store: Box<dyn Store>,
) -> Summary {
    run_observed(cluster, settings, source, counters, store, None)
}

/// Runs the engine, tells the observer of what it commits, and returns its summary.
pub fn run_observed<S: Source + Clone + Sync + 'static>(
    cluster: &Cluster,
    settings: Settings,
    source: &S,
    counters: Arc<Counters>,
    store: Box<dyn Store>,
    observer: Option<Arc<dyn Observer>>,
) -> Summary {
    let source = source.clone();
    let opener: StoreOpener = Box::new(|| Ok(store));
    let job = Job {
        settings,
        source: Box::new(move || Box::new(source.clone())),
        store: Mutex::new((cluster.process == 0).then_some(opener)),
        titles: Mutex::new(None),
        dead_letters: Arc::new(DeadLetters::default()),
        counters,
        observer,
        stop: Arc::new(AtomicBool::new(false)),
    };
    engine::run(cluster, job).unwrap()
}

/// The sums of plays and impressions, and the number of rows, of the query `trends`.
pub fn totals(store: &MemoryStore) -> [u64; 3] {
    let rows = store.committed().rows(1);
    rows.iter().fold([0; 3], |[plays, impressions, rows], row| {
        [plays + row.values[0], impressions + row.values[1], rows + 1]
    })
}

/// The median.
pub fn median(values: &[Duration]) -> Duration {
    let mut values = values.to_vec();
    values.sort_unstable();
    values[values.len() / 2]
}

/// The resident memory of this process, in MiB.
pub fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.and_then(|text| text.trim().split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
