//! Changes of the showings of an epoch in each round, and collections derived from them.

use super::batch::{ShowingsBatch, ShowingsSpine};
use super::run::{Lookup, Run, consolidate};
use super::sums::{PendingSums, add, sum_by_publication};
use crate::event::{RequestId, Touch, VideoId};
use crate::time::Round;
use differential_dataflow::difference::Semigroup;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::TraceReader;
use differential_dataflow::{AsCollection, VecCollection};
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;
use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;
use timely::progress::{Antichain, Timestamp};

/// The shared arrangement of an epoch, request → (video, touch).
pub(super) type Arrangement<'scope> = Arranged<'scope, TraceAgent<ShowingsSpine>>;

/// A showing that changed in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The request of the showing.
    pub request: RequestId,
    /// The video of the showing.
    pub video: VideoId,
    /// Its touch before the round.
    pub before: Touch,
    /// Its touch after the round, which has more bits.
    pub after: Touch,
}

impl Change {
    /// Returns by how much the change raises the number of showings that satisfy `counts`.
    pub fn gain(&self, counts: fn(Touch) -> bool) -> isize {
        isize::from(counts(self.after)) - isize::from(counts(self.before))
    }
}

/// Changes of showings, each message stamped with the last of their rounds.
#[derive(Clone)]
pub struct Changes<'scope> {
    /// The changes are shared, since every query reads all of them.
    stream: Stream<'scope, Round, Rc<Vec<Change>>>,
    waiting: PendingSums,
}

impl<'scope> Changes<'scope> {
    /// Emits a change for every touch that adds a bit to its showing.
    pub(super) fn of(arrangement: &Arrangement<'scope>, waiting: PendingSums) -> Changes<'scope> {
        let stream = for_each_run(arrangement, "Changes", |run, known, emit| {
            for (request, group) in run.groups() {
                known.seek(request);
                for (video, touch) in group.iter() {
                    let before = known.touch(video);
                    let after = before.or(touch);
                    if after != before {
                        emit(Change { request, video, before, after });
                    }
                }
            }
        });
        Changes { stream, waiting }
    }

    /// Maps each change to updates of a collection, in the round of the change.
    pub fn flat_map<D, R, I>(
        &self,
        mut logic: impl FnMut(&Change) -> I + 'static,
    ) -> VecCollection<'scope, Round, D, R>
    where
        D: Clone + 'static,
        R: Semigroup + 'static,
        I: IntoIterator<Item = (D, R)>,
    {
        let updates = self.stream.clone().unary(Pipeline, "FlatMap", move |_, _| {
            move |input, output| {
                input.for_each_stamp(|capability, chunks| {
                    let Some(round) = capability.least().copied() else { return };
                    let mut session = output.session(&capability);
                    for change in chunks.flat_map(|chunk| chunk.iter()) {
                        for (data, diff) in logic(change) {
                            session.give((data, round, diff));
                        }
                    }
                });
            }
        });
        updates.as_collection()
    }

    /// Maps each change to an update of a collection, and adds up the updates of a publication
    /// that have the same data on the same worker. Use it before an exchange by few keys.
    pub fn accumulate<D, R>(
        &self,
        mut logic: impl FnMut(&Change) -> (D, R) + 'static,
    ) -> VecCollection<'scope, Round, D, R>
    where
        D: Clone + Eq + Hash + 'static,
        R: Semigroup + 'static,
    {
        sum_by_publication(self.stream.clone(), &self.waiting, move |changes, sums| {
            sums.extend(changes.iter().map(&mut logic));
        })
    }
}

/// All showings of one request with their touches, before or after a round.
pub type Known = [(VideoId, Touch)];

/// For every request that changed in a round, emits updates computed from all its showings before
/// and after the round. Updates of a publication with the same data on the same worker are added
/// up.
pub(super) fn by_request<'scope, D, R>(
    arrangement: &Arrangement<'scope>,
    waiting: &PendingSums,
    mut logic: impl FnMut(&Known, &Known, &mut dyn FnMut(D, R)) + 'static,
) -> VecCollection<'scope, Round, D, R>
where
    D: Clone + Eq + Hash + 'static,
    R: Semigroup + 'static,
{
    let (mut before, mut after) = (Vec::new(), Vec::new());
    // Updates that cancel within a round are not sent.
    let mut round: HashMap<D, R, RandomState> = HashMap::default();
    let updates = for_each_run(arrangement, "ByRequest", move |run, known, emit| {
        for (request, group) in run.groups() {
            known.seek(request);
            before.clear();
            before.extend(known.showings());
            consolidate(&mut before);
            after.clear();
            after.extend(before.iter().copied().chain(group.iter()));
            consolidate(&mut after);
            if before != after {
                logic(&before, &after, &mut |data, diff| {
                    add(&mut round, data, diff);
                });
            }
        }
        round.drain().filter(|(_, diff)| !diff.is_zero()).for_each(&mut *emit);
    });
    sum_by_publication(updates, waiting, |updates, sums| {
        sums.extend(updates.iter().cloned());
    })
}

/// The most items in a message of [`for_each_run`].
const MESSAGE_ITEMS_MAX: usize = 1024;

/// Calls `logic` with each new run of touches and a lookup in all earlier runs, and sends the items
/// that it emits in the last round of the run.
fn for_each_run<'scope, D: Clone + 'static>(
    arrangement: &Arrangement<'scope>,
    name: &str,
    mut logic: impl FnMut(&Run, &mut Lookup<'_>, &mut dyn FnMut(D)) + 'static,
) -> Stream<'scope, Round, Rc<Vec<D>>> {
    let mut trace = arrangement.trace.clone();
    let stream = arrangement.stream.clone();
    // Follows the frontier, so that the trace can merge the batches of rounds without touches.
    stream.unary_frontier::<NoopBuilder<Rc<Vec<D>>>, _, _, _>(Pipeline, name, move |_, _| {
        // All rounds below `upper` have been processed and are in the trace.
        let mut upper = Antichain::from_elem(Round::minimum());
        move |(input, _frontier), output| {
            input.for_each(|capability, spans| {
                let Some(capability) = capability.retain_least(0) else { return };
                for span in spans.drain(..) {
                    let past = trace.batches_through(upper.borrow());
                    let past = past.expect("the trace is not compacted beyond processed rounds");
                    if let Some(batch) = &span.inner {
                        for (position, (round, run)) in batch.runs().iter().enumerate() {
                            let capability = capability.delayed(round);
                            let mut session = output.session_with_builder(&capability);
                            let known = past.iter().flat_map(runs);
                            let earlier = batch.runs()[..position].iter().map(|(_, run)| run);
                            let mut known = Lookup::new(known.chain(earlier));
                            in_messages(
                                |emit| logic(run, &mut known, emit),
                                |items| session.give_container(&mut Rc::new(items)),
                            );
                        }
                    }
                    upper.clone_from(span.upper());
                }
            });
            trace.advance_upper(&mut upper);
            trace.set_logical_compaction(upper.borrow());
            trace.set_physical_compaction(upper.borrow());
        }
    })
}

/// Sends the items that `logic` emits, in messages of bounded length.
fn in_messages<D>(logic: impl FnOnce(&mut dyn FnMut(D)), mut send: impl FnMut(Vec<D>)) {
    let mut items = Vec::new();
    logic(&mut |item| {
        if items.len() == items.capacity() {
            let full = std::mem::replace(&mut items, Vec::with_capacity(MESSAGE_ITEMS_MAX));
            if !full.is_empty() {
                send(full);
            }
        }
        items.push(item);
    });
    if !items.is_empty() {
        send(items);
    }
}

fn runs(batch: &Rc<ShowingsBatch>) -> impl Iterator<Item = &Run> {
    batch.runs().iter().map(|(_, run)| run)
}

#[cfg(test)]
mod tests {
    use super::super::Showings;
    use super::super::sums::PendingSums;
    use super::super::touches::{Pool, Touches};
    use super::*;
    use crate::time::{Epoch, Publication};
    use timely::dataflow::InputHandle;
    use timely::dataflow::operators::{Input, Probe};
    use timely::progress::frontier::AntichainRef;

    /// The number of batches in a trace, with empty ones, after `rounds` rounds without touches.
    fn batches_after(rounds: u32) -> usize {
        timely::execute_directly(move |worker| {
            let mut input = InputHandle::<Round, NoopBuilder<Touches>>::new_with_builder();
            let (mut trace, probe) = worker.dataflow(|scope| {
                let touches = scope.input_from(&mut input);
                let showings = {
                    let (pool, waiting) = (Pool::default(), PendingSums::default());
                    Showings::arrange(Epoch(0), touches, 0, pool, waiting)
                };
                let (probe, _) = showings.changes().stream.clone().probe();
                (showings.arrangement.trace.clone(), probe)
            });
            // This handle must not hold back compaction.
            trace.set_logical_compaction(AntichainRef::new(&[]));
            trace.set_physical_compaction(AntichainRef::new(&[]));
            for round in (0..rounds).map(|position| Round::at(Publication(1), position)) {
                input.advance_to(round);
                worker.step_while(|| probe.less_than(&round));
            }
            worker.step();
            let mut batches = 0;
            trace.map_spans(|_| batches += 1);
            batches
        })
    }

    #[test]
    fn empty_rounds_leave_no_batches_in_the_trace() {
        assert_eq!(batches_after(1000), batches_after(10));
    }
}
