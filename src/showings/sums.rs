//! Sums of updates, held until their publication is over.
//!
//! Readers only see rows as of publications, but a publication has many rounds, and most videos
//! change in most rounds. Its updates are therefore added up where they arise. That leaves one
//! update for each data and worker for the exchange and all later operators, however long the
//! publication took.
//!
//! Pending sums are counted, since they become rows, and a publication ends early when there are
//! many. The replay cannot end early, so its sums do not count.

use super::changes::{Change, Changes};
use super::table::prefetch;
use crate::event::VideoId;
use crate::time::{Publication, Round};
use differential_dataflow::difference::{IsZero, Semigroup};
use differential_dataflow::{AsCollection, VecCollection};
use foldhash::fast::RandomState;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::Hash;
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::{Operator, OutputBuilderSession};
use timely::progress::frontier::MutableAntichain;

/// The number of sums that wait for the end of their publication, in all dataflows of a worker.
#[derive(Clone, Debug, Default)]
pub struct PendingSums(Rc<Cell<usize>>);

impl PendingSums {
    /// Returns the number of sums.
    pub fn sums(&self) -> usize {
        self.0.get()
    }

    fn add(&self, sums: isize) {
        let sums = self.0.get().checked_add_signed(sums);
        self.0.set(sums.expect("the number of waiting sums is never negative"));
    }
}

/// Sums of updates by their data.
pub(super) trait Sums: Default + 'static {
    /// What is added up separately.
    type Data: Clone + 'static;
    /// The difference of an update.
    type Diff: Semigroup + 'static;

    /// The number of sums.
    fn len(&self) -> usize;

    /// Takes all sums, and keeps the memory for others.
    fn take(&mut self) -> impl Iterator<Item = (Self::Data, Self::Diff)>;
}

/// Sums by any data.
pub(super) type HashedSums<D, R> = HashMap<D, R, RandomState>;

/// The most sums whose memory is kept: a hash table that grows moves its sums again and again.
const KEPT_MAX: usize = 1 << 17;

impl<D, R> Sums for HashedSums<D, R>
where
    D: Clone + Eq + Hash + 'static,
    R: Semigroup + 'static,
{
    type Data = D;
    type Diff = R;

    fn len(&self) -> usize {
        HashMap::len(self)
    }

    fn take(&mut self) -> impl Iterator<Item = (D, R)> {
        let kept = if self.capacity() > KEPT_MAX {
            std::mem::take(self)
        } else {
            let empty = HashMap::with_capacity_and_hasher(self.len(), RandomState::default());
            std::mem::replace(self, empty)
        };
        kept.into_iter()
    }
}

/// Adds updates. Consecutive updates with the same data cost one hash lookup.
pub(super) fn extend<D, R>(sums: &mut HashedSums<D, R>, updates: impl Iterator<Item = (D, R)>)
where
    D: Eq + Hash,
    R: Semigroup,
{
    let mut alike: Option<(D, R)> = None;
    for (data, diff) in updates {
        match &mut alike {
            Some((same, sum)) if *same == data => sum.plus_equals(&diff),
            _ => {
                if let Some((data, sum)) = alike.replace((data, diff)) {
                    add(sums, data, sum);
                }
            }
        }
    }
    if let Some((data, sum)) = alike {
        add(sums, data, sum);
    }
}

/// Adds an update.
#[inline]
pub(super) fn add<D, R>(sums: &mut HashedSums<D, R>, data: D, diff: R)
where
    D: Eq + Hash,
    R: Semigroup,
{
    if diff.is_zero() {
        return;
    }
    match sums.entry(data) {
        Entry::Occupied(mut sum) => sum.get_mut().plus_equals(&diff),
        Entry::Vacant(entry) => {
            entry.insert(diff);
        }
    }
}

/// Sums by video, at the numbers of the videos in their epoch.
pub(super) struct VideoSums<R> {
    sums: Vec<Option<(VideoId, R)>>,
    /// The numbers with a sum.
    changed: Vec<u32>,
}

impl<R> Default for VideoSums<R> {
    fn default() -> VideoSums<R> {
        VideoSums { sums: Vec::new(), changed: Vec::new() }
    }
}

impl<R: Semigroup> VideoSums<R> {
    /// Asks the processor to load the sum of a video.
    #[inline]
    pub(super) fn prefetch(&self, number: u32) {
        prefetch(&self.sums, number as usize);
    }

    /// Adds an update of the video with a number.
    #[inline]
    pub(super) fn add(&mut self, number: u32, video: VideoId, diff: R) {
        if diff.is_zero() {
            return;
        }
        let position = number as usize;
        if position >= self.sums.len() {
            self.sums.resize_with((position + 1).next_power_of_two(), || None);
        }
        match &mut self.sums[position] {
            Some((_, sum)) => sum.plus_equals(&diff),
            none => {
                *none = Some((video, diff));
                self.changed.push(number);
            }
        }
    }
}

impl<R: Semigroup + 'static> Sums for VideoSums<R> {
    type Data = VideoId;
    type Diff = R;

    fn len(&self) -> usize {
        self.changed.len()
    }

    fn take(&mut self) -> impl Iterator<Item = (VideoId, R)> {
        let sums = &mut self.sums;
        self.changed.drain(..).filter_map(|number| sums[number as usize].take())
    }
}

/// Sums that wait for the ends of their publications.
pub(super) struct HeldSums<T: Sums> {
    held: BTreeMap<Round, T>,
    /// Empty sums, with their memory.
    spare: Vec<T>,
    waiting: PendingSums,
}

impl<T: Sums> HeldSums<T> {
    pub(super) fn new(waiting: &PendingSums) -> HeldSums<T> {
        HeldSums { held: BTreeMap::new(), spare: Vec::new(), waiting: waiting.clone() }
    }

    /// Changes the sums of a round with `logic`.
    pub(super) fn update(&mut self, round: Round, logic: impl FnOnce(&mut T)) {
        let spare = &mut self.spare;
        let sums = self.held.entry(round).or_insert_with(|| spare.pop().unwrap_or_default());
        let before = sums.len();
        logic(sums);
        if counts(round) {
            self.waiting.add(sums.len() as isize - before as isize);
        }
    }

    /// Passes the sums of a round to `emit`.
    pub(super) fn take(&mut self, round: Round, mut emit: impl FnMut(T::Data, T::Diff)) {
        let Some(mut sums) = self.held.remove(&round) else { return };
        if counts(round) {
            self.waiting.add(-(sums.len() as isize));
        }
        let nonzero = sums.take().filter(|(_, diff)| !diff.is_zero());
        nonzero.for_each(|(data, diff)| emit(data, diff));
        self.spare.push(sums);
        self.spare.truncate(1);
    }
}

impl<T: Sums> Drop for HeldSums<T> {
    fn drop(&mut self) {
        let waiting = self.held.iter().filter(|(round, _)| counts(**round));
        self.waiting.add(-(waiting.map(|(_, sums)| sums.len() as isize).sum::<isize>()));
    }
}

/// Whether the sums of a round count as waiting.
fn counts(round: Round) -> bool {
    round.publication() != Publication::REPLAY
}

/// The capabilities to emit the sums of publications that are not over, by their last rounds.
#[derive(Default)]
pub(super) struct LastRounds(BTreeMap<Round, Capability<Round>>);

impl LastRounds {
    /// Keeps the capability that `delayed` returns for a round, unless there is one.
    pub(super) fn keep(&mut self, round: Round, delayed: impl FnOnce() -> Capability<Round>) {
        self.0.entry(round).or_insert_with(delayed);
    }

    /// Emits the sums of the rounds that are over.
    pub(super) fn emit<T: Sums>(
        &mut self,
        held: &mut HeldSums<T>,
        frontier: &MutableAntichain<Round>,
        output: &mut OutputBuilderSession<'_, Round, SumsBuilder<T>>,
    ) {
        while let Some(entry) = self.0.first_entry()
            && !frontier.less_equal(entry.key())
        {
            let (round, capability) = entry.remove_entry();
            let mut session = output.session(&capability);
            held.take(round, |data, diff| session.give((data, round, diff)));
        }
    }
}

/// Builds the messages of sums.
pub(super) type SumsBuilder<T> =
    CapacityContainerBuilder<Vec<(<T as Sums>::Data, Round, <T as Sums>::Diff)>>;

/// Adds up, for each publication, what `logic` makes of the changes, and emits one update for each
/// data on each worker.
pub(super) fn sum_by_publication<'scope, T: Sums>(
    changes: &Changes<'scope>,
    waiting: &PendingSums,
    mut logic: impl FnMut(&[Change], &mut T) + 'static,
) -> VecCollection<'scope, Round, T::Data, T::Diff> {
    let (mut held, mut last_rounds) = (HeldSums::new(waiting), LastRounds::default());
    let updates = changes.stream().clone().unary_frontier(Pipeline, "Sum", move |_, _| {
        move |(input, frontier), output| {
            input.for_each(|capability, changes| {
                let Some(round) = capability.least().copied() else { return };
                held.update(round, |sums| logic(changes, sums));
                last_rounds.keep(round, || capability.delayed(&round, 0));
            });
            last_rounds.emit(&mut held, frontier, output);
        }
    });
    updates.as_collection()
}
