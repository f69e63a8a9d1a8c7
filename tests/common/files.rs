//! Logs as files: JSON Lines, plain and compressed, and Parquet.

use super::Log;
use std::io::Write;
use std::path::Path;
use trendmark::event::Event;

/// A record of a file.
#[derive(Clone, Debug)]
pub enum Record {
    Event(Event),
    /// A malformed record in every format.
    Malformed,
    /// An empty line: it is not a record, but has an offset. Parquet has no empty lines.
    Empty,
}

/// The numbers of records in a file that was written.
#[derive(Clone, Debug)]
pub struct Written {
    pub records: u64,
    pub malformed: u64,
}

/// The file extensions of the formats in which a log can be written and read.
#[cfg(feature = "parquet")]
pub const FORMATS: [&str; 4] = ["jsonl", "jsonl.gz", "parquet", "jsonl.zst"];
/// The file extensions of the formats in which a log can be written and read.
#[cfg(not(feature = "parquet"))]
pub const FORMATS: [&str; 3] = ["jsonl", "jsonl.gz", "jsonl.zst"];

/// Writes a log to a folder: one file per partition, in all formats in turn, with a few malformed
/// records and empty lines. Returns the log with the names of the files, and their numbers of
/// records.
pub fn write_log(folder: &Path, log: &Log) -> (Log, Vec<Written>) {
    let mut named = Log::new();
    let mut files = Vec::new();
    for (number, (partition, events)) in log.iter().enumerate() {
        let format = FORMATS[number % FORMATS.len()];
        let path = folder.join(format!("{}-{number}.{format}", partition.kind.topic()));
        let records = with_other_records(events, number, format != "parquet");
        std::fs::write(&path, encode(format, &records)).unwrap();
        let malformed = records.iter().filter(|record| matches!(record, Record::Malformed)).count();
        files.push(Written { records: records.len() as u64, malformed: malformed as u64 });
        let mut partition = partition.clone();
        partition.name = path.to_str().unwrap().to_string();
        named.push((partition, events.clone()));
    }
    (named, files)
}

/// The events in order, with malformed records and empty lines among them.
fn with_other_records(events: &[Event], number: usize, with_empty: bool) -> Vec<Record> {
    let mut records = Vec::new();
    for (place, event) in events.iter().enumerate() {
        match (place + number) % 11 {
            0 => records.push(Record::Malformed),
            5 if with_empty => records.push(Record::Empty),
            _ => {}
        }
        records.push(Record::Event(*event));
    }
    records
}

/// The bytes of a file with these records.
pub fn encode(format: &str, records: &[Record]) -> Vec<u8> {
    match format {
        "jsonl" => lines(records),
        "jsonl.gz" => gzip(&lines(records)),
        "jsonl.zst" => zstd::encode_all(&lines(records)[..], 1).unwrap(),
        #[cfg(feature = "parquet")]
        "parquet" => parquet(records),
        other => panic!("no format {other}"),
    }
}

/// An event as a line of JSON, with its newline.
pub fn line(event: &Event) -> String {
    let record_time = match event.record_time_ms {
        Some(record_time_ms) => format!(",\"record_time\":{record_time_ms}"),
        None => String::new(),
    };
    format!(
        "{{\"request_id\":\"{}\",\"video_id\":{},\"event_time\":{}{record_time}}}\n",
        event.request, event.video.0, event.event_time_ms
    )
}

fn lines(records: &[Record]) -> Vec<u8> {
    let text = records.iter().map(|record| match record {
        Record::Event(event) => line(event),
        Record::Malformed => "{\"request_id\":\"r\",\"video_id\":-1,\"event_time\":true}\n".into(),
        Record::Empty => "\n".into(),
    });
    text.collect::<String>().into_bytes()
}

/// Compresses with gzip.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[cfg(feature = "parquet")]
fn parquet(records: &[Record]) -> Vec<u8> {
    use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt64Array};
    use std::sync::Arc;
    let events: Vec<Option<Event>> = records
        .iter()
        .map(|record| match record {
            Record::Event(event) => Some(*event),
            _ => None,
        })
        .collect();
    let request = events.iter().map(|event| event.map(|event| event.request.to_string()));
    let video = events.iter().map(|event| event.map(|event| event.video.0));
    let event_time = events.iter().map(|event| event.map(|event| event.event_time_ms));
    let record_time = events.iter().map(|event| event.and_then(|event| event.record_time_ms));
    let columns: [(&str, ArrayRef); 4] = [
        ("request_id", Arc::new(request.collect::<StringArray>())),
        ("video_id", Arc::new(video.collect::<UInt64Array>())),
        ("event_time", Arc::new(event_time.collect::<Int64Array>())),
        ("record_time", Arc::new(record_time.collect::<Int64Array>())),
    ];
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let mut writer =
        ::parquet::arrow::ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.into_inner().unwrap()
}
