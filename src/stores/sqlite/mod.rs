//! A store in one SQLite file, which any program can read while the job runs.
//!
//! The file is in WAL mode, so that readers and the writer do not block each other. Every
//! publication is one transaction, on disk when [`Store::commit`] returns. A job that writes the
//! store holds the lock `<store>.lock`, which keeps other jobs out.
//!
//! - [`schema`]: the tables and the views that analysts read.
//! - [`read`]: reading a store, while a job writes it or afterwards.
//! - [`snapshot`]: one publication of a store.

mod cells;
mod completeness;
mod description;
#[cfg(test)]
#[path = "files/tests.rs"]
mod files;
#[cfg(test)]
pub(crate) mod fixtures;
mod identity;
mod lock;
mod open;
mod progress;
pub mod read;
pub mod schema;
pub mod snapshot;
#[cfg(test)]
#[path = "speed/tests.rs"]
mod speed;
#[cfg(test)]
mod tests;
mod titles;
mod wal;

pub use read::SqliteReader;

use crate::acceptance::{Ledger, LedgerKey, LedgerRow};
use crate::completeness::{Completeness, StoredCurve};
use crate::log::PartitionProgress;
use crate::query::{Digests, QueryInstance, Value, digest};
use crate::stores::description::{Description, StoredQuery};
use crate::stores::lease::RENEWAL_INTERVAL;
use crate::stores::{
    Changeset, Claim, Lease, LeaseState, Progress, RowChange, RowOrder, RowVisitor, Selection,
    Store, StoreError, StoreReader,
};
use crate::time::{Definition, Epoch, EpochRange, Through, rfc3339};
use crate::titles::TitleTable;
use identity::StoreFiles;
use lock::StoreLock;
use read::View;
use rusqlite::{CachedStatement, Connection, Transaction, TransactionBehavior, params};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use wal::Wal;
pub use wal::files_of;

/// How long one attempt waits while another program has the database locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a commit waits for another writer before the job ends.
const BUSY_LIMIT: Duration = Duration::from_secs(60);

/// A store that this process writes.
pub struct SqliteStore {
    // Fields are dropped in declaration order: the database is closed before the lock is released.
    connection: Connection,
    path: PathBuf,
    description: Description,
    /// The progress as of the last commit.
    progress: Progress,
    /// The lease as it was last written.
    lease: Lease,
    renewed_at: Instant,
    busy_limit: Duration,
    wal: Wal,
    files: StoreFiles,
    _lock: StoreLock,
}

impl SqliteStore {
    /// Opens a store, or creates it if there is none, and takes it over. If another job has the
    /// store, this waits for its end as `claim` says.
    ///
    /// # Errors
    /// When the store has another definition or other queries, the file is not a store, another
    /// job has it and lives, another program has it locked, or it cannot be created.
    ///
    /// # Panics
    /// When the queries are invalid for a store, see [`Description::of`].
    pub fn open(
        path: &Path,
        definition: &Definition,
        queries: &[QueryInstance],
        claim: &Claim,
    ) -> Result<SqliteStore, StoreError> {
        let path = open::absolute(path)?;
        identity::refuse_links(&path)?;
        let description = Description::of(definition, queries);
        let lock = open::lock(&path, &description, claim)?;
        let (connection, lease) = open::take_over(&path, &description)?;
        let progress = progress::read(&connection).map_err(open::to_store_error(&path, "read"))?;
        let wal = Wal::of(&path);
        let files = StoreFiles::of(&path, &wal);
        Ok(SqliteStore {
            connection,
            path,
            description,
            progress,
            lease,
            renewed_at: Instant::now(),
            busy_limit: BUSY_LIMIT,
            wal,
            files,
            _lock: lock,
        })
    }

    /// Begins a write transaction, waiting a bounded time for other writers.
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
                return Err(self.error_for("write to")(error));
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

    /// Writes a publication, after which the store reflects `next`. Returns false, and writes
    /// nothing, if another job has taken over the store.
    fn write(
        &self,
        transaction: &Transaction<'_>,
        changes: &Changeset,
        next: &Progress,
        lease: &Lease,
    ) -> rusqlite::Result<bool> {
        let number = cells::integer(next.publication.0)?;
        let owned = transaction
            .prepare_cached(
                "UPDATE job SET publications = ?1, final_through = coalesce(?2, final_through), \
                 finished = ?3, lease = ?4 WHERE generation = ?5",
            )?
            .execute(params![
                number,
                next.final_through.last().map(|epoch| epoch.0),
                next.final_through == Through::Everything,
                lease.to_json(),
                cells::integer(next.generation)?
            ])?;
        if owned == 0 {
            return Ok(false);
        }
        self.write_rows(transaction, &changes.rows, number)?;
        write_ledger(transaction, &changes.ledger)?;
        if let Some(update) = &changes.titles {
            titles::write(transaction, update)?;
        }
        completeness::write(transaction, &changes.completeness)?;
        let moved = changes.partitions.iter().map(|moved| &moved.partition);
        write_partitions(transaction, moved.filter_map(|name| next.partitions.get(name)))?;
        self.write_epochs(transaction, changes, next, number)?;
        Ok(true)
    }

    fn write_rows(
        &self,
        transaction: &Transaction<'_>,
        changes: &[RowChange],
        number: i64,
    ) -> rusqlite::Result<()> {
        let queries = &self.description.queries;
        let mut sorted: Vec<Sorted<'_>> =
            changes.iter().map(|change| Sorted::new(&queries[change.query], change)).collect();
        sorted.sort_unstable_by_key(|sorted| sorted.order);
        for same in sorted.chunk_by_mut(|one, next| one.order == next.order) {
            let query = &queries[same[0].change.query];
            if same.len() > 1 {
                same.sort_by_cached_key(|sorted| query.key_order(&sorted.change.row));
            }
        }
        for table in sorted.chunk_by(|one, next| one.change.query == next.change.query) {
            write_table(transaction, &queries[table[0].change.query], table, number)?;
        }
        Ok(())
    }

    /// Updates the table `epochs`: digests, last publications, and which epochs are final.
    fn write_epochs(
        &self,
        transaction: &Transaction<'_>,
        changes: &Changeset,
        next: &Progress,
        number: i64,
    ) -> rusqlite::Result<()> {
        let changed = changes.rows.iter().map(|change| change.row.epoch);
        let counted = changes.ledger.iter().filter_map(|(key, _)| key.epoch);
        let touched: BTreeSet<Epoch> =
            counted.chain(changed).chain(changes.digests.keys().copied()).collect();
        // Unlike `next.digests`, these include the epochs that become final: the table keeps their
        // digests, to compare stores.
        let mut digests = self.progress.digests.clone();
        digest::merge(&mut digests, &changes.digests);
        let mut upsert = transaction.prepare_cached(
            "INSERT INTO epochs (epoch, epoch_start, final, publication, digest) VALUES (?1, ?2, \
             ?3, ?4, coalesce(?5, 0)) ON CONFLICT DO UPDATE SET \
             publication = excluded.publication, digest = coalesce(?5, digest)",
        )?;
        for epoch in touched {
            let start = self.description.definition.start_rfc3339(epoch);
            let is_final = next.final_through.contains(epoch);
            let moved = changes.digests.contains_key(&epoch).then(|| digest_of(&digests, epoch));
            upsert.execute(params![epoch.0, start, is_final, number, moved])?;
        }
        let final_through = match next.final_through {
            Through::Nothing => return Ok(()),
            Through::Epoch(last) => last,
            Through::Everything => EpochRange::ALL.last,
        };
        transaction
            .prepare_cached("UPDATE epochs SET final = 1 WHERE final = 0 AND epoch <= ?1")?
            .execute([final_through.0])?;
        Ok(())
    }

    /// Writes a lease alone. Does not wait long for other writers.
    fn write_lease(&mut self, lease: Lease) -> Result<(), StoreError> {
        let failed = open::to_store_error(&self.path, "renew the lease of");
        let behavior = TransactionBehavior::Immediate;
        let transaction =
            Transaction::new_unchecked(&self.connection, behavior).map_err(&failed)?;
        let parameters = params![lease.to_json(), lease.generation.cast_signed()];
        let owned = transaction
            .execute("UPDATE job SET lease = ?1 WHERE generation = ?2", parameters)
            .map_err(&failed)?;
        if owned == 0 {
            return Err(self.fenced());
        }
        transaction.commit().map_err(&failed)?;
        self.lease = lease;
        self.renewed_at = Instant::now();
        Ok(())
    }

    fn fenced(&self) -> StoreError {
        let store = self.path.display().to_string();
        StoreError::Fenced { store, generation: self.progress.generation }
    }

    fn view(&self) -> View<'_> {
        View { connection: &self.connection, path: &self.path }
    }

    fn error_for(&self, action: &'static str) -> impl Fn(rusqlite::Error) -> StoreError + '_ {
        move |error| StoreError::Database { action, path: self.path.clone(), error }
    }
}

fn digest_of(digests: &Digests, epoch: Epoch) -> i64 {
    digests.get(&epoch).copied().unwrap_or_default().0.cast_signed()
}

impl StoreReader for SqliteStore {
    fn description(&self) -> &Description {
        &self.description
    }

    fn progress(&self) -> Result<Progress, StoreError> {
        Ok(self.progress.clone())
    }

    fn lease(&self) -> Result<Option<Lease>, StoreError> {
        Ok(Some(self.lease.clone()))
    }

    fn ledger(&self) -> Result<Vec<LedgerRow>, StoreError> {
        self.view().ledger()
    }

    fn titles(&self) -> Result<TitleTable, StoreError> {
        self.view().titles()
    }

    fn completeness(&self) -> Result<Vec<Completeness>, StoreError> {
        self.view().completeness()
    }

    fn curves(&self) -> Result<Vec<StoredCurve>, StoreError> {
        self.view().curves()
    }

    fn visit(
        &self,
        query: &StoredQuery,
        selection: &Selection,
        order: RowOrder,
        visitor: &mut RowVisitor<'_>,
    ) -> Result<(), StoreError> {
        self.view().visit(query, selection, order, visitor)
    }

    fn count(&self, query: &StoredQuery, selection: &Selection) -> Result<u64, StoreError> {
        self.view().count(query, selection)
    }

    fn latest_epochs(
        &self,
        query: &StoredQuery,
        epochs: usize,
    ) -> Result<Option<EpochRange>, StoreError> {
        self.view().latest_epochs(query, epochs)
    }
}

impl Store for SqliteStore {
    fn reader(&self) -> Result<Box<dyn StoreReader>, StoreError> {
        // Its numbers of queries are those of this job, which may name them in another order than
        // the job that created the store.
        let description = self.description.clone();
        Ok(Box::new(SqliteReader::open(&self.path)?.described_by(description)))
    }

    fn commit(&mut self, changes: &Changeset) -> Result<(), StoreError> {
        self.files.check(self.progress.publication)?;
        let mut next = self.progress.clone();
        next.apply(changes);
        let transaction = self.begin()?;
        let lease = self.lease.committed(next.records_since(&self.progress));
        // A transaction that is dropped is rolled back.
        let written = self
            .write(&transaction, changes, &next, &lease)
            .map_err(self.error_for("write a publication to"))?;
        if !written {
            return Err(self.fenced());
        }
        transaction.commit().map_err(self.error_for("commit a publication to"))?;
        self.progress = next;
        self.lease = lease;
        self.renewed_at = Instant::now();
        self.wal
            .shrink(&self.connection, BUSY_TIMEOUT)
            .map_err(open::to_store_error(&self.path, "shrink the WAL of"))
    }

    fn renew(&mut self, holder: Option<String>) -> Result<(), StoreError> {
        self.files.check(self.progress.publication)?;
        self.lease.holder = holder;
        if self.renewed_at.elapsed() < RENEWAL_INTERVAL / 2 {
            return Ok(());
        }
        match self.write_lease(self.lease.renewed()) {
            // Whoever holds the write lock does not see the lease either.
            Err(StoreError::Locked { .. }) => Ok(()),
            renewed => renewed,
        }
    }

    fn release(&mut self, ended: LeaseState) -> Result<(), StoreError> {
        self.write_lease(Lease { state: ended, holder: None, ..self.lease.renewed() })
    }
}

impl Drop for SqliteStore {
    /// Releases the lease, unless that was done, and merges the WAL into the database, so that the
    /// store is one file again, unless another program reads it. If that fails, committed data is
    /// still safe in the WAL.
    fn drop(&mut self) {
        if !self.lease.state.is_over() && self.files.check(self.progress.publication).is_ok() {
            // Fails if the job was fenced. Otherwise the next job may have to wait.
            let _ = self.release(LeaseState::Failed);
        }
        let emptied =
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        if emptied != Ok(0) {
            tracing::warn!(
                store = %self.path.display(),
                "the WAL was not merged into the store; keep the files `-wal` and `-shm` beside it"
            );
        }
    }
}

/// A change with its sort key. The order is close to that of the table's B-tree, so that writing in
/// this order touches each page once.
struct Sorted<'a> {
    /// The query, the epoch, and the first word of the sort key, which decide most comparisons.
    order: (usize, Epoch, u64),
    change: &'a RowChange,
}

impl<'a> Sorted<'a> {
    fn new(query: &StoredQuery, change: &'a RowChange) -> Sorted<'a> {
        let first = query.key_order(&change.row).first().copied().unwrap_or(0);
        Sorted { order: (change.query, change.row.epoch, first), change }
    }
}

/// Writes the changes to one table, in the given order.
fn write_table(
    transaction: &Transaction<'_>,
    query: &StoredQuery,
    changes: &[Sorted<'_>],
    number: i64,
) -> rusqlite::Result<()> {
    let mut upsert = transaction.prepare_cached(&schema::upsert(query))?;
    let mut delete = transaction.prepare_cached(&schema::delete(query))?;
    let (keys, columns) = (query.key.len(), query.columns().count());
    for Sorted { change: RowChange { row, deleted, .. }, .. } in changes {
        let (statement, bound) =
            if *deleted { (&mut delete, keys) } else { (&mut upsert, columns) };
        statement.raw_bind_parameter(1, row.epoch.0)?;
        bind(statement, 2, query.values_of(row).take(bound))?;
        if !deleted {
            statement.raw_bind_parameter(2 + columns, number)?;
        }
        statement.raw_execute()?;
    }
    Ok(())
}

/// Binds values to consecutive parameters of a statement, starting at `first_parameter`.
fn bind(
    statement: &mut CachedStatement<'_>,
    first_parameter: usize,
    values: impl Iterator<Item = Value>,
) -> rusqlite::Result<()> {
    for (position, value) in values.enumerate() {
        statement.raw_bind_parameter(first_parameter + position, cells::stored(value)?)?;
    }
    Ok(())
}

fn write_ledger(transaction: &Transaction<'_>, ledger: &Ledger) -> rusqlite::Result<()> {
    let mut upsert = transaction.prepare_cached(
        "INSERT INTO ledger_rows (epoch, kind, accepted, late, future) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT DO UPDATE SET accepted = accepted + excluded.accepted, \
         late = late + excluded.late, future = future + excluded.future",
    )?;
    for (LedgerKey { epoch, kind }, counts) in ledger.iter() {
        let accepted = cells::integer(counts.accepted)?;
        let (late, future) = (cells::integer(counts.late)?, cells::integer(counts.future)?);
        upsert.execute(params![epoch.map(|at| at.0), kind.name(), accepted, late, future])?;
    }
    Ok(())
}

fn write_partitions<'a>(
    transaction: &Transaction<'_>,
    partitions: impl Iterator<Item = &'a PartitionProgress>,
) -> rusqlite::Result<()> {
    let mut upsert = transaction.prepare_cached(
        "REPLACE INTO partitions (topic, partition, next_offset, watermark, watermark_ms, \
         replay_offset, replay_watermark_ms, malformed, idle, block_offset, block_watermark_ms, \
         supported_ms, decisions, file, lost) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
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
            progress.idle,
            cells::integer(progress.block.offset)?,
            progress.block.watermark_ms,
            progress.block.supported_ms,
            cells::json(&progress.decisions)?,
            progress.file.as_ref().map(cells::json).transpose()?,
            progress.lost.as_ref().map(cells::json).transpose()?
        ])?;
    }
    Ok(())
}
