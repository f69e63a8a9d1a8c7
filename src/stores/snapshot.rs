//! Everything of one publication, for readers that ask several questions and must get one answer.
//!
//! [`StoreReader`](super::StoreReader) answers each question as of the latest publication. A
//! [`Snapshot`] stays at one, and has what the HTTP server needs besides: pages of rows in any
//! order, single rows, and the sums of an epoch.

use super::description::{Description, StoredQuery};
use super::{Progress, RowVisitor, StoreError, StoredRow};
use crate::acceptance::LedgerRow;
use crate::completeness::Completeness;
use crate::event::VideoId;
use crate::query::Value;
use crate::time::{Epoch, EpochRange, Publication};
use crate::titles::{Title, TitleSource};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Which rows of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowFilter {
    /// Only rows of these epochs.
    pub epochs: EpochRange,
    /// Only rows with this video in any column.
    pub video: Option<VideoId>,
    /// Only rows that changed in a later publication.
    pub since: Option<Publication>,
}

impl RowFilter {
    /// All rows of some epochs.
    pub fn of(epochs: EpochRange) -> RowFilter {
        RowFilter { epochs, video: None, since: None }
    }
}

/// By what rows are ordered. Equal ones are ordered by epoch and key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortBy {
    /// By epoch.
    Epoch,
    /// By whether they are final.
    Final,
    /// By the publication in which they last changed.
    Publication,
    /// By a column, by its position among the key columns and the others.
    Column(usize),
}

/// An order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub by: SortBy,
    /// Whether the largest are first. It does not turn the order of equal ones.
    pub descending: bool,
}

/// Which part of the ordered rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// The number of rows before it.
    pub offset: u64,
    /// The most rows of it.
    pub limit: u64,
}

impl Page {
    /// All rows.
    pub const ALL: Page = Page { offset: 0, limit: u64::MAX };
}

/// The most genres that are told.
pub const GENRES_MAX: usize = 1_000;

/// Which titles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TitleFilter<'a> {
    /// Only that of this video.
    pub video: Option<VideoId>,
    /// Only those of this genre.
    pub genre: Option<&'a str>,
    /// Only names that have this text in lower case.
    pub search: Option<&'a str>,
}

impl TitleFilter<'_> {
    /// Whether it selects a title.
    pub fn selects(&self, video: VideoId, title: &Title) -> bool {
        self.video.is_none_or(|wanted| video == wanted)
            && self.genre.is_none_or(|genre| title.genre.as_deref() == Some(genre))
            && self.selects_name(&title.title)
    }

    /// Whether a name has the text.
    pub fn selects_name(&self, name: &str) -> bool {
        self.search.is_none_or(|search| name.to_lowercase().contains(search))
    }
}

/// Is called with titles.
pub type TitleVisitor<'a> = dyn FnMut(VideoId, &Title) + 'a;

/// An epoch that has rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochState {
    /// The epoch.
    pub epoch: Epoch,
    /// Whether it is final.
    pub is_final: bool,
    /// The last publication that changed it.
    pub publication: Publication,
}

/// The rows of a query in an epoch, added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochSums {
    /// The number of rows.
    pub rows: u64,
    /// The sum of each column that counts, by its position after the key; 0 for other columns.
    pub values: SmallVec<[u64; 4]>,
}

/// Everything of one publication.
pub trait Snapshot {
    /// Returns the definition and the queries.
    fn description(&self) -> &Description;

    /// Returns the publication, and the positions that it reflects.
    fn progress(&self) -> &Progress;

    /// Whether it has the rows of a query.
    fn has_rows_of(&self, _query: &StoredQuery) -> bool {
        true
    }

    /// Returns the epochs that have rows of a query, in rising order.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn epochs(&self, query: &StoredQuery) -> Result<Vec<EpochState>, StoreError>;

    /// Returns the latest epoch that has rows of a query.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn latest(&self, query: &StoredQuery) -> Result<Option<Epoch>, StoreError>;

    /// Visits a page of rows. Returns the number of rows before it was cut into pages.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn page(
        &self,
        query: &StoredQuery,
        filter: &RowFilter,
        sort: Sort,
        page: Page,
        visitor: &mut RowVisitor<'_>,
    ) -> Result<u64, StoreError>;

    /// Returns the row with a key.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn row(
        &self,
        query: &StoredQuery,
        epoch: Epoch,
        key: &[Value],
    ) -> Result<Option<StoredRow>, StoreError>;

    /// Adds up the rows of an epoch.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn sums(&self, query: &StoredQuery, epoch: Epoch) -> Result<EpochSums, StoreError>;

    /// Returns the counts of all events, by epoch and kind.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn ledger(&self) -> Result<Vec<LedgerRow>, StoreError>;

    /// Returns the title of a video, if it has one.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn title(&self, video: VideoId) -> Result<Option<Title>, StoreError>;

    /// Visits a page of titles, by video. Returns the number of titles before it was cut into
    /// pages.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn titles(
        &self,
        filter: &TitleFilter<'_>,
        page: Page,
        visitor: &mut TitleVisitor<'_>,
    ) -> Result<u64, StoreError>;

    /// Returns the genres of all titles, sorted, and at most [`GENRES_MAX`].
    ///
    /// # Errors
    /// When the store cannot be read.
    fn genres(&self) -> Result<Vec<String>, StoreError>;

    /// Returns what was read of each place that has titles.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn title_sources(&self) -> Result<Vec<TitleSource>, StoreError>;

    /// Returns how much of each epoch has arrived, by epoch and kind.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn completeness(&self) -> Result<Vec<Completeness>, StoreError>;
}

/// The sums of final epochs, which never change. Shared by the readers of a store.
#[derive(Debug, Default)]
pub struct FinalSums {
    known: Mutex<HashMap<(String, Epoch), EpochSums>>,
}

impl FinalSums {
    /// The most epochs and queries that are kept: then it begins anew.
    const ENTRIES_MAX: usize = 1 << 16;

    /// Returns the sums of an epoch, which `read` adds up if they are not known.
    pub(super) fn of(
        &self,
        query: &StoredQuery,
        epoch: Epoch,
        is_final: bool,
        read: impl FnOnce() -> Result<EpochSums, StoreError>,
    ) -> Result<EpochSums, StoreError> {
        if !is_final {
            return read();
        }
        let name = (query.name.clone(), epoch);
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sums) = known().get(&name) {
            return Ok(sums.clone());
        }
        let sums = read()?;
        let mut known = known();
        if known.len() >= FinalSums::ENTRIES_MAX {
            known.clear();
        }
        known.insert(name, sums.clone());
        Ok(sums)
    }
}
