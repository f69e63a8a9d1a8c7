//! A store in memory: for benchmarks of the engine alone, and tests.

use super::{PartitionProgress, Progress, Publication, RowChange, Store, StoreError};
use crate::digest::{self, Digests};
use crate::ledger::Ledger;
use crate::query::{KEY_CELLS, Row};
use crate::sources::PartitionName;
use crate::time::Epoch;
use foldhash::fast::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

/// What names a row: its epoch and its key.
type RowName = (i64, [u64; KEY_CELLS]);

/// Everything that was committed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tables {
    /// The rows by query, epoch and key.
    pub rows: BTreeMap<usize, HashMap<RowName, Row, RandomState>>,
    /// The ledger.
    pub ledger: Ledger,
    /// The last progress of each partition; `malformed` is the sum.
    pub partitions: BTreeMap<PartitionName, PartitionProgress>,
    /// All epochs up to this one are final.
    pub final_through: Option<Epoch>,
    /// How many publications were committed.
    pub publications: u64,
    /// How many jobs have had the store.
    pub generation: u64,
    /// The digests of all epochs.
    pub digests: Digests,
    /// What replay has rebuilt, in the last job that had anything to replay.
    pub restored: Vec<RowChange>,
}

/// A store whose tables can be looked at from outside, after every commit.
#[derive(Clone, Default)]
pub struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
}

impl MemoryStore {
    /// The tables as of the last commit.
    pub fn tables(&self) -> Tables {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Store for MemoryStore {
    fn progress(&mut self) -> Result<Progress, StoreError> {
        let mut tables = self.lock();
        tables.generation += 1;
        let is_open = |epoch: &Epoch| Some(*epoch) > tables.final_through;
        let digests = tables.digests.iter().filter(|(epoch, _)| is_open(epoch));
        Ok(Progress {
            generation: tables.generation,
            publications: tables.publications,
            final_through: tables.final_through,
            partitions: tables.partitions.values().cloned().collect(),
            digests: digests.map(|(epoch, digest)| (*epoch, *digest)).collect(),
        })
    }

    fn restore(&mut self, rows: Vec<RowChange>) {
        self.lock().restored = rows;
    }

    fn commit(&mut self, publication: &Publication) -> Result<(), StoreError> {
        let tables = &mut *self.lock();
        for change in &publication.rows {
            let rows = tables.rows.entry(change.query).or_default();
            let name = (change.row.epoch, change.row.key);
            if change.deleted {
                rows.remove(&name);
            } else {
                rows.insert(name, change.row);
            }
        }
        tables.ledger.merge(publication.ledger.clone());
        for progress in &publication.partitions {
            let before = tables.partitions.get(&progress.partition);
            let malformed = before.map_or(0, |before| before.malformed) + progress.malformed;
            let progress = PartitionProgress { malformed, ..progress.clone() };
            tables.partitions.insert(progress.partition.clone(), progress);
        }
        tables.final_through = tables.final_through.max(publication.final_through);
        digest::add(&mut tables.digests, &publication.digests);
        tables.publications += 1;
        Ok(())
    }
}
