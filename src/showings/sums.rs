//! Sums of updates, held until their publication is over.
//!
//! Readers only see rows as of publications, but a publication has many rounds, and most videos
//! change in most rounds. Its updates are therefore added up where they arise. That leaves one
//! update for each data and worker for the exchange and all later operators, however long the
//! publication took.
//!
//! Pending sums are counted, since they become rows, and a publication ends early when there are
//! many. The replay cannot end early: its updates are added up by round and do not wait.

use crate::time::{Publication, Round};
use differential_dataflow::difference::Semigroup;
use differential_dataflow::{AsCollection, VecCollection};
use foldhash::fast::RandomState;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::Hash;
use std::rc::Rc;
use timely::container::{Accountable, CapacityContainerBuilder};
use timely::dataflow::Stream;
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

/// The sums of the updates of a publication.
pub(super) struct Sums<D, R> {
    /// The capability to emit them, in the last round of the publication.
    capability: Capability<Round>,
    sums: HashMap<D, R, RandomState>,
    waiting: PendingSums,
}

impl<D: Eq + Hash, R: Semigroup> Sums<D, R> {
    /// Adds updates. Consecutive updates with the same data cost one hash lookup.
    pub(super) fn extend(&mut self, updates: impl Iterator<Item = (D, R)>) {
        let mut alike: Option<(D, R)> = None;
        for (data, diff) in updates {
            match &mut alike {
                Some((same, sum)) if *same == data => sum.plus_equals(&diff),
                _ => {
                    if let Some((data, sum)) = alike.replace((data, diff)) {
                        self.add(data, sum);
                    }
                }
            }
        }
        if let Some((data, sum)) = alike {
            self.add(data, sum);
        }
    }

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
                self.waiting.add(1);
            }
        }
    }
}

impl<D, R> Sums<D, R> {
    /// Takes all sums, which no longer wait.
    fn take(&mut self) -> HashMap<D, R, RandomState> {
        let sums = std::mem::take(&mut self.sums);
        self.waiting.add(-(sums.len() as isize));
        sums
    }
}

impl<D, R> Drop for Sums<D, R> {
    fn drop(&mut self) {
        self.take();
    }
}

/// Returns the round in which updates of a round are emitted.
fn emitted_in(round: Round) -> Round {
    match round.publication() {
        Publication::REPLAY => round,
        publication => Round::last(publication),
    }
}

/// The maximum number of sums to reserve capacity for.
const EXPECTED_MAX: usize = 1 << 16;

/// Sums that wait for the ends of their publications.
pub(super) struct HeldSums<D, R> {
    held: BTreeMap<Round, Sums<D, R>>,
    /// As many sums as last time are expected: a hash table that grows moves its sums again and
    /// again.
    expected: usize,
    waiting: PendingSums,
}

impl<D, R> HeldSums<D, R>
where
    D: Clone + Eq + Hash + 'static,
    R: Semigroup + 'static,
{
    pub(super) fn new(waiting: &PendingSums) -> HeldSums<D, R> {
        HeldSums { held: BTreeMap::new(), expected: 0, waiting: waiting.clone() }
    }

    /// Returns the sums to which updates of a round are added. `delayed` returns a capability for
    /// the round in which they are emitted.
    pub(super) fn at(
        &mut self,
        round: Round,
        delayed: impl FnOnce(&Round) -> Capability<Round>,
    ) -> &mut Sums<D, R> {
        let emitted_in = emitted_in(round);
        self.held.entry(emitted_in).or_insert_with(|| Sums {
            capability: delayed(&emitted_in),
            sums: HashMap::with_capacity_and_hasher(self.expected, RandomState::default()),
            waiting: self.waiting.clone(),
        })
    }

    /// Emits the sums to which nothing more is added.
    pub(super) fn emit(
        &mut self,
        frontier: &MutableAntichain<Round>,
        output: &mut OutputBuilderSession<'_, Round, SumsBuilder<D, R>>,
    ) {
        while let Some(entry) = self.held.first_entry()
            && !frontier.less_equal(entry.key())
        {
            let (round, mut over) = entry.remove_entry();
            let sums = over.take();
            self.expected = sums.len().min(EXPECTED_MAX);
            let updates = sums.into_iter().filter(|(_, diff)| !diff.is_zero());
            let updates = updates.map(|(data, diff)| (data, round, diff));
            output.session(&over.capability).give_iterator(updates);
        }
    }
}

/// Builds the messages of sums.
pub(super) type SumsBuilder<D, R> = CapacityContainerBuilder<Vec<(D, Round, R)>>;

/// Adds up, for each publication, the updates that `logic` derives from the containers of a stream,
/// and emits one update for each data on each worker.
pub(super) fn sum_by_publication<'scope, C, D, R>(
    stream: Stream<'scope, Round, C>,
    waiting: &PendingSums,
    mut logic: impl FnMut(&mut C, &mut Sums<D, R>) + 'static,
) -> VecCollection<'scope, Round, D, R>
where
    C: Accountable + Clone + Default + 'static,
    D: Clone + Eq + Hash + 'static,
    R: Semigroup + 'static,
{
    let mut held = HeldSums::new(waiting);
    let updates = stream.unary_frontier(Pipeline, "Sum", move |_, _| {
        move |(input, frontier), output| {
            input.for_each(|capability, container| {
                let Some(round) = capability.least().copied() else { return };
                logic(container, held.at(round, |emitted_in| capability.delayed(emitted_in, 0)));
            });
            held.emit(frontier, output);
        }
    });
    updates.as_collection()
}

#[cfg(test)]
mod tests {
    use super::*;
    use timely::dataflow::InputHandle;
    use timely::dataflow::operators::capture::Extract;
    use timely::dataflow::operators::{Capture, Input, Inspect, Probe};

    type Update = (char, Round, isize);

    /// Sends updates in rounds. Returns the updates that are emitted, and the number of sums that
    /// wait: before each round, once all earlier rounds are complete, and at the end.
    fn sent(rounds: &[(Round, &[(char, isize)])]) -> (Vec<Update>, Vec<usize>) {
        let rounds: Vec<_> =
            rounds.iter().map(|(round, updates)| (*round, updates.to_vec())).collect();
        let (captured, waited) = timely::execute_directly(move |worker| {
            let waiting = PendingSums::default();
            let mut input = InputHandle::new();
            let (captured, probe) = worker.dataflow::<Round, _, _>(|scope| {
                let stream = scope.input_from(&mut input);
                let sums = sum_by_publication(stream, &waiting, |updates: &mut Vec<_>, sums| {
                    sums.extend(updates.drain(..));
                });
                let (probe, stream) = sums.inner.inspect(|_| ()).probe();
                (stream.capture(), probe)
            });
            let mut waited = Vec::new();
            for (round, updates) in rounds {
                input.advance_to(round);
                worker.step_while(|| probe.less_than(&round) && waiting.sums() == 0);
                for _ in 0..10 {
                    worker.step();
                }
                waited.push(waiting.sums());
                updates.into_iter().for_each(|update| input.send(update));
            }
            drop(input);
            worker.step_while(|| !probe.done());
            waited.push(waiting.sums());
            (captured, waited)
        });
        let captured = captured.extract().into_iter().flat_map(|(_, updates)| updates);
        let mut captured: Vec<Update> = captured.collect();
        captured.sort_by_key(|(data, round, _)| (*round, *data));
        (captured, waited)
    }

    #[test]
    fn updates_are_merged_at_the_end_of_their_publication() {
        let (one, other) = (Publication(5), Publication(6));
        let (updates, waited) = sent(&[
            (Round::at(one, 0), &[('a', 1), ('b', 1), ('a', 2)]),
            (Round::at(one, 3), &[('a', 4), ('b', -1), ('c', 0)]),
            (Round::at(one, 4), &[]),
            (Round::at(other, 0), &[('a', -1)]),
            (Round::at(other, 1), &[]),
        ]);
        assert_eq!(updates, [('a', Round::last(one), 7), ('a', Round::last(other), -1)]);
        assert_eq!(waited, [0, 2, 2, 0, 1, 0]);
    }

    #[test]
    fn updates_of_the_replay_do_not_wait() {
        let first = Round::first(Publication::REPLAY);
        let (updates, waited) = sent(&[
            (first, &[('a', 1), ('a', 1)]),
            (Round::at(Publication::REPLAY, 1), &[('a', 1)]),
            (Round::at(Publication::REPLAY, 2), &[]),
        ]);
        assert_eq!(updates, [('a', first, 2), ('a', Round::at(Publication::REPLAY, 1), 1)]);
        assert_eq!(waited, [0, 0, 0, 0]);
    }
}
