//! The requests that have changed, with all their showings before and after.

use super::super::changes::Known;
use super::{Logged, Table};
use crate::event::{RequestId, Touch, VideoId};

/// The showings of a request, for those who read them.
#[derive(Default)]
pub struct Changed {
    before: Vec<(VideoId, Touch)>,
    after: Vec<(VideoId, Touch)>,
    /// The number of showings after, also where they are not listed.
    after_count: usize,
}

impl Changed {
    /// Takes the showings before and after, in any order.
    pub fn new(before: Vec<(VideoId, Touch)>, after: Vec<(VideoId, Touch)>) -> Changed {
        let mut changed = Changed { after_count: after.len(), before, after };
        changed.sort();
        changed
    }

    fn sort(&mut self) {
        self.before.sort_unstable_by_key(|(video, _)| *video);
        self.after.sort_unstable_by_key(|(video, _)| *video);
    }

    /// Returns the showings before and after, if there were at most `videos_max` before.
    pub fn within(&self, videos_max: usize) -> Option<(Known<'_>, Known<'_>)> {
        let after = match self.after_count <= videos_max {
            true => Known::Showings(&self.after),
            false => Known::Crowded,
        };
        (self.before.len() <= videos_max).then_some((Known::Showings(&self.before), after))
    }
}

impl Table {
    /// The number of changes that are logged.
    pub fn logged(&self) -> usize {
        self.log.as_ref().map_or(0, Vec::len)
    }

    /// Calls `visit` with each request that changed since the last call, unless it had more than
    /// `videos_max` showings before.
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

    /// Reads a request with its logged changes. Returns whether it had at most `videos_max`
    /// showings before.
    fn read(&self, log: &[Logged], videos_max: usize, changed: &mut Changed) -> bool {
        let request = log[0].request();
        let first_of_showing =
            |one: &Logged, next: &Logged| one.showing().video == next.showing().video;
        // The touches before: of a showing that changed repeatedly, the first.
        let changes = log.chunk_by(first_of_showing).map(|of_showing| of_showing[0].showing());
        let is_new = |showing: &super::Showing| showing.touch == Touch::NONE;
        changed.after_count = self.requests.count(request);
        let before_count = changed.after_count - changes.clone().filter(is_new).count();
        if before_count > videos_max {
            return false;
        }
        changed.before.clear();
        changed.after.clear();
        let changes: Vec<_> = changes.collect();
        self.requests.visit(request, |showing| {
            let video = self.videos.id(showing.video);
            let before = changes.binary_search_by_key(&showing.video, |change| change.video);
            let before = before.map_or(showing.touch, |position| changes[position].touch);
            if before != Touch::NONE {
                changed.before.push((video, before));
            }
            if changed.after_count <= videos_max {
                changed.after.push((video, showing.touch));
            }
        });
        changed.sort();
        true
    }
}
