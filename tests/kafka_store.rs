//! The Kafka store on a real broker: every committed record is there exactly once, and a fenced job
//! leaves none.
//!
//! `TRENDMARK_TEST_KAFKA=$(tests/kafka/broker start) cargo test --test kafka_store`

#![cfg(feature = "kafka")]

mod common;

use common::store_topics::{
    StoreTopics, TIMEOUT, change, commit, partition, publication, queries, request, trend, wait,
};
use rdkafka::admin::{AdminOptions, NewPartitions};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};
use trendmark::acceptance::{Fate, Ledger};
use trendmark::event::Kind;
use trendmark::kafka::KafkaSettings;
use trendmark::log::PartitionProgress;
use trendmark::query::{Digest, Digests, Value as Cell};
use trendmark::stores::kafka::{KafkaReader, KafkaStore};
use trendmark::stores::{
    Changeset, Claim, LeaseState, Progress, RowChange, Store, StoreError, StoreReader,
};
use trendmark::time::{Definition, Epoch, EpochRange, Publication, Through};

#[test]
fn commits_are_visible_to_readers_and_the_next_job() {
    let Some(place) = StoreTopics::new("what_is_committed") else { return };
    assert!(matches!(place.reader(), Err(StoreError::NotFound(_))));
    let mut store = place.open().unwrap();
    let uuid = "0123abcd-4567-89ab-cdef-0123456789ab";
    let mut first = publication(vec![
        trend(u64::MAX, 5, 0, 1),
        trend(2, 5, 0, 1),
        request(uuid, u64::MAX, 5),
        change(2, 5, &[Cell::Kind(Kind::Impression)], &[Cell::Count(2), Cell::Count(0)]),
    ]);
    let accepted = Fate::Accepted(EpochRange::only(Epoch(5)));
    first.ledger.record(Some(Epoch(5)), Kind::Impression, accepted, 3);
    first.partitions = vec![partition("plays 0", 10, 1)];
    first.digests = Digests::from([(Epoch(5), Digest(u64::MAX))]);
    commit(&mut store, &first).unwrap();
    let rows = vec![trend(u64::MAX, 5, 1, 2), RowChange { deleted: true, ..trend(2, 5, 0, 0) }];
    let mut second = publication(rows);
    second.partitions =
        vec![PartitionProgress { watermark_ms: Some(0), ..partition("plays 0", 30, 2) }];
    commit(&mut store, &second).unwrap();
    drop(store);

    let table = place.table("");
    let row = &table[r#"{"video_id":18446744073709551615,"epoch":5}"#];
    let expected = r#"{"video_id":18446744073709551615,"epoch":5,"#.to_owned()
        + r#""epoch_start":"1970-01-01T02:30:00Z","plays":1,"impressions":2,"final":false,"#
        + r#""watermark":"1970-01-01T00:00:00Z","publication":2}"#;
    assert_eq!(row, &serde_json::from_str::<Value>(&expected).unwrap());
    assert_eq!(table.len(), 1);
    let requests = place.records("-requests");
    assert_eq!(requests.len(), 1);
    assert!(requests[0].1.contains(uuid), "{requests:?}");

    let mut later = place.open().unwrap();
    let progress = later.progress().unwrap();
    assert_eq!((progress.generation, progress.publication), (2, Publication(2)));
    let partitions: Vec<_> = progress.partitions.values().cloned().collect();
    let last = PartitionProgress { watermark_ms: Some(0), ..partition("plays 0", 30, 3) };
    assert_eq!(partitions, [last]);
    assert_eq!(progress.digests, first.digests);
    let mut ledger = Ledger::default();
    ledger.record(Some(Epoch(5)), Kind::Impression, Fate::Late, 1);
    commit(&mut later, &Changeset { ledger, ..Changeset::default() }).unwrap();
    let ledger = place.reader().unwrap().ledger().unwrap();
    assert_eq!(ledger.len(), 1);
    let row = ledger[0];
    assert_eq!((row.events, row.distinct_events, row.duplicate_events), (4, 2, 1));
    let stored = place.reader().unwrap().progress().unwrap();
    assert_eq!(stored, Progress { publication: Publication(3), ..progress });
}

#[test]
fn the_previous_job_of_a_store_can_no_longer_commit() {
    let Some(place) = StoreTopics::new("fenced") else { return };
    let mut fenced = place.open().unwrap();
    commit(&mut fenced, &publication(vec![trend(1, 5, 0, 1)])).unwrap();
    let mut owner = place.take_over();
    commit(&mut owner, &publication(vec![trend(2, 5, 0, 1)])).unwrap();
    let error = commit(&mut fenced, &publication(vec![trend(1, 5, 9, 9)])).unwrap_err();
    assert!(matches!(error, StoreError::Fenced { generation: 1, .. }), "{error}");
    commit(&mut fenced, &publication(vec![trend(1, 5, 9, 9)])).unwrap_err();
    commit(&mut owner, &publication(vec![trend(3, 5, 0, 1)])).unwrap();
    let plays: Vec<Value> =
        place.records("").into_iter().map(|record| record.2.unwrap()["plays"].clone()).collect();
    assert_eq!(plays, [0, 0, 0], "three rows of the owners, none of the fenced job");
    assert_eq!(owner.progress().unwrap().publication, Publication(3));
}

/// Fences the job that has a store, as an earlier job does that replaces a broken producer and does
/// not know of the job that has it now.
fn fence_without_a_claim(place: &StoreTopics) {
    let mut config = place.config();
    config.set("transactional.id", format!("trendmark-{}", place.topic));
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(TIMEOUT).unwrap();
}

#[test]
fn the_rightful_successor_keeps_the_store_whoever_fences_it() {
    let Some(place) = StoreTopics::new("rightful") else { return };
    let mut before = place.open().unwrap();
    commit(&mut before, &publication(vec![trend(1, 5, 0, 1)])).unwrap();
    fence_without_a_claim(&place);
    commit(&mut before, &publication(vec![trend(2, 5, 0, 1)])).unwrap();
    let mut successor = place.take_over();
    fence_without_a_claim(&place);
    successor.renew(None).unwrap();
    commit(&mut successor, &publication(vec![trend(3, 5, 0, 1)])).unwrap();
    // The job before cannot get it back: neither by a commit nor by a renewal of its lease.
    fence_without_a_claim(&place);
    thread::sleep(Duration::from_secs(2));
    for _ in 0..2 {
        let error = before.renew(None).unwrap_err();
        assert!(matches!(error, StoreError::Fenced { generation: 1, .. }), "{error}");
        let error = commit(&mut before, &publication(vec![trend(1, 5, 9, 9)])).unwrap_err();
        assert!(matches!(error, StoreError::Fenced { generation: 1, .. }), "{error}");
    }
    commit(&mut successor, &publication(vec![trend(4, 5, 0, 1)])).unwrap();
    let lease = place.reader().unwrap().lease().unwrap().unwrap();
    assert_eq!((lease.generation, lease.state), (2, LeaseState::Running));
    drop(before);
    drop(successor);
    let lease = place.reader().unwrap().lease().unwrap().unwrap();
    assert_eq!((lease.generation, lease.state), (2, LeaseState::Failed));
    assert_eq!(place.table("").len(), 4);
    assert_eq!(place.open().unwrap().progress().unwrap().generation, 3);
}

#[test]
fn an_open_transaction_of_the_previous_job_is_never_seen() {
    let Some(place) = StoreTopics::new("left-open") else { return };
    commit(&mut place.open().unwrap(), &publication(vec![trend(1, 5, 0, 1)])).unwrap();
    let mut config = place.config();
    config.set("transactional.id", format!("trendmark-{}", place.topic));
    let zombie: BaseProducer = config.create().unwrap();
    zombie.init_transactions(TIMEOUT).unwrap();
    zombie.begin_transaction().unwrap();
    for suffix in ["", "-progress"] {
        let topic = format!("{}{suffix}", place.topic);
        zombie.send(BaseRecord::to(&topic).key("{}").payload("{}")).map_err(|(e, _)| e).unwrap();
    }
    zombie.flush(TIMEOUT).unwrap();
    let started = Instant::now();
    let mut owner = place.open().unwrap();
    eprintln!("taken over from an open transaction in {:?}", started.elapsed());
    commit(&mut owner, &publication(vec![trend(2, 5, 0, 1)])).unwrap();
    zombie.commit_transaction(TIMEOUT).unwrap_err();
    assert_eq!(place.records("").len(), 2);
    assert_eq!(owner.progress().unwrap().generation, 2);
    assert_eq!(place.take_over().progress().unwrap().publication, Publication(2));
}

#[test]
fn a_job_with_another_definition_is_refused_and_fences_no_job() {
    let Some(place) = StoreTopics::new("definition") else { return };
    let mut owner = place.open().unwrap();
    let other = Definition { epoch_length_ms: 3_600_000, ..Definition::default() };
    let claim = Claim { take_over: true, ..Claim::default() };
    let error = KafkaStore::open(&place.settings, &place.topic, &other, &queries(), &claim);
    let error = error.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("epoch-length = 30m, but this job has epoch-length = 1h"), "{error}");
    let [trends, requests, ledger] = queries();
    let fewer = [trends.clone(), ledger.clone()];
    let error =
        KafkaStore::open(&place.settings, &place.topic, &Definition::default(), &fewer, &claim);
    let error = error.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("query = requests,trends,"), "{error}");
    commit(&mut owner, &publication(vec![trend(1, 5, 0, 1)])).unwrap();
    let turned = [ledger, requests, trends];
    KafkaStore::open(&place.settings, &place.topic, &Definition::default(), &turned, &claim)
        .unwrap();
}

#[test]
fn topics_that_would_lose_rows_are_refused() {
    let Some(place) = StoreTopics::new("deleting") else { return };
    place.create("", 4, &[("cleanup.policy", "delete")]);
    let error = place.refusal();
    assert!(error.contains("it has cleanup.policy=delete"), "{error}");

    let place = StoreTopics::new("two-partitions").unwrap();
    place.create("-progress", 2, &[("cleanup.policy", "compact")]);
    let error = place.refusal();
    assert!(error.contains("it has 2 partitions, and must have 1"), "{error}");

    let place = StoreTopics::new("of-others").unwrap();
    place.create("", 1, &[("cleanup.policy", "compact")]);
    let producer: BaseProducer = place.config().create().unwrap();
    producer.send(BaseRecord::to(&place.topic).key("a").payload("b")).map_err(|(e, _)| e).unwrap();
    producer.flush(TIMEOUT).unwrap();
    let error = place.refusal();
    assert!(error.contains("is not a trendmark store: its topic"), "{error}");

    let place = StoreTopics::new("grown").unwrap();
    drop(place.open().unwrap());
    let grown = NewPartitions::new(&place.topic, 9);
    wait(place.admin().create_partitions([&grown], &AdminOptions::new())).unwrap();
    thread::sleep(Duration::from_millis(500));
    let error = place.refusal();
    assert!(error.contains("it has 9 partitions, and must have 8"), "{error}");

    let place = StoreTopics::new("deleted").unwrap();
    drop(place.open().unwrap());
    place.delete("");
    let error = place.refusal();
    assert!(error.contains("it is gone, but the progress"), "{error}");
}

#[test]
fn unreachable_brokers_are_reported_with_a_remedy() {
    let nowhere =
        KafkaSettings { bootstrap_servers: "127.0.0.1:1".to_owned(), settings: BTreeMap::new() };
    let error = KafkaReader::open(&nowhere, "trends").map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("cannot reach `kafka:trends`"), "{error}");
    assert!(error.contains("check --bootstrap-servers"), "{error}");
}

#[test]
fn each_row_is_written_once_more_when_its_epoch_becomes_final() {
    let Some(place) = StoreTopics::new("final") else { return };
    let mut store = place.open().unwrap();
    commit(&mut store, &publication(vec![trend(1, 4, 0, 1), trend(2, 4, 0, 1), trend(1, 5, 0, 7)]))
        .unwrap();
    drop(store);
    let mut store = place.open().unwrap();
    store.restore(vec![trend(1, 4, 0, 1), trend(2, 4, 0, 1), trend(1, 5, 0, 7)]);
    let rows = vec![trend(2, 4, 1, 1)];
    commit(&mut store, &Changeset { final_through: Through::Epoch(Epoch(4)), ..publication(rows) })
        .unwrap();
    let records = place.records("");
    let finals = |records: &[common::store_topics::Record]| {
        let of =
            |record: &common::store_topics::Record| record.2.as_ref().unwrap()["final"] == true;
        records.iter().filter(|record| of(record)).count()
    };
    assert_eq!((records.len(), finals(&records)), (5, 2), "{records:?}");
    let table = place.table("");
    assert_eq!(table.len(), 3);
    for row in table.values() {
        assert_eq!(row["final"], row["epoch"] == 4, "{row}");
    }
    let end = Changeset { final_through: Through::Everything, ..Changeset::default() };
    commit(&mut store, &end).unwrap();
    assert!(place.table("").values().all(|row| row["final"] == true));
    assert_eq!(place.records("").len(), 6);
}

#[test]
fn compaction_by_the_broker_loses_no_row() {
    let Some(place) = StoreTopics::new("compacted") else { return };
    let quick = [("cleanup.policy", "compact"), ("segment.ms", "1000")];
    place.create("", 2, &quick);
    let mut store = place.open().unwrap();
    for round in 0..10 {
        commit(&mut store, &publication((0..50).map(|id| trend(id, 5, round, 10)).collect()))
            .unwrap();
    }
    let deleted = |id| RowChange { deleted: true, ..trend(id, 5, 0, 0) };
    commit(&mut store, &publication((0..10).map(deleted).collect())).unwrap();
    let started = Instant::now();
    let mut others = 50;
    loop {
        // The next record in a partition closes its segment.
        thread::sleep(Duration::from_millis(1_200));
        commit(
            &mut store,
            &publication((others..others + 20).map(|id| trend(id, 5, 0, 1)).collect()),
        )
        .unwrap();
        others += 20;
        let table = place.table("");
        assert_eq!(table.len(), usize::try_from(others).unwrap() - 10);
        for id in 10..50 {
            let row = &table[&format!("{{\"video_id\":{id},\"epoch\":5}}")];
            assert_eq!(row["plays"], 9, "{row}");
        }
        if place.records("").len() < 400 {
            break;
        }
        assert!(started.elapsed() < TIMEOUT, "the broker has compacted nothing");
    }
}

#[test]
fn a_store_whose_creation_was_aborted_is_created() {
    let Some(place) = StoreTopics::new("aborted_creation") else { return };
    place.create("-progress", 1, &[("cleanup.policy", "compact")]);
    let mut config = place.config();
    config.set("transactional.id", format!("{}.killed", place.topic));
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(TIMEOUT).unwrap();
    producer.begin_transaction().unwrap();
    let name = format!("{}-progress", place.topic);
    let record = BaseRecord::to(&name).key("progress").payload("{\"format\":4}").partition(0);
    producer.send(record).unwrap();
    producer.flush(TIMEOUT).unwrap();
    producer.abort_transaction(TIMEOUT).unwrap();
    let mut store = place.open().unwrap();
    assert_eq!(store.progress().unwrap().generation, 1);
    commit(&mut store, &publication(vec![trend(1, 5, 0, 1)])).unwrap();
    assert_eq!(place.take_over().progress().unwrap().publication, Publication(1));
}

#[test]
fn many_rows_are_committed_in_one_publication() {
    let Some(place) = StoreTopics::new("many") else { return };
    let mut store = place.open().unwrap();
    for round in 0..6 {
        let rows = (0..30_000).map(|video| trend(video, 983_568, round, round + 1)).collect();
        let started = Instant::now();
        commit(&mut store, &publication(rows)).unwrap();
        eprintln!("30,000 rows committed in {:?}", started.elapsed());
    }
    let table = place.table("");
    assert_eq!(table.len(), 30_000);
    assert!(table.values().all(|row| row["impressions"] == 6));
    // More than fits into the producer's queue.
    let rows = (0..250_000).map(|video| trend(video, 983_569, 0, 1)).collect();
    commit(&mut store, &publication(rows)).unwrap();
    assert_eq!(place.table("").len(), 280_000);
}

/// A broker that belongs to one test, which breaks it.
struct Broker {
    folder: tempfile::TempDir,
}

impl Broker {
    fn run(&self, command: &str) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/broker");
        let folder = self.folder.path().join("broker");
        Command::new(script).arg(command).arg("--folder").arg(folder).output().unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.run("stop");
    }
}

/// Commits `commits` publications of one row each, and checks that each row is there exactly once.
fn commit_through_an_outage(place: &StoreTopics, commits: u64) {
    let mut store = place.open().unwrap();
    for number in 0..commits {
        let started = Instant::now();
        commit(&mut store, &publication(vec![trend(number, 5, 0, number)])).unwrap();
        if started.elapsed() > Duration::from_secs(1) {
            eprintln!("{}: commit {number} took {:?}", place.topic, started.elapsed());
        }
    }
    assert_eq!(place.take_over().progress().unwrap().publication, Publication(commits));
    let records = place.records("");
    assert_eq!(records.len(), usize::try_from(commits).unwrap(), "every row exactly once");
    assert_eq!(place.table("").len(), records.len());
}

#[test]
fn commits_survive_an_outage_of_the_broker() {
    if StoreTopics::new("commits_survive_an_outage_of_the_broker").is_none() {
        return;
    }
    let broker = Broker { folder: tempfile::tempdir().unwrap() };
    let started = broker.run("start");
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    let address = String::from_utf8(started.stdout).unwrap().trim().to_owned();
    let waiting = StoreTopics::at(address.clone(), "outage.waiting");
    let mut impatient = StoreTopics::at(address, "outage.impatient");
    // Shorter than the outage, so publications are aborted and written again.
    impatient.settings.settings.insert("message.timeout.ms".into(), "1500".into());
    thread::scope(|scope| {
        scope.spawn(|| commit_through_an_outage(&waiting, 400));
        scope.spawn(|| commit_through_an_outage(&impatient, 400));
        for _ in 0..2 {
            thread::sleep(Duration::from_secs(4));
            assert!(broker.run("kill").status.success());
            assert!(broker.run("restart").status.success());
        }
    });
}
