//! The events in the logs, impressions, plays and denials, and their ids.

use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The kind of an event; each kind has its own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A video appeared in a viewport.
    Impression,
    /// A member played a video.
    Play,
    /// A request is of a bot or a test, or is to be forgotten: it counts for no video.
    Denial,
}

impl Kind {
    /// All kinds, in the order of their discriminants.
    pub const ALL: [Kind; Kind::COUNT] = [Kind::Impression, Kind::Play, Kind::Denial];

    /// The number of kinds.
    pub const COUNT: usize = 3;

    /// The kind with this [name](Kind::name).
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kind of the log with this [topic](Kind::topic).
    pub fn of_topic(topic: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.topic() == topic)
    }

    /// The name used in the ledger: `impression`, `play` or `denial`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Impression => "impression",
            Kind::Play => "play",
            Kind::Denial => "denial",
        }
    }

    /// The name of the log of this kind: `impressions`, `plays` or `denials`.
    pub fn topic(self) -> &'static str {
        match self {
            Kind::Impression => "impressions",
            Kind::Play => "plays",
            Kind::Denial => "denials",
        }
    }

    /// The flag that names the logs of this kind: `--impressions`, `--plays` or `--denied`.
    pub fn flag(self) -> &'static str {
        match self {
            Kind::Impression => "--impressions",
            Kind::Play => "--plays",
            Kind::Denial => "--denied",
        }
    }

    /// Returns the flags of some kinds in words, such as `--impressions and with --plays`.
    pub fn flags_in_words(kinds: impl IntoIterator<Item = Kind>) -> String {
        let flags: Vec<_> = kinds.into_iter().map(Kind::flag).collect();
        flags.join(" and with ")
    }

    /// Whether its events are of a video. A denial is of a request alone.
    pub fn has_video(self) -> bool {
        self != Kind::Denial
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The id of the page or row that an impression or a play came from: 128 bits.
///
/// A UUID in its 36-character form is stored as its own bits; the case of its letters does not
/// matter. Any other text is stored as the first 128 bits of its BLAKE3 hash. Among n such ids, the
/// probability of a collision is about n² / 2¹²⁹ (1.5 in 10²¹ for a thousand million ids), and
/// no attack that needs fewer ids is known.
///
/// The bits are scrambled by a bijection, so that the ids spread evenly over the key space even if
/// they are counters or begin with a timestamp (UUID version 7). `RequestId`s are ordered by the
/// scrambled bits, and this order has no meaning outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub [u64; 2]);

/// The longest request id, in bytes of UTF-8.
pub const REQUEST_ID_BYTES_MAX: usize = 256;

impl RequestId {
    /// Returns the id for the 128 bits of a UUID.
    #[inline]
    pub fn from_u128(bits: u128) -> RequestId {
        let (high, low) = ((bits >> 64) as u64, bits as u64);
        // This order mixes the upper half even if one of the two halves is the same in all ids.
        let low = low ^ mix(high);
        let high = high ^ mix(low);
        RequestId([high, low])
    }

    /// Returns the 128 bits that were passed to [`RequestId::from_u128`].
    pub fn to_u128(self) -> u128 {
        let [high, low] = self.0;
        let high = high ^ mix(low);
        let low = low ^ mix(high);
        (u128::from(high) << 64) | u128::from(low)
    }

    /// Returns the id for a text, or `None` if it is empty or longer than [`REQUEST_ID_BYTES_MAX`].
    #[inline]
    pub fn parse(text: &str) -> Option<RequestId> {
        if let Some(bits) = uuid_bits(text.as_bytes()) {
            return Some(RequestId::from_u128(bits));
        }
        if text.is_empty() || text.len() > REQUEST_ID_BYTES_MAX {
            return None;
        }
        let hash = blake3::hash(text.as_bytes());
        let mut bits = [0; 16];
        bits.copy_from_slice(&hash.as_bytes()[..16]);
        Some(RequestId::from_u128(u128::from_be_bytes(bits)))
    }
}

impl fmt::Display for RequestId {
    /// Writes the 36-character form of a UUID, in lower case.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.to_u128();
        let part = |shift: u32, digits: u32| (bits >> shift) & ((1 << (4 * digits)) - 1);
        write!(
            formatter,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            part(96, 8),
            part(80, 4),
            part(64, 4),
            part(48, 4),
            part(0, 12)
        )
    }
}

/// The 64-bit finalizer of SplitMix64: every input bit affects every output bit.
#[inline]
fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Returns the bits of a UUID written as 8-4-4-4-12 hexadecimal digits, or `None` if `text` is not
/// one.
///
/// The first loop has no branches and a fixed length, so that it compiles to vector instructions.
/// A lookup table of the digits was measured to be three times slower.
#[inline]
pub fn uuid_bits(text: &[u8]) -> Option<u128> {
    let text: &[u8; 36] = text.try_into().ok()?;
    if [text[8], text[13], text[18], text[23]] != [b'-'; 4] {
        return None;
    }
    let mut characters = [0; 32];
    characters[..8].copy_from_slice(&text[..8]);
    characters[8..12].copy_from_slice(&text[9..13]);
    characters[12..16].copy_from_slice(&text[14..18]);
    characters[16..20].copy_from_slice(&text[19..23]);
    characters[20..].copy_from_slice(&text[24..]);
    let (mut digits, mut others) = ([0; 32], [0; 32]);
    for ((digit, other), &character) in digits.iter_mut().zip(&mut others).zip(&characters) {
        (*digit, *other) = hexadecimal_digit(character);
    }
    let other = others.iter().fold(0, |any, other| any | other);
    let mut bytes = [0; 16];
    for (at, byte) in bytes.iter_mut().enumerate() {
        let pair = u16::from_le_bytes([digits[2 * at], digits[2 * at + 1]]);
        *byte = ((pair << 4) | (pair >> 8)) as u8;
    }
    (other == 0).then(|| u128::from_be_bytes(bytes))
}

/// Returns the value of a hexadecimal digit and 0, or 0 and 0xff if the character is not a digit.
#[inline(always)]
fn hexadecimal_digit(character: u8) -> (u8, u8) {
    let decimal = character.wrapping_sub(b'0');
    let letter = (character | 0x20).wrapping_sub(b'a');
    let when = |condition: bool| if condition { 0xff_u8 } else { 0 };
    let (is_decimal, is_letter) = (when(decimal < 10), when(letter < 6));
    let digit = (decimal & is_decimal) | (letter.wrapping_add(10) & is_letter);
    (digit, !(is_decimal | is_letter))
}

/// The id of a video: any 64 bits.
#[repr(transparent)]
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Pod,
    Zeroable,
    Serialize,
    Deserialize,
)]
pub struct VideoId(pub u64);

/// One impression, play or denial, as read by a source. Its partition determines which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The position in the partition, from 0: a line number, row number or Kafka offset.
    pub offset: u64,
    /// The page or row that the event came from.
    pub request: RequestId,
    /// The video that was shown or played; 0 in a denial.
    pub video: VideoId,
    /// The event time, in milliseconds.
    pub event_time_ms: i64,
    /// The timestamp of the record itself, in milliseconds, if the source has one; the least if it
    /// has several.
    pub record_time_ms: Option<i64>,
}

impl Event {
    /// Returns the *stamp*, in milliseconds: the timestamp of the record, or the event time if
    /// there is none. It says when the record was written.
    #[inline]
    pub fn stamp_ms(&self) -> i64 {
        self.record_time_ms.unwrap_or(self.event_time_ms)
    }
}

/// The state of a showing (a request id and a video) in one epoch, as a set of bits: its own, and
/// whether its request is denied.
/// Addition is *or*, so a duplicate event changes nothing.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct Touch(pub u8);

impl Touch {
    /// No events.
    pub const NONE: Touch = Touch(0);
    /// An impression of the epoch.
    pub const SHOWN: Touch = Touch(1);
    /// A play whose event time lies in the epoch's join window.
    pub const PLAYED: Touch = Touch(2);
    /// A play whose event time lies in the epoch itself; implies `PLAYED`.
    pub const PLAYED_IN_EPOCH: Touch = Touch(2 | 4);
    /// The bits of a showing itself, without those of its request.
    pub const OF_SHOWING: Touch = Touch(1 | 2 | 4);
    /// A denial of the request whose event time lies in the epoch's join window.
    pub const DENIED: Touch = Touch(8);
    /// A denial whose event time lies in the epoch itself; implies `DENIED`.
    pub const DENIED_IN_EPOCH: Touch = Touch(8 | 16);

    /// The union of two touches.
    #[inline]
    pub fn or(self, other: Touch) -> Touch {
        Touch(self.0 | other.0)
    }

    /// Whether the showing is in `impressions(v, e)`: shown, and its request not denied.
    #[inline]
    pub fn is_shown(self) -> bool {
        self.0 & 0b1001 == 0b0001
    }

    /// Whether the showing is in `plays(v, e)`: shown, played within the join window, and its
    /// request not denied.
    #[inline]
    pub fn is_converted(self) -> bool {
        self.0 & 0b1011 == 0b0011
    }

    /// Whether there was an impression, of a request that may be denied.
    #[inline]
    pub fn has_impression(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether an event of the epoch itself is among its bits.
    #[inline]
    pub fn is_of_epoch(self) -> bool {
        self.0 & 0b10101 != 0
    }

    /// Whether the request is denied.
    #[inline]
    pub fn is_denied(self) -> bool {
        self.0 & 8 != 0
    }

    /// Whether the request is denied by a denial in the epoch itself.
    #[inline]
    pub fn is_denied_here(self) -> bool {
        self.0 & 16 != 0
    }

    /// Whether a showing with this touch is in other sets than it was with the touch `before`.
    #[inline]
    pub fn changes_sets(self, before: Touch) -> bool {
        let sets = |touch: Touch| (touch.is_shown(), touch.is_converted());
        sets(self) != sets(before)
    }

    /// Whether there was a play in the epoch itself, with or without an impression, of a request
    /// that may be denied.
    #[inline]
    pub fn is_played_here(self) -> bool {
        self.0 & 4 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_uuid_keeps_its_bits_whatever_the_case_of_its_letters() {
        let lower = RequestId::parse("0123abcd-4567-89ab-cdef-0123456789ab").unwrap();
        let upper = RequestId::parse("0123ABCD-4567-89AB-CDEF-0123456789AB").unwrap();
        assert_eq!(lower, upper);
        assert_eq!(lower.to_u128(), 0x0123_abcd_4567_89ab_cdef_0123_4567_89ab);
        assert_eq!(lower.to_string(), "0123abcd-4567-89ab-cdef-0123456789ab");
    }

    #[test]
    fn text_that_is_nearly_a_uuid_is_hashed() {
        for text in [
            "0123abcd-4567-89ab-cdef-0123456789ag",
            "0123abcd-4567-89ab-cdef_0123456789ab",
            "0123abcd456789abcdef0123456789ab",
            "{0123abcd-4567-89ab-cdef-0123456789a",
        ] {
            let hash = blake3::hash(text.as_bytes());
            let bits = u128::from_be_bytes(hash.as_bytes()[..16].try_into().unwrap());
            assert_eq!(RequestId::parse(text).unwrap().to_u128(), bits, "{text}");
        }
    }

    #[test]
    fn an_empty_or_long_id_is_refused() {
        assert_eq!(RequestId::parse(""), None);
        assert!(RequestId::parse(&"x".repeat(256)).is_some());
        assert_eq!(RequestId::parse(&"x".repeat(257)), None);
    }

    #[test]
    fn ids_that_count_up_fill_the_key_space_evenly() {
        let mut bins = [0; 16];
        for count in 0..16_000u128 {
            let id = RequestId::from_u128((0x0190_0000_0000 + count) << 80);
            bins[(id.0[0] >> 60) as usize] += 1;
        }
        assert!(bins.iter().all(|bin| (800..1200).contains(bin)), "{bins:?}");
    }

    /// A reference implementation of [`uuid_bits`], one character at a time.
    fn uuid_bits_slowly(text: &[u8]) -> Option<u128> {
        let dashes = [8, 13, 18, 23];
        let is_placed = |(at, byte): (usize, &u8)| dashes.contains(&at) == (*byte == b'-');
        let digits: Vec<u8> = text.iter().copied().filter(|&byte| byte != b'-').collect();
        let is_uuid = text.iter().enumerate().all(is_placed)
            && digits.len() == 32
            && digits.iter().all(u8::is_ascii_hexdigit);
        let digits = std::str::from_utf8(&digits).ok()?;
        is_uuid.then(|| u128::from_str_radix(digits, 16).unwrap())
    }

    #[test]
    fn every_byte_at_every_position_of_a_uuid_is_checked() {
        for place in 0..36 {
            for byte in 0..=255 {
                let mut text = *b"0123abcd-4567-89AB-CDEF-0123456789ef";
                text[place] = byte;
                assert_eq!(uuid_bits(&text), uuid_bits_slowly(&text), "{place} {byte}");
            }
        }
    }

    proptest! {
        #[test]
        fn scrambling_is_undone(bits: u128) {
            prop_assert_eq!(RequestId::from_u128(bits).to_u128(), bits);
        }

        #[test]
        fn a_printed_request_id_is_parsed_back(bits: u128) {
            let id = RequestId::from_u128(bits);
            prop_assert_eq!(RequestId::parse(&id.to_string()), Some(id));
        }
    }
}
