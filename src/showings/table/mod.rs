//! The state of an epoch on a worker: every showing with its touch, by request.
//!
//! ```text
//!           tag (32 bits of a keyed hash)         number               number
//! request ───────────────▶ Directory ───────────▶ Requests: id, count, (video, touch), …
//! video ─────────────────▶ Videos ──────────────▶ a number of 29 bits
//! ```
//!
//! A touch of one showing reads one line of the directory, two lines of the request and two words
//! of the videos, whatever the number of showings. None of them is likely to be in a cache, so they
//! are asked for in stages, for a group of touches at a time: first the places in the tables, then
//! what they refer to, and then the touches are applied. What a stage reads is only a hint, which
//! the last stage checks.
//!
//! The numbers depend on the order of arrival. They never leave the worker.

mod blocks;
mod changed;
mod denied;
mod directory;
mod hardware;
mod key;
mod members;
mod requests;
mod stages;
mod strays;
#[cfg(test)]
mod tests;
mod videos;

pub use blocks::BlockPool;
pub use changed::Changed;
pub use hardware::prefetch;

use super::StateSize;
use super::changes::Change;
use super::touches::first_group;
use crate::event::{RequestId, Touch};
use denied::Denied;
use directory::Directory;
use key::Key;
use requests::{Requests, Showing};
use stages::{GROUP, Group, Rest, STAGES, Staged};
use strays::Strays;
use videos::Videos;

/// The showings of an epoch on a worker.
pub struct Table {
    key: Key,
    directory: Directory,
    requests: Requests,
    videos: Videos,
    strays: Strays,
    denied: Denied,
    /// What changed since [`Table::take_log`], if that is wanted.
    log: Option<Vec<Logged>>,
    /// The members that changed, with their touches after, if they are wanted.
    members_log: Option<Vec<Logged>>,
}

/// A change, as a number: the request, the number of the video, and a touch, in this order, so that
/// sorting brings the changes of a request together, and of a showing in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Logged(u64);

impl Logged {
    fn new(request: u32, video: u32, touch: Touch) -> Logged {
        let bits = touch.0 & Touch::OF_SHOWING.0;
        Logged(u64::from(request) << 32 | u64::from(video) << 3 | u64::from(bits))
    }

    /// The denial of a request, which sorts before its other changes: number 0 is no video.
    fn denial(request: u32) -> Logged {
        Logged::new(request, 0, Touch::NONE)
    }

    fn is_denial(self) -> bool {
        self.showing().video == 0
    }

    fn request(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn showing(self) -> Showing {
        Showing { video: self.0 as u32 >> 3, touch: Touch(self.0 as u8 & 7) }
    }
}

impl Table {
    /// Creates an empty table with room for what is expected. `logs` tells whether changes are
    /// logged.
    pub fn new(expected: Expected, pool: BlockPool, logs: bool) -> Table {
        let key = Key::random();
        Table {
            key,
            directory: Directory::new(expected.requests),
            requests: Requests::new(pool),
            videos: Videos::new(key),
            strays: Strays::new(key, expected.strays),
            denied: Denied::default(),
            log: logs.then(Vec::new),
            members_log: None,
        }
    }

    /// Applies the touches of a buffer. Calls `flush` with changes from time to time, and leaves
    /// the last ones in `changes`.
    pub fn apply(
        &mut self,
        words: &[u64],
        changes: &mut Vec<Change>,
        mut flush: impl FnMut(&mut Vec<Change>),
    ) {
        let mut rest = Rest::new(words);
        let mut groups = [Group::default(); STAGES];
        // The request of the last touch that was applied.
        let mut request = 0;
        for step in 0.. {
            let [staged, hinted, settled] =
                [0, 1, STAGES - 1].map(|lag| (step + STAGES - lag) % STAGES);
            rest = self.stage(rest, &mut groups[staged]);
            self.hint(groups[hinted].touches());
            request = self.settle(groups[settled].touches(), request, changes);
            if groups.iter().all(|group| group.len == 0) {
                break;
            }
            flush(changes);
        }
    }

    /// Takes the touches of a group, and asks the processor to load what the tables say about them.
    /// Returns the rest.
    #[inline(never)]
    fn stage<'a>(&self, rest: Rest<'a>, group: &mut Group) -> Rest<'a> {
        // Apart from each other, they stay in registers. In memory, the words of a request would be
        // written one by one and then read at once, for which the processor waits.
        let Rest { mut words, mut request, mut tag, mut touch, mut videos } = rest;
        group.len = 0;
        for staged in &mut group.touches {
            let is_first = videos.is_empty();
            if is_first {
                let Some((next, after)) = first_group(words) else { break };
                (words, request, touch, videos) = (after, next.request, next.touch, next.videos);
                tag = requests::tag(self.key, request);
                self.directory.prefetch(tag);
                if !touch.is_shown() {
                    // It is most likely a stray.
                    self.strays.prefetch(request);
                }
            }
            let [video, after @ ..] = videos else { break };
            videos = after;
            self.videos.prefetch(*video);
            *staged = Staged { request, video: *video, touch, tag, is_first, ..Staged::default() };
            group.len += 1;
        }
        Rest { words, request, tag, touch, videos }
    }

    /// Notes what the tables say about touches, and asks the processor to load what that refers to.
    #[inline(never)]
    fn hint(&self, touches: &mut [Staged]) {
        for staged in touches {
            staged.video_hint = self.videos.hint(staged.video);
            if !staged.is_first {
                continue;
            }
            staged.request_hint = self.directory.hint(staged.tag);
            match staged.request_hint {
                0 if staged.touch.is_shown() => self.strays.prefetch(staged.request),
                0 => {}
                likely => self.requests.prefetch(likely),
            }
        }
    }

    /// Applies touches. Those before the first of a request are of the request with the number
    /// `last`. Returns the number of the last one.
    #[inline(never)]
    fn settle(&mut self, touches: &[Staged], mut last: u32, changes: &mut Vec<Change>) -> u32 {
        changes.reserve(GROUP);
        for staged in touches {
            let Staged { request, video, touch, .. } = *staged;
            let number = self.videos.number(video, staged.video_hint);
            let showing = Showing { video: number, touch };
            if staged.is_first {
                last = self.find_or_add(staged);
            }
            let before = match last {
                0 => match self.strays.touch(request, number, touch) {
                    Some(before) => before,
                    None => {
                        last = self.add(request, staged.tag);
                        self.requests.touch(last, showing)
                    }
                },
                known => self.requests.touch(known, showing),
            };
            let after = before.or(touch);
            if after != before {
                let (before, after) = match self.denied.is_empty() {
                    true => (before, after),
                    false => self.denied.marked(request, before, after),
                };
                changes.push(Change { request, video, before, after, number });
                if let Some(log) = &mut self.log {
                    log.push(Logged::new(last, number, before));
                }
                self.log_member(last, number, before, after);
            }
        }
        last
    }

    /// Returns the number of the request of a touch, which is new if need be, or 0 if the touch is
    /// a stray.
    #[inline(always)]
    fn find_or_add(&mut self, staged: &Staged) -> u32 {
        let Staged { request, tag, request_hint: likely, .. } = *staged;
        if likely != 0 && self.requests.id(likely) == request {
            return likely;
        }
        self.find_or_add_slowly(request, tag, staged.touch)
    }

    #[inline(never)]
    fn find_or_add_slowly(&mut self, request: RequestId, tag: u32, touch: Touch) -> u32 {
        let is_it = |number| self.requests.id(number) == request;
        match self.directory.find(tag, is_it) {
            Some(number) => number,
            // The showings of a logged request must be in one place.
            None if touch.is_shown() || self.log.is_some() => self.add(request, tag),
            None => 0,
        }
    }

    /// Adds a request, with its strays.
    fn add(&mut self, request: RequestId, tag: u32) -> u32 {
        let number = self.requests.add(request);
        self.directory.insert(tag, number);
        let requests = &mut self.requests;
        self.strays.visit(request, |showing| {
            requests.touch(number, showing);
        });
        number
    }

    /// How large it is.
    pub fn size(&self) -> StateSize {
        let Table { directory, requests, videos, strays, denied, .. } = self;
        let tables = directory.bytes() + requests.bytes() + videos.bytes() + strays.bytes();
        let bytes = tables + denied.bytes();
        let of_shown = requests.showings() as u64;
        StateSize { showings: of_shown + strays.len() as u64, of_shown, bytes: bytes as u64 }
    }

    /// What the table of another epoch may expect: as much as this one has, or more.
    pub fn expected(&self, expected: Expected) -> Expected {
        Expected {
            requests: self.directory.len().max(expected.requests),
            strays: self.strays.len().max(expected.strays),
        }
    }

    /// What the table of the next epoch may expect: as much, or a quarter less than this one did.
    pub fn expected_next(&self, expected: Expected) -> Expected {
        let next = |now: usize, before: usize| now.max(before - before / 4);
        Expected {
            requests: next(self.directory.len(), expected.requests),
            strays: next(self.strays.len(), expected.strays),
        }
    }
}

/// How much a table is made for. More is no fault: its parts grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The number of requests.
    pub requests: usize,
    /// The number of strays.
    pub strays: usize,
}
