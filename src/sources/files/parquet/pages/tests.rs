//! Tests of small files that claim to be large, or are: each is refused before it takes memory.

use super::super::super::tests::{folder, read, reasons};
use super::super::tests::{columns, with, write_rows};
use super::*;
use crate::fixtures::cases;
use arrow_array::{
    Array, ArrayRef, FixedSizeBinaryArray, Int64Array, RecordBatch, StringViewArray,
};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion};
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// The longest that a file of these tests may take, in a build without optimisation.
const SOON: Duration = Duration::from_secs(20);

/// Returns what is wrong with a file, and the number of events before.
fn refusal(content: &[u8]) -> (usize, String) {
    let started = Instant::now();
    let batch = read(&folder(&[("a.parquet", content)]), "a.parquet", 0, 100_000);
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    assert_eq!(batch.malformed.len(), 1, "{:?}", batch.malformed);
    (batch.events.len(), reasons(&batch)[0].1.clone())
}

/// Returns a file with these request ids, `times` the same ones.
fn file_of(ids: &[&str], times: usize, properties: WriterPropertiesBuilder) -> Vec<u8> {
    let ids = StringViewArray::from_iter_values(ids);
    let count = ids.len() * times;
    // The rows share the texts, as they do in the file.
    let views: Vec<u128> = ids.views().iter().copied().cycle().take(count).collect();
    let ids = StringViewArray::new(views.into(), ids.data_buffers().to_vec(), None);
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count as i64));
    let columns: [(&str, ArrayRef); 3] = [
        ("request_id", Arc::new(ids)),
        ("video_id", Arc::clone(&numbers)),
        ("event_time", numbers),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    write_rows(&rows, properties.build())
}

fn zstd() -> WriterPropertiesBuilder {
    let compression = Compression::ZSTD(ZstdLevel::try_new(1).unwrap());
    WriterProperties::builder().set_compression(compression).set_dictionary_enabled(false)
}

#[test]
fn pages_that_decompress_to_more_than_the_limit_are_refused() {
    let long = "0".repeat(128 << 10);
    // 400 MB of texts in 8,192 rows, after as many short ones.
    let short = ["one", "two", "three", "four"];
    let (few, many) = (file_of(&short, 2_048, zstd()), file_of(&[&long], 3_200, zstd()));
    assert!(many.len() < 1 << 20, "{}", many.len());
    let (events, reason) = refusal(&many);
    let expected = "the pages for 8192 rows of the column `request_id` take more than 256 MiB";
    assert!(events == 0 && reason.ends_with(expected), "{events} {reason}");
    let batch = read(&folder(&[("a.parquet", &few)]), "a.parquet", 0, 100_000);
    assert_eq!((batch.events.len(), batch.malformed.len()), (8_192, 0));
}

#[test]
fn texts_that_repeat_their_beginnings_are_bounded_by_what_they_amount_to() {
    let delta = |ids: &[&str], times| {
        let properties = zstd().set_writer_version(WriterVersion::PARQUET_2_0);
        let encoding = Encoding::DELTA_BYTE_ARRAY;
        file_of(ids, times, properties.set_column_encoding("request_id".into(), encoding))
    };
    let long = "0".repeat(64 << 10);
    let (events, reason) = refusal(&delta(&[&long], 8_192));
    assert_eq!(events, 0);
    assert!(reason.contains("take more than 256 MiB"), "{reason}");
    // Usual ids, of which all but a digit is the same.
    let ids: Vec<String> =
        (0..10).map(|id| format!("0123abcd-4567-89ab-cdef-01234567890{id}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let content = delta(&ids, 5_000);
    let batch = read(&folder(&[("a.parquet", &content)]), "a.parquet", 0, 100_000);
    assert_eq!((batch.events.len(), batch.malformed.len()), (50_000, 0), "{:?}", batch.malformed);
}

/// The library takes memory for as many values as the header of a dictionary says.
#[test]
fn a_dictionary_with_more_values_than_bytes_is_refused() {
    let properties = WriterProperties::builder().build();
    let rows = RecordBatch::try_from_iter(columns(200)).unwrap();
    let content = write_rows(&rows, properties);
    let mut refused = 0;
    // In Thrift's compact protocol: in a structure, field 1 of type i32 (5), and 200 as a zigzag
    // varint.
    for place in memchr::memmem::find_iter(&content, &[0x15, 0x90, 0x03]) {
        let mut content = content.clone();
        content[place + 1..place + 3].copy_from_slice(&[0xfe, 0x7f]);
        let batch = read(&folder(&[("a.parquet", &content)]), "a.parquet", 0, 1_000);
        let reasons = reasons(&batch);
        refused += reasons.iter().filter(|(_, why)| why.ends_with("` is damaged")).count();
    }
    assert!(refused >= 3, "of each of the three columns: {refused}");
}

#[test]
fn values_of_one_length_are_short() {
    let wide = |width: usize| -> ArrayRef {
        let values = (0..3).map(|_| vec![7; width]);
        Arc::new(FixedSizeBinaryArray::try_from_iter(values).unwrap())
    };
    let file = |width| {
        let rows = RecordBatch::try_from_iter(with("request_id", wide(width))).unwrap();
        write_rows(&rows, WriterProperties::builder().build())
    };
    let reason = "column `request_id` has values of 1025 bytes each".to_owned();
    assert_eq!(refusal(&file(1_025)), (0, reason));
    let batch = read(&folder(&[("a.parquet", &file(16))]), "a.parquet", 0, 9);
    assert_eq!((batch.events.len(), batch.malformed.len()), (3, 0));
}

/// Returns a file without rows, whose schema has these columns: the number of columns inside each.
fn file_of_columns(inside: &[u32]) -> Vec<u8> {
    let varint = |mut value: u64| {
        let mut bytes = Vec::new();
        while value > 0x7f {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    };
    // Field 1, an i32; field 2, a list of so many structures.
    let mut footer = vec![0x15, 0x02, 0x19, 0xfc];
    footer.extend(varint(inside.len() as u64));
    for &inside in inside {
        // Field 3, required; field 4, its name; field 5, the columns inside.
        let kind: &[u8] = if inside == 0 { &[0x15, 0x02, 0x25] } else { &[0x35] };
        footer.extend_from_slice(kind);
        footer.extend([0x00, 0x18, 0x01, b'a']);
        if inside > 0 {
            footer.push(0x15);
            footer.extend(varint(u64::from(inside) * 2));
        }
        footer.push(0);
    }
    // Field 3, an i64; field 4, an empty list of structures.
    footer.extend([0x16, 0x00, 0x19, 0x0c, 0x00]);
    let length = (footer.len() as u32).to_le_bytes();
    [b"PAR1".as_slice(), &footer, &length, b"PAR1"].concat()
}

#[test]
fn columns_inside_columns_are_bounded() {
    let nested = |depth| file_of_columns(&[vec![1; depth], vec![0]].concat());
    assert_eq!(refusal(&nested(3)).1, "missing column `request_id`");
    for depth in [65, 100_000] {
        assert_eq!(refusal(&nested(depth)).1, "its columns are nested more than 64 deep");
    }
    let damaged = "not a Parquet file that can be read: a damaged footer";
    assert_eq!(refusal(&file_of_columns(&[i32::MAX as u32, 0])).1, damaged);
}

#[test]
fn the_pages_of_a_window_are_added_up() {
    let mib = |bytes: u64| bytes << 20;
    let mut window = Window::default();
    // A dictionary counts until the rows that it is for are over.
    assert!(window.add(10_000, mib(200), true));
    assert!(window.add(10_000, mib(50), false));
    assert!(!window.add(1, mib(7), false));
    // 8,192 rows later, only what came last is needed.
    assert!(!window.add(20_000, mib(1), false));
    assert!(window.add(1, mib(200), false));
    assert_eq!((window.data.bytes, window.dictionaries.bytes), (mib(201), 0));
    // Pages and dictionaries without rows add up.
    assert!(window.add(0, mib(55), true));
    assert!(!window.add(0, 1, false));
}

/// Encodes lengths as DELTA_BINARY_PACKED, in blocks of 128 values and 4 miniblocks.
fn encoded(lengths: &[i32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let varint = |bytes: &mut Vec<u8>, mut value: u64| {
        while value > 0x7f {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
    };
    let zigzag = |value: i64| ((value << 1) ^ (value >> 63)).cast_unsigned();
    varint(&mut bytes, 128);
    varint(&mut bytes, 4);
    varint(&mut bytes, lengths.len() as u64);
    varint(&mut bytes, zigzag(lengths.first().copied().unwrap_or(0).into()));
    let deltas: Vec<i64> =
        lengths.windows(2).map(|pair| i64::from(pair[1]) - i64::from(pair[0])).collect();
    for block in deltas.chunks(128) {
        let least = *block.iter().min().unwrap();
        varint(&mut bytes, zigzag(least));
        let width = |miniblock: &[i64]| {
            let most = miniblock.iter().map(|delta| delta - least).max().unwrap_or(0);
            64 - most.leading_zeros()
        };
        let miniblocks: Vec<&[i64]> = block.chunks(32).collect();
        // Those without values may say anything.
        bytes.extend((0..4).map(|at| miniblocks.get(at).map_or(77, |of| width(of)) as u8));
        for miniblock in miniblocks {
            let width = width(miniblock) as usize;
            let mut bits: Vec<bool> = Vec::new();
            for delta in miniblock {
                bits.extend((0..width).map(|bit| (delta - least) >> bit & 1 == 1));
            }
            bits.resize(32 * width, false);
            for byte in bits.chunks(8) {
                let value = byte.iter().enumerate().map(|(at, bit)| u8::from(*bit) << at);
                bytes.push(value.sum());
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn lengths_are_read_as_they_were_written(
        lengths in proptest::collection::vec(prop_oneof![0..40, 0..1_000_000_i32], 0..600),
        window in 1_usize..300,
        rest in proptest::collection::vec(any::<u8>(), 0..10),
    ) {
        let bytes = encoded(&lengths);
        let sums = lengths.windows(window.min(lengths.len()).max(1));
        let sums = sums.map(|window| window.iter().map(|length| *length as u64).sum());
        let expected = delta::Lengths { sum_max: sums.max().unwrap_or(0), bytes: bytes.len() };
        let all = [bytes.as_slice(), &rest].concat();
        prop_assert_eq!(delta::read(&all, lengths.len() as u64, window), Some(expected));
        if let Some(fewer) = (lengths.len() as u64).checked_sub(1) {
            prop_assert_eq!(delta::read(&all, fewer, window), None);
        }
    }

    #[test]
    fn any_bytes_are_read_within_the_number_of_values(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let started = Instant::now();
        delta::read(&bytes, 1_000, 10);
        parse(&bytes);
        prop_assert!(started.elapsed() < SOON);
    }
}
