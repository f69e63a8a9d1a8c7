//! A store in memory, for tests and for benchmarks of the engine alone.

use super::reader::select;
use super::{
    Changeset, Description, Progress, RowChange, RowOrder, RowVisitor, Selection, Store,
    StoreError, StoreReader, StoredQuery, StoredRow,
};
use crate::acceptance::{Distinct, Ledger, LedgerKey, LedgerRow, LedgerTotals};
use crate::completeness::{Completeness, CompletenessUpdate, StoredCurve};
use crate::event::Kind;
use crate::query::{Digests, KeyCells, QueryInstance, Role, Row, ValueCells, digest};
use crate::time::{Definition, Epoch, EpochRange, Publication};
use crate::titles::TitleTable;
use foldhash::fast::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The rows of a query, by epoch and key, each with the publication in which it last changed.
type Rows = HashMap<(Epoch, KeyCells), (ValueCells, Publication), RandomState>;

/// Everything that was committed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Committed {
    /// The progress of the store.
    pub progress: Progress,
    /// The event counts of the workers.
    pub ledger: Ledger,
    /// The digests of all epochs, final ones included.
    pub digests: Digests,
    /// The titles of videos.
    pub titles: TitleTable,
    /// How much of each epoch has arrived.
    pub completeness: BTreeMap<(Epoch, Kind), Completeness>,
    /// The curves that this rests on.
    pub curves: BTreeMap<(Epoch, Kind), StoredCurve>,
    /// The rows that the last replay rebuilt.
    pub restored: Vec<RowChange>,
    rows: BTreeMap<usize, Rows>,
}

/// A store whose contents can be inspected after every commit.
#[derive(Clone)]
pub struct MemoryStore {
    description: Arc<Description>,
    committed: Arc<Mutex<Committed>>,
}

impl MemoryStore {
    /// Creates an empty store.
    pub fn new(definition: &Definition, queries: &[QueryInstance]) -> MemoryStore {
        let description = Arc::new(Description::of(definition, queries));
        MemoryStore { description, committed: Arc::default() }
    }

    /// Takes the store over for another job. Unlike other stores, it does not fence the previous
    /// job, which must have ended.
    pub fn take_over(&self) -> MemoryStore {
        self.lock().progress.generation += 1;
        self.clone()
    }

    /// Returns a copy of everything that was committed.
    pub fn committed(&self) -> Committed {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Committed> {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn select(
        &self,
        query: &StoredQuery,
        selection: &Selection,
        order: RowOrder,
    ) -> Vec<StoredRow> {
        let number = self.description.queries.iter().position(|known| known.name == query.name);
        let committed = self.lock();
        let rows = number.and_then(|number| committed.rows.get(&number)).into_iter().flatten();
        let rows = rows.map(|((epoch, key), (values, publication))| StoredRow {
            row: Row { epoch: *epoch, key: key.clone(), values: values.clone() },
            is_final: committed.progress.final_through.contains(*epoch),
            publication: *publication,
        });
        select(query, rows, selection, order)
    }
}

impl Committed {
    /// Returns the rows of a query, given by its index in [`Description::queries`].
    pub fn rows(&self, query: usize) -> BTreeSet<Row> {
        let rows = self.rows.get(&query).into_iter().flatten();
        let row = |((epoch, key), (values, _)): (&(Epoch, KeyCells), &(ValueCells, _))| Row {
            epoch: *epoch,
            key: key.clone(),
            values: values.clone(),
        };
        rows.map(row).collect()
    }
}

impl StoreReader for MemoryStore {
    fn description(&self) -> &Description {
        &self.description
    }

    fn progress(&self) -> Result<Progress, StoreError> {
        Ok(self.lock().progress.clone())
    }

    fn completeness(&self) -> Result<Vec<Completeness>, StoreError> {
        Ok(self.lock().completeness.values().cloned().collect())
    }

    fn curves(&self) -> Result<Vec<StoredCurve>, StoreError> {
        Ok(self.lock().curves.values().cloned().collect())
    }

    fn titles(&self) -> Result<TitleTable, StoreError> {
        Ok(self.lock().titles.clone())
    }

    fn hold(&mut self) -> Result<Progress, StoreError> {
        let committed = self.committed();
        let progress = committed.progress.clone();
        self.committed = Arc::new(Mutex::new(committed));
        Ok(progress)
    }

    fn ledger(&self) -> Result<Vec<LedgerRow>, StoreError> {
        let distinct: BTreeMap<LedgerKey, Distinct> = self
            .description
            .with_role(Role::Ledger)
            .flat_map(|(_, query)| {
                let rows = self.select(query, &Selection::default(), RowOrder::Key);
                rows.into_iter().map(|stored| query.ledger_entry(&stored.row))
            })
            .collect();
        let committed = self.lock();
        let rows = committed.ledger.iter().map(|(key, counts)| {
            let distinct = distinct.get(&key).copied().unwrap_or_default();
            LedgerTotals { counts, distinct }.row(key)
        });
        Ok(rows.collect())
    }

    fn visit(
        &self,
        query: &StoredQuery,
        selection: &Selection,
        order: RowOrder,
        visitor: &mut RowVisitor<'_>,
    ) -> Result<(), StoreError> {
        let rows = self.select(query, selection, order);
        let _ = rows.iter().try_for_each(visitor);
        Ok(())
    }

    fn count(&self, query: &StoredQuery, selection: &Selection) -> Result<u64, StoreError> {
        Ok(self.select(query, selection, RowOrder::Key).len() as u64)
    }

    fn latest_epochs(
        &self,
        query: &StoredQuery,
        epochs: usize,
    ) -> Result<Option<EpochRange>, StoreError> {
        let rows = self.select(query, &Selection::default(), RowOrder::Key);
        Ok(super::reader::latest(rows.iter().map(|stored| stored.row.epoch), epochs))
    }
}

impl Store for MemoryStore {
    fn reader(&self) -> Result<Box<dyn StoreReader>, StoreError> {
        Ok(Box::new(self.clone()))
    }

    fn restore(&mut self, rows: Vec<RowChange>) {
        self.lock().restored = rows;
    }

    fn commit(&mut self, changes: &Changeset) -> Result<(), StoreError> {
        let committed = &mut *self.lock();
        for RowChange { query, row, deleted } in &changes.rows {
            let rows = committed.rows.entry(*query).or_default();
            let name = (row.epoch, row.key.clone());
            if *deleted {
                rows.remove(&name);
            } else {
                rows.insert(name, (row.values.clone(), changes.publication));
            }
        }
        committed.ledger.merge(&changes.ledger);
        if let Some(update) = &changes.titles {
            committed.titles.apply(update);
        }
        let CompletenessUpdate { rows, curves, forgotten } = &changes.completeness;
        let rows = rows.iter().map(|row| ((row.epoch, row.kind), row.clone()));
        committed.completeness.extend(rows);
        let curves = curves.iter().map(|one| ((one.epoch, one.kind), one.clone()));
        committed.curves.extend(curves);
        committed.curves.retain(|key, _| !forgotten.contains(key));
        committed.progress.apply(changes);
        digest::merge(&mut committed.digests, &changes.digests);
        Ok(())
    }
}
