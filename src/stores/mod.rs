//! Where results go: the contract of a store, and the stores.
//!
//! A store is the truth. It receives *publications*: everything that changed up to a common point
//! of all workers (rows, ledger, positions of every partition), to be committed together or not at
//! all. It knows rows and their columns, and what a query declares about them, never a query.
//!
//! - [`reader`]: the read side.
//! - [`description`]: what a store was made for.
//! - [`progress`]: what a store reflects.
//! - [`kafka`]: rows as a changelog in a compacted topic, for readers of Kafka.
//! - [`sqlite`]: one file, readable by any program while the job runs. The default.
//! - [`memory`]: for benchmarks of the engine alone, and tests.

pub mod description;
pub mod kafka;
pub mod memory;
pub mod progress;
pub mod reader;
pub mod sqlite;

pub use description::{Description, StoredColumn, StoredQuery};
pub use progress::Progress;
pub use reader::{RowOrder, RowVisitor, Selection, StoreReader, StoredRow};

use crate::acceptance::Ledger;
use crate::kafka::KafkaSettingsError;
use crate::log::PartitionProgress;
use crate::query::{Digests, Row};
use crate::time::{Publication, Through};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A change of a query's table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowChange {
    /// The query, by its number in the description of the store.
    pub query: usize,
    /// The row; if it is deleted, only its epoch and key count.
    pub row: Row,
    /// Whether the row with this epoch and key is gone, rather than new or changed.
    pub deleted: bool,
}

/// The content of a publication: everything that changed since the last one, up to a point that
/// all workers have passed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changeset {
    /// The number of the publication.
    pub publication: Publication,
    /// The changed rows, at most one for each query, epoch and key, in no particular order.
    pub rows: Vec<RowChange>,
    /// Events counted since the last publication.
    pub ledger: Ledger,
    /// The partitions that moved; `malformed` counts the records since the last publication.
    pub partitions: Vec<PartitionProgress>,
    /// How far epochs are final: their rows are complete, and nothing will change them. It never
    /// falls back.
    pub final_through: Through,
    /// By how much the rows moved the digest of each epoch, over all queries.
    pub digests: Digests,
}

/// A place for results that commits publications atomically.
///
/// Whoever opens a store takes it over: from then on, those who had it before can commit nothing.
pub trait Store: StoreReader + Send {
    /// Hands over the rows of all epochs that are not final, as replay has rebuilt them: what the
    /// store holds already. It is called once, before the first commit, and never in a job that
    /// had nothing to replay. A store that needs no memory of its rows does nothing.
    fn restore(&mut self, _rows: Vec<RowChange>) {}

    /// Commits a publication: all of it, durably, or nothing.
    ///
    /// # Errors
    /// When it cannot, or another job has taken the store over; the job then ends, and the store
    /// holds what was committed before.
    fn commit(&mut self, changes: &Changeset) -> Result<(), StoreError>;
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
    /// The store was written by another version, in another format.
    #[error(
        "`{store}` has store format {found}, of trendmark {written_by}; this is trendmark \
         {version}, which reads and writes format {known}: use that version, or give another \
         --store and read the logs again",
        version = env!("CARGO_PKG_VERSION"),
        known = description::FORMAT
    )]
    OtherFormat {
        /// The store.
        store: String,
        /// The number of its format.
        found: i64,
        /// Which version writes that format.
        written_by: String,
    },
    /// There is no store to read.
    #[error("no store at `{0}`; `trendmark run --store` makes one")]
    NotFound(String),
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
