//! The Kafka source with brokers that belong to one test, which breaks or secures them: restarts,
//! leader changes, TLS and SASL. All of these tests need a real broker.

#![cfg(feature = "kafka")]

mod common;

use common::program::{Running, run, trendmark};
use common::topics::{Cluster, TIMEOUT, real_broker, unique};
use std::time::{Duration, Instant};
use trendmark::decode::LogFields;
use trendmark::event::Kind;
use trendmark::sources::kafka::KafkaSource;
use trendmark::sources::{Batch, PartitionReader, Polled, Source, Wait};
#[cfg(feature = "kafka-tls")]
use trendmark::sources::{SourceError, kafka::KafkaSourceError};

fn source(cluster: &Cluster, topic: &str) -> KafkaSource {
    let topics = vec![(Kind::Play, topic.to_string())];
    KafkaSource::new(cluster.settings.clone(), topics, LogFields::default(), false)
}

/// Reads until this number of events has arrived and the end is reported.
fn read_to_end(reader: &mut dyn PartitionReader, batch: &mut Batch, events: usize) {
    let started = Instant::now();
    while reader.poll(batch, 1_000).unwrap() != Polled::AtEnd || batch.events.len() < events {
        assert!(started.elapsed() < 2 * TIMEOUT, "{} of {events} events", batch.events.len());
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn check(batch: &Batch, events: u64) {
    let videos: Vec<_> = batch.events.iter().map(|event| event.video.0).collect();
    assert_eq!(videos, (0..events).collect::<Vec<_>>());
}

#[test]
fn the_end_of_a_partition_is_not_its_end_while_its_broker_hangs() {
    if real_broker("the_end_of_a_partition_is_not_its_end_while_its_broker_hangs").is_none() {
        return;
    }
    let cluster = Cluster::own(&[]);
    let topic = cluster.create_topic("hang", 1);
    cluster.writer().write_events(&topic, 0, 0..10);
    let mut source = source(&cluster, &topic);
    let found = source.discover().unwrap();
    let mut reader = source.open(&found[0], None).unwrap();
    let mut batch = Batch::default();
    read_to_end(reader.as_mut(), &mut batch, 10);
    let mut poll_for = |seconds| {
        let started = Instant::now();
        let mut polled = Polled::AtEnd;
        while started.elapsed() < Duration::from_secs(seconds) {
            polled = reader.poll(&mut batch, 1_000).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
        (polled, reader.waits_for())
    };
    // While nothing is written, the end stays known.
    assert_eq!(poll_for(6), (Polled::AtEnd, None));
    cluster.signal("STOP");
    assert_eq!(poll_for(6), (Polled::More, Some(Wait::Broker)));
    cluster.signal("CONT");
    assert_eq!(poll_for(6), (Polled::AtEnd, None));
}

#[test]
fn a_source_waits_for_a_broker_that_is_killed_and_restarted() {
    if real_broker("a_source_waits_for_a_broker_that_is_killed_and_restarted").is_none() {
        return;
    }
    let cluster = Cluster::own(&[]);
    let topic = cluster.create_topic("restart", 1);
    let writer = cluster.writer();
    writer.write_events(&topic, 0, 0..20_000);
    let mut source = source(&cluster, &topic);
    let found = source.discover().unwrap();
    let mut reader = source.open(&found[0], None).unwrap();
    let mut batch = Batch::default();
    while batch.events.len() < 5_000 {
        reader.poll(&mut batch, 1_000).unwrap();
    }
    cluster.order("kill");
    let killed = Instant::now();
    let mut at_end = 0;
    while killed.elapsed() < Duration::from_secs(3) {
        at_end += usize::from(reader.poll(&mut batch, 1_000).unwrap() == Polled::AtEnd);
        source.discover().unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(at_end, 0, "the end of a partition was reported while its broker was down");
    cluster.order("restart");
    writer.write_events(&topic, 0, 20_000..20_100);
    read_to_end(reader.as_mut(), &mut batch, 20_100);
    // Again, now with the end reported before the kill.
    cluster.order("kill");
    let started = Instant::now();
    while reader.poll(&mut batch, 1_000).unwrap() == Polled::AtEnd {
        assert!(started.elapsed() < TIMEOUT);
    }
    cluster.order("restart");
    read_to_end(reader.as_mut(), &mut batch, 20_100);
    writer.write_events(&topic, 0, 20_100..20_200);
    read_to_end(reader.as_mut(), &mut batch, 20_200);
    check(&batch, 20_200);
}

/// librdkafka tells of every attempt of every client: 165 errors in such an outage.
#[test]
fn a_job_tells_once_that_it_has_lost_its_broker_and_once_that_it_is_back() {
    if real_broker("the lines of a job whose broker is killed and restarted").is_none() {
        return;
    }
    let cluster = Cluster::own(&[]);
    let topic = cluster.create_topic("outage", 2);
    let writer = cluster.writer();
    writer.write_events(&topic, 0, 0..100);
    let (source, store) = (format!("kafka:{topic}"), format!("kafka:{}", unique("outage")));
    let place = ["--store", &store, "--bootstrap-servers", cluster.servers()];
    let mut job = trendmark();
    job.args(["run", "--impressions", &source, "--workers", "2"]).args(place);
    let mut job = Running::start(&mut job);
    let events = || {
        let status = run(["status", "--format", "json"].iter().chain(&place)).stdout;
        let status: serde_json::Value = serde_json::from_str(&status).unwrap_or_default();
        status["events"]["read"].as_u64()
    };
    job.wait_until("all is committed", || events() == Some(100));
    cluster.order("kill");
    std::thread::sleep(Duration::from_secs(37));
    let count = |job: &Running, said: &str| job.stderr().matches(said).count();
    let (lost, back) = (" lost the broker ", " again, after ");
    assert_eq!(count(&job, back), 0, "{}", job.stderr());
    cluster.order("restart");
    writer.write_events(&topic, 0, 100..200);
    job.wait_until("it goes on", || events() == Some(200));
    let started = Instant::now();
    while count(&job, back) < count(&job, lost) {
        assert!(started.elapsed() < TIMEOUT, "{}", job.stderr());
        std::thread::sleep(Duration::from_millis(100));
    }
    job.interrupt();
    let said = job.finish().succeeded().stderr;
    let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with("run: ")).collect();
    let of = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    // The client of each worker, that of the first look at the topics, and those of the store.
    assert!((2..=4).contains(&of(lost)), "{lines:#?}");
    assert_eq!(of(lost), of(back), "{lines:#?}");
    assert_eq!(of("Kafka, store: lost the broker"), 1, "{lines:#?}");
    assert!(of("no connection to the broker") <= of(lost), "{lines:#?}");
    assert!(of(" ERROR ") == 0 && lines.len() <= 20, "{lines:#?}");
}

#[test]
fn a_partition_is_read_on_when_its_leader_moves() {
    if real_broker("a_partition_is_read_on_when_its_leader_moves").is_none() {
        return;
    }
    let cluster = Cluster::own(&["--nodes", "3"]);
    let topic = cluster.create_topic("leader", 6);
    let writer = cluster.writer();
    for partition in 0..6 {
        writer.write_events(&topic, partition, 0..1_000);
    }
    let mut source = source(&cluster, &topic);
    let found = source.discover().unwrap();
    let mut reads: Vec<_> =
        found.iter().map(|found| (source.open(found, None).unwrap(), Batch::default())).collect();
    for (reader, batch) in &mut reads {
        read_to_end(reader.as_mut(), batch, 1_000);
    }
    // Node 1 leads a third of the partitions; other nodes take over.
    cluster.order("kill");
    for partition in 0..6 {
        writer.write_events(&topic, partition, 1_000..2_000);
    }
    for (reader, batch) in &mut reads {
        read_to_end(reader.as_mut(), batch, 2_000);
        check(batch, 2_000);
    }
}

#[cfg(feature = "kafka-tls")]
#[test]
fn tls_and_scram_admit_only_clients_with_the_password() {
    if real_broker("tls_and_scram_admit_only_clients_with_the_password").is_none() {
        return;
    }
    let cluster = Cluster::own(&["--security", "sasl_ssl"]);
    let folder = cluster.folder().clone();
    let inside = |name: &str| folder.join(name).display().to_string();
    let cluster = cluster
        .with("security.protocol", "SASL_SSL")
        .with("sasl.mechanisms", "SCRAM-SHA-512")
        .with("sasl.username", "trendmark")
        .with("sasl.password", &format!("file:{}", inside("password")))
        .with("ssl.ca.location", &inside("ca.pem"));
    let topic = cluster.create_topic("locked", 1);
    cluster.writer().write_events(&topic, 0, 0..100);
    let mut right = source(&cluster, &topic);
    let found = right.discover().unwrap();
    let mut batch = Batch::default();
    read_to_end(right.open(&found[0], None).unwrap().as_mut(), &mut batch, 100);
    check(&batch, 100);

    let refusal = |cluster: &Cluster| {
        let started = Instant::now();
        let error = source(cluster, &topic).discover().unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        (error.to_string(), error)
    };
    let right_password = cluster.settings.settings["sasl.password"].clone();
    let cluster = cluster.with("sasl.password", "not-the-password");
    let (said, error) = refusal(&cluster);
    assert!(matches!(error, SourceError::Kafka(KafkaSourceError::Denied { .. })), "{said}");
    assert!(!said.contains("not-the-password"), "{said}");

    // The broker's certificate is signed by an unknown authority.
    let mut cluster = cluster.with("sasl.password", &right_password);
    cluster.settings.settings.remove("ssl.ca.location");
    let (said, error) = refusal(&cluster);
    assert!(matches!(error, SourceError::Kafka(KafkaSourceError::Denied { .. })), "{said}");
    assert!(said.contains("certificate"), "{said}");
}
