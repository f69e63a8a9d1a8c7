//! The dataflow gives the rows that are computed from scratch, after every publication: for random
//! tables, changes, orders and workers, while old rows are retracted.

use super::flow::scores;
use super::oracle::{self, ScoredRow, Table};
use super::{Counts, Exposure, Settings};
use crate::event::VideoId;
use crate::query::tables::Finality;
use crate::time::{Epoch, Publication, Through};
use differential_dataflow::input::InputSession;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use std::collections::BTreeMap;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use timely::dataflow::operators::Inspect;
use timely::dataflow::operators::probe::{Handle, Probe};

fn settings(exposure: Exposure) -> Settings {
    Settings {
        exposure,
        day: 4,
        days: 2,
        guard: 1,
        evidence_days: 1,
        least_epochs: 2,
        least_plays: 3.0,
        prior_plays: 1.0,
        recent: 3,
        half_life: 1.0,
    }
}

/// A change of a row: video, epoch, and its counts from now on, if it is to exist.
type Change = (u64, i64, Option<Counts>);

/// What happens in a publication: rows change, and then epochs become final.
#[derive(Clone, Debug)]
struct Step {
    changes: Vec<Change>,
    final_epochs: i64,
}

fn counts() -> impl Strategy<Value = Option<Counts>> {
    let some = (0..60u64, 0..200u64)
        .prop_map(|(plays, more)| Some(Counts { plays, impressions: plays + more + 1 }));
    prop_oneof![9 => some, 1 => Just(None)]
}

/// Publications that change rows of the last epochs, while time goes on.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = (0..7u64, 0..4i64, counts());
    let step = (vec(change, 1..30), 0..3i64);
    (vec(step, 1..16), any::<bool>()).prop_map(|(steps, is_crowded)| {
        let mut first_open = -2;
        let mut all = Vec::new();
        if is_crowded {
            // What the other videos do hardly changes what is common.
            let counts = Some(Counts { plays: 1_000_000, impressions: 3_000_000 });
            let changes = (-20..50).map(|epoch| (99, epoch, counts)).collect();
            all.push(Step { changes, final_epochs: 0 });
        }
        for (changes, final_epochs) in steps {
            let later = changes.into_iter().map(|(video, ahead, counts)| {
                // Of each row, the last change counts.
                ((video, first_open + ahead), counts)
            });
            let last: BTreeMap<_, _> = later.collect();
            let changes = last.into_iter().map(|((video, epoch), counts)| (video, epoch, counts));
            all.push(Step { changes: changes.collect(), final_epochs });
            first_open += final_epochs;
        }
        all
    })
}

/// The updates of a publication: row and difference.
type Updates = BTreeMap<u64, Vec<(ScoredRow, isize)>>;

/// Runs the dataflow. Returns its updates by publication.
fn run(steps: &[Step], settings: Settings, workers: usize, reversed: bool) -> Updates {
    let (sender, receiver) = channel();
    let sender: Arc<Mutex<Sender<(u64, ScoredRow, isize)>>> = Arc::new(Mutex::new(sender));
    let steps = steps.to_vec();
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let finality = Finality::default();
        let mut input = InputSession::<Publication, (VideoId, Epoch, Counts), isize>::new();
        let sender = sender.lock().unwrap().clone();
        let probe = Handle::new();
        worker.dataflow(|scope| {
            let rows = input.to_collection(scope);
            let sent = scores(rows, &finality, settings).inner.inspect(move |(row, at, diff)| {
                sender.send((at.0, *row, *diff)).unwrap();
            });
            sent.probe_with(&probe);
        });
        let mut table: BTreeMap<(u64, i64), Counts> = BTreeMap::new();
        let mut first_open = -2;
        for (publication, step) in (0..).zip(&steps) {
            input.advance_to(Publication(publication));
            let mut changes = step.changes.clone();
            if reversed {
                changes.reverse();
            }
            // Rows that are old enough are taken back, as by the engine.
            let oldest = first_open - settings.history_epochs();
            let old: Vec<_> = table.keys().filter(|row| row.1 < oldest).copied().collect();
            changes.extend(old.into_iter().map(|(video, epoch)| (video, epoch, None)));
            for (video, epoch, now) in changes {
                let is_own =
                    |at: &Counts| (video + at.plays) as usize % worker.peers() == worker.index();
                let before = match now {
                    Some(counts) => table.insert((video, epoch), counts),
                    None => table.remove(&(video, epoch)),
                };
                let row = |counts| (VideoId(video), Epoch(epoch), counts);
                before.filter(is_own).into_iter().for_each(|counts| input.update(row(counts), -1));
                now.filter(is_own).into_iter().for_each(|counts| input.update(row(counts), 1));
            }
            input.advance_to(Publication(publication + 1));
            input.flush();
            while probe.less_than(&Publication(publication + 1)) {
                worker.step();
            }
            first_open += step.final_epochs;
            finality.set(Through::Epoch(Epoch(first_open - 1)));
        }
    });
    for result in guards.unwrap().join() {
        result.unwrap();
    }
    let mut updates = Updates::new();
    for (publication, row, diff) in receiver.try_iter() {
        updates.entry(publication).or_default().push((row, diff));
    }
    updates
}

/// Compares the rows of the dataflow with those from scratch after every publication, in all epochs
/// that are not final.
fn check(steps: &[Step], settings: Settings, updates: &Updates) -> Result<usize, TestCaseError> {
    let mut table = Table::new();
    let mut rows: BTreeMap<(u64, i64), ScoredRow> = BTreeMap::new();
    let (mut first_open, mut seen) = (-2, 0);
    for (publication, step) in (0_u64..).zip(steps) {
        for (video, epoch, now) in &step.changes {
            let of_video = table.entry(*video).or_default();
            match now {
                Some(counts) => of_video.insert(*epoch, *counts),
                None => of_video.remove(epoch),
            };
        }
        let mut of_publication = updates.get(&publication).cloned().unwrap_or_default();
        // What is taken back comes first.
        of_publication.sort_by_key(|(_, diff)| *diff);
        for (row, diff) in of_publication {
            if diff < 0 {
                prop_assert_eq!(rows.remove(&(row.video, row.epoch)), Some(row));
            } else {
                prop_assert_eq!(rows.insert((row.video, row.epoch), row), None);
            }
        }
        let is_open = |row: &&ScoredRow| row.epoch >= first_open;
        let found: Vec<_> = rows.values().filter(is_open).copied().collect();
        let all = oracle::rows(&table, &settings);
        let expected: Vec<_> = all.iter().filter(is_open).copied().collect();
        seen += expected.len();
        prop_assert_eq!(found, expected, "after publication {}", publication);
        first_open += step.final_epochs;
    }
    Ok(seen)
}

fn exposures() -> impl Strategy<Value = Exposure> {
    prop_oneof![Just(Exposure::Impressions), Just(Exposure::Time)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..Default::default() })]

    #[test]
    fn the_dataflow_gives_the_rows_from_scratch(
        steps in steps(), exposure in exposures(), workers in 1..4usize, reversed in any::<bool>(),
    ) {
        let settings = settings(exposure);
        let updates = run(&steps, settings, workers, reversed);
        check(&steps, settings, &updates)?;
    }
}

#[test]
fn the_random_tables_have_scores_rises_and_falls() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut rows, mut rising, mut falling) = (0, 0, 0);
    for _ in 0..40 {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        let mut table = Table::new();
        for (video, epoch, now) in steps.iter().flat_map(|step| &step.changes) {
            let of_video = table.entry(*video).or_default();
            now.map(|counts| of_video.insert(*epoch, counts));
        }
        let all = oracle::rows(&table, &settings(Exposure::Impressions));
        rows += all.len();
        rising += all.iter().filter(|row| row.since.is_some()).count();
        falling += all.iter().filter(|row| row.momentum < -1_000).count();
    }
    assert!(rows > 400 && rising > 20 && falling > 20, "{rows} {rising} {falling}");
}
