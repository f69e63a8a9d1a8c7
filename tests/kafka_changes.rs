//! Changes of a topic while it is read, on a real broker: partitions that are added, transactions,
//! retention, and topics that are made again.

#![cfg(feature = "kafka")]

mod common;

use common::program::{Running, run, trendmark, wait_until};
use common::reading::{Read, source};
use common::topics::{Cluster, EVENT_TIME_MS, TIMEOUT, event, real_broker};
use std::time::{Duration, Instant};
use trendmark::sources::kafka::KafkaSourceError;
use trendmark::sources::{Lag, Polled, Source, SourceError};

/// Another worker has asked for the topic before the partitions were added.
#[test]
fn a_worker_that_knows_a_topic_of_old_reads_added_partitions() {
    let Some(servers) = real_broker("added partitions of another worker") else { return };
    let cluster = Cluster::at(&servers);
    let topic = cluster.create_topic("grown", 1);
    cluster.writer().write_events(&topic, 0, 0..10);
    let mut finder = source(&cluster, &[&topic], false);
    let found = finder.discover().unwrap();
    let other = source(&cluster, &[&topic], false);
    let mut first = Read::new(&other, &found[0], None);
    first.until(Polled::AtEnd);
    cluster.add_partitions(&topic, 4);
    cluster.writer().write_events(&topic, 3, 100..110);
    let mut found = Vec::new();
    wait_until("the partitions are found", || {
        found = finder.discover().unwrap();
        found.len() == 4
    });
    let mut added = Read::new(&other, &found[3], None);
    added.until(Polled::AtEnd);
    assert_eq!(added.videos(), (100..110).collect::<Vec<_>>());
}

/// The next offset is behind the markers and aborted messages at the end, at once and while the
/// reader waits there. So retention may delete all that was read.
#[test]
fn the_position_is_behind_markers_and_aborted_messages() {
    let Some(servers) = real_broker("the position behind markers") else { return };
    let cluster = Cluster::at(&servers);
    let topic = cluster.create_topic("markers", 1);
    let writer = cluster.transactional_writer();
    writer.write_transaction(&topic, 0..2, true);
    let mut following = source(&cluster, &[&topic], false);
    let found = following.discover().unwrap();
    let mut read = Read::new(&following, &found[0], None);
    read.until(Polled::AtEnd);
    assert_eq!((read.videos(), read.batch.next_offset), (vec![0, 1], 3));
    // Aborted: a message and a marker. Then a committed one, and another aborted one.
    for (videos, commit, next_offset) in [(2..3, false, 5), (3..4, true, 7), (4..6, false, 10)] {
        writer.write_transaction(&topic, videos, commit);
        let started = Instant::now();
        while read.batch.next_offset < next_offset {
            assert!(started.elapsed() < TIMEOUT, "{} of {next_offset}", read.batch.next_offset);
            read.poll(100).unwrap();
        }
        assert_eq!(read.batch.next_offset, next_offset);
    }
    assert_eq!(read.videos(), [0, 1, 3]);
    read.until(Polled::AtEnd);
    wait_until("there is no lag", || {
        following.maintain().unwrap();
        read.reader.lag() == Lag::of_records(Some(0))
    });
    cluster.delete_records(&topic, 10);
    for until_end in [false, true] {
        let mut again = source(&cluster, &[&topic], until_end);
        let found = again.discover().unwrap();
        let mut read = Read::new(&again, &found[0], Some(10));
        read.until(if until_end { Polled::Exhausted } else { Polled::AtEnd });
        assert_eq!((read.videos(), read.batch.next_offset), (vec![], 10));
    }
}

#[test]
fn a_topic_of_which_only_markers_are_left_is_read_to_its_end() {
    let Some(servers) = real_broker("a topic that ends in a marker") else { return };
    let cluster = Cluster::at(&servers);
    let topic = cluster.create_topic("until", 1);
    cluster.transactional_writer().write_transaction(&topic, 0..2, true);
    let mut ending = source(&cluster, &[&topic], true);
    let found = ending.discover().unwrap();
    let mut read = Read::new(&ending, &found[0], None);
    read.until(Polled::Exhausted);
    assert_eq!((read.videos(), read.batch.next_offset), (vec![0, 1], 3));
}

/// A job that is started again finds no message. Its store and its consumer group are as far as the
/// topic, whose last message was aborted.
#[test]
fn a_job_resumes_behind_a_marker_after_retention() {
    let Some(servers) = real_broker("resuming behind a marker") else { return };
    let cluster = Cluster::at(&servers);
    let (topic, folder) = (cluster.create_topic("quiet", 2), tempfile::tempdir().unwrap());
    let transactions = cluster.transactional_writer();
    transactions.write_transaction(&topic, 0..2, true);
    transactions.write_transaction(&topic, 2..3, false);
    let group = common::topics::unique("group");
    let (store, place) = (folder.path().join("s.db"), format!("kafka:{topic}"));
    let store = store.to_str().unwrap();
    let job = ["run", "--impressions", &place, "--store", store, "--idle-timeout", "300ms"];
    let pace = ["--publish-interval", "100ms", "--bootstrap-servers", &servers];
    let setting = format!("group.id={group}");
    let start = || Running::start(trendmark().args(job).args(pace).args(["--kafka", &setting]));
    let writer = cluster.writer();
    let later = |hours: i64| {
        let record = event(7)
            .replace(&EVENT_TIME_MS.to_string(), &(EVENT_TIME_MS + hours * 3_600_000).to_string());
        writer.write(&topic, 1, Some(record.as_bytes()), EVENT_TIME_MS + hours * 3_600_000);
        writer.flush();
    };
    let status = ["status", "--store", store, "--format", "json", "--bootstrap-servers", &servers];
    let partition = || {
        let shown = run(status).stdout;
        let status: serde_json::Value = serde_json::from_str(&shown).unwrap_or_default();
        let partitions = status["partitions"].as_array().cloned().unwrap_or_default();
        let is_it = |one: &serde_json::Value| one.to_string().contains(&format!("{place}/0"));
        partitions.into_iter().find(is_it).unwrap_or_default()
    };
    let mut job = start();
    for hours in [6, 12, 18] {
        later(hours);
        std::thread::sleep(Duration::from_millis(700));
    }
    job.wait_until("the position is the end of the partition", || partition()["next_offset"] == 5);
    job.wait_until("the group is there", || cluster.committed(&group, &topic) == Some(5));
    assert_eq!(partition()["lag"], 0);
    job.interrupt();
    job.finish().succeeded();
    assert_eq!(cluster.committed(&group, &topic), Some(5));
    assert_eq!(partition()["lag"], 0);
    cluster.delete_records(&topic, 5);
    let mut job = start();
    std::thread::sleep(Duration::from_secs(2));
    later(24);
    assert!(!job.has_ended(), "{}", job.stderr());
    assert_eq!((&partition()["next_offset"], &partition()["lag"]), (&5.into(), &0.into()));
    job.interrupt();
    job.finish().succeeded();
    cluster.delete_topic(&topic);
}

/// The new topic is longer than the old one when the reader hears of it, so that its offset exists.
#[test]
fn a_topic_that_is_made_again_while_it_is_read_is_an_error() {
    let Some(servers) = real_broker("a topic that is made again") else { return };
    let cluster = Cluster::at(&servers);
    for read_before in [10, 100] {
        let topic = cluster.create_topic("remade", 1);
        let writer = cluster.writer();
        writer.write_events(&topic, 0, 0..read_before);
        let mut source = source(&cluster, &[&topic], false);
        let found = source.discover().unwrap();
        let mut read = Read::new(&source, &found[0], None);
        read.until(Polled::AtEnd);
        cluster.delete_topic(&topic);
        wait_until("the topic is made again", || cluster.create_named(&topic, 1));
        cluster.writer().write_events(&topic, 0, 1_000..1_050);
        let error = read.failure();
        let is_said = matches!(error, SourceError::Kafka(KafkaSourceError::Remade { .. }))
            || read_before > 50 && matches!(error, SourceError::Shrunk { .. });
        assert!(is_said, "{error}");
        assert!(read.videos().iter().all(|video| *video < 1_000));
        cluster.delete_topic(&topic);
    }
}
