//! Changes of the showings of an epoch in each publication, and collections derived from them.

use super::sums::{self, HashedSums, PendingSums, VideoSums, sum_by_publication};
use crate::event::{RequestId, Touch, VideoId};
use crate::time::Round;
use differential_dataflow::difference::Semigroup;
use differential_dataflow::{AsCollection, VecCollection};
use std::hash::Hash;
use std::rc::Rc;
use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

/// How many changes ahead sums are asked for.
const AHEAD: usize = 8;

/// A showing that changed in a publication.
///
/// The denial of a request comes as a change of each of its showings, whose touches have the bit
/// [`Touch::DENIED`] from then on, and as one change of no showing: video 0, with no bits but those
/// of the denial, so that it is in no set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The request of the showing.
    pub request: RequestId,
    /// The video of the showing.
    pub video: VideoId,
    /// Its touch before the change.
    pub before: Touch,
    /// Its touch after the change, which has more bits.
    pub after: Touch,
    /// The number of the video in this epoch and on this worker. It depends on the order of
    /// arrival, so it is an index of tables and nothing else.
    pub(super) number: u32,
}

impl Change {
    /// Returns by how much the change raises the number of showings that satisfy `counts`.
    #[inline(always)]
    pub fn gain(&self, counts: impl Fn(Touch) -> bool) -> isize {
        isize::from(counts(self.after)) - isize::from(counts(self.before))
    }
}

/// Changes of showings, each in the last round of its publication: rows are not visible within a
/// publication, so which of its touches came first does not matter.
#[derive(Clone)]
pub struct Changes<'scope> {
    /// The changes are shared, since every query reads all of them.
    stream: Stream<'scope, Round, Rc<Vec<Change>>>,
    waiting: PendingSums,
}

impl<'scope> Changes<'scope> {
    /// Wraps the output of the operator that keeps the showings.
    pub(super) fn new(
        stream: Stream<'scope, Round, Rc<Vec<Change>>>,
        waiting: PendingSums,
    ) -> Changes<'scope> {
        Changes { stream, waiting }
    }

    pub(super) fn stream(&self) -> &Stream<'scope, Round, Rc<Vec<Change>>> {
        &self.stream
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

    /// Passes the changes to `logic`, each message with the round of its changes. Returns a
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
        sum_by_publication(self, &self.waiting, move |changes, sums: &mut HashedSums<D, R>| {
            sums::extend(sums, changes.iter().map(&mut logic));
        })
    }

    /// As [`Changes::accumulate`], by the video of the change, which costs no hash lookup.
    pub fn accumulate_by_video<R>(
        &self,
        mut logic: impl FnMut(&Change) -> R + 'static,
    ) -> VecCollection<'scope, Round, VideoId, R>
    where
        R: Semigroup + 'static,
    {
        sum_by_publication(self, &self.waiting, move |changes, sums: &mut VideoSums<R>| {
            for (at, change) in changes.iter().enumerate() {
                if let Some(later) = changes.get(at + AHEAD) {
                    sums.prefetch(later.number);
                }
                sums.add(change.number, change.video, logic(change));
            }
        })
    }
}

/// The showings of one request, before or after some touches.
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
