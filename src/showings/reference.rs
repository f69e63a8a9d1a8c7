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
    let of_request = updates(touches, pact);
    let showings = of_request.reduce_named("Showings", |_request, videos, showings| {
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
                        rows.push((RequestId(request), video, Touch(touch), diff));
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

/// Returns touches as updates, each in the last round of its publication. A denial is a touch of
/// no video.
fn updates<'scope>(
    touches: Stream<'scope, Round, Touches>,
    pact: impl ParallelizationContract<Round, Touches>,
) -> VecCollection<'scope, Round, (Request, Option<VideoId>), Bits> {
    let updates =
        touches.unary::<CapacityContainerBuilder<Vec<_>>, _, _, _>(pact, "Updates", |_, _| {
            move |input, output| {
                input.for_each(|capability, touches| {
                    let Some(capability) = capability.retain_least(0) else { return };
                    let last = Round::last(capability.time().publication());
                    let mut session = output.session(&capability);
                    for group in request_groups(touches.words()) {
                        let (request, bits) = (group.request.0, Bits(group.touch.0));
                        for video in group.videos {
                            session.give(((request, Some(*video)), last, bits));
                        }
                        if group.touch.is_denied() {
                            session.give(((request, None), last, bits));
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
    requests: BTreeMap<RequestId, OfRequest>,
    numbers: BTreeMap<VideoId, u32>,
}

/// What is known of a request: its denials, and its showings without them.
#[derive(Clone, Default)]
struct OfRequest {
    denied: Touch,
    videos: BTreeMap<VideoId, Touch>,
}

impl OfRequest {
    /// The showings that are told of: with the bit of a denial.
    fn showings(&self) -> BTreeMap<VideoId, Touch> {
        let denied = Touch(self.denied.0 & Touch::DENIED.0);
        self.videos.iter().map(|(video, touch)| (*video, touch.or(denied))).collect()
    }
}

impl State {
    /// Applies the differences of a round, and returns them as changes.
    fn change(
        &mut self,
        round: Round,
        rows: Vec<(RequestId, Option<VideoId>, Touch, isize)>,
        readers: &RequestReaders,
    ) -> Vec<Change> {
        let mut changed: BTreeMap<RequestId, OfRequest> = BTreeMap::new();
        for (request, video, after, _) in rows.into_iter().filter(|row| row.3 > 0) {
            let of_request = changed.entry(request).or_default();
            match video {
                Some(video) => drop(of_request.videos.insert(video, after)),
                None => of_request.denied = after,
            }
        }
        let mut changes = Vec::new();
        for (request, changed) in changed {
            let of_request = self.requests.entry(request).or_default();
            let was = of_request.clone();
            of_request.denied = of_request.denied.or(changed.denied);
            of_request.videos.extend(changed.videos);
            let is = of_request.clone();
            if is.denied != was.denied {
                let (before, after) = (was.denied, is.denied);
                changes.push(Change { request, video: VideoId(0), before, after, number: 0 });
            }
            let before = was.showings();
            for (video, after) in is.showings() {
                let before = before.get(&video).copied().unwrap_or_default();
                if before != after {
                    let number = self.number(video);
                    changes.push(Change { request, video, before, after, number });
                }
            }
            let list = |showings: BTreeMap<_, _>| showings.into_iter().collect();
            match (was.denied.is_denied(), is.denied.is_denied()) {
                (false, false) => {
                    readers.read(round, request, &Changed::new(list(before), list(is.showings())));
                }
                (false, true) => readers.read(round, request, &Changed::denial(list(before))),
                (true, _) => {}
            }
        }
        changes
    }

    fn number(&mut self, video: VideoId) -> u32 {
        let next = self.numbers.len() as u32 + 1;
        *self.numbers.entry(video).or_insert(next)
    }

    fn members(&self) -> Members {
        let counted = self.requests.iter().filter(|(_, one)| !one.denied.is_denied());
        Members::of(counted.flat_map(|(request, one)| {
            one.videos.iter().map(|(video, touch)| (*request, *video, *touch))
        }))
    }

    fn count(&self) -> u64 {
        self.requests.values().map(|one| one.videos.len() as u64).sum()
    }
}
