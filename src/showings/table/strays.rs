//! Plays of requests that are not known yet: of an epoch in which nothing was shown to them, or of
//! which the impressions come later. Most never meet an impression in this epoch, so they are kept
//! in 20 bytes each, and not in the two cache lines of a request.

use super::hardware::prefetch;
use super::key::Key;
use super::requests::{Showing, Slot};
use crate::event::{RequestId, Touch};
use bytemuck::{Pod, Zeroable};

/// A showing with its request. Packed into words of four bytes; the showing is 0 where empty.
#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
struct Stray {
    request: [u32; 4],
    showing: Slot,
}

impl Stray {
    fn request(&self) -> RequestId {
        RequestId(bytemuck::cast(self.request))
    }
}

/// A request with more strays than this gets a place of its own: strays of one request are found
/// one after another.
pub const OF_REQUEST_MAX: usize = 32;

/// Showings of unknown requests, in a hash table by request.
pub struct Strays {
    key: Key,
    slots: Vec<Stray>,
    used: usize,
}

impl Strays {
    /// Creates an empty table with room for about `expected` strays.
    pub fn new(key: Key, expected: usize) -> Strays {
        Strays { key, slots: vec![Stray::default(); expected * 3 / 2 + 64], used: 0 }
    }

    #[inline(always)]
    fn position(&self, request: RequestId) -> usize {
        let hash = self.key.of_request(request);
        // The directory takes the upper half.
        (((hash & u64::from(u32::MAX)) * self.slots.len() as u64) >> 32) as usize
    }

    /// Asks the processor to load the place of a request.
    #[inline(always)]
    pub fn prefetch(&self, request: RequestId) {
        prefetch(&self.slots, self.position(request));
    }

    /// Adds a touch to a showing. Returns the touch before, or `None` if it was not added since its
    /// request has too many.
    pub fn touch(&mut self, request: RequestId, video: u32, touch: Touch) -> Option<Touch> {
        let mut of_request = 0;
        let mut position = self.position(request);
        while !self.slots[position].showing.is_empty() {
            let stray = &mut self.slots[position];
            if stray.request() == request {
                of_request += 1;
                if stray.showing.showing().video == video {
                    return Some(stray.showing.touch(touch));
                }
            }
            position = self.after(position);
        }
        if of_request == OF_REQUEST_MAX {
            return None;
        }
        if self.used * 4 >= self.slots.len() * 3 {
            self.grow();
        }
        let RequestId(words) = request;
        let showing = Slot::new(Showing { video, touch });
        self.put(Stray { request: bytemuck::cast(words), showing });
        self.used += 1;
        Some(Touch::NONE)
    }

    /// Calls `visit` with the showings of a request.
    pub fn visit(&self, request: RequestId, mut visit: impl FnMut(Showing)) {
        let mut position = self.position(request);
        while !self.slots[position].showing.is_empty() {
            let stray = &self.slots[position];
            if stray.request() == request {
                visit(stray.showing.showing());
            }
            position = self.after(position);
        }
    }

    /// Calls `visit` with all requests and their showings.
    pub fn visit_all(&self, mut visit: impl FnMut(RequestId, Showing)) {
        for stray in self.slots.iter().filter(|stray| !stray.showing.is_empty()) {
            visit(stray.request(), stray.showing.showing());
        }
    }

    fn put(&mut self, stray: Stray) {
        let mut position = self.position(stray.request());
        while !self.slots[position].showing.is_empty() {
            position = self.after(position);
        }
        self.slots[position] = stray;
    }

    fn after(&self, position: usize) -> usize {
        if position + 1 == self.slots.len() { 0 } else { position + 1 }
    }

    #[cold]
    fn grow(&mut self) {
        let larger = vec![Stray::default(); self.slots.len() * 2];
        for stray in std::mem::replace(&mut self.slots, larger) {
            if !stray.showing.is_empty() {
                self.put(stray);
            }
        }
    }

    /// The number of strays, with those whose request has become known.
    pub fn len(&self) -> usize {
        self.used
    }

    /// The bytes of the table.
    pub fn bytes(&self) -> usize {
        self.slots.len() * size_of::<Stray>()
    }
}
