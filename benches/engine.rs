//! How many events a second does the engine alone take, from memory to committed rows?
//!
//! Isolated: judging, routing, exchange, arrangement, queries, publishing every second. Not in it:
//! reading, decoding and a database. The events are those of `trendmark generate`, decoded, in
//! eight partitions of each kind; rounds hold 100,000 events of all workers together.
//!
//! `cargo bench --bench engine -- [--impressions N] [--repeat N] [--processes]`
//! With `--test`, as `cargo test --benches` runs it, it takes a small log, once.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use trendmark::dataflows;
use trendmark::engine::{self, Cluster, Counters, DeadLetters, Job, Settings};
use trendmark::event::Event;
use trendmark::generate::{Generator, Model};
use trendmark::sources::PartitionName;
use trendmark::sources::memory::MemorySource;
use trendmark::stores::memory::MemoryStore;
use trendmark::time::Definition;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn source(impressions: u64) -> (MemorySource, u64) {
    let model = Model { impressions, ..Model::default() };
    let mut partitions: BTreeMap<PartitionName, Vec<Event>> = BTreeMap::new();
    let mut events = 0;
    for arrival in Generator::new(&model).unwrap() {
        let name = format!("{:02}", arrival.partition);
        let partition = partitions.entry(PartitionName { kind: arrival.kind, name }).or_default();
        if let Some(event) = arrival.event(partition.len() as u64) {
            partition.push(event);
            events += 1;
        }
    }
    (MemorySource::new(partitions.into_iter().collect()), events)
}

fn run(source: &MemorySource, cluster: &Cluster) -> f64 {
    let queries = vec![&dataflows::distinct::QUERY, dataflows::ALL[0]];
    let mut settings = Settings::new(Definition::default(), queries);
    settings.round_events = 100_000 / (cluster.workers * cluster.processes());
    let source = source.clone();
    let store = MemoryStore::default();
    let job = Job {
        settings,
        source: Box::new(move || Box::new(source.clone())),
        store: Mutex::new(Some(Box::new(store.clone()))),
        dead_letters: Arc::new(DeadLetters::default()),
        counters: Arc::new(Counters::default()),
        stop: Arc::new(AtomicBool::new(false)),
    };
    let start = Instant::now();
    let summary = engine::run(cluster, job).unwrap();
    let elapsed = start.elapsed().as_secs_f64();
    let tables = store.tables();
    eprintln!("{summary:?} rows {} rss {}", tables.rows[&1].len(), rss());
    elapsed
}

fn rss() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("");
    let now = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or("");
    format!("{peak} {now}")
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let impressions = arguments
        .iter()
        .position(|argument| argument == "--impressions")
        .map_or(20_000_000, |at| arguments[at + 1].parse().unwrap());
    let (source, events) = source(impressions);
    eprintln!("{events} events, {}", rss());
    for _ in 0..2 {
        for workers in
            std::env::var("WORKERS").unwrap_or("1 2".into()).split(' ').map(|w| w.parse().unwrap())
        {
            let cpu = cpu();
            let elapsed = run(&source, &Cluster::threads(workers));
            println!("{workers} workers: {elapsed:.2} s, {:.2} M/s", events as f64 / elapsed / 1e6);
            println!("cpu {:.2}", self::cpu() - cpu);
        }
    }
}

fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = s.rsplit(')').next().unwrap().split_whitespace().collect();
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0
}
