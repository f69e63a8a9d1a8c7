//! Fields of typed records, Avro and Protobuf alike: what they may hold, and what that means.
//!
//! Beside what JSON has: 16 bytes are a UUID, whatever else they could be; a video id may be a
//! text of decimal digits, as Avro has no unsigned integers; and an instant is a time.

use super::{DecodeError, FieldNames, request_id, time_from_text, time_in_range};
use crate::event::{Event, RequestId, VideoId};

const ID_EXPECTED: &str = "a string or the 16 bytes of a UUID";
const VIDEO_EXPECTED: &str = "an unsigned 64-bit integer or a string of its digits";
const TIME_EXPECTED: &str = "a timestamp, integer milliseconds or a string in RFC 3339";

/// What a field holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Found<'a> {
    /// It is not there.
    #[default]
    Nothing,
    Null,
    Text(&'a str),
    Bytes(&'a [u8]),
    Unsigned(u64),
    Negative(i64),
    /// Milliseconds since 1970, of a type that says so.
    Instant(i64),
    /// What no field can be.
    Other(&'static str),
}

/// The event that the values of the four fields make, in the order of [`FieldNames::all`].
#[inline]
pub(super) fn event(
    fields: &FieldNames,
    found: [Found<'_>; 4],
    offset: u64,
) -> Result<Event, DecodeError> {
    let names = fields.all();
    Ok(Event {
        offset,
        request: to_request_id(names[0], found[0])?,
        video: to_video_id(names[1], found[1])?,
        event_time_ms: to_time_ms(names[2], found[2])?,
        record_time_ms: match found[3] {
            Found::Nothing | Found::Null => None,
            found => Some(to_time_ms(names[3], found)?),
        },
    })
}

fn to_request_id(field: &str, found: Found<'_>) -> Result<RequestId, DecodeError> {
    match found {
        Found::Text(text) => request_id(field, text),
        Found::Bytes([]) => Err(DecodeError::EmptyId(field.into())),
        Found::Bytes(bytes) => match bytes.try_into() {
            Ok(uuid) => Ok(RequestId::from_u128(u128::from_be_bytes(uuid))),
            Err(_) => Err(DecodeError::NotAUuid { field: field.into(), bytes: bytes.len() }),
        },
        other => Err(other.into_error(field, ID_EXPECTED)),
    }
}

fn to_video_id(field: &str, found: Found<'_>) -> Result<VideoId, DecodeError> {
    match found {
        Found::Unsigned(video) => Ok(VideoId(video)),
        Found::Text(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => match text.parse() {
            Ok(video) => Ok(VideoId(video)),
            Err(_) => Err(found.into_error(field, VIDEO_EXPECTED)),
        },
        other => Err(other.into_error(field, VIDEO_EXPECTED)),
    }
}

fn to_time_ms(field: &str, found: Found<'_>) -> Result<i64, DecodeError> {
    match found {
        Found::Instant(time_ms) | Found::Negative(time_ms) => time_in_range(field, time_ms),
        Found::Unsigned(time_ms) => time_in_range(field, time_ms.try_into().unwrap_or(i64::MAX)),
        Found::Text(text) => time_from_text(field, text),
        other => Err(other.into_error(field, TIME_EXPECTED)),
    }
}

impl Found<'_> {
    /// What an integer is.
    #[inline]
    pub(super) fn integer(number: i64) -> Found<'static> {
        u64::try_from(number).map_or(Found::Negative(number), Found::Unsigned)
    }

    #[cold]
    fn into_error(self, field: &str, expected: &'static str) -> DecodeError {
        let found = match self {
            Found::Nothing => return DecodeError::Missing(field.into()),
            Found::Null => "null",
            Found::Text(_) => "a string",
            Found::Bytes(_) => "bytes",
            Found::Unsigned(_) => "an integer",
            Found::Negative(_) => "a negative integer",
            Found::Instant(_) => "a timestamp",
            Found::Other(what) => what,
        };
        DecodeError::WrongType { field: field.into(), found, expected }
    }
}
