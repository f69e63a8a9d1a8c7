//! Every query equals its oracle, for random logs with every disorder, for any number of workers,
//! any division into partitions and any size of batches and rounds.

mod common;

use common::{Expected, Fates, Log, event, expect};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use trendmark::dataflows;
use trendmark::engine::{self, Cluster, Counters, DeadLetters, Job, Settings, Summary};
use trendmark::event::{Event, Kind};
use trendmark::query::{Query, Row};
use trendmark::sources::PartitionName;
use trendmark::sources::memory::MemorySource;
use trendmark::stores::memory::{MemoryStore, Tables};
use trendmark::time::{Definition, Epoch};

const MINUTE_MS: i64 = 60_000;

/// How a log is run; none of it may change what comes out.
#[derive(Clone, Debug)]
struct Way {
    workers: usize,
    batch_events: usize,
    round_events: usize,
    rounds_in_flight: usize,
    rows_waiting_max: usize,
    publish_interval_ms: u64,
}

fn ways() -> impl Strategy<Value = Way> {
    (1..=4usize, 1..50usize, 1..80usize, 1..5usize, 1..100usize, 0..20u64).prop_map(
        |(workers, batch_events, round_events, rounds_in_flight, rows_waiting_max, interval)| Way {
            workers,
            batch_events,
            round_events,
            rounds_in_flight,
            rows_waiting_max,
            publish_interval_ms: interval,
        },
    )
}

/// Small numbers, so that everything meets the edges of everything.
fn definitions() -> impl Strategy<Value = Definition> {
    (1..40i64, 0..5i64, 0..30i64, 0..30i64).prop_map(|(length, window, delay, future)| Definition {
        epoch_length_ms: length * MINUTE_MS,
        join_window_epochs: window,
        max_delay_ms: delay * MINUTE_MS,
        max_future_ms: future * MINUTE_MS,
    })
}

/// Times that mostly rise, on and beside full minutes, with leaps back and days ahead.
fn events() -> impl Strategy<Value = Vec<Event>> {
    let step = prop_oneof![
        20 => 0..3i64,
        4 => -20..20i64,
        1 => -300..300i64,
        1 => 0..4000i64,
    ];
    let edge_ms = prop_oneof![3 => Just(0), 1 => -1..=1i64, 1 => -MINUTE_MS..MINUTE_MS];
    let record = prop_oneof![2 => Just(None), 1 => (-40..40i64).prop_map(Some)];
    let one = (step, edge_ms, record, 0..12u64, 0..5u64, any::<bool>());
    vec(one, 0..120).prop_map(|steps| {
        let mut minute = 0;
        let mut events = Vec::new();
        for (step, edge_ms, record, request, video, again) in steps {
            let at_ms = (minute + step) * MINUTE_MS + edge_ms;
            minute = minute.max(minute + step.min(600));
            for _ in 0..if again { 2 } else { 1 } {
                let offset = events.len() as u64;
                let mut event = event(offset, request, video, at_ms);
                event.record_time_ms = record.map(|minutes| at_ms - minutes * MINUTE_MS);
                events.push(event);
            }
        }
        events
    })
}

fn logs() -> impl Strategy<Value = Log> {
    let partition = (any::<bool>(), events());
    vec(partition, 0..5).prop_map(|partitions| {
        let named = partitions.into_iter().enumerate().map(|(number, (is_play, events))| {
            let kind = if is_play { Kind::Play } else { Kind::Impression };
            (PartitionName { kind, name: format!("partition {number}") }, events)
        });
        named.collect()
    })
}

fn queries() -> Vec<&'static Query> {
    std::iter::once(&dataflows::distinct::QUERY).chain(dataflows::ALL).collect()
}

fn run(definition: Definition, log: &Log, way: &Way) -> (Tables, Summary) {
    let mut settings = Settings::new(definition, queries());
    settings.round_events = way.round_events;
    settings.rounds_in_flight = way.rounds_in_flight;
    settings.rows_waiting_max = way.rows_waiting_max;
    settings.publish_interval = Duration::from_millis(way.publish_interval_ms);
    settings.tick = Duration::from_millis(5);
    let source = MemorySource::new(log.clone()).with_batches_of(way.batch_events);
    let store = MemoryStore::default();
    let job = Job {
        settings,
        source: Box::new(move || Box::new(source.clone())),
        store: Mutex::new(Some(Box::new(store.clone()))),
        dead_letters: Arc::new(DeadLetters::default()),
        counters: Arc::new(Counters::default()),
        stop: Arc::new(AtomicBool::new(false)),
    };
    let summary = engine::run(&Cluster::threads(way.workers), job).unwrap();
    (store.tables(), summary)
}

fn rows(tables: &Tables, query: usize) -> BTreeSet<Row> {
    tables.rows.get(&query).into_iter().flat_map(|rows| rows.values().copied()).collect()
}

fn fates(tables: &Tables) -> Fates {
    let counts = tables.ledger.iter();
    counts.map(|(epoch, kind, c)| ((epoch, kind), (c.accepted, c.late, c.future))).collect()
}

fn check(definition: Definition, log: &Log, way: &Way) -> Result<(), TestCaseError> {
    let expected: Expected = expect(definition, log);
    let (tables, summary) = run(definition, log, way);
    for (query, contract) in queries().into_iter().enumerate() {
        prop_assert_eq!(rows(&tables, query), expected.rows(contract), "query {}", contract.name);
    }
    prop_assert_eq!(fates(&tables), expected.fates);
    prop_assert_eq!(tables.final_through, Some(Epoch(i64::MAX)));
    for (partition, events) in log {
        let progress = &tables.partitions[partition];
        prop_assert_eq!(progress.next_offset, events.last().map_or(0, |event| event.offset + 1));
        prop_assert_eq!(progress.replay_offset, progress.next_offset);
        prop_assert!(progress.idle);
    }
    let bound = definition.open_epochs_max(definition.epoch_length_ms);
    prop_assert!(summary.live_epochs_max <= bound, "{} > {bound}", summary.live_epochs_max);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 2000, ..Default::default() })]

    #[test]
    fn every_query_equals_its_oracle_however_it_is_run(
        definition in definitions(),
        log in logs(),
        way in ways(),
    ) {
        check(definition, &log, &way)?;
    }
}
