//! The requests that have changed, with all their showings before and after.

use super::super::changes::Known;
use super::{Logged, Table};
use crate::event::{RequestId, Touch, VideoId};

/// The showings of a request, for those who read them. A denied request has none.
#[derive(Default)]
pub struct Changed {
    before: Vec<(VideoId, Touch)>,
    after: Vec<(VideoId, Touch)>,
    /// The numbers of showings before and after, also where they are not listed.
    before_count: usize,
    after_count: usize,
    /// Whether the change is a denial of the request.
    is_denial: bool,
}

impl Changed {
    /// Takes the showings before and after, in any order, of a request that is not denied.
    pub fn new(before: Vec<(VideoId, Touch)>, after: Vec<(VideoId, Touch)>) -> Changed {
        let (before_count, after_count) = (before.len(), after.len());
        let mut changed = Changed { before, after, before_count, after_count, is_denial: false };
        changed.sort();
        changed
    }

    /// Takes the showings before the denial of a request, in any order.
    pub fn denial(before: Vec<(VideoId, Touch)>) -> Changed {
        Changed { is_denial: true, ..Changed::new(before, Vec::new()) }
    }

    fn sort(&mut self) {
        self.before.sort_unstable_by_key(|(video, _)| *video);
        self.after.sort_unstable_by_key(|(video, _)| *video);
    }

    /// Returns the showings before and after, unless there were more than `videos_max` before: then
    /// only a denial is told.
    pub fn within(&self, videos_max: usize) -> Option<(Known<'_>, Known<'_>)> {
        let known = |count, showings| match count <= videos_max {
            true => Known::Showings(showings),
            false => Known::Crowded,
        };
        let before = known(self.before_count, &self.before[..]);
        let after = known(self.after_count, &self.after[..]);
        (self.is_denial || before != Known::Crowded).then_some((before, after))
    }
}

impl Table {
    /// The number of changes that are logged.
    pub fn logged(&self) -> usize {
        self.log.as_ref().map_or(0, Vec::len)
    }

    /// Calls `visit` with each request that changed since the last call, unless it was denied
    /// before, or had more than `videos_max` showings and is not denied now.
    pub fn visit_changed(&mut self, videos_max: usize, mut visit: impl FnMut(RequestId, &Changed)) {
        let Some(mut log) = self.log.take() else { return };
        log.sort_unstable();
        let mut changed = Changed::default();
        for of_request in log.chunk_by(|one, next| one.request() == next.request()) {
            if self.read(of_request, videos_max, &mut changed) {
                visit(self.requests.id(of_request[0].request()), &changed);
            }
        }
        log.clear();
        self.log = Some(log);
    }

    /// Reads a request with its logged changes. Returns whether they are to be told.
    fn read(&self, log: &[Logged], videos_max: usize, changed: &mut Changed) -> bool {
        let request = log[0].request();
        changed.is_denial = log[0].is_denial();
        let log = if changed.is_denial { &log[1..] } else { log };
        if !changed.is_denial && self.denied.contains(self.requests.id(request)) {
            return false;
        }
        let first_of_showing =
            |one: &Logged, next: &Logged| one.showing().video == next.showing().video;
        // The touches before: of a showing that changed repeatedly, the first.
        let changes = log.chunk_by(first_of_showing).map(|of_showing| of_showing[0].showing());
        let is_new = |showing: &super::Showing| showing.touch == Touch::NONE;
        let count = self.requests.count(request);
        changed.before_count = count - changes.clone().filter(is_new).count();
        changed.after_count = if changed.is_denial { 0 } else { count };
        changed.before.clear();
        changed.after.clear();
        if changed.before_count > videos_max {
            return changed.is_denial;
        }
        let changes: Vec<_> = changes.collect();
        self.requests.visit(request, |showing| {
            let video = self.videos.id(showing.video);
            let before = changes.binary_search_by_key(&showing.video, |change| change.video);
            let before = before.map_or(showing.touch, |position| changes[position].touch);
            if before != Touch::NONE {
                changed.before.push((video, before));
            }
            if !changed.is_denial && changed.after_count <= videos_max {
                changed.after.push((video, showing.touch));
            }
        });
        changed.sort();
        true
    }
}
