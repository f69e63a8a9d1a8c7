//! The Kafka source as the engine uses it: messages, their order, the end of a partition, and
//! errors. Tests that need a real broker print that they are skipped when there is none.

#![cfg(feature = "kafka")]

mod common;

use common::reading::{Read, source};
use common::topics::{Cluster, EVENT_TIME_MS, TIMEOUT, event, real_broker};
use rdkafka::producer::Producer;
use std::time::{Duration, Instant};
use trendmark::log::PartitionProgress;
use trendmark::sources::kafka::{KafkaSource, KafkaSourceError};
use trendmark::sources::{Lag, Polled, Source, SourceError};

fn numbers(range: std::ops::Range<u64>) -> Vec<u64> {
    range.collect()
}

#[test]
fn partitions_of_several_topics_are_each_read_in_order() {
    let cluster = Cluster::any();
    let topics = [cluster.create_topic("several", 3), cluster.create_topic("several", 2)];
    let writer = cluster.writer();
    let mut expected = Vec::new();
    for (topic, partitions) in topics.iter().zip([3, 2]) {
        for partition in 0..partitions {
            let start = 1_000 * (expected.len() as u64 + 1);
            writer.write_events(topic, partition, start..start + 500);
            expected.push((format!("kafka:{topic}/{partition}"), numbers(start..start + 500)));
        }
    }
    let mut source = source(&cluster, &[&topics[0], &topics[1]], false);
    let found = source.discover().unwrap();
    let mut reads: Vec<_> = found.iter().map(|found| Read::new(&source, found, None)).collect();
    let started = Instant::now();
    while !reads.iter().all(|read| read.polled == Polled::AtEnd) {
        assert!(started.elapsed() < TIMEOUT);
        for read in &mut reads {
            read.poll(7).unwrap();
        }
    }
    let mut contents: Vec<_> = found
        .iter()
        .zip(&reads)
        .map(|(found, read)| (found.name.name.clone(), read.videos()))
        .collect();
    contents.sort_by_key(|(_, videos)| videos[0]);
    assert_eq!(contents, expected);
    assert!(reads.iter().all(|read| read.offsets() == numbers(0..500)));
    assert!(reads.iter().all(|read| read.batch.next_offset == 500 && read.batch.bytes > 25_000));
    assert!(found.iter().all(|found| found.end_offset.is_none() && found.size_bytes == 50_000));
}

#[test]
fn reading_starts_at_an_offset_and_continues_past_the_end() {
    let cluster = Cluster::any();
    let topic = cluster.create_topic("offset", 1);
    let writer = cluster.writer();
    writer.write_events(&topic, 0, 0..300);
    let mut source = source(&cluster, &[&topic], false);
    let found = source.discover().unwrap();
    let mut read = Read::new(&source, &found[0], Some(200));
    read.until(Polled::AtEnd);
    assert_eq!((read.videos(), read.offsets()), (numbers(200..300), numbers(200..300)));
    assert_eq!(read.poll(100).unwrap(), Polled::AtEnd);
    writer.write_events(&topic, 0, 300..310);
    read.until_events(110).unwrap();
    read.until(Polled::AtEnd);
    assert_eq!((read.videos(), read.batch.next_offset), (numbers(200..310), 310));
}

#[test]
fn ends_among_the_messages_that_are_taken_together_lose_and_repeat_nothing() {
    let cluster = Cluster::any();
    let topic = cluster.create_topic("ends", 1);
    let writer = cluster.writer();
    let mut source = source(&cluster, &[&topic], false);
    let found = source.discover().unwrap();
    let mut read = Read::new(&source, &found[0], Some(0));
    read.until(Polled::AtEnd);
    // The end is reported after each part, and nobody reads meanwhile.
    for part in 0..12 {
        writer.write_events(&topic, 0, 5 * part..5 * part + 5);
        std::thread::sleep(Duration::from_millis(50));
        if part % 4 == 3 {
            for _ in 0..5 {
                read.poll(2).unwrap();
            }
        }
    }
    read.until_events(60).unwrap();
    read.until(Polled::AtEnd);
    assert_eq!((read.videos(), read.offsets()), (numbers(0..60), numbers(0..60)));
    assert_eq!(read.batch.next_offset, 60);
}

#[test]
fn more_messages_than_are_taken_together_are_read_in_steps_of_any_size() {
    let cluster = Cluster::any();
    let topic = cluster.create_topic("steps", 1);
    let writer = cluster.writer();
    writer.write_events(&topic, 0, 0..5_000);
    let opened = |offset| {
        let mut source = source(&cluster, &[&topic], true);
        let found = source.discover().unwrap();
        (Read::new(&source, &found[0], offset), source)
    };
    for step in [7, 700, 1_024, 10_000] {
        // A reader that is dropped holds messages that it has not returned.
        let (mut first, source) = opened(None);
        first.until_events(1_500).unwrap();
        let next = first.batch.next_offset;
        drop((first, source));
        let (mut read, _source) = opened(Some(next));
        let started = Instant::now();
        while read.poll(step).unwrap() != Polled::Exhausted {
            assert!(started.elapsed() < TIMEOUT);
        }
        assert_eq!(read.videos(), numbers(next..5_000), "steps of {step}");
    }
}

#[test]
fn the_lag_is_known_although_the_partition_is_not_polled() {
    let cluster = Cluster::any();
    let topic = cluster.create_topic("lag", 1);
    let writer = cluster.writer();
    writer.write_events(&topic, 0, 0..500);
    let mut source = source(&cluster, &[&topic], false);
    let found = source.discover().unwrap();
    let mut read = Read::new(&source, &found[0], None);
    assert_eq!(read.reader.lag(), Lag::of_records(None));
    let wait_for = |source: &mut KafkaSource, read: &Read, records| {
        let started = Instant::now();
        while read.reader.lag() != Lag::of_records(Some(records)) {
            source.maintain().unwrap();
            assert!(started.elapsed() < TIMEOUT, "{:?}, not {records}", read.reader.lag());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    while read.batch.events.len() < 100 {
        read.poll(100 - read.batch.events.len()).unwrap();
    }
    wait_for(&mut source, &read, 400);
    read.until(Polled::AtEnd);
    wait_for(&mut source, &read, 0);
    writer.write_events(&topic, 0, 500..530);
    writer.flush();
    wait_for(&mut source, &read, 30);
    read.until_events(530).unwrap();
    wait_for(&mut source, &read, 0);
}

#[test]
fn an_offset_past_the_end_means_a_truncated_log() {
    let cluster = Cluster::any();
    let topic = cluster.create_topic("cut", 1);
    cluster.writer().write_events(&topic, 0, 0..10);
    let mut source = source(&cluster, &[&topic], false);
    let found = source.discover().unwrap();
    assert!(source.open(&found[0], Some(10)).is_ok());
    let error = source.open(&found[0], Some(11)).err().unwrap();
    assert!(matches!(error, SourceError::Shrunk { end: 10, offset: 11, .. }), "{error}");
}

#[test]
fn a_message_that_is_not_an_event_is_malformed_and_does_not_stop_the_job() {
    let cluster = Cluster::any();
    let topic = cluster.create_topic("poison", 1);
    let writer = cluster.writer();
    let values: [Option<&[u8]>; 5] =
        [Some(b"{}"), None, Some(b"\xff\x00"), Some(b""), Some(b"not json")];
    for value in values {
        writer.write(&topic, 0, value, EVENT_TIME_MS);
    }
    writer.write_events(&topic, 0, 5..7);
    let mut source = source(&cluster, &[&topic], false);
    let found = source.discover().unwrap();
    let mut read = Read::new(&source, &found[0], None);
    read.until(Polled::AtEnd);
    assert_eq!((read.offsets(), read.batch.next_offset), (vec![5, 6], 7));
    let malformed = &read.batch.malformed;
    let told: Vec<_> = malformed.iter().map(|one| (one.offset, one.location.as_str())).collect();
    let places = ["offset 0", "offset 1", "offset 2", "offset 3", "offset 4"];
    assert_eq!(told, (0..).zip(places).collect::<Vec<_>>());
    assert_eq!(malformed[0].reason, "missing field `request_id`");
    assert_eq!(malformed[1].reason, "the message has no value");
    assert_eq!(malformed[4].sample, "not json");
}

#[test]
fn the_least_of_record_time_and_message_timestamp_is_used() {
    let cluster = Cluster::any();
    let topic = cluster.create_topic("time", 1);
    let writer = cluster.writer();
    writer.write(&topic, 0, Some(event(0).as_bytes()), EVENT_TIME_MS + 3);
    for own_ms in [EVENT_TIME_MS + 1, EVENT_TIME_MS + 5] {
        let own = event(1).replace('}', &format!(r#","record_time":{own_ms}}}"#));
        writer.write(&topic, 0, Some(own.as_bytes()), EVENT_TIME_MS + 3);
    }
    writer.flush();
    let mut source = source(&cluster, &[&topic], false);
    let found = source.discover().unwrap();
    let mut read = Read::new(&source, &found[0], None);
    read.until_events(3).unwrap();
    let times: Vec<_> = read.batch.events.iter().map(|event| event.record_time_ms).collect();
    assert_eq!(times, [3, 1, 3].map(|later_ms| Some(EVENT_TIME_MS + later_ms)));
}

#[test]
fn until_end_means_the_end_at_the_start() {
    let cluster = Cluster::any();
    let topic = cluster.create_topic("until", 2);
    let writer = cluster.writer();
    writer.write_events(&topic, 0, 0..50);
    let mut source = source(&cluster, &[&topic], true);
    let found = source.discover().unwrap();
    assert_eq!([found[0].end_offset, found[1].end_offset], [Some(50), Some(0)]);
    writer.write_events(&topic, 0, 50..80);
    writer.write_events(&topic, 1, 80..90);
    let mut read = Read::new(&source, &found[0], None);
    let mut empty = Read::new(&source, &found[1], None);
    read.until(Polled::Exhausted);
    empty.until(Polled::Exhausted);
    assert_eq!((read.videos(), read.batch.next_offset), (numbers(0..50), 50));
    assert_eq!((empty.videos(), empty.batch.next_offset), (vec![], 0));
    // As after a restart: from the middle, and with everything read already.
    for (offset, rest) in [(20, numbers(20..50)), (50, vec![])] {
        let source = source.clone();
        let mut read = Read::new(&source, &found[0], Some(offset));
        read.until(Polled::Exhausted);
        assert_eq!((read.videos(), read.batch.next_offset), (rest, 50));
    }
}

#[test]
fn positions_are_committed_to_the_group() {
    let cluster = Cluster::any().with("group.id", "dashboards");
    let topic = cluster.create_topic("group", 1);
    cluster.writer().write_events(&topic, 0, 0..10);
    let mut source = source(&cluster, &[&topic], false);
    let found = source.discover().unwrap();
    let mut read = Read::new(&source, &found[0], None);
    read.until(Polled::AtEnd);
    let at = PartitionProgress {
        partition: found[0].name.clone(),
        ..common::store_topics::partition("", 7, 0)
    };
    source.committed(&[at]);
    let started = Instant::now();
    while cluster.committed("dashboards", &topic) != Some(7) {
        assert!(started.elapsed() < TIMEOUT);
        read.poll(1).unwrap();
    }
}

#[test]
fn no_end_is_reported_while_the_connection_is_lost() {
    let cluster = Cluster::mock();
    let topic = cluster.create_topic("doubt", 1);
    let writer = cluster.writer();
    writer.write_events(&topic, 0, 0..10);
    let mut source = source(&cluster, &[&topic], false);
    let found = source.discover().unwrap();
    let mut read = Read::new(&source, &found[0], None);
    read.until(Polled::AtEnd);
    let mock = cluster.mock.as_ref().unwrap();
    mock.broker_down(-1).unwrap();
    read.until(Polled::More);
    for _ in 0..2_000 {
        assert_eq!(read.poll(1).unwrap(), Polled::More);
    }
    mock.broker_up(-1).unwrap();
    read.until(Polled::AtEnd);
    writer.write_events(&topic, 0, 10..20);
    read.until_events(20).unwrap();
    read.until(Polled::AtEnd);
    assert_eq!(read.videos(), numbers(0..20));
}

#[test]
fn only_committed_messages_are_read() {
    let Some(servers) = real_broker("only_committed_messages_are_read") else { return };
    let cluster = Cluster::at(&servers);
    let topic = cluster.create_topic("transactions", 1);
    let writer = cluster.transactional_writer();
    for (videos, commit) in [(0..5, true), (100..105, false), (5..8, true)] {
        writer.write_transaction(&topic, videos, commit);
    }
    // 13 messages and 3 markers, then an open transaction.
    writer.producer.begin_transaction().unwrap();
    writer.write_events(&topic, 0, 200..203);
    let mut following = source(&cluster, &[&topic], false);
    let mut ending = source(&cluster, &[&topic], true);
    let found = ending.discover().unwrap();
    assert_eq!(found[0].end_offset, Some(16));
    let mut to_end = Read::new(&ending, &found[0], None);
    to_end.until(Polled::Exhausted);
    assert_eq!(to_end.videos(), numbers(0..8));
    let found = following.discover().unwrap();
    let mut read = Read::new(&following, &found[0], None);
    read.until(Polled::AtEnd);
    assert_eq!(read.videos(), numbers(0..8));
    writer.producer.commit_transaction(TIMEOUT).unwrap();
    read.until_events(11).unwrap();
    read.until(Polled::AtEnd);
    assert_eq!(read.videos(), [numbers(0..8), numbers(200..203)].concat());
}

#[test]
fn added_partitions_are_found_and_read_from_their_start() {
    let Some(servers) = real_broker("added_partitions_are_found") else { return };
    let cluster = Cluster::at(&servers);
    let topic = cluster.create_topic("added", 1);
    let writer = cluster.writer();
    writer.write_events(&topic, 0, 0..100);
    let mut source = source(&cluster, &[&topic], false);
    let found = source.discover().unwrap();
    let mut first = Read::new(&source, &found[0], None);
    first.until_events(50).unwrap();
    cluster.add_partitions(&topic, 3);
    let writer = cluster.writer();
    writer.write_events(&topic, 2, 1_000..1_100);
    writer.write_events(&topic, 0, 100..200);
    let started = Instant::now();
    let mut longest = Duration::ZERO;
    let found = loop {
        let asked = Instant::now();
        let found = source.discover().unwrap();
        longest = longest.max(asked.elapsed());
        if found.len() == 3 {
            break found;
        }
        assert!(started.elapsed() < TIMEOUT);
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(longest < Duration::from_millis(100), "the worker was blocked for {longest:?}");
    let added = found.iter().find(|found| found.name.name.ends_with("/2")).unwrap();
    let mut second = Read::new(&source, added, None);
    second.until(Polled::AtEnd);
    first.until_events(200).unwrap();
    first.until(Polled::AtEnd);
    assert_eq!((first.videos(), first.offsets()), (numbers(0..200), numbers(0..200)));
    assert_eq!(second.videos(), numbers(1_000..1_100));
}

#[test]
fn an_offset_before_the_retained_log_is_an_error() {
    let Some(servers) = real_broker("an_offset_before_the_retained_log_is_an_error") else {
        return;
    };
    let cluster = Cluster::at(&servers).with("queued.min.messages", "10");
    let topic = cluster.create_topic("retention", 1);
    cluster.writer().write_events(&topic, 0, 0..500);
    let mut source = source(&cluster, &[&topic], false);
    let found = source.discover().unwrap();
    cluster.delete_records(&topic, 300);
    let error = source.open(&found[0], Some(299)).err().unwrap();
    assert!(matches!(error, SourceError::Retention { first: 300, offset: 299, .. }), "{error}");
    let mut read = Read::new(&source, &found[0], None);
    read.poll(0).unwrap();
    assert!(read.batch.next_offset >= 300, "the position before the first poll is not in the log");
    read.until(Polled::AtEnd);
    assert_eq!(read.videos(), numbers(300..500));
}

#[test]
fn records_deleted_before_they_are_read_are_an_error() {
    let Some(servers) = real_broker("records_deleted_before_they_are_read_are_an_error") else {
        return;
    };
    let cluster = Cluster::at(&servers);
    let topic = cluster.create_topic("passing", 1);
    let writer = cluster.writer();
    writer.write_events(&topic, 0, 0..500);
    let mut source = source(&cluster, &[&topic], false);
    let found = source.discover().unwrap();
    // The reader is open, but the partition is assigned only by the first poll.
    let mut read = Read::new(&source, &found[0], Some(100));
    cluster.delete_records(&topic, 300);
    let error = read.failure();
    assert!(matches!(error, SourceError::Retention { first: 300, offset: 100, .. }), "{error}");
}

#[test]
fn a_message_of_10_mb_is_read_between_others() {
    let Some(servers) = real_broker("a_message_of_10_mb_is_read") else { return };
    let cluster = Cluster::at(&servers);
    let topic = cluster.create_topic("large", 1);
    let writer = cluster.writer();
    let large = event(1).replace('}', &format!(r#","note":"{}"}}"#, "x".repeat(10 << 20)));
    let poison = vec![b'x'; 10 << 20];
    for value in [event(0).as_bytes(), large.as_bytes(), &poison, event(3).as_bytes()] {
        writer.write(&topic, 0, Some(value), EVENT_TIME_MS);
    }
    writer.flush();
    let mut source = source(&cluster, &[&topic], false);
    let found = source.discover().unwrap();
    let mut read = Read::new(&source, &found[0], None);
    read.until(Polled::AtEnd);
    assert_eq!(read.videos(), [0, 1, 3]);
    assert_eq!(read.batch.malformed[0].sample.len(), 256);
}

#[test]
fn a_missing_topic_is_named_in_the_error() {
    let Some(servers) = real_broker("a_missing_topic_is_named_in_the_error") else { return };
    let cluster = Cluster::at(&servers);
    let error = source(&cluster, &["no-such-topic"], false).discover().unwrap_err();
    let SourceError::Kafka(KafkaSourceError::UnknownTopic { topic, .. }) = &error else {
        panic!("{error}")
    };
    assert_eq!(topic, "no-such-topic");
}

#[test]
fn a_topic_that_is_deleted_while_it_is_read_is_an_error() {
    let Some(servers) = real_broker("a_topic_that_is_deleted_is_an_error") else { return };
    let cluster = Cluster::at(&servers).with("topic.metadata.propagation.max.ms", "1000");
    let topic = cluster.create_topic("deleted", 1);
    cluster.writer().write_events(&topic, 0, 0..10);
    let mut source = source(&cluster, &[&topic], false);
    let found = source.discover().unwrap();
    let mut read = Read::new(&source, &found[0], None);
    read.until(Polled::AtEnd);
    cluster.delete_topic(&topic);
    let error = read.failure();
    let SourceError::Kafka(KafkaSourceError::NotFound { offset: 10, .. }) = &error else {
        panic!("{error}")
    };
}
