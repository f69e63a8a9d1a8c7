//! The state of a Kafka store, in its topics and in the memory of the job.
//!
//! A log has no index, so the job keeps in memory the data that it must write again: the counts of
//! the ledger, and the main table's rows of the epochs that are not final (at most videos × open
//! epochs, about 100 bytes each).

use crate::acceptance::{Distinct, LedgerKey, LedgerRow, LedgerTotals};
use crate::query::{KeyCells, Role, Row, ValueCells};
use crate::stores::description::{self, Description};
use crate::stores::{Changeset, Progress, RowChange, StoreError};
use crate::time::{Epoch, Through};
use foldhash::{HashMap, HashSet};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The key of the progress record.
pub(super) const PROGRESS_KEY: &[u8] = b"\"progress\"";

/// The progress record, which is the last record of the progress topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredProgress {
    /// The store format.
    pub format: i64,
    /// The version of trendmark that created the store.
    pub written_by: String,
    /// The definition and queries that the store was created for.
    pub description: Description,
    /// The number of partitions of each row topic when the store was created, by topic name.
    pub partitions_of_topics: BTreeMap<String, i32>,
    /// The watermark of the last publication that had one, in milliseconds.
    pub watermark_ms: Option<i64>,
    /// The progress, from which the next job resumes.
    pub progress: Progress,
}

/// The rows of an epoch, by their keys.
type EpochRows = HashMap<KeyCells, ValueCells>;

/// The committed state of a store.
pub(super) struct State {
    pub stored: StoredProgress,
    ledger: BTreeMap<LedgerKey, LedgerTotals>,
    /// The main table's rows of the epochs that are not final.
    open: BTreeMap<Epoch, EpochRows>,
    /// The index of the main table's query.
    main: Option<usize>,
}

/// The state of a store once a publication is committed.
pub(super) struct Staged {
    pub stored: StoredProgress,
    /// The counts that change.
    pub ledger: BTreeMap<LedgerKey, LedgerTotals>,
    /// The unchanged rows that become final, with the index of their query.
    pub finals: Vec<(usize, Row)>,
}

impl StoredProgress {
    /// Creates the progress of an empty store.
    pub fn new(
        description: Description,
        partitions_of_topics: BTreeMap<String, i32>,
    ) -> StoredProgress {
        StoredProgress {
            format: description::FORMAT,
            written_by: env!("CARGO_PKG_VERSION").to_owned(),
            description,
            partitions_of_topics,
            watermark_ms: None,
            progress: Progress::default(),
        }
    }

    /// Parses the progress record of a store.
    ///
    /// # Errors
    /// When it is not a progress record, or has another format.
    pub fn parse(store: &str, record: &[u8]) -> Result<StoredProgress, StoreError> {
        #[derive(Deserialize)]
        struct Format {
            format: i64,
        }
        let damaged = |error: serde_json::Error| StoreError::NotAStore {
            store: store.to_owned(),
            reason: format!("its last progress record is invalid: {error}"),
        };
        let Format { format } = serde_json::from_slice(record).map_err(damaged)?;
        description::check_format(store, format)?;
        serde_json::from_slice(record).map_err(damaged)
    }

    /// Serializes the progress record.
    pub fn to_record(&self) -> Vec<u8> {
        match serde_json::to_vec(self) {
            Ok(record) => record,
            Err(error) => unreachable!("progress serializes to JSON: {error}"),
        }
    }

    /// Applies a publication.
    fn apply(&mut self, changes: &Changeset) {
        self.progress.apply(changes);
        self.watermark_ms = self.progress.watermark_ms().or(self.watermark_ms);
    }
}

impl State {
    /// Creates the state of a store with this progress and this ledger.
    pub fn new(stored: StoredProgress, ledger: &[LedgerRow]) -> State {
        let main = stored.description.with_role(Role::Main).map(|(number, _)| number).next();
        let ledger = ledger.iter().map(|row| (row.key, LedgerTotals::of(row))).collect();
        State { stored, ledger, open: BTreeMap::new(), main }
    }

    /// Loads rows that the topics already hold.
    pub fn restore(&mut self, rows: &[RowChange]) {
        let final_through = self.stored.progress.final_through;
        let is_open = |change: &&RowChange| !final_through.contains(change.row.epoch);
        self.update_open_rows(rows.iter().filter(is_open));
    }

    /// Returns the state once a publication is committed.
    pub fn stage(&self, changes: &Changeset) -> Staged {
        let mut stored = self.stored.clone();
        stored.apply(changes);
        let finals = self.newly_final_rows(stored.progress.final_through, changes);
        Staged { stored, ledger: self.staged_ledger(changes), finals }
    }

    /// Applies a publication that was committed.
    pub fn apply(&mut self, staged: Staged, changes: &Changeset) {
        self.stored = staged.stored;
        self.ledger.extend(staged.ledger);
        self.update_open_rows(&changes.rows);
        match self.stored.progress.final_through {
            Through::Nothing => {}
            Through::Epoch(last) => self.open = self.open.split_off(&last.plus(1)),
            Through::Everything => self.open.clear(),
        }
    }

    fn update_open_rows<'a>(&mut self, changes: impl IntoIterator<Item = &'a RowChange>) {
        for RowChange { query, row, deleted } in changes {
            if Some(*query) != self.main {
                continue;
            }
            let rows = self.open.entry(row.epoch).or_default();
            if *deleted {
                rows.remove(&row.key);
            } else {
                rows.insert(row.key.clone(), row.values.clone());
            }
        }
    }

    fn staged_ledger(&self, changes: &Changeset) -> BTreeMap<LedgerKey, LedgerTotals> {
        let mut staged = BTreeMap::new();
        let before = |key: LedgerKey| self.ledger.get(&key).copied().unwrap_or_default();
        for (key, counts) in changes.ledger.iter() {
            staged.entry(key).or_insert_with(|| before(key)).counts.merge(counts);
        }
        for RowChange { query, row, deleted } in &changes.rows {
            let query = &self.stored.description.queries[*query];
            if query.role == Role::Ledger {
                let (key, distinct) = query.ledger_entry(row);
                let distinct = if *deleted { Distinct::default() } else { distinct };
                staged.entry(key).or_insert_with(|| before(key)).distinct = distinct;
            }
        }
        staged
    }

    /// Returns the unchanged rows that become final, sorted.
    fn newly_final_rows(&self, through: Through, changes: &Changeset) -> Vec<(usize, Row)> {
        let Some(main) = self.main else { return Vec::new() };
        let becomes_final = |epoch: &Epoch| through.contains(*epoch);
        if !self.open.keys().next().is_some_and(becomes_final) {
            return Vec::new();
        }
        let changed: HashSet<(Epoch, &KeyCells)> = changes
            .rows
            .iter()
            .filter(|change| change.query == main && through.contains(change.row.epoch))
            .map(|change| (change.row.epoch, &change.row.key))
            .collect();
        let mut finals = Vec::new();
        for (&epoch, rows) in self.open.iter().take_while(|(epoch, _)| becomes_final(epoch)) {
            let unchanged = rows.iter().filter(|(key, _)| !changed.contains(&(epoch, *key)));
            finals.extend(unchanged.map(|(key, values)| {
                (main, Row { epoch, key: key.clone(), values: values.clone() })
            }));
        }
        finals.sort_unstable();
        finals
    }
}
