//! Tests of valid, invalid and damaged Parquet files.

use super::super::tests::{folder, offsets_and_videos, open_with, read, reasons};
use super::*;
use crate::fixtures::cases;
use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::Compression;
use ::parquet::file::properties::{WriterProperties, WriterVersion};
use arrow_array::types::{Int8Type, Int32Type};
use arrow_array::*;
use arrow_schema::Field;
use proptest::prelude::*;
use tempfile::TempDir;

pub(super) type NamedColumns = Vec<(&'static str, ArrayRef)>;

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
    write_rows(&rows, properties)
}

pub(super) fn write_rows(rows: &RecordBatch, properties: WriterProperties) -> Vec<u8> {
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).unwrap();
    writer.write(rows).unwrap();
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

pub(super) fn columns(count: u64) -> NamedColumns {
    vec![("request_id", texts(count)), ("video_id", videos(count)), ("event_time", times(count))]
}

/// Returns three rows, with a column replaced or added.
pub(super) fn with(name: &'static str, array: ArrayRef) -> NamedColumns {
    let mut columns = columns(3);
    columns.retain(|column| column.0 != name);
    columns.push((name, array));
    columns
}

fn saved(columns: NamedColumns) -> TempDir {
    folder(&[("a.parquet", &write(columns, Compression::SNAPPY))])
}

pub(super) fn read_columns(columns: NamedColumns) -> crate::sources::Batch {
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

/// Returns a column inside two structures, of which the outer is null at row 1, and the inner at
/// row 2.
fn nested(name: &str, array: ArrayRef) -> ArrayRef {
    let field =
        |name: &str, array: &ArrayRef| Arc::new(Field::new(name, array.data_type().clone(), true));
    let inner = StructArray::new(
        vec![field(name, &array), field("x", &array)].into(),
        vec![Arc::clone(&array), array],
        Some(vec![true, true, false].into()),
    );
    let inner: ArrayRef = Arc::new(inner);
    let validity = Some(vec![true, false, true].into());
    Arc::new(StructArray::new(vec![field("b", &inner)].into(), vec![inner], validity))
}

#[test]
fn columns_can_be_inside_structures() {
    let mut fields = FieldNames::default();
    fields.set("video_id", "a.b.video_id".parse().unwrap());
    fields.set("record_time", "t.b.time".parse().unwrap());
    let mut columns = with("a", nested("video_id", videos(3)));
    columns.push(("t", nested("time", times(3))));
    let read_with = |columns: &NamedColumns, fields: &FieldNames| {
        let folder = saved(columns.clone());
        let paths = crate::decode::LogFields { impressions: fields.clone(), ..Default::default() };
        let mut reader = open_with(&folder, "a.parquet", paths);
        let mut batch = crate::sources::Batch::default();
        while reader.poll(&mut batch, 2).unwrap() == crate::sources::Polled::More {}
        batch
    };
    let batch = read_with(&columns, &fields);
    assert_eq!(offsets_and_videos(&batch), [(0, 0)]);
    let reason = "`a.b.video_id` is null, expected a value".to_string();
    assert_eq!(reasons(&batch), [(1, reason.clone()), (2, reason)]);
    fields.set("video_id", "video_id".parse().unwrap());
    let batch = read_with(&columns, &fields);
    let record_times: Vec<_> = batch.events.iter().map(|event| event.record_time_ms).collect();
    assert_eq!(record_times, [Some(0), None, None]);
    for (path, reason) in [
        ("a.b.y", "missing column `a.b.y`"),
        ("a.y.video_id", "missing column `a.y.video_id`"),
        ("video_id.b", "missing column `video_id.b`"),
        ("a.b", "column `a.b` has the unsupported type Struct"),
    ] {
        fields.set("video_id", path.parse().unwrap());
        let batch = read_with(&columns, &fields);
        assert!(batch.malformed[0].reason.starts_with(reason), "{:?}", batch.malformed);
    }
}

#[test]
fn every_codec_is_read() {
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::BROTLI(Default::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(Default::default()),
    ] {
        let folder = folder(&[("a.parquet", &write(columns(2_000), compression))]);
        let batch = read(&folder, "a.parquet", 0, 9_999);
        assert_eq!((batch.events.len(), batch.malformed.len()), (2_000, 0), "{compression}");
    }
}

/// Files of other writers with a column that the library refuses, and one that it reads.
#[test]
fn a_column_that_is_not_wanted_never_loses_the_file() {
    let files: [(&str, &[u8]); 4] = [
        ("int128", include_bytes!("../../../../tests/parquet/int128.parquet")),
        ("fixed_text", include_bytes!("../../../../tests/parquet/fixed_text.parquet")),
        ("unknown", include_bytes!("../../../../tests/parquet/unknown_logical_type.parquet")),
        ("brotli", include_bytes!("../../../../tests/parquet/brotli.parquet")),
    ];
    for (name, content) in files {
        let batch = read(&folder(&[("a.parquet", content)]), "a.parquet", 0, 9);
        let videos: Vec<_> = batch.events.iter().map(|event| event.video.0).collect();
        assert_eq!((videos.len(), batch.malformed.len()), (6, 0), "{name}: {:?}", batch.malformed);
    }
}

/// Reading the footer without unwanted columns gives what reading all of it gives.
#[test]
fn a_footer_without_unwanted_columns_means_the_same() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)]), None, None]);
    let mut columns = with("list", Arc::new(list));
    columns.insert(1, ("a", nested("video_id", videos(3))));
    columns.insert(2, ("date", Arc::new(Date64Array::from(vec![86_400_000; 3]))));
    columns.push(("text", texts(3)));
    let stamps = TimestampMicrosecondArray::from(vec![1_000; 3]).with_timezone("UTC");
    columns.push(("record_time", Arc::new(stamps)));
    let folder = saved(columns);
    let file = std::fs::File::open(folder.path().join("a.parquet")).unwrap();
    for path in ["video_id", "a.b.video_id"] {
        let mut fields = FieldNames::default();
        fields.set("video_id", path.parse().unwrap());
        let plan = Plan::new(&fields);
        let whole = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).unwrap();
        let reduced = footer::without_unwanted(&file, plan.tree()).unwrap();
        let of = |metadata: &ArrowReaderMetadata| {
            let columns = plan.choose(metadata.schema(), metadata.parquet_schema()).unwrap();
            let mut reader = prepare(&file, &plan, metadata, 3).unwrap();
            let rows = reader.next().unwrap().unwrap();
            let event = |row| Columns::of(&plan, &rows).unwrap().event(row, row as u64);
            (columns, [event(0), event(1), event(2)])
        };
        assert_eq!(of(&whole), of(&reduced), "{path}");
        assert_ne!(whole.schema(), reduced.schema());
    }
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
fn all_rows_of_a_file_with_other_columns_are_malformed() {
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
        for offset in 0..3 {
            let batch = read(&folder, "a.parquet", offset, 9);
            assert_eq!(reasons(&batch), [(offset, reason.to_string())]);
            assert_eq!((batch.next_offset, batch.malformed[0].location.as_str()), (3, "file"));
            assert_eq!(batch.malformed[0].records, 3 - offset);
        }
        let again = read(&folder, "a.parquet", 3, 9);
        assert_eq!((again.malformed.len(), again.next_offset), (0, 3));
    }
    let mut empty = columns(0);
    empty.remove(1);
    let batch = read(&saved(empty), "a.parquet", 0, 9);
    assert_eq!((batch.malformed[0].records, batch.next_offset), (1, 1));
}

#[test]
fn a_damaged_page_costs_the_rows_from_its_batch_on_wherever_reading_starts() {
    let mut content = write(columns(25_000), Compression::UNCOMPRESSED);
    let place = memchr::memmem::find(&content, b"request 17000").unwrap();
    content[place - 4..place].copy_from_slice(&[0xff; 4]);
    let folder = folder(&[("a.parquet", &content)]);
    for offset in [0, 8_000, 16_000, 16_384, 16_385, 24_999, 25_000] {
        let batch = read(&folder, "a.parquet", offset, 1_000);
        let expected: Vec<_> = (offset..16_384).map(|row| (row, row)).collect();
        assert!(offsets_and_videos(&batch) == expected, "from {offset}");
        let lost: Vec<_> = batch.malformed.iter().map(|one| (one.offset, one.records)).collect();
        let from = offset.max(16_384);
        let expected = (from < 25_000).then_some((from, 25_000 - from));
        assert_eq!(lost, expected.into_iter().collect::<Vec<_>>(), "from {offset}");
        assert_eq!(batch.next_offset, 25_000);
    }
    let location = &read(&folder, "a.parquet", 0, 1_000).malformed[0].location;
    assert_eq!(location, "rows 16385 to 25000");
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
    #![proptest_config(cases(400))]

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
            Compression::BROTLI(Default::default()),
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
