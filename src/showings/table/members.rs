//! The members of the sets, from a table: those that have changed, or all of them.

use super::super::members::{Member, Members};
use super::requests::Showing;
use super::{Logged, Table};
use crate::event::{RequestId, Touch, VideoId};

/// How many requests ahead the heads are asked for.
const AHEAD: usize = 8;

impl Table {
    /// Begins or ends the logging of changes of members.
    pub fn log_members(&mut self, wanted: bool) {
        if wanted != self.members_log.is_some() {
            self.members_log = wanted.then(Vec::new);
        }
    }

    /// Notes that a showing has changed, if that matters to the sets.
    #[inline(always)]
    pub(super) fn log_member(&mut self, request: u32, video: u32, before: Touch, after: Touch) {
        if let Some(log) = &mut self.members_log
            && after.changes_sets(before)
        {
            log.push(Logged::new(request, video, after));
        }
    }

    /// Takes the members that have changed since the last call.
    pub fn take_changed_members(&mut self) -> Members {
        let Some(log) = &mut self.members_log else { return Members::default() };
        let mut log = std::mem::take(log);
        log.sort_unstable();
        let mut requests = Vec::new();
        let mut from = 0;
        for changes in log.chunk_by(|one, next| one.request() == next.request()) {
            let number = changes[0].request();
            requests.push((self.requests.id(number).to_u128(), from, changes.len()));
            from += changes.len();
        }
        requests.sort_unstable();
        let mut members = Members::default();
        let mut showings = Vec::new();
        for (request, from, count) in requests {
            let is_denied = self.denied.contains(RequestId::from_u128(request));
            // A showing that changed repeatedly has the bits of its last change.
            let changes = &log[from..from + count];
            let same = |one: &Logged, next: &Logged| one.showing().video == next.showing().video;
            let last = changes.chunk_by(same).map(|of_showing| of_showing[of_showing.len() - 1]);
            showings.clear();
            showings.extend(last.map(|change| self.member(change.showing(), is_denied)));
            showings.sort_unstable();
            members.push(request, showings.iter().copied());
        }
        members
    }

    /// Returns all members. What has changed before is no longer logged.
    pub fn all_members(&mut self) -> Members {
        if let Some(log) = &mut self.members_log {
            log.clear();
        }
        let ids = self.requests.numbers().map(|number| (self.requests.id(number), number));
        let counted = ids.filter(|(id, _)| !self.denied.contains(*id));
        let mut requests: Vec<_> = counted.map(|(id, number)| (id.to_u128(), number)).collect();
        requests.sort_unstable();
        let mut members = Members::with_capacity(requests.len(), self.requests.showings());
        // Most videos are in many requests, so they are sorted once.
        let (ranks, videos) = self.videos.ranked();
        let mut showings: Vec<u32> = Vec::new();
        for (at, (request, number)) in requests.iter().enumerate() {
            if let Some((_, later)) = requests.get(at + AHEAD) {
                self.requests.prefetch(*later);
            }
            showings.clear();
            self.requests.visit(*number, |showing| {
                if showing.touch.is_shown() {
                    let rank = ranks[showing.video as usize];
                    showings.push(rank << 1 | u32::from(showing.touch.is_converted()));
                }
            });
            showings.sort_unstable();
            let member = |one: &u32| (videos[(one >> 1) as usize], Member::shown(one & 1 != 0));
            members.push(*request, showings.iter().map(member));
        }
        members
    }

    fn member(&self, Showing { video, touch }: Showing, is_denied: bool) -> (VideoId, Member) {
        let member = match is_denied {
            true => Member::Removed,
            false => Member::shown(touch.is_converted()),
        };
        (self.videos.id(video), member)
    }
}
