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
mod directory;
mod hardware;
mod key;
mod members;
mod requests;
mod strays;
#[cfg(test)]
mod tests;
mod videos;

pub use blocks::BlockPool;
pub use changed::Changed;

use super::changes::Change;
use super::touches::{RequestGroup, request_groups};
use crate::event::{RequestId, Touch, VideoId};
use directory::Directory;
use key::Key;
use requests::{Requests, Showing, tag};
use strays::Strays;
use videos::Videos;

/// The showings of an epoch on a worker.
pub struct Table {
    key: Key,
    directory: Directory,
    requests: Requests,
    videos: Videos,
    strays: Strays,
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
        Logged(u64::from(request) << 32 | u64::from(video) << 3 | u64::from(touch.0))
    }

    fn request(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn showing(self) -> Showing {
        Showing { video: self.0 as u32 >> 3, touch: Touch(self.0 as u8 & 7) }
    }
}

/// The touches of a group.
const GROUP: usize = 16;

/// A touch on its way through the stages.
#[derive(Clone, Copy, Default)]
struct Staged {
    request: RequestId,
    video: VideoId,
    touch: Touch,
    tag: u32,
    /// What is likely the number of the request; 0 if it is likely unknown.
    request_hint: u32,
    /// What is likely the number of the video.
    video_hint: u32,
}

/// A group of touches.
#[derive(Clone, Copy, Default)]
struct Group {
    touches: [Staged; GROUP],
    len: usize,
}

impl Group {
    fn touches(&mut self) -> &mut [Staged] {
        &mut self.touches[..self.len]
    }
}

/// A request and its number, which is 0 for none.
#[derive(Clone, Copy, Default)]
struct Found {
    request: RequestId,
    number: u32,
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
        let key = self.key;
        let mut touches = request_groups(words).flat_map(|(_, group)| {
            let RequestGroup { request, touch, videos } = group;
            let tag = tag(key, request);
            videos.iter().map(move |video| Staged {
                request,
                video: *video,
                touch,
                tag,
                ..Staged::default()
            })
        });
        let mut groups = [Group::default(); 3];
        let mut last = Found::default();
        for step in 0.. {
            let [next, hinted, settled] = [0, 2, 1].map(|lag| (step + lag) % 3);
            groups[next].len = 0;
            for touch in touches.by_ref().take(GROUP) {
                self.directory.prefetch(touch.tag);
                self.videos.prefetch(touch.video);
                groups[next].touches[groups[next].len] = touch;
                groups[next].len += 1;
            }
            groups[hinted].touches().iter_mut().for_each(|touch| self.hint(touch));
            for touch in groups[settled].touches() {
                self.settle(touch, &mut last, changes);
            }
            if groups.iter().all(|group| group.len == 0) {
                break;
            }
            flush(changes);
        }
    }

    /// Asks the processor to load what the tables say about a touch.
    #[inline(always)]
    fn hint(&self, staged: &mut Staged) {
        staged.request_hint = self.directory.hint(staged.tag);
        match staged.request_hint {
            0 => self.strays.prefetch(staged.request),
            likely => self.requests.prefetch(likely),
        }
        staged.video_hint = self.videos.hint(staged.video);
    }

    /// Applies a touch.
    #[inline(always)]
    fn settle(&mut self, staged: &Staged, last: &mut Found, changes: &mut Vec<Change>) {
        let Staged { request, video, touch, .. } = *staged;
        let number = self.videos.number(video, staged.video_hint);
        if last.request != request || last.number == 0 {
            *last = Found { request, number: self.find_or_add(staged) };
        }
        let before = match last.number {
            0 => match self.strays.touch(request, number, touch) {
                Some(before) => before,
                None => {
                    last.number = self.add(request, staged.tag);
                    self.requests.touch(last.number, Showing { video: number, touch })
                }
            },
            known => self.requests.touch(known, Showing { video: number, touch }),
        };
        let after = before.or(touch);
        if after != before {
            changes.push(Change { request, video, before, after, number });
            if let Some(log) = &mut self.log {
                log.push(Logged::new(last.number, number, before));
            }
            self.log_member(last.number, number, before, after);
        }
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

    /// The number of showings.
    pub fn showings(&self) -> usize {
        self.requests.showings() + self.strays.len()
    }

    /// What the table of the next epoch may expect: as much, or a quarter less than this one did.
    pub fn expected_next(&self, expected: Expected) -> Expected {
        let next = |now: usize, before: usize| now.max(before - before / 4);
        Expected {
            requests: next(self.directory.len(), expected.requests),
            strays: next(self.strays.len(), expected.strays),
        }
    }

    /// The bytes of all tables, and the number of showings in them.
    pub fn size(&self) -> Size {
        let tables = [
            self.directory.bytes(),
            self.requests.bytes(),
            self.videos.bytes(),
            self.strays.bytes(),
        ];
        Size { bytes: tables.into_iter().sum(), showings: self.requests.showings() }
    }

    /// Calls `visit` with every showing, those of a request together unless they are strays.
    pub fn visit_all(&self, mut visit: impl FnMut(RequestId, VideoId, Touch)) {
        for number in self.requests.numbers() {
            let request = self.requests.id(number);
            self.requests.visit(number, |Showing { video, touch }| {
                visit(request, self.videos.id(video), touch);
            });
        }
        self.strays.visit_all(|request, Showing { video, touch }| {
            let is_it = |number| self.requests.id(number) == request;
            // Those of known requests were recalled.
            if self.directory.find(tag(self.key, request), is_it).is_none() {
                visit(request, self.videos.id(video), touch);
            }
        });
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

/// How large a table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// The bytes of memory that its parts take.
    pub bytes: usize,
    /// The showings of known requests.
    pub showings: usize,
}
