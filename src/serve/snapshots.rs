//! Where the server reads a publication: in the SQLite file, through connections of its own, or in
//! a copy in memory of what the job commits.

use super::error::ApiError;
use crate::stores::description::Description;
use crate::stores::snapshot::{FinalSums, Snapshot};
use crate::stores::sqlite::SqliteReader;
use crate::stores::{Changeset, Mirror, StoreError, StoreReader};
use crate::time::Publication;
use rusqlite::InterruptHandle;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// How long one answer may read an SQLite store.
pub const READ_MAX: Duration = Duration::from_secs(10);
/// How long the end of a job waits for answers that are being read. They are interrupted before.
const CLOSING_WAIT: Duration = Duration::from_millis(250);
/// The pause before the store is read again that the copy is filled from.
const FILL_PAUSE: Duration = Duration::from_millis(200);

/// Opens a store for reading.
pub type ReaderOpener =
    Box<dyn Fn() -> Result<Box<dyn StoreReader + Send>, StoreError> + Send + Sync>;

/// Where publications are read.
pub enum Snapshots {
    /// An SQLite file.
    Sqlite(Pool),
    /// A copy in memory.
    Copied(Box<Copied>),
}

/// A copy in memory, and how it is filled.
pub struct Copied {
    mirror: RwLock<Option<Mirror>>,
    description: Description,
    open: ReaderOpener,
}

impl Snapshots {
    /// Publications of an SQLite file.
    pub fn of_file(path: PathBuf) -> Snapshots {
        Snapshots::Sqlite(Pool { path, finals: FinalSums::default(), ..Pool::default() })
    }

    /// Publications of a store that is read as a whole, by a job with this description.
    pub fn of_copy(description: Description, open: ReaderOpener) -> Snapshots {
        Snapshots::Copied(Box::new(Copied { mirror: RwLock::default(), description, open }))
    }

    /// Calls `read` with the latest publication.
    ///
    /// # Errors
    /// When it cannot be read, or those of `read`.
    pub fn read<T>(
        &self,
        read: impl FnOnce(&dyn Snapshot) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        match self {
            Snapshots::Sqlite(pool) => pool.read(read),
            Snapshots::Copied(copy) => {
                // After a panic it is filled anew.
                match copy.mirror.read().as_deref() {
                    Ok(Some(mirror)) => read(mirror),
                    _ => Err(ApiError::unavailable(
                        "the server is reading the store for the first time: try again soon",
                    )),
                }
            }
        }
    }

    /// Fills the copy, if there is one, as of a publication or later. It tries until it can, or
    /// `is_over`.
    pub(super) fn fill(&self, publication: Publication, is_over: impl Fn() -> bool) {
        let Snapshots::Copied(copy) = self else { return };
        while !is_over() {
            let filled = (copy.open)()
                .and_then(|mut reader| Mirror::fill(reader.as_mut(), &copy.description));
            match filled {
                Ok(mirror) if mirror.progress().publication >= publication => {
                    *copy.mirror.write().unwrap_or_else(PoisonError::into_inner) = Some(mirror);
                    copy.mirror.clear_poison();
                    return;
                }
                // What was committed last is not visible yet.
                Ok(_) => {}
                Err(error) => tracing::warn!("HTTP: {error}"),
            }
            std::thread::sleep(FILL_PAUSE);
        }
    }

    /// Applies publications to the copy, if there is one.
    pub(super) fn apply(&self, changes: &[Changeset]) {
        let Snapshots::Copied(copy) = self else { return };
        let mut mirror = copy.mirror.write().unwrap_or_else(PoisonError::into_inner);
        let Some(mirror) = &mut *mirror else { return };
        for one in changes {
            if one.publication > mirror.progress().publication {
                mirror.apply(one);
            }
        }
    }

    /// Interrupts what takes too long.
    pub(super) fn interrupt_slow(&self) {
        if let Snapshots::Sqlite(pool) = self {
            let state = pool.lock();
            let slow = state.active.iter().filter(|one| one.began.elapsed() >= READ_MAX);
            slow.for_each(|one| one.interrupt.interrupt());
        }
    }

    /// Stops reading the file, as the job is about to close it.
    pub(super) fn close(&self) {
        if let Snapshots::Sqlite(pool) = self {
            pool.close();
        }
    }
}

/// Connections to an SQLite file: as many as answers are read at once.
#[derive(Default)]
pub struct Pool {
    path: PathBuf,
    finals: FinalSums,
    state: Mutex<PoolState>,
    /// Signals that a reader is done.
    done: Condvar,
}

#[derive(Default)]
struct PoolState {
    free: Vec<SqliteReader>,
    active: Vec<Active>,
    /// The number of readers so far.
    begun: u64,
    is_closed: bool,
}

/// An answer that is being read.
struct Active {
    number: u64,
    began: Instant,
    interrupt: InterruptHandle,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&dyn Snapshot) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let (reader, number) = self.begin()?;
        // It ends also if `read` panics.
        let ends = Ends { pool: self, number };
        let result = reader
            .snapshot(&self.finals)
            .map_err(ApiError::from)
            .and_then(|snapshot| read(&snapshot));
        drop(ends);
        let mut state = self.lock();
        if state.is_closed {
            return result.map_err(|_| ended());
        }
        state.free.push(reader);
        result
    }

    /// Takes a reader, which can be interrupted from now on.
    fn begin(&self) -> Result<(SqliteReader, u64), ApiError> {
        let free = {
            let mut state = self.lock();
            if state.is_closed {
                return Err(ended());
            }
            state.free.pop()
        };
        let reader = free.map_or_else(|| SqliteReader::open(&self.path), Ok)?;
        let mut state = self.lock();
        if state.is_closed {
            return Err(ended());
        }
        let number = state.begun;
        state.begun += 1;
        let (began, interrupt) = (Instant::now(), reader.interrupt_handle());
        state.active.push(Active { number, began, interrupt });
        Ok((reader, number))
    }

    fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let free = std::mem::take(&mut state.free);
        let began = Instant::now();
        while !state.active.is_empty() && began.elapsed() < CLOSING_WAIT {
            // An answer asks several times.
            state.active.iter().for_each(|one| one.interrupt.interrupt());
            let pause = CLOSING_WAIT / 10;
            let waited = self.done.wait_timeout(state, pause);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        drop(free);
    }
}

/// Ends the reading of an answer.
struct Ends<'a> {
    pool: &'a Pool,
    number: u64,
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.pool.lock().active.retain(|one| one.number != self.number);
        self.pool.done.notify_all();
    }
}

fn ended() -> ApiError {
    ApiError::unavailable("the job has ended: read its store, or start it again")
}
