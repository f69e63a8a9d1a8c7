//! The denied requests of an epoch on a worker. Most epochs have none, and then a denial costs the
//! other touches nothing but a look at a number.
//!
//! The slots of showings have no room for the bits of a denial, nor need they: those are of the
//! request. They are added to the touches where a change leaves the table.

use super::requests::{self, Showing};
use super::{Logged, Table};
use crate::event::{RequestId, Touch, VideoId};
use crate::showings::changes::Change;
use crate::showings::touches::request_groups;
use foldhash::quality::RandomState;
use std::collections::HashMap;

/// The denied requests, with the bits of their denials.
#[derive(Default)]
pub struct Denied {
    requests: HashMap<RequestId, Touch, RandomState>,
}

impl Denied {
    /// Whether nothing is denied.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Whether a request is denied.
    pub fn contains(&self, request: RequestId) -> bool {
        self.requests.contains_key(&request)
    }

    /// Adds a denial. Returns the bits before.
    fn touch(&mut self, request: RequestId, touch: Touch) -> Touch {
        let bits = self.requests.entry(request).or_default();
        std::mem::replace(bits, bits.or(touch))
    }

    /// Returns the touches of a showing before and after a change, as those of a denied request if
    /// it is one. A showing that is new had no touch at all.
    #[inline(never)]
    pub fn marked(&self, request: RequestId, before: Touch, after: Touch) -> (Touch, Touch) {
        match (self.contains(request), before) {
            (false, _) => (before, after),
            (true, Touch::NONE) => (before, after.or(Touch::DENIED)),
            (true, _) => (before.or(Touch::DENIED), after.or(Touch::DENIED)),
        }
    }

    /// The bytes of the list.
    pub fn bytes(&self) -> usize {
        self.requests.capacity() * (size_of::<(RequestId, Touch)>() + 1)
    }
}

impl Table {
    /// Applies the denials of a buffer.
    pub fn deny(&mut self, words: &[u64], changes: &mut Vec<Change>) {
        for group in request_groups(words) {
            let (request, touch) = (group.request, group.touch);
            let before = self.denied.touch(request, touch);
            let after = before.or(touch);
            if after != before {
                changes.push(Change { request, video: VideoId(0), before, after, number: 0 });
            }
            if before == Touch::NONE {
                self.deny_showings(request, changes);
            }
        }
    }

    /// Marks the showings of a request that was not denied before.
    fn deny_showings(&mut self, request: RequestId, changes: &mut Vec<Change>) {
        let is_it = |number| self.requests.id(number) == request;
        let known = self.directory.find(requests::tag(self.key, request), is_it).unwrap_or(0);
        let mut showings = Vec::new();
        match known {
            0 => self.strays.visit(request, |showing| showings.push(showing)),
            known => self.requests.visit(known, |showing| showings.push(showing)),
        }
        if known != 0
            && let Some(log) = &mut self.log
        {
            log.push(Logged::denial(known));
        }
        for Showing { video: number, touch: before } in showings {
            let (video, after) = (self.videos.id(number), before.or(Touch::DENIED));
            changes.push(Change { request, video, before, after, number });
            self.log_member(known, number, before, after);
        }
    }
}
