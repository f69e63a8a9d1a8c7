//! The lengths in the delta encodings of texts, which are read before the library reads them: it
//! takes memory for as many as they claim to be, and repeats the beginning of a text as often as
//! they say.
//!
//! Encodings: <https://github.com/apache/parquet-format/blob/master/Encodings.md>.

use super::thrift::{Cursor, unzigzag};
use std::collections::VecDeque;

/// What the lengths of a page amount to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lengths {
    /// The largest sum of the lengths of so many consecutive values as were asked for.
    pub sum_max: u64,
    /// The number of bytes of the encoded lengths.
    pub bytes: usize,
}

/// Reads lengths in the encoding DELTA_BINARY_PACKED, `values_max` at most, and adds up `window`
/// consecutive ones. `None` if they are damaged.
pub(super) fn read(bytes: &[u8], values_max: u64, window: usize) -> Option<Lengths> {
    let mut cursor = Cursor::new(bytes);
    let block = cursor.varint()?;
    let miniblocks = cursor.varint()?;
    let mut values = cursor.varint()?;
    let mut value = i32::try_from(unzigzag(cursor.varint()?)).ok()?;
    let in_miniblock = block.checked_div(miniblocks)?;
    let is_valid = block > 0
        && block.is_multiple_of(128)
        && in_miniblock.is_multiple_of(32)
        && in_miniblock.checked_mul(miniblocks) == Some(block)
        && values <= values_max;
    if !is_valid {
        return None;
    }
    let mut sums = Sums::new(window);
    if values > 0 {
        sums.add(value)?;
        values -= 1;
    }
    while values > 0 {
        let delta_min = i32::try_from(unzigzag(cursor.varint()?)).ok()?;
        let widths = cursor.take(miniblocks)?;
        for &width in widths {
            // Those of miniblocks without values mean nothing.
            if values == 0 {
                break;
            }
            let width = usize::from(width);
            if width > 32 {
                return None;
            }
            let packed = cursor.take_up_to((width as u64).checked_mul(in_miniblock)?.div_ceil(8));
            for number in 0..in_miniblock.min(values) as usize {
                let delta = unpack(packed, number * width, width)?;
                value = value.wrapping_add(delta_min).wrapping_add(delta.cast_signed());
                sums.add(value)?;
            }
            values -= in_miniblock.min(values);
        }
    }
    Some(Lengths { sum_max: sums.max, bytes: cursor.at })
}

/// Returns the number of `width` bits, 32 at most, at a bit; the lowest bits come first.
fn unpack(packed: &[u8], at_bit: usize, width: usize) -> Option<u32> {
    let (first, shift) = (at_bit / 8, at_bit % 8);
    let end = (at_bit + width).div_ceil(8);
    let mut word = [0; 8];
    word[..end - first].copy_from_slice(packed.get(first..end)?);
    let mask = (1_u64 << width) - 1;
    Some((u64::from_le_bytes(word) >> shift & mask) as u32)
}

/// The sum of the last values, and the largest so far.
struct Sums {
    window: usize,
    last: VecDeque<u32>,
    sum: u64,
    max: u64,
}

impl Sums {
    fn new(window: usize) -> Sums {
        Sums { window, last: VecDeque::new(), sum: 0, max: 0 }
    }

    /// Adds a length, which cannot be negative.
    fn add(&mut self, length: i32) -> Option<()> {
        let length = u32::try_from(length).ok()?;
        if self.last.len() == self.window {
            self.sum -= u64::from(self.last.pop_front().unwrap_or(0));
        }
        self.last.push_back(length);
        self.sum += u64::from(length);
        self.max = self.max.max(self.sum);
        Some(())
    }
}
