//! The shape of the records of one writer: the bytes between the values, which are mostly the same
//! in all of them. It is learned from a record that the scanner has read.
//!
//! A record has the shape if it differs from that record only in the digits of its numbers, in its
//! UUID, and in the time of day of a time in RFC 3339. So it is valid JSON as that record is, has
//! the same fields, and its bytes are all looked at: nothing is taken on trust. Records of other
//! shapes are left to the scanner. If they are many, a new shape is learned, or none for a while.

use super::scan::{Cursor, Field, Place, eight_digits, leading_digits};
use crate::decode::{is_time_ms, time_from_text};
use crate::event::{Event, RequestId, VideoId, uuid_bits};
use std::ops::Range;

/// The number of bytes that are compared at once.
const WORD_BYTES: usize = 16;
/// The number of characters of a UUID.
const UUID_BYTES: usize = 36;
/// The longest record whose shape is learned, in bytes.
const RECORD_BYTES_MAX: usize = 4096;
/// A shape is dropped if fewer than four of five records have it, counted in portions of so many.
const SAME: u32 = 1024;
const OTHERS: u32 = SAME / 4;
/// For how many records no shape is learned after one was dropped: [`SAME`], and twice as many each
/// time, unless the shape was good for a while.
const PAUSE_MAX: u32 = 1 << 20;

/// The shape of the last records, if most have the same.
#[derive(Default)]
pub(super) struct Shapes {
    shape: Option<Shape>,
    /// The number of records that had the shape, and of those that had not.
    same: u32,
    others: u32,
    /// Whether as many as [`SAME`] had it.
    is_proven: bool,
    /// The number of records until a shape is learned again, and what it was at first.
    wait: u32,
    pause: u32,
}

impl Shapes {
    /// Returns the event of the record that `bytes` begin with, and the length of the record and
    /// its ending, if it has the shape. `ending` returns the length of the ending that a text
    /// begins with, if it is there.
    #[inline(always)]
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        offset: u64,
        ending: impl FnOnce(&[u8]) -> Option<usize>,
    ) -> Option<(Event, usize)> {
        let (event, rest) = self.shape.as_mut()?.read(bytes, offset)?;
        let ending = ending(rest)?;
        self.same = self.same.saturating_add(1);
        Some((event, bytes.len() - rest.len() + ending))
    }

    /// Counts a record of another shape. Returns whether to learn its shape.
    #[inline]
    pub(super) fn is_wanted(&mut self) -> bool {
        if self.shape.is_none() {
            self.wait = self.wait.saturating_sub(1);
            return self.wait == 0;
        }
        if self.same >= SAME {
            (self.same, self.others, self.is_proven) = (0, 0, true);
        }
        self.others += 1;
        if self.others > OTHERS {
            self.drop_shape();
        }
        false
    }

    #[cold]
    fn drop_shape(&mut self) {
        self.shape = None;
        let is_proven = std::mem::take(&mut self.is_proven);
        self.pause = if is_proven { 1 } else { (2 * self.pause).clamp(SAME, PAUSE_MAX) };
        self.wait = self.pause;
    }

    /// Learns the shape of a record, from the places of its wanted values.
    #[cold]
    pub(super) fn learn(&mut self, record: &[u8], places: &[Place]) {
        self.shape = Shape::of(record, places);
        (self.same, self.others) = (0, 0);
        if self.shape.is_none() {
            self.drop_shape();
        }
    }
}

/// What records of one writer have in common.
struct Shape {
    parts: Vec<Part>,
    /// The bytes after the last value.
    end: Vec<u8>,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Uuid,
    Number,
    /// The time of day in RFC 3339, without the zone, which is the same in all, as is the date. It
    /// is added to the time of midnight, in milliseconds.
    TimeOfDay(i64),
}

/// A value and the bytes before it.
struct Part {
    before: Text,
    field: Field,
    kind: Kind,
    /// The number of bytes that the last such value had.
    length: usize,
    /// The same number. What follows is looked for where the last number ended, and only a branch
    /// checks that it ends there: so a processor can begin with the next value, and the next
    /// record, before it has read this one. It must not seem to depend on the digits.
    advance: usize,
}

/// Bytes between values.
struct Text {
    bytes: Vec<u8>,
    /// The first bytes, and a mask of those that count.
    word: u128,
    mask: u128,
}

impl Text {
    fn new(bytes: &[u8]) -> Text {
        let (mut word, mut mask) = ([0; WORD_BYTES], [0; WORD_BYTES]);
        for (at, &byte) in bytes.iter().take(WORD_BYTES).enumerate() {
            (word[at], mask[at]) = (byte, 0xff);
        }
        let [word, mask] = [word, mask].map(u128::from_le_bytes);
        Text { bytes: bytes.into(), word, mask }
    }

    /// Returns what follows these bytes, if `bytes` begin with them.
    #[inline(always)]
    fn skip<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let word = u128::from_le_bytes(*bytes.first_chunk()?);
        let (beginning, rest) = bytes.split_at_checked(self.bytes.len())?;
        let is_same = word & self.mask == self.word;
        let is_whole = self.bytes.len() <= WORD_BYTES || beginning == self.bytes;
        (is_same && is_whole).then_some(rest)
    }
}

impl Shape {
    /// Returns the shape of a record; `None` if a value is written in an uncommon way.
    fn of(record: &[u8], places: &[Place]) -> Option<Shape> {
        if record.len() > RECORD_BYTES_MAX {
            return None;
        }
        let mut parts = Vec::new();
        let mut end = 0;
        for Place { field, value } in places {
            let text = record.get(value.clone())?;
            let (kind, inside) = match field {
                Field::RecordTime if text == b"null" => continue,
                Field::Request => {
                    uuid_bits(text.strip_prefix(b"\"")?.strip_suffix(b"\"")?)?;
                    (Kind::Uuid, value.start + 1..value.end - 1)
                }
                _ if text.iter().all(u8::is_ascii_digit) => (Kind::Number, value.clone()),
                Field::EventTime | Field::RecordTime => {
                    let (midnight_ms, place) = time_of_day_in(text)?;
                    (
                        Kind::TimeOfDay(midnight_ms),
                        value.start + place.start..value.start + place.end,
                    )
                }
                Field::Video => return None,
            };
            let before = Text::new(record.get(end..inside.start)?);
            let length = inside.len();
            parts.push(Part { before, field: *field, kind, length, advance: length });
            end = inside.end;
        }
        Some(Shape { parts, end: record.get(end..)?.into() })
    }

    /// Reads a record of this shape, and returns what follows it.
    #[inline(always)]
    fn read<'a>(&mut self, bytes: &'a [u8], offset: u64) -> Option<(Event, &'a [u8])> {
        let mut rest = bytes;
        let (mut request, mut video, mut event_time_ms) = (RequestId::default(), 0, 0);
        let mut record_time_ms = None;
        for part in &mut self.parts {
            rest = part.before.skip(rest)?;
            let number;
            (number, rest) = match part.kind {
                Kind::Uuid => {
                    let (uuid, rest) = rest.split_at_checked(UUID_BYTES)?;
                    request = RequestId::from_u128(uuid_bits(uuid)?);
                    (0, rest)
                }
                Kind::Number => part.number(rest)?,
                Kind::TimeOfDay(midnight_ms) => {
                    let (time, rest) = rest.split_at_checked(part.length)?;
                    let time_ms = midnight_ms + time_of_day_ms(time)?;
                    (time_ms.cast_unsigned(), rest)
                }
            };
            match part.field {
                Field::Request => {}
                Field::Video => video = number,
                Field::EventTime => event_time_ms = part.time_ms(number)?,
                Field::RecordTime => record_time_ms = Some(part.time_ms(number)?),
            }
        }
        let rest = match (&*self.end, rest) {
            ([end], [byte, rest @ ..]) if byte == end => rest,
            (end, rest) => rest.strip_prefix(end)?,
        };
        Some((
            Event { offset, request, video: VideoId(video), event_time_ms, record_time_ms },
            rest,
        ))
    }
}

impl Part {
    /// Reads a number, and returns what follows it.
    #[inline(always)]
    fn number<'a>(&mut self, bytes: &'a [u8]) -> Option<(u64, &'a [u8])> {
        let is_longer = bytes.get(self.length).is_some_and(u8::is_ascii_digit);
        match number_of(bytes, self.length) {
            Some(number) if !is_longer => Some((number, bytes.get(self.advance..)?)),
            _ => self.number_of_other_length(bytes),
        }
    }

    #[inline(never)]
    fn number_of_other_length<'a>(&mut self, bytes: &'a [u8]) -> Option<(u64, &'a [u8])> {
        let mut cursor = Cursor { rest: bytes };
        let number = cursor.unsigned()?;
        self.length = bytes.len() - cursor.rest.len();
        self.advance = self.length;
        Some((number, cursor.rest))
    }

    /// Returns a time if it is within the limits of event time.
    #[inline(always)]
    fn time_ms(&self, number: u64) -> Option<i64> {
        let time_ms = match self.kind {
            Kind::TimeOfDay(_) => number.cast_signed(),
            _ => number.try_into().ok()?,
        };
        Some(time_ms).filter(|&time_ms| is_time_ms(time_ms))
    }
}

/// Returns the number in the first so many bytes, at most 16. `None` if it has a leading zero, or
/// if they are not all digits.
#[inline(always)]
fn number_of(bytes: &[u8], digits: usize) -> Option<u64> {
    const WORD_DIGITS: usize = 8;
    if *bytes.first()? == b'0' && digits > 1 {
        return None;
    }
    let Some(first) = bytes.first_chunk() else {
        // The end of a record is near.
        let digits = bytes.get(..digits).filter(|digits| !digits.is_empty())?;
        return digits.iter().try_fold(0, |number, &character| {
            Some(10 * number + digit(character)?.cast_unsigned())
        });
    };
    let first = u64::from_le_bytes(*first);
    if digits <= WORD_DIGITS {
        // Zero bytes in front of the digits count as zeros.
        let is_number = digits > 0 && leading_digits(first) >= digits;
        return is_number.then(|| eight_digits(first << (64 - 8 * digits)));
    }
    let more = digits - WORD_DIGITS;
    if more > WORD_DIGITS {
        return None;
    }
    let last = u64::from_le_bytes(*bytes.get(more..)?.first_chunk()?);
    let is_number = leading_digits(first) == WORD_DIGITS && leading_digits(last) == WORD_DIGITS;
    let upper = eight_digits(first << (64 - 8 * more));
    is_number.then(|| upper * 100_000_000 + eight_digits(last))
}

/// Returns where the time of day is in a quoted time in RFC 3339, and the time of midnight.
fn time_of_day_in(text: &[u8]) -> Option<(i64, Range<usize>)> {
    /// The number of bytes of a quote, a date and a `T`.
    const DATE_BYTES: usize = 12;
    let time = std::str::from_utf8(text.strip_prefix(b"\"")?.strip_suffix(b"\"")?).ok()?;
    let time_ms = time_from_text("", time).ok()?;
    let rest = text.get(DATE_BYTES..)?;
    let seconds = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b':').count();
    let length = match rest.get(seconds..)? {
        [b'.', fraction @ ..] => {
            seconds + 1 + fraction.iter().take_while(|byte| byte.is_ascii_digit()).count()
        }
        _ => seconds,
    };
    let midnight_ms = time_ms.checked_sub(time_of_day_ms(rest.get(..length)?)?)?;
    Some((midnight_ms, DATE_BYTES..DATE_BYTES + length))
}

/// Returns the milliseconds of a time such as `23:59:59` or `23:59:59.123456`, rounded down.
#[inline(always)]
fn time_of_day_ms(text: &[u8]) -> Option<i64> {
    let (&[h, hh, b':', m, mm, b':', s, ss], fraction) = text.split_first_chunk()? else {
        return None;
    };
    let two = |tens: u8, ones: u8| Some(10 * digit(tens)? + digit(ones)?);
    let (hours, minutes, seconds) = (two(h, hh)?, two(m, mm)?, two(s, ss)?);
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let mut time_ms = ((hours * 60 + minutes) * 60 + seconds) * 1_000;
    if let [point, digits @ ..] = fraction {
        if *point != b'.' || digits.is_empty() {
            return None;
        }
        let mut unit_ms = 100;
        for &character in digits {
            time_ms += digit(character)? * unit_ms;
            unit_ms /= 10;
        }
    }
    Some(time_ms)
}

#[inline(always)]
fn digit(character: u8) -> Option<i64> {
    let digit = character.wrapping_sub(b'0');
    (digit < 10).then_some(digit.into())
}

#[cfg(test)]
mod tests;
