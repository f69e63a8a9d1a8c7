//! Tests of the types that columns can have, and of what their values mean.

use super::super::super::tests::{folder, offsets_and_videos, read, reasons};
use super::super::tests::{columns, read_columns, with, write_rows};
use crate::event::RequestId;
use ::parquet::file::properties::WriterProperties;
use arrow_array::builder::FixedSizeBinaryBuilder;
use arrow_array::types::{Int8Type, Int32Type};
use arrow_array::*;
use arrow_schema::{DataType, Field, Schema};
use std::collections::HashMap;
use std::sync::Arc;

#[test]
fn a_request_id_is_text_or_bytes_of_text_or_the_bits_of_a_uuid() {
    let expected: Vec<_> = read_columns(columns(3)).events;
    let strings = || (0..3).map(|number| format!("request {number}"));
    let mut fixed = FixedSizeBinaryBuilder::new(9);
    strings().for_each(|text| fixed.append_value(text).unwrap());
    let dictionary: DictionaryArray<Int32Type> =
        ["request 0", "request 1", "request 2"].into_iter().collect();
    let arrays: [ArrayRef; 7] = [
        Arc::new(LargeStringArray::from_iter_values(strings())),
        Arc::new(StringViewArray::from_iter_values(strings())),
        Arc::new(BinaryArray::from_iter_values(strings())),
        Arc::new(LargeBinaryArray::from_iter_values(strings())),
        Arc::new(BinaryViewArray::from_iter_values(strings())),
        Arc::new(fixed.finish()),
        Arc::new(dictionary),
    ];
    for array in arrays {
        let data_type = array.data_type().clone();
        assert_eq!(read_columns(with("request_id", array)).events, expected, "{data_type}");
    }
    let mut uuids = FixedSizeBinaryBuilder::new(16);
    (0..3_u128).for_each(|bits| uuids.append_value(bits.to_be_bytes()).unwrap());
    let events = read_columns(with("request_id", Arc::new(uuids.finish()))).events;
    assert_eq!(events[2].request.to_u128(), 2);
}

#[test]
fn a_video_id_is_an_integer_of_any_size_that_is_not_negative() {
    let expected = [(0, 0), (1, 1), (2, 2)];
    let dictionary: ArrayRef = Arc::new(DictionaryArray::<Int8Type>::new(
        Int8Array::from(vec![0, 1, 2]),
        Arc::new(UInt64Array::from(vec![0, 1, 2])),
    ));
    let arrays: [ArrayRef; 8] = [
        Arc::new(Int64Array::from(vec![0, 1, 2])),
        Arc::new(UInt32Array::from(vec![0, 1, 2])),
        Arc::new(Int32Array::from(vec![0, 1, 2])),
        Arc::new(UInt16Array::from(vec![0, 1, 2])),
        Arc::new(Int16Array::from(vec![0, 1, 2])),
        Arc::new(UInt8Array::from(vec![0, 1, 2])),
        Arc::new(Int8Array::from(vec![0, 1, 2])),
        dictionary,
    ];
    for array in arrays {
        let data_type = array.data_type().clone();
        assert_eq!(
            offsets_and_videos(&read_columns(with("video_id", array))),
            expected,
            "{data_type}"
        );
    }
    let batch = read_columns(with("video_id", Arc::new(UInt64Array::from(vec![u64::MAX; 3]))));
    assert_eq!(batch.events[2].video.0, u64::MAX);
    let batch = read_columns(with("video_id", Arc::new(Int32Array::from(vec![0, -1, 2]))));
    let reason = "`video_id` is a negative integer, expected an unsigned 64-bit integer, \
                  as a number or a string";
    assert_eq!(reasons(&batch), [(1, reason.to_string())]);
    assert_eq!(batch.malformed[0].location, "row 2");
}

#[test]
fn ids_and_times_are_decimals_if_they_are_whole() {
    let expected = [(0, 0), (1, 1), (2, 2)];
    let decimals = |unit: i128, scale: i8| -> ArrayRef {
        let digits: Vec<_> = (0..3).map(|number| number * unit).collect();
        let decimals = Decimal128Array::from(digits).with_precision_and_scale(38, scale);
        Arc::new(decimals.unwrap())
    };
    let wide = Decimal256Array::from_iter_values((0..3).map(Into::into));
    let arrays: [ArrayRef; 5] = [
        decimals(1, 0),
        decimals(100, 2),
        Arc::new(wide.with_precision_and_scale(76, 0).unwrap()),
        Arc::new(Decimal32Array::from(vec![0, 1, 2]).with_precision_and_scale(9, 0).unwrap()),
        Arc::new(Decimal64Array::from(vec![0, 10, 20]).with_precision_and_scale(18, 1).unwrap()),
    ];
    for array in arrays {
        let data_type = array.data_type().clone();
        let batch = read_columns(with("video_id", Arc::clone(&array)));
        assert_eq!(offsets_and_videos(&batch), expected, "{data_type}");
        let events = read_columns(with("event_time", array)).events;
        let times: Vec<_> = events.iter().map(|event| event.event_time_ms).collect();
        assert_eq!(times, [0, 1, 2], "{data_type}");
    }
    let expected = "expected an unsigned 64-bit integer, as a number or a string";
    for (unit, scale, found) in [
        (1, 1, "a number with a fraction"),
        (-1, 0, "a negative integer"),
        (i128::from(u64::MAX) + 1, 0, "an integer of more than 64 bits"),
    ] {
        let batch = read_columns(with("video_id", decimals(unit, scale)));
        assert_eq!(reasons(&batch)[0], (1, format!("`video_id` is {found}, {expected}")));
    }
}

#[test]
fn ids_and_times_are_text_of_digits() {
    let array = || -> ArrayRef { Arc::new(StringArray::from(vec!["0", "01", "x"])) };
    let batch = read_columns(with("video_id", array()));
    assert_eq!(offsets_and_videos(&batch), [(0, 0), (1, 1)]);
    let batch = read_columns(with("event_time", array()));
    assert_eq!((batch.events[1].event_time_ms, batch.malformed.len()), (1, 1));
}

#[test]
fn bytes_of_16_are_a_uuid_if_they_are_not_ascii() {
    let uuid = 0x0190_5f3c_7b00_7abc_8def_0123_4567_89ab_u128.to_be_bytes();
    let values: [&[u8]; 3] = [&uuid, b"0123456789abcdef", "r\u{e9}".as_bytes()];
    let batch = read_columns(with("request_id", Arc::new(BinaryArray::from_iter_values(values))));
    let requests: Vec<_> = batch.events.iter().map(|event| event.request).collect();
    let text = |text| RequestId::parse(text).unwrap();
    let uuid = RequestId::from_u128(u128::from_be_bytes(uuid));
    assert_eq!(requests, [uuid, text("0123456789abcdef"), text("r\u{e9}")]);
    // As an extension type of Arrow.
    let mut fixed = FixedSizeBinaryBuilder::new(16);
    (0..3).for_each(|_| fixed.append_value(uuid.to_u128().to_be_bytes()).unwrap());
    let named = |(name, array): (&str, ArrayRef)| {
        let field = Field::new(name, array.data_type().clone(), true);
        let name = HashMap::from([("ARROW:extension:name".into(), "arrow.uuid".into())]);
        let field = if array.len() == 3 && *field.data_type() == DataType::FixedSizeBinary(16) {
            field.with_metadata(name)
        } else {
            field
        };
        (Arc::new(field), array)
    };
    let columns = with("request_id", Arc::new(fixed.finish()));
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().map(named).unzip();
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    let content = write_rows(&rows, WriterProperties::default());
    let batch = read(&folder(&[("a.parquet", &content)]), "a.parquet", 0, 9);
    assert!(batch.events.len() == 3 && batch.events.iter().all(|event| event.request == uuid));
}

#[test]
fn an_event_time_is_milliseconds_or_a_timestamp_of_any_unit_or_text() {
    let expected = [-1_000, 0, 1_000];
    let arrays: [ArrayRef; 7] = [
        Arc::new(Int64Array::from(vec![-1_000, 0, 1_000])),
        Arc::new(TimestampSecondArray::from(vec![-1, 0, 1])),
        Arc::new(TimestampMillisecondArray::from(vec![-1_000, 0, 1_000])),
        Arc::new(TimestampMicrosecondArray::from(vec![-999_999, 999, 1_000_999])),
        Arc::new(TimestampNanosecondArray::from(vec![-999_999_999, 0, 1_000_000_000])),
        Arc::new(TimestampMillisecondArray::from(vec![-1_000, 0, 1_000]).with_timezone("+02:00")),
        Arc::new(StringArray::from(vec![
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00Z",
            "1970-01-01T01:00:01+01:00",
        ])),
    ];
    for array in arrays {
        let data_type = array.data_type().clone();
        let events = read_columns(with("event_time", array)).events;
        let times: Vec<_> = events.iter().map(|event| event.event_time_ms).collect();
        assert_eq!(times, expected, "{data_type}");
    }
}

#[test]
fn a_time_out_of_range_or_without_a_zone_is_malformed() {
    let array = Int64Array::from(vec![i64::MIN, 0, i64::MAX]);
    assert_eq!(read_columns(with("event_time", Arc::new(array))).malformed.len(), 2);
    let array = StringArray::from(vec!["1970-01-01T00:00:00Z", "1970-01-01T00:00:00", "noon"]);
    let batch = read_columns(with("event_time", Arc::new(array)));
    assert_eq!((batch.events.len(), batch.malformed.len()), (1, 2));
}
