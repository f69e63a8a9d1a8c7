//! The fast decoder: a scanner for records of the common shape, which gives up on all others.
//!
//! Every record that the scanner accepts, serde_json also accepts, as the same event. So the
//! scanner takes only wanted values without escapes, integers without fraction or exponent, each
//! wanted field once, and only white space after the end. Unwanted values may be anything. Fields
//! inside others, escapes in names, duplicates and all errors are left to [`super::strict`].

use crate::decode::{FieldNames, is_time_ms, time_from_text};
use crate::event::{Event, RequestId, VideoId, uuid_bits};
use std::ops::Range;

/// Scans records whose fields mostly have the same order.
pub(super) struct Scanner {
    /// The quoted names of the wanted fields; `None` if they need escapes, are inside other fields
    /// or are not distinct: then all records are left to serde_json.
    names: Option<[Name; 4]>,
    /// Whether events have a video.
    has_video: bool,
    /// The wanted field at each position of the last record.
    order: [Field; 4],
}

/// The name of a wanted field.
struct Name {
    quoted: Vec<u8>,
    /// The first and last eight bytes, if they cover the whole name: comparing two words is faster
    /// than calling `memcmp`.
    ends: Option<(u64, u64)>,
}

impl Name {
    fn new(name: &str) -> Name {
        let quoted = format!("\"{name}\"").into_bytes();
        let ends = if quoted.len() <= 16 { ends(&quoted) } else { None };
        Name { quoted, ends }
    }

    /// Whether `text`, which must have the same length, is this name.
    #[inline(always)]
    fn is(&self, text: &[u8]) -> bool {
        match self.ends {
            Some(_) => ends(text) == self.ends,
            None => text == self.quoted,
        }
    }
}

/// Returns the first and last eight bytes of a text of at least eight; they may overlap.
#[inline(always)]
fn ends(text: &[u8]) -> Option<(u64, u64)> {
    let (first, last) = (text.first_chunk()?, text.last_chunk()?);
    Some((u64::from_le_bytes(*first), u64::from_le_bytes(*last)))
}

/// A wanted field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Request = 0,
    Video = 1,
    EventTime = 2,
    RecordTime = 3,
}

impl Field {
    const ALL: [Field; 4] = [Field::Request, Field::Video, Field::EventTime, Field::RecordTime];
}

/// Where the value of a wanted field is in a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) field: Field,
    pub(super) value: Range<usize>,
}

/// The fields of a record read so far. The outer `Option` of each is `None` until it occurs.
#[derive(Default)]
struct PartialEvent {
    request: Option<RequestId>,
    video: Option<u64>,
    event_time_ms: Option<i64>,
    record_time_ms: Option<Option<i64>>,
}

impl Scanner {
    pub(super) fn new(fields: &FieldNames) -> Scanner {
        // Where there is no video, its name is that of the request, which is found first.
        let has_video = fields.video_id.is_some();
        let names = fields.all().map(|path| path.unwrap_or(&fields.request_id).names());
        let plain = |name: &str| !name.bytes().any(|byte| byte < 0x20 || b"\"\\".contains(&byte));
        let distinct = |at: usize| at == 1 && !has_video || !names[..at].contains(&names[at]);
        let is_plain = |names: &&[String]| matches!(*names, [name] if plain(name));
        let usable = names.iter().all(is_plain) && (0..4).all(distinct);
        let name = |names: &[String]| Name::new(&names[0]);
        let order = match has_video {
            true => Field::ALL,
            false => [Field::Request, Field::EventTime, Field::RecordTime, Field::RecordTime],
        };
        Scanner { names: usable.then(|| names.map(name)), has_video, order }
    }

    /// Returns the event in a record, or `None` if it is left to serde_json.
    #[inline]
    pub(super) fn scan(&mut self, record: &[u8], offset: u64) -> Option<Event> {
        self.scan_noting(record, offset, |_| {})
    }

    /// Returns where the wanted values of a record are, if it is one that the scanner reads.
    #[cold]
    pub(super) fn places(&mut self, record: &[u8]) -> Option<Vec<Place>> {
        let mut places = Vec::new();
        self.scan_noting(record, 0, |place| places.push(place))?;
        Some(places)
    }

    /// Like [`Scanner::scan`], and calls `note` for each wanted value.
    #[inline(always)]
    fn scan_noting(
        &mut self,
        record: &[u8],
        offset: u64,
        mut note: impl FnMut(Place),
    ) -> Option<Event> {
        let names = self.names.as_ref()?;
        let mut cursor = Cursor { rest: record };
        let video = (!self.has_video).then_some(0);
        let mut parts = PartialEvent { video, ..PartialEvent::default() };
        let mut place = 0;
        cursor.expect(b'{')?;
        loop {
            cursor.skip_space();
            let field = key(names, &mut self.order, &mut place, &mut cursor)?;
            cursor.expect(b':')?;
            cursor.skip_space();
            match field {
                Some(field) => {
                    let start = record.len() - cursor.rest.len();
                    parts.read(field, &mut cursor)?;
                    note(Place { field, value: start..record.len() - cursor.rest.len() });
                }
                None => cursor.skip_value(0)?,
            }
            cursor.skip_space();
            match cursor.next()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        cursor.skip_space();
        if !cursor.rest.is_empty() {
            return None;
        }
        Some(Event {
            offset,
            request: parts.request?,
            video: VideoId(parts.video?),
            event_time_ms: parts.event_time_ms?,
            record_time_ms: parts.record_time_ms.unwrap_or(None),
        })
    }
}

/// Reads a key; `Some(None)` is an unwanted one. First tries the key at this position of the last
/// record.
#[inline]
fn key(
    names: &[Name; 4],
    order: &mut [Field; 4],
    place: &mut usize,
    cursor: &mut Cursor<'_>,
) -> Option<Option<Field>> {
    let guess = *order.get(*place).unwrap_or(&Field::RecordTime);
    if cursor.skip_name(&names[guess as usize]) {
        *place += 1;
        return Some(Some(guess));
    }
    for field in Field::ALL {
        if cursor.skip_name(&names[field as usize]) {
            if let Some(guess) = order.get_mut(*place) {
                *guess = field;
            }
            *place += 1;
            return Some(Some(field));
        }
    }
    if cursor.skip_plain_text().is_none() {
        cursor.text()?;
    }
    Some(None)
}

impl PartialEvent {
    /// Reads the value of a field, and gives up if the field occurred before.
    #[inline]
    fn read(&mut self, field: Field, cursor: &mut Cursor<'_>) -> Option<()> {
        match field {
            Field::Request if self.request.is_none() => {
                self.request = Some(cursor.request_id()?);
            }
            Field::Video if self.video.is_none() => self.video = Some(cursor.unsigned()?),
            Field::EventTime if self.event_time_ms.is_none() => {
                self.event_time_ms = Some(cursor.time_ms()?);
            }
            Field::RecordTime if self.record_time_ms.is_none() => {
                let is_null = cursor.skip_prefix(b"null");
                self.record_time_ms = Some(if is_null { None } else { Some(cursor.time_ms()?) });
            }
            _ => return None,
        }
        Some(())
    }
}

/// The unread rest of a record.
pub(super) struct Cursor<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    #[inline]
    fn next(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    #[inline]
    fn skip_space(&mut self) {
        while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    /// Skips white space and then this byte.
    #[inline]
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.skip_space();
        (self.next()? == byte).then_some(())
    }

    #[inline]
    fn skip_prefix(&mut self, prefix: &[u8]) -> bool {
        match self.rest.split_at_checked(prefix.len()) {
            Some((beginning, rest)) if beginning == prefix => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    #[inline(always)]
    fn skip_name(&mut self, name: &Name) -> bool {
        match self.rest.split_at_checked(name.quoted.len()) {
            Some((beginning, rest)) if name.is(beginning) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Skips a string of ASCII without escapes.
    #[inline]
    fn skip_plain_text(&mut self) -> Option<()> {
        let [b'"', rest @ ..] = self.rest else { return None };
        let [b'"', rest @ ..] = &rest[plain_bytes(rest)..] else { return None };
        self.rest = rest;
        Some(())
    }

    /// Reads a string without escapes.
    fn text(&mut self) -> Option<&'a str> {
        let [b'"', rest @ ..] = self.rest else { return None };
        let length = rest.iter().position(|&byte| matches!(byte, b'"' | b'\\' | ..0x20))?;
        if rest[length] != b'"' {
            return None;
        }
        self.rest = &rest[length + 1..];
        std::str::from_utf8(&rest[..length]).ok()
    }

    #[inline]
    fn request_id(&mut self) -> Option<RequestId> {
        if let [b'"', rest @ ..] = self.rest
            && let Some((uuid, [b'"', rest @ ..])) = rest.split_at_checked(36)
            && let Some(bits) = uuid_bits(uuid)
        {
            self.rest = rest;
            return Some(RequestId::from_u128(bits));
        }
        RequestId::parse(self.text()?)
    }

    /// Reads milliseconds or an RFC 3339 string.
    #[inline(always)]
    fn time_ms(&mut self) -> Option<i64> {
        match self.rest {
            [b'"', ..] => time_from_text("", self.text()?).ok(),
            [b'-', rest @ ..] => {
                self.rest = rest;
                // serde_json does not read `-0` as an integer.
                let before_ms = self.unsigned().filter(|&before_ms| before_ms != 0)?;
                Some(0_i64.checked_sub_unsigned(before_ms)?).filter(|&time_ms| is_time_ms(time_ms))
            }
            _ => self.unsigned()?.try_into().ok().filter(|&time_ms| is_time_ms(time_ms)),
        }
    }

    /// Reads an integer without sign, fraction, exponent or leading zeros. The caller detects other
    /// characters of a number that follow.
    #[inline(always)]
    pub(super) fn unsigned(&mut self) -> Option<u64> {
        let digits = self.rest;
        let mut value = 0_u64;
        while let Some((word, rest)) = self.rest.split_first_chunk() {
            let word = u64::from_le_bytes(*word);
            let count = leading_digits(word);
            if count < 8 {
                if count > 0 {
                    let last = eight_digits(word << (64 - 8 * count));
                    value = value.checked_mul(POWERS_OF_TEN[count])?.checked_add(last)?;
                    self.rest = &self.rest[count..];
                }
                return is_canonical(digits, self.rest).then_some(value);
            }
            value = value.checked_mul(POWERS_OF_TEN[8])?.checked_add(eight_digits(word))?;
            self.rest = rest;
        }
        while let [digit @ b'0'..=b'9', rest @ ..] = self.rest {
            value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
            self.rest = rest;
        }
        is_canonical(digits, self.rest).then_some(value)
    }

    /// Skips an unwanted value.
    fn skip_value(&mut self, depth: usize) -> Option<()> {
        match self.rest.first()? {
            b'"' => self.skip_plain_text().or_else(|| self.skip_text()),
            b'-' | b'0'..=b'9' => self.skip_number(),
            b'{' | b'[' if depth < DEPTH_MAX => self.skip_nested(depth + 1),
            _ => {
                let words: [&[u8]; 3] = [b"true", b"false", b"null"];
                words.iter().any(|word| self.skip_prefix(word)).then_some(())
            }
        }
    }

    /// Skips an object or an array.
    fn skip_nested(&mut self, depth: usize) -> Option<()> {
        let is_object = self.next()? == b'{';
        let end: &[u8] = if is_object { b"}" } else { b"]" };
        self.skip_space();
        if self.skip_prefix(end) {
            return Some(());
        }
        loop {
            if is_object {
                self.skip_space();
                self.skip_text()?;
                self.expect(b':')?;
            }
            self.skip_space();
            self.skip_value(depth)?;
            self.skip_space();
            if self.skip_prefix(end) {
                return Some(());
            }
            self.expect(b',')?;
        }
    }

    /// Skips a string, with escapes. As in serde_json, surrogates need not be pairs.
    fn skip_text(&mut self) -> Option<()> {
        let [b'"', rest @ ..] = self.rest else { return None };
        let mut length = 0;
        loop {
            let is_special = |&byte: &u8| matches!(byte, b'"' | b'\\' | ..0x20);
            length += rest[length..].iter().position(is_special)?;
            length += match rest[length..] {
                [b'"', ..] => break,
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
                [b'\\', b'u', ref digits @ ..]
                    if digits.get(..4)?.iter().all(u8::is_ascii_hexdigit) =>
                {
                    6
                }
                _ => return None,
            };
        }
        std::str::from_utf8(&rest[..length]).ok()?;
        self.rest = &rest[length + 1..];
        Some(())
    }

    fn skip_number(&mut self) -> Option<()> {
        self.skip_prefix(b"-");
        match self.rest {
            [b'0', rest @ ..] => self.rest = rest,
            _ => self.skip_digits()?,
        }
        if self.skip_prefix(b".") {
            self.skip_digits()?;
        }
        if self.skip_prefix(b"e") || self.skip_prefix(b"E") {
            let _signed = self.skip_prefix(b"+") || self.skip_prefix(b"-");
            self.skip_digits()?;
        }
        Some(())
    }

    /// Skips one or more digits.
    fn skip_digits(&mut self) -> Option<()> {
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.rest = &self.rest[count..];
        (count > 0).then_some(())
    }
}

/// Returns the number of leading bytes that are ASCII and mean themselves in a string: no control
/// characters, quotes and backslashes.
///
/// In a word, a byte is something else if its upper bit is set. A borrow only reaches bytes after
/// one that is something else.
#[inline]
pub(super) fn plain_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const UPPER: u64 = 0x80 * ONES;
    let (words, _) = bytes.as_chunks();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let is_zero = |word: u64| word.wrapping_sub(ONES) & !word;
        let is_quote = is_zero(word ^ (u64::from(b'"') * ONES));
        let is_backslash = is_zero(word ^ (u64::from(b'\\') * ONES));
        let is_control = word.wrapping_sub(0x20 * ONES) & !word;
        let others = (is_quote | is_backslash | is_control | word) & UPPER;
        if others != 0 {
            return 8 * at + (others.trailing_zeros() / 8) as usize;
        }
    }
    let rest = &bytes[8 * words.len()..];
    let is_plain = |byte: &&u8| matches!(**byte, 0x20..0x80) && !matches!(**byte, b'"' | b'\\');
    8 * words.len() + rest.iter().take_while(is_plain).count()
}

/// The maximum depth of an unwanted value.
const DEPTH_MAX: usize = 32;

const POWERS_OF_TEN: [u64; 9] =
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Whether at least one digit was read, from `digits` to `rest`, and there is no leading zero.
#[inline]
fn is_canonical(digits: &[u8], rest: &[u8]) -> bool {
    let count = digits.len() - rest.len();
    count == 1 || (count > 1 && digits[0] != b'0')
}

/// Returns the number of leading digits among the eight characters in a little-endian word.
///
/// A digit is a byte whose upper half is 3, and still is after adding 6. A carry only reaches
/// characters after one that is not a digit.
#[inline]
pub(super) fn leading_digits(word: u64) -> usize {
    const UPPER: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    const THREES: u64 = 0x3030_3030_3030_3030;
    const SIXES: u64 = 0x0606_0606_0606_0606;
    let others = ((word & UPPER) ^ THREES) | ((word.wrapping_add(SIXES) & UPPER) ^ THREES);
    (others.trailing_zeros() / 8) as usize
}

/// Returns the value of eight digits in a little-endian word. Only the lower half of each byte
/// matters, so zero bytes count as the digit 0.
#[inline]
pub(super) fn eight_digits(word: u64) -> u64 {
    // Each multiplication adds the left one of two neighbours, times its weight, to the right one.
    let ones = word & 0x0f0f_0f0f_0f0f_0f0f;
    let tens = (ones.wrapping_mul(10 * 0x100 + 1) >> 8) & 0x00ff_00ff_00ff_00ff;
    let hundreds = (tens.wrapping_mul(100 * 0x1_0000 + 1) >> 16) & 0x0000_ffff_0000_ffff;
    hundreds.wrapping_mul(10_000 * 0x1_0000_0000 + 1) >> 32
}
