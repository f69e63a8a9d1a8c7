//! Decodes a record into an event: what a record holds, and what can be wrong with one.
//!
//! A record has a request id, a video id, an event time and, perhaps, a time of its own. JSON is
//! read by a hand-written scanner (`scan`), which knows the common shape and gives up on anything
//! else; then serde_json (`strict`) decides, and says what is wrong. The scanner accepts nothing
//! that serde_json would not accept as the same event.
//!
//! Records of [`avro`] and [`protobuf`] need schemas, which their [`confluent`] names. They are
//! walked by their schemas: of each only the wanted fields are looked at, nothing is allocated,
//! and no length or depth that a record claims is believed before it is there.

pub mod avro;
pub mod confluent;
mod json;
pub mod protobuf;
mod value;

pub use json::JsonDecoder;

use crate::event::{REQUEST_ID_BYTES_MAX, RequestId};
use crate::time::{EVENT_TIME_MAX_MS, EVENT_TIME_MIN_MS};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The format of messages in topics.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageFormat {
    /// JSON objects
    #[default]
    Json,
    /// Avro
    Avro,
    /// Protobuf
    Protobuf,
}

impl MessageFormat {
    /// Its name in a schema registry.
    pub fn registry_name(self) -> &'static str {
        match self {
            MessageFormat::Json => "JSON",
            MessageFormat::Avro => "AVRO",
            MessageFormat::Protobuf => "PROTOBUF",
        }
    }
}

/// What the fields of a record are called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FieldNames {
    /// The field of the request id: a string of 1 to 256 bytes.
    pub request_id: String,
    /// The field of the video id: an unsigned 64-bit integer.
    pub video_id: String,
    /// The field of the event time: integer milliseconds, or RFC 3339 with a zone.
    pub event_time: String,
    /// The field of the record's own time, in the same forms; it may be null or absent.
    pub record_time: String,
}

impl Default for FieldNames {
    /// `request_id`, `video_id`, `event_time` and `record_time`.
    fn default() -> Self {
        FieldNames {
            request_id: "request_id".into(),
            video_id: "video_id".into(),
            event_time: "event_time".into(),
            record_time: "record_time".into(),
        }
    }
}

impl FieldNames {
    /// The names, in the order in which fields are checked.
    fn all(&self) -> [&str; 4] {
        [&self.request_id, &self.video_id, &self.event_time, &self.record_time]
    }
}

/// Why a record is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The record is not text.
    #[error("invalid UTF-8 after {0} bytes")]
    NotUtf8(usize),
    /// The record is not JSON.
    #[error("not JSON: {reason} at column {column}")]
    NotJson {
        /// What serde_json says.
        reason: String,
        /// Where, in bytes from 1.
        column: usize,
    },
    /// The record is JSON, but an array or a scalar.
    #[error("not a JSON object")]
    NotAnObject,
    /// A field that an event needs is absent.
    #[error("missing field `{0}`")]
    Missing(String),
    /// A field is there more than once.
    #[error("duplicate field `{0}`")]
    Duplicate(String),
    /// A field holds something else than it should.
    #[error("`{field}` is {found}, expected {expected}")]
    WrongType {
        /// Which field.
        field: String,
        /// What it holds.
        found: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// The request id is empty.
    #[error("`{0}` is empty")]
    EmptyId(String),
    /// The request id is too long.
    #[error("`{field}` is {bytes} bytes long, expected at most {REQUEST_ID_BYTES_MAX}")]
    LongId {
        /// Which field.
        field: String,
        /// How long it is.
        bytes: usize,
    },
    /// A time in RFC 3339 does not say in which zone.
    #[error("`{0}` has no zone; append `Z` or an offset such as `+01:00`")]
    NoZone(String),
    /// A text is no time in RFC 3339.
    #[error("`{0}` is not a time in RFC 3339, such as `2026-01-01T00:00:00Z`")]
    NotATime(String),
    /// A message has no Confluent confluent.
    #[error("not in Confluent confluent: {0}")]
    NotFramed(&'static str),
    /// A record does not have the form that its schema says.
    #[error("not {format} of its schema: {reason}")]
    NotOfSchema {
        /// `Avro` or `Protobuf`.
        format: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// The bytes of a request id are no UUID.
    #[error("`{field}` is {bytes} bytes that are no text, expected a string or the 16 of a UUID")]
    NotAUuid {
        /// Which field.
        field: String,
        /// How many they are.
        bytes: usize,
    },
    /// A time lies before the year 1 or after 9999.
    #[error("`{0}` is out of range, expected a time of the years 1 to 9999")]
    TimeOutOfRange(String),
}

/// The request id that a field's text stands for.
pub(crate) fn request_id(field: &str, text: &str) -> Result<RequestId, DecodeError> {
    RequestId::parse(text).ok_or_else(|| match text.len() {
        0 => DecodeError::EmptyId(field.into()),
        bytes => DecodeError::LongId { field: field.into(), bytes },
    })
}

/// A field's milliseconds, if they are within the limits of event time.
pub(crate) fn time_in_range(field: &str, time_ms: i64) -> Result<i64, DecodeError> {
    if (EVENT_TIME_MIN_MS..=EVENT_TIME_MAX_MS).contains(&time_ms) {
        Ok(time_ms)
    } else {
        Err(DecodeError::TimeOutOfRange(field.into()))
    }
}

/// The milliseconds that a field's RFC 3339 text stands for; what is below one is cut off.
pub(crate) fn time_from_text(field: &str, text: &str) -> Result<i64, DecodeError> {
    match text.parse::<Timestamp>() {
        Ok(timestamp) => time_in_range(field, floor_ms(timestamp)),
        Err(_) if text.parse::<jiff::civil::DateTime>().is_ok() => {
            Err(DecodeError::NoZone(field.into()))
        }
        Err(_) => Err(DecodeError::NotATime(field.into())),
    }
}

/// Rounds down, also before 1970, where jiff's own conversion rounds up.
fn floor_ms(timestamp: Timestamp) -> i64 {
    let second_ms = timestamp.as_second() * 1_000;
    second_ms + i64::from(timestamp.subsec_nanosecond()).div_euclid(1_000_000)
}
