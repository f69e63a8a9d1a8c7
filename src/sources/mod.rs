//! Where events come from: the contract of a source, and the sources.
//!
//! A source is a set of *partitions*. A partition is a log: its records keep their order and their
//! offsets for ever, so that reading it again from an offset gives the same events again. That is
//! all that recovery rests on. Sources know events, never a query.
//!
//! - [`files`]: JSON Lines and Parquet; a file is a partition, its line or row number the offset.
//! - [`kafka`]: JSON messages of topics; the offsets are Kafka's.
//! - [`combined`]: files and topics together.
//! - [`memory`]: events that are already decoded, for benchmarks and tests.

pub mod combined;
pub mod files;
pub mod kafka;
pub mod memory;

use crate::event::Event;
use crate::log::PartitionName;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A partition that a source has found, and how much there is to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovered {
    /// Which partition.
    pub name: PartitionName,
    /// Its size in bytes as far as known, to share the partitions out and to estimate the end.
    pub size_bytes: u64,
    /// The offset at which reading is to end, where the log goes on but the job does not.
    pub end_offset: Option<u64>,
}

/// A set of partitions. Every process holds one of its own.
pub trait Source: Send {
    /// The partitions that exist now, in a fixed order. It is called at the start and, while
    /// following, again and again, in the first process only.
    ///
    /// # Errors
    /// When the source as a whole cannot be used: a path that does not exist, say.
    fn discover(&mut self) -> Result<Vec<Discovered>, SourceError>;

    /// Starts to read a partition, at an offset or from the first record that is there.
    ///
    /// # Errors
    /// When the partition cannot be read at all, or does not hold the offset: its log was cut, or
    /// its retention has passed.
    fn open(
        &self,
        partition: &Discovered,
        offset: Option<u64>,
    ) -> Result<Box<dyn PartitionReader>, SourceError>;

    /// Tells up to where the store reflects partitions (their next offsets), for those that can
    /// show it to others. The store is the truth, so it must not wait, and failures are no errors.
    fn committed(&mut self, _positions: &[(PartitionName, u64)]) {}
}

/// Reads one partition in its order. It never blocks for longer than a read from a disk.
pub trait PartitionReader {
    /// Appends the next records, about `records_max` of them, to `batch`, and says whether there
    /// is more. Appending nothing and answering [`Polled::More`] is allowed.
    ///
    /// # Errors
    /// When the partition cannot be read on. Records that are no events are no errors: they go to
    /// `batch.malformed`.
    fn poll(&mut self, batch: &mut Batch, records_max: usize) -> Result<Polled, SourceError>;
}

/// What comes after a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// There may be more: poll again.
    More,
    /// The end was reached; more may be written later.
    AtEnd,
    /// The end was reached, and nothing will ever follow.
    Exhausted,
}

/// Some consecutive records of a partition.
#[derive(Debug, Default)]
pub struct Batch {
    /// The events among them, in order.
    pub events: Vec<Event>,
    /// The records that are no events, in order.
    pub malformed: Vec<Malformed>,
    /// The offset after the last record: where to go on after a restart.
    pub next_offset: u64,
    /// The bytes that were read for them.
    pub bytes: u64,
}

impl Batch {
    /// Empties the batch and keeps its buffers.
    pub fn clear(&mut self) {
        self.events.clear();
        self.malformed.clear();
        self.bytes = 0;
    }
}

/// A record that is no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Its offset in its partition.
    pub offset: u64,
    /// Its place as a person would look for it: `line 17`, `row 17`.
    pub location: String,
    /// What is wrong with it.
    pub reason: String,
    /// Its beginning, at most [`SAMPLE_BYTES_MAX`] bytes, made printable.
    pub sample: String,
}

/// How much of a malformed record is kept, in bytes.
pub const SAMPLE_BYTES_MAX: usize = 256;

/// The beginning of a record, printable, for [`Malformed::sample`].
pub fn sample(record: &[u8]) -> String {
    let beginning = &record[..record.len().min(SAMPLE_BYTES_MAX)];
    String::from_utf8_lossy(beginning).into_owned()
}

/// Why a source cannot be used. Every one names what, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A path that was given is not there.
    #[error("no file or folder at `{0}`; check the path, or quote a pattern that matches a file")]
    NotFound(PathBuf),
    /// A pattern that was given is not one.
    #[error("`{pattern}` is not a pattern: {reason}")]
    Pattern {
        /// What was given.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of a kind that is not known.
    #[error(
        "`{0}` is neither JSON Lines (.jsonl, .jsonl.gz, .jsonl.zst) nor Parquet (.parquet); \
         rename it, or give other files"
    )]
    UnknownFormat(PathBuf),
    /// The file system refused.
    #[error("cannot read `{path}`: {error}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A log is gone that must be read again.
    #[error(
        "{partition} is not there any more, but must be read again from offset {offset}, as epochs \
         are open that it contributed to: restore it, or start with a new store"
    )]
    Lost {
        /// Which partition.
        partition: PartitionName,
        /// Where reading has to go on.
        offset: u64,
    },
    /// Topics cannot be read.
    #[error(transparent)]
    Kafka(#[from] kafka::KafkaSourceError),
    /// A log no longer has what reading has to begin with.
    #[error(
        "{partition} begins at offset {first}, after offset {offset} where reading has to go on: \
         its retention has passed; restore the log, or start with a new store and a longer \
         retention"
    )]
    Retention {
        /// Which partition.
        partition: PartitionName,
        /// Where it begins now.
        first: u64,
        /// Where reading has to go on.
        offset: u64,
    },
    /// A log does not reach back to where reading has to go on.
    #[error(
        "{partition} ends at offset {end}, before offset {offset} which was read already; the \
             log was cut or replaced: restore it, or start with a new store"
    )]
    Shrunk {
        /// Which partition.
        partition: PartitionName,
        /// Where it ends now.
        end: u64,
        /// Where reading has to go on.
        offset: u64,
    },
}
