//! Malformed records: all are counted and written to a file, and the first few are logged.

use crate::log::PartitionName;
use crate::sources::Malformed;
use serde::Serialize;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The number of malformed records that are logged; later ones are not.
const SHOWN_MAX: u64 = 5;

/// The dead letters of a process.
#[derive(Default)]
pub struct DeadLetters {
    file: Option<Mutex<BufWriter<File>>>,
    malformed: AtomicU64,
    /// The number of letters, each of one malformed record or of several.
    letters: AtomicU64,
    is_silent: bool,
    /// Whether a failure to write the file was logged.
    has_failed: AtomicBool,
}

/// A line of the dead-letter file.
#[derive(Serialize)]
struct DeadLetter<'a> {
    topic: &'a str,
    partition: &'a str,
    offset: u64,
    records: u64,
    location: &'a str,
    reason: &'a str,
    sample: &'a str,
}

impl DeadLetters {
    /// Opens a file to which dead letters are appended, one JSON object a line.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn append_to(path: &Path) -> io::Result<DeadLetters> {
        let file = File::options().create(true).append(true).open(path)?;
        let file = Some(Mutex::new(BufWriter::new(file)));
        Ok(DeadLetters { file, ..DeadLetters::default() })
    }

    /// Logs no malformed records.
    #[must_use]
    pub fn without_log(self) -> DeadLetters {
        DeadLetters { is_silent: true, ..self }
    }

    /// Counts a record and writes it to the file. The first failure to write is logged, and does
    /// not stop the job.
    pub fn write(&self, partition: &PartitionName, record: &Malformed) {
        self.malformed.fetch_add(record.records, Ordering::Relaxed);
        let before = self.letters.fetch_add(1, Ordering::Relaxed);
        if before < SHOWN_MAX && !self.is_silent {
            let silence = if before + 1 == SHOWN_MAX { "; more are not logged" } else { "" };
            tracing::warn!(
                "malformed: {} {}: {}{silence}",
                partition.name,
                record.location,
                record.reason
            );
        }
        let Some(file) = &self.file else { return };
        let letter = DeadLetter {
            topic: partition.kind.topic(),
            partition: &partition.name,
            offset: record.offset,
            records: record.records,
            location: &record.location,
            reason: &record.reason,
            sample: &record.sample,
        };
        let mut line = serde_json::to_vec(&letter).unwrap_or_default();
        line.push(b'\n');
        let mut file = file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        self.check(file.write_all(&line));
    }

    fn check(&self, written: io::Result<()>) {
        if let Err(error) = written
            && !self.has_failed.swap(true, Ordering::Relaxed)
        {
            tracing::error!("cannot write all dead letters: {error}; not logged again");
        }
    }

    /// Flushes buffered records to the file.
    pub fn flush(&self) {
        let Some(file) = &self.file else { return };
        let mut file = file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        self.check(file.flush());
    }

    /// The number of malformed records that this process has seen.
    pub fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }
}
