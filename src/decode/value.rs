//! What is accepted as the value of a field: one table for all formats, see `docs/formats.md`.
//! Every decoder turns what it found into a [`FieldValue`], and [`event`] decides.

use super::{DecodeError, FieldNames, request_id, time_from_text, time_in_range};
use crate::event::{Event, RequestId, VideoId};

const ID_EXPECTED: &str = "a string or the 16 bytes of a UUID";
const VIDEO_EXPECTED: &str = "an unsigned 64-bit integer, as a number or a string";
const TIME_EXPECTED: &str = "a timestamp, integer milliseconds or a string in RFC 3339";

/// The value of a field.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum FieldValue<'a> {
    /// The field is absent.
    #[default]
    Absent,
    Null,
    Text(&'a str),
    /// Bytes of any length: text in UTF-8, or a UUID.
    Bytes(&'a [u8]),
    /// The bits of a UUID, from a type that has nothing else.
    Uuid(u128),
    Unsigned(u64),
    Negative(i64),
    /// An integer that does not fit in 64 bits.
    WideInteger,
    /// Milliseconds since 1970, from a timestamp type.
    Instant(i64),
    /// The name of a type that no wanted field can have.
    Unsupported(&'static str),
}

/// Returns the event with these values of the four fields, in the order of
/// [`FIELDS`](super::FIELDS).
#[inline]
pub(crate) fn event(
    fields: &FieldNames,
    found: [FieldValue<'_>; 4],
    offset: u64,
) -> Result<Event, DecodeError> {
    let names = fields.texts();
    Ok(Event {
        offset,
        request: to_request_id(names[0], found[0])?,
        video: match fields.video_id {
            Some(_) => to_video_id(names[1], found[1])?,
            None => VideoId(0),
        },
        event_time_ms: to_time_ms(names[2], found[2])?,
        record_time_ms: match found[3] {
            FieldValue::Absent | FieldValue::Null => None,
            found => Some(to_time_ms(names[3], found)?),
        },
    })
}

/// A number is refused: 0 is what many writers put, and Protobuf means, where there is no id.
pub(crate) fn to_request_id(field: &str, found: FieldValue<'_>) -> Result<RequestId, DecodeError> {
    match found {
        FieldValue::Text(text) => request_id(field, text),
        FieldValue::Uuid(bits) => Ok(RequestId::from_u128(bits)),
        FieldValue::Bytes(bytes) => bytes_to_request_id(field, bytes),
        other => Err(other.into_error(field, ID_EXPECTED)),
    }
}

/// 16 bytes are a UUID, unless all are ASCII: no UUID of RFC 9562 is, as its variant sets the upper
/// bit of byte 8. Other bytes are text.
fn bytes_to_request_id(field: &str, bytes: &[u8]) -> Result<RequestId, DecodeError> {
    match bytes.try_into() {
        Ok(uuid) if !bytes.is_ascii() => Ok(RequestId::from_u128(u128::from_be_bytes(uuid))),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => request_id(field, text),
            Err(_) => Err(DecodeError::NotAUuid { field: field.into(), bytes: bytes.len() }),
        },
    }
}

pub(crate) fn to_video_id(field: &str, found: FieldValue<'_>) -> Result<VideoId, DecodeError> {
    match found {
        FieldValue::Unsigned(video) => Ok(VideoId(video)),
        FieldValue::Text(text) if is_digits(text) => match text.parse() {
            Ok(video) => Ok(VideoId(video)),
            Err(_) => Err(found.into_error(field, VIDEO_EXPECTED)),
        },
        other => Err(other.into_error(field, VIDEO_EXPECTED)),
    }
}

pub(crate) fn to_time_ms(field: &str, found: FieldValue<'_>) -> Result<i64, DecodeError> {
    match found {
        FieldValue::Instant(time_ms) | FieldValue::Negative(time_ms) => {
            time_in_range(field, time_ms)
        }
        FieldValue::Unsigned(time_ms) => {
            time_in_range(field, time_ms.try_into().unwrap_or(i64::MAX))
        }
        FieldValue::WideInteger => time_in_range(field, i64::MAX),
        FieldValue::Text(text) if is_digits(text.strip_prefix('-').unwrap_or(text)) => {
            time_in_range(field, text.parse().unwrap_or(i64::MAX))
        }
        FieldValue::Text(text) => time_from_text(field, text),
        other => Err(other.into_error(field, TIME_EXPECTED)),
    }
}

/// Whether a text is one or more decimal digits.
pub(super) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl FieldValue<'_> {
    /// Returns the value for an integer, by its sign.
    #[inline]
    pub(crate) fn integer(number: i64) -> FieldValue<'static> {
        u64::try_from(number).map_or(FieldValue::Negative(number), FieldValue::Unsigned)
    }

    /// Returns the value for an integer of any size.
    pub(crate) fn wide_integer(number: i128) -> FieldValue<'static> {
        match (u64::try_from(number), i64::try_from(number)) {
            (Ok(number), _) => FieldValue::Unsigned(number),
            (_, Ok(number)) => FieldValue::Negative(number),
            _ => FieldValue::WideInteger,
        }
    }

    /// Returns the value for a decimal: these digits over ten to the power of `scale`.
    #[cfg(feature = "parquet")]
    pub(crate) fn decimal(digits: i128, scale: i8) -> FieldValue<'static> {
        let power = 10_i128.checked_pow(scale.unsigned_abs().into());
        match (scale, power) {
            (..=0, Some(power)) => match digits.checked_mul(power) {
                Some(whole) => FieldValue::wide_integer(whole),
                None => FieldValue::WideInteger,
            },
            (1.., Some(power)) if digits % power == 0 => FieldValue::wide_integer(digits / power),
            _ if digits == 0 => FieldValue::Unsigned(0),
            (..=0, None) => FieldValue::WideInteger,
            _ => FieldValue::Unsupported("a number with a fraction"),
        }
    }

    /// Returns the value for bytes of a type that has a fixed size.
    pub(crate) fn fixed(bytes: &[u8]) -> FieldValue<'_> {
        match bytes.try_into() {
            Ok(uuid) => FieldValue::Uuid(u128::from_be_bytes(uuid)),
            Err(_) => FieldValue::Bytes(bytes),
        }
    }

    /// Returns the value for a number that is written in JSON. It is read exactly.
    pub(crate) fn number(text: &str) -> FieldValue<'static> {
        whole_number(text).unwrap_or(FieldValue::Unsupported("a number with a fraction"))
    }
}

/// Returns the integer that a number of JSON's grammar is equal to, or `None` if it has a fraction.
fn whole_number(text: &str) -> Option<FieldValue<'static>> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let (is_negative, integer) = match integer.strip_prefix('-') {
        Some(integer) => (true, integer),
        None => (false, integer),
    };
    // The value is `digits` times ten to the power of `scale`, and `digits` ends in no zero.
    let fraction = fraction.trim_end_matches('0');
    let integer = integer.trim_start_matches('0');
    let (integer, cut) = match fraction {
        "" => (integer.trim_end_matches('0'), integer.len() - integer.trim_end_matches('0').len()),
        _ => (integer, 0),
    };
    let digits = || integer.bytes().chain(fraction.bytes()).skip_while(|&digit| digit == b'0');
    let count = digits().count() as i64;
    if count == 0 {
        return Some(FieldValue::Unsigned(0));
    }
    let exponent = exponent_of(exponent);
    let scale = exponent.saturating_add(cut as i64).saturating_sub(fraction.len() as i64);
    if scale < 0 {
        return None;
    }
    if count.saturating_add(scale) > U64_DIGITS {
        return Some(FieldValue::WideInteger);
    }
    let digits = digits().fold(0, |value: i128, digit| 10 * value + i128::from(digit - b'0'));
    let size = digits * 10_i128.pow(scale as u32);
    Some(FieldValue::wide_integer(if is_negative { -size } else { size }))
}

/// The number of digits of the largest unsigned 64-bit integer.
const U64_DIGITS: i64 = 20;

/// Returns an exponent, limited so far from zero that the limit makes no difference.
fn exponent_of(text: &str) -> i64 {
    const LIMIT: i64 = 1 << 60;
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let size = digits.trim_start_matches('0');
    let size = if size.is_empty() { 0 } else { size.parse().unwrap_or(LIMIT).min(LIMIT) };
    if is_negative { -size } else { size }
}

impl FieldValue<'_> {
    #[cold]
    fn into_error(self, field: &str, expected: &'static str) -> DecodeError {
        let found = match self {
            FieldValue::Absent => return DecodeError::Missing(field.into()),
            FieldValue::Null => "null",
            FieldValue::Text(_) => "a string",
            FieldValue::Bytes(_) => "bytes",
            FieldValue::Uuid(_) => "a UUID",
            FieldValue::Unsigned(_) => "an integer",
            FieldValue::Negative(_) => "a negative integer",
            FieldValue::WideInteger => "an integer of more than 64 bits",
            FieldValue::Instant(_) => "a timestamp",
            FieldValue::Unsupported(what) => what,
        };
        DecodeError::WrongType { field: field.into(), found, expected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::cases;
    use proptest::prelude::*;

    /// Moves the decimal point digit by digit.
    fn whole_slowly(
        is_negative: bool,
        integer: &str,
        fraction: &str,
        exponent: i32,
    ) -> Option<i128> {
        let (mut integer, mut fraction) = (integer.to_string(), fraction.to_string());
        for _ in 0..exponent.abs() {
            if exponent > 0 {
                integer.push(if fraction.is_empty() { '0' } else { fraction.remove(0) });
            } else {
                fraction.insert(0, integer.pop().unwrap_or('0'));
            }
        }
        let is_whole = fraction.bytes().all(|digit| digit == b'0');
        let digits = integer.trim_start_matches('0');
        let size = if digits.is_empty() { 0 } else { digits.parse().unwrap_or(i128::MAX) };
        is_whole.then_some(if is_negative { -size } else { size })
    }

    proptest! {
        #![proptest_config(cases(4_000))]

        #[test]
        fn a_number_is_read_exactly(
            is_negative: bool,
            integer in "0|[1-9][0-9]{0,21}|[1-9]0{0,21}|1844674407370955161[0-9]",
            fraction in "0{0,5}|[0-9]{0,12}",
            exponent in -30..30_i32,
            letter in "e|E|e\\+",
        ) {
            let point = if fraction.is_empty() { "" } else { "." };
            let sign = if is_negative { "-" } else { "" };
            let letter = if exponent < 0 { "e" } else { &letter };
            for (text, exponent) in [
                (format!("{sign}{integer}{point}{fraction}{letter}{exponent}"), exponent),
                (format!("{sign}{integer}{point}{fraction}"), 0),
            ] {
                let expected = whole_slowly(is_negative, &integer, &fraction, exponent)
                    .map_or(FieldValue::number("0.5"), FieldValue::wide_integer);
                prop_assert_eq!(FieldValue::number(&text), expected, "{}", text);
            }
        }

        #[cfg(feature = "parquet")]
        #[test]
        fn a_decimal_is_what_its_digits_say(digits: i128, scale in -45..45_i8) {
            for digits in [digits, digits % 1_000] {
                let text = format!("{digits}e{}", -i32::from(scale));
                prop_assert_eq!(FieldValue::decimal(digits, scale), FieldValue::number(&text));
            }
        }
    }
}
