//! How many events per second does the engine alone process, from memory to committed rows?
//!
//! Included: acceptance, routing, exchange, arrangement, queries, publishing every second. Not
//! included: reading, decoding, a database. The events are those of `trendmark generate`, decoded,
//! in eight partitions of each kind; a round holds 100,000 events of all workers together. Every
//! configuration must give the same totals before its time counts. The requests of the log are
//! scattered, unless `--scatter false` is given: their impressions do not arrive together.
//!
//! The time of the source alone, which copies 56 bytes of each event, is printed. It is part of all
//! figures.
//!
//! The control runs two independent jobs of one worker at the same time. Their combined speedup is
//! what two cores can deliver: 2, unless other programs use the cores or the memory. It is printed
//! beside the speedup of one job with two workers.
//!
//! Then, with one worker: how many bytes of state a showing takes, and how long rounds of 10,000
//! events take, from the first event until every worker is through, while others are in flight.
//!
//! `cargo bench --bench engine -- [--scatter false] [--impressions N] [--repeat N]`
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
use trendmark::sources::{Batch, Polled, Source};
use trendmark::stores::memory::MemoryStore;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events per round, of all workers together.
const ROUND_EVENTS: usize = 100_000;

/// What a process says about a run.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    /// The time of the run after all processes connected, and the processor time of this one in
    /// user mode.
    elapsed: Duration,
    user: Duration,
    totals: [u64; 3],
    /// The bytes of the state when it was largest, and its showings of requests that were shown.
    state: [u64; 2],
    /// The times within which half of the rounds, 99 % and all were over.
    rounds: [Duration; 3],
}

impl Said {
    fn numbers(&self) -> [u64; 10] {
        let micros = |time: Duration| time.as_micros() as u64;
        let ([plays, impressions, rows], [bytes, showings]) = (self.totals, self.state);
        let [half, most, all] = self.rounds.map(micros);
        let (elapsed, user) = (micros(self.elapsed), micros(self.user));
        [elapsed, user, plays, impressions, rows, bytes, showings, half, most, all]
    }

    fn of(line: &str) -> Said {
        let mut numbers = line.split_whitespace().map(|word| word.parse().unwrap());
        let mut next = || numbers.next().unwrap();
        let [elapsed, user] = [(); 2].map(|()| Duration::from_micros(next()));
        let (totals, state) = ([(); 3].map(|()| next()), [(); 2].map(|()| next()));
        let rounds = [(); 3].map(|()| Duration::from_micros(next()));
        Said { elapsed, user, totals, state, rounds }
    }
}

/// Runs a job of `round_events` in a round of all workers together.
fn measure(source: &MemorySource, cluster: &Cluster, round_events: usize) -> Said {
    let mut settings = settings();
    settings.round_events = round_events / (cluster.workers * cluster.processes());
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
    let user_before = user_time();
    let summary = run(cluster, settings, source, counters, Box::new(store.clone()));
    let (elapsed, user) = (launch.join().unwrap().elapsed(), user_time() - user_before);
    let state = [summary.state_max.bytes, summary.state_max.of_shown];
    let rounds = [0.5, 0.99, 1.0].map(|share| summary.round_times.within(share));
    Said { elapsed, user, totals: totals(&store), state, rounds }
}

/// The time to read all events, as the engine does.
fn time_of_source(mut source: MemorySource) -> Duration {
    let partitions = source.discover().unwrap();
    let began = Instant::now();
    for partition in partitions {
        let mut reader = source.open(&partition, None).unwrap();
        let mut batch = Batch::default();
        while reader.poll(&mut batch, 2048).unwrap() == Polled::More {
            std::hint::black_box(&mut batch).events.clear();
        }
    }
    began.elapsed()
}

/// The processor time of this process in user mode.
fn user_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let (_, after_name) = stat.rsplit_once(')').unwrap_or_default();
    let ticks = after_name.split_whitespace().nth(11).and_then(|word| word.parse().ok());
    Duration::from_millis(10 * ticks.unwrap_or(0))
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
    fn start(
        model: &Model,
        workers: usize,
        addresses: &str,
        process: usize,
        more: &[&str],
    ) -> Ready {
        let (impressions, scatter) = (model.impressions.to_string(), model.scatter.to_string());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--impressions", &impressions, "--scatter", &scatter, "--addresses", addresses])
            .args(["--process", &process.to_string(), "--workers", &workers.to_string()])
            .args(more)
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
/// left by the earlier run slows the later one by up to a fifth. Returns what the slowest process
/// of each job has said, with the processor time of all.
fn measure_apart(model: &Model, configuration: &Configuration, more: &[&str]) -> Vec<Said> {
    let jobs =
        (0..configuration.jobs).map(|_| addresses(configuration.processes)).collect::<Vec<_>>();
    let mut started: Vec<Ready> = Vec::new();
    for addresses in &jobs {
        let processes = 0..configuration.processes;
        let start = |it| Ready::start(model, configuration.workers, addresses, it, more);
        started.extend(processes.map(start));
    }
    for ready in &mut started {
        assert_eq!(ready.line().trim(), READY);
    }
    for ready in &mut started {
        ready.child.stdin.take().unwrap().write_all(b"\n").unwrap();
    }
    let said: Vec<Said> = started.into_iter().map(|ready| Said::of(&ready.finish())).collect();
    let jobs = said.chunks(configuration.processes).map(|of_job| Said {
        elapsed: of_job.iter().map(|said| said.elapsed).max().unwrap_or_default(),
        user: of_job.iter().map(|said| said.user).sum(),
        ..of_job[0]
    });
    jobs.collect()
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
    let round_events = parameter("--round-events", ROUND_EVENTS, ROUND_EVENTS);
    let addresses = addresses.split(',').map(str::to_string).collect();
    let (source, _) = generated(model);
    println!("{READY}");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let cluster = Cluster { process, addresses, ..Cluster::threads(workers) };
    let said = measure(&source, &cluster, round_events);
    println!("{}", said.numbers().map(|number| number.to_string()).join(" "));
}

fn main() {
    let impressions = parameter("--impressions", 20_000_000, 100_000);
    let scatter = parameter("--scatter", true, true);
    let model = Model { impressions, scatter, ..Model::default() };
    let addresses: String = parameter("--addresses", String::new(), String::new());
    if !addresses.is_empty() {
        return run_child_process(&model, &addresses);
    }
    let (source, events) = generated(&model);
    let source_time = time_of_source(source);
    println!(
        "the source alone: {:.1} ns an event",
        source_time.as_secs_f64() * 1e9 / events as f64
    );
    let repeat = parameter("--repeat", 5, 1);
    let mut all: [Vec<Said>; CONFIGURATIONS.len()] = Default::default();
    let mut expected = None;
    for _ in 0..repeat {
        for (configuration, all) in CONFIGURATIONS.iter().zip(&mut all) {
            let said = measure_apart(&model, configuration, &[]);
            let expected = *expected.get_or_insert(said[0].totals);
            let is_expected = |said: &Said| said.totals == expected;
            assert!(said.iter().all(is_expected), "{} differ", configuration.name);
            all.extend(said.into_iter().max_by_key(|said| said.elapsed));
        }
    }
    let [plays, shown, rows] = expected.unwrap_or_default();
    println!("{events} events: {rows} rows, {plays} plays, {shown} impressions each time");
    let times =
        all.each_ref().map(|said| median(&said.iter().map(|it| it.elapsed).collect::<Vec<_>>()));
    for ((configuration, all), time) in CONFIGURATIONS.iter().zip(&all).zip(times) {
        let rate = |elapsed: Duration| events as f64 / elapsed.as_secs_f64() / 1e6;
        let user = median(&all.iter().map(|said| said.user).collect::<Vec<_>>());
        let all: Vec<_> = all.iter().map(|said| format!("{:.2}", rate(said.elapsed))).collect();
        println!(
            "{}: {:.2} M events/s (all: {}), {:.1} ns of user time an event",
            configuration.name,
            rate(time),
            all.join(", "),
            user.as_secs_f64() * 1e9 / events as f64
        );
    }
    let [one, two, processes, jobs] = times.map(|time| time.as_secs_f64());
    println!(
        "speedup of 2 workers: {:.2}, of 2 jobs at once: {:.2}; \
         2 processes relative to 2 workers: {:.2}",
        one / two,
        2.0 * one / jobs,
        two / processes
    );
    print_more(&model, repeat, all[0][0].state);
}

/// Prints the size of the state, and measures small rounds.
fn print_more(model: &Model, repeat: usize, [bytes, showings]: [u64; 2]) {
    let bytes_each = bytes as f64 / showings as f64;
    println!("state of open epochs: at most {bytes} bytes, {bytes_each:.1} a showing");
    let small = ["--round-events", "10000"];
    let runs = (0..repeat).map(|_| measure_apart(model, &CONFIGURATIONS[0], &small)[0]);
    let runs: Vec<_> = runs.collect();
    let [half, most, all] = [0, 1, 2].map(|share| {
        let times: Vec<_> = runs.iter().map(|said| said.rounds[share]).collect();
        median(&times)
    });
    println!("rounds of 10,000 events: p50 {half:?}, p99 {most:?}, all within {all:?}");
}
