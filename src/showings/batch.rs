//! Runs as the batches of a differential arrangement, which its spine stores and merges.

use super::run::{Merge, Run};
use super::touches::{self, Pool, Touches};
use crate::time::{Publication, Round};
use differential_dataflow::batcher::{Batcher, Extract};
use differential_dataflow::trace::implementations::spine_fueled::{Merger, Spine, SpineBatch};
use std::collections::BTreeMap;
use std::rc::Rc;
use timely::progress::Antichain;
use timely::progress::frontier::AntichainRef;

/// The trace of an epoch's showings.
pub type ShowingsSpine = Spine<Rc<ShowingsBatch>>;

/// The showings of an interval of rounds.
///
/// A new batch from the batcher holds a run for each publication of its rounds, so that changes of
/// different publications stay separate. A merged batch holds one run: its rounds are past, and
/// only the accumulated touches matter.
#[derive(Debug)]
pub struct ShowingsBatch {
    /// The runs, each with the last of its rounds, in ascending order; never empty.
    runs: Vec<(Round, Run)>,
}

impl ShowingsBatch {
    /// Returns the runs, each with the last of its rounds, in ascending order.
    pub fn runs(&self) -> &[(Round, Run)] {
        &self.runs
    }

    /// Returns `merged`, the result of [`Self::collapse`], or else the only run.
    fn collapsed<'a>(&'a self, merged: &'a Option<Run>) -> &'a Run {
        merged.as_ref().unwrap_or(&self.runs[0].1)
    }

    /// Merges all runs, if there is more than one.
    fn collapse(&self) -> Option<Run> {
        let (_, first) = &self.runs[0];
        let mut merged: Option<Run> = None;
        for (_, run) in &self.runs[1..] {
            merged = Some(Merge::all(merged.as_ref().unwrap_or(first), run));
        }
        merged
    }
}

impl SpineBatch for ShowingsBatch {
    type Time = Round;
    type Merger = ShowingsMerger;

    fn len(&self) -> usize {
        self.runs.iter().map(|(_, run)| run.len()).sum()
    }
}

/// A merge of two batches, in progress.
pub struct ShowingsMerger {
    /// The merged runs of each batch that has several.
    collapsed: [Option<Run>; 2],
    merge: Merge,
    /// The latest round of the two batches.
    round: Round,
}

impl Merger<ShowingsBatch> for ShowingsMerger {
    fn new(
        left: &ShowingsBatch,
        right: &ShowingsBatch,
        _compaction_frontier: AntichainRef<Round>,
    ) -> Self {
        let collapsed = [left.collapse(), right.collapse()];
        let merge = Merge::new(left.collapsed(&collapsed[0]), right.collapsed(&collapsed[1]));
        let rounds = left.runs.iter().chain(&right.runs).map(|(round, _)| *round);
        ShowingsMerger { round: rounds.max().unwrap_or_default(), collapsed, merge }
    }

    fn work(&mut self, left: &ShowingsBatch, right: &ShowingsBatch, fuel: &mut isize) {
        let left = left.collapsed(&self.collapsed[0]);
        let right = right.collapsed(&self.collapsed[1]);
        let showings_max = usize::try_from(*fuel).unwrap_or(0);
        let moved = self.merge.work(left, right, showings_max);
        *fuel -= isize::try_from(moved).unwrap_or(isize::MAX);
    }

    fn done(self) -> Option<ShowingsBatch> {
        let run = self.merge.done();
        (!run.is_empty()).then(|| ShowingsBatch { runs: vec![(self.round, run)] })
    }
}

/// Combines the buffers of each publication in the last of its rounds. Rows are not visible before
/// their publication is over, so this changes no result, and one run is cheaper than two.
fn by_publication(
    rounds: BTreeMap<Round, Vec<Vec<u64>>>,
) -> impl Iterator<Item = (Round, Vec<Vec<u64>>)> {
    let mut publications: BTreeMap<Publication, (Round, Vec<Vec<u64>>)> = BTreeMap::new();
    for (round, mut buffers) in rounds {
        let (last, all) = publications.entry(round.publication()).or_default();
        *last = round;
        all.append(&mut buffers);
    }
    publications.into_values()
}

/// Collects the touches of each round, and sorts them once, when the round is complete.
///
/// The stock batcher merges many small sorted chunks, which took a third of the total time.
pub struct ShowingsBatcher {
    rounds: BTreeMap<Round, Vec<Vec<u64>>>,
    /// The earliest round held back, which the last extraction returned.
    lower: Antichain<Round>,
    /// The pool that the buffers of sorted touches return to.
    pool: Pool,
}

impl ShowingsBatcher {
    /// Creates an empty batcher.
    pub fn new(pool: Pool) -> ShowingsBatcher {
        ShowingsBatcher { rounds: BTreeMap::new(), lower: Antichain::new(), pool }
    }

    fn sort(&self, buffers: Vec<Vec<u64>>) -> Run {
        let run = Run::from_touches(&buffers);
        buffers.into_iter().for_each(|buffer| self.pool.recycle(buffer));
        run
    }
}

impl Batcher<Touches> for ShowingsBatcher {
    fn insert(&mut self, touches: &mut Touches) {
        let words = std::mem::take(touches).into_owned(&self.pool);
        if let Some(round) = touches::round(&words) {
            self.rounds.entry(round).or_default().push(words);
        }
    }
}

impl Extract for ShowingsBatcher {
    type Time = Round;
    type Output = ShowingsBatch;

    fn extract<'a>(
        &'a mut self,
        upper: AntichainRef<'_, Round>,
    ) -> (Option<ShowingsBatch>, AntichainRef<'a, Round>) {
        let held_back = match upper.first() {
            Some(upper) => self.rounds.split_off(upper),
            None => BTreeMap::new(),
        };
        let complete = std::mem::replace(&mut self.rounds, held_back);
        let runs = by_publication(complete).map(|(round, buffers)| (round, self.sort(buffers)));
        let runs: Vec<_> = runs.collect();
        self.lower.clear();
        self.lower.extend(self.rounds.keys().next().copied());
        ((!runs.is_empty()).then_some(ShowingsBatch { runs }), self.lower.borrow())
    }
}
