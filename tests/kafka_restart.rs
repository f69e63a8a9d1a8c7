//! Jobs from Kafka to Kafka that are killed at any moment: every record that a `read_committed`
//! reader of the changelog sees equals the oracle, on the logs up to the positions committed with
//! the record.
//!
//! Needs a real broker: `TRENDMARK_TEST_KAFKA=$(tests/kafka/broker start) cargo test --test
//! kafka_restart`. `TRENDMARK_TEST_KILLS=1000` takes longer.

#![cfg(feature = "kafka")]

mod common;

use common::fixture::Fixture;
use common::kills::{kill, try_kills};
use common::program::{Running, start_processes, trendmark};
use common::topics::{Cluster, EVENT_TIME_MS, TIMEOUT, real_broker, unique};
use common::{Expected, Log, expect, files};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;
use trendmark::dataflows;
use trendmark::event::{Event, Kind};
use trendmark::log::PartitionName;
use trendmark::query::{QueryInstance, Row};
use trendmark::stores::StoreReader;
use trendmark::stores::kafka::KafkaReader;
use trendmark::time::Definition;

/// The number of kills, unless the environment sets another.
const KILLS: u64 = 12;
/// The longest time that a job runs before it is killed, in milliseconds.
const RUN_MAX_MS: u64 = 2_500;
/// The partitions of each topic.
const PARTITIONS: usize = 3;

/// A log in topics, and the topic of the store.
struct Workspace {
    cluster: Cluster,
    inputs: BTreeMap<Kind, String>,
    store: String,
    hosts: tempfile::TempDir,
    definition: Definition,
    /// The events, with the names of their partitions in Kafka.
    log: Log,
}

impl Workspace {
    /// New, empty topics for a log with these partitions.
    fn new(cluster: Cluster, log: &Log) -> Workspace {
        let has_log = |kind: &Kind| log.iter().any(|(partition, _)| partition.kind == *kind);
        let inputs: BTreeMap<Kind, String> = Kind::ALL
            .into_iter()
            .filter(has_log)
            .map(|kind| (kind, cluster.create_topic(kind.topic(), PARTITIONS as i32)))
            .collect();
        let nothing = log.iter().enumerate().map(|(number, (partition, _))| {
            let kind = partition.kind;
            let name = format!("kafka:{}/{}", inputs[&kind], number % PARTITIONS);
            (PartitionName { kind, name }, Vec::new())
        });
        let log = nothing.collect();
        let (store, hosts) = (unique("trends"), tempfile::tempdir().unwrap());
        Workspace { cluster, inputs, store, hosts, definition: Definition::default(), log }
    }

    /// Appends events to each partition, with a few malformed messages among them.
    fn write(&mut self, events: impl IntoIterator<Item = Vec<Event>>) {
        let writer = self.cluster.writer();
        for ((partition, log), events) in self.log.iter_mut().zip(events) {
            let number = partition.name.rsplit_once('/').unwrap().1.parse().unwrap();
            let topic = &self.inputs[&partition.kind];
            let mut offset = log.last().map_or(0, |last| last.offset + 1);
            for event in events {
                if offset % 97 == 5 {
                    writer.write(topic, number, Some(b"poison"), EVENT_TIME_MS);
                    offset += 1;
                }
                let line = files::line(&event);
                // The least of the record time and the timestamp of the message is used.
                let record_time_ms = event.record_time_ms.unwrap();
                writer.write(topic, number, Some(line.as_bytes()), record_time_ms);
                log.push(Event { offset, ..event });
                offset += 1;
            }
        }
        writer.flush();
    }

    /// The number of committed events, whatever their fate.
    fn events_committed(&self) -> u64 {
        let Ok(reader) = KafkaReader::open(&self.cluster.settings, &self.store) else { return 0 };
        reader.ledger().unwrap().iter().map(|row| row.events).sum()
    }

    /// The number of jobs that have opened the store.
    fn generation(&self) -> u64 {
        let Ok(reader) = KafkaReader::open(&self.cluster.settings, &self.store) else { return 0 };
        reader.progress().unwrap().generation
    }

    /// The number of events written.
    fn events(&self) -> u64 {
        self.log.iter().map(|(_, events)| events.len() as u64).sum()
    }

    fn command(&self) -> Command {
        let mut command = trendmark();
        command.args(["run", "--query", "trends", "--query", "requests"]);
        for (kind, topic) in &self.inputs {
            command.arg(kind.flag()).arg(format!("kafka:{topic}"));
        }
        command.args(["--bootstrap-servers", self.cluster.servers()]);
        command.arg("--store").arg(format!("kafka:{}", self.store));
        command
    }

    /// Runs a job until it ends or is killed. Returns whether it was cut short.
    fn live(&self, random: &mut ChaCha8Rng) -> bool {
        let processes = random.random_range(1..=2);
        let limits = [
            format!("--workers={}", random.random_range(1..=2)),
            format!("--round-events={}", random.random_range(50..400)),
            format!("--publish-interval={}ms", random.random_range(0..100)),
            format!("--rows-waiting-max={}", random.random_range(100..2_000)),
        ];
        let job = start_processes(processes, &self.hosts.path().join("hosts"), |_| {
            let mut command = self.command();
            command.args(&limits).args(["--until-end", "--launch-timeout", "2s"]);
            command
        });
        std::thread::sleep(Duration::from_millis(random.random_range(0..RUN_MAX_MS)));
        let one = random.random_range(0..processes);
        kill(job, random.random::<bool>().then_some(one))
    }

    /// All committed messages of a topic, with their keys, partition by partition.
    fn read(&self, topic: &str) -> Vec<(Value, Option<Value>)> {
        let mut config = self.cluster.settings.client_config().unwrap();
        config.set("group.id", "follower").set("enable.partition.eof", "true");
        let consumer: BaseConsumer =
            config.set("isolation.level", "read_committed").create().unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).unwrap();
        let mut left: BTreeSet<i32> =
            metadata.topics()[0].partitions().iter().map(|partition| partition.id()).collect();
        let mut assignment = TopicPartitionList::new();
        for partition in &left {
            assignment.add_partition_offset(topic, *partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&assignment).unwrap();
        let mut messages = Vec::new();
        while !left.is_empty() {
            match consumer.poll(TIMEOUT).expect("a message or the end of a partition") {
                Ok(message) => {
                    let json = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap();
                    messages.push((json(message.key().unwrap()), message.payload().map(json)));
                }
                Err(KafkaError::PartitionEOF(partition)) => drop(left.remove(&partition)),
                Err(error) => panic!("{error}"),
            }
        }
        messages
    }
}

/// The changelog as a reader sees it.
struct Changelog {
    /// The last version of each row, by key.
    rows: BTreeMap<String, Value>,
    /// All versions of rows, by publication.
    publications: BTreeMap<u64, Vec<Value>>,
    /// The positions committed with each publication.
    positions: BTreeMap<u64, BTreeMap<String, u64>>,
}

impl Changelog {
    fn read(place: &Workspace) -> Changelog {
        let (mut rows, mut publications) = (BTreeMap::new(), BTreeMap::<_, Vec<_>>::new());
        for (key, value) in place.read(&place.store) {
            let value = value.expect("no row of trends is ever deleted");
            let number = value["publication"].as_u64().unwrap();
            publications.entry(number).or_default().push(value.clone());
            rows.insert(key.to_string(), value);
        }
        let mut positions = BTreeMap::new();
        for (_, progress) in place.read(&format!("{}-progress", place.store)) {
            let progress = &progress.unwrap()["progress"];
            let partitions = progress["partitions"].as_array().unwrap().iter().map(|partition| {
                let name = partition["partition"]["name"].as_str().unwrap().to_string();
                (name, partition["next_offset"].as_u64().unwrap())
            });
            positions.insert(progress["publication"].as_u64().unwrap(), partitions.collect());
        }
        Changelog { rows, publications, positions }
    }
}

/// The oracle on the logs up to some positions.
fn expect_up_to(place: &Workspace, positions: &BTreeMap<String, u64>) -> Expected {
    let prefix = place.log.iter().map(|(partition, events)| {
        let end = positions.get(&partition.name).copied().unwrap_or(0);
        let events = events.iter().copied().filter(|event| event.offset < end);
        (partition.clone(), events.collect())
    });
    expect(place.definition, &prefix.collect())
}

/// The rows of the query `trends`, by video and epoch.
fn trends(expected: &Expected) -> BTreeMap<(u64, i64), [u64; 2]> {
    let query = QueryInstance::new(dataflows::find("trends").unwrap());
    let named = |row: &Row| ((row.key[0], row.epoch.0), [row.values[0], row.values[1]]);
    expected.rows(&query).iter().map(named).collect()
}

fn named(value: &Value) -> ((u64, i64), [u64; 2]) {
    let number = |name: &str| value[name].as_u64().unwrap();
    let epoch = value["epoch"].as_i64().unwrap();
    ((number("video_id"), epoch), [number("plays"), number("impressions")])
}

/// Every row of the changelog equals the oracle on the logs up to the positions of its publication.
fn check_changelog(place: &Workspace, changelog: &Changelog, how: &str) {
    const SAMPLES: usize = 12;
    let step = changelog.publications.len().div_ceil(SAMPLES).max(1);
    for (number, rows) in changelog.publications.iter().step_by(step) {
        let positions = changelog.positions.get(number);
        let positions = positions.unwrap_or_else(|| panic!("{how}: no progress with {number}"));
        let expected = trends(&expect_up_to(place, positions));
        for row in rows {
            let (name, values) = named(row);
            assert_eq!(expected.get(&name), Some(&values), "{how}, publication {number}: {row}");
        }
    }
}

/// The last versions of the rows and the ledger cover all events.
fn check_last(place: &Workspace, changelog: &Changelog, how: &str) {
    let expected = expect(place.definition, &place.log);
    let found: BTreeMap<_, _> = changelog.rows.values().map(named).collect();
    assert_eq!(found, trends(&expected), "{how}");
    let reader = KafkaReader::open(&place.cluster.settings, &place.store).unwrap();
    let ledger = reader.ledger().unwrap();
    let fates = ledger.iter().map(|row| {
        let accepted = row.distinct_events.checked_add_signed(row.duplicate_events).unwrap();
        ((row.key.epoch, row.key.kind), (accepted, row.late_events, row.future_events))
    });
    assert_eq!(fates.collect::<BTreeMap<_, _>>(), expected.fates, "{how}");
}

/// Every increment of the sets was written exactly once.
fn check_sets(place: &Workspace, how: &str) {
    let query = QueryInstance::new(dataflows::find("requests").unwrap());
    let expected = expect(place.definition, &place.log).rows(&query);
    let mut members: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in place.read(&format!("{}-requests", place.store)) {
        let mut value = value.unwrap();
        value.as_object_mut().unwrap().remove("publication");
        members.entry(key.to_string()).or_default().push(value.to_string());
    }
    for (member, increments) in &members {
        let distinct: BTreeSet<&String> = increments.iter().collect();
        assert_eq!(distinct.len(), increments.len(), "{how}: {member}: {increments:?}");
    }
    let played = |row: &&Row| row.values[1] == 1;
    let last_is_played =
        |increments: &&Vec<String>| increments.last().unwrap().contains("\"played\":true");
    assert_eq!(members.len(), expected.len(), "{how}");
    assert_eq!(
        members.values().filter(last_is_played).count(),
        expected.iter().filter(played).count(),
        "{how}"
    );
}

#[test]
fn a_changelog_reader_sees_every_change_once_however_often_the_job_is_killed() {
    let Some(servers) = real_broker("killing jobs from Kafka to Kafka") else { return };
    try_kills(KILLS, |seed, kills_max| check_killed(&servers, seed, kills_max));
}

/// Kills a job repeatedly, lets it end, and checks everything that readers see. Returns the number
/// of kills.
fn check_killed(servers: &str, seed: u64, kills_max: u64) -> u64 {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let log = Fixture::log(seed, 15_000);
    let mut place = Workspace::new(Cluster::at(servers), &log);
    place.write(log.into_iter().map(|(_, events)| events));
    let mut kills = 0;
    while kills < kills_max && place.live(&mut random) {
        kills += 1;
    }
    Running::start(place.command().arg("--until-end")).finish().succeeded();
    let changelog = Changelog::read(&place);
    let how = format!("seed {seed}, {kills} kills, {}", place.store);
    check_changelog(&place, &changelog, &how);
    check_last(&place, &changelog, &how);
    assert!(changelog.rows.values().all(|row| row["final"] == true), "{how}");
    check_sets(&place, &how);
    eprintln!("{how}: {} publications", changelog.positions.len());
    // A broker keeps several files open for each partition.
    let topics = place.inputs.values().chain([&place.store]);
    topics.for_each(|topic| place.cluster.delete_topics(topic));
    kills
}

#[test]
fn a_suspended_job_that_resumes_after_a_takeover_writes_nothing() {
    let Some(servers) = real_broker("a takeover of a suspended job") else { return };
    let log = Fixture::log(1, 15_000);
    let third = |number: usize| {
        let part = |events: &Vec<Event>| {
            let border = |number: usize| events.len() * number / 3;
            events[border(number)..border(number + 1)].to_vec()
        };
        log.iter().map(|(_, events)| part(events)).collect::<Vec<_>>()
    };
    let mut place = Workspace::new(Cluster::at(&servers), &log);
    // The oracle does not model idleness, which depends on the time of writing.
    let limits = ["--idle-timeout", "1h", "--publish-interval", "0ms", "--round-events", "200"];
    let follow = |place: &Workspace| Running::start(place.command().args(limits));

    place.write(third(0));
    let mut zombie = follow(&place);
    zombie.wait_until("everything is committed", || place.events_committed() == place.events());
    place.write(third(1));
    // While it is committing, unless it has finished already.
    zombie.suspend();
    let mut owner = follow(&place);
    // Until then the zombie may commit, and may have committed everything.
    owner.wait_until("it owns the store", || place.generation() == 2);
    owner.wait_until("everything is committed", || place.events_committed() == place.events());
    // Both jobs will try to commit these events.
    place.write(third(2));
    zombie.resume();
    zombie.finish().failed(5, &["another job has taken over"]);
    owner.wait_until("everything is committed", || place.events_committed() == place.events());
    owner.interrupt();
    owner.finish().succeeded();
    let (changelog, how) = (Changelog::read(&place), place.store.as_str());
    check_changelog(&place, &changelog, how);
    check_last(&place, &changelog, how);
    check_sets(&place, how);
}
