//! Changes of the showings of an epoch in each round, and collections derived from them.

use super::batch::{ShowingsBatch, ShowingsSpine};
use super::run::{Lookup, Run, consolidate};
use super::sums::{HeldSums, PendingSums, sum_by_publication};
use crate::event::{RequestId, Touch, VideoId};
use crate::time::Round;
use differential_dataflow::difference::Semigroup;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::{SpanOf, TraceReader};
use differential_dataflow::{AsCollection, VecCollection};
use std::cell::Cell;
use std::hash::Hash;
use std::rc::Rc;
use timely::communication::Pull;
use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::{InputHandleCore, Operator};
use timely::progress::{Antichain, Timestamp};

/// The shared arrangement of an epoch, request → (video, touch).
pub(super) type Arrangement<'scope> = Arranged<'scope, TraceAgent<ShowingsSpine>>;
/// The messages of an arrangement.
type Spans = Vec<SpanOf<TraceAgent<ShowingsSpine>>>;

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
    /// Emits a change for every touch that adds a bit to its showing, and counts the showings.
    pub(super) fn of(
        arrangement: &Arrangement<'scope>,
        waiting: PendingSums,
        count: Rc<Cell<u64>>,
    ) -> Changes<'scope> {
        let stream = for_each_run(arrangement, "Changes", move |run, known, emit| {
            for (request, group) in run.groups() {
                known.seek(request);
                for (video, touch) in group.iter() {
                    let before = known.touch(video);
                    let after = before.or(touch);
                    if after != before {
                        count.set(count.get() + u64::from(before == Touch::NONE));
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

    /// Passes the changes to `logic`, each message with the round of its last change. Returns a
    /// stream without data, which is complete when the changes are.
    pub fn visit(
        &self,
        mut logic: impl FnMut(Round, &[Change]) + 'static,
    ) -> Stream<'scope, Round, Vec<()>> {
        self.stream.clone().unary::<NoopBuilder<Vec<()>>, _, _, _>(
            Pipeline,
            "Visit",
            move |_, _| {
                move |input, _output| {
                    input.for_each(|capability, changes| {
                        let Some(round) = capability.least().copied() else { return };
                        logic(round, changes);
                    });
                }
            },
        )
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

/// The showings of one request, before or after a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known<'a> {
    /// All of them, with their touches, in the order of videos.
    Showings(&'a [(VideoId, Touch)]),
    /// There are too many.
    Crowded,
}

impl<'a> Known<'a> {
    /// Returns all showings, or none if there are too many.
    pub fn unless_crowded(self) -> &'a [(VideoId, Touch)] {
        match self {
            Known::Showings(showings) => showings,
            Known::Crowded => &[],
        }
    }
}

/// For every request that changed in a round, emits updates computed from all its showings before
/// and after the round. Updates of a publication with the same data on the same worker are added
/// up.
pub(super) fn by_request<'scope, D, R>(
    arrangement: &Arrangement<'scope>,
    waiting: &PendingSums,
    videos_max: usize,
    mut logic: impl FnMut(RequestId, Known<'_>, Known<'_>, &mut dyn FnMut(D, R)) + 'static,
) -> VecCollection<'scope, Round, D, R>
where
    D: Clone + Eq + Hash + 'static,
    R: Semigroup + 'static,
{
    let mut new_runs = NewRuns::of(arrangement);
    let mut held = HeldSums::new(waiting);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let stream = arrangement.stream.clone();
    let updates = stream.unary_frontier(Pipeline, "ByRequest", move |_, _| {
        move |(input, frontier), output| {
            new_runs.for_each(input, |capability, round, run, known| {
                let sums = held.at(*round, |emitted_in| capability.delayed(emitted_in));
                for (request, group) in run.groups() {
                    known.seek(request);
                    before.clear();
                    if !extend(&mut before, known.showings(), videos_max) {
                        continue;
                    }
                    after.clone_from(&before);
                    let is_complete = extend(&mut after, group.iter(), videos_max);
                    let now = if is_complete { Known::Showings(&after) } else { Known::Crowded };
                    if now != Known::Showings(&before) {
                        logic(request, Known::Showings(&before), now, &mut |data, diff| {
                            sums.add(data, diff);
                        });
                    }
                }
            });
            held.emit(frontier, output);
        }
    });
    updates.as_collection()
}

/// Adds showings to sorted ones. Returns `false` as soon as there are more than `videos_max`.
fn extend(
    showings: &mut Vec<(VideoId, Touch)>,
    more: impl Iterator<Item = (VideoId, Touch)>,
    videos_max: usize,
) -> bool {
    for showing in more {
        showings.push(showing);
        // A video may occur repeatedly.
        if showings.len() > 2 * videos_max {
            consolidate(showings);
            if showings.len() > videos_max {
                return false;
            }
        }
    }
    consolidate(showings);
    showings.len() <= videos_max
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
    let mut new_runs = NewRuns::of(arrangement);
    let stream = arrangement.stream.clone();
    stream.unary_frontier::<NoopBuilder<Rc<Vec<D>>>, _, _, _>(Pipeline, name, move |_, _| {
        move |(input, _frontier), output| {
            new_runs.for_each(input, |capability, _, run, known| {
                let mut session = output.session_with_builder(capability);
                in_messages(
                    |emit| logic(run, known, emit),
                    |items| session.give_container(&mut Rc::new(items)),
                );
            });
        }
    })
}

/// The runs of an arrangement that an operator has not processed.
struct NewRuns {
    /// Follows the frontier, so that the trace can merge the batches of rounds without touches.
    trace: TraceAgent<ShowingsSpine>,
    /// All rounds below have been processed and are in the trace.
    upper: Antichain<Round>,
}

impl NewRuns {
    fn of(arrangement: &Arrangement<'_>) -> NewRuns {
        let upper = Antichain::from_elem(Round::minimum());
        NewRuns { trace: arrangement.trace.clone(), upper }
    }

    /// Calls `logic` with each run that has arrived: a capability for its last round, this round,
    /// the run, and a lookup in all earlier runs.
    fn for_each<P: Pull<Message<Round, Spans>>>(
        &mut self,
        input: &mut InputHandleCore<Round, Spans, P>,
        mut logic: impl FnMut(&Capability<Round>, &Round, &Run, &mut Lookup<'_>),
    ) {
        input.for_each(|capability, spans| {
            let Some(capability) = capability.retain_least(0) else { return };
            for span in spans.drain(..) {
                let past = self.trace.batches_through(self.upper.borrow());
                let past = past.expect("the trace is not compacted beyond processed rounds");
                if let Some(batch) = &span.inner {
                    for (position, (round, run)) in batch.runs().iter().enumerate() {
                        let known = past.iter().flat_map(runs);
                        let earlier = batch.runs()[..position].iter().map(|(_, run)| run);
                        let mut known = Lookup::new(known.chain(earlier));
                        logic(&capability.delayed(round), round, run, &mut known);
                    }
                }
                self.upper.clone_from(span.upper());
            }
        });
        self.trace.advance_upper(&mut self.upper);
        self.trace.set_logical_compaction(self.upper.borrow());
        self.trace.set_physical_compaction(self.upper.borrow());
    }
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
    fn a_request_is_crowded_if_it_has_more_videos_than_allowed() {
        let sorted = |videos: &[u64], videos_max: usize| {
            let mut showings = Vec::new();
            let more = videos.iter().map(|video| (VideoId(*video), Touch::SHOWN));
            let is_complete = extend(&mut showings, more, videos_max);
            (is_complete, showings.iter().map(|(video, _)| video.0).collect::<Vec<_>>())
        };
        assert_eq!(sorted(&[], 0), (true, vec![]));
        assert_eq!(sorted(&[3, 1, 3, 3, 1, 1, 3, 1], 2), (true, vec![1, 3]));
        assert!(!sorted(&[3, 1, 3, 3, 1, 1, 3, 2], 2).0);
        let (is_complete, held) = sorted(&(0..1_000).collect::<Vec<_>>(), 10);
        assert!(!is_complete && held.len() <= 21, "{held:?}");
    }

    #[test]
    fn empty_rounds_leave_no_batches_in_the_trace() {
        assert_eq!(batches_after(1000), batches_after(10));
    }
}
