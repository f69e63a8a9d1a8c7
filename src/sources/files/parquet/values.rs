//! The values of event columns by their types. The usual types are read directly, and all others as
//! values of any format.
//!
//! `get` reads the value of a row, or says what is wrong with it. `fill` reads those of many rows
//! in a row, and gives up if anything is wrong with one: then each is read by `get`.

use super::known::Known;
use crate::decode::value::{FieldValue, to_request_id, to_time_ms, to_video_id};
use crate::decode::{DecodeError, is_time_ms, request_id, time_in_range};
use crate::event::{RequestId, VideoId};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Int8Type,
    Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, StringViewArray};
use arrow_schema::{DataType, TimeUnit};

/// Returns the type to read a column as: without a dictionary, and text and bytes as views.
pub(super) fn readable_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, value) => readable_type(value),
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        other => other.clone(),
    }
}

/// Whether a column of a [`readable_type`] can be one of request ids.
pub(super) fn is_id(data_type: &DataType) -> bool {
    use DataType::{BinaryView, FixedSizeBinary, Utf8View};
    matches!(data_type, Utf8View | BinaryView | FixedSizeBinary(_))
}

/// Whether a column of a [`readable_type`] can be one of video ids.
pub(super) fn is_video(data_type: &DataType) -> bool {
    data_type.is_integer() || data_type.is_decimal() || *data_type == DataType::Utf8View
}

/// Whether a column of a [`readable_type`] can be one of times.
pub(super) fn is_time(data_type: &DataType) -> bool {
    is_video(data_type) || matches!(data_type, DataType::Timestamp(..))
}

/// Returns the value of a row.
type ValueOf<'a> = Box<dyn Fn(usize) -> FieldValue<'a> + 'a>;

/// The values of a column of any supported type.
fn values(array: &dyn Array) -> Option<ValueOf<'_>> {
    Some(match array.data_type() {
        DataType::Utf8View => {
            let texts = array.as_string_view();
            Box::new(|row| FieldValue::Text(texts.value(row)))
        }
        DataType::BinaryView => {
            let bytes = array.as_binary_view();
            Box::new(|row| FieldValue::Bytes(bytes.value(row)))
        }
        DataType::FixedSizeBinary(_) => {
            let bytes = array.as_fixed_size_binary();
            Box::new(|row| FieldValue::fixed(bytes.value(row)))
        }
        DataType::UInt64 => numbers::<UInt64Type>(array),
        DataType::UInt32 => numbers::<UInt32Type>(array),
        DataType::UInt16 => numbers::<UInt16Type>(array),
        DataType::UInt8 => numbers::<UInt8Type>(array),
        DataType::Int64 => numbers::<Int64Type>(array),
        DataType::Int32 => numbers::<Int32Type>(array),
        DataType::Int16 => numbers::<Int16Type>(array),
        DataType::Int8 => numbers::<Int8Type>(array),
        DataType::Decimal32(_, scale) => decimals::<Decimal32Type>(array, *scale),
        DataType::Decimal64(_, scale) => decimals::<Decimal64Type>(array, *scale),
        DataType::Decimal128(_, scale) => decimals::<Decimal128Type>(array, *scale),
        DataType::Decimal256(_, scale) => {
            let (decimals, scale) = (array.as_primitive::<Decimal256Type>(), *scale);
            Box::new(move |row| match decimals.value(row).to_i128() {
                Some(digits) => FieldValue::decimal(digits, scale),
                None => FieldValue::WideInteger,
            })
        }
        _ => return None,
    })
}

fn numbers<T: ArrowPrimitiveType<Native: Into<i128>>>(array: &dyn Array) -> ValueOf<'_> {
    let numbers = array.as_primitive::<T>().values();
    Box::new(|row| FieldValue::wide_integer(numbers[row].into()))
}

fn decimals<T: ArrowPrimitiveType<Native: Into<i128>>>(
    array: &dyn Array,
    scale: i8,
) -> ValueOf<'_> {
    let decimals = array.as_primitive::<T>().values();
    Box::new(move |row| FieldValue::decimal(decimals[row].into(), scale))
}

/// A column of request ids.
pub(super) enum Ids<'a> {
    Text(&'a StringViewArray),
    /// The 16 bytes of each.
    Uuids(&'a [[u8; 16]]),
    Other(ValueOf<'a>),
}

impl<'a> Ids<'a> {
    pub(super) fn of(array: &'a dyn Array) -> Option<Ids<'a>> {
        if let Some(texts) = array.as_string_view_opt() {
            return Some(Ids::Text(texts));
        }
        match array.as_fixed_size_binary_opt() {
            Some(bytes) if bytes.value_length() == 16 => {
                Some(Ids::Uuids(bytes.value_data().as_chunks().0))
            }
            _ => values(array).map(Ids::Other),
        }
    }

    #[inline]
    pub(super) fn get(&self, row: usize, field: &str) -> Result<RequestId, DecodeError> {
        match self {
            Ids::Text(texts) => request_id(field, texts.value(row)),
            Ids::Uuids(uuids) => to_request_id(field, FieldValue::fixed(&uuids[row])),
            Ids::Other(value) => to_request_id(field, value(row)),
        }
    }

    #[inline]
    pub(super) fn fill(
        &self,
        known: &mut Known<RequestId>,
        first_row: usize,
        requests: &mut [RequestId],
    ) -> Option<()> {
        match self {
            Ids::Text(texts) => known.fill(texts, first_row, requests, RequestId::parse),
            Ids::Uuids(uuids) => {
                let uuids = uuids.get(first_row..first_row + requests.len())?;
                for (request, uuid) in requests.iter_mut().zip(uuids) {
                    // Bytes that are all ASCII are text.
                    let bits = u128::from_be_bytes(*uuid);
                    if bits & UPPER_BITS == 0 {
                        return None;
                    }
                    *request = RequestId::from_u128(bits);
                }
                Some(())
            }
            Ids::Other(value) => {
                fill_each(first_row, requests, |row| to_request_id("", value(row)))
            }
        }
    }
}

/// The upper bit of each byte.
const UPPER_BITS: u128 = u128::from_ne_bytes([0x80; 16]);

/// Writes the values of the rows from one on, unless one has none.
#[inline]
fn fill_each<T, E>(
    first_row: usize,
    values: &mut [T],
    get: impl Fn(usize) -> Result<T, E>,
) -> Option<()> {
    for (row, value) in (first_row..).zip(values) {
        *value = get(row).ok()?;
    }
    Some(())
}

/// A column of video ids.
pub(super) enum Videos<'a> {
    Unsigned(&'a [u64]),
    Signed(&'a [i64]),
    Text(&'a StringViewArray),
    Other(ValueOf<'a>),
}

impl<'a> Videos<'a> {
    pub(super) fn of(array: &'a dyn Array) -> Option<Videos<'a>> {
        match array.data_type() {
            DataType::UInt64 => Some(Videos::Unsigned(array.as_primitive::<UInt64Type>().values())),
            DataType::Int64 => Some(Videos::Signed(array.as_primitive::<Int64Type>().values())),
            DataType::Utf8View => Some(Videos::Text(array.as_string_view())),
            _ => values(array).map(Videos::Other),
        }
    }

    #[inline]
    pub(super) fn get(&self, row: usize, field: &str) -> Result<VideoId, DecodeError> {
        match self {
            Videos::Unsigned(videos) => Ok(VideoId(videos[row])),
            Videos::Signed(videos) => to_video_id(field, FieldValue::integer(videos[row])),
            Videos::Text(texts) => to_video_id(field, FieldValue::Text(texts.value(row))),
            Videos::Other(value) => to_video_id(field, value(row)),
        }
    }

    #[inline]
    pub(super) fn fill(
        &self,
        known: &mut Known<VideoId>,
        first_row: usize,
        videos: &mut [VideoId],
    ) -> Option<()> {
        let rows = first_row..first_row + videos.len();
        match self {
            Videos::Unsigned(numbers) => {
                let numbers = numbers.get(rows)?;
                videos.iter_mut().zip(numbers).for_each(|(video, &number)| video.0 = number);
                Some(())
            }
            Videos::Signed(numbers) => {
                let numbers = numbers.get(rows)?;
                let videos = videos.iter_mut().zip(numbers);
                videos.for_each(|(video, number)| video.0 = number.cast_unsigned());
                numbers.iter().all(|&number| number >= 0).then_some(())
            }
            Videos::Text(texts) => known.fill(texts, first_row, videos, |text| {
                to_video_id("", FieldValue::Text(text)).ok()
            }),
            Videos::Other(value) => fill_each(first_row, videos, |row| to_video_id("", value(row))),
        }
    }
}

/// A column of times.
pub(super) enum Times<'a> {
    Numbers(&'a [i64], TimeUnit),
    Text(&'a StringViewArray),
    Other(ValueOf<'a>),
}

impl<'a> Times<'a> {
    pub(super) fn of(array: &'a dyn Array) -> Option<Times<'a>> {
        let DataType::Timestamp(unit, _) = array.data_type() else {
            if let Some(texts) = array.as_string_view_opt() {
                return Some(Times::Text(texts));
            }
            return match array.as_primitive_opt::<Int64Type>() {
                Some(numbers) => Some(Times::Numbers(numbers.values(), TimeUnit::Millisecond)),
                None => values(array).map(Times::Other),
            };
        };
        let numbers = match unit {
            TimeUnit::Second => array.as_primitive::<TimestampSecondType>().values(),
            TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().values(),
            TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().values(),
            TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().values(),
        };
        Some(Times::Numbers(numbers, *unit))
    }

    #[inline]
    pub(super) fn get(&self, row: usize, field: &str) -> Result<i64, DecodeError> {
        match self {
            Times::Numbers(numbers, unit) => {
                time_in_range(field, in_milliseconds(numbers[row], *unit))
            }
            Times::Text(texts) => to_time_ms(field, FieldValue::Text(texts.value(row))),
            Times::Other(value) => to_time_ms(field, value(row)),
        }
    }

    #[inline]
    pub(super) fn fill(
        &self,
        known: &mut Known<i64>,
        first_row: usize,
        times_ms: &mut [i64],
    ) -> Option<()> {
        match self {
            Times::Numbers(numbers, unit) => {
                let numbers = numbers.get(first_row..first_row + times_ms.len())?;
                // A loop for each unit, so that none has branches.
                match unit {
                    TimeUnit::Second => convert(numbers, times_ms, TimeUnit::Second),
                    TimeUnit::Millisecond => convert(numbers, times_ms, TimeUnit::Millisecond),
                    TimeUnit::Microsecond => convert(numbers, times_ms, TimeUnit::Microsecond),
                    TimeUnit::Nanosecond => convert(numbers, times_ms, TimeUnit::Nanosecond),
                }
            }
            Times::Text(texts) => known.fill(texts, first_row, times_ms, |text| {
                to_time_ms("", FieldValue::Text(text)).ok()
            }),
            Times::Other(value) => fill_each(first_row, times_ms, |row| to_time_ms("", value(row))),
        }
    }
}

/// Writes times in milliseconds, unless one is out of range.
#[inline(always)]
fn convert(numbers: &[i64], times_ms: &mut [i64], unit: TimeUnit) -> Option<()> {
    let mut is_in_range = true;
    for (time_ms, &number) in times_ms.iter_mut().zip(numbers) {
        *time_ms = in_milliseconds(number, unit);
        is_in_range &= is_time_ms(*time_ms);
    }
    is_in_range.then_some(())
}

/// Returns a time in milliseconds, rounded down.
#[inline(always)]
fn in_milliseconds(number: i64, unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => number.saturating_mul(1_000),
        TimeUnit::Millisecond => number,
        TimeUnit::Microsecond => number.div_euclid(1_000),
        TimeUnit::Nanosecond => number.div_euclid(1_000_000),
    }
}

#[cfg(test)]
mod tests;
