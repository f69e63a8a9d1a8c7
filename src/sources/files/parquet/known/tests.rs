//! Tests that files are read as if each row were read by itself, whatever their layout.

use super::super::super::tests::{folder, read};
use super::super::columns::{Columns, Plan};
use super::super::tests::write_rows;
use super::super::{load, prepare, rows, take_singly};
use super::*;
use crate::decode::FieldNames;
use crate::fixtures::cases;
use crate::sources::Batch;
use ::parquet::basic::{Compression, Encoding};
use ::parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion};
use arrow_array::builder::FixedSizeBinaryBuilder;
use arrow_array::*;
use proptest::prelude::*;
use proptest::sample::select;
use std::sync::Arc;

/// Reads a file row by row.
fn read_singly(content: &[u8]) -> Batch {
    let folder = folder(&[("a.parquet", content)]);
    let file = std::fs::File::open(folder.path().join("a.parquet")).unwrap();
    let plan = Plan::new(&FieldNames::default());
    let metadata = load(&file, plan.tree()).unwrap();
    let count = rows(metadata.metadata()).unwrap();
    let (mut batch, mut start) = (Batch::default(), 0);
    for rows in prepare(&file, &plan, &metadata, count).unwrap() {
        let rows = rows.unwrap();
        let end = start + rows.num_rows() as u64;
        take_singly(&Columns::of(&plan, &rows).unwrap(), start, start..end, &mut batch);
        start = end;
    }
    assert_eq!(start, count);
    batch
}

fn uuid(number: u64) -> u128 {
    u128::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

fn uuid_text(number: u64) -> String {
    crate::event::RequestId::from_u128(uuid(number)).to_string()
}

/// What is written for a number, in a file in which few of all values are of odd kinds.
fn text_of(kind: u8, number: u64) -> Option<String> {
    Some(match (kind, number % 97) {
        (0, 13) => String::new(),
        (0, 14) => "x".repeat(300),
        (0, 15) => return None,
        (0, 16) => format!("r{number}"),
        (0, 17) => "a text of more than twelve bytes".into(),
        (0 | 1, _) => uuid_text(number),
        (2, _) => format!("request {number}"),
        (_, _) => number.to_string(),
    })
}

fn requests(kind: u8, numbers: &[u64]) -> ArrayRef {
    match kind {
        3 => {
            let mut bytes = FixedSizeBinaryBuilder::new(16);
            for &number in numbers {
                match number % 97 {
                    13 => bytes.append_null(),
                    14 => bytes.append_value(b"0123456789abcdef").unwrap(),
                    _ => bytes.append_value(uuid(number).to_be_bytes()).unwrap(),
                }
            }
            Arc::new(bytes.finish())
        }
        4 => {
            let bytes = numbers.iter().map(|&number| uuid(number).to_be_bytes());
            Arc::new(BinaryArray::from_iter_values(bytes))
        }
        5 => Arc::new(BinaryArray::from_iter(
            numbers.iter().map(|&number| text_of(0, number).map(String::into_bytes)),
        )),
        kind => {
            Arc::new(StringArray::from_iter(numbers.iter().map(|&number| text_of(kind, number))))
        }
    }
}

fn videos(kind: u8, numbers: &[u64]) -> ArrayRef {
    let rows = || numbers.iter().copied();
    match kind {
        0 => Arc::new(UInt64Array::from_iter_values(rows())),
        1 => Arc::new(Int64Array::from_iter_values(rows().map(|number| match number % 97 {
            13 => -1,
            _ => number as i64,
        }))),
        2 => Arc::new(StringArray::from_iter_values(rows().map(|number| match number % 97 {
            13 => String::new(),
            14 => "-1".into(),
            15 => format!("1000000000000{number}"),
            _ => number.to_string(),
        }))),
        3 => Arc::new(Int32Array::from_iter(rows().map(|n| (n % 97 != 13).then_some(n as i32)))),
        _ => Arc::new(UInt64Array::from_iter(rows().map(|n| (n % 97 != 13).then_some(n)))),
    }
}

fn times(kind: u8, numbers: &[u64]) -> ArrayRef {
    let at = |number: u64| 1_767_225_600_000 + number as i64;
    let rows = || numbers.iter().copied();
    match kind {
        0 => Arc::new(Int64Array::from_iter_values(rows().map(at))),
        1 => Arc::new(Int64Array::from_iter_values(rows().map(|number| match number % 97 {
            13 => i64::MAX,
            14 => i64::MIN,
            _ => at(number),
        }))),
        2 => Arc::new(TimestampMicrosecondArray::from_iter_values(
            rows().map(|number| 1_000 * at(number) - 7),
        )),
        3 => Arc::new(StringArray::from_iter_values(rows().map(|number| match number % 97 {
            13 => "noon".into(),
            14 => "7".into(),
            _ => format!("2026-01-01T00:00:{:02}Z", number % 60),
        }))),
        4 => Arc::new(TimestampNanosecondArray::from_iter(
            rows().map(|number| (number % 3 > 0).then_some(1_000_000 * at(number) + 1)),
        )),
        _ => Arc::new(Int64Array::from_iter(rows().map(|n| (n % 97 != 13).then_some(at(n))))),
    }
}

/// How a file is written.
fn layout() -> impl Strategy<Value = (WriterPropertiesBuilder, Option<Encoding>)> {
    let text_encoding = select(vec![
        None,
        Some(Encoding::PLAIN),
        Some(Encoding::DELTA_LENGTH_BYTE_ARRAY),
        Some(Encoding::DELTA_BYTE_ARRAY),
    ]);
    (
        select(vec![WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0]),
        any::<bool>(),
        // A small dictionary is soon too large, and plain pages follow.
        select(vec![100_usize, 2_000, 1 << 20]),
        select(vec![700_usize, 5_000, 8_192, 10_000, 30_000]),
        select(vec![50_usize, 1_000, 20_000]),
        select(vec![Compression::UNCOMPRESSED, Compression::SNAPPY]),
        text_encoding,
    )
        .prop_map(|(version, dictionary, dictionary_bytes, group, page, codec, encoding)| {
            let layout = WriterProperties::builder()
                .set_writer_version(version)
                .set_dictionary_enabled(dictionary)
                .set_dictionary_page_size_limit(dictionary_bytes)
                .set_max_row_group_row_count(Some(group))
                .set_data_page_row_count_limit(page)
                .set_write_batch_size(64)
                .set_compression(codec);
            (layout, encoding)
        })
}

/// The numbers of the rows: few that repeat often, or many.
fn numbers() -> impl Strategy<Value = Vec<u64>> {
    (0..20_000_usize, select(vec![1_u64, 3, 40, 1_000, 100_000]), any::<u32>()).prop_map(
        |(count, different, seed)| {
            let mixed = |row: u64| (row + u64::from(seed)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (0..count as u64).map(|row| (mixed(row) >> 32) % different).collect()
        },
    )
}

proptest! {
    #![proptest_config(cases(80))]

    #[test]
    fn a_file_is_read_as_if_each_row_were_read_by_itself(
        numbers in numbers(), layout in layout(),
        kinds in (0..6_u8, 0..5_u8, 0..6_u8, 0..7_u8),
        records_max in select(vec![1_usize, 63, 1_000, 4_096, 50_000]),
        from: proptest::sample::Index,
    ) {
        let mut columns = vec![
            ("request_id", requests(kinds.0, &numbers), true),
            ("video_id", videos(kinds.1, &numbers), true),
            ("event_time", times(kinds.2, &numbers), true),
        ];
        if kinds.3 < 6 {
            columns.push(("record_time", times(kinds.3, &numbers), true));
        }
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let (mut layout, encoding) = layout;
        if let Some(encoding) = encoding.filter(|_| kinds.0 != 3) {
            layout = layout.set_column_encoding("request_id".into(), encoding);
        }
        let content = write_rows(&batch, layout.build());
        let expected = read_singly(&content);
        let records_max = records_max.max(numbers.len() / 200);
        let saved = folder(&[("a.parquet", &content)]);
        let found = read(&saved, "a.parquet", 0, records_max);
        prop_assert!(found.events == expected.events);
        prop_assert_eq!(&found.malformed, &expected.malformed);
        let from = from.index(numbers.len() + 1) as u64;
        let rest = read(&saved, "a.parquet", from, 999);
        let expected = expected.events.into_iter().filter(|event| event.offset >= from);
        prop_assert!(rest.events == expected.collect::<Vec<_>>());
    }
}

/// Returns the bytes of a file of text ids, in one row group.
fn text_file(texts: StringArray, dictionary_bytes: usize) -> Vec<u8> {
    let count = texts.len() as u64;
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("request_id", Arc::new(texts) as ArrayRef, true),
        ("video_id", Arc::new(UInt64Array::from_iter_values(0..count)), true),
        ("event_time", Arc::new(Int64Array::from_iter_values(0..count as i64)), true),
    ])
    .unwrap();
    let layout = WriterProperties::builder()
        .set_dictionary_page_size_limit(dictionary_bytes)
        .set_write_batch_size(64);
    write_rows(&batch, layout.build())
}

/// Returns how many texts of a file were parsed to read it, and their number.
fn parsed(content: &[u8]) -> (usize, usize) {
    let folder = folder(&[("a.parquet", content)]);
    let file = std::fs::File::open(folder.path().join("a.parquet")).unwrap();
    let plan = Plan::new(&FieldNames::default());
    let metadata = load(&file, plan.tree()).unwrap();
    let count = rows(metadata.metadata()).unwrap();
    let mut known: Known<u64> = Known::new(true);
    let parsed = std::cell::Cell::new(0);
    for rows in prepare(&file, &plan, &metadata, count).unwrap() {
        let rows = rows.unwrap();
        let texts = rows.column_by_name("request_id").unwrap();
        let texts: &StringViewArray = texts.as_any().downcast_ref().unwrap();
        known.begin(texts);
        let mut values = vec![0; texts.len()];
        let length = |text: &str| {
            parsed.set(parsed.get() + 1);
            Some(text.bytes().map(u64::from).sum())
        };
        known.fill(texts, 0, &mut values, length).unwrap();
        let expected = texts.iter().map(|text| text.unwrap().bytes().map(u64::from).sum::<u64>());
        assert!(values == expected.collect::<Vec<_>>());
    }
    (parsed.get(), count as usize)
}

#[test]
fn an_entry_of_a_dictionary_is_parsed_once() {
    for text in [uuid_text, |number| format!("id-{number}")] {
        let texts = || (0..40_000).map(|row| text(row * 7919 % 5_000));
        let content = text_file(StringArray::from_iter_values(texts()), 1 << 20);
        let (parsed, count) = parsed(&content);
        // Short texts share places, and the table grows while they are read.
        let most = if text(0).len() > 12 { 5_000 } else { 30_000 };
        assert!(count == 40_000 && (5_000..=most).contains(&parsed), "{parsed}");
    }
}

#[test]
fn plain_pages_after_a_dictionary_are_read() {
    let texts = StringArray::from_iter_values((0..40_000).map(|row| uuid_text(row * 7919 % 5_000)));
    let (parsed, count) = parsed(&text_file(texts, 40_000));
    assert!(parsed > 10_000, "{parsed} of {count}: are there no plain pages?");
}

#[test]
fn a_malformed_entry_that_no_row_has_is_no_error() {
    let text = |row: u64| if row == 3 { String::new() } else { uuid_text(row % 4 % 3) };
    let mut content = text_file(StringArray::from_iter_values((0..8).map(text)), 1 << 20);
    let read = |content: &[u8]| {
        let batch = read(&folder(&[("a.parquet", content)]), "a.parquet", 0, 100);
        (batch.events.len(), batch.malformed.len())
    };
    assert_eq!(read(&content), (7, 1));
    // A group of eight keys of two bits, 0, 1, 2, 3 and 0, 1, 2, 0, in the order of their
    // first rows. The malformed entry is replaced by the first.
    let keys = [2, 3, 0b1110_0100];
    let place = memchr::memmem::find(&content, &keys).expect("keys of two bits");
    assert_eq!(memchr::memmem::find_iter(&content, &keys).count(), 1);
    content[place + 2] = 0b0010_0100;
    assert_eq!(read(&content), (8, 0));
}
