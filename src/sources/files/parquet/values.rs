//! The values of event columns by their types. The usual types are read directly, and all others as
//! values of any format.

use crate::decode::value::{FieldValue, to_request_id, to_time_ms, to_video_id};
use crate::decode::{DecodeError, request_id, time_in_range};
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
    Other(ValueOf<'a>),
}

impl<'a> Ids<'a> {
    pub(super) fn of(array: &'a dyn Array) -> Option<Ids<'a>> {
        match array.as_string_view_opt() {
            Some(texts) => Some(Ids::Text(texts)),
            None => values(array).map(Ids::Other),
        }
    }

    #[inline]
    pub(super) fn get(&self, row: usize, field: &str) -> Result<RequestId, DecodeError> {
        match self {
            Ids::Text(texts) => request_id(field, texts.value(row)),
            Ids::Other(value) => to_request_id(field, value(row)),
        }
    }
}

/// A column of video ids.
pub(super) enum Videos<'a> {
    Unsigned(&'a [u64]),
    Signed(&'a [i64]),
    Other(ValueOf<'a>),
}

impl<'a> Videos<'a> {
    pub(super) fn of(array: &'a dyn Array) -> Option<Videos<'a>> {
        match array.data_type() {
            DataType::UInt64 => Some(Videos::Unsigned(array.as_primitive::<UInt64Type>().values())),
            DataType::Int64 => Some(Videos::Signed(array.as_primitive::<Int64Type>().values())),
            _ => values(array).map(Videos::Other),
        }
    }

    #[inline]
    pub(super) fn get(&self, row: usize, field: &str) -> Result<VideoId, DecodeError> {
        match self {
            Videos::Unsigned(videos) => Ok(VideoId(videos[row])),
            Videos::Signed(videos) => to_video_id(field, FieldValue::integer(videos[row])),
            Videos::Other(value) => to_video_id(field, value(row)),
        }
    }
}

/// A column of times.
pub(super) enum Times<'a> {
    Numbers(&'a [i64], TimeUnit),
    Other(ValueOf<'a>),
}

impl<'a> Times<'a> {
    pub(super) fn of(array: &'a dyn Array) -> Option<Times<'a>> {
        let DataType::Timestamp(unit, _) = array.data_type() else {
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
        let time_ms = match self {
            Times::Other(value) => return to_time_ms(field, value(row)),
            Times::Numbers(numbers, TimeUnit::Second) => numbers[row].saturating_mul(1_000),
            Times::Numbers(numbers, TimeUnit::Millisecond) => numbers[row],
            Times::Numbers(numbers, TimeUnit::Microsecond) => numbers[row].div_euclid(1_000),
            Times::Numbers(numbers, TimeUnit::Nanosecond) => numbers[row].div_euclid(1_000_000),
        };
        time_in_range(field, time_ms)
    }
}

#[cfg(test)]
mod tests;
