//! The write-ahead log beside the database, kept small.
//!
//! SQLite copies the WAL into the database when a commit finds it larger than [`CHECKPOINT_BYTES`],
//! and then writes it from its beginning again, but only if nobody reads from it at that moment. So
//! readers that follow each other without a gap, or one that never ends, let it grow. Against the
//! first, a checkpoint that waits for readers is made from time to time. Nothing helps against the
//! second but to tell people.

use rusqlite::Connection;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The size of the WAL, in bytes, at which it is copied into the database. A smaller one copies
/// pages that the next commit changes again; a larger one makes recovery slower. It is also the
/// size to which a larger WAL is cut.
pub(super) const CHECKPOINT_BYTES: u64 = 16 << 20;
/// The size of the WAL, in bytes, beyond which a checkpoint waits for readers. Large commits reach
/// it without any reader.
const WAIT_BYTES: u64 = 64 << 20;
/// How long such a checkpoint waits, and keeps the job from committing.
const WAIT: Duration = Duration::from_millis(500);
/// The interval between two of them.
const WAIT_INTERVAL: Duration = Duration::from_secs(10);
/// The interval between two warnings.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Keeps the WAL of a store small.
#[derive(Debug)]
pub(super) struct Wal {
    pub path: PathBuf,
    /// The size beyond which a checkpoint waits for readers.
    pub wait_bytes: u64,
    waited_at: Option<Instant>,
    warned_at: Option<Instant>,
}

impl Wal {
    /// The WAL of the database at a path.
    pub fn of(store: &Path) -> Wal {
        let path = beside(store, "-wal").into();
        Wal { path, wait_bytes: WAIT_BYTES, waited_at: None, warned_at: None }
    }

    /// Whether people were told of a reader that does not end.
    #[cfg(test)]
    pub fn has_warned(&self) -> bool {
        self.warned_at.is_some()
    }

    /// Forgets when it last waited for readers.
    #[cfg(test)]
    pub fn forget_waiting(&mut self) {
        self.waited_at = None;
    }

    /// The size of the file, in bytes.
    pub fn bytes(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |wal| wal.len())
    }

    /// Empties the WAL if it is large, after a commit. `busy_timeout` is the one that the
    /// connection has for other statements.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn shrink(
        &mut self,
        connection: &Connection,
        busy_timeout: Duration,
    ) -> rusqlite::Result<()> {
        let is_due = |at: Option<Instant>, interval| at.is_none_or(|at| at.elapsed() >= interval);
        if self.bytes() < self.wait_bytes || !is_due(self.waited_at, WAIT_INTERVAL) {
            return Ok(());
        }
        self.waited_at = Some(Instant::now());
        connection.busy_timeout(WAIT)?;
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        let is_busy = connection.query_row(checkpoint, [], |row| row.get::<_, bool>(0));
        connection.busy_timeout(busy_timeout)?;
        if is_busy? && is_due(self.warned_at, WARNING_INTERVAL) {
            self.warned_at = Some(Instant::now());
            tracing::warn!(
                "`{}` has {} MB and grows with every publication, because a program has been \
                 reading the store for a long time: end its query or transaction (`lsof {}` lists \
                 the programs that have the store open)",
                self.path.display(),
                self.bytes() >> 20,
                self.path.display()
            );
        }
        Ok(())
    }
}

/// Returns the path of a file beside the database.
pub(super) fn beside(store: &Path, ending: &str) -> OsString {
    let mut path = store.as_os_str().to_owned();
    path.push(ending);
    path
}

/// Returns the paths of a store and of all files that may be beside it: SQLite's, and the lock.
pub fn files_of(store: &Path) -> [PathBuf; 5] {
    ["", "-wal", "-shm", "-journal", ".lock"].map(|ending| beside(store, ending).into())
}
