//! Every query equals its oracle, for random logs with every disorder, for any number of workers,
//! any division into partitions, any size of batches and rounds, and any number of jobs that end in
//! the middle.

mod common;

use common::random::{definitions, logs};
use common::{Expected, Fates, Log, expect, queries};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use trendmark::digest::{self, Digest, Digests};
use trendmark::engine::{
    self, Cluster, Counters, DeadLetters, EngineError, Job, Settings, Summary,
};
use trendmark::query::Row;
use trendmark::sources::memory::MemorySource;
use trendmark::stores::memory::{MemoryStore, Tables};
use trendmark::stores::{Progress, Publication, Store, StoreError};
use trendmark::time::{Definition, Epoch};

/// How a log is run; none of it may change what comes out.
#[derive(Clone, Debug)]
struct Way {
    workers: usize,
    batch_events: usize,
    round_events: usize,
    rounds_in_flight: usize,
    gather_bytes: usize,
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
            gather_bytes: 0,
            rows_waiting_max,
            publish_interval_ms: interval,
        },
    )
}

/// Drawn after all else, so that the seeds of failures before it was there still give their cases.
fn gather_bytes() -> impl Strategy<Value = usize> {
    0..2_000usize
}

/// A job that ends in the middle.
#[derive(Clone, Copy, Debug)]
struct Crash {
    /// How many publications it commits before.
    commits: u64,
    /// Whether its last publication is committed although it does not learn of it.
    is_committed: bool,
}

fn crashes() -> impl Strategy<Value = Vec<(Crash, Way)>> {
    let crash = (0..8u64, any::<bool>())
        .prop_map(|(commits, is_committed)| Crash { commits, is_committed });
    proptest::collection::vec((crash, ways()), 0..5)
}

/// A store that fails in the middle, which ends the job and all that it has in memory.
struct CrashingStore {
    store: MemoryStore,
    crash: Crash,
}

impl Store for CrashingStore {
    fn progress(&mut self) -> Result<Progress, StoreError> {
        self.store.progress()
    }

    fn commit(&mut self, publication: &Publication) -> Result<(), StoreError> {
        if self.crash.commits == 0 {
            if self.crash.is_committed {
                self.store.commit(publication)?;
            }
            return Err(StoreError::NotFound("the end of a crashing store".into()));
        }
        self.crash.commits -= 1;
        self.store.commit(publication)
    }
}

/// Runs a job to its end.
fn run(definition: Definition, log: &Log, way: &Way) -> (Tables, Summary) {
    let store = MemoryStore::default();
    let summary = attempt(definition, log, way, Box::new(store.clone())).unwrap();
    (store.tables(), summary)
}

fn attempt(
    definition: Definition,
    log: &Log,
    way: &Way,
    store: Box<dyn Store>,
) -> Result<Summary, EngineError> {
    let mut settings = Settings::new(definition, queries());
    settings.round_events = way.round_events;
    settings.rounds_in_flight = way.rounds_in_flight;
    settings.gather_bytes = way.gather_bytes;
    settings.rows_waiting_max = way.rows_waiting_max;
    settings.publish_interval = Duration::from_millis(way.publish_interval_ms);
    settings.tick = Duration::from_millis(5);
    let source = MemorySource::new(log.clone()).with_batches_of(way.batch_events);
    let job = Job {
        settings,
        source: Box::new(move || Box::new(source.clone())),
        store: Mutex::new(Some(store)),
        dead_letters: Arc::new(DeadLetters::default()),
        counters: Arc::new(Counters::default()),
        stop: Arc::new(AtomicBool::new(false)),
    };
    engine::run(&Cluster::threads(way.workers), job)
}

fn rows(tables: &Tables, query: usize) -> BTreeSet<Row> {
    tables.rows.get(&query).into_iter().flat_map(|rows| rows.values().copied()).collect()
}

fn fates(tables: &Tables) -> Fates {
    let counts = tables.ledger.iter();
    counts.map(|(epoch, kind, c)| ((epoch, kind), (c.accepted, c.late, c.future))).collect()
}

fn check(definition: Definition, log: &Log, way: &Way) -> Result<(), TestCaseError> {
    let (tables, summary) = run(definition, log, way);
    compare(definition, log, &tables)?;
    let bound = definition.open_epochs_max(definition.epoch_length_ms);
    prop_assert!(summary.live_epochs_max <= bound, "{} > {bound}", summary.live_epochs_max);
    Ok(())
}

fn compare(definition: Definition, log: &Log, tables: &Tables) -> Result<(), TestCaseError> {
    let expected: Expected = expect(definition, log);
    for (query, contract) in queries().into_iter().enumerate() {
        prop_assert_eq!(rows(tables, query), expected.rows(contract), "query {}", contract.name);
    }
    prop_assert_eq!(fates(tables), expected.fates);
    prop_assert_eq!(tables.final_through, Some(Epoch(i64::MAX)));
    for (partition, events) in log {
        let progress = &tables.partitions[partition];
        prop_assert_eq!(progress.next_offset, events.last().map_or(0, |event| event.offset + 1));
        prop_assert_eq!(progress.replay_offset, progress.next_offset);
        prop_assert!(progress.idle);
    }
    prop_assert_eq!(&digests(tables), &tables.digests);
    Ok(())
}

/// The digests of all rows, from scratch.
fn digests(tables: &Tables) -> Digests {
    let mut digests = Digests::new();
    for (query, contract) in queries().into_iter().enumerate() {
        for row in rows(tables, query) {
            let digest = Digest::of(digest::seed(contract.name), &row);
            digest::add(&mut digests, &Digests::from([(Epoch(row.epoch), digest)]));
        }
    }
    digests
}

/// Jobs that crash, one after another on the same store, and one that does not. The logs in memory
/// are the same for all; nothing else outlives a job.
fn check_restarts(
    definition: Definition,
    log: &Log,
    crashes: &[(Crash, Way)],
    last: &Way,
) -> Result<(), TestCaseError> {
    let store = MemoryStore::default();
    for (crash, way) in crashes {
        let crashing = CrashingStore { store: store.clone(), crash: *crash };
        match attempt(definition, log, way, Box::new(crashing)) {
            Ok(_) | Err(EngineError::Store(_)) => {}
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        }
    }
    let summary = attempt(definition, log, last, Box::new(store.clone()));
    prop_assert!(summary.is_ok(), "{summary:?}");
    compare(definition, log, &store.tables())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 2000, ..Default::default() })]

    #[test]
    fn every_query_equals_its_oracle_however_it_is_run(
        definition in definitions(),
        log in logs(),
        way in ways(),
        gather_bytes in gather_bytes(),
    ) {
        check(definition, &log, &Way { gather_bytes, ..way })?;
    }

    #[test]
    fn every_query_equals_its_oracle_however_often_its_job_is_restarted(
        definition in definitions(),
        log in logs(),
        crashes in crashes(),
        way in ways(),
        gather_bytes in gather_bytes(),
    ) {
        // One job takes in at once what another does in portions.
        let crashes = crashes.into_iter().enumerate().map(|(job, (crash, way))| {
            let gather_bytes = gather_bytes * (job % 3);
            (crash, Way { gather_bytes, ..way })
        });
        let crashes: Vec<_> = crashes.collect();
        check_restarts(definition, &log, &crashes, &Way { gather_bytes, ..way })?;
    }
}
