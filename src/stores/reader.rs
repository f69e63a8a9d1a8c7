//! The read side of a store: what it was made for, what it reflects, and its rows.

use super::description::{Description, StoredQuery};
use super::{Progress, RowChange, StoreError};
use crate::acceptance::LedgerRow;
use crate::event::VideoId;
use crate::query::{Row, Value};
use crate::time::{Epoch, EpochRange, Publication};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// Which rows of a query are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Those of epochs in this range.
    pub epochs: Option<EpochRange>,
    /// Those that have this video in any column.
    pub video: Option<VideoId>,
    /// Those that changed in a later publication.
    pub since: Option<Publication>,
    /// Of each epoch, this many with the largest values.
    pub top: Option<u64>,
}

/// The order of rows within an epoch; epochs come in their own order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOrder {
    /// By key: videos as unsigned numbers, requests as their UUIDs.
    Key,
    /// By values, largest first, then by key.
    Values,
}

/// A row as it is in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// The row.
    pub row: Row,
    /// Whether it will never change again.
    pub is_final: bool,
    /// The publication in which it last changed; in Kafka, or in which it became final, as it was
    /// written once more then.
    pub publication: Publication,
}

/// Takes rows one after the other, until it answers [`ControlFlow::Break`].
pub type RowVisitor<'a> = dyn FnMut(&StoredRow) -> ControlFlow<()> + 'a;

/// The read side of a store. Every answer is as of one publication.
pub trait StoreReader {
    /// What the store was made for.
    fn description(&self) -> &Description;

    /// What the store reflects.
    ///
    /// # Errors
    /// When it cannot be read.
    fn progress(&self) -> Result<Progress, StoreError>;

    /// What became of all events, by epoch and kind.
    ///
    /// # Errors
    /// When it cannot be read.
    fn ledger(&self) -> Result<Vec<LedgerRow>, StoreError>;

    /// Visits the selected rows of a query. All of them are of one publication.
    ///
    /// # Errors
    /// When they cannot be read.
    fn visit(
        &self,
        query: &StoredQuery,
        selection: &Selection,
        order: RowOrder,
        visitor: &mut RowVisitor<'_>,
    ) -> Result<(), StoreError>;

    /// How many rows are selected.
    ///
    /// # Errors
    /// When they cannot be read.
    fn count(&self, query: &StoredQuery, selection: &Selection) -> Result<u64, StoreError>;

    /// The latest epochs that have rows of a query, at most so many, as a range.
    ///
    /// # Errors
    /// When they cannot be read.
    fn latest_epochs(
        &self,
        query: &StoredQuery,
        epochs: usize,
    ) -> Result<Option<EpochRange>, StoreError>;

    /// The rows of some queries, by their numbers in the description, for the queries across epochs
    /// of a job that takes the store over.
    ///
    /// # Errors
    /// When they cannot be read.
    fn history(&self, queries: &[usize], epochs: EpochRange) -> Result<Vec<RowChange>, StoreError> {
        let selection = Selection { epochs: Some(epochs), ..Selection::default() };
        let mut rows = Vec::new();
        for number in queries {
            let query = &self.description().queries[*number];
            self.visit(query, &selection, RowOrder::Key, &mut |stored| {
                rows.push(RowChange { query: *number, row: stored.row.clone(), deleted: false });
                ControlFlow::Continue(())
            })?;
        }
        Ok(rows)
    }
}

/// The range of the latest of some epochs, at most so many.
pub(super) fn latest(
    epochs: impl IntoIterator<Item = Epoch>,
    epochs_max: usize,
) -> Option<EpochRange> {
    let epochs: BTreeSet<Epoch> = epochs.into_iter().collect();
    let first = epochs.iter().nth(epochs.len().saturating_sub(epochs_max));
    first.zip(epochs.last()).map(|(first, last)| EpochRange { first: *first, last: *last })
}

/// Selects and orders rows of a query that are in memory, for stores that cannot be asked for them.
pub(super) fn select(
    query: &StoredQuery,
    rows: impl IntoIterator<Item = StoredRow>,
    selection: &Selection,
    order: RowOrder,
) -> Vec<StoredRow> {
    let mut epochs: BTreeMap<_, Vec<StoredRow>> = BTreeMap::new();
    for stored in rows.into_iter().filter(|stored| is_selected(query, stored, selection)) {
        epochs.entry(stored.row.epoch).or_default().push(stored);
    }
    let by_key = |stored: &StoredRow| query.key_order(&stored.row);
    // The largest first.
    let by_values = |stored: &StoredRow| (Reverse(query.value_order(&stored.row)), by_key(stored));
    for rows in epochs.values_mut() {
        if let Some(top) = selection.top {
            rows.sort_by_cached_key(by_values);
            rows.truncate(usize::try_from(top).unwrap_or(usize::MAX));
        }
        match order {
            RowOrder::Key => rows.sort_by_cached_key(by_key),
            RowOrder::Values => rows.sort_by_cached_key(by_values),
        }
    }
    epochs.into_values().flatten().collect()
}

/// Whether a row is selected, regardless of how many others are.
pub(super) fn is_selected(query: &StoredQuery, stored: &StoredRow, selection: &Selection) -> bool {
    let has_video = |video| query.values_of(&stored.row).any(|value| value == Value::Video(video));
    selection.epochs.is_none_or(|epochs| epochs.contains(stored.row.epoch))
        && selection.since.is_none_or(|since| stored.publication > since)
        && selection.video.is_none_or(has_video)
}
