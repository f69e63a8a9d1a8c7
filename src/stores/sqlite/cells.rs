//! Converts the values of rows to and from their stored form in SQLite.

use crate::event::{Kind, RequestId, VideoId};
use crate::query::{ColumnType, Value, value};
use crate::time::Epoch;
use rusqlite::types::{FromSqlError, ToSqlOutput, Type, ValueRef};
use rusqlite::{Error, ToSql};
use serde::Serialize;

/// A value in its stored form.
///
/// A video id beyond SQLite's signed 64-bit range is stored as text, in decimal digits, so that
/// readers see the right id. Video columns have no declared type, so that SQLite converts neither
/// form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Nothing,
    Integer(i64),
    Digits(String),
    Name(&'static str),
    Bytes([u8; 16]),
}

impl ToSql for Stored {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Stored::Nothing => ValueRef::Null,
            Stored::Integer(integer) => ValueRef::Integer(*integer),
            Stored::Digits(digits) => ValueRef::Text(digits.as_bytes()),
            Stored::Name(name) => ValueRef::Text(name.as_bytes()),
            Stored::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// The stored form of a part of a partition's progress.
pub(super) fn json(part: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(part).map_err(|error| Error::ToSqlConversionFailure(error.into()))
}

/// The stored form of a video id.
pub(super) fn stored_video(video: VideoId) -> Stored {
    match i64::try_from(video.0) {
        Ok(integer) => Stored::Integer(integer),
        Err(_) => Stored::Digits(video.0.to_string()),
    }
}

/// The stored form of a value.
///
/// # Errors
/// When a number is beyond SQLite's signed 64-bit range.
pub(super) fn stored(value: Value) -> rusqlite::Result<Stored> {
    Ok(match value {
        Value::Video(video) => stored_video(video),
        Value::Request(request) => Stored::Bytes(request.to_u128().to_be_bytes()),
        Value::Count(number) | Value::Rate(number) => Stored::Integer(integer(number)?),
        Value::Thousandths(number) => Stored::Integer(number),
        Value::Epoch(epoch) => {
            epoch.map_or(Stored::Nothing, |Epoch(number)| Stored::Integer(number))
        }
        Value::Flag(flag) => Stored::Integer(i64::from(flag)),
        Value::Kind(kind) => Stored::Name(kind.name()),
        Value::Digest(_) => Stored::Digits(value.to_string()),
    })
}

/// Converts a number to a signed 64-bit integer of SQLite.
///
/// # Errors
/// When the number is out of range.
pub(super) fn integer(number: u64) -> rusqlite::Result<i64> {
    i64::try_from(number).map_err(|error| Error::ToSqlConversionFailure(error.into()))
}

/// Reads a value of a column.
///
/// # Errors
/// When the stored value does not have the type of the column: another program changed the store.
pub(super) fn value(column_type: ColumnType, stored: ValueRef<'_>) -> rusqlite::Result<Value> {
    read(column_type, stored)
        .map_err(|error| Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))
}

fn read(column_type: ColumnType, stored: ValueRef<'_>) -> Result<Value, FromSqlError> {
    Ok(match column_type {
        ColumnType::Video => Value::Video(VideoId(match stored {
            ValueRef::Text(_) => stored.as_str()?.parse().map_err(FromSqlError::other)?,
            _ => unsigned(stored)?,
        })),
        ColumnType::Request => {
            let bytes = stored.as_blob()?.try_into().map_err(FromSqlError::other)?;
            Value::Request(RequestId::from_u128(u128::from_be_bytes(bytes)))
        }
        ColumnType::Count => Value::Count(unsigned(stored)?),
        ColumnType::Rate => Value::Rate(unsigned(stored)?),
        ColumnType::Thousandths => Value::Thousandths(stored.as_i64()?),
        ColumnType::Epoch => Value::Epoch(match stored {
            ValueRef::Null => None,
            _ => Some(Epoch(stored.as_i64()?)),
        }),
        ColumnType::Flag => Value::Flag(stored.as_i64()? != 0),
        ColumnType::Kind => {
            Value::Kind(Kind::named(stored.as_str()?).ok_or(FromSqlError::InvalidType)?)
        }
        ColumnType::Digest => {
            Value::Digest(value::digest(stored.as_str()?).ok_or(FromSqlError::InvalidType)?)
        }
    })
}

fn unsigned(stored: ValueRef<'_>) -> Result<u64, FromSqlError> {
    u64::try_from(stored.as_i64()?).map_err(FromSqlError::other)
}
