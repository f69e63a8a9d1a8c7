//! Every query equals its oracle after *every* publication, on the part of the logs that the
//! committed positions cover: for random logs with every kind of disorder, any number of workers
//! and partitions, any size of batches and rounds, and any number of jobs that crash. The files of
//! the sets, where a run has them, say the same after every publication.

mod common;

use common::adversary::campaigns;
use common::checked::{Check, CheckedStore, Crash};
use common::random::{definitions, logs};
use common::{Expected, Fates, Log, expect, expect_prefix};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use trendmark::acceptance::{Ahead, Fate, Judge, admit};
use trendmark::engine::{
    self, Cluster, Counters, DeadLetters, EngineError, Job, SetsSettings, Settings, Summary,
};
use trendmark::event::{Event, RequestId, Touch, VideoId};
use trendmark::log::BlockStart;
use trendmark::query::{Digest, Digests, EpochLog, Parameters, QueryInstance, Row, digest};
use trendmark::sets::FILES;
use trendmark::showings::Layout;
use trendmark::sources::memory::MemorySource;
use trendmark::stores::memory::{Committed, MemoryStore};
use trendmark::stores::{Progress, Store};
use trendmark::time::{Definition, Epoch, Through};

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

fn crashes() -> impl Strategy<Value = Vec<(Crash, RunSettings)>> {
    let crash = (0..8u64, any::<bool>())
        .prop_map(|(commits, is_committed)| Crash { commits, is_committed });
    proptest::collection::vec((crash, run_settings()), 0..5)
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

/// The queries of the runs, with limits so small that random logs exceed them, and histories so
/// short that random logs have enough for a score.
fn queries() -> Vec<QueryInstance> {
    let limits = |name: &str| match name {
        "videos_max" | "recent" | "least_epochs" => Some(2),
        "day_epochs" => Some(3),
        "days" | "guard" | "least_plays" | "prior_plays" => Some(1),
        _ => None,
    };
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

/// The queries of the runs, and the files of the sets after them if they are written.
fn queries_with(sets: bool) -> Vec<QueryInstance> {
    let files = sets.then(|| QueryInstance::new(&FILES));
    queries().into_iter().chain(files).collect()
}

/// Compares the files of the sets with the oracle after a publication, and with the table.
#[cfg(feature = "parquet")]
fn check_sets(
    definition: Definition,
    log: &Log,
    committed: &Committed,
    folder: &Path,
) -> Result<(), TestCaseError> {
    let expected = expect_read(definition, log, &committed.progress, 0);
    let mut members = BTreeMap::new();
    for (epoch, log) in &expected.accepted.epochs {
        let shown = showings(log).into_iter().filter(|(_, touch)| touch.is_shown());
        members.extend(shown.filter_map(|((request, video), touch)| {
            Some(((epoch.0, request.to_u128(), video?.0), touch.is_converted()))
        }));
    }
    let files = committed.rows(queries().len());
    let found = common::members::union(folder, &files);
    prop_assert_eq!(&found, &members);
    let mut of_epochs: BTreeMap<Epoch, usize> = BTreeMap::new();
    files.iter().for_each(|file| *of_epochs.entry(file.epoch).or_default() += 1);
    let is_final = |epoch: &Epoch| committed.progress.final_through.contains(*epoch);
    prop_assert!(of_epochs.iter().all(|(epoch, files)| !is_final(epoch) || *files == 1));
    Ok(())
}

#[cfg(not(feature = "parquet"))]
fn check_sets(
    _definition: Definition,
    _log: &Log,
    _committed: &Committed,
    _folder: &Path,
) -> Result<(), TestCaseError> {
    Ok(())
}

/// Whether a run writes sets, which takes time. Drawn last.
fn sets() -> impl Strategy<Value = bool> {
    proptest::bool::weighted(if cfg!(feature = "parquet") { 0.1 } else { 0.0 })
}

/// Checks that the folder of the sets has the listed files and no others, and that they are the
/// same bytes as those of one worker that was never stopped.
#[cfg(feature = "parquet")]
fn check_final_files(
    definition: Definition,
    log: &Arc<Log>,
    whole: &Arc<Expected>,
    store: &MemoryStore,
    folder: &Path,
) -> Result<(), TestCaseError> {
    let files = store.committed().rows(queries().len());
    let listed = common::members::listed(folder, &files);
    prop_assert_eq!(common::members::all_files(folder), listed);
    let plain = MemoryStore::new(&definition, &queries_with(true));
    let other = tempfile::tempdir().unwrap();
    let run = RunSettings {
        workers: 1,
        batch_events: 50,
        round_events: 100,
        rounds_in_flight: 4,
        layout: Layout::Table,
        rows_waiting_max: 100,
        publish_interval_ms: 5,
    };
    let summary = attempt(definition, log, whole, &run, &plain, None, Some(other.path().into()))?;
    prop_assert!(summary.is_ok(), "{summary:?}");
    let bytes = |store: &MemoryStore| -> BTreeSet<_> {
        let files = store.committed().rows(queries().len());
        let of = |file: trendmark::sets::SetFile| {
            (file.epoch, file.part, file.rows, file.bytes, file.digest)
        };
        files.iter().map(trendmark::sets::SetFile::of_row).map(of).collect()
    };
    prop_assert_eq!(bytes(store), bytes(&plain));
    Ok(())
}

#[cfg(not(feature = "parquet"))]
fn check_final_files(
    _definition: Definition,
    _log: &Arc<Log>,
    _whole: &Arc<Expected>,
    _store: &MemoryStore,
    _folder: &Path,
) -> Result<(), TestCaseError> {
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
    sets: Option<PathBuf>,
) -> Result<Result<Summary, EngineError>, TestCaseError> {
    let mut settings = Settings::new(definition, queries_with(sets.is_some()));
    settings.sets =
        sets.clone().map(|folder| SetsSettings { folder, store: "in memory".to_owned() });
    settings.round_events = run.round_events;
    settings.rounds_in_flight = run.rounds_in_flight;
    settings.layout = run.layout;
    settings.rows_waiting_max = run.rows_waiting_max;
    settings.publish_interval = Duration::from_millis(run.publish_interval_ms);
    settings.tick = Duration::from_millis(5);
    let wrong: Arc<Mutex<Option<String>>> = Arc::default();
    let (checked_log, checked_whole, folder) = (Arc::clone(log), Arc::clone(whole), sets);
    let check: Check = Box::new(move |committed| {
        check_publication(definition, &checked_log, &checked_whole, committed)?;
        folder.as_ref().map_or(Ok(()), |sets| check_sets(definition, &checked_log, committed, sets))
    });
    let store = CheckedStore { store: store.take_over(), check, crash, wrong: Arc::clone(&wrong) };
    let source = MemorySource::new(log.to_vec()).with_batches_of(run.batch_events);
    let job = Job {
        settings,
        source: Box::new(move || Box::new(source.clone())),
        store: Mutex::new(Some(Box::new(|| Ok(Box::new(store) as Box<dyn Store>)))),
        titles: Mutex::new(None),
        dead_letters: Arc::new(DeadLetters::default()),
        counters: Arc::new(Counters::default()),
        observer: None,
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

/// What is known of each showing of an epoch, computed from its accepted events. Denials are
/// showings of no video, and in all showings of their requests.
fn showings(log: &EpochLog) -> BTreeMap<(RequestId, Option<VideoId>), Touch> {
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
    let mut denials: BTreeMap<RequestId, Touch> = BTreeMap::new();
    for (request, epoch) in &log.denials {
        let touch = if *epoch == log.epoch { Touch::DENIED_IN_EPOCH } else { Touch::DENIED };
        let known = denials.entry(*request).or_default();
        *known = known.or(touch);
    }
    let of_showing = |((request, video), touch): ((RequestId, VideoId), Touch)| {
        let denied = denials.contains_key(&request);
        let touch = if denied { touch.or(Touch::DENIED) } else { touch };
        ((request, Some(video)), touch)
    };
    let mut showings: BTreeMap<_, _> = showings.into_iter().map(of_showing).collect();
    showings.extend(denials.iter().map(|(request, touch)| ((*request, None), *touch)));
    showings
}

/// Compares the digests of a store with digests computed from its rows and the accepted events.
fn check_digests(committed: &Committed, expected: &Expected) -> Result<(), TestCaseError> {
    let mut digests = Digests::new();
    for (epoch, log) in &expected.accepted.epochs {
        for ((request, video), touch) in showings(log) {
            let is_of_epoch =
                touch.has_impression() || touch.is_played_here() || touch.is_denied_here();
            if !is_of_epoch {
                continue;
            }
            let seed = digest::seed_of_request(*epoch, request);
            let digest = Digest::of_showing(seed, video.unwrap_or(VideoId(0)), touch);
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
    sets: bool,
) -> Result<(), TestCaseError> {
    let whole = Arc::new(expect(definition, &log));
    let log = Arc::new(log);
    let store = MemoryStore::new(&definition, &queries_with(sets));
    let folder = tempfile::tempdir().unwrap();
    let sets = sets.then(|| folder.path().join("sets"));
    for (crash, run) in crashes {
        match attempt(definition, &log, &whole, run, &store, Some(*crash), sets.clone())? {
            Ok(_) | Err(EngineError::Store(_)) => {}
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        }
    }
    let summary = attempt(definition, &log, &whole, last, &store, None, sets.clone())?;
    prop_assert!(summary.is_ok(), "{summary:?}");
    let bound = definition.open_epochs_max(definition.epoch_length_ms);
    let live = summary.map_or(0, |summary| summary.live_epochs_max);
    prop_assert!(live <= bound || !crashes.is_empty(), "{live} > {bound}");
    compare(&log, &whole, &store.committed())?;
    match sets {
        Some(sets) => check_final_files(definition, &log, &whole, &store, &sets),
        None => Ok(()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 2000, ..Default::default() })]

    #[test]
    fn every_query_equals_its_oracle_however_it_is_run(
        definition in definitions(),
        log in logs(),
        run in run_settings(),
        layout in layout(),
        sets in sets(),
    ) {
        check(definition, log, &[], &RunSettings { layout, ..run }, sets)?;
    }

    #[test]
    fn every_query_equals_its_oracle_however_often_its_job_is_restarted(
        definition in definitions(),
        log in logs(),
        crashes in crashes(),
        run in run_settings(),
        layout in layout(),
        sets in sets(),
    ) {
        // A job goes on with what another one has kept in another layout.
        let layouts = [layout, Layout::Reference, Layout::Table];
        let crashes = crashes.into_iter().enumerate().map(|(job, (crash, run))| {
            (crash, RunSettings { layout: layouts[job % 3], ..run })
        });
        let crashes: Vec<_> = crashes.collect();
        check(definition, log, &crashes, &RunSettings { layout, ..run }, sets)?;
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
        check(campaign.definition, campaign.attacked, &[], &run, false)?;
    }
}
