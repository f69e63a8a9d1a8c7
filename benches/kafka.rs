//! Throughput and latency from events in Kafka to rows in the store.
//!
//! The program reads from a real broker on the same machine: JSON, 16 partitions, zstd. First it
//! reads a whole log as fast as possible, and its totals are compared with those from the same
//! events in files. Then it follows a stream at a steady rate; every thousandth event is timed from
//! sending to when another program can read it in the store.
//!
//! `cargo bench --bench kafka -- [--impressions N] [--repeat N] [--rate N] [--seconds N]
//! [--publish-interval TIME]`, with a broker: `TRENDMARK_TEST_KAFKA=$(tests/kafka/broker start)`.
//! Without a broker it prints that and exits. With `--test`, as in CI, it runs once on a small log.

mod common;

use common::{median, parameter};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use trendmark::event::Event;
use trendmark::generate::{Generator, Model};
use trendmark::kafka::client::block_on;

/// Partitions of each kind.
const PARTITIONS: usize = 8;
const KINDS: [&str; 2] = ["impressions", "plays"];
/// One in this many events is timed.
const TIMED: u64 = 1_000;

fn trendmark() -> Command {
    Command::new(env!("CARGO_BIN_EXE_trendmark"))
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A broker, with topics that are created for this run.
struct Topics {
    servers: String,
    suffix: String,
}

impl Topics {
    fn create(servers: &str, what: &str) -> Topics {
        let topics = Topics {
            servers: servers.into(),
            suffix: format!("{what}-{}", std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos()),
        };
        let admin: AdminClient<DefaultClientContext> = topics.config().create().unwrap();
        let names = KINDS.map(|kind| topics.name(kind));
        let new = names
            .each_ref()
            .map(|name| NewTopic::new(name, PARTITIONS as i32, TopicReplication::Fixed(1)));
        block_on(admin.create_topics(&new, &AdminOptions::new())).unwrap();
        topics
    }

    fn name(&self, kind: &str) -> String {
        format!("{kind}-{}", self.suffix)
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.servers).set("compression.type", "zstd");
        config.set("queue.buffering.max.messages", "1000000");
        config
    }

    /// A producer that preserves the order of a partition. Without idempotence, a message that is
    /// retried, as on a new topic, may follow later ones, and its event would be late.
    fn producer(&self, linger_ms: u32) -> BaseProducer {
        let mut config = self.config();
        config.set("enable.idempotence", "true").set("linger.ms", linger_ms.to_string());
        config.create().unwrap()
    }

    /// The command that runs the program on these topics.
    fn run(&self, store: &Path) -> Command {
        let mut command = trendmark();
        command.args(["run", "--bootstrap-servers", &self.servers, "--workers", "2"]);
        for kind in KINDS {
            command.arg(format!("--{kind}")).arg(format!("kafka:{}", self.name(kind)));
        }
        command.arg("--store").arg(store);
        command
    }
}

fn send(producer: &BaseProducer, topic: &str, partition: usize, line: &str) {
    let partition = partition as i32;
    let mut record = BaseRecord::<(), str>::to(topic).partition(partition).payload(line);
    while let Err((_, unsent)) = producer.send(record) {
        record = unsent;
        producer.poll(Duration::from_millis(1));
    }
}

/// Calls `act` for each line of the log with its kind and partition, one line per file in turn.
fn for_each_line(folder: &Path, mut act: impl FnMut(usize, usize, &str)) {
    let mut files = Vec::new();
    for (kind, name) in KINDS.iter().enumerate() {
        let mut paths: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(name))
            .collect();
        paths.sort();
        assert_eq!(paths.len(), PARTITIONS);
        for (partition, path) in paths.into_iter().enumerate() {
            files.push((kind, partition, BufReader::new(std::fs::File::open(path).unwrap())));
        }
    }
    let mut line = String::new();
    while !files.is_empty() {
        files.retain_mut(|(kind, partition, file)| {
            line.clear();
            let more = file.read_line(&mut line).unwrap() > 0;
            if more {
                act(*kind, *partition, line.trim_end());
            }
            more
        });
    }
}

/// The totals of a store, for comparison.
fn totals(store: &Path) -> Vec<i64> {
    let connection = Connection::open(store).unwrap();
    let sums = ["count(*) FROM trends", "sum(plays) FROM trends", "sum(impressions) FROM trends"];
    let events = ["sum(events) FROM ledger", "sum(distinct_events) FROM ledger"];
    let number = |what: &&str| {
        connection.query_row(&format!("SELECT {what}"), [], |row| row.get(0)).unwrap()
    };
    sums.iter().chain(&events).map(number).collect()
}

/// Measures the throughput on a whole log.
fn measure_rate(servers: &str, folder: &Path) {
    let topics = Topics::create(servers, "rate");
    let producer = topics.producer(20);
    let names = KINDS.map(|kind| topics.name(kind));
    let mut events = 0_u64;
    for_each_line(&folder.join("log"), |kind, partition, line| {
        send(&producer, &names[kind], partition, line);
        events += 1;
    });
    producer.flush(Duration::from_secs(60)).unwrap();
    let from_files = folder.join("files.db");
    let log = |kind: &str| format!("{}/{kind}-*", folder.join("log").display());
    succeed(
        trendmark()
            .args(["run", "--impressions", &log("impressions"), "--plays", &log("plays")])
            .arg("--store")
            .arg(&from_files),
    );
    let expected = totals(&from_files);
    let mut times = Vec::new();
    for run in 0..parameter("--repeat", 3, 1) {
        let store = folder.join(format!("{run}.db"));
        let started = Instant::now();
        succeed(topics.run(&store).arg("--until-end"));
        times.push(started.elapsed());
        assert_eq!(totals(&store), expected, "Kafka and files differ");
    }
    let rate = |elapsed: Duration| events as f64 / elapsed.as_secs_f64() / 1e6;
    let all: Vec<_> = times.iter().map(|time| format!("{:.2}", rate(*time))).collect();
    let typical = rate(median(&times));
    println!(
        "{events} events: {typical:.2} M events/s (all: {}) to committed rows",
        all.join(", ")
    );
}

fn line(event: &Event) -> String {
    let record_time_ms = event.record_time_ms.unwrap_or(event.event_time_ms);
    let (request, video) = (event.request, event.video.0);
    let ids = format!("\"request_id\":\"{request}\",\"video_id\":{video}");
    let event_time_ms = event.event_time_ms;
    format!("{{{ids},\"event_time\":{event_time_ms},\"record_time\":{record_time_ms}}}")
}

/// The time at which an event was sent, and its position.
struct Sent {
    at: Instant,
    partition: String,
    offset: u64,
}

/// Polls the store until all sent events are in it. Returns the latency of each event.
fn watch(store: &Path, sent: &Receiver<Sent>) -> Vec<Duration> {
    while !store.exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let connection = Connection::open_with_flags(store, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let mut waiting: Vec<Sent> = Vec::new();
    let (mut latencies, mut is_over) = (Vec::new(), false);
    while !(is_over && waiting.is_empty()) {
        std::thread::sleep(Duration::from_millis(5));
        loop {
            match sent.try_recv() {
                Ok(event) => waiting.push(event),
                Err(error) => {
                    is_over = error == std::sync::mpsc::TryRecvError::Disconnected;
                    break;
                }
            }
        }
        let Ok(mut statement) =
            connection.prepare_cached("SELECT partition, next_offset FROM partitions")
        else {
            continue;
        };
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)));
        let read: BTreeMap<String, i64> = rows.unwrap().filter_map(Result::ok).collect();
        let now = Instant::now();
        waiting.retain(|event| {
            let next_offset = read.get(&event.partition).copied().unwrap_or(0);
            let is_there = next_offset.cast_unsigned() > event.offset;
            if is_there {
                latencies.push(now.duration_since(event.at));
            }
            !is_there
        });
    }
    latencies
}

/// Measures the latency on a stream at a steady rate.
fn measure_latency(servers: &str, folder: &Path) {
    let rate = parameter("--rate", 200_000_u64, 2_000);
    let seconds = parameter("--seconds", 20_u64, 2);
    let topics = Topics::create(servers, "latency");
    let producer = topics.producer(50);
    let names = KINDS.map(|kind| topics.name(kind));
    let store = folder.join("latency.db");
    let interval = parameter("--publish-interval", "1s".to_string(), "1s".to_string());
    let mut command = topics.run(&store);
    command.args(["--publish-interval", &interval]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut job: Child = command.spawn().unwrap();
    let (sender, sent) = channel();
    let watched = {
        let store = store.clone();
        std::thread::spawn(move || watch(&store, &sent))
    };
    let model = Model {
        impressions: rate * seconds,
        duration_ms: seconds.cast_signed() * 1_000,
        partitions: 8,
        ..Model::default()
    };
    // Topics in production are not empty: an empty partition holds all others back until it counts
    // as idle.
    for (partition, name) in (0..PARTITIONS).flat_map(|n| names.iter().map(move |name| (n, name))) {
        let event = Generator::new(&model).unwrap().find_map(|arrival| arrival.event(0));
        send(&producer, name, partition, &line(&event.unwrap()));
    }
    let mut offsets = [[1_u64; PARTITIONS]; 2];
    std::thread::sleep(Duration::from_secs(1));
    let (mut count, started) = (0_u64, Instant::now());
    // One second of event time per second, in order of arrival, as in production.
    for arrival in Generator::new(&model).unwrap() {
        let (kind, partition) = (arrival.kind as usize, arrival.partition as usize);
        let offset = &mut offsets[kind][partition];
        let Some(event) = arrival.event(*offset) else { continue };
        let due = Duration::from_secs_f64(count as f64 / rate as f64);
        if count.is_multiple_of(200) {
            producer.poll(Duration::ZERO);
            std::thread::sleep(due.saturating_sub(started.elapsed()));
        }
        send(&producer, &names[kind], partition, &line(&event));
        if count.is_multiple_of(TIMED) {
            let partition = format!("kafka:{}/{partition}", names[kind]);
            sender.send(Sent { at: Instant::now(), partition, offset: *offset }).unwrap();
        }
        *offset += 1;
        count += 1;
    }
    producer.flush(Duration::from_secs(60)).unwrap();
    let took = started.elapsed();
    drop(sender);
    let mut latencies = watched.join().unwrap();
    job.kill().unwrap();
    job.wait().unwrap();
    latencies.sort_unstable();
    let percentile = |part: usize| latencies[(latencies.len() - 1) * part / 100].as_millis();
    println!(
        "{:.0} events/s for {:.0} s, published every {interval}: p50 {} ms, p99 {} ms, max {} ms",
        count as f64 / took.as_secs_f64(),
        took.as_secs_f64(),
        percentile(50),
        percentile(99),
        percentile(100)
    );
}

fn main() {
    let Ok(servers) = std::env::var("TRENDMARK_TEST_KAFKA") else {
        eprintln!("SKIPPED: the Kafka benchmark needs TRENDMARK_TEST_KAFKA");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let impressions = parameter("--impressions", 5_000_000_u64, 20_000).to_string();
    let partitions = PARTITIONS.to_string();
    succeed(
        trendmark()
            .args(["generate", "--impressions", &impressions, "--partitions", &partitions, "--out"])
            .arg(folder.path().join("log")),
    );
    measure_rate(&servers, folder.path());
    measure_latency(&servers, folder.path());
}
