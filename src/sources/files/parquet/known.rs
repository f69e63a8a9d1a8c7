//! What the texts of a dictionary stand for: each is parsed once, and not once for each row.
//!
//! The library gives a text as a *view*: its length, its first bytes, and where it is, in which of
//! the buffers of the batch. A text of at most 12 bytes is in the view itself. All rows with the
//! same entry of a dictionary have the same view, so a table of views is enough. It need not know
//! which rows come from a dictionary, and which from the plain pages that follow when a dictionary
//! has become too large: a text that is not in the table is parsed.
//!
//! Layout of a view: <https://arrow.apache.org/docs/format/Columnar.html>, "Variable-size Binary
//! View Layout".

use arrow_array::StringViewArray;
use arrow_buffer::Buffer;

/// The longest text that is in its view, in bytes.
const INSIDE_BYTES_MAX: u32 = 12;
/// Where the number of the buffer is in a view, and where the offset in it.
const BUFFER_SHIFT: u32 = 64;
const OFFSET_SHIFT: u32 = 96;
/// The number of bytes of a length in a page, in front of its text.
const LENGTH_BYTES: u32 = 4;
/// The number of slots of a table: most writers end a dictionary at 1 MiB, which is 26,214 UUIDs.
const SLOTS_MIN: usize = 1 << 10;
const SLOTS_MAX: usize = 1 << 15;
/// The view of an empty slot, which no text has: a page is shorter than its length.
const NO_VIEW: u128 = u128::MAX;

/// The values of the texts of a column that were parsed last, by their views: at most
/// [`SLOTS_MAX`], of 32 bytes each.
pub(super) struct Known<T> {
    /// Whether texts may repeat.
    is_used: bool,
    slots: Vec<Slot<T>>,
    /// The buffers of the batch by numbers that no other buffer has had.
    numbers: Vec<u32>,
    last_number: u32,
    /// The buffer of the last text of the batch: that of a dictionary is used in the next batch
    /// too. It is held, so that no other buffer has its address meanwhile.
    kept: Option<(Buffer, u32)>,
    spread: Spread,
    /// The number of texts of the batch that are in their views and were not in the table.
    short_unknown: usize,
}

#[derive(Clone, Copy)]
struct Slot<T> {
    view: u128,
    value: T,
}

impl<T: Copy + Default> Slot<T> {
    fn empty() -> Slot<T> {
        Slot { view: NO_VIEW, value: T::default() }
    }
}

/// Where texts of one length are in a dictionary: at multiples of their length and its own. So
/// these multiples, modulo the number of slots, are the best places for them.
#[derive(Default)]
struct Spread {
    /// The number of bytes of a text.
    length: u32,
    /// 2^32 divided by those of a text with its length, rounded up.
    reciprocal: u64,
}

impl Spread {
    #[inline]
    fn place(&mut self, length: u32, offset: u32) -> usize {
        if length != self.length {
            let entry_bytes = u64::from(length) + u64::from(LENGTH_BYTES);
            *self = Spread { length, reciprocal: (1 << 32) / entry_bytes + 1 };
        }
        (u64::from(offset).wrapping_mul(self.reciprocal) >> 32) as usize
    }
}

impl<T: Copy + Default> Known<T> {
    /// Creates a table; if texts do not repeat, none is used.
    pub(super) fn new(is_used: bool) -> Known<T> {
        Known {
            is_used,
            slots: Vec::new(),
            numbers: Vec::new(),
            last_number: 0,
            kept: None,
            spread: Spread::default(),
            short_unknown: 0,
        }
    }

    /// Prepares for the texts of the next batch.
    pub(super) fn begin(&mut self, texts: &StringViewArray) {
        if !self.is_used {
            return;
        }
        let (views, buffers) = (texts.views(), texts.data_buffers());
        let bytes_max = buffers.iter().map(Buffer::len).max().unwrap_or(0);
        self.grow(bytes_max, views.first().map_or(0, |view| *view as u32));
        if self.last_number > u32::MAX - buffers.len() as u32 {
            self.slots.fill(Slot::empty());
            (self.last_number, self.kept) = (0, None);
        }
        let (kept, mut last_number) = (self.kept.take(), self.last_number);
        let number = |buffer: &Buffer| match &kept {
            Some((kept, number)) if kept.ptr_eq(buffer) => *number,
            _ => {
                last_number += 1;
                last_number
            }
        };
        self.numbers.clear();
        self.numbers.extend(buffers.iter().map(number));
        self.last_number = last_number;
        let is_outside = |view: &&u128| **view as u32 > INSIDE_BYTES_MAX;
        self.kept = views.iter().rev().find(is_outside).and_then(|view| {
            let place = (view >> BUFFER_SHIFT) as u32 as usize;
            Some((buffers.get(place)?.clone(), *self.numbers.get(place)?))
        });
    }

    /// Makes the table large enough for the texts of a page, if they are as long as the first, and
    /// larger while many short ones are new.
    fn grow(&mut self, page_bytes: usize, length: u32) {
        let texts = page_bytes / (length.saturating_add(LENGTH_BYTES)) as usize;
        let is_small = std::mem::take(&mut self.short_unknown) > self.slots.len() / 2;
        let more = if is_small { 4 * self.slots.len() } else { 0 };
        let slots = texts.max(more).clamp(SLOTS_MIN, SLOTS_MAX).next_power_of_two();
        if slots > self.slots.len() {
            self.slots = vec![Slot::empty(); slots];
        }
    }

    /// Writes the values of the texts from a row on. Returns `None` if one of them has no value.
    #[inline]
    pub(super) fn fill(
        &mut self,
        texts: &StringViewArray,
        first_row: usize,
        values: &mut [T],
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<()> {
        let views = texts.views().get(first_row..first_row + values.len())?;
        for ((row, value), &view) in (first_row..).zip(values).zip(views) {
            if !self.is_used {
                *value = parse(texts.value(row))?;
                continue;
            }
            let (view, place) = self.identify(view)?;
            let places = self.slots.len() - 1;
            let slot = self.slots.get_mut(place & places)?;
            if slot.view != view {
                self.short_unknown += usize::from(view as u32 <= INSIDE_BYTES_MAX);
                *slot = Slot { view, value: parse(texts.value(row))? };
            }
            *value = slot.value;
        }
        Some(())
    }

    /// Returns what identifies a text beyond its batch, and its place in the table.
    #[inline]
    fn identify(&mut self, view: u128) -> Option<(u128, usize)> {
        let length = view as u32;
        if length <= INSIDE_BYTES_MAX {
            let mixed = (view as u64 ^ (view >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            return Some((view, (mixed >> 49) as usize));
        }
        let number = *self.numbers.get((view >> BUFFER_SHIFT) as u32 as usize)?;
        let other = view & !(u128::from(u32::MAX) << BUFFER_SHIFT);
        let place = self.spread.place(length, (view >> OFFSET_SHIFT) as u32);
        Some((other | u128::from(number) << BUFFER_SHIFT, place))
    }
}

#[cfg(test)]
mod tests;
