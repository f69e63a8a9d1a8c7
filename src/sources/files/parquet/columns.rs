//! The event columns of a Parquet file, and their supported types.
//!
//! - The request id: text, UTF-8 bytes, or the bits of a UUID as fixed-size binary of 16 bytes.
//! - The video id: a non-negative integer of any size.
//! - The times: 64-bit integer milliseconds, a timestamp of any unit (UTC if without a zone), or
//!   text in RFC 3339.

use crate::decode::{
    DecodeError, FieldNames, FieldPath, request_id, time_from_text, time_in_range,
};
use crate::event::{Event, RequestId, VideoId};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BinaryViewArray, FixedSizeBinaryArray, RecordBatch, StringViewArray,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// The columns to read, and the types to read them as.
pub(super) struct Plan {
    fields: FieldNames,
    /// The indexes of the chosen columns in the file; empty before [`Plan::choose`].
    column_indexes: Vec<usize>,
}

impl Plan {
    pub(super) fn new(fields: &FieldNames) -> Plan {
        Plan { fields: fields.clone(), column_indexes: Vec::new() }
    }

    /// Returns the indexes of the event columns of a file, or an error if one is missing,
    /// duplicate or of an unsupported type.
    pub(super) fn choose(&mut self, schema: &Schema) -> Result<Vec<usize>, String> {
        let [request_id, video_id, event_time, record_time] =
            self.fields.all().map(FieldPath::text);
        let required = [
            (request_id, is_id as fn(&DataType) -> bool),
            (video_id, DataType::is_integer),
            (event_time, is_time),
        ];
        let mut column_indexes = Vec::new();
        for (name, is_possible) in required {
            let root = find(schema, name, is_possible)?;
            column_indexes.push(root.ok_or_else(|| format!("missing column `{name}`"))?);
        }
        column_indexes.extend(find(schema, record_time, is_record_time)?);
        self.column_indexes = column_indexes.clone();
        Ok(column_indexes)
    }

    /// Returns the schema of a file, with the chosen columns as their [`readable_type`].
    pub(super) fn schema(&self, schema: &SchemaRef) -> Schema {
        let fields = schema.fields().iter().enumerate().map(|(root, field)| {
            let field = Field::clone(field);
            let readable = readable_type(field.data_type());
            if self.column_indexes.contains(&root) { field.with_data_type(readable) } else { field }
        });
        Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone())
    }
}

/// Returns the index of a column if it exists; an error if it is duplicate or has a wrong type.
fn find(
    schema: &Schema,
    name: &str,
    is_possible: fn(&DataType) -> bool,
) -> Result<Option<usize>, String> {
    let mut column_indexes =
        (0..schema.fields().len()).filter(|&root| schema.field(root).name() == name);
    let Some(root) = column_indexes.next() else { return Ok(None) };
    let found = readable_type(schema.field(root).data_type());
    if column_indexes.next().is_some() {
        Err(format!("duplicate column `{name}`"))
    } else if is_possible(&found) {
        Ok(Some(root))
    } else {
        Err(format!("column `{name}` has the unsupported type {found}"))
    }
}

/// Returns the type to read a column as: without a dictionary, and text and bytes as views.
fn readable_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, value) => readable_type(value),
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        other => other.clone(),
    }
}

fn is_id(data_type: &DataType) -> bool {
    use DataType::{BinaryView, FixedSizeBinary, Utf8View};
    matches!(data_type, Utf8View | BinaryView | FixedSizeBinary(_))
}

fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int64 | DataType::Timestamp(..) | DataType::Utf8View)
}

fn is_record_time(data_type: &DataType) -> bool {
    is_time(data_type) || data_type.is_null()
}

/// The event columns of a batch of rows.
pub(super) struct Columns<'a> {
    fields: &'a FieldNames,
    request: Column<'a, Ids<'a>>,
    video: Column<'a, Videos<'a>>,
    event_time: Column<'a, Times<'a>>,
    record_time: Option<Column<'a, Times<'a>>>,
}

impl<'a> Columns<'a> {
    /// Returns the columns of rows, or `None` if they do not match the plan.
    pub(super) fn of(plan: &'a Plan, rows: &'a RecordBatch) -> Option<Columns<'a>> {
        let fields = &plan.fields;
        let column = |path: &FieldPath| rows.column_by_name(path.text());
        let record_time = column(&fields.record_time).filter(|array| !array.data_type().is_null());
        Some(Columns {
            fields,
            request: Column::of(column(&fields.request_id)?, Ids::of)?,
            video: Column::of(column(&fields.video_id)?, Videos::of)?,
            event_time: Column::of(column(&fields.event_time)?, Times::of)?,
            record_time: match record_time {
                Some(array) => Some(Column::of(array, Times::of)?),
                None => None,
            },
        })
    }

    /// Returns the event at index `row` of the batch, which is row `number` of the file.
    #[inline]
    pub(super) fn event(&self, row: usize, number: u64) -> Result<Event, DecodeError> {
        let [request_id, video_id, event_time, record_time] =
            self.fields.all().map(FieldPath::text);
        let record_time_ms = match &self.record_time {
            Some(column) if column.is_valid(row) => Some(column.values.get(row, record_time)?),
            _ => None,
        };
        Ok(Event {
            offset: number,
            request: self.request.required(row, request_id)?.get(row, request_id)?,
            video: self.video.required(row, video_id)?.get(row, video_id)?,
            event_time_ms: self.event_time.required(row, event_time)?.get(row, event_time)?,
            record_time_ms,
        })
    }
}

/// A column that may contain nulls.
struct Column<'a, V> {
    array: &'a dyn Array,
    has_nulls: bool,
    values: V,
}

impl<'a, V> Column<'a, V> {
    fn of(array: &'a ArrayRef, values: fn(&'a dyn Array) -> Option<V>) -> Option<Column<'a, V>> {
        let array = array.as_ref();
        Some(Column { array, has_nulls: array.null_count() > 0, values: values(array)? })
    }

    #[inline]
    fn is_valid(&self, row: usize) -> bool {
        !self.has_nulls || self.array.is_valid(row)
    }

    /// Returns the values, or an error if the one at `row` is null.
    #[inline]
    fn required(&self, row: usize, field: &str) -> Result<&V, DecodeError> {
        if self.is_valid(row) {
            return Ok(&self.values);
        }
        Err(DecodeError::WrongType { field: field.into(), found: "null", expected: "a value" })
    }
}

enum Ids<'a> {
    Text(&'a StringViewArray),
    Bytes(&'a BinaryViewArray),
    Fixed(&'a FixedSizeBinaryArray),
}

impl<'a> Ids<'a> {
    fn of(array: &'a dyn Array) -> Option<Ids<'a>> {
        array
            .as_string_view_opt()
            .map(Ids::Text)
            .or_else(|| array.as_binary_view_opt().map(Ids::Bytes))
            .or_else(|| array.as_fixed_size_binary_opt().map(Ids::Fixed))
    }

    #[inline]
    fn get(&self, row: usize, field: &str) -> Result<RequestId, DecodeError> {
        let bytes = match self {
            Ids::Text(texts) => return request_id(field, texts.value(row)),
            Ids::Bytes(texts) => texts.value(row),
            Ids::Fixed(fixed) => fixed.value(row),
        };
        if let (Ids::Fixed(_), Ok(bits)) = (self, bytes.try_into()) {
            return Ok(RequestId::from_u128(u128::from_be_bytes(bits)));
        }
        let text = std::str::from_utf8(bytes);
        request_id(field, text.map_err(|error| DecodeError::NotUtf8(error.valid_up_to()))?)
    }
}

enum Videos<'a> {
    Unsigned(&'a [u64]),
    Signed(&'a [i64]),
    /// Integers of fewer than 64 bits, widened.
    Short(Vec<i64>),
}

impl<'a> Videos<'a> {
    fn of(array: &'a dyn Array) -> Option<Videos<'a>> {
        Some(match array.data_type() {
            DataType::UInt64 => Videos::Unsigned(array.as_primitive::<UInt64Type>().values()),
            DataType::Int64 => Videos::Signed(array.as_primitive::<Int64Type>().values()),
            DataType::UInt32 => Videos::Short(widened::<UInt32Type>(array)),
            DataType::UInt16 => Videos::Short(widened::<UInt16Type>(array)),
            DataType::UInt8 => Videos::Short(widened::<UInt8Type>(array)),
            DataType::Int32 => Videos::Short(widened::<Int32Type>(array)),
            DataType::Int16 => Videos::Short(widened::<Int16Type>(array)),
            DataType::Int8 => Videos::Short(widened::<Int8Type>(array)),
            _ => return None,
        })
    }

    #[inline]
    fn get(&self, row: usize, field: &str) -> Result<VideoId, DecodeError> {
        let signed = match self {
            Videos::Unsigned(videos) => return Ok(VideoId(videos[row])),
            Videos::Signed(videos) => videos[row],
            Videos::Short(videos) => videos[row],
        };
        signed.try_into().map(VideoId).map_err(|_| DecodeError::WrongType {
            field: field.into(),
            found: "a negative integer",
            expected: "an unsigned 64-bit integer, as a number or a string",
        })
    }
}

fn widened<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &dyn Array) -> Vec<i64> {
    array.as_primitive::<T>().values().iter().map(|&value| value.into()).collect()
}

enum Times<'a> {
    Numbers(&'a [i64], TimeUnit),
    Text(&'a StringViewArray),
}

impl<'a> Times<'a> {
    fn of(array: &'a dyn Array) -> Option<Times<'a>> {
        let DataType::Timestamp(unit, _) = array.data_type() else {
            let integers = array.as_primitive_opt::<Int64Type>();
            return integers
                .map(|integers| Times::Numbers(integers.values(), TimeUnit::Millisecond))
                .or_else(|| array.as_string_view_opt().map(Times::Text));
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
    fn get(&self, row: usize, field: &str) -> Result<i64, DecodeError> {
        let time_ms = match self {
            Times::Text(texts) => return time_from_text(field, texts.value(row)),
            Times::Numbers(numbers, TimeUnit::Second) => numbers[row].saturating_mul(1_000),
            Times::Numbers(numbers, TimeUnit::Millisecond) => numbers[row],
            Times::Numbers(numbers, TimeUnit::Microsecond) => numbers[row].div_euclid(1_000),
            Times::Numbers(numbers, TimeUnit::Nanosecond) => numbers[row].div_euclid(1_000_000),
        };
        time_in_range(field, time_ms)
    }
}
