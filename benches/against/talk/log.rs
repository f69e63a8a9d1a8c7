//! The log in micro-batches of processing time.
//!
//! Processing time is the time at which a record arrived, which `trendmark generate` writes as
//! `record_time` and in whose order the records of a partition are. So each batch holds the same
//! events in every run, as if the job kept up with the log.

use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use trendmark::decode::{FieldNames, JsonDecoder};
use trendmark::time::{Definition, Epoch};

/// An impression or a play, as the designs see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrived {
    pub request: [u64; 2],
    pub video: u64,
    /// The epoch of the event time.
    pub epoch: i64,
    pub is_play: bool,
}

impl Arrived {
    /// The showing that it belongs to.
    pub fn showing(&self) -> ([u64; 2], u64) {
        (self.request, self.video)
    }
}

/// Whether a play in `played` counts for an impression in `shown`: the join window of `trends`.
pub fn counts(shown: i64, played: i64) -> bool {
    Definition::default().impression_epochs(Epoch(played)).contains(Epoch(shown))
}

/// A partition, read batch by batch.
pub struct Partition {
    decoder: JsonDecoder,
    reader: BufReader<File>,
    is_play: bool,
    /// The number of bytes read.
    pub offset: u64,
    /// A line that belongs to a later batch.
    ahead: Vec<u8>,
}

impl Partition {
    /// Opens a partition at an offset.
    pub fn open(path: &Path, offset: u64) -> Partition {
        let mut file = File::open(path).unwrap();
        file.seek(SeekFrom::Start(offset)).unwrap();
        Partition {
            decoder: JsonDecoder::new(&FieldNames::default()),
            reader: BufReader::with_capacity(1 << 20, file),
            is_play: path.file_name().unwrap().to_str().unwrap().starts_with("plays"),
            offset,
            ahead: Vec::new(),
        }
    }

    /// Gives the events that arrived before a time, and returns their number. All records of the
    /// log are events.
    pub fn read_until(&mut self, end_ms: i64, mut give: impl FnMut(Arrived)) -> u64 {
        let mut events = 0;
        loop {
            if self.ahead.is_empty() && self.reader.read_until(b'\n', &mut self.ahead).unwrap() == 0
            {
                return events;
            }
            let event = self.decoder.decode(self.ahead.trim_ascii_end(), self.offset).unwrap();
            if event.stamp_ms() >= end_ms {
                return events;
            }
            give(Arrived {
                request: event.request.0,
                video: event.video.0,
                epoch: Definition::default().epoch(event.event_time_ms).0,
                is_play: self.is_play,
            });
            self.offset += self.ahead.len() as u64;
            self.ahead.clear();
            events += 1;
        }
    }
}

/// The partitions of a log, in the order of their names.
pub fn partitions(log: &Path) -> Vec<PathBuf> {
    let pattern = format!("{}/*.jsonl", log.display());
    let paths: Vec<_> = glob::glob(&pattern).unwrap().map(Result::unwrap).collect();
    assert!(!paths.is_empty(), "no JSON Lines files in {}", log.display());
    paths
}

/// The times at which the first and the last record arrived, in milliseconds.
pub fn arrivals(paths: &[PathBuf]) -> (i64, i64) {
    let ends: Vec<(i64, i64)> = paths.iter().map(|path| ends(path)).collect();
    let first = ends.iter().map(|(first, _)| *first).min().unwrap();
    (first, ends.iter().map(|(_, last)| *last).max().unwrap())
}

fn ends(path: &Path) -> (i64, i64) {
    const TAIL_BYTES: u64 = 4096;
    let mut decoder = JsonDecoder::new(&FieldNames::default());
    let mut arrival = |line: &[u8]| decoder.decode(line.trim_ascii_end(), 0).unwrap().stamp_ms();
    let mut file = File::open(path).unwrap();
    let length = file.metadata().unwrap().len();
    let first = BufReader::new(&file).split(b'\n').next().unwrap().unwrap();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).unwrap();
    let last = BufReader::new(&file).split(b'\n').last().unwrap().unwrap();
    (arrival(&first), arrival(&last))
}
