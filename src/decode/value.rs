//! The values of the wanted fields in Avro and Protobuf records, and their conversion to an event.
//!
//! In addition to the types of JSON: 16 bytes are always read as a UUID; a video id may be a string
//! of decimal digits, since Avro has no unsigned integers; and a time may be a timestamp.

use super::{DecodeError, FieldNames, request_id, time_from_text, time_in_range};
use crate::event::{Event, RequestId, VideoId};

const ID_EXPECTED: &str = "a string or the 16 bytes of a UUID";
const VIDEO_EXPECTED: &str = "an unsigned 64-bit integer, as a number or a string";
const TIME_EXPECTED: &str = "a timestamp, integer milliseconds or a string in RFC 3339";

/// The value of a field.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum FieldValue<'a> {
    /// The field is absent.
    #[default]
    Absent,
    Null,
    Text(&'a str),
    Bytes(&'a [u8]),
    Unsigned(u64),
    Negative(i64),
    /// Milliseconds since 1970, from a timestamp type.
    Instant(i64),
    /// The name of a type that no wanted field can have.
    Unsupported(&'static str),
}

/// Returns the event with these values of the four fields, in the order of [`FieldNames::all`].
#[inline]
pub(super) fn event(
    fields: &FieldNames,
    found: [FieldValue<'_>; 4],
    offset: u64,
) -> Result<Event, DecodeError> {
    let names = fields.all();
    Ok(Event {
        offset,
        request: to_request_id(names[0], found[0])?,
        video: to_video_id(names[1], found[1])?,
        event_time_ms: to_time_ms(names[2], found[2])?,
        record_time_ms: match found[3] {
            FieldValue::Absent | FieldValue::Null => None,
            found => Some(to_time_ms(names[3], found)?),
        },
    })
}

fn to_request_id(field: &str, found: FieldValue<'_>) -> Result<RequestId, DecodeError> {
    match found {
        FieldValue::Text(text) => request_id(field, text),
        FieldValue::Bytes([]) => Err(DecodeError::EmptyId(field.into())),
        FieldValue::Bytes(bytes) => match bytes.try_into() {
            Ok(uuid) => Ok(RequestId::from_u128(u128::from_be_bytes(uuid))),
            Err(_) => Err(DecodeError::NotAUuid { field: field.into(), bytes: bytes.len() }),
        },
        other => Err(other.into_error(field, ID_EXPECTED)),
    }
}

fn to_video_id(field: &str, found: FieldValue<'_>) -> Result<VideoId, DecodeError> {
    match found {
        FieldValue::Unsigned(video) => Ok(VideoId(video)),
        FieldValue::Text(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            match text.parse() {
                Ok(video) => Ok(VideoId(video)),
                Err(_) => Err(found.into_error(field, VIDEO_EXPECTED)),
            }
        }
        other => Err(other.into_error(field, VIDEO_EXPECTED)),
    }
}

fn to_time_ms(field: &str, found: FieldValue<'_>) -> Result<i64, DecodeError> {
    match found {
        FieldValue::Instant(time_ms) | FieldValue::Negative(time_ms) => {
            time_in_range(field, time_ms)
        }
        FieldValue::Unsigned(time_ms) => {
            time_in_range(field, time_ms.try_into().unwrap_or(i64::MAX))
        }
        FieldValue::Text(text) => time_from_text(field, text),
        other => Err(other.into_error(field, TIME_EXPECTED)),
    }
}

impl FieldValue<'_> {
    /// Returns the value for an integer, by its sign.
    #[inline]
    pub(super) fn integer(number: i64) -> FieldValue<'static> {
        u64::try_from(number).map_or(FieldValue::Negative(number), FieldValue::Unsigned)
    }

    #[cold]
    fn into_error(self, field: &str, expected: &'static str) -> DecodeError {
        let found = match self {
            FieldValue::Absent => return DecodeError::Missing(field.into()),
            FieldValue::Null => "null",
            FieldValue::Text(_) => "a string",
            FieldValue::Bytes(_) => "bytes",
            FieldValue::Unsigned(_) => "an integer",
            FieldValue::Negative(_) => "a negative integer",
            FieldValue::Instant(_) => "a timestamp",
            FieldValue::Unsupported(what) => what,
        };
        DecodeError::WrongType { field: field.into(), found, expected }
    }
}
