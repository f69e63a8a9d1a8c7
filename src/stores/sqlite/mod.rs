//! SQLite, one file: readable by any program while the job runs.
//!
//! The file is in WAL mode, so that readers and the writer do not wait for each other, and every
//! publication is one transaction, on the disk when [`Store::commit`] returns. While a run has it,
//! `<store>.lock` keeps other runs away.
//!
//! - [`schema`]: the tables and the views that analysts read.
//! - [`read`]: reading a store, while a job runs or afterwards.

mod cells;
mod description;
#[cfg(test)]
pub(crate) mod fixtures;
mod lock;
mod open;
mod progress;
pub mod read;
pub mod schema;
#[cfg(test)]
#[path = "speed/tests.rs"]
mod speed;
#[cfg(test)]
mod tests;

pub use crate::stores::description::{StoredColumn, StoredQuery};
pub use cells::Value;
pub use read::{Order, ScannedRow, Selection, SqliteReader};

use crate::digest::{self, Digests};
use crate::ledger::Ledger;
use crate::query::{KEY_CELLS, Query, VALUE_CELLS};
use crate::stores::description::Description;
use crate::stores::{PartitionProgress, Progress, Publication, RowChange, Store, StoreError};
use crate::time::{Definition, Epoch, rfc3339};
use lock::StoreLock;
use rusqlite::{CachedStatement, Connection, Transaction, TransactionBehavior, params};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long one attempt waits for a program that has the database locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a commit is attempted before the job gives up.
const BUSY_LIMIT: Duration = Duration::from_secs(60);

/// A store that this process writes.
pub struct SqliteStore {
    // Fields are dropped in their order: the database is closed before the lock is given up.
    connection: Connection,
    path: PathBuf,
    description: Description,
    /// What it reflects; of the partitions and digests, only what it did when it was opened.
    progress: Progress,
    /// The digests of the epochs that are not final.
    digests: Digests,
    busy_limit: Duration,
    _lock: StoreLock,
}

impl SqliteStore {
    /// Opens a store, or makes a new one where there is none, and takes it over. A run that has the
    /// store is left alone, unless `take_over` says that it is to be fenced.
    ///
    /// # Errors
    /// When the store is of another definition or other queries, the file is no store, another
    /// program has it, and when it cannot be made.
    ///
    /// # Panics
    /// When `queries` lacks `distinct`, the other half of the ledger.
    pub fn open(
        path: &Path,
        definition: &Definition,
        queries: &[&'static Query],
        take_over: bool,
    ) -> Result<SqliteStore, StoreError> {
        let path = open::absolute(path)?;
        let lock = StoreLock::acquire(&path, take_over)?;
        let description = Description::of(definition, queries);
        let connection = open::take_over(&path, &description)?;
        let progress = progress::read(&connection).map_err(open::explain(&path, "read"))?;
        let (digests, busy_limit) = (progress.digests.clone(), BUSY_LIMIT);
        Ok(SqliteStore {
            connection,
            path,
            description,
            progress,
            digests,
            busy_limit,
            _lock: lock,
        })
    }

    /// Begins to write, waiting a bounded time for other writers.
    fn begin(&self) -> Result<Transaction<'_>, StoreError> {
        let started = Instant::now();
        loop {
            let begun =
                Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate);
            let error = match begun {
                Ok(transaction) => return Ok(transaction),
                Err(error) => error,
            };
            if !open::is_busy(&error) {
                return Err(self.cannot("write to")(error));
            }
            let waited_s = started.elapsed().as_secs();
            if started.elapsed() >= self.busy_limit {
                let reason = format!("another program has had it locked for {waited_s} s");
                return Err(StoreError::Locked { path: self.path.clone(), reason });
            }
            tracing::warn!(
                store = %self.path.display(),
                waited_s,
                limit_s = self.busy_limit.as_secs(),
                "another program holds a write lock on the store; waiting for it"
            );
        }
    }

    /// Writes a publication, unless another job has taken the store over. Returns whether.
    fn write(
        &self,
        transaction: &Transaction<'_>,
        publication: &Publication,
        digests: &Digests,
    ) -> rusqlite::Result<bool> {
        let number = cells::integer(self.progress.publications + 1)?;
        let owned = transaction
            .prepare_cached(
                "UPDATE job SET publications = ?1, \
                 final_through = max(coalesce(final_through, ?2), coalesce(?2, final_through)) \
                 WHERE generation = ?3",
            )?
            .execute(params![
                number,
                publication.final_through.map(|epoch| epoch.0),
                cells::integer(self.progress.generation)?
            ])?;
        if owned == 0 {
            return Ok(false);
        }
        self.write_rows(transaction, &publication.rows, number)?;
        write_ledger(transaction, &publication.ledger)?;
        write_partitions(transaction, &publication.partitions)?;
        self.write_epochs(transaction, publication, digests, number)?;
        Ok(true)
    }

    fn write_rows(
        &self,
        transaction: &Transaction<'_>,
        changes: &[RowChange],
        number: i64,
    ) -> rusqlite::Result<()> {
        let queries = &self.description.queries;
        let mut placed: Vec<Placed<'_>> =
            changes.iter().map(|change| Placed::new(&queries[change.query], change)).collect();
        placed.sort_unstable_by_key(|placed| placed.place);
        for table in placed.chunk_by(|one, next| one.change.query == next.change.query) {
            write_table(transaction, &queries[table[0].change.query], table, number)?;
        }
        Ok(())
    }

    /// Keeps the list of epochs, and which of them are final.
    fn write_epochs(
        &self,
        transaction: &Transaction<'_>,
        publication: &Publication,
        digests: &Digests,
        number: i64,
    ) -> rusqlite::Result<()> {
        let changed = publication.rows.iter().map(|change| Epoch(change.row.epoch));
        let counted = publication.ledger.iter().map(|(epoch, _, _)| epoch);
        let touched: BTreeSet<Epoch> =
            counted.chain(changed).chain(publication.digests.keys().copied()).collect();
        let mut upsert = transaction.prepare_cached(
            "INSERT INTO epochs (epoch, epoch_start, final, publication, digest) VALUES (?1, ?2, \
             coalesce(?1 <= (SELECT final_through FROM job), 0), ?3, coalesce(?4, 0)) \
             ON CONFLICT DO UPDATE SET publication = excluded.publication, \
             digest = coalesce(?4, digest)",
        )?;
        for epoch in touched {
            let start = self.description.definition.start_rfc3339(epoch);
            let moved = publication.digests.contains_key(&epoch);
            let digest = digests.get(&epoch).copied().unwrap_or_default().0.cast_signed();
            let digest = moved.then_some(digest);
            upsert.execute(params![epoch.0, start, number, digest])?;
        }
        if let Some(through) = publication.final_through {
            transaction
                .prepare_cached("UPDATE epochs SET final = 1 WHERE final = 0 AND epoch <= ?1")?
                .execute([through.0])?;
        }
        Ok(())
    }

    fn cannot(&self, action: &'static str) -> impl Fn(rusqlite::Error) -> StoreError + '_ {
        move |error| StoreError::Database { action, path: self.path.clone(), error }
    }
}

impl Store for SqliteStore {
    fn progress(&mut self) -> Result<Progress, StoreError> {
        Ok(self.progress.clone())
    }

    fn commit(&mut self, publication: &Publication) -> Result<(), StoreError> {
        let mut digests = self.digests.clone();
        digest::add(&mut digests, &publication.digests);
        let transaction = self.begin()?;
        // A transaction that is dropped is rolled back.
        let written = self
            .write(&transaction, publication, &digests)
            .map_err(self.cannot("write a publication to"))?;
        if !written {
            let store = self.path.display().to_string();
            return Err(StoreError::Fenced { store, generation: self.progress.generation });
        }
        transaction.commit().map_err(self.cannot("commit a publication to"))?;
        self.progress.publications += 1;
        digests.retain(|epoch, _| Some(*epoch) > publication.final_through);
        self.digests = digests;
        Ok(())
    }
}

impl Drop for SqliteStore {
    /// Makes the store one file again, unless another program reads it. Whatever goes wrong, what
    /// was committed is safe in the WAL.
    fn drop(&mut self) {
        let emptied =
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        if emptied != Ok(0) {
            tracing::warn!(
                store = %self.path.display(),
                "the store could not be made one file; keep the files `-wal` and `-shm` beside it"
            );
        }
    }
}

/// A change and where it belongs in its table.
struct Placed<'a> {
    place: (usize, i64, [u64; KEY_CELLS]),
    change: &'a RowChange,
}

impl<'a> Placed<'a> {
    fn new(query: &StoredQuery, change: &'a RowChange) -> Placed<'a> {
        let key = cells::stored_order(&query.key, &change.row.key);
        Placed { place: (change.query, change.row.epoch, key), change }
    }
}

/// Writes the changes of one table, in its order.
fn write_table(
    transaction: &Transaction<'_>,
    query: &StoredQuery,
    changes: &[Placed<'_>],
    number: i64,
) -> rusqlite::Result<()> {
    let mut upsert = transaction.prepare_cached(&schema::upsert(query))?;
    let mut delete = transaction.prepare_cached(&schema::delete(query))?;
    for Placed { change, .. } in changes {
        let row = &change.row;
        let statement = if change.deleted { &mut delete } else { &mut upsert };
        statement.raw_bind_parameter(1, row.epoch)?;
        let after_key = bind::<KEY_CELLS>(statement, 2, &query.key, &row.key)?;
        if !change.deleted {
            let last = bind::<VALUE_CELLS>(statement, after_key, &query.values, &row.values)?;
            statement.raw_bind_parameter(last, number)?;
        }
        statement.raw_execute()?;
    }
    Ok(())
}

/// Binds the cells of columns from a parameter on, and says which is the next.
fn bind<const CELLS: usize>(
    statement: &mut CachedStatement<'_>,
    first_parameter: usize,
    columns: &[StoredColumn],
    cells: &[u64; CELLS],
) -> rusqlite::Result<usize> {
    let mut parameter = first_parameter;
    let mut next = 0;
    for column in columns {
        let start = next;
        next += column.column_type.cells();
        let stored = cells::stored(column.column_type, &cells[start..next])?;
        statement.raw_bind_parameter(parameter, stored)?;
        parameter += 1;
    }
    Ok(parameter)
}

fn write_ledger(transaction: &Transaction<'_>, ledger: &Ledger) -> rusqlite::Result<()> {
    let mut upsert = transaction.prepare_cached(
        "INSERT INTO ledger_rows (epoch, kind, accepted, late, future) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT DO UPDATE SET accepted = accepted + excluded.accepted, \
         late = late + excluded.late, future = future + excluded.future",
    )?;
    for (epoch, kind, counts) in ledger.iter() {
        let accepted = cells::integer(counts.accepted)?;
        let (late, future) = (cells::integer(counts.late)?, cells::integer(counts.future)?);
        upsert.execute(params![epoch.0, kind.name(), accepted, late, future])?;
    }
    Ok(())
}

fn write_partitions(
    transaction: &Transaction<'_>,
    partitions: &[PartitionProgress],
) -> rusqlite::Result<()> {
    let mut upsert = transaction.prepare_cached(
        "INSERT INTO partitions (topic, partition, next_offset, watermark, watermark_ms, \
         replay_offset, replay_watermark_ms, malformed, idle) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) \
         ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset, \
         watermark = excluded.watermark, watermark_ms = excluded.watermark_ms, \
         replay_offset = excluded.replay_offset, \
         replay_watermark_ms = excluded.replay_watermark_ms, \
         malformed = malformed + excluded.malformed, idle = excluded.idle",
    )?;
    for progress in partitions {
        upsert.execute(params![
            progress.partition.kind.topic(),
            progress.partition.name,
            cells::integer(progress.next_offset)?,
            progress.watermark_ms.map(rfc3339),
            progress.watermark_ms,
            cells::integer(progress.replay_offset)?,
            progress.replay_watermark_ms,
            cells::integer(progress.malformed)?,
            progress.idle
        ])?;
    }
    Ok(())
}
