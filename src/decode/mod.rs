//! Decodes records into events: the fields of a record, and the errors.
//!
//! A record has a request id, a video id, an event time and, optionally, a record time. JSON is
//! decoded by a hand-written scanner, with serde_json as the fallback (`json`).
//!
//! [`avro`] and [`protobuf`] records need schemas, which their [`confluent`] framing identifies.
//! Records are walked by their schemas: only the wanted fields are read, nothing is allocated, and
//! no length or depth that a record claims is trusted before its bytes have been found.

#[cfg(feature = "schema-registry")]
pub mod avro;
#[cfg(feature = "schema-registry")]
pub mod confluent;
mod fields;
mod json;
#[cfg(feature = "schema-registry")]
pub mod protobuf;
#[cfg_attr(
    not(all(feature = "parquet", feature = "schema-registry")),
    allow(dead_code, reason = "each format has its own kinds of values")
)]
pub(crate) mod value;

pub(crate) use fields::FieldTree;
pub use fields::{FIELDS, FieldNames, FieldPath, FieldPathError, LogFields};
pub use json::JsonDecoder;

use crate::event::{REQUEST_ID_BYTES_MAX, RequestId};
use crate::time::date::{self, NotATime};
use crate::time::{EVENT_TIME_MAX_MS, EVENT_TIME_MIN_MS, probable_unit};
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
    /// Returns its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            MessageFormat::Json => "json",
            MessageFormat::Avro => "avro",
            MessageFormat::Protobuf => "protobuf",
        }
    }

    /// Returns its name in a schema registry.
    pub fn registry_name(self) -> &'static str {
        match self {
            MessageFormat::Json => "JSON",
            MessageFormat::Avro => "AVRO",
            MessageFormat::Protobuf => "PROTOBUF",
        }
    }
}

/// Why a record is not an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The record is not text.
    #[error("invalid UTF-8 after {0} bytes")]
    NotUtf8(usize),
    /// The record is not JSON.
    #[error("not JSON: {reason} at column {column}")]
    NotJson {
        /// The message of serde_json.
        reason: String,
        /// The column, in bytes from 1.
        column: usize,
    },
    /// The record is a JSON array or scalar.
    #[error("not a JSON object")]
    NotAnObject,
    /// A required field is absent.
    #[error("missing field `{0}`")]
    Missing(String),
    /// A field occurs more than once.
    #[error("duplicate field `{0}`")]
    Duplicate(String),
    /// A field has a value of the wrong type.
    #[error("`{field}` is {found}, expected {expected}")]
    WrongType {
        /// The name of the field.
        field: String,
        /// The type of its value.
        found: &'static str,
        /// The types that are valid.
        expected: &'static str,
    },
    /// The request id is empty.
    #[error("`{0}` is empty")]
    EmptyId(String),
    /// The request id is too long.
    #[error("`{field}` is {bytes} bytes long, expected at most {REQUEST_ID_BYTES_MAX}")]
    LongId {
        /// The name of the field.
        field: String,
        /// Its length, in bytes.
        bytes: usize,
    },
    /// An RFC 3339 time has no zone.
    #[error("`{0}` has no zone; append `Z` or an offset such as `+01:00`")]
    NoZone(String),
    /// A string is not an RFC 3339 time.
    #[error("`{0}` is not a time in RFC 3339, such as `2026-01-01T00:00:00Z`")]
    NotATime(String),
    /// A message is not in Confluent framing.
    #[error("not in Confluent framing: {0}")]
    NotFramed(&'static str),
    /// A record does not match its schema.
    #[error("invalid {format} for its schema: {reason}")]
    SchemaMismatch {
        /// `Avro` or `Protobuf`.
        format: &'static str,
        /// The reason.
        reason: &'static str,
    },
    /// The bytes of a request id are not a UUID.
    #[error("`{field}` is {bytes} bytes, expected a string or the 16 bytes of a UUID")]
    NotAUuid {
        /// The name of the field.
        field: String,
        /// The number of bytes.
        bytes: usize,
    },
    /// A time is out of range, and within it in another unit.
    #[error("`{field}` looks like {unit} since 1970, expected milliseconds")]
    OtherUnit {
        /// The name of the field.
        field: String,
        /// The unit.
        unit: &'static str,
    },
    /// A time is before 0001-01-01 or after 9999-12-30.
    #[error("`{0}` is out of range, expected a time from 0001-01-01 to 9999-12-30")]
    TimeOutOfRange(String),
}

/// Parses the text of a field as a request id.
pub(crate) fn request_id(field: &str, text: &str) -> Result<RequestId, DecodeError> {
    RequestId::parse(text).ok_or_else(|| match text.len() {
        0 => DecodeError::EmptyId(field.into()),
        bytes => DecodeError::LongId { field: field.into(), bytes },
    })
}

/// Whether a time in milliseconds is within the limits of event time.
#[inline(always)]
pub(crate) fn is_time_ms(time_ms: i64) -> bool {
    (EVENT_TIME_MIN_MS..=EVENT_TIME_MAX_MS).contains(&time_ms)
}

/// Returns the milliseconds of a field, if they are within the limits of event time.
#[inline]
pub(crate) fn time_in_range(field: &str, time_ms: i64) -> Result<i64, DecodeError> {
    if is_time_ms(time_ms) {
        return Ok(time_ms);
    }
    Err(match probable_unit(time_ms) {
        Some(unit) => DecodeError::OtherUnit { field: field.into(), unit },
        None => DecodeError::TimeOutOfRange(field.into()),
    })
}

/// Parses the text of a field as an RFC 3339 time, in milliseconds rounded down.
pub(crate) fn time_from_text(field: &str, text: &str) -> Result<i64, DecodeError> {
    match date::parse(text) {
        Ok(time_ms) => time_in_range(field, time_ms),
        Err(NotATime::NoZone) => Err(DecodeError::NoZone(field.into())),
        Err(NotATime::Malformed) => Err(DecodeError::NotATime(field.into())),
    }
}
