//! Sums of updates that are held until their publication is over.
//!
//! Readers see rows as of publications, which have many rounds, and most videos change in most
//! rounds. Adding up the updates of a publication where they arise leaves one update for each data
//! and worker, however long the publication took, for the exchange and all that follows.

use crate::rounds;
use differential_dataflow::difference::Semigroup;
use differential_dataflow::{AsCollection, VecCollection};
use foldhash::fast::RandomState;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::Hash;
use std::rc::Rc;
use timely::container::Accountable;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

/// How many sums wait for the end of their publication, in all dataflows of a worker. Those of the
/// replay, which nothing can end early, are not counted.
#[derive(Clone, Debug, Default)]
pub struct Waiting(Rc<Cell<usize>>);

impl Waiting {
    /// How many.
    pub fn sums(&self) -> usize {
        self.0.get()
    }

    fn add(&self, sums: isize) {
        self.0.set(self.0.get().saturating_add_signed(sums));
    }
}

/// The sums of the updates of a publication.
pub(super) struct Sums<D, R> {
    /// Allows to emit them in the last round of the publication.
    capability: Capability<u64>,
    sums: HashMap<D, R, RandomState>,
    waiting: Option<Waiting>,
}

impl<D: Eq + Hash, R: Semigroup> Sums<D, R> {
    /// Adds an update.
    #[inline]
    pub(super) fn add(&mut self, data: D, diff: R) {
        if diff.is_zero() {
            return;
        }
        match self.sums.entry(data) {
            Entry::Occupied(mut sum) => sum.get_mut().plus_equals(&diff),
            Entry::Vacant(entry) => {
                entry.insert(diff);
                if let Some(waiting) = &self.waiting {
                    waiting.add(1);
                }
            }
        }
    }
}

impl<D, R> Sums<D, R> {
    /// Takes all sums. They wait no more.
    fn take(&mut self) -> HashMap<D, R, RandomState> {
        let sums = std::mem::take(&mut self.sums);
        if let Some(waiting) = &self.waiting {
            waiting.add(-(sums.len() as isize));
        }
        sums
    }
}

impl<D, R> Drop for Sums<D, R> {
    fn drop(&mut self) {
        self.take();
    }
}

/// Adds up, for each publication, the updates that `logic` makes of the containers of a stream,
/// and emits those with the same data on the same worker as one.
pub(super) fn sum_by_publication<'scope, C, D, R>(
    stream: Stream<'scope, u64, C>,
    waiting: &Waiting,
    mut logic: impl FnMut(&mut C, &mut Sums<D, R>) + 'static,
) -> VecCollection<'scope, u64, D, R>
where
    C: Accountable + Clone + Default + 'static,
    D: Clone + Eq + Hash + 'static,
    R: Semigroup + 'static,
{
    let waiting = waiting.clone();
    let mut publications: BTreeMap<u64, Sums<D, R>> = BTreeMap::new();
    let updates = stream.unary_frontier(Pipeline, "Sum", move |_, _| {
        move |(input, frontier), output| {
            input.for_each(|capability, container| {
                let Some(round) = capability.least().copied() else { return };
                let publication = rounds::publication(round);
                let sums = publications.entry(publication).or_insert_with(|| Sums {
                    capability: capability.delayed(&rounds::last(publication), 0),
                    sums: HashMap::default(),
                    waiting: (publication > rounds::REPLAY).then(|| waiting.clone()),
                });
                logic(container, sums);
            });
            while let Some(entry) = publications.first_entry()
                && !frontier.less_equal(&rounds::last(*entry.key()))
            {
                let mut over = entry.remove();
                let round = *over.capability.time();
                let updates = over.take().into_iter().filter(|(_, diff)| !diff.is_zero());
                let updates = updates.map(|(data, diff)| (data, round, diff));
                output.session(&over.capability).give_iterator(updates);
            }
        }
    });
    updates.as_collection()
}
