//! The stores of results, and the trait that they implement.
//!
//! A store is the source of truth. It receives *publications*: all changes up to a point that all
//! workers have passed (rows, ledger, partition positions), which it commits atomically. It knows
//! rows, columns and what a query declares about them, but not the query itself.
//!
//! - [`reader`]: the read side.
//! - [`description`]: the definition and queries that a store was created for.
//! - [`lease`]: the job that has a store, and whether it lives.
//! - [`progress`]: the publication and the partition positions that a store reflects.
//! - [`kafka`]: rows as a changelog in a compacted topic, for Kafka consumers.
//! - [`sqlite`]: one file, readable by any program while the job runs. The default.
//! - [`snapshot`]: one publication, as the HTTP server reads it.
//! - [`mirror`]: a copy in memory of what a job commits, for a store that cannot be queried.
//! - [`memory`]: for tests, and for benchmarks of the engine alone.

pub mod description;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod lease;
pub mod memory;
pub mod mirror;
pub mod progress;
pub mod reader;
pub mod snapshot;
pub mod sqlite;

pub use description::{Description, StoredColumn, StoredQuery};
pub use lease::{Claim, Lease, LeaseState};
pub use mirror::Mirror;
pub use progress::Progress;
pub use reader::{RowOrder, RowVisitor, Selection, StoreReader, StoredRow};
pub use snapshot::Snapshot;

use crate::acceptance::Ledger;
use crate::completeness::CompletenessUpdate;
use crate::features::MissingFeature;
use crate::kafka::KafkaSettingsError;
use crate::log::PartitionProgress;
use crate::query::{Digests, Row};
use crate::time::{Publication, Through};
use crate::titles::TitleUpdate;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A change to a row of a query's table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowChange {
    /// The index of the query in [`Description::queries`].
    pub query: usize,
    /// The row; if it is deleted, only its epoch and key matter.
    pub row: Row,
    /// Whether the row is deleted, rather than inserted or updated.
    pub deleted: bool,
}

/// The content of a publication: all changes since the previous one, up to a point that all
/// workers have passed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changeset {
    /// The number of the publication.
    pub publication: Publication,
    /// The changed rows, at most one for each query, epoch and key, in no particular order.
    pub rows: Vec<RowChange>,
    /// The events counted since the previous publication.
    pub ledger: Ledger,
    /// The partitions whose progress changed; `malformed` counts only the records since the
    /// previous publication.
    pub partitions: Vec<PartitionProgress>,
    /// The epochs that are final: their rows are complete and never change. Never decreases.
    pub final_through: Through,
    /// The change to the digest of each epoch, over the rows of all queries and the showings.
    pub digests: Digests,
    /// The titles that changed, if any did.
    pub titles: Option<TitleUpdate>,
    /// What changes in the table of completeness.
    pub completeness: CompletenessUpdate,
}

/// Storage for results that commits publications atomically.
///
/// A job that opens a store takes it over: the jobs that had it before can no longer commit.
pub trait Store: StoreReader + Send {
    /// Passes in the rows of all epochs that are not final, as rebuilt by replay. The store already
    /// holds these rows. Called once, before the first commit, and only if there was something to
    /// replay. A store that does not keep rows in memory ignores them.
    fn restore(&mut self, _rows: Vec<RowChange>) {}

    /// Returns a reader that does not need this store, which can renew its lease meanwhile.
    ///
    /// # Errors
    /// When the store cannot be opened for reading.
    fn reader(&self) -> Result<Box<dyn StoreReader>, StoreError>;

    /// Commits a publication atomically and durably.
    ///
    /// # Errors
    /// When the commit fails, or another job has taken over the store. The job then ends, and the
    /// store holds the publications committed before.
    fn commit(&mut self, changes: &Changeset) -> Result<(), StoreError>;

    /// Renews the lease, unless a commit has just done so, and notes in it what holds the job.
    /// Called every [`lease::RENEWAL_INTERVAL`]. A store that one process alone can see has none.
    ///
    /// # Errors
    /// When another job has taken over the store, or it cannot be written. The job then ends.
    fn renew(&mut self, _holder: Option<String>) -> Result<(), StoreError> {
        Ok(())
    }

    /// Writes into the lease how the job has ended, so that the next one need not wait.
    ///
    /// # Errors
    /// When the store cannot be written. The next job may have to wait for the lease to expire.
    fn release(&mut self, _ended: LeaseState) -> Result<(), StoreError> {
        Ok(())
    }
}

impl StoreError {
    /// Whether the arguments are the cause, so that the same command fails again.
    pub fn is_usage(&self) -> bool {
        match self {
            StoreError::KafkaSettings(error) => error.is_usage(),
            StoreError::MissingFeature(_) => true,
            _ => false,
        }
    }

    /// Whether a reader was interrupted.
    pub fn is_interrupted(&self) -> bool {
        let StoreError::Database { error, .. } = self else { return false };
        error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted)
    }

    /// Whether another job has the store, so that the same command must not be started again by a
    /// supervisor: the jobs would take the store from each other.
    pub fn is_fenced(&self) -> bool {
        matches!(self, StoreError::Fenced { .. } | StoreError::InUse { .. })
    }
}

/// Returns what to do about an error of SQLite, where its own text does not tell.
fn advice(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => {
            "; free some space, and start the job again: all that was committed remains"
        }
        Some(rusqlite::ErrorCode::SystemIoFailure) => {
            "; the disk is full, or a limit on the size of files (ulimit -f) is reached, or the \
             device has a fault: all that was committed remains"
        }
        Some(rusqlite::ErrorCode::ReadOnly | rusqlite::ErrorCode::PermissionDenied) => {
            "; this user may not write it, or its folder: give another --store"
        }
        _ => "",
    }
}

/// An error of a store. Every message names the problem, the place and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store holds results of another definition or other queries.
    #[error(
        "`{store}` was written with {key} = {stored}, but this job has {key} = {given}; give the \
         same value, or another --store"
    )]
    OtherDefinition {
        /// The store.
        store: String,
        /// The setting that differs, by its name on the command line.
        key: String,
        /// Its value in the store.
        stored: String,
        /// Its value in this run.
        given: String,
    },
    /// The file or topic exists, but is not a trendmark store.
    #[error("`{store}` is not a trendmark store: {reason}; give another --store")]
    NotAStore {
        /// The file, or the topic.
        store: String,
        /// Why it is not a store.
        reason: String,
    },
    /// The store was written by another version, in another format.
    #[error(
        "`{store}` has store format {found} (trendmark {written_by}), but this is trendmark \
         {version}, which reads and writes format {known}: use the version that wrote the store, \
         or give another --store and read the logs again",
        version = env!("CARGO_PKG_VERSION"),
        known = description::FORMAT
    )]
    OtherFormat {
        /// The store.
        store: String,
        /// The number of its format.
        found: i64,
        /// The version of trendmark that writes that format.
        written_by: String,
    },
    /// There is no store to read.
    #[error("no store at `{0}`; `trendmark run --store` creates one")]
    NotFound(String),
    /// Another job has the store, and lives.
    #[error(
        "`{store}` is in use by another job: {holder}; stop that job, give another --store, or \
         give --take-over to take the store from it"
    )]
    InUse {
        /// The store.
        store: String,
        /// The job that has it.
        holder: String,
    },
    /// The job was asked to stop while it waited for the store.
    #[error("stopped while waiting for `{store}`: nothing was read")]
    Stopped {
        /// The store.
        store: String,
    },
    /// Another program holds a lock on the store.
    #[error("`{path}` is locked: {reason}; stop the other program, or give another --store")]
    Locked {
        /// The store.
        path: PathBuf,
        /// The program that holds it, as far as known.
        reason: String,
    },
    /// Another job has taken the store over.
    #[error(
        "another job has taken over `{store}` from this one, generation {generation}; changes \
         since the last commit of this job were not written, and the other job continues from there"
    )]
    Fenced {
        /// The store.
        store: String,
        /// The generation of this job.
        generation: u64,
    },
    /// The file of the store is no longer the one that the job has open.
    #[error(
        "`{path}` was {what} while the job had it open; its publications up to {last}, and what \
         was read since, are lost with it unless it is put back before the job is started again"
    )]
    FileLost {
        /// The file: the store, or its WAL.
        path: PathBuf,
        /// What became of it.
        what: &'static str,
        /// The last publication.
        last: Publication,
    },
    /// The file of the store has several names.
    #[error(
        "`{path}` has {links} names (hard links), and programs that open it by different names \
         damage it: remove the others, or copy it with `VACUUM INTO`, or give another --store"
    )]
    HardLinked {
        /// The store.
        path: PathBuf,
        /// The number of its names.
        links: u64,
    },
    /// A topic cannot be used for a store.
    #[error("topic `{topic}`: {problem}; {remedy}")]
    Topic {
        /// The topic.
        topic: String,
        /// The problem.
        problem: String,
        /// How to fix it.
        remedy: String,
    },
    /// The program was built without a feature that the store needs.
    #[error(transparent)]
    MissingFeature(#[from] MissingFeature),
    /// The Kafka client settings are invalid.
    #[error(transparent)]
    KafkaSettings(#[from] KafkaSettingsError),
    /// The brokers rejected a request or did not respond.
    #[error("cannot {action} `{store}`: {reason}; {advice}")]
    Kafka {
        /// The action that failed.
        action: &'static str,
        /// The store.
        store: String,
        /// The error of the brokers or of librdkafka.
        reason: String,
        /// How to fix it.
        advice: &'static str,
    },
    /// SQLite returned an error.
    #[error("cannot {action} `{path}`: {error}{}", advice(error))]
    Database {
        /// The action that failed.
        action: &'static str,
        /// The store.
        path: PathBuf,
        /// The error of SQLite.
        error: rusqlite::Error,
    },
    /// The operating system returned an error.
    #[error("cannot {action} `{path}`: {error}")]
    Io {
        /// The action that failed.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The I/O error.
        error: std::io::Error,
    },
}
