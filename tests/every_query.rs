//! Every query equals its oracle, for random logs with every disorder, for any number of workers,
//! any division into partitions and any size of batches and rounds.

mod common;

use common::random::{definitions, logs};
use common::{Expected, Fates, Log, expect, queries};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use trendmark::engine::{self, Cluster, Counters, DeadLetters, Job, Settings, Summary};
use trendmark::query::Row;
use trendmark::sources::memory::MemorySource;
use trendmark::stores::memory::{MemoryStore, Tables};
use trendmark::time::{Definition, Epoch};

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
