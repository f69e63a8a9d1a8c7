//! Plays of requests that are not known yet: of an epoch in which nothing was shown to them, or of
//! which the impressions come later. Most never meet an impression in this epoch, so they are kept
//! in 20 bytes each, and not in the two cache lines of a request.

use super::blocks::Line;
use super::hardware::{equal, prefetch};
use super::key::Key;
use super::requests::{Showing, Slot};
use crate::event::{RequestId, Touch};

/// A request with more strays than this gets a place of its own: strays of one request are found
/// one after another.
pub const OF_REQUEST_MAX: usize = 32;

/// The strays in a line: words 0 to 2 are their showings, 0 where empty; four words from 3, 7 and
/// 11 on are their requests.
const IN_LINE: usize = 3;
/// A bit for each showing.
const SHOWINGS: u32 = 0b111;
/// A bit for the first word of each request.
const REQUESTS: u32 = 0b1000_1000_1000;

/// Of the three places in a line, this many are used at most, on average.
const LOAD_MAX: (usize, usize) = (12, 5);

/// Showings of unknown requests, in a hash table by request.
pub struct Strays {
    key: Key,
    lines: Box<[Line]>,
    used: usize,
}

/// The words of a request.
fn words(RequestId(id): RequestId) -> [u32; 4] {
    bytemuck::cast(id)
}

/// The request of a stray in a line.
fn request_at(line: &Line, at: usize) -> RequestId {
    let first = IN_LINE + 4 * at;
    let words: [u32; 4] = [0, 1, 2, 3].map(|word| line.0[first + word]);
    RequestId(bytemuck::cast(words))
}

/// The places of a line with strays of a request.
#[inline(always)]
fn places_of(line: &Line, request: RequestId) -> impl Iterator<Item = usize> {
    let mut likely = equal(line, !0, words(request)[0]) & REQUESTS;
    let likely = std::iter::from_fn(move || {
        let at = (likely != 0).then_some(likely.trailing_zeros() as usize / 4)?;
        likely &= likely - 1;
        Some(at)
    });
    // An empty place looks like one of the request whose words are 0.
    likely.filter(move |at| line.0[*at] != 0 && request_at(line, *at) == request)
}

/// The first empty place of a line.
#[inline(always)]
fn empty(line: &Line) -> Option<usize> {
    let empty = equal(line, !0, 0) & SHOWINGS;
    (empty != 0).then_some(empty.trailing_zeros() as usize)
}

impl Strays {
    /// Creates an empty table with room for about `expected` strays.
    pub fn new(key: Key, expected: usize) -> Strays {
        let lines = expected * LOAD_MAX.1 / LOAD_MAX.0 + 16;
        Strays { key, lines: bytemuck::zeroed_slice_box(lines), used: 0 }
    }

    #[inline(always)]
    fn position(&self, request: RequestId) -> usize {
        let hash = self.key.of_request(request);
        // The directory takes the upper half.
        (((hash & u64::from(u32::MAX)) * self.lines.len() as u64) >> 32) as usize
    }

    /// Asks the processor to load the place of a request.
    #[inline(always)]
    pub fn prefetch(&self, request: RequestId) {
        prefetch(&self.lines, self.position(request));
    }

    /// Adds a touch to a showing. Returns the touch before, or `None` if it was not added since its
    /// request has too many.
    pub fn touch(&mut self, request: RequestId, video: u32, touch: Touch) -> Option<Touch> {
        let mut of_request = 0;
        let mut position = self.position(request);
        loop {
            let line = &self.lines[position];
            let is_its = |at: &usize| Self::slot(line, *at).showing().video == video;
            let found = places_of(line, request).inspect(|_| of_request += 1).find(is_its);
            if let Some(at) = found {
                let slot: &mut Slot = bytemuck::cast_mut(&mut self.lines[position].0[at]);
                return Some(slot.touch(touch));
            }
            if of_request >= OF_REQUEST_MAX {
                return None;
            }
            if let Some(at) = empty(line) {
                let showing = Slot::new(Showing { video, touch });
                put(&mut self.lines[position], at, request, showing);
                break;
            }
            position = self.after(position);
        }
        self.used += 1;
        if self.used * LOAD_MAX.1 > self.lines.len() * LOAD_MAX.0 {
            self.grow();
        }
        Some(Touch::NONE)
    }

    /// Calls `visit` with the showings of a request.
    #[inline]
    pub fn visit(&self, request: RequestId, mut visit: impl FnMut(Showing)) {
        let mut position = self.position(request);
        loop {
            let line = &self.lines[position];
            for at in places_of(line, request) {
                visit(Self::slot(line, at).showing());
            }
            if empty(line).is_some() {
                break;
            }
            position = self.after(position);
        }
    }

    fn slot(line: &Line, at: usize) -> Slot {
        bytemuck::cast(line.0[at])
    }

    fn after(&self, position: usize) -> usize {
        if position + 1 == self.lines.len() { 0 } else { position + 1 }
    }

    /// Doubles the table, in one sweep: strays are placed in the order of hashes.
    #[cold]
    fn grow(&mut self) {
        let larger = bytemuck::zeroed_slice_box(self.lines.len() * 2);
        for line in std::mem::replace(&mut self.lines, larger) {
            for at in 0..empty(&line).unwrap_or(IN_LINE) {
                let request = request_at(&line, at);
                let mut position = self.position(request);
                let empty = loop {
                    match empty(&self.lines[position]) {
                        Some(empty) => break empty,
                        None => position = self.after(position),
                    }
                };
                put(&mut self.lines[position], empty, request, bytemuck::cast(line.0[at]));
            }
        }
    }

    /// The number of strays, with those whose request has become known.
    pub fn len(&self) -> usize {
        self.used
    }

    /// The bytes of the table.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.lines)
    }
}

fn put(line: &mut Line, at: usize, request: RequestId, showing: Slot) {
    let first = IN_LINE + 4 * at;
    line.0[first..first + 4].copy_from_slice(&words(request));
    line.0[at] = bytemuck::cast(showing);
}
