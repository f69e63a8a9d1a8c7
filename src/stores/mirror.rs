//! A copy in memory of what a job commits, for stores that cannot be asked for single rows: topics
//! are read as a whole each time.
//!
//! It is filled from a reader once, and then follows the publications of the job. It has the rows
//! of all open epochs, and of a bounded number of final ones: the latest [`FINAL_EPOCHS_MAX`], or
//! fewer, so that they have at most [`FINAL_ROWS_MAX`] rows. Sets are left out: they are as large
//! as the logs.

use super::description::{Description, StoredQuery};
use super::snapshot::{
    EpochState, EpochSums, GENRES_MAX, Page, RowFilter, Snapshot, Sort, SortBy, TitleFilter,
    TitleVisitor,
};
use super::{
    Changeset, Progress, RowChange, RowOrder, RowVisitor, Selection, StoreError, StoreReader,
    StoredRow,
};
use crate::acceptance::{Distinct, Ledger, LedgerKey, LedgerRow, LedgerTotals};
use crate::completeness::Completeness;
use crate::event::{Kind, VideoId};
use crate::query::{KeyCells, Role, Row, Value, ValueCells};
use crate::time::{Epoch, EpochRange, Publication, Through};
use crate::titles::{Title, TitleSource, TitleTable};
use smallvec::SmallVec;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// The number of final epochs of which rows are kept at most.
pub const FINAL_EPOCHS_MAX: usize = 336;
/// The most rows of final epochs, of all queries together. A row takes about 130 bytes.
pub const FINAL_ROWS_MAX: usize = 500_000;

/// The words that order rows by key.
type KeyOrder = SmallVec<[u64; 4]>;

/// A row without its epoch.
#[derive(Debug)]
struct Kept {
    key: KeyCells,
    values: ValueCells,
    publication: Publication,
}

/// The rows of a query, by epoch.
type Table = BTreeMap<Epoch, BTreeMap<KeyOrder, Kept>>;

/// A copy of a store in memory.
#[derive(Debug)]
pub struct Mirror {
    /// That of the job, whose numbers of queries the publications have.
    description: Description,
    progress: Progress,
    tables: Vec<Table>,
    /// The last publication that has changed each epoch.
    changed: BTreeMap<Epoch, Publication>,
    counts: Ledger,
    titles: TitleTable,
    completeness: BTreeMap<(Epoch, Kind), Completeness>,
    final_epochs_max: usize,
    final_rows_max: usize,
}

impl Mirror {
    /// Fills a copy from a reader of the store of a job, as of the latest publication.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn fill(
        reader: &mut dyn StoreReader,
        description: &Description,
    ) -> Result<Mirror, StoreError> {
        Mirror::fill_within(reader, description, FINAL_EPOCHS_MAX, FINAL_ROWS_MAX)
    }

    fn fill_within(
        reader: &mut dyn StoreReader,
        description: &Description,
        final_epochs_max: usize,
        final_rows_max: usize,
    ) -> Result<Mirror, StoreError> {
        let progress = reader.hold()?;
        // The store may have the queries in another order.
        let description = description.clone();
        let mut mirror = Mirror {
            tables: description.queries.iter().map(|_| Table::new()).collect(),
            changed: BTreeMap::new(),
            counts: Ledger::default(),
            titles: reader.titles()?,
            completeness: BTreeMap::new(),
            description,
            progress,
            final_epochs_max,
            final_rows_max,
        };
        for row in reader.completeness()? {
            mirror.completeness.insert((row.epoch, row.kind), row);
        }
        for row in reader.ledger()? {
            let LedgerTotals { counts, .. } = LedgerTotals::of(&row);
            mirror.counts.add(row.key, counts);
            mirror.set_distinct(&row);
        }
        let last = match mirror.progress.final_through {
            Through::Nothing => None,
            Through::Epoch(last) => Some(last),
            Through::Everything => {
                let main = mirror.description.with_role(Role::Main).map(|(_, query)| query).next();
                let latest = main.map(|query| reader.latest_epochs(query, 1)).transpose()?;
                latest.flatten().map(|latest| latest.last)
            }
        };
        let epochs_max = i64::try_from(final_epochs_max).unwrap_or(i64::MAX);
        let first = last.map_or(EpochRange::ALL.first, |last| last.plus(1 - epochs_max));
        let epochs = EpochRange { first, last: EpochRange::ALL.last };
        let selection = Selection { epochs: Some(epochs), ..Selection::default() };
        for number in 0..mirror.tables.len() {
            let query = mirror.description.queries[number].clone();
            if !matches!(query.role, Role::Main | Role::Table) {
                continue;
            }
            reader.visit(&query, &selection, RowOrder::Key, &mut |stored| {
                let changed = mirror.changed.entry(stored.row.epoch).or_default();
                *changed = stored.publication.max(*changed);
                mirror.insert(number, stored.row.clone(), stored.publication);
                ControlFlow::Continue(())
            })?;
        }
        mirror.forget();
        Ok(mirror)
    }

    /// Applies the next publication.
    ///
    /// # Panics
    /// When it is not the next one.
    pub fn apply(&mut self, changes: &Changeset) {
        for RowChange { query, row, deleted } in &changes.rows {
            match self.description.queries[*query].role {
                Role::Set => {}
                _ if *deleted => self.remove(*query, row),
                _ => self.insert(*query, row.clone(), changes.publication),
            }
        }
        let rows = changes.rows.iter().map(|change| change.row.epoch);
        let counted = changes.ledger.iter().filter_map(|(key, _)| key.epoch);
        let touched = rows.chain(counted).chain(changes.digests.keys().copied());
        self.changed.extend(touched.map(|epoch| (epoch, changes.publication)));
        self.counts.merge(&changes.ledger);
        if let Some(update) = &changes.titles {
            self.titles.apply(update);
        }
        for row in &changes.completeness.rows {
            self.completeness.insert((row.epoch, row.kind), row.clone());
        }
        self.progress.apply(changes);
        self.forget();
    }

    /// The publication, and the positions that it reflects.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    fn insert(&mut self, query: usize, row: Row, publication: Publication) {
        let order = self.description.queries[query].key_order(&row);
        let Row { epoch, key, values } = row;
        let rows = self.tables[query].entry(epoch).or_default();
        rows.insert(order, Kept { key, values, publication });
    }

    fn remove(&mut self, query: usize, row: &Row) {
        let order = self.description.queries[query].key_order(row);
        if let Some(rows) = self.tables[query].get_mut(&row.epoch) {
            rows.remove(&order);
            if rows.is_empty() {
                self.tables[query].remove(&row.epoch);
            }
        }
    }

    /// Sets the row of the ledger query for a row of the ledger.
    fn set_distinct(&mut self, row: &LedgerRow) {
        let found = self.description.with_role(Role::Ledger).next();
        let (Some((number, query)), Some(epoch)) = (found, row.key.epoch) else { return };
        let counts = [row.distinct_events, row.denied_events].map(Value::Count);
        let values = [Value::Kind(row.key.kind), counts[0], counts[1]];
        let row = query.row(epoch, &values);
        self.insert(number, row, self.progress.publication);
    }

    /// Forgets the earliest final epochs while there are too many, or too many rows. The ledger
    /// stays: it has few rows.
    fn forget(&mut self) {
        let mut epochs: BTreeMap<Epoch, usize> = BTreeMap::new();
        for (table, query) in self.tables.iter().zip(&self.description.queries) {
            let is_final = |epoch: &Epoch| self.progress.final_through.contains(*epoch);
            let table = if query.role == Role::Ledger { None } else { Some(table) };
            let finals = table.into_iter().flatten().take_while(|(epoch, _)| is_final(epoch));
            finals.for_each(|(epoch, rows)| *epochs.entry(*epoch).or_default() += rows.len());
        }
        let (mut kept, mut rows) = (0, 0);
        let fits = |(_, count): &(&Epoch, &usize)| {
            kept += 1;
            rows += **count;
            kept <= self.final_epochs_max && rows <= self.final_rows_max
        };
        let first = epochs.iter().rev().take_while(fits).map(|(epoch, _)| *epoch).last();
        let Some(last) = epochs.keys().next_back() else { return };
        let first = first.unwrap_or(last.plus(1));
        let queries = &self.description.queries;
        for (table, query) in self.tables.iter_mut().zip(queries) {
            if query.role != Role::Ledger {
                *table = table.split_off(&first);
            }
        }
        self.changed = self.changed.split_off(&first);
    }

    fn table(&self, query: &StoredQuery) -> Option<&Table> {
        let number = self.description.queries.iter().position(|known| known.name == query.name)?;
        self.tables.get(number)
    }

    fn stored(&self, epoch: Epoch, kept: &Kept) -> StoredRow {
        let Kept { key, values, publication } = kept;
        let row = Row { epoch, key: key.clone(), values: values.clone() };
        let is_final = self.progress.final_through.contains(epoch);
        StoredRow { row, is_final, publication: *publication }
    }

    /// The rows of a filter, by epoch and key.
    fn filtered(&self, query: &StoredQuery, filter: &RowFilter) -> Vec<StoredRow> {
        let EpochRange { first, last } = filter.epochs;
        let table = self.table(query).filter(|_| first <= last);
        let epochs = table.into_iter().flat_map(|table| table.range(first..=last));
        let rows = epochs.flat_map(|(epoch, rows)| rows.values().map(move |kept| (*epoch, kept)));
        let is_later = |kept: &Kept| filter.since.is_none_or(|since| kept.publication > since);
        let rows = rows.filter(|(_, kept)| is_later(kept));
        let rows = rows.map(|(epoch, kept)| self.stored(epoch, kept));
        let has_video = |stored: &StoredRow| {
            let is_it =
                |video| query.values_of(&stored.row).any(|value| value == Value::Video(video));
            filter.video.is_none_or(is_it)
        };
        rows.filter(has_video).collect()
    }
}

/// Orders rows that are in the order of epoch and key.
fn sort(query: &StoredQuery, rows: &mut [StoredRow], order: Sort) {
    let word = |number: i64| number.cast_unsigned() ^ i64::MIN.cast_unsigned();
    let key = |stored: &StoredRow| -> KeyOrder {
        match order.by {
            SortBy::Epoch => SmallVec::from_slice(&[word(stored.row.epoch.0)]),
            SortBy::Final => SmallVec::from_slice(&[u64::from(stored.is_final)]),
            SortBy::Publication => SmallVec::from_slice(&[stored.publication.0]),
            SortBy::Column(position) => query.column_order(&stored.row, position),
        }
    };
    match order.descending {
        false => rows.sort_by_cached_key(key),
        true => rows.sort_by_cached_key(|stored| Reverse(key(stored))),
    }
}

impl Snapshot for Mirror {
    fn description(&self) -> &Description {
        &self.description
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }

    fn has_rows_of(&self, query: &StoredQuery) -> bool {
        query.role != Role::Set
    }

    fn epochs(&self, query: &StoredQuery) -> Result<Vec<EpochState>, StoreError> {
        let epochs = self.table(query).into_iter().flatten();
        let state = |(epoch, _): (&Epoch, _)| {
            let is_final = self.progress.final_through.contains(*epoch);
            let publication = self.changed.get(epoch).copied().unwrap_or_default();
            EpochState { epoch: *epoch, is_final, publication }
        };
        Ok(epochs.map(state).collect())
    }

    fn latest(&self, query: &StoredQuery) -> Result<Option<Epoch>, StoreError> {
        Ok(self.table(query).and_then(|table| table.keys().next_back().copied()))
    }

    fn page(
        &self,
        query: &StoredQuery,
        filter: &RowFilter,
        order: Sort,
        page: Page,
        visitor: &mut RowVisitor<'_>,
    ) -> Result<u64, StoreError> {
        let mut rows = self.filtered(query, filter);
        sort(query, &mut rows, order);
        let [offset, limit] =
            [page.offset, page.limit].map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        let _ = rows.iter().skip(offset).take(limit).try_for_each(visitor);
        Ok(rows.len() as u64)
    }

    fn row(
        &self,
        query: &StoredQuery,
        epoch: Epoch,
        key: &[Value],
    ) -> Result<Option<StoredRow>, StoreError> {
        let rows = self.table(query).and_then(|table| table.get(&epoch));
        let kept = rows.and_then(|rows| rows.get(&query.order_of_key(key)));
        Ok(kept.map(|kept| self.stored(epoch, kept)))
    }

    fn sums(&self, query: &StoredQuery, epoch: Epoch) -> Result<EpochSums, StoreError> {
        let mut sums = EpochSums { rows: 0, values: SmallVec::from_elem(0, query.values.len()) };
        let rows = self.table(query).and_then(|table| table.get(&epoch));
        for kept in rows.into_iter().flat_map(BTreeMap::values) {
            sums.rows += 1;
            let stored = self.stored(epoch, kept);
            let values = query.values_of(&stored.row).skip(query.key.len());
            for (sum, value) in sums.values.iter_mut().zip(values) {
                if let Value::Count(count) = value {
                    *sum += count;
                }
            }
        }
        Ok(sums)
    }

    fn title(&self, video: VideoId) -> Result<Option<Title>, StoreError> {
        Ok(self.titles.titles.get(&video).cloned())
    }

    fn titles(
        &self,
        filter: &TitleFilter<'_>,
        page: Page,
        visitor: &mut TitleVisitor<'_>,
    ) -> Result<u64, StoreError> {
        let videos = filter.video.map_or(VideoId(0)..=VideoId(u64::MAX), |video| video..=video);
        let titles = self.titles.titles.range(videos);
        let mut total = 0;
        for (video, title) in titles.filter(|(video, title)| filter.selects(**video, title)) {
            if total >= page.offset && total - page.offset < page.limit {
                visitor(*video, title);
            }
            total += 1;
        }
        Ok(total)
    }

    fn genres(&self) -> Result<Vec<String>, StoreError> {
        let genres = self.titles.titles.values().filter_map(|title| title.genre.as_deref());
        let genres: BTreeSet<&str> = genres.collect();
        Ok(genres.into_iter().take(GENRES_MAX).map(str::to_owned).collect())
    }

    fn title_sources(&self) -> Result<Vec<TitleSource>, StoreError> {
        Ok(self.titles.sources.clone())
    }

    fn completeness(&self) -> Result<Vec<Completeness>, StoreError> {
        Ok(self.completeness.values().cloned().collect())
    }

    fn ledger(&self) -> Result<Vec<LedgerRow>, StoreError> {
        let Some((number, query)) = self.description.with_role(Role::Ledger).next() else {
            return Ok(Vec::new());
        };
        let rows = self.tables[number].iter();
        let rows = rows.flat_map(|(epoch, rows)| rows.values().map(move |kept| (*epoch, kept)));
        let distinct: BTreeMap<LedgerKey, Distinct> =
            rows.map(|(epoch, kept)| query.ledger_entry(&self.stored(epoch, kept).row)).collect();
        let row = |(key, counts)| {
            let distinct = distinct.get(&key).copied().unwrap_or_default();
            LedgerTotals { counts, distinct }.row(key)
        };
        Ok(self.counts.iter().map(row).collect())
    }
}

#[cfg(test)]
mod tests;
