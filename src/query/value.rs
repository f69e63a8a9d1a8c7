//! The types of columns and their values. Only this module knows how a value is encoded in the
//! cells of a row, and how it is formatted.

use crate::event::{Kind, RequestId, VideoId};
use crate::time::Epoch;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The type of the values of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// A [`VideoId`].
    Video,
    /// A [`RequestId`], in two cells.
    Request,
    /// A count.
    Count,
    /// A rate, in millionths.
    Rate,
    /// A number with a sign, in thousandths.
    Thousandths,
    /// The number of an epoch, or none.
    Epoch,
    /// A boolean.
    Flag,
    /// A [`Kind`] of event.
    Kind,
    /// The digest of a file, in two cells.
    Digest,
}

impl ColumnType {
    /// All types.
    pub const ALL: [ColumnType; 9] = [
        ColumnType::Video,
        ColumnType::Request,
        ColumnType::Count,
        ColumnType::Rate,
        ColumnType::Thousandths,
        ColumnType::Epoch,
        ColumnType::Flag,
        ColumnType::Kind,
        ColumnType::Digest,
    ];

    /// Returns the number of cells that a value takes.
    pub const fn cells(self) -> usize {
        match self {
            ColumnType::Request | ColumnType::Digest => 2,
            _ => 1,
        }
    }

    /// Returns its name in stores.
    pub fn name(self) -> &'static str {
        match self {
            ColumnType::Video => "video",
            ColumnType::Request => "request",
            ColumnType::Count => "count",
            ColumnType::Rate => "rate",
            ColumnType::Thousandths => "thousandths",
            ColumnType::Epoch => "epoch",
            ColumnType::Flag => "flag",
            ColumnType::Kind => "kind",
            ColumnType::Digest => "digest",
        }
    }

    /// Returns whether its values are numbers, which are right-aligned in tables.
    pub fn is_number(self) -> bool {
        match self {
            ColumnType::Video
            | ColumnType::Count
            | ColumnType::Rate
            | ColumnType::Thousandths
            | ColumnType::Epoch => true,
            ColumnType::Request | ColumnType::Flag | ColumnType::Kind | ColumnType::Digest => false,
        }
    }
}

/// The cell of no epoch: no definition reaches the number that it would be.
const NO_EPOCH: u64 = i64::MIN.cast_unsigned();

/// A value of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A video.
    Video(VideoId),
    /// A request.
    Request(RequestId),
    /// A count.
    Count(u64),
    /// A rate, in millionths.
    Rate(u64),
    /// A number with a sign, in thousandths.
    Thousandths(i64),
    /// An epoch, or none.
    Epoch(Option<Epoch>),
    /// A boolean.
    Flag(bool),
    /// A kind of event.
    Kind(Kind),
    /// A digest of 128 bits.
    Digest(u128),
}

impl Value {
    /// Returns the type of the columns that can hold it.
    pub fn column_type(self) -> ColumnType {
        match self {
            Value::Video(_) => ColumnType::Video,
            Value::Request(_) => ColumnType::Request,
            Value::Count(_) => ColumnType::Count,
            Value::Rate(_) => ColumnType::Rate,
            Value::Thousandths(_) => ColumnType::Thousandths,
            Value::Epoch(_) => ColumnType::Epoch,
            Value::Flag(_) => ColumnType::Flag,
            Value::Kind(_) => ColumnType::Kind,
            Value::Digest(_) => ColumnType::Digest,
        }
    }

    /// Appends its cells.
    #[inline]
    pub(super) fn push_cells(self, mut push: impl FnMut(u64)) {
        match self {
            Value::Video(VideoId(video)) => push(video),
            Value::Request(RequestId(words)) => words.into_iter().for_each(push),
            Value::Count(count) => push(count),
            Value::Rate(millionths) => push(millionths),
            Value::Thousandths(number) => push(number.cast_unsigned()),
            Value::Epoch(epoch) => push(epoch.map_or(NO_EPOCH, |epoch| epoch.0.cast_unsigned())),
            Value::Flag(flag) => push(u64::from(flag)),
            Value::Kind(kind) => push(kind as u64),
            Value::Digest(digest) => {
                [(digest >> 64) as u64, digest as u64].into_iter().for_each(push)
            }
        }
    }

    /// Returns the value in the cells of a column.
    ///
    /// # Panics
    /// If they are not valid for the column's type, which a checked row rules out.
    #[inline]
    pub(super) fn from_cells(column_type: ColumnType, cells: &[u64]) -> Value {
        match column_type {
            ColumnType::Video => Value::Video(VideoId(cells[0])),
            ColumnType::Request => Value::Request(RequestId([cells[0], cells[1]])),
            ColumnType::Count => Value::Count(cells[0]),
            ColumnType::Rate => Value::Rate(cells[0]),
            ColumnType::Thousandths => Value::Thousandths(cells[0].cast_signed()),
            ColumnType::Epoch => {
                Value::Epoch((cells[0] != NO_EPOCH).then_some(Epoch(cells[0].cast_signed())))
            }
            ColumnType::Flag => Value::Flag(cells[0] != 0),
            ColumnType::Kind => Value::Kind(Kind::ALL[cells[0] as usize]),
            ColumnType::Digest => Value::Digest(u128::from(cells[0]) << 64 | u128::from(cells[1])),
        }
    }

    /// Appends words that order the values of a column as readers see them: requests as UUIDs,
    /// numbers with a sign from the least on, all others as numbers.
    #[inline]
    pub(super) fn push_sort_key(self, mut push: impl FnMut(u64)) {
        match self {
            Value::Request(request) => {
                let bits = request.to_u128();
                push((bits >> 64) as u64);
                push(bits as u64);
            }
            Value::Thousandths(_) | Value::Epoch(_) => {
                self.push_cells(|cell| push(cell ^ i64::MIN.cast_unsigned()));
            }
            other => other.push_cells(push),
        }
    }

    /// Appends it as JSON: numbers in decimal, no epoch as null, a flag as a boolean, others as
    /// strings.
    pub fn write_json(self, json: &mut Vec<u8>) {
        match self {
            Value::Video(VideoId(number)) | Value::Count(number) | Value::Rate(number) => {
                write_unsigned(number, json);
            }
            Value::Thousandths(number) | Value::Epoch(Some(Epoch(number))) => {
                write_integer(number, json);
            }
            Value::Epoch(None) => json.extend_from_slice(b"null"),
            Value::Request(request) => write_request(request, json),
            Value::Flag(flag) => json.extend_from_slice(if flag { b"true" } else { b"false" }),
            Value::Kind(kind) => {
                json.push(b'"');
                json.extend_from_slice(kind.name().as_bytes());
                json.push(b'"');
            }
            Value::Digest(digest) => {
                json.extend_from_slice(format!("\"{digest:032x}\"").as_bytes())
            }
        }
    }

    /// Parses the output of [`Value::write_json`].
    pub fn from_json(column_type: ColumnType, json: &serde_json::Value) -> Option<Value> {
        Some(match column_type {
            ColumnType::Video => Value::Video(VideoId(json.as_u64()?)),
            ColumnType::Request => Value::Request(RequestId::parse(json.as_str()?)?),
            ColumnType::Count => Value::Count(json.as_u64()?),
            ColumnType::Rate => Value::Rate(json.as_u64()?),
            ColumnType::Thousandths => Value::Thousandths(json.as_i64()?),
            ColumnType::Epoch if json.is_null() => Value::Epoch(None),
            ColumnType::Epoch => Value::Epoch(Some(Epoch(json.as_i64()?))),
            ColumnType::Flag => Value::Flag(json.as_bool()?),
            ColumnType::Kind => Value::Kind(Kind::named(json.as_str()?)?),
            ColumnType::Digest => Value::Digest(digest(json.as_str()?)?),
        })
    }
}

impl fmt::Display for Value {
    /// As in the store's views: numbers in decimal, no epoch as nothing, a flag as 0 or 1, a
    /// request as a UUID, a digest as 32 hexadecimal digits.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Video(VideoId(number)) | Value::Count(number) | Value::Rate(number) => {
                number.fmt(formatter)
            }
            Value::Thousandths(number) | Value::Epoch(Some(Epoch(number))) => number.fmt(formatter),
            Value::Epoch(None) => Ok(()),
            Value::Request(request) => request.fmt(formatter),
            Value::Flag(flag) => u8::from(*flag).fmt(formatter),
            Value::Kind(kind) => kind.fmt(formatter),
            Value::Digest(digest) => write!(formatter, "{digest:032x}"),
        }
    }
}

/// Parses a digest: 32 hexadecimal digits.
pub fn digest(text: &str) -> Option<u128> {
    let is_digest = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest { u128::from_str_radix(text, 16).ok() } else { None }
}

/// Appends a number in decimal.
pub fn write_integer(number: i64, json: &mut Vec<u8>) {
    if number < 0 {
        json.push(b'-');
    }
    write_unsigned(number.unsigned_abs(), json);
}

fn write_unsigned(number: u64, json: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    let mut rest = number;
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    json.extend_from_slice(&digits[first..]);
}

/// Appends the 36-character form of a UUID, in lower case and in quotes.
fn write_request(request: RequestId, json: &mut Vec<u8>) {
    let digit = |half: u8| b"0123456789abcdef"[usize::from(half)];
    json.push(b'"');
    for (index, byte) in request.to_u128().to_be_bytes().into_iter().enumerate() {
        if [4, 6, 8, 10].contains(&index) {
            json.push(b'-');
        }
        json.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    json.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<u64>().prop_map(|video| Value::Video(VideoId(video))),
            any::<u128>().prop_map(|bits| Value::Request(RequestId::from_u128(bits))),
            any::<u64>().prop_map(Value::Count),
            any::<u64>().prop_map(Value::Rate),
            any::<i64>().prop_map(Value::Thousandths),
            (i64::MIN + 1..).prop_map(|epoch| Value::Epoch(Some(Epoch(epoch)))),
            Just(Value::Epoch(None)),
            any::<bool>().prop_map(Value::Flag),
            any::<bool>().prop_map(|play| Value::Kind(Kind::ALL[usize::from(play)])),
            any::<u128>().prop_map(Value::Digest),
        ]
    }

    proptest! {
        #[test]
        fn a_value_round_trips_through_its_cells_and_its_json(value in values()) {
            let mut cells = Vec::new();
            value.push_cells(|cell| cells.push(cell));
            prop_assert_eq!(cells.len(), value.column_type().cells());
            prop_assert_eq!(Value::from_cells(value.column_type(), &cells), value);
            let mut json = Vec::new();
            value.write_json(&mut json);
            let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
            prop_assert_eq!(Value::from_json(value.column_type(), &json), Some(value));
        }
    }

    #[test]
    fn record_values_have_the_documented_form() {
        let request = Value::Request(RequestId::from_u128(0x123));
        for (value, text, json) in [
            (Value::Video(VideoId(u64::MAX)), "18446744073709551615", "18446744073709551615"),
            (Value::Flag(true), "1", "true"),
            (Value::Kind(Kind::Play), "play", "\"play\""),
            (
                request,
                "00000000-0000-0000-0000-000000000123",
                "\"00000000-0000-0000-0000-000000000123\"",
            ),
        ] {
            let mut written = Vec::new();
            value.write_json(&mut written);
            assert_eq!((value.to_string().as_str(), written.as_slice()), (text, json.as_bytes()));
        }
        let mut integer = Vec::new();
        write_integer(i64::MIN, &mut integer);
        assert_eq!(integer, i64::MIN.to_string().as_bytes());
    }

    #[test]
    fn every_type_has_a_distinct_name() {
        let names: std::collections::BTreeSet<_> =
            ColumnType::ALL.into_iter().map(ColumnType::name).collect();
        assert_eq!(names.len(), ColumnType::ALL.len());
    }
}
