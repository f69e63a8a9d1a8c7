//! Reads a Kafka store on a real broker: each answer is as of one publication, even while a job
//! writes the store.
//!
//! `TRENDMARK_TEST_KAFKA=$(tests/kafka/broker start) cargo test --test kafka_reader`

#![cfg(feature = "kafka")]

mod common;

use common::store_topics::{StoreTopics, commit, publication, trend};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use trendmark::event::VideoId;
use trendmark::query::Value;
use trendmark::stores::kafka::KafkaReader;
use trendmark::stores::{Changeset, RowChange, RowOrder, Selection, StoreReader, StoredRow};
use trendmark::time::{Epoch, EpochRange, Publication, Through};

/// The rows of a query as a reader sees them: epoch, values, publication, and finality.
fn rows(
    reader: &dyn StoreReader,
    query: &str,
    selection: &Selection,
    order: RowOrder,
) -> Vec<String> {
    let query = reader.description().table(query).unwrap();
    let mut rows = Vec::new();
    let mut visit = |stored: &StoredRow| {
        let values: Vec<_> = query.values_of(&stored.row).map(|value| value.to_string()).collect();
        let (epoch, values) = (stored.row.epoch, values.join(" "));
        rows.push(format!("{epoch}: {values} @{} {}", stored.publication, stored.is_final));
        ControlFlow::Continue(())
    };
    reader.visit(query, selection, order, &mut visit).unwrap();
    assert_eq!(reader.count(query, selection).unwrap(), rows.len() as u64);
    rows
}

#[test]
fn rows_are_read_as_of_the_last_publication() {
    let Some(place) = StoreTopics::new("read") else { return };
    let mut store = place.open().unwrap();
    let first =
        vec![trend(7, 4, 0, 1), trend(u64::MAX, 5, 3, 9), trend(8, 5, 0, 2), trend(9, 5, 3, 9)];
    commit(&mut store, &publication(first)).unwrap();
    let second = vec![trend(8, 5, 1, 3), RowChange { deleted: true, ..trend(9, 5, 0, 0) }];
    let final_through = Through::Epoch(Epoch(4));
    commit(&mut store, &Changeset { final_through, ..publication(second) }).unwrap();
    let reader = place.reader().unwrap();
    let all = Selection::default();
    let max = u64::MAX;
    let expected = [
        // It was written again as final in the second publication.
        "4: 7 0 1 @2 true".to_owned(),
        "5: 8 1 3 @2 false".to_owned(),
        format!("5: {max} 3 9 @1 false"),
    ];
    assert_eq!(rows(&reader, "trends", &all, RowOrder::Key), expected);
    assert_eq!(rows(&store, "trends", &all, RowOrder::Key), expected);
    let [seven, eight, largest] = expected;
    let fifth = Selection { epochs: Some(EpochRange::only(Epoch(5))), ..all.clone() };
    let by_values = [largest.clone(), eight.clone()];
    assert_eq!(rows(&reader, "trends", &fifth, RowOrder::Values), by_values);
    let top = Selection { top: Some(1), ..fifth };
    assert_eq!(rows(&reader, "trends", &top, RowOrder::Key), by_values[..1]);
    let since = Selection { since: Some(Publication(1)), ..all.clone() };
    assert_eq!(rows(&reader, "trends", &since, RowOrder::Key), [seven, eight]);
    let video = Selection { video: Some(VideoId(max)), ..all.clone() };
    assert_eq!(rows(&reader, "trends", &video, RowOrder::Key), [largest]);
    assert_eq!(rows(&reader, "requests", &all, RowOrder::Key), Vec::<String>::new());
    let query = reader.description().table("trends").unwrap();
    assert_eq!(reader.latest_epochs(query, 1).unwrap(), Some(EpochRange::only(Epoch(5))));
    let history = reader.history(&[0], EpochRange::only(Epoch(4))).unwrap();
    assert_eq!(history, [trend(7, 4, 0, 1)]);
}

/// A reader sees only committed publications while a job is writing.
#[test]
fn a_reader_sees_whole_publications_while_a_job_commits() {
    let Some(place) = StoreTopics::new("whole") else { return };
    let mut store = place.open().unwrap();
    let numbered = |number| publication((0..50).map(|video| trend(video, 5, 0, number)).collect());
    commit(&mut store, &numbered(1)).unwrap();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 2..60 {
                commit(&mut store, &numbered(number)).unwrap();
            }
            ended.store(true, Ordering::Relaxed);
        });
        let mut reads = 0;
        while !ended.load(Ordering::Relaxed) || reads < 3 {
            let reader = place.reader().unwrap();
            let rows = rows_once(&reader);
            assert_eq!(rows.len(), 50);
            assert!(rows.iter().all(|row| *row == rows[0]), "mixed publications: {rows:?}");
            reads += 1;
        }
        eprintln!("{reads} reads during 58 commits");
    });
}

/// The impressions of all rows of `trends`, read at once.
fn rows_once(reader: &KafkaReader) -> Vec<Value> {
    let query = reader.description().table("trends").unwrap();
    let mut impressions = Vec::new();
    let mut visit = |stored: &StoredRow| {
        impressions.extend(query.values_of(&stored.row).last());
        ControlFlow::Continue(())
    };
    reader.visit(query, &Selection::default(), RowOrder::Key, &mut visit).unwrap();
    impressions
}
