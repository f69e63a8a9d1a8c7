//! The members of the sets of an epoch, for those who write them down: which request saw, and which
//! played, which video.
//!
//! The operator that keeps the showings leaves the members that a publication has changed in a
//! queue, and when the epoch has closed all of them. They are sorted and have ids, not numbers, so
//! that they can leave the worker.

use crate::event::{RequestId, Touch, VideoId};
use crate::time::{Epoch, Publication, Round};
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use timely::dataflow::operators::Capability;
use timely::progress::Antichain;

/// What a showing is to the sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Member {
    /// In `impressions` alone.
    Shown,
    /// In `impressions` and `plays`.
    Played,
    /// In neither, any more: its request was denied. Only among members that have changed.
    Removed,
}

impl Member {
    /// A showing in `impressions`, and perhaps in `plays`.
    pub fn shown(is_played: bool) -> Member {
        if is_played { Member::Played } else { Member::Shown }
    }

    /// What a showing with a touch is; `None` if it never was in a set.
    pub fn of(touch: Touch) -> Option<Member> {
        match touch.is_denied() {
            true => touch.has_impression().then_some(Member::Removed),
            false => touch.is_shown().then(|| Member::shown(touch.is_converted())),
        }
    }
}

/// Showings with an impression, each with what it is to the sets: sorted by the UUID of the
/// request, then by video.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// The UUIDs of the requests.
    requests: Vec<u128>,
    /// The number of showings of each request.
    counts: Vec<u32>,
    videos: Vec<VideoId>,
    members: Vec<Member>,
}

/// The members of one request: its UUID, and for each showing its video and what it is.
pub type OfRequest<'a> = (u128, &'a [VideoId], &'a [Member]);

impl Members {
    /// Returns the members among these showings, which may be in any order, with those that were
    /// removed.
    pub fn of(showings: impl IntoIterator<Item = (RequestId, VideoId, Touch)>) -> Members {
        let of_showing = |(request, video, touch): (RequestId, VideoId, Touch)| {
            Some((request.to_u128(), video, Member::of(touch)?))
        };
        let mut shown: Vec<_> = showings.into_iter().filter_map(of_showing).collect();
        shown.sort_unstable();
        let mut members = Members::default();
        for of_request in shown.chunk_by(|one, next| one.0 == next.0) {
            members.push(
                of_request[0].0,
                of_request.iter().map(|(_, video, member)| (*video, *member)),
            );
        }
        members
    }

    /// Creates an empty list with room for so many.
    pub fn with_capacity(requests: usize, showings: usize) -> Members {
        Members {
            requests: Vec::with_capacity(requests),
            counts: Vec::with_capacity(requests),
            videos: Vec::with_capacity(showings),
            members: Vec::with_capacity(showings),
        }
    }

    /// Adds the showings of a request, which must come after all others. They must be sorted by
    /// video. Nothing is added if there are none.
    pub fn push(&mut self, request: u128, showings: impl IntoIterator<Item = (VideoId, Member)>) {
        let before = self.videos.len();
        for (video, member) in showings {
            self.videos.push(video);
            self.members.push(member);
        }
        let count = self.videos.len() - before;
        if count > 0 {
            self.requests.push(request);
            self.counts.push(u32::try_from(count).expect("a request has fewer than 2^32 videos"));
        }
    }

    /// The number of showings.
    pub fn len(&self) -> usize {
        self.videos.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.videos.is_empty()
    }

    /// Returns the members request by request.
    pub fn requests(&self) -> impl Iterator<Item = OfRequest<'_>> {
        let mut from = 0;
        self.requests.iter().zip(&self.counts).map(move |(request, count)| {
            let these = from..from + *count as usize;
            from = these.end;
            (*request, &self.videos[these.clone()], &self.members[these])
        })
    }

    /// Splits them into parts of about so many showings, in order: a message must not be huge.
    pub fn split(self, showings_max: usize) -> Vec<Members> {
        if self.len() <= showings_max {
            return Vec::from([self]);
        }
        let mut parts = Vec::from([Members::default()]);
        for (request, videos, members) in self.requests() {
            if parts.last().is_some_and(|part| part.len() >= showings_max) {
                parts.push(Members::default());
            }
            if let Some(part) = parts.last_mut() {
                part.push(request, videos.iter().copied().zip(members.iter().copied()));
            }
        }
        parts
    }
}

/// Returns all members of several workers request by request, in order. Each list has those of one
/// worker, in parts; no request is on two workers.
pub fn merge(workers: &[Vec<Members>]) -> impl Iterator<Item = OfRequest<'_>> {
    let of_worker = |parts| <[Members]>::iter(parts).flat_map(Members::requests).peekable();
    let mut workers: Vec<_> = workers.iter().map(|parts| of_worker(parts.as_slice())).collect();
    std::iter::from_fn(move || {
        let next = workers.iter_mut().enumerate().filter_map(|(worker, requests)| {
            requests.peek().map(|(request, _, _)| (*request, worker))
        });
        let (_, worker) = next.min()?;
        workers[worker].next()
    })
}

/// Which members of an epoch are together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Coverage {
    /// Those of a worker that a publication has changed.
    Changed,
    /// All of a worker.
    Worker,
    /// All of a worker, and the epoch has closed.
    Final,
}

/// Members of an epoch, as they are after a publication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochMembers {
    /// The epoch.
    pub epoch: Epoch,
    /// Which of its members they are.
    pub coverage: Coverage,
    /// The members.
    pub members: Members,
}

/// The members of all epochs on a worker that nobody has taken, by publication.
#[derive(Clone, Default)]
pub struct MembersQueue(Rc<RefCell<BTreeMap<Publication, Vec<EpochMembers>>>>);

impl MembersQueue {
    /// Takes those of epochs that have closed in a publication, which may go on.
    pub fn take_final(&self, publication: Publication) -> Vec<EpochMembers> {
        let mut queue = self.0.borrow_mut();
        let Some(left) = queue.get_mut(&publication) else { return Vec::new() };
        left.extract_if(.., |one| one.coverage == Coverage::Final).collect()
    }

    /// Takes those of a publication, which must be complete.
    pub fn take(&self, publication: Publication) -> Vec<EpochMembers> {
        self.0.borrow_mut().remove(&publication).unwrap_or_default()
    }
}

/// What the operator that keeps the showings of an epoch is told about their members.
#[derive(Clone)]
pub struct MembersOfEpoch {
    epoch: Epoch,
    queue: MembersQueue,
    /// The publication after which all members are left.
    gather_in: Rc<Cell<Option<Publication>>>,
    /// The publication in which the epoch has closed.
    closed_in: Rc<Cell<Option<Publication>>>,
}

impl MembersOfEpoch {
    /// Creates what the operator of an epoch is told; members go to `queue`.
    pub fn new(epoch: Epoch, queue: MembersQueue) -> MembersOfEpoch {
        MembersOfEpoch { epoch, queue, gather_in: Rc::default(), closed_in: Rc::default() }
    }

    /// Asks for all members after a publication, in place of those that it has changed.
    pub fn gather(&self, publication: Publication) {
        self.gather_in.set(Some(publication));
    }

    /// Tells the publication in which the epoch closes. Must be told before the input is dropped.
    pub fn close(&self, publication: Publication) {
        self.closed_in.set(Some(publication));
    }

    /// The publication after which all members are wanted, if that is not over.
    pub(super) fn gather_in(&self) -> Option<Publication> {
        self.gather_in.get()
    }

    /// Returns which members to leave after a publication that is over. Those of a replay are in
    /// the store, and if the epoch has closed in it, all are left when the input has ended.
    pub(super) fn due_after(&self, publication: Publication) -> Option<Coverage> {
        let gathers = self.gather_in.get() == Some(publication);
        if gathers {
            self.gather_in.set(None);
        }
        if publication == Publication::REPLAY || self.closed_in.get() == Some(publication) {
            return None;
        }
        Some(if gathers { Coverage::Worker } else { Coverage::Changed })
    }

    /// Follows the frontier of the input with a capability, so that the dataflow is not complete
    /// before the members are left. Leaves all of them when the frontier is empty.
    pub(super) fn follow(
        &self,
        held: &mut Option<Capability<Round>>,
        frontier: &Antichain<Round>,
        all: impl FnOnce() -> Members,
    ) {
        let Some(capability) = held else { return };
        match frontier.first() {
            Some(round) => capability.downgrade(round),
            None => {
                if let Some(publication) = self.closed_in.get() {
                    self.leave(publication, Coverage::Final, all());
                }
                *held = None;
            }
        }
    }

    /// Leaves members, if there are any.
    pub(super) fn leave(&self, publication: Publication, coverage: Coverage, members: Members) {
        // Where all were denied, an empty list replaces what was there.
        if !members.is_empty() || coverage != Coverage::Changed {
            let members = EpochMembers { epoch: self.epoch, coverage, members };
            self.queue.0.borrow_mut().entry(publication).or_default().push(members);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    type Rows = Vec<(u128, VideoId, Member)>;

    fn rows<'a>(requests: impl Iterator<Item = OfRequest<'a>>) -> Rows {
        let of_request = |(request, videos, members): OfRequest<'a>| {
            videos.iter().zip(members).map(move |(video, member)| (request, *video, *member))
        };
        requests.flat_map(of_request).collect()
    }

    proptest! {
        #[test]
        fn members_are_the_shown_ones_sorted_however_they_are_divided(
            showings in vec((0..40u128, 0..5u64, 0..16u8), 0..200),
            workers in 1..4usize,
            showings_max in 1..50usize,
        ) {
            let showings: BTreeMap<_, _> = showings
                .into_iter()
                .map(|(request, video, touch)| ((request, VideoId(video)), Touch(touch)))
                .collect();
            let expected: Rows = showings
                .iter()
                .filter_map(|((request, video), touch)| {
                    Some((*request, *video, Member::of(*touch)?))
                })
                .collect();
            let of_worker = |worker: usize| {
                let its = showings.iter().filter(move |((request, _), _)| {
                    *request as usize % workers == worker
                });
                Members::of(its.rev().map(|((request, video), touch)| {
                    (RequestId::from_u128(*request), *video, *touch)
                }))
            };
            let all: Vec<_> = (0..workers).map(|one| of_worker(one).split(showings_max)).collect();
            prop_assert_eq!(rows(merge(&all)), expected);
            // A request is never divided.
            let largest = all.iter().flatten().map(Members::len).max().unwrap_or(0);
            prop_assert!(largest < showings_max + 5);
        }
    }
}
