//! Tests of valid, invalid and damaged Parquet files.

use super::super::tests::{folder, offsets_and_videos, read, reasons};
use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::Compression;
use ::parquet::file::properties::{WriterProperties, WriterVersion};
use arrow_array::builder::FixedSizeBinaryBuilder;
use arrow_array::types::{Int8Type, Int32Type};
use arrow_array::*;
use proptest::prelude::*;
use std::sync::Arc;
use tempfile::TempDir;

type NamedColumns = Vec<(&'static str, ArrayRef)>;

/// Returns the bytes of a file with these columns, in row groups of 10,000 rows; with dictionaries
/// if it is compressed.
fn write(columns: NamedColumns, compression: Compression) -> Vec<u8> {
    write_version(columns, compression, WriterVersion::PARQUET_1_0)
}

/// Like [`write`], in a version of the format. The later version has a different page header.
fn write_version(
    columns: NamedColumns,
    compression: Compression,
    version: WriterVersion,
) -> Vec<u8> {
    let rows = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap();
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_writer_version(version)
        .set_dictionary_enabled(compression != Compression::UNCOMPRESSED)
        .set_max_row_group_row_count(Some(10_000))
        .set_data_page_row_count_limit(1_000)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).unwrap();
    writer.write(&rows).unwrap();
    writer.into_inner().unwrap()
}

fn texts(count: u64) -> ArrayRef {
    let texts = (0..count).map(|number| format!("request {number}"));
    Arc::new(StringArray::from_iter_values(texts))
}

fn videos(count: u64) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(0..count))
}

fn times(count: u64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values((0..count).map(|number| number as i64)))
}

fn columns(count: u64) -> NamedColumns {
    vec![("request_id", texts(count)), ("video_id", videos(count)), ("event_time", times(count))]
}

/// Returns three rows, with a column replaced or added.
fn with(name: &'static str, array: ArrayRef) -> NamedColumns {
    let mut columns = columns(3);
    columns.retain(|column| column.0 != name);
    columns.push((name, array));
    columns
}

fn saved(columns: NamedColumns) -> TempDir {
    folder(&[("a.parquet", &write(columns, Compression::SNAPPY))])
}

fn read_columns(columns: NamedColumns) -> crate::sources::Batch {
    read(&saved(columns), "a.parquet", 0, 100)
}

#[test]
fn offsets_count_rows_and_reading_resumes_at_any_offset() {
    let count = 25_000;
    let folder = saved(columns(count));
    for offset in [0, 1, 8_191, 8_192, 9_999, 10_000, 16_385, 24_999, 25_000] {
        let batch = read(&folder, "a.parquet", offset, 3_000);
        let expected: Vec<_> = (offset..count).map(|row| (row, row)).collect();
        assert!(offsets_and_videos(&batch) == expected, "from {offset}");
        assert_eq!(batch.next_offset, count);
    }
    let size = folder.path().join("a.parquet").metadata().unwrap().len();
    assert_eq!(read(&folder, "a.parquet", 0, 999).bytes, size);
}

#[test]
fn a_file_with_fewer_rows_than_the_offset_has_shrunk() {
    let folder = saved(columns(3));
    let result = super::super::tests::open(&folder, "a.parquet", false, 4).err();
    let error = result.unwrap().to_string();
    assert!(error.contains("ends at offset 3, before offset 4"), "{error}");
}

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

#[test]
fn a_null_is_malformed_except_as_a_record_time() {
    let nulls = || -> ArrayRef { Arc::new(Int64Array::from(vec![Some(7), None, Some(9)])) };
    for name in ["video_id", "event_time"] {
        let batch = read_columns(with(name, nulls()));
        assert_eq!(reasons(&batch), [(1, format!("`{name}` is null, expected a value"))]);
    }
    let batch = read_columns(with("record_time", nulls()));
    let times: Vec<_> = batch.events.iter().map(|event| event.record_time_ms).collect();
    assert_eq!(times, [Some(7), None, Some(9)]);
    let batch = read_columns(with("record_time", Arc::new(NullArray::new(3))));
    assert_eq!((batch.events.len(), batch.events[0].record_time_ms), (3, None));
}

#[test]
fn other_columns_of_any_type_are_ignored() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)]), None, None]);
    let fields = vec![("video_id", Arc::new(NullArray::new(3)) as ArrayRef)];
    let mut columns = columns(3);
    columns.insert(0, ("list", Arc::new(list)));
    columns.insert(1, ("struct", Arc::new(StructArray::try_from(fields).unwrap())));
    columns.insert(
        2,
        ("dictionary", Arc::new(["a"; 3].into_iter().collect::<DictionaryArray<Int8Type>>())),
    );
    columns.insert(3, ("date", Arc::new(Date64Array::from(vec![86_400_000; 3]))));
    assert_eq!(read_columns(columns).events.len(), 3);
}

#[test]
fn a_file_with_other_columns_is_one_malformed_record() {
    let mut fewer = columns(3);
    fewer.remove(1);
    let floats = || -> ArrayRef { Arc::new(Float64Array::from(vec![0.0; 3])) };
    for (columns, reason) in [
        (fewer, "missing column `video_id`"),
        (with("request_id", floats()), "column `request_id` has the unsupported type Float64"),
        (with("video_id", floats()), "column `video_id` has the unsupported type Float64"),
        (with("event_time", floats()), "column `event_time` has the unsupported type Float64"),
        (with("record_time", floats()), "column `record_time` has the unsupported type Float64"),
    ] {
        let folder = saved(columns);
        let batch = read(&folder, "a.parquet", 0, 9);
        assert_eq!(reasons(&batch), [(0, reason.to_string())]);
        assert_eq!((batch.next_offset, batch.malformed[0].location.as_str()), (1, "file"));
        let again = read(&folder, "a.parquet", 1, 9);
        assert_eq!((again.malformed.len(), again.next_offset), (0, 1));
    }
}

#[test]
fn a_damaged_page_costs_the_rows_from_its_batch_on_wherever_reading_starts() {
    let mut content = write(columns(25_000), Compression::UNCOMPRESSED);
    let place = memchr::memmem::find(&content, b"request 17000").unwrap();
    content[place - 4..place].copy_from_slice(&[0xff; 4]);
    let folder = folder(&[("a.parquet", &content)]);
    for offset in [0, 8_000, 16_000, 16_384, 16_385] {
        let batch = read(&folder, "a.parquet", offset, 1_000);
        let expected: Vec<_> = (offset..16_384).map(|row| (row, row)).collect();
        assert!(offsets_and_videos(&batch) == expected, "from {offset}");
        assert_eq!(batch.malformed.len(), usize::from(offset <= 16_384), "from {offset}");
        assert_eq!(batch.next_offset, 16_385);
    }
}

#[test]
fn a_file_with_contradicting_row_counts_is_one_malformed_record() {
    let content = write(columns(200), Compression::SNAPPY);
    // In Thrift's compact protocol: a field of type i64 (6), and 200 as a zigzag varint. The number
    // of rows is field 3 of the file, just after field 2, and also of a row group.
    let places: Vec<_> = memchr::memmem::find_iter(&content, &[0x16, 0x90, 0x03]).collect();
    assert!(places.len() >= 2, "the row counts are not at the expected places");
    let mut seen = 0;
    for place in places {
        for number in [0x9f_u8, 0x8e] {
            let mut content = content.clone();
            content[place + 1] = number;
            let folder = folder(&[("a.parquet", &content)]);
            let whole = read(&folder, "a.parquet", 0, 64);
            let is_reported = |(offset, reason): &(u64, String)| {
                *offset == 0 && reason.starts_with("a damaged footer: ")
            };
            seen += usize::from(reasons(&whole).iter().any(is_reported));
            let again = read(&folder, "a.parquet", whole.next_offset, 64);
            assert_eq!((again.events.len(), again.next_offset), (0, whole.next_offset));
        }
    }
    assert_eq!(seen, 4, "the row counts of the file and of its only row group, each changed twice");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damage_at_any_byte_is_contained_and_replays_equally(
        places in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::weighted(0.2, any::<proptest::sample::Index>()),
        near_the_end: bool,
        count in proptest::sample::select(vec![200, 20_000]),
        version in proptest::sample::select(vec![
            WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0,
        ]),
        compression in proptest::sample::select(vec![
            Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::LZ4_RAW,
        ]),
    ) {
        let mut content = write_version(columns(count), compression, version);
        let from = if near_the_end { content.len() * 2 / 3 } else { 0 };
        for (place, byte) in places {
            let place = from + place.index(content.len() - from);
            content[place] = byte;
        }
        if let Some(cut) = cut {
            content.truncate(cut.index(content.len()));
        }
        let folder = folder(&[("a.parquet", &content)]);
        let whole = read(&folder, "a.parquet", 0, 64);
        let middle = whole.next_offset / 2;
        let rest = read(&folder, "a.parquet", middle, 64);
        prop_assert_eq!(rest.next_offset, whole.next_offset);
        let expected = offsets_and_videos(&whole).into_iter().filter(|found| found.0 >= middle);
        prop_assert_eq!(offsets_and_videos(&rest), expected.collect::<Vec<_>>());
    }
}
