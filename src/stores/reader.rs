//! The read side of a store: its description, progress, ledger and rows.

use super::description::{Description, StoredQuery};
use super::{Lease, Progress, RowChange, StoreError};
use crate::acceptance::LedgerRow;
use crate::completeness::{Completeness, StoredCurve};
use crate::event::VideoId;
use crate::query::{Row, Value};
use crate::time::{Epoch, EpochRange, Publication};
use crate::titles::TitleTable;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// A selection of the rows of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only rows of epochs in this range.
    pub epochs: Option<EpochRange>,
    /// Only rows with this video in any column.
    pub video: Option<VideoId>,
    /// Only rows that changed in a later publication.
    pub since: Option<Publication>,
    /// Only this number of rows of each epoch: those with the largest values.
    pub top: Option<u64>,
}

/// The order of rows within an epoch. Epochs are in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOrder {
    /// By key: videos as unsigned integers, requests as UUIDs.
    Key,
    /// By values, largest first, then by key.
    Values,
}

/// A row in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// The row.
    pub row: Row,
    /// Whether the row is final: it never changes again.
    pub is_final: bool,
    /// The publication in which the row last changed. In Kafka, a row that becomes final is written
    /// again, which counts as a change.
    pub publication: Publication,
}

/// Called with one row after another, until it returns [`ControlFlow::Break`].
pub type RowVisitor<'a> = dyn FnMut(&StoredRow) -> ControlFlow<()> + 'a;

/// The read side of a store. Every result reflects a single publication.
pub trait StoreReader {
    /// Returns the definition and queries that the store was created for.
    fn description(&self) -> &Description;

    /// Returns the progress of the store.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn progress(&self) -> Result<Progress, StoreError>;

    /// Returns the progress of the store, and stays at that publication where a store cannot be
    /// asked for several things at once: later publications are not seen by this reader.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn hold(&mut self) -> Result<Progress, StoreError> {
        self.progress()
    }

    /// Returns the lease of the store, `None` if it has none.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn lease(&self) -> Result<Option<Lease>, StoreError> {
        Ok(None)
    }

    /// Returns the counts of all events, by epoch and kind.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn ledger(&self) -> Result<Vec<LedgerRow>, StoreError>;

    /// Returns how much of each epoch has arrived, as of the last publication, by epoch and kind.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn completeness(&self) -> Result<Vec<Completeness>, StoreError>;

    /// Returns the curves that the estimates of the next job rest on.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn curves(&self) -> Result<Vec<StoredCurve>, StoreError>;

    /// Returns the titles of videos, as of the last publication.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn titles(&self) -> Result<TitleTable, StoreError>;

    /// Visits the selected rows of a query, as of a single publication.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn visit(
        &self,
        query: &StoredQuery,
        selection: &Selection,
        order: RowOrder,
        visitor: &mut RowVisitor<'_>,
    ) -> Result<(), StoreError>;

    /// Returns the number of selected rows.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn count(&self, query: &StoredQuery, selection: &Selection) -> Result<u64, StoreError>;

    /// Returns the range of the latest epochs that have rows of a query, at most `epochs` of them.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn latest_epochs(
        &self,
        query: &StoredQuery,
        epochs: usize,
    ) -> Result<Option<EpochRange>, StoreError>;

    /// Returns the rows of some queries, given by their indices in [`Description::queries`]. A job
    /// that takes the store over needs them for its queries across epochs.
    ///
    /// # Errors
    /// When the store cannot be read.
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

/// Returns the range of the latest epochs, at most `epochs_max` distinct ones.
pub(super) fn latest(
    epochs: impl IntoIterator<Item = Epoch>,
    epochs_max: usize,
) -> Option<EpochRange> {
    let epochs: BTreeSet<Epoch> = epochs.into_iter().collect();
    let first = epochs.iter().nth(epochs.len().saturating_sub(epochs_max));
    first.zip(epochs.last()).map(|(first, last)| EpochRange { first: *first, last: *last })
}

/// Selects and orders rows in memory, for stores that cannot be queried.
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
    // Largest first.
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

/// Whether a row matches a selection, ignoring `top`.
pub(super) fn is_selected(query: &StoredQuery, stored: &StoredRow, selection: &Selection) -> bool {
    let has_video = |video| query.values_of(&stored.row).any(|value| value == Value::Video(video));
    selection.epochs.is_none_or(|epochs| epochs.contains(stored.row.epoch))
        && selection.since.is_none_or(|since| stored.publication > since)
        && selection.video.is_none_or(has_video)
}
