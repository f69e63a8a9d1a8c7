//! How long does it take to read an event from a file, on one thread, without the engine?
//!
//! `cargo bench --bench files -- [--records N] [--repeat N] [--log FOLDER]`. Without `--log` it
//! writes a log in each layout that it compares; with it, it reads the files of that log.
//!
//! The log is scattered: the showings of a request are far from each other, as when many clients
//! write at once.

mod common;

use arrow_array::builder::FixedSizeBinaryBuilder;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt64Array};
use common::{median, parameter};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trendmark::decode::LogFields;
use trendmark::event::{Kind, RequestId};
use trendmark::sources::files::FileSource;
use trendmark::sources::{Batch, Polled, Source};

/// The number of records that are read at once.
const POLL_RECORDS: usize = 4_096;
/// The showings of a request, and the number of other records between two of them.
const SHOWINGS: u64 = 20;
const APART: u64 = 997;
/// The number of rows of a row group, as DuckDB writes them.
const GROUP_ROWS: usize = 122_880;
const TIME_MS: i64 = 1_767_225_600_000;

/// One record of the log.
struct Record {
    request: RequestId,
    video: u64,
    time_ms: i64,
}

fn records(count: u64) -> impl Iterator<Item = Record> {
    (0..count).map(|number| {
        let (block, place) = (number / (SHOWINGS * APART), number % APART);
        let request = block * APART + place;
        Record {
            request: RequestId::from_u128(
                u128::from(request).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
            ),
            video: number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40 & 0x3fff,
            time_ms: TIME_MS + (number / 8).cast_signed(),
        }
    })
}

fn write_lines(path: &Path, count: u64) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    for Record { request, video, time_ms } in records(count) {
        let ids = format!("\"request_id\":\"{request}\",\"video_id\":{video}");
        let times = format!("\"event_time\":{time_ms},\"record_time\":{}", time_ms + 2_345);
        writeln!(file, "{{{ids},{times}}}").unwrap();
    }
}

/// How request ids are written.
#[derive(Clone, Copy)]
enum Ids {
    Text,
    Bytes,
}

fn write_parquet(path: &Path, count: u64, ids: Ids, layout: WriterPropertiesBuilder) {
    let mut writer: Option<ArrowWriter<File>> = None;
    let all: Vec<Record> = records(count).collect();
    for rows in all.chunks(GROUP_ROWS) {
        let requests: ArrayRef = match ids {
            Ids::Text => {
                let texts = rows.iter().map(|row| row.request.to_string());
                Arc::new(StringArray::from_iter_values(texts))
            }
            Ids::Bytes => {
                let mut bytes = FixedSizeBinaryBuilder::new(16);
                for row in rows {
                    bytes.append_value(row.request.to_u128().to_be_bytes()).unwrap();
                }
                Arc::new(bytes.finish())
            }
        };
        let times = |later| Int64Array::from_iter_values(rows.iter().map(|r| r.time_ms + later));
        let videos = UInt64Array::from_iter_values(rows.iter().map(|row| row.video));
        let columns: [(&str, ArrayRef); 4] = [
            ("request_id", requests),
            ("video_id", Arc::new(videos)),
            ("event_time", Arc::new(times(0))),
            ("record_time", Arc::new(times(2_345))),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, column)| (name, column, true)),
        )
        .unwrap();
        let writer = writer.get_or_insert_with(|| {
            let file = File::create(path).unwrap();
            let layout = layout.clone().set_max_row_group_row_count(Some(GROUP_ROWS)).build();
            ArrowWriter::try_new(file, batch.schema(), Some(layout)).unwrap()
        });
        writer.write(&batch).unwrap();
    }
    writer.unwrap().finish().unwrap();
}

/// Reads all files of a folder, and returns the time it took and the number of events.
fn read(folder: &Path) -> (Duration, u64) {
    let paths = [Kind::Impression, Kind::Play].into_iter().filter_map(|kind| {
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let is_of_kind = |path: &std::path::PathBuf| {
            path.file_name().and_then(|name| name.to_str()).unwrap().starts_with(kind.topic())
        };
        let pattern = format!("{}/{}-*", folder.display(), kind.topic());
        files.into_iter().any(|path| is_of_kind(&path)).then_some((kind, pattern))
    });
    let mut source = FileSource::new(paths.collect(), LogFields::default(), false);
    let partitions = source.discover().unwrap();
    let (mut batch, mut events) = (Batch::default(), 0);
    let started = Instant::now();
    for partition in &partitions {
        let mut reader = source.open(partition, None).unwrap();
        loop {
            let polled = reader.poll(&mut batch, POLL_RECORDS).unwrap();
            events += batch.events.len() as u64;
            batch.clear();
            if polled == Polled::Exhausted {
                break;
            }
        }
    }
    (started.elapsed(), events)
}

fn report(name: &str, folder: &Path, count: Option<u64>) {
    let times: Vec<_> = (0..parameter("--repeat", 5, 1)).map(|_| read(folder)).collect();
    let events = times[0].1;
    assert!(count.is_none_or(|count| count == events), "{name}: {events} events");
    let times: Vec<_> = times.into_iter().map(|(time, _)| time).collect();
    let each = |time: Duration| time.as_nanos() as f64 / events as f64;
    let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    println!(
        "{name}: {:.1} ns an event ({:.1} to {:.1}), {events} events",
        each(median(&times)),
        each(*least),
        each(*most)
    );
}

fn main() {
    let log = parameter("--log", String::new(), String::new());
    if !log.is_empty() {
        report(&log, Path::new(&log), None);
        return;
    }
    let count = parameter("--records", 2_000_000, 20_000);
    let in_folder = |name: &str, extension: &str, write: &dyn Fn(&Path)| {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join(format!("impressions-0.{extension}")));
        report(name, folder.path(), Some(count));
    };
    in_folder("JSON Lines", "jsonl", &|path| write_lines(path, count));
    let plain = || WriterProperties::builder().set_dictionary_enabled(false);
    let dictionaries = || WriterProperties::builder().set_compression(Compression::SNAPPY);
    // The dictionary of a chunk ends after a fourth of its ids, and plain pages follow.
    let falls_back = || dictionaries().set_dictionary_page_size_limit(60_000);
    for (name, ids, layout) in [
        ("Parquet, text ids, dictionary", Ids::Text, dictionaries()),
        ("Parquet, text ids, dictionary and plain", Ids::Text, falls_back()),
        ("Parquet, text ids, plain", Ids::Text, plain()),
        ("Parquet, 16-byte ids, dictionary", Ids::Bytes, dictionaries()),
        ("Parquet, 16-byte ids, plain", Ids::Bytes, plain()),
    ] {
        in_folder(name, "parquet", &|path| write_parquet(path, count, ids, layout.clone()));
    }
}
