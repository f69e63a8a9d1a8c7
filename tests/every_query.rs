//! Every query equals its oracle after *every* publication, on the part of the logs that the
//! committed positions cover: for random logs with every kind of disorder, any number of workers
//! and partitions, any size of batches and rounds, and any number of jobs that crash.

mod common;

use common::adversary::campaigns;
use common::random::{definitions, logs};
use common::{Expected, Fates, Log, expect, expect_prefix};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use trendmark::acceptance::{Ahead, Fate, Judge, LedgerRow, admit};
use trendmark::engine::{
    self, Cluster, Counters, DeadLetters, EngineError, Job, Settings, Summary,
};
use trendmark::event::{Event, RequestId, Touch, VideoId};
use trendmark::log::BlockStart;
use trendmark::query::{Digest, Digests, EpochLog, Parameters, QueryInstance, Row, digest};
use trendmark::showings::Layout;
use trendmark::sources::memory::MemorySource;
use trendmark::stores::memory::{Committed, MemoryStore};
use trendmark::stores::{
    Changeset, Description, Progress, RowOrder, RowVisitor, Selection, Store, StoreError,
    StoreReader, StoredQuery,
};
use trendmark::time::{Definition, Epoch, EpochRange, Through};

/// The settings of a run. None of them may change the results.
#[derive(Clone, Debug)]
struct RunSettings {
    workers: usize,
    batch_events: usize,
    round_events: usize,
    rounds_in_flight: usize,
    layout: Layout,
    rows_waiting_max: usize,
    publish_interval_ms: u64,
}

fn run_settings() -> impl Strategy<Value = RunSettings> {
    (1..=4usize, 1..50usize, 1..80usize, 1..5usize, 1..100usize, 0..20u64).prop_map(
        |(workers, batch_events, round_events, rounds_in_flight, rows_waiting_max, interval)| {
            RunSettings {
                workers,
                batch_events,
                round_events,
                rounds_in_flight,
                layout: Layout::Table,
                rows_waiting_max,
                publish_interval_ms: interval,
            }
        },
    )
}

/// Drawn last, so that the seeds of failures recorded before it existed still give the same cases.
fn layout() -> impl Strategy<Value = Layout> {
    proptest::sample::select(vec![Layout::Table, Layout::Reference])
}

/// The crash of a job.
#[derive(Clone, Copy, Debug)]
struct Crash {
    /// The number of publications that it commits before.
    commits: u64,
    /// Whether the store commits the publication of the crash, although the job sees an error.
    is_committed: bool,
}

fn crashes() -> impl Strategy<Value = Vec<(Crash, RunSettings)>> {
    let crash = (0..8u64, any::<bool>())
        .prop_map(|(commits, is_committed)| Crash { commits, is_committed });
    proptest::collection::vec((crash, run_settings()), 0..5)
}

/// A store that checks every publication when it is committed. It may fail at a given commit, which
/// ends the job and discards its memory.
struct CheckedStore {
    store: MemoryStore,
    definition: Definition,
    log: Arc<Log>,
    /// The expected results of the whole logs.
    whole: Arc<Expected>,
    crash: Option<Crash>,
    /// The first error found in a publication.
    wrong: Arc<Mutex<Option<String>>>,
}

impl CheckedStore {
    /// Commits a publication, and checks the contents of the store afterwards.
    fn commit_and_check(&mut self, changes: &Changeset) -> Result<(), StoreError> {
        self.store.commit(changes)?;
        let committed = self.store.committed();
        let checked = check_publication(self.definition, &self.log, &self.whole, &committed);
        if let Err(error) = checked {
            let publication = changes.publication;
            let wrong = format!("publication {publication}: {error}");
            self.wrong.lock().unwrap().get_or_insert(wrong);
            return Err(StoreError::NotFound("a publication is wrong".into()));
        }
        Ok(())
    }
}

impl StoreReader for CheckedStore {
    fn description(&self) -> &Description {
        self.store.description()
    }

    fn progress(&self) -> Result<Progress, StoreError> {
        self.store.progress()
    }

    fn ledger(&self) -> Result<Vec<LedgerRow>, StoreError> {
        self.store.ledger()
    }

    fn visit(
        &self,
        query: &StoredQuery,
        selection: &Selection,
        order: RowOrder,
        visitor: &mut RowVisitor<'_>,
    ) -> Result<(), StoreError> {
        self.store.visit(query, selection, order, visitor)
    }

    fn count(&self, query: &StoredQuery, selection: &Selection) -> Result<u64, StoreError> {
        self.store.count(query, selection)
    }

    fn latest_epochs(
        &self,
        query: &StoredQuery,
        epochs: usize,
    ) -> Result<Option<EpochRange>, StoreError> {
        self.store.latest_epochs(query, epochs)
    }
}

impl Store for CheckedStore {
    fn reader(&self) -> Result<Box<dyn StoreReader>, StoreError> {
        self.store.reader()
    }

    fn commit(&mut self, changes: &Changeset) -> Result<(), StoreError> {
        match &mut self.crash {
            Some(Crash { commits: 0, is_committed }) => {
                if *is_committed {
                    self.commit_and_check(changes)?;
                }
                return Err(StoreError::NotFound("the store has crashed".into()));
            }
            Some(crash) => crash.commits -= 1,
            None => {}
        }
        self.commit_and_check(changes)
    }
}

/// The expected results of the logs up to the committed positions, and `further` more events of
/// each partition.
fn expect_read(definition: Definition, log: &Log, progress: &Progress, further: usize) -> Expected {
    expect_prefix(definition, log, |partition| {
        let events = log.iter().find(|(name, _)| name == partition).map(|(_, events)| events);
        let next_offset = progress.partitions.get(partition).map_or(0, |at| at.next_offset);
        let read =
            |events: &Vec<_>| events.partition_point(|event: &Event| event.offset < next_offset);
        events.map_or(0, read) + further
    })
}

/// The queries of the runs, with limits so small that random logs exceed them.
fn queries() -> Vec<QueryInstance> {
    let limits = |name: &str| (name == "videos_max").then_some(2);
    let limited = |QueryInstance { query, .. }| QueryInstance {
        query,
        parameters: Parameters::new(query.parameters, limits),
    };
    common::queries().into_iter().map(limited).collect()
}

/// Compares the contents of a store after a publication with the oracles on the part of the logs
/// that its positions cover.
fn check_publication(
    definition: Definition,
    log: &Log,
    whole: &Expected,
    committed: &Committed,
) -> Result<(), TestCaseError> {
    let progress = &committed.progress;
    let expected = expect_read(definition, log, progress, 0);
    for (number, instance) in queries().iter().enumerate() {
        let (rows, name) = (committed.rows(number), instance.query.name);
        same(&rows, &expected.rows(instance), name)?;
        // Final rows must equal the oracle on the whole logs.
        let is_final = |row: &&Row| progress.final_through.contains(row.epoch);
        let finals = |rows: &BTreeSet<Row>| rows.iter().filter(is_final).cloned().collect();
        same(&finals(&rows), &finals(&whole.rows(instance)), &format!("{name}, final rows"))?;
    }
    prop_assert_eq!(&fates(committed), &expected.fates);
    for (partition, progress) in &progress.partitions {
        prop_assert_eq!(progress.watermark_ms, expected.watermarks_ms[partition]);
        prop_assert!(progress.replay_offset <= progress.next_offset);
    }
    check_digests(committed, &expected)?;
    check_finality(definition, log, progress)
}

/// Checks that the rows of a query are as expected, and reports the differences.
fn same(rows: &BTreeSet<Row>, expected: &BTreeSet<Row>, query: &str) -> Result<(), TestCaseError> {
    let missing: Vec<_> = expected.difference(rows).collect();
    let wrong: Vec<_> = rows.difference(expected).collect();
    prop_assert!(rows == expected, "{query}: missing {missing:?}, wrong {wrong:?}");
    Ok(())
}

/// Checks that no epoch is final that a partition could still hold open. The next event of each
/// partition is included: it may be waiting, and has then moved the watermark already.
fn check_finality(
    definition: Definition,
    log: &Log,
    progress: &Progress,
) -> Result<(), TestCaseError> {
    let expected = expect_read(definition, log, progress, 1);
    for (partition, events) in log {
        let next_offset = progress.partitions.get(partition).map_or(0, |at| at.next_offset);
        let is_exhausted = events.iter().all(|event| event.offset < next_offset);
        let closed_through = match expected.watermarks_ms[partition] {
            _ if is_exhausted => Through::Everything,
            Some(watermark_ms) => {
                let epoch = watermark_ms.div_euclid(definition.epoch_length_ms);
                Through::Epoch(Epoch(epoch - definition.join_window_epochs - 1))
            }
            None => Through::Nothing,
        };
        prop_assert!(progress.final_through <= closed_through, "{progress:?} {partition}");
    }
    Ok(())
}

/// Runs a job until it ends or crashes.
fn attempt(
    definition: Definition,
    log: &Arc<Log>,
    whole: &Arc<Expected>,
    run: &RunSettings,
    store: &MemoryStore,
    crash: Option<Crash>,
) -> Result<Result<Summary, EngineError>, TestCaseError> {
    let mut settings = Settings::new(definition, queries());
    settings.round_events = run.round_events;
    settings.rounds_in_flight = run.rounds_in_flight;
    settings.layout = run.layout;
    settings.rows_waiting_max = run.rows_waiting_max;
    settings.publish_interval = Duration::from_millis(run.publish_interval_ms);
    settings.tick = Duration::from_millis(5);
    let wrong: Arc<Mutex<Option<String>>> = Arc::default();
    let store = CheckedStore {
        store: store.take_over(),
        definition,
        log: Arc::clone(log),
        whole: Arc::clone(whole),
        crash,
        wrong: Arc::clone(&wrong),
    };
    let source = MemorySource::new(log.to_vec()).with_batches_of(run.batch_events);
    let job = Job {
        settings,
        source: Box::new(move || Box::new(source.clone())),
        store: Mutex::new(Some(Box::new(|| Ok(Box::new(store) as Box<dyn Store>)))),
        dead_letters: Arc::new(DeadLetters::default()),
        counters: Arc::new(Counters::default()),
        stop: Arc::new(AtomicBool::new(false)),
    };
    let result = engine::run(&Cluster::threads(run.workers), job);
    match wrong.lock().unwrap().take() {
        Some(wrong) => Err(TestCaseError::fail(wrong)),
        None => Ok(result),
    }
}

fn fates(committed: &Committed) -> Fates {
    let counts = committed.ledger.iter();
    counts.map(|(key, c)| ((key.epoch, key.kind), (c.accepted, c.late, c.future))).collect()
}

/// Compares the final contents of a store with the oracles on the whole logs.
fn compare(log: &Log, whole: &Expected, committed: &Committed) -> Result<(), TestCaseError> {
    for (number, instance) in queries().iter().enumerate() {
        same(&committed.rows(number), &whole.rows(instance), instance.query.name)?;
    }
    prop_assert_eq!(&fates(committed), &whole.fates);
    prop_assert_eq!(committed.progress.final_through, Through::Everything);
    for (partition, events) in log {
        let progress = &committed.progress.partitions[partition];
        prop_assert_eq!(progress.next_offset, events.last().map_or(0, |event| event.offset + 1));
        prop_assert_eq!(progress.replay_offset, progress.next_offset);
        prop_assert!(progress.idle);
    }
    check_digests(committed, whole)
}

/// What is known of each showing of an epoch, computed from its accepted events.
fn showings(log: &EpochLog) -> BTreeMap<(RequestId, VideoId), Touch> {
    let mut showings: BTreeMap<(RequestId, VideoId), Touch> = BTreeMap::new();
    let shown = log.impressions.iter().map(|(request, video)| (request, video, Touch::SHOWN));
    let played = log.plays.iter().map(|(request, video, epoch)| match *epoch == log.epoch {
        true => (request, video, Touch::PLAYED_IN_EPOCH),
        false => (request, video, Touch::PLAYED),
    });
    for (request, video, touch) in shown.chain(played) {
        let known = showings.entry((*request, *video)).or_default();
        *known = known.or(touch);
    }
    showings
}

/// Compares the digests of a store with digests computed from its rows and the accepted events.
fn check_digests(committed: &Committed, expected: &Expected) -> Result<(), TestCaseError> {
    let mut digests = Digests::new();
    for (epoch, log) in &expected.accepted.epochs {
        let is_of_epoch = |touch: Touch| touch.is_shown() || touch.is_played_here();
        for ((request, video), touch) in showings(log) {
            if !is_of_epoch(touch) {
                continue;
            }
            let seed = digest::seed_of_request(*epoch, request);
            let digest = Digest::of_showing(seed, video, touch);
            digest::merge(&mut digests, &Digests::from([(*epoch, digest)]));
        }
    }
    for (number, QueryInstance { query, .. }) in queries().iter().enumerate() {
        for row in committed.rows(number) {
            let digest = Digest::of(digest::seed(query.name), &row);
            digest::merge(&mut digests, &Digests::from([(row.epoch, digest)]));
        }
    }
    prop_assert_eq!(&digests, &committed.digests);
    Ok(())
}

/// Runs jobs that crash, one after another on the same store, and then one that does not. They
/// share the store and the logs; nothing else outlives a job.
fn check(
    definition: Definition,
    log: Log,
    crashes: &[(Crash, RunSettings)],
    last: &RunSettings,
) -> Result<(), TestCaseError> {
    let whole = Arc::new(expect(definition, &log));
    let log = Arc::new(log);
    let store = MemoryStore::new(&definition, &queries());
    for (crash, run) in crashes {
        match attempt(definition, &log, &whole, run, &store, Some(*crash))? {
            Ok(_) | Err(EngineError::Store(_)) => {}
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        }
    }
    let summary = attempt(definition, &log, &whole, last, &store, None)?;
    prop_assert!(summary.is_ok(), "{summary:?}");
    let bound = definition.open_epochs_max(definition.epoch_length_ms);
    let live = summary.map_or(0, |summary| summary.live_epochs_max);
    prop_assert!(live <= bound || !crashes.is_empty(), "{live} > {bound}");
    compare(&log, &whole, &store.committed())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 2000, ..Default::default() })]

    #[test]
    fn every_query_equals_its_oracle_however_it_is_run(
        definition in definitions(),
        log in logs(),
        run in run_settings(),
        layout in layout(),
    ) {
        check(definition, log, &[], &RunSettings { layout, ..run })?;
    }

    #[test]
    fn every_query_equals_its_oracle_however_often_its_job_is_restarted(
        definition in definitions(),
        log in logs(),
        crashes in crashes(),
        run in run_settings(),
        layout in layout(),
    ) {
        // A job goes on with what another one has kept in another layout.
        let layouts = [layout, Layout::Reference, Layout::Table];
        let crashes = crashes.into_iter().enumerate().map(|(job, (crash, run))| {
            (crash, RunSettings { layout: layouts[job % 3], ..run })
        });
        let crashes: Vec<_> = crashes.collect();
        check(definition, log, &crashes, &RunSettings { layout, ..run })?;
    }

    #[test]
    fn admission_agrees_with_the_definition(definition in definitions(), log in logs()) {
        let expected = expect(definition, &log);
        for (partition, events) in &log {
            let mut judge = Judge::resume(&definition, BlockStart::default(), Vec::new());
            for (at, expected) in expected.events[partition].iter().enumerate() {
                let reading = judge.read(&Ahead::exhausted(&events[at..])).unwrap();
                let fate = admit(&definition, partition.kind, &reading, Through::Nothing);
                let found = match fate {
                    Fate::Accepted(epochs) => Some(epochs.iter().collect()),
                    Fate::Late => Some(vec![]),
                    Fate::Future => None,
                };
                prop_assert_eq!(&found, expected, "{:?}", events[at]);
            }
            prop_assert_eq!(judge.watermark_ms(), expected.watermarks_ms[partition]);
        }
    }
}

proptest! {
    // These logs are longer.
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 500, ..Default::default() })]

    #[test]
    fn every_query_equals_its_oracle_under_attack(campaign in campaigns(), run in run_settings()) {
        check(campaign.definition, campaign.attacked, &[], &run)?;
    }
}
