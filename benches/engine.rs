//! How many events a second does the engine alone take, from memory to committed rows?
//!
//! Isolated: judging, routing, exchange, arrangement, queries, publishing every second. Not in it:
//! reading, decoding and a database. The events are those of `trendmark generate`, decoded, in
//! eight partitions of each kind; rounds hold 100,000 events of all workers together. Every way
//! must give the same sums before its time counts.
//!
//! `cargo bench --bench engine -- [--impressions N] [--repeat N]`
//! With `--test`, as CI runs it, it takes a small log, once.

mod common;

use common::{generated, median, parameter, run, settings, totals};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use trendmark::engine::{Cluster, Counters};
use trendmark::generate::Model;
use trendmark::sources::memory::MemorySource;
use trendmark::stores::memory::MemoryStore;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events of all workers in a round.
const ROUND_EVENTS: usize = 100_000;

/// How long a run took once all processes had met, and what it came to.
fn measure(source: &MemorySource, cluster: &Cluster) -> (Duration, [u64; 3]) {
    let mut settings = settings();
    settings.round_events = ROUND_EVENTS / (cluster.workers * cluster.processes());
    let counters = Arc::new(Counters::default());
    let store = MemoryStore::default();
    let launch = {
        let counters = Arc::clone(&counters);
        std::thread::spawn(move || {
            while !counters.is_launched() {
                std::thread::sleep(Duration::from_micros(200));
            }
            Instant::now()
        })
    };
    run(cluster, settings, source, counters, Box::new(store.clone()));
    (launch.join().unwrap().elapsed(), totals(&store))
}

/// The processes and the workers of each that share the work.
struct Way {
    name: &'static str,
    processes: usize,
    workers: usize,
}

const WAYS: [Way; 3] = [
    Way { name: "1 worker", processes: 1, workers: 1 },
    Way { name: "2 workers", processes: 1, workers: 2 },
    Way { name: "2 processes of 1 worker", processes: 2, workers: 1 },
];

/// Runs a way in processes of its own, started from this program: in a process that has run
/// before, the memory that the earlier run left behind slows the later one by up to a fifth.
fn measure_apart(impressions: u64, way: &Way) -> (Duration, [u64; 3]) {
    let listeners: Vec<_> =
        (0..way.processes).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses = listeners.iter().map(|listener| listener.local_addr().unwrap().to_string());
    let addresses = addresses.collect::<Vec<_>>().join(",");
    drop(listeners);
    let children = (0..way.processes).map(|process| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--impressions", &impressions.to_string(), "--addresses", &addresses])
            .args(["--process", &process.to_string(), "--workers", &way.workers.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    });
    let outputs: Vec<_> = children
        .collect::<Vec<_>>()
        .into_iter()
        .map(|child| child.wait_with_output().unwrap())
        .collect();
    assert!(outputs.iter().all(|output| output.status.success()), "a process has failed");
    let numbers = String::from_utf8(outputs[0].stdout.clone()).unwrap();
    // What stands before the last line is timely's own.
    let numbers = numbers.lines().last().unwrap_or_default();
    let numbers: Vec<u64> = numbers.split_whitespace().map(|text| text.parse().unwrap()).collect();
    (Duration::from_micros(numbers[0]), [numbers[1], numbers[2], numbers[3]])
}

/// What a process started by [`measure_apart`] does.
fn be_process(model: &Model, addresses: &str) {
    let process = parameter("--process", 0, 0);
    let workers = parameter("--workers", 1, 1);
    let addresses = addresses.split(',').map(str::to_string).collect();
    let (source, _) = generated(model);
    let (elapsed, [plays, impressions, rows]) =
        measure(&source, &Cluster { workers, process, addresses });
    println!("{} {plays} {impressions} {rows}", elapsed.as_micros());
}

fn main() {
    let impressions = parameter("--impressions", 20_000_000, 100_000);
    let model = Model { impressions, ..Model::default() };
    let addresses: String = parameter("--addresses", String::new(), String::new());
    if !addresses.is_empty() {
        return be_process(&model, &addresses);
    }
    let (_, events) = generated(&model);
    let mut times: [Vec<Duration>; 3] = Default::default();
    let mut expected = None;
    for _ in 0..parameter("--repeat", 5, 1) {
        for (way, times) in WAYS.iter().zip(&mut times) {
            let (elapsed, totals) = measure_apart(impressions, way);
            assert_eq!(totals, *expected.get_or_insert(totals), "{} differ", way.name);
            times.push(elapsed);
        }
    }
    let [plays, shown, rows] = expected.unwrap_or_default();
    println!("{events} events: {rows} rows, {plays} plays, {shown} impressions in all ways");
    for (way, times) in WAYS.iter().zip(&times) {
        let rate = |elapsed: Duration| events as f64 / elapsed.as_secs_f64() / 1e6;
        let all: Vec<_> = times.iter().map(|elapsed| format!("{:.2}", rate(*elapsed))).collect();
        println!("{}: {:.2} M events/s (all: {})", way.name, rate(median(times)), all.join(", "));
    }
    let [one, two, processes] = times.map(|times| median(&times).as_secs_f64());
    println!(
        "2 workers / 1 worker: {:.2}; 2 processes / 2 workers: {:.2}",
        one / two,
        two / processes
    );
}
