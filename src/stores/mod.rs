//! Where results go: the contract of a store, and the stores.
//!
//! A store is the truth. It receives *publications*: everything that changed up to a common point
//! of all workers (rows, ledger, positions of every partition), to be committed together or not at
//! all. It knows rows and their columns, never a query's meaning.
//!
//! - [`kafka`]: rows as a changelog in a compacted topic, for readers of Kafka.
//! - [`sqlite`]: one file, readable by any program while the job runs. The default.
//! - [`memory`]: for benchmarks of the engine alone, and tests.

pub mod description;
pub mod kafka;
pub mod memory;
pub mod sqlite;

use crate::digest::Digests;
use crate::kafka::KafkaSettingsError;
use crate::ledger::Ledger;
use crate::query::Row;
use crate::sources::PartitionName;
use crate::time::Epoch;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A change of a query's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowChange {
    /// The query, by its index in the list that the store was opened with.
    pub query: usize,
    /// The row; if it is deleted, only its epoch and key count.
    pub row: Row,
    /// Whether the row with this epoch and key is gone, rather than new or changed.
    pub deleted: bool,
}

/// How far a partition was read, as of a publication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionProgress {
    /// Which partition.
    pub partition: PartitionName,
    /// The offset after the last record that the publication accounts for.
    pub next_offset: u64,
    /// Its watermark, in milliseconds; none before its first honest event.
    pub watermark_ms: Option<i64>,
    /// The first offset that contributed to an epoch still open, or `next_offset`.
    pub replay_offset: u64,
    /// The watermark just before the replay offset.
    pub replay_watermark_ms: Option<i64>,
    /// Malformed records since the last publication that named this partition.
    pub malformed: u64,
    /// Whether it holds no epoch open: it is exhausted, or idle.
    pub idle: bool,
}

/// Everything that changed since the last publication, up to a point that all workers have passed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Publication {
    /// The changed rows, at most one for each query, epoch and key, in no particular order.
    pub rows: Vec<RowChange>,
    /// Events counted since the last publication.
    pub ledger: Ledger,
    /// The partitions that moved.
    pub partitions: Vec<PartitionProgress>,
    /// All epochs up to this one are final: their rows are complete, and nothing will change them.
    /// It never falls back.
    pub final_through: Option<Epoch>,
    /// By how much the rows moved the digest of each epoch, over all queries.
    pub digests: Digests,
    /// The least watermark of the partitions that hold epochs open, or the greatest of all if none
    /// does, in milliseconds.
    pub watermark_ms: Option<i64>,
}

/// What a store reflects: where the job that takes it over goes on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The number of the job that has the store, counted from 1. Jobs before it are fenced.
    pub generation: u64,
    /// How many publications were committed.
    pub publications: u64,
    /// All epochs up to this one are final.
    pub final_through: Option<Epoch>,
    /// How far every partition was read; `malformed` is the sum.
    pub partitions: Vec<PartitionProgress>,
    /// The digest of the rows of every epoch that is not final and has rows.
    pub digests: Digests,
}

/// The least watermark of the partitions that hold epochs open, or the greatest of all if none
/// does, in milliseconds.
pub fn watermark_ms<'a>(
    partitions: impl IntoIterator<Item = &'a PartitionProgress> + Clone,
) -> Option<i64> {
    let active = partitions.clone().into_iter().filter(|progress| !progress.idle);
    match active.map(|progress| progress.watermark_ms).min() {
        Some(least_ms) => least_ms,
        None => partitions.into_iter().filter_map(|progress| progress.watermark_ms).max(),
    }
}

/// A place for results that commits publications atomically.
///
/// Whoever opens a store takes it over: from then on, those who had it before can commit nothing.
pub trait Store: Send {
    /// What the store reflects, as of the last commit.
    ///
    /// # Errors
    /// When it cannot be read.
    fn progress(&mut self) -> Result<Progress, StoreError>;

    /// Hands over the rows of all epochs that are not final, as replay has rebuilt them: what the
    /// store holds already. It is called once, before the first commit, and never in a job that
    /// had nothing to replay. A store that needs no memory of its rows does nothing.
    fn restore(&mut self, _rows: Vec<RowChange>) {}

    /// Commits a publication: all of it, durably, or nothing.
    ///
    /// # Errors
    /// When it cannot, or another job has taken the store over; the job then ends, and the store
    /// holds what was committed before.
    fn commit(&mut self, publication: &Publication) -> Result<(), StoreError>;
}

/// Why a store cannot be used. Every one names what, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store holds results of another definition.
    #[error(
        "`{store}` was written with {key} = {stored}, but this run has {key} = {given}; give the \
         same value, or another --store"
    )]
    OtherDefinition {
        /// The store.
        store: String,
        /// What differs.
        key: String,
        /// Its value in the store.
        stored: String,
        /// Its value in this run.
        given: String,
    },
    /// Something is there and is not one of ours.
    #[error("`{store}` is not a trendmark store: {reason}; give another --store")]
    NotAStore {
        /// The file, or the topic.
        store: String,
        /// How that is known.
        reason: String,
    },
    /// There is no store to read.
    #[error("no store at `{0}`; `trendmark run --store` makes one")]
    NotFound(PathBuf),
    /// Another program has it.
    #[error(
        "`{path}` is in use: {reason}; end the other program, give another --store, or --take-over \
         to fence a job that does not end"
    )]
    Locked {
        /// The store.
        path: PathBuf,
        /// Who has it, as far as known.
        reason: String,
    },
    /// Another job has taken the store over.
    #[error(
        "another job has taken over `{store}` from this one, generation {generation}; what this \
         one read since its last commit was not written, and the other goes on from there"
    )]
    Fenced {
        /// The store.
        store: String,
        /// The generation of this job.
        generation: u64,
    },
    /// A topic is not as a store needs it.
    #[error("topic `{topic}`: {problem}; {remedy}")]
    Topic {
        /// The topic.
        topic: String,
        /// What is wrong with it.
        problem: String,
        /// The way out.
        remedy: String,
    },
    /// The settings of Kafka's clients are wrong.
    #[error(transparent)]
    KafkaSettings(#[from] KafkaSettingsError),
    /// The brokers refused, or did not answer.
    #[error("cannot {action} `{store}`: {reason}; {advice}")]
    Kafka {
        /// What was tried.
        action: &'static str,
        /// The store.
        store: String,
        /// What the brokers, or librdkafka, said.
        reason: String,
        /// What to do.
        advice: &'static str,
    },
    /// The database refused.
    #[error("cannot {action} `{path}`: {error}")]
    Database {
        /// What was tried.
        action: &'static str,
        /// The store.
        path: PathBuf,
        /// What the database said.
        error: rusqlite::Error,
    },
    /// The file system refused.
    #[error("cannot {action} `{path}`: {error}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}
