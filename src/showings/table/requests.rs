//! The requests of an epoch on a worker, numbered from 1, and their showings.
//!
//! A request has a *head* of two cache lines: its id, the number of its showings, a link, and room
//! for 26 showings of four bytes. More go to *further lines* of 15 showings, chained from the link,
//! the newest first. Where there are so many that a search of the chain would take long, an index
//! says where each one is.

use super::blocks::{BlockPool, Line, Lines};
use super::hardware;
use super::key::Key;
use crate::event::{RequestId, Touch};
use bytemuck::{Pod, Zeroable};
use foldhash::quality::RandomState;
use std::collections::HashMap;

/// A video, by number, and its touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Showing {
    /// The number of the video, less than 2²⁹.
    pub video: u32,
    /// Its touch.
    pub touch: Touch,
}

/// A showing in four bytes: the video in the upper 29 bits, the touch in the lower three.
#[repr(transparent)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
pub struct Slot(u32);

const TOUCH_BITS: u32 = 3;
const TOUCH_MASK: u32 = (1 << TOUCH_BITS) - 1;

impl Slot {
    #[inline(always)]
    pub fn new(Showing { video, touch }: Showing) -> Slot {
        Slot(video << TOUCH_BITS | u32::from(touch.0))
    }

    /// Whether it has no showing.
    #[inline(always)]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[inline(always)]
    pub fn showing(self) -> Showing {
        Showing { video: self.0 >> TOUCH_BITS, touch: Touch((self.0 & TOUCH_MASK) as u8) }
    }

    /// Adds a touch. Returns the touch before.
    #[inline(always)]
    pub fn touch(&mut self, touch: Touch) -> Touch {
        let before = self.showing().touch;
        self.0 |= u32::from(touch.0);
        before
    }
}

/// The cache lines of a head.
pub const HEAD_LINES: usize = 2;
/// The words of a head before its showings: the id, the number of showings, and the link.
const HEADER: usize = 6;
const COUNT: usize = 4;
const LINK: usize = 5;
/// The showings in a head.
const IN_HEAD: usize = 16 * HEAD_LINES - HEADER;
/// The showings in a further line. Its last word is the index of the next, plus 1; 0 if none.
const IN_LINE: usize = 15;
/// A request with more showings than this has an index.
const CHAIN_MAX: usize = IN_HEAD + 6 * IN_LINE;

/// The head of a request.
type Head = [Line; HEAD_LINES];

/// The requests and their showings.
pub struct Requests {
    heads: Lines,
    further: Lines,
    /// Where a showing is, by request and video, for those of requests with an index.
    index: HashMap<(u32, u32), Place, RandomState>,
    showings: usize,
}

/// A further line and a slot in it.
type Place = (u32, u32);

impl Requests {
    /// Creates an empty table.
    pub fn new(pool: BlockPool) -> Requests {
        let mut heads = Lines::new(pool.clone());
        // Number 0 is none.
        heads.push::<HEAD_LINES>(Head::default());
        Requests { heads, further: Lines::new(pool), index: HashMap::default(), showings: 0 }
    }

    /// The number of showings.
    pub fn showings(&self) -> usize {
        self.showings
    }

    /// The bytes of the table.
    pub fn bytes(&self) -> usize {
        let index = self.index.capacity() * (size_of::<((u32, u32), Place)>() + 1);
        self.heads.bytes() + self.further.bytes() + index
    }

    #[inline(always)]
    fn head(&self, request: u32) -> &Head {
        self.heads.at(request as usize * HEAD_LINES)
    }

    /// Asks the processor to load a request.
    #[inline(always)]
    pub fn prefetch(&self, request: u32) {
        self.heads.prefetch::<HEAD_LINES>(request as usize * HEAD_LINES);
    }

    /// Returns the id of a request.
    #[inline(always)]
    pub fn id(&self, request: u32) -> RequestId {
        let words: &[u64; 8] = bytemuck::cast_ref(&self.head(request)[0]);
        RequestId([words[0], words[1]])
    }

    /// Returns the number of showings of a request.
    pub fn count(&self, request: u32) -> usize {
        self.head(request)[0].0[COUNT] as usize
    }

    /// Adds a request without showings, and returns its number.
    pub fn add(&mut self, RequestId(id): RequestId) -> u32 {
        let mut head = Head::default();
        let words: &mut [u64; 8] = bytemuck::cast_mut(&mut head[0]);
        words[..2].copy_from_slice(&id);
        let number = self.heads.push(head) / HEAD_LINES;
        u32::try_from(number).expect("an epoch has fewer than 2^32 requests on a worker")
    }

    /// Adds a touch to a showing of a request. Returns the touch before.
    #[inline(always)]
    pub fn touch(&mut self, request: u32, showing: Showing) -> Touch {
        let head: &mut Head = self.heads.at_mut(request as usize * HEAD_LINES);
        let value = showing.video << TOUCH_BITS;
        let mut found = 0;
        for (line, words) in head.iter().enumerate() {
            found |= hardware::equal(words, !TOUCH_MASK, value) << (16 * line);
        }
        found &= !((1 << HEADER) - 1);
        let words: &mut [u32; 16 * HEAD_LINES] = bytemuck::cast_mut(head);
        if found != 0 {
            let slot = &mut words[found.trailing_zeros() as usize % (16 * HEAD_LINES)];
            return bytemuck::cast_mut::<u32, Slot>(slot).touch(showing.touch);
        }
        let count = words[COUNT] as usize;
        if count < IN_HEAD {
            words[HEADER + count] = Slot::new(showing).0;
            words[COUNT] += 1;
            self.showings += 1;
            return Touch::NONE;
        }
        self.touch_further(request, showing)
    }

    /// As [`Requests::touch`], for a request whose head is full and does not have the showing.
    #[inline(never)]
    fn touch_further(&mut self, request: u32, showing: Showing) -> Touch {
        let (count, mut line) = self.count_and_link(request);
        if count > CHAIN_MAX {
            if let Some((line, slot)) = self.index.get(&(request, showing.video)) {
                return self.slot(*line, *slot).touch(showing.touch);
            }
            return self.add_further(request, showing);
        }
        while line != 0 {
            let [words] = self.further.at::<1>(line as usize - 1);
            let value = showing.video << TOUCH_BITS;
            let found = hardware::equal(words, !TOUCH_MASK, value) & ((1 << IN_LINE) - 1);
            if found != 0 {
                return self.slot(line, found.trailing_zeros()).touch(showing.touch);
            }
            line = words.0[IN_LINE];
        }
        self.add_further(request, showing)
    }

    fn count_and_link(&self, request: u32) -> (usize, u32) {
        let words = &self.head(request)[0].0;
        (words[COUNT] as usize, words[LINK])
    }

    fn slot(&mut self, line: u32, slot: u32) -> &mut Slot {
        let [words] = self.further.at_mut::<1>(line as usize - 1);
        bytemuck::cast_mut(&mut words.0[slot as usize])
    }

    /// Adds a showing to the newest further line, or to a new one if that is full.
    fn add_further(&mut self, request: u32, showing: Showing) -> Touch {
        let (count, mut line) = self.count_and_link(request);
        let slot = (count - IN_HEAD) % IN_LINE;
        if slot == 0 {
            let mut words = Line::default();
            words.0[IN_LINE] = line;
            let index = self.further.push([words]) + 1;
            line = u32::try_from(index).expect("fewer than 2^32 further lines");
        }
        *self.slot(line, slot as u32) = Slot::new(showing);
        let head: &mut Head = self.heads.at_mut(request as usize * HEAD_LINES);
        head[0].0[COUNT] += 1;
        head[0].0[LINK] = line;
        self.showings += 1;
        match count + 1 {
            indexed if indexed == CHAIN_MAX + 1 => self.index_all(request),
            indexed if indexed > CHAIN_MAX => {
                self.index.insert((request, showing.video), (line, slot as u32));
            }
            _ => {}
        }
        Touch::NONE
    }

    /// Adds all showings in further lines to the index.
    fn index_all(&mut self, request: u32) {
        let (_, mut line) = self.count_and_link(request);
        while line != 0 {
            let [words] = self.further.at::<1>(line as usize - 1);
            let slots: &[Slot] = bytemuck::cast_slice(&words.0[..IN_LINE]);
            for (slot, showing) in (0..).zip(slots).filter(|(_, slot)| !slot.is_empty()) {
                self.index.insert((request, showing.showing().video), (line, slot));
            }
            line = words.0[IN_LINE];
        }
    }

    /// Calls `visit` with the showings of a request, in no order.
    pub fn visit(&self, request: u32, mut visit: impl FnMut(Showing)) {
        let mut visit_all = |words: &[u32]| {
            let slots: &[Slot] = bytemuck::cast_slice(words);
            let used = slots.iter().filter(|slot| !slot.is_empty());
            used.for_each(|slot| visit(slot.showing()));
        };
        let head: &[u32; 16 * HEAD_LINES] = bytemuck::cast_ref(self.head(request));
        visit_all(&head[HEADER..]);
        let mut line = head[LINK];
        while line != 0 {
            let [words] = self.further.at::<1>(line as usize - 1);
            visit_all(&words.0[..IN_LINE]);
            line = words.0[IN_LINE];
        }
    }

    /// Returns the numbers of all requests.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        1..(self.heads.len() / HEAD_LINES) as u32
    }
}

/// The tag of a request in the directory.
#[inline(always)]
pub fn tag(key: Key, request: RequestId) -> u32 {
    (key.of_request(request) >> 32) as u32
}
