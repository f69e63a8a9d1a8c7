//! The files of `--sets`: the members of every set, as Parquet, in a folder.
//!
//! ```text
//! DIR/epoch=983568/12-0-7c1f….parquet    version 12, part 0, and the digest of its bytes
//! ```
//!
//! A row is a showing with an impression: the request, the video, and whether it was played; or
//! whether its request was denied since, so that it is in no set any more. A file
//! belongs to an epoch and to the publication (its *version*) with which it appears. While an epoch
//! is open, every publication adds files with the members that it has changed, one for each worker;
//! when they become many, files with all members replace them. When the epoch is final, one file
//! with all members, sorted by request, replaces all of its files. So the sets of an epoch are the
//! union of its files, without what any row calls denied: a showing was played if any row says so.
//!
//! The store lists the files, in the table of the query [`FILES`], in the transaction of the rows
//! that they belong to. A file is complete on the disk before that transaction, gets its name after
//! it, and is removed after the transaction that replaces it. What a crash leaves behind is mended
//! at the next start. The bytes of a final file depend on the members alone.
//!
//! - [`folder`]: names, appearance and removal of files.
//! - [`catalogue`]: the leader's list of files, and when they are replaced: a pure state machine.
//! - `parquet`: the encoding.
//! - [`members`]: looks one showing up.
//! - [`writer`]: the thread that writes the files of a worker.

pub mod catalogue;
pub mod folder;
pub mod members;
#[cfg(feature = "parquet")]
mod parquet;
pub mod writer;

pub use catalogue::Catalogue;
pub use folder::Folder;

use crate::features::{Feature, MissingFeature};
use crate::query::{Build, Column, ColumnType, Query, Role, Row, SETS, Value, no_history};
use crate::showings::members::Coverage;
use crate::time::{Epoch, Publication};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The table of the files.
pub static FILES: Query = Query {
    name: SETS,
    about: "the files of --sets, with their rows, bytes and digests",
    version: 1,
    role: Role::Table,
    key: &[
        Column::new("version", ColumnType::Count, "publication that it appeared with"),
        Column::new("part", ColumnType::Count, "number among the files of its version"),
    ],
    values: &[
        Column::new("rows", ColumnType::Count, "rows"),
        Column::new("bytes", ColumnType::Count, "bytes"),
        Column::new("digest", ColumnType::Digest, "BLAKE3 of its bytes, the first 128 bits"),
    ],
    parameters: &[],
    build: Build::Files,
    reads: &[],
    history_epochs: no_history,
    oracle: |_, _| BTreeSet::new(),
    batch_sql: "",
};

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SetFile {
    /// Its epoch.
    pub epoch: Epoch,
    /// The publication that it appears with.
    pub version: Publication,
    /// Its number among the files of the epoch and version.
    pub part: u64,
    /// The number of its rows.
    pub rows: u64,
    /// The number of its bytes.
    pub bytes: u64,
    /// The first 128 bits of the BLAKE3 hash of its bytes.
    pub digest: u128,
}

/// A file that was written, and which members it has. One without rows is not there: nothing
/// replaces the files before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The file.
    pub file: SetFile,
    /// Which members of the epoch it has.
    pub coverage: Coverage,
}

impl SetFile {
    /// Its name in the folder of its epoch.
    pub fn name(&self) -> String {
        let SetFile { version, part, digest, .. } = self;
        format!("{version}-{part}-{digest:032x}.parquet")
    }

    /// Its row in the table [`FILES`].
    pub fn row(&self) -> Row {
        let key = [Value::Count(self.version.0), Value::Count(self.part)];
        let digest = Value::Digest(self.digest);
        FILES.row(self.epoch, key, [Value::Count(self.rows), Value::Count(self.bytes), digest])
    }

    /// The file of a row of the table [`FILES`].
    ///
    /// # Panics
    /// If it is a row of another table.
    pub fn of_row(row: &Row) -> SetFile {
        match FILES.values_of(row)[..] {
            [
                Value::Count(version),
                Value::Count(part),
                Value::Count(rows),
                Value::Count(bytes),
                Value::Digest(digest),
            ] => {
                let version = Publication(version);
                SetFile { epoch: row.epoch, version, part, rows, bytes, digest }
            }
            ref other => panic!("{other:?} is not a row of `{}`", FILES.name),
        }
    }
}

/// Checks that this build can write sets.
///
/// # Errors
/// When it was built without Parquet.
pub fn require() -> Result<(), MissingFeature> {
    Feature::Parquet.require("--sets")
}

/// An error of the folder of sets. Every message names the problem, the place and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum SetsError {
    /// The operating system returned an error.
    #[error("cannot {action} `{path}`: {error}; {}", advice(error))]
    Io {
        /// The action that failed.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The I/O error.
        error: std::io::Error,
    },
    /// The folder belongs to another store.
    #[error(
        "the folder of --sets, `{folder}`, belongs to the store `{owner}`, and this job has the \
         store `{store}`: give another --sets; if it is the same store in another place, write \
         its new place into `{marker}`"
    )]
    OtherStore {
        /// The folder.
        folder: PathBuf,
        /// The store of the folder.
        owner: String,
        /// The store of the job.
        store: String,
        /// The file that says so.
        marker: PathBuf,
    },
    /// A file is of a publication that the store does not have.
    #[error(
        "`{path}` appeared with a publication after {publication}, the last one of the store: the \
         store was made anew or restored, or another job has just taken it over; give another \
         --sets, or remove this one's files if they are not needed"
    )]
    Later {
        /// The file.
        path: PathBuf,
        /// The last publication of the store.
        publication: Publication,
    },
    /// A file that the store lists is not there.
    #[error(
        "`{path}` is missing or not complete, and the store lists it: put it back, or start with \
         a new store and a new --sets"
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Another process has written a file that this one does not see.
    #[error(
        "`{path}` was written by another process of the job, and is not there for the first one: \
         --sets must be a folder that all processes share"
    )]
    NotShared {
        /// The file.
        path: PathBuf,
    },
    /// The build has no Parquet.
    #[error(transparent)]
    MissingFeature(#[from] MissingFeature),
}

/// Returns what to do about an error.
fn advice(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            "free some space, and start the job again: all that was committed remains"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "this user may not write it: give another --sets"
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => "it is no folder: give one",
        ErrorKind::NotFound => "the folder of --sets is gone: put it back, and start the job again",
        _ => "mend that, and start the job again: all that was committed remains",
    }
}
