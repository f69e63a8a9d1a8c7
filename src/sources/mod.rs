//! Sources of events: the [`Source`] trait and its implementations.
//!
//! A source is a set of *partitions*. A partition is a log: the order and offsets of its records
//! never change, so that replaying it from an offset gives the same events. Recovery depends on
//! nothing else. Sources know nothing about queries.
//!
//! - [`files`]: JSON Lines and Parquet. A file is a partition, a line or row number an offset.
//! - [`kafka`]: topics of JSON, Avro or Protobuf messages, with Kafka's partitions and offsets.
//! - [`combined`]: files and topics together.
//! - [`memory`]: decoded events in memory, for benchmarks and tests.

pub mod combined;
pub mod files;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod memory;

use crate::event::Event;
use crate::features::MissingFeature;
use crate::log::{LogFile, Loss, LossCause, PartitionName, PartitionProgress};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::SystemTime;

/// A partition that a source has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovered {
    /// The name of the partition.
    pub name: PartitionName,
    /// The size in bytes, if known: used to balance the workers.
    pub size_bytes: u64,
    /// The offset at which reading ends, if the job ends before the log does.
    pub end_offset: Option<u64>,
    /// The file that holds it now, if it is in a file.
    pub file: Option<LogFile>,
}

/// A partition whose log is in another file than it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The partition.
    pub partition: PartitionName,
    /// The file that holds it now; `None` if there is none any more.
    pub file: Option<LogFile>,
}

/// A set of partitions. Every process has its own instance.
pub trait Source: Send {
    /// Tells which partitions earlier jobs have read, how far, and when the last of them has
    /// committed. Called in the first process only, once, before the first discovery.
    fn resume(&mut self, _partitions: &[PartitionProgress], _committed: Option<SystemTime>) {}

    /// Returns the partitions that exist now, in a fixed order. Called in the first process only:
    /// at the start and, while following, periodically.
    ///
    /// # Errors
    /// When the source as a whole cannot be used, for example if a path does not exist.
    fn discover(&mut self) -> Result<Vec<Discovered>, SourceError>;

    /// Returns the partitions whose logs the last discovery has found in another file, or no more.
    fn take_moved(&mut self) -> Vec<Moved> {
        Vec::new()
    }

    /// Whether a partition that an earlier job has read would be one of this source if it were
    /// there.
    fn may_have(&self, _partition: &PartitionProgress) -> bool {
        true
    }

    /// Whether more may be appended to a log that has ended, now that it is in this file.
    fn may_go_on(&self, _file: &LogFile) -> bool {
        false
    }

    /// Returns what was found at the places that were given and is not read, with the reason, in
    /// words for people.
    fn left_out(&self) -> Vec<String> {
        Vec::new()
    }

    /// Opens a partition at an offset, or at the first record that still exists.
    ///
    /// # Errors
    /// When the partition cannot be read at all, or does not contain the offset: its log was
    /// truncated, or retention has deleted the records.
    fn open(
        &self,
        partition: &Discovered,
        offset: Option<u64>,
    ) -> Result<Box<dyn PartitionReader>, SourceError>;

    /// Handles what has arrived in the background, whether or not a partition is being read. Called
    /// about twice a second on every worker; does not wait.
    ///
    /// # Errors
    /// When the source as a whole can no longer be used.
    fn maintain(&mut self) -> Result<(), SourceError> {
        Ok(())
    }

    /// Reports the progress in the store of the partitions that have moved on, for sources that can
    /// publish it or use it. The store is authoritative: this must not block, and failures are not
    /// errors.
    fn committed(&mut self, _partitions: &[PartitionProgress]) {}
}

/// Reads one partition in order. Blocks no longer than a read from disk, except before it fails: a
/// Kafka partition is looked at for some seconds before its log counts as truncated.
pub trait PartitionReader {
    /// Appends about `records_max` records to `batch`, and returns whether there may be more. May
    /// append nothing and still return [`Polled::More`].
    ///
    /// # Errors
    /// When the partition cannot be read further. Malformed records are not errors: they are
    /// appended to `batch.malformed`.
    fn poll(&mut self, batch: &mut Batch, records_max: usize) -> Result<Polled, SourceError>;

    /// Returns how much is left to read, as far as that is known without waiting. Only for display:
    /// no decision depends on it.
    fn lag(&self) -> Lag;

    /// Returns what the next record waits for, if it is known to exist or nobody can tell. Only for
    /// display.
    fn waits_for(&self) -> Option<Wait> {
        None
    }

    /// Returns the file that holds the log.
    fn file(&self) -> Option<LogFile> {
        None
    }

    /// Returns what is, or may be, missing of the log.
    fn loss(&self) -> Option<Loss> {
        None
    }

    /// Goes on in the file that holds the log now, or ends if there is none.
    ///
    /// # Errors
    /// When the file cannot be read.
    fn relocate(&mut self, _file: Option<&LogFile>) -> Result<(), SourceError> {
        Ok(())
    }
}

/// What a partition waits for outside of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wait {
    /// A schema from the registry.
    Schema,
    /// An answer of the broker.
    Broker,
    /// Its file, which was renamed, replaced or cut.
    File,
}

/// How much of some partitions is not read yet. A file counts bytes, a Kafka partition records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// The number of bytes, as they are in the files.
    pub bytes: u64,
    /// The number of records.
    pub records: u64,
    /// Whether there are partitions whose lag is not known.
    pub is_partial: bool,
}

impl Lag {
    /// Returns the lag of a partition of a file.
    pub fn of_bytes(bytes: u64) -> Lag {
        Lag { bytes, ..Lag::default() }
    }

    /// Returns the lag of a partition in records, if it is known.
    pub fn of_records(records: Option<u64>) -> Lag {
        let (records, is_partial) = (records.unwrap_or(0), records.is_none());
        Lag { records, is_partial, ..Lag::default() }
    }

    /// Returns the total lag of two sets of partitions.
    #[must_use]
    pub fn merge(self, other: Lag) -> Lag {
        Lag {
            bytes: self.bytes + other.bytes,
            records: self.records + other.records,
            is_partial: self.is_partial || other.is_partial,
        }
    }
}

/// The result of a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// There may be more: poll again.
    More,
    /// The end of the partition was reached; more records may follow later.
    AtEnd,
    /// The end was reached, and no more records will follow.
    Exhausted,
}

/// Consecutive records of a partition.
#[derive(Debug, Default)]
pub struct Batch {
    /// The events, in order.
    pub events: Vec<Event>,
    /// The malformed records, in order.
    pub malformed: Vec<Malformed>,
    /// The offset after the last record, at which a restart resumes.
    pub next_offset: u64,
    /// The number of bytes read.
    pub bytes: u64,
}

impl Batch {
    /// Clears the batch, but keeps its buffers and `next_offset`.
    pub fn clear(&mut self) {
        self.malformed.clear();
        self.discard(self.events.len());
    }

    /// Removes the first events, before more are appended.
    pub fn discard(&mut self, events: usize) {
        self.events.drain(..events);
        self.bytes = 0;
    }
}

/// A record that is not a valid event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The offset in the partition.
    pub offset: u64,
    /// The number of records that it stands for, from this offset on: 1, or the rows that a damaged
    /// file has lost.
    pub records: u64,
    /// The location for a human reader: `line 17`, `row 17`, `rows 17 to 99`, `offset 17`.
    pub location: String,
    /// The reason why the record is malformed.
    pub reason: String,
    /// The first bytes of the record, at most [`SAMPLE_BYTES_MAX`], as lossy UTF-8.
    pub sample: String,
}

impl Malformed {
    /// Returns the loss of this record and of all after it in its file.
    pub fn as_damage(&self) -> Loss {
        let Malformed { offset, location, reason, .. } = self;
        Loss { offset: *offset, cause: LossCause::Damaged(format!("{location}: {reason}")) }
    }
}

/// The maximum number of bytes of a malformed record in [`Malformed::sample`].
pub const SAMPLE_BYTES_MAX: usize = 256;

/// Returns at most the first [`SAMPLE_BYTES_MAX`] bytes of a record, as lossy UTF-8.
pub fn sample(record: &[u8]) -> String {
    let beginning = &record[..record.len().min(SAMPLE_BYTES_MAX)];
    String::from_utf8_lossy(beginning).into_owned()
}

impl SourceError {
    /// Whether a log no longer holds records that must be read again, but may be read on from where
    /// an earlier job stopped: `next_offset` tells that offset of a partition. A log that ends
    /// before it cannot be read on.
    pub fn is_loss(&self, next_offset: impl Fn(&PartitionName) -> Option<u64>) -> bool {
        match self {
            SourceError::Lost { .. } | SourceError::LostFile { .. } => true,
            SourceError::Retention { partition, first, .. } => {
                next_offset(partition).is_some_and(|next| *first <= next)
            }
            _ => false,
        }
    }

    /// Whether the arguments are the cause, so that the same command fails again.
    pub fn is_usage(&self) -> bool {
        match self {
            SourceError::MissingFeature(_) | SourceError::Pattern { .. } => true,
            #[cfg(feature = "kafka")]
            SourceError::Kafka(error) => {
                use kafka::KafkaSourceError::{Registry, Settings};
                match error {
                    Registry(error) => error.is_usage(),
                    Settings(error) => error.is_usage(),
                    _ => false,
                }
            }
            _ => false,
        }
    }
}

/// An error of a source. Every message says what failed, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A given path does not exist.
    #[error("no file or folder at `{0}`; check the path, or quote a pattern that matches a file")]
    NotFound(PathBuf),
    /// A folder without a file that can be read.
    #[error(
        "nothing in the folder `{folder}` can be read: it has {left_out}; files must end in \
         .jsonl, .ndjson (also .gz, .zst) or .parquet, and subfolders be named KEY=VALUE"
    )]
    NothingToRead {
        /// The folder.
        folder: PathBuf,
        /// What it has, in words.
        left_out: String,
    },
    /// A given pattern is not valid.
    #[error("`{pattern}` is not a valid pattern: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// The reason why it is not valid.
        reason: String,
    },
    /// A file with an unknown format.
    #[error(
        "`{0}` is neither JSON Lines (.jsonl or .ndjson, also .gz, .zst) nor Parquet (.parquet); \
         rename it, or give other files"
    )]
    UnknownFormat(PathBuf),
    /// The program was built without a feature that reading needs.
    #[error(transparent)]
    MissingFeature(#[from] MissingFeature),
    /// An error of the file system.
    #[error("cannot read `{path}`: {error}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        error: std::io::Error,
    },
    /// A log that must be replayed no longer exists.
    #[error(
        "{partition} no longer exists, but must be read again from offset {offset} for the open \
         epochs: restore it, or go on without it with --accept-loss"
    )]
    Lost {
        /// The partition.
        partition: PartitionName,
        /// The offset at which reading must resume.
        offset: u64,
    },
    /// The file of a log that must be replayed was removed, replaced or cut.
    #[error(
        "{partition} was read up to offset {next_offset}, and must be read again from offset \
         {offset} for the open epochs, but no file in its folders begins as it did and has the \
         {bytes} bytes that were read: it was removed, replaced or cut; restore it, or go on \
         without it with --accept-loss"
    )]
    LostFile {
        /// The partition.
        partition: PartitionName,
        /// The offset at which reading must resume.
        offset: u64,
        /// The offset up to which it was read.
        next_offset: u64,
        /// The number of bytes that were read of it.
        bytes: u64,
    },
    /// An error of the Kafka source.
    #[cfg(feature = "kafka")]
    #[error(transparent)]
    Kafka(#[from] kafka::KafkaSourceError),
    /// Retention has deleted the records at which reading must resume.
    #[error(
        "{partition} begins at offset {first}, but reading must resume at offset {offset}: \
         retention has deleted the records between; restore the log, or start with a new store \
         and a longer retention"
    )]
    Retention {
        /// The partition.
        partition: PartitionName,
        /// The first offset that still exists.
        first: u64,
        /// The offset at which reading must resume.
        offset: u64,
    },
    /// A log ends before the offset at which reading must resume.
    #[error(
        "{partition} ends at offset {end}, before offset {offset} where reading must resume: the \
         log was truncated or replaced; restore it, or start with a new store"
    )]
    Shrunk {
        /// The partition.
        partition: PartitionName,
        /// The current end offset.
        end: u64,
        /// The offset at which reading must resume.
        offset: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;

    #[test]
    fn a_loss_can_be_accepted_if_the_log_may_be_read_on_from_the_store() {
        let partition = PartitionName { kind: Kind::Play, name: "plays/0".into() };
        let of = |partition: &PartitionName| (partition.name == "plays/0").then_some(50);
        for (first, expected) in [(20, true), (50, true), (51, false)] {
            let error = SourceError::Retention { partition: partition.clone(), first, offset: 10 };
            assert_eq!(error.is_loss(of), expected, "{first}");
            assert!(!error.is_loss(|_| None));
        }
        assert!(SourceError::Lost { partition: partition.clone(), offset: 10 }.is_loss(of));
        assert!(!SourceError::Shrunk { partition, end: 9, offset: 10 }.is_loss(of));
    }
}
