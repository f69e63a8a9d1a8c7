//! How many events per second does the engine alone process, from memory to committed rows?
//!
//! Included: acceptance, routing, exchange, arrangement, queries, publishing every second. Not
//! included: reading, decoding, a database. The events are those of `trendmark generate`, decoded,
//! in eight partitions of each kind; a round holds 100,000 events of all workers together. Every
//! configuration must give the same totals before its time counts.
//!
//! The control runs two independent jobs of one worker at the same time. Their combined speedup is
//! what two cores can deliver: 2, unless other programs use the cores or the memory. It is printed
//! beside the speedup of one job with two workers.
//!
//! `cargo bench --bench engine -- [--scatter true] [--impressions N] [--repeat N]`
//! With `--test`, as in CI, it runs once on a small log.

mod common;

use common::{generated, median, parameter, run, settings, totals};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use trendmark::engine::{Cluster, Counters};
use trendmark::generate::Model;
use trendmark::sources::memory::MemorySource;
use trendmark::stores::memory::MemoryStore;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events per round, of all workers together.
const ROUND_EVENTS: usize = 100_000;

/// Returns the time of a run after all processes connected, and its totals.
fn measure(source: &MemorySource, cluster: &Cluster) -> (Duration, [u64; 3]) {
    let mut settings = settings();
    settings.round_events = ROUND_EVENTS / (cluster.workers * cluster.processes());
    let counters = Arc::new(Counters::default());
    let store = MemoryStore::new(&settings.definition, &settings.queries);
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

/// A configuration: jobs, which each process all events, processes per job, workers per process.
struct Configuration {
    name: &'static str,
    jobs: usize,
    processes: usize,
    workers: usize,
}

const CONFIGURATIONS: [Configuration; 4] = [
    Configuration { name: "1 worker", jobs: 1, processes: 1, workers: 1 },
    Configuration { name: "2 workers", jobs: 1, processes: 1, workers: 2 },
    Configuration { name: "2 processes of 1 worker", jobs: 1, processes: 2, workers: 1 },
    Configuration {
        name: "each of 2 concurrent jobs of 1 worker",
        jobs: 2,
        processes: 1,
        workers: 1,
    },
];

/// A process of a job that has its events and waits for the others.
struct Ready {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Ready {
    fn start(model: &Model, workers: usize, addresses: &str, process: usize) -> Ready {
        let (impressions, scatter) = (model.impressions.to_string(), model.scatter.to_string());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--impressions", &impressions, "--scatter", &scatter, "--addresses", addresses])
            .args(["--process", &process.to_string(), "--workers", &workers.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Ready { child, said }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line
    }

    /// Waits for the process to end, and returns the last line that it printed.
    fn finish(mut self) -> String {
        let lines = self.said.lines().map_while(Result::ok);
        // The lines before the last one are printed by timely.
        let last = lines.last().unwrap_or_default();
        assert!(self.child.wait().unwrap().success(), "a process failed");
        last
    }
}

/// Runs a configuration in new processes of this program: in a process that is reused, the memory
/// left by the earlier run slows the later one by up to a fifth. Returns the time of the slowest
/// job, and the totals of each job.
fn measure_apart(model: &Model, configuration: &Configuration) -> (Duration, Vec<[u64; 3]>) {
    let jobs =
        (0..configuration.jobs).map(|_| addresses(configuration.processes)).collect::<Vec<_>>();
    let mut started: Vec<Ready> = Vec::new();
    for addresses in &jobs {
        let processes = 0..configuration.processes;
        started
            .extend(processes.map(|it| Ready::start(model, configuration.workers, addresses, it)));
    }
    for ready in &mut started {
        assert_eq!(ready.line().trim(), READY);
    }
    for ready in &mut started {
        ready.child.stdin.take().unwrap().write_all(b"\n").unwrap();
    }
    let said: Vec<String> = started.into_iter().map(Ready::finish).collect();
    let jobs = said.iter().step_by(configuration.processes).map(|numbers| {
        let mut numbers = numbers.split_whitespace().map(|text| text.parse().unwrap());
        let elapsed = Duration::from_micros(numbers.next().unwrap());
        (elapsed, [(); 3].map(|()| numbers.next().unwrap()))
    });
    let (elapsed, totals): (Vec<_>, Vec<_>) = jobs.unzip();
    (elapsed.into_iter().max().unwrap(), totals)
}

/// Free local addresses, one per process, separated by commas.
fn addresses(processes: usize) -> String {
    let listeners: Vec<_> =
        (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses = listeners.iter().map(|listener| listener.local_addr().unwrap().to_string());
    addresses.collect::<Vec<_>>().join(",")
}

/// The line that a process prints when it has its events.
const READY: &str = "ready";

/// Runs a process that [`measure_apart`] started.
fn run_child_process(model: &Model, addresses: &str) {
    let process = parameter("--process", 0, 0);
    let workers = parameter("--workers", 1, 1);
    let addresses = addresses.split(',').map(str::to_string).collect();
    let (source, _) = generated(model);
    println!("{READY}");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let (elapsed, [plays, impressions, rows]) =
        measure(&source, &Cluster { process, addresses, ..Cluster::threads(workers) });
    println!("{} {plays} {impressions} {rows}", elapsed.as_micros());
}

fn main() {
    let impressions = parameter("--impressions", 20_000_000, 100_000);
    let scatter = parameter("--scatter", false, true);
    let model = Model { impressions, scatter, ..Model::default() };
    let addresses: String = parameter("--addresses", String::new(), String::new());
    if !addresses.is_empty() {
        return run_child_process(&model, &addresses);
    }
    let (_, events) = generated(&model);
    let mut times: [Vec<Duration>; CONFIGURATIONS.len()] = Default::default();
    let mut expected = None;
    for _ in 0..parameter("--repeat", 5, 1) {
        for (configuration, times) in CONFIGURATIONS.iter().zip(&mut times) {
            let (elapsed, totals) = measure_apart(&model, configuration);
            let expected = *expected.get_or_insert(totals[0]);
            assert!(
                totals.iter().all(|totals| *totals == expected),
                "{} differ",
                configuration.name
            );
            times.push(elapsed);
        }
    }
    let [plays, shown, rows] = expected.unwrap_or_default();
    println!("{events} events: {rows} rows, {plays} plays, {shown} impressions each time");
    for (configuration, times) in CONFIGURATIONS.iter().zip(&times) {
        let rate = |elapsed: Duration| events as f64 / elapsed.as_secs_f64() / 1e6;
        let all: Vec<_> = times.iter().map(|elapsed| format!("{:.2}", rate(*elapsed))).collect();
        println!(
            "{}: {:.2} M events/s (all: {})",
            configuration.name,
            rate(median(times)),
            all.join(", ")
        );
    }
    let [one, two, processes, jobs] = times.map(|times| median(&times).as_secs_f64());
    println!(
        "speedup of 2 workers: {:.2}, of 2 jobs at once: {:.2}; \
         2 processes relative to 2 workers: {:.2}",
        one / two,
        2.0 * one / jobs,
        two / processes
    );
}
