//! How the cells of a row are written as values of SQLite, and read back.

use crate::event::{Kind, RequestId, VideoId};
use crate::query::{ColumnType, KEY_CELLS};
use crate::stores::description::StoredColumn;
use rusqlite::types::{FromSqlError, ToSqlOutput, Type, ValueRef};
use rusqlite::{Error, ToSql};
use std::fmt;

/// A value of a row, as it is read from a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A video.
    Video(VideoId),
    /// A request.
    Request(RequestId),
    /// A number of things.
    Count(u64),
    /// Yes or no.
    Flag(bool),
    /// Impressions or plays.
    Kind(Kind),
}

impl fmt::Display for Value {
    /// As in the store's views: numbers in decimal, a flag as 0 or 1, a request as a UUID.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Video(video) => video.0.fmt(formatter),
            Value::Request(request) => request.fmt(formatter),
            Value::Count(count) => count.fmt(formatter),
            Value::Flag(flag) => u8::from(*flag).fmt(formatter),
            Value::Kind(kind) => kind.fmt(formatter),
        }
    }
}

/// A value on its way into a statement.
///
/// A video id beyond SQLite's signed range is its decimal digits as text, so that it is right when
/// read; the columns of videos have no declared type, which keeps both forms as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Integer(i64),
    Digits(String),
    Name(&'static str),
    Bytes([u8; 16]),
}

impl ToSql for Stored {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Stored::Integer(integer) => ValueRef::Integer(*integer),
            Stored::Digits(digits) => ValueRef::Text(digits.as_bytes()),
            Stored::Name(name) => ValueRef::Text(name.as_bytes()),
            Stored::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// The stored form of a video id.
pub(super) fn stored_video(video: VideoId) -> Stored {
    match i64::try_from(video.0) {
        Ok(integer) => Stored::Integer(integer),
        Err(_) => Stored::Digits(video.0.to_string()),
    }
}

/// The stored form of a column's cells.
///
/// # Errors
/// When a count is beyond SQLite's signed range.
///
/// # Panics
/// When the cells are none of the column's type: a fault of the query.
pub(super) fn stored(column_type: ColumnType, cells: &[u64]) -> rusqlite::Result<Stored> {
    Ok(match column_type {
        ColumnType::Video => stored_video(VideoId(cells[0])),
        ColumnType::Request => {
            Stored::Bytes(RequestId([cells[0], cells[1]]).to_u128().to_be_bytes())
        }
        ColumnType::Count => Stored::Integer(integer(cells[0])?),
        ColumnType::Flag => Stored::Integer(i64::from(cells[0] != 0)),
        ColumnType::Kind => Stored::Name(Kind::ALL[cells[0] as usize].name()),
    })
}

/// A number as SQLite's signed integer.
///
/// # Errors
/// When it is beyond its range.
pub(super) fn integer(number: u64) -> rusqlite::Result<i64> {
    i64::try_from(number).map_err(|error| Error::ToSqlConversionFailure(error.into()))
}

/// A key's cells in an order near that of the table's B-tree, so that rows which are inserted in
/// this order touch each of its pages once.
pub(super) fn stored_order(columns: &[StoredColumn], key: &[u64; KEY_CELLS]) -> [u64; KEY_CELLS] {
    let mut order = *key;
    let mut next = 0;
    for column in columns {
        if column.column_type == ColumnType::Request {
            let bits = RequestId([key[next], key[next + 1]]).to_u128();
            (order[next], order[next + 1]) = ((bits >> 64) as u64, bits as u64);
        }
        next += column.column_type.cells();
    }
    order
}

/// Reads a value of a column.
///
/// # Errors
/// When the store holds something else there: it was changed by another program.
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
        ColumnType::Flag => Value::Flag(stored.as_i64()? != 0),
        ColumnType::Kind => {
            let name = stored.as_str()?;
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
            Value::Kind(kind.ok_or(FromSqlError::InvalidType)?)
        }
    })
}

fn unsigned(stored: ValueRef<'_>) -> Result<u64, FromSqlError> {
    u64::try_from(stored.as_i64()?).map_err(FromSqlError::other)
}
