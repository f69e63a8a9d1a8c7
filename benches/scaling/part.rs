//! A part of a generated log: what the source repeats, kept in a file so that it is made once.
//!
//! The part is a *cycle*: what arrives after its period, such as late plays, is moved to its
//! beginning and marked with the number of periods that it wraps around. So repetitions follow each
//! other without a seam, and events are as much out of order there as anywhere.

use bytemuck::{Pod, Zeroable};
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use trendmark::event::Kind;
use trendmark::generate::{Generator, Model};

/// Records that are read from the file at once.
const CHUNK: usize = 1 << 14;

/// An event of the part. Times are from the start of the log, in milliseconds.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Record {
    /// The words of the request id.
    pub request: [u64; 2],
    /// The video; generated ids have eight digits.
    pub video: u32,
    /// The event time, less `wraps` periods.
    pub event_ms: i32,
    /// The arrival, less `wraps` periods: from 0 to the period.
    pub arrival_ms: i32,
    /// The number of periods by which it arrives after the period of its request.
    pub wraps: u16,
    /// Its kind, as its discriminant.
    pub kind: u16,
}

impl Record {
    /// The index of the partition of its log. Independent of where the engine keeps the request,
    /// which the words of the id select.
    pub fn partition(&self, partitions: u32) -> u32 {
        let [high, low] = self.request;
        let mixed = (high ^ low.rotate_left(17)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((u128::from(mixed) * u128::from(partitions)) >> 64) as u32
    }
}

/// Generates the log of a model, which lasts one period, as a cycle, in order of arrival.
fn records(model: &Model) -> Vec<Record> {
    let since_start = |time_ms: i64| i32::try_from(time_ms - model.start_ms).unwrap();
    let period_ms = since_start(model.start_ms + model.duration_ms);
    let record = |arrival: trendmark::generate::Arrival| {
        let event = arrival.event(0).expect("the model has no malformed records");
        let arrival_ms = since_start(arrival.arrival_ms);
        let wraps = arrival_ms / period_ms;
        Record {
            request: event.request.0,
            video: u32::try_from(event.video.0).unwrap(),
            event_ms: since_start(event.event_time_ms) - wraps * period_ms,
            arrival_ms: arrival_ms - wraps * period_ms,
            wraps: u16::try_from(wraps).unwrap(),
            kind: arrival.kind as u16,
        }
    };
    let mut records: Vec<Record> = Generator::new(model).unwrap().map(record).collect();
    records.sort_by_key(|record| record.arrival_ms);
    records
}

/// Writes the part of a model to a file, which appears when it is complete.
pub fn make(model: &Model, path: &Path) {
    let unfinished = path.with_extension("unfinished");
    let mut file = BufWriter::new(File::create(&unfinished).unwrap());
    file.write_all(bytemuck::cast_slice(&records(model))).unwrap();
    file.into_inner().unwrap().sync_all().unwrap();
    std::fs::rename(unfinished, path).unwrap();
}

/// Reads a part. Returns the records of each partition: those of the impressions, then those of the
/// plays.
///
/// The file is read twice, so that every partition takes exactly the memory that it needs.
pub fn read(path: &Path, partitions: u32) -> Vec<Vec<Record>> {
    let place = |record: &Record| {
        let first = if record.kind == Kind::Impression as u16 { 0 } else { partitions };
        (first + record.partition(partitions)) as usize
    };
    let mut counts = vec![0; 2 * partitions as usize];
    for_each(path, |record| counts[place(record)] += 1);
    let mut parts: Vec<Vec<Record>> = counts.into_iter().map(Vec::with_capacity).collect();
    for_each(path, |record| parts[place(record)].push(*record));
    parts
}

fn for_each(path: &Path, mut visit: impl FnMut(&Record)) {
    let mut file = File::open(path).unwrap();
    let mut chunk = vec![Record::zeroed(); CHUNK];
    let mut left = file.metadata().unwrap().len() as usize / size_of::<Record>();
    while left > 0 {
        let records = &mut chunk[..left.min(CHUNK)];
        file.read_exact(bytemuck::cast_slice_mut(records)).unwrap();
        records.iter().for_each(&mut visit);
        left -= records.len();
    }
}
