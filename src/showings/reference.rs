//! The showings of an epoch in arrangements of differential dataflow, without any layout of our
//! own: slow and plain. Tests compare it with [`super::table`].

use super::by_request::RequestReaders;
use super::changes::Change;
use super::members::{Coverage, Members, MembersOfEpoch};
use super::table::Changed;
use super::touches::{Touches, request_groups};
use super::{Memory, StateSize};
use crate::event::{RequestId, Touch, VideoId};
use crate::time::Round;
use differential_dataflow::difference::{IsZero, Semigroup};
use differential_dataflow::{AsCollection, VecCollection};
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use timely::container::{CapacityContainerBuilder, NoopBuilder};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{ParallelizationContract, Pipeline};
use timely::dataflow::operators::generic::Operator;

/// A touch as a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Bits(u8);

impl IsZero for Bits {
    fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl Semigroup for Bits {
    fn plus_equals(&mut self, other: &Bits) {
        self.0 |= other.0;
    }
}

/// The words of a request.
type Request = [u64; 2];

/// Returns the changes of showings, as [`super::keep::keep`] does.
pub(super) fn keep<'scope>(
    touches: Stream<'scope, Round, Touches>,
    pact: impl ParallelizationContract<Round, Touches>,
    _memory: &Memory,
    readers: RequestReaders,
    size: Rc<Cell<StateSize>>,
    members: Option<MembersOfEpoch>,
) -> Stream<'scope, Round, Rc<Vec<Change>>> {
    let showings = updates(touches, pact).reduce_named("Showings", |_request, videos, showings| {
        showings.extend(videos.iter().map(|(video, Bits(touch))| ((**video, *touch), 1isize)));
    });
    let mut rounds: BTreeMap<Round, _> = BTreeMap::new();
    let mut state = State::default();
    showings.inner.unary_frontier::<NoopBuilder<Rc<Vec<Change>>>, _, _, _>(
        Pipeline,
        "Changes",
        |capability, _| {
            let mut held = members.is_some().then_some(capability);
            move |(input, frontier), output| {
                input.for_each(|capability, updates: &mut Vec<_>| {
                    for ((request, (video, touch)), round, diff) in updates.drain(..) {
                        let (_, rows) = rounds
                            .entry(round)
                            .or_insert_with(|| (capability.delayed(&round, 0), Vec::new()));
                        rows.push((RequestId(request), VideoId(video), Touch(touch), diff));
                    }
                });
                if let (Some(held), Some(of)) = (&held, &members)
                    && let Some(publication) = of.gather_in()
                {
                    let last = Round::last(publication);
                    rounds.entry(last).or_insert_with(|| (held.delayed(&last), Vec::new()));
                }
                while let Some(entry) = rounds.first_entry()
                    && !frontier.less_equal(entry.key())
                {
                    let (round, (capability, rows)) = entry.remove_entry();
                    let changes = state.change(round, rows, &readers);
                    size.set(StateSize { showings: state.count(), ..StateSize::default() });
                    let mut session = output.session_with_builder(&capability);
                    if let Some(of) = &members
                        && let Some(coverage) = of.due_after(round.publication())
                    {
                        let changed =
                            changes.iter().filter(|one| one.after.changes_sets(one.before));
                        let after = changed.map(|one| (one.request, one.video, one.after));
                        let left = match coverage {
                            Coverage::Changed => Members::of(after),
                            Coverage::Worker | Coverage::Final => state.members(),
                        };
                        of.leave(round.publication(), coverage, left);
                    }
                    session.give_container(&mut Rc::new(changes));
                }
                if let Some(of) = &members {
                    let frontier = frontier.frontier().to_owned();
                    of.follow(&mut held, &frontier, || state.members());
                }
            }
        },
    )
}

/// Returns touches as updates, each in the last round of its publication.
fn updates<'scope>(
    touches: Stream<'scope, Round, Touches>,
    pact: impl ParallelizationContract<Round, Touches>,
) -> VecCollection<'scope, Round, (Request, u64), Bits> {
    let updates =
        touches.unary::<CapacityContainerBuilder<Vec<_>>, _, _, _>(pact, "Updates", |_, _| {
            move |input, output| {
                input.for_each(|capability, touches| {
                    let Some(capability) = capability.retain_least(0) else { return };
                    let last = Round::last(capability.time().publication());
                    let mut session = output.session(&capability);
                    for group in request_groups(touches.words()) {
                        for video in group.videos {
                            let bits = Bits(group.touch.0);
                            session.give(((group.request.0, video.0), last, bits));
                        }
                    }
                });
            }
        });
    updates.as_collection()
}

/// All showings of this worker, with numbers for the videos.
#[derive(Default)]
struct State {
    requests: BTreeMap<RequestId, BTreeMap<VideoId, Touch>>,
    numbers: BTreeMap<VideoId, u32>,
}

impl State {
    /// Applies the differences of a round, and returns them as changes.
    fn change(
        &mut self,
        round: Round,
        rows: Vec<(RequestId, VideoId, Touch, isize)>,
        readers: &RequestReaders,
    ) -> Vec<Change> {
        let mut changed: BTreeMap<RequestId, BTreeMap<VideoId, Touch>> = BTreeMap::new();
        for (request, video, after, _) in rows.into_iter().filter(|row| row.3 > 0) {
            changed.entry(request).or_default().insert(video, after);
        }
        let mut changes = Vec::new();
        for (request, videos) in changed {
            let showings = self.requests.entry(request).or_default();
            let all = |showings: &BTreeMap<_, _>| showings.iter().map(|(v, t)| (*v, *t)).collect();
            let was = all(showings);
            for (video, after) in videos {
                let before = showings.insert(video, after).unwrap_or(Touch::NONE);
                let next = self.numbers.len() as u32 + 1;
                let number = *self.numbers.entry(video).or_insert(next);
                changes.push(Change { request, video, before, after, number });
            }
            readers.read(round, request, &Changed::new(was, all(showings)));
        }
        changes
    }

    fn members(&self) -> Members {
        Members::of(self.requests.iter().flat_map(|(request, videos)| {
            videos.iter().map(|(video, touch)| (*request, *video, *touch))
        }))
    }

    fn count(&self) -> u64 {
        self.requests.values().map(|videos| videos.len() as u64).sum()
    }
}
