//! The authoritative decoder: serde_json decides, and errors are precise.

use crate::decode::{DecodeError, FieldNames, request_id, time_from_text, time_in_range};
use crate::event::{Event, RequestId, VideoId};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use std::borrow::Cow;
use std::fmt;

const ID_EXPECTED: &str = "a string";
const VIDEO_EXPECTED: &str = "an unsigned 64-bit integer";
const TIME_EXPECTED: &str = "integer milliseconds or a string in RFC 3339";

/// Returns the event in a record.
pub(super) fn decode(
    fields: &FieldNames,
    record: &[u8],
    offset: u64,
) -> Result<Event, DecodeError> {
    let text =
        std::str::from_utf8(record).map_err(|error| DecodeError::NotUtf8(error.valid_up_to()))?;
    let names = fields.all();
    let [request, video, event_time, record_time] = parse(names, text)?;
    Ok(Event {
        offset,
        request: to_request_id(names[0], request)?,
        video: to_video_id(names[1], video)?,
        event_time_ms: to_time_ms(names[2], event_time)?,
        record_time_ms: match record_time {
            FieldValue::Absent | FieldValue::Null => None,
            found => Some(to_time_ms(names[3], found)?),
        },
    })
}

fn to_request_id(field: &str, found: FieldValue<'_>) -> Result<RequestId, DecodeError> {
    match found {
        FieldValue::Text(text) => request_id(field, &text),
        other => Err(other.into_error(field, ID_EXPECTED)),
    }
}

fn to_video_id(field: &str, found: FieldValue<'_>) -> Result<VideoId, DecodeError> {
    match found {
        FieldValue::Unsigned(video) => Ok(VideoId(video)),
        other => Err(other.into_error(field, VIDEO_EXPECTED)),
    }
}

fn to_time_ms(field: &str, found: FieldValue<'_>) -> Result<i64, DecodeError> {
    match found {
        FieldValue::Unsigned(time_ms) => {
            time_in_range(field, time_ms.try_into().unwrap_or(i64::MAX))
        }
        FieldValue::Negative(time_ms) => time_in_range(field, time_ms),
        FieldValue::Text(text) => time_from_text(field, &text),
        other => Err(other.into_error(field, TIME_EXPECTED)),
    }
}

/// Returns the values of the four fields.
fn parse<'a>(names: [&str; 4], text: &'a str) -> Result<[FieldValue<'a>; 4], DecodeError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let record = RecordSeed(names)
        .deserialize(&mut deserializer)
        .and_then(|record| deserializer.end().map(|()| record))
        .map_err(|error| match error.classify() {
            // This visitor only rejects records that are not objects.
            Category::Data => DecodeError::NotAnObject,
            _ => not_json(&error),
        })?;
    match record.duplicate {
        Some(field) => Err(DecodeError::Duplicate(names[field].into())),
        None => Ok(record.found),
    }
}

fn not_json(error: &serde_json::Error) -> DecodeError {
    let text = error.to_string();
    // The line number of serde_json is left out.
    let reason = text.split(" at line ").next().unwrap_or_default();
    DecodeError::NotJson { reason: reason.into(), column: error.column() }
}

/// The value of a field.
#[derive(Debug, Default)]
enum FieldValue<'a> {
    #[default]
    Absent,
    Null,
    Boolean,
    Unsigned(u64),
    Negative(i64),
    OtherNumber,
    Text(Cow<'a, str>),
    Array,
    Object,
}

impl FieldValue<'_> {
    fn into_error(self, field: &str, expected: &'static str) -> DecodeError {
        let found = match self {
            FieldValue::Absent => return DecodeError::Missing(field.into()),
            FieldValue::Null => "null",
            FieldValue::Boolean => "a boolean",
            FieldValue::Unsigned(_) => "an integer",
            FieldValue::Negative(_) => "a negative integer",
            FieldValue::OtherNumber => "a number with a fraction, an exponent or too many digits",
            FieldValue::Text(_) => "a string",
            FieldValue::Array => "an array",
            FieldValue::Object => "an object",
        };
        DecodeError::WrongType { field: field.into(), found, expected }
    }
}

#[derive(Default)]
struct Record<'a> {
    found: [FieldValue<'a>; 4],
    duplicate: Option<usize>,
}

struct RecordSeed<'n>([&'n str; 4]);

impl<'a> DeserializeSeed<'a> for RecordSeed<'_> {
    type Value = Record<'a>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Record<'a>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for RecordSeed<'_> {
    type Value = Record<'a>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Record<'a>, A::Error> {
        let mut record = Record::default();
        while let Some(field) = map.next_key_seed(KeySeed(self.0))? {
            match field.map(|field| (field, &mut record.found[field])) {
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
                Some((_, found @ FieldValue::Absent)) => *found = map.next_value_seed(FoundSeed)?,
                Some((field, _)) => {
                    record.duplicate.get_or_insert(field);
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(record)
    }
}

/// Reads a key, and returns the index of the wanted field with this name, if any.
struct KeySeed<'n>([&'n str; 4]);

impl<'a> DeserializeSeed<'a> for KeySeed<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Option<usize>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a field's name")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|&name| name == key))
    }
}

/// Reads a value of any type, and retains it if a wanted field can have it.
struct FoundSeed;

impl<'a> DeserializeSeed<'a> for FoundSeed {
    type Value = FieldValue<'a>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<FieldValue<'a>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for FoundSeed {
    type Value = FieldValue<'a>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<FieldValue<'a>, E> {
        Ok(FieldValue::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<FieldValue<'a>, E> {
        Ok(FieldValue::Boolean)
    }

    fn visit_u64<E>(self, number: u64) -> Result<FieldValue<'a>, E> {
        Ok(FieldValue::Unsigned(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<FieldValue<'a>, E> {
        Ok(FieldValue::Negative(number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<FieldValue<'a>, E> {
        Ok(FieldValue::OtherNumber)
    }

    fn visit_str<E>(self, text: &str) -> Result<FieldValue<'a>, E> {
        Ok(FieldValue::Text(Cow::Owned(text.into())))
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<FieldValue<'a>, E> {
        Ok(FieldValue::Text(Cow::Borrowed(text)))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut items: A) -> Result<FieldValue<'a>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(FieldValue::Array)
    }

    fn visit_map<A: MapAccess<'a>>(self, mut entries: A) -> Result<FieldValue<'a>, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(FieldValue::Object)
    }
}
