//! The rows that the last publications have changed: a bounded number of publications and rows.

use crate::query::{KeyCells, Role};
use crate::stores::description::Description;
use crate::stores::{Changeset, RowChange};
use crate::time::{Epoch, Publication};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// The most publications that are kept.
const ENTRIES_MAX: usize = 1_024;
/// The most changed rows that are kept, of all publications together. A row takes about 100 bytes.
const ROWS_MAX: usize = 200_000;

/// What a publication has changed.
#[derive(Debug)]
pub struct Entry {
    publication: Publication,
    /// The number of changed rows of each query that has any.
    counts: BTreeMap<usize, u64>,
    epochs: BTreeSet<Epoch>,
    /// The changed rows of tables. Sets are left out: they are as large as the logs.
    rows: Vec<RowChange>,
}

impl Entry {
    /// What a publication of a job with this description has changed.
    pub fn new(changes: Changeset, description: &Description) -> Entry {
        let role = |change: &RowChange| description.queries[change.query].role;
        let (mut counts, mut epochs) = (BTreeMap::new(), BTreeSet::new());
        for change in &changes.rows {
            epochs.insert(change.row.epoch);
            if role(change) != Role::Ledger {
                *counts.entry(change.query).or_default() += 1;
            }
        }
        let mut rows = changes.rows;
        rows.retain(|change| matches!(role(change), Role::Main | Role::Table));
        Entry { publication: changes.publication, counts, epochs, rows }
    }
}

/// What several publications have changed.
#[derive(Debug)]
pub struct Changes {
    /// The number of changed rows of each query that has any. A row counts for each publication
    /// that has changed it.
    pub counts: BTreeMap<usize, u64>,
    /// The epochs of these rows.
    pub epochs: BTreeSet<Epoch>,
    entries: Vec<Arc<Entry>>,
}

impl Changes {
    /// The last change of each row of a query, with its publication.
    pub fn rows(&self, query: usize) -> Vec<(&RowChange, Publication)> {
        let mut last: HashMap<(Epoch, &KeyCells), (&RowChange, Publication)> = HashMap::new();
        for entry in &self.entries {
            for change in entry.rows.iter().filter(|one| one.query == query) {
                let name = (change.row.epoch, &change.row.key);
                last.insert(name, (change, entry.publication));
            }
        }
        last.into_values().collect()
    }
}

/// The last publications.
#[derive(Debug, Default)]
pub struct Ring {
    entries: VecDeque<Arc<Entry>>,
    rows: usize,
    /// All later publications are here.
    after: Publication,
    /// The publication at which the job began; earlier ones are of other jobs.
    start: Publication,
}

impl Ring {
    /// Begins anew after a publication; `is_start` if the job has begun there.
    pub fn begin(&mut self, after: Publication, is_start: bool) {
        self.entries.clear();
        self.rows = 0;
        self.after = after;
        if is_start {
            self.start = after;
        }
    }

    /// Adds the next publication.
    pub fn push(&mut self, entry: Entry) {
        self.rows += entry.rows.len();
        self.entries.push_back(Arc::new(entry));
        while self.entries.len() > ENTRIES_MAX || self.rows > ROWS_MAX {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.rows -= oldest.rows.len();
            self.after = oldest.publication;
        }
    }

    /// What has changed after a publication, up to another one. `None` if that is not known.
    pub fn between(&self, after: Publication, through: Publication) -> Option<Changes> {
        let is_known = after >= self.after;
        let is_later =
            |entry: &&Arc<Entry>| entry.publication > after && entry.publication <= through;
        let entries: Vec<_> =
            is_known.then(|| self.entries.iter().filter(is_later).cloned().collect())?;
        let (mut counts, mut epochs) = (BTreeMap::new(), BTreeSet::new());
        for entry in &entries {
            for (query, count) in &entry.counts {
                *counts.entry(*query).or_default() += count;
            }
            epochs.extend(entry.epochs.iter().copied());
        }
        Some(Changes { counts, epochs, entries })
    }

    /// The publication at which the job began.
    pub fn start(&self) -> Publication {
        self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::sqlite::fixtures::{queries, request, trend};
    use crate::time::Definition;

    fn push(ring: &mut Ring, publication: u64, rows: Vec<RowChange>) {
        let description = Description::of(&Definition::default(), &queries());
        let publication = Publication(publication);
        let changes = Changeset { publication, rows, ..Changeset::default() };
        ring.push(Entry::new(changes, &description));
    }

    fn plays(ring: &Ring, since: u64) -> Option<Vec<(u64, u64, u64)>> {
        let changes = ring.between(Publication(since), Publication(u64::MAX))?;
        let rows = changes.rows(0).into_iter();
        let rows = rows.map(|(one, at)| (one.row.key[0], one.row.values[0], at.0));
        Some(rows.collect::<BTreeSet<_>>().into_iter().collect())
    }

    #[test]
    fn changes_are_merged_and_the_last_one_of_a_row_counts() {
        let mut ring = Ring::default();
        ring.begin(Publication(4), true);
        push(&mut ring, 5, vec![trend(1, 7, 1, 9), trend(2, 7, 2, 9)]);
        push(&mut ring, 6, vec![trend(1, 7, 3, 9), request("r", 1, 8, true)]);
        assert_eq!(plays(&ring, 4), Some(vec![(1, 3, 6), (2, 2, 5)]));
        assert_eq!(plays(&ring, 5), Some(vec![(1, 3, 6)]));
        assert_eq!(plays(&ring, 6), Some(vec![]));
        assert_eq!(plays(&ring, 3), None);
        let changes = ring.between(Publication(4), Publication(6)).unwrap();
        assert_eq!(changes.counts, BTreeMap::from([(0, 3), (1, 1)]));
        assert_eq!(changes.epochs, BTreeSet::from([Epoch(7), Epoch(8)]));
        assert!(changes.rows(1).is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded_in_publications_and_rows() {
        let mut ring = Ring::default();
        for publication in 1..=ENTRIES_MAX as u64 + 5 {
            push(&mut ring, publication, vec![trend(1, 7, publication, 9)]);
        }
        assert_eq!((ring.entries.len(), ring.after), (ENTRIES_MAX, Publication(5)));
        let many = (0..ROWS_MAX as u64 + 1).map(|video| trend(video, 7, 1, 1)).collect();
        push(&mut ring, ENTRIES_MAX as u64 + 6, many);
        assert_eq!((ring.entries.len(), ring.rows), (0, 0));
        assert_eq!(plays(&ring, ENTRIES_MAX as u64 + 5), None);
        assert_eq!(plays(&ring, ENTRIES_MAX as u64 + 6), Some(vec![]));
    }
}
