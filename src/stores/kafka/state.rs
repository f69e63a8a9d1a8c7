//! What a Kafka store reflects, as it stands in its topics and in the memory of the job.
//!
//! A log cannot be asked for a row, so the job remembers what it has to write again: the counts of
//! the ledger, and the rows of `trends` of the epochs that are not final, at most videos × open
//! epochs, about 100 bytes each.

use super::encode::{LedgerKey, LedgerRow, Totals};
use crate::digest;
use crate::event::Kind;
use crate::query::{KEY_CELLS, Row, VALUE_CELLS};
use crate::sources::PartitionName;
use crate::stores::description::{DISTINCT, Description, TRENDS};
use crate::stores::{PartitionProgress, Progress, Publication, RowChange};
use crate::time::Epoch;
use foldhash::{HashMap, HashSet};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Raised whenever the records of a store change.
pub(super) const FORMAT_VERSION: u32 = 1;
/// The key of the record that is the progress.
pub(super) const PROGRESS_KEY: &[u8] = b"\"progress\"";

/// What the last record of the topic of progress says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredProgress {
    /// The version of this format.
    pub format: u32,
    /// What the store was made for.
    pub description: Description,
    /// How many partitions each topic of rows had when the store was made, by the topic's name.
    pub partitions_of_topics: BTreeMap<String, i32>,
    /// The watermark of the last publication that had one, in milliseconds.
    pub watermark_ms: Option<i64>,
    /// Where the job that takes the store over goes on.
    pub progress: Progress,
}

/// The rows of an epoch, by their keys.
type EpochRows = HashMap<[u64; KEY_CELLS], [u64; VALUE_CELLS]>;

/// What the store reflects.
pub(super) struct State {
    pub stored: StoredProgress,
    ledger: BTreeMap<LedgerKey, Totals>,
    /// The rows of `trends` of the epochs that are not final.
    open: BTreeMap<i64, EpochRows>,
    trends: Option<usize>,
    distinct: Option<usize>,
}

/// What it will reflect when a publication is committed.
pub(super) struct Staged {
    pub stored: StoredProgress,
    /// The counts that change.
    pub ledger: BTreeMap<LedgerKey, Totals>,
    /// The rows that become final without a change of their own, with the number of their query.
    pub finals: Vec<(usize, Row)>,
}

impl StoredProgress {
    /// That of a store in which nothing is.
    pub fn new(
        description: Description,
        partitions_of_topics: BTreeMap<String, i32>,
    ) -> StoredProgress {
        StoredProgress {
            format: FORMAT_VERSION,
            description,
            partitions_of_topics,
            watermark_ms: None,
            progress: Progress::default(),
        }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// With the reason, if it is none of this version's.
    pub fn parse(record: &[u8]) -> Result<StoredProgress, String> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let damaged = |error: serde_json::Error| format!("its last record is no progress: {error}");
        let Format { format } = serde_json::from_slice(record).map_err(damaged)?;
        if format != FORMAT_VERSION {
            let known = FORMAT_VERSION;
            return Err(format!("it has format {format}, and this version knows format {known}"));
        }
        serde_json::from_slice(record).map_err(damaged)
    }

    /// Writes the record.
    pub fn to_record(&self) -> Vec<u8> {
        match serde_json::to_vec(self) {
            Ok(record) => record,
            Err(error) => unreachable!("progress can be written as JSON: {error}"),
        }
    }

    /// Follows a publication.
    fn advance(&mut self, publication: &Publication) {
        self.watermark_ms = publication.watermark_ms.or(self.watermark_ms);
        let progress = &mut self.progress;
        progress.publications += 1;
        progress.final_through = progress.final_through.max(publication.final_through);
        merge(&mut progress.partitions, &publication.partitions);
        digest::add(&mut progress.digests, &publication.digests);
        let final_through = progress.final_through;
        progress.digests.retain(|epoch, _| Some(*epoch) > final_through);
    }
}

impl State {
    /// That of a store with this progress and this ledger.
    pub fn new(stored: StoredProgress, ledger: &[LedgerRow]) -> State {
        let named =
            |name: &str| stored.description.queries.iter().position(|query| query.name == name);
        let (trends, distinct) = (named(TRENDS), named(DISTINCT));
        let ledger = ledger.iter().map(|row| (row.key, Totals::of(row))).collect();
        State { stored, ledger, open: BTreeMap::new(), trends, distinct }
    }

    /// The query whose rows are told by the ledger.
    pub fn is_ledger(&self, query: usize) -> bool {
        Some(query) == self.distinct
    }

    /// Remembers what the topics hold already.
    pub fn restore(&mut self, rows: &[RowChange]) {
        let final_through = self.stored.progress.final_through;
        let is_open = |change: &&RowChange| Some(Epoch(change.row.epoch)) > final_through;
        self.remember(rows.iter().filter(is_open));
    }

    /// What it will be when a publication is committed.
    pub fn stage(&self, publication: &Publication) -> Staged {
        let mut stored = self.stored.clone();
        stored.advance(publication);
        let finals = self.finals(stored.progress.final_through, publication);
        Staged { stored, ledger: self.staged_ledger(publication), finals }
    }

    /// Follows a publication that was committed.
    pub fn apply(&mut self, staged: Staged, publication: &Publication) {
        self.stored = staged.stored;
        self.ledger.extend(staged.ledger);
        self.remember(&publication.rows);
        if let Some(Epoch(through)) = self.stored.progress.final_through {
            self.open = match through.checked_add(1) {
                Some(first_open) => self.open.split_off(&first_open),
                None => BTreeMap::new(),
            };
        }
    }

    fn remember<'a>(&mut self, changes: impl IntoIterator<Item = &'a RowChange>) {
        for RowChange { query, row, deleted } in changes {
            if Some(*query) != self.trends {
                continue;
            }
            let rows = self.open.entry(row.epoch).or_default();
            if *deleted {
                rows.remove(&row.key);
            } else {
                rows.insert(row.key, row.values);
            }
        }
    }

    fn staged_ledger(&self, publication: &Publication) -> BTreeMap<LedgerKey, Totals> {
        let mut staged = BTreeMap::new();
        let before = |key: LedgerKey| self.ledger.get(&key).copied().unwrap_or_default();
        for (epoch, kind, counts) in publication.ledger.iter() {
            let key = LedgerKey { epoch, kind };
            staged.entry(key).or_insert_with(|| before(key)).counts.add(counts);
        }
        for RowChange { query, row, deleted } in &publication.rows {
            if self.is_ledger(*query) {
                let kind = Kind::ALL[row.key[0] as usize];
                let key = LedgerKey { epoch: Epoch(row.epoch), kind };
                let distinct = if *deleted { 0 } else { row.values[0] };
                staged.entry(key).or_insert_with(|| before(key)).distinct = distinct;
            }
        }
        staged
    }

    /// The rows that become final and are not among those that changed, in their order.
    fn finals(&self, through: Option<Epoch>, publication: &Publication) -> Vec<(usize, Row)> {
        let (Some(trends), Some(Epoch(through))) = (self.trends, through) else {
            return Vec::new();
        };
        if self.open.range(..=through).next().is_none() {
            return Vec::new();
        }
        let changed: HashSet<(i64, [u64; KEY_CELLS])> = publication
            .rows
            .iter()
            .filter(|change| change.query == trends && change.row.epoch <= through)
            .map(|change| (change.row.epoch, change.row.key))
            .collect();
        let mut finals = Vec::new();
        for (&epoch, rows) in self.open.range(..=through) {
            let rows = rows.iter().map(|(&key, &values)| Row { epoch, key, values });
            let unchanged = rows.filter(|row| !changed.contains(&(row.epoch, row.key)));
            finals.extend(unchanged.map(|row| (trends, row)));
        }
        finals.sort_unstable();
        finals
    }
}

/// Brings the progress of partitions up to date; malformed records add up.
fn merge(partitions: &mut Vec<PartitionProgress>, moved: &[PartitionProgress]) {
    let mut merged: BTreeMap<PartitionName, PartitionProgress> =
        partitions.drain(..).map(|progress| (progress.partition.clone(), progress)).collect();
    for progress in moved {
        let malformed = merged.get(&progress.partition).map_or(0, |before| before.malformed);
        let malformed = malformed + progress.malformed;
        let progress = PartitionProgress { malformed, ..progress.clone() };
        merged.insert(progress.partition.clone(), progress);
    }
    partitions.extend(merged.into_values());
}
