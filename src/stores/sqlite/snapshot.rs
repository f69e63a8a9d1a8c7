//! One publication of a store: a read transaction of a reader's connection.

use super::read::{SqliteReader, View, number};
use super::{cells, open, progress, schema, titles};
use crate::acceptance::LedgerRow;
use crate::completeness::Completeness;
use crate::event::VideoId;
use crate::query::{ColumnType, Row, Value};
use crate::stores::description::{Description, StoredColumn, StoredQuery};
use crate::stores::snapshot::{
    EpochState, EpochSums, FinalSums, Page, RowFilter, Snapshot, Sort, SortBy, TitleFilter,
    TitleVisitor,
};
use crate::stores::{Progress, RowVisitor, StoreError, StoreReader, StoredRow};
use crate::time::{Epoch, EpochRange, Publication};
use crate::titles::{Title, TitleSource};
use rusqlite::types::Value as Parameter;
use rusqlite::{InterruptHandle, Transaction, params_from_iter};
use smallvec::SmallVec;
use std::path::Path;

/// One publication of a store. While it lives, the commits of the job pile up in the WAL.
pub struct SqliteSnapshot<'a> {
    transaction: Transaction<'a>,
    path: &'a Path,
    description: &'a Description,
    progress: Progress,
    finals: &'a FinalSums,
}

impl SqliteReader {
    /// Begins to read the latest publication. `finals` has the sums of final epochs of this store.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn snapshot<'a>(&'a self, finals: &'a FinalSums) -> Result<SqliteSnapshot<'a>, StoreError> {
        let (connection, path) = (self.connection(), self.path());
        let begin = || {
            let transaction = connection.unchecked_transaction()?;
            // The first read decides which publication it is.
            let progress = progress::read(&transaction)?;
            Ok((transaction, progress))
        };
        let (transaction, progress) = begin().map_err(open::to_store_error(path, "read"))?;
        let description = self.description();
        Ok(SqliteSnapshot { transaction, path, description, progress, finals })
    }

    /// Returns a handle that makes what this reader reads fail at once.
    pub fn interrupt_handle(&self) -> InterruptHandle {
        self.connection().get_interrupt_handle()
    }
}

/// The condition of a filter, and its parameters.
struct Condition {
    text: String,
    parameters: Vec<Parameter>,
}

impl Condition {
    /// The condition on rows of the filter's epochs.
    fn of(query: &StoredQuery, filter: &RowFilter) -> Condition {
        let since = number(filter.since.unwrap_or_default());
        let EpochRange { first, last } = filter.epochs;
        // Publications are numbered from 1, so 0 selects every epoch.
        let text = "epoch IN (SELECT epoch FROM epochs WHERE epoch BETWEEN ?1 AND ?2 AND \
                    publication > ?3)";
        let parameters = [first.0, last.0, since].map(Parameter::Integer);
        Condition { text: text.to_owned(), parameters: parameters.into() }.with(query, filter)
    }

    /// The condition on rows of one epoch.
    fn of_epoch(query: &StoredQuery, filter: &RowFilter, epoch: Epoch) -> Condition {
        let parameters = vec![Parameter::Integer(epoch.0)];
        Condition { text: "epoch = ?1".to_owned(), parameters }.with(query, filter)
    }

    fn with(mut self, query: &StoredQuery, filter: &RowFilter) -> Condition {
        if let Some(video) = filter.video {
            let place = self.add(match cells::stored_video(video) {
                cells::Stored::Integer(integer) => Parameter::Integer(integer),
                _ => Parameter::Text(video.0.to_string()),
            });
            let is_video = |column: &&StoredColumn| column.column_type == ColumnType::Video;
            let videos = query.columns().filter(is_video);
            let any: Vec<_> = videos.map(|column| format!("{} = {place}", column.name)).collect();
            let none = format!("{place} IS NULL");
            self.text +=
                &format!(" AND ({})", if any.is_empty() { none } else { any.join(" OR ") });
        }
        if let Some(since) = filter.since {
            let place = self.add(Parameter::Integer(number(since)));
            self.text += &format!(" AND publication > {place}");
        }
        self
    }

    /// Adds a parameter, and returns its name.
    fn add(&mut self, parameter: Parameter) -> String {
        self.parameters.push(parameter);
        format!("?{}", self.parameters.len())
    }
}

/// Returns the terms of an order.
fn order(query: &StoredQuery, sort: Sort, final_through: i64) -> String {
    let direction = if sort.descending { "DESC" } else { "ASC" };
    let key = schema::key_order(query);
    let first = match sort.by {
        SortBy::Epoch => "epoch".to_owned(),
        SortBy::Final => format!("epoch <= {final_through}"),
        SortBy::Publication => "publication".to_owned(),
        SortBy::Column(position) => match query.columns().nth(position) {
            Some(column) => {
                let terms = schema::order_terms(column);
                let terms = terms.iter().map(|term| format!("{term} {direction}"));
                return format!("{}, epoch, {key}", terms.collect::<Vec<_>>().join(", "));
            }
            None => "epoch".to_owned(),
        },
    };
    format!("{first} {direction}, epoch, {key}")
}

impl SqliteSnapshot<'_> {
    fn view(&self) -> View<'_> {
        View { connection: &self.transaction, path: self.path }
    }

    fn failed(&self) -> impl Fn(rusqlite::Error) -> StoreError + '_ {
        open::to_store_error(self.path, "read")
    }

    /// Visits the rows of a statement.
    fn rows(
        &self,
        query: &StoredQuery,
        condition: &Condition,
        order: &str,
        page: Page,
        visitor: &mut RowVisitor<'_>,
    ) -> rusqlite::Result<u64> {
        let columns: Vec<&str> = query.columns().map(|column| column.name.as_str()).collect();
        let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
        let offset = i64::try_from(page.offset).unwrap_or(i64::MAX);
        let statement = format!(
            "SELECT {}, publication, epoch FROM {} WHERE {} ORDER BY {order} LIMIT {limit} OFFSET \
             {offset}",
            columns.join(", "),
            schema::table(query),
            condition.text
        );
        let mut statement = self.transaction.prepare_cached(&statement)?;
        let mut rows = statement.query(params_from_iter(&condition.parameters))?;
        let mut visited = 0;
        while let Some(row) = rows.next()? {
            visited += 1;
            if visitor(&self.read_row(query, row)?).is_break() {
                break;
            }
        }
        Ok(visited)
    }

    fn read_row(
        &self,
        query: &StoredQuery,
        row: &rusqlite::Row<'_>,
    ) -> rusqlite::Result<StoredRow> {
        let mut values: SmallVec<[Value; 8]> = SmallVec::new();
        for (position, column) in query.columns().enumerate() {
            values.push(cells::value(column.column_type, row.get_ref(position)?)?);
        }
        let publication = Publication(row.get::<_, i64>(values.len())?.unsigned_abs());
        let epoch = Epoch(row.get(values.len() + 1)?);
        let row: Row = query.row(epoch, &values);
        Ok(StoredRow { row, is_final: self.progress.final_through.contains(epoch), publication })
    }

    /// The number of rows of one epoch.
    fn count(
        &self,
        query: &StoredQuery,
        filter: &RowFilter,
        epoch: Epoch,
    ) -> Result<u64, StoreError> {
        if filter.video.is_none() && filter.since.is_none() {
            return Ok(self.sums(query, epoch)?.rows);
        }
        let condition = Condition::of_epoch(query, filter, epoch);
        let table = schema::table(query);
        let statement = format!("SELECT count(*) FROM {table} WHERE {}", condition.text);
        let count = || {
            let mut statement = self.transaction.prepare_cached(&statement)?;
            let parameters = params_from_iter(&condition.parameters);
            statement.query_row(parameters, |row| row.get::<_, i64>(0))
        };
        count().map(i64::unsigned_abs).map_err(self.failed())
    }

    /// The epochs that may have rows of a filter, in rising order.
    fn candidates(&self, filter: &RowFilter) -> rusqlite::Result<Vec<Epoch>> {
        let mut statement = self.transaction.prepare_cached(
            "SELECT epoch FROM epochs WHERE epoch BETWEEN ?1 AND ?2 AND publication > ?3 ORDER BY \
             epoch",
        )?;
        let since = number(filter.since.unwrap_or_default());
        let parameters = [filter.epochs.first.0, filter.epochs.last.0, since];
        statement.query_map(parameters, |row| row.get(0).map(Epoch))?.collect()
    }

    /// The last final epoch.
    fn final_through(&self) -> i64 {
        let after = self.progress.final_through.remainder(EpochRange::ALL);
        if after.is_empty() { i64::MAX } else { after.first.plus(-1).0 }
    }
}

impl Snapshot for SqliteSnapshot<'_> {
    fn description(&self) -> &Description {
        self.description
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }

    fn epochs(&self, query: &StoredQuery) -> Result<Vec<EpochState>, StoreError> {
        let table = schema::table(query);
        let statement = format!(
            "SELECT epoch, publication FROM epochs WHERE EXISTS (SELECT 1 FROM {table} WHERE \
             {table}.epoch = epochs.epoch) ORDER BY epoch"
        );
        let read = || {
            let mut statement = self.transaction.prepare_cached(&statement)?;
            let states = statement.query_map([], |row| {
                let epoch = Epoch(row.get(0)?);
                let publication = Publication(row.get::<_, i64>(1)?.unsigned_abs());
                let is_final = self.progress.final_through.contains(epoch);
                Ok(EpochState { epoch, is_final, publication })
            });
            states?.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(self.failed())
    }

    fn latest(&self, query: &StoredQuery) -> Result<Option<Epoch>, StoreError> {
        let table = schema::table(query);
        let statement = format!("SELECT max(epoch) FROM {table}");
        let latest = self.transaction.query_row(&statement, [], |row| row.get::<_, Option<i64>>(0));
        latest.map(|epoch| epoch.map(Epoch)).map_err(self.failed())
    }

    fn page(
        &self,
        query: &StoredQuery,
        filter: &RowFilter,
        sort: Sort,
        page: Page,
        visitor: &mut RowVisitor<'_>,
    ) -> Result<u64, StoreError> {
        let failed = self.failed();
        let mut epochs = self.candidates(filter).map_err(&failed)?;
        let order = order(query, sort, self.final_through());
        let mut total = 0;
        if sort.by != SortBy::Epoch {
            let condition = Condition::of(query, filter);
            self.rows(query, &condition, &order, page, visitor).map_err(&failed)?;
            for epoch in epochs {
                total += self.count(query, filter, epoch)?;
            }
            return Ok(total);
        }
        // Epoch by epoch: those before the page are counted only.
        if sort.descending {
            epochs.reverse();
        }
        let Page { mut offset, mut limit } = page;
        for epoch in epochs {
            let rows = self.count(query, filter, epoch)?;
            total += rows;
            if limit > 0 && offset < rows {
                let condition = Condition::of_epoch(query, filter, epoch);
                let part = Page { offset, limit };
                let mut is_over = false;
                let visited = self.rows(query, &condition, &order, part, &mut |row| {
                    let flow = visitor(row);
                    is_over |= flow.is_break();
                    flow
                });
                limit = if is_over { 0 } else { limit - visited.map_err(&failed)? };
            }
            offset = offset.saturating_sub(rows);
        }
        Ok(total)
    }

    fn row(
        &self,
        query: &StoredQuery,
        epoch: Epoch,
        key: &[Value],
    ) -> Result<Option<StoredRow>, StoreError> {
        let columns: Vec<&str> = query.columns().map(|column| column.name.as_str()).collect();
        let is_key = query.key.iter().enumerate();
        let is_key: Vec<_> =
            is_key.map(|(at, column)| format!("{} = ?{}", column.name, at + 2)).collect();
        let statement = format!(
            "SELECT {}, publication, epoch FROM {} WHERE epoch = ?1 AND {}",
            columns.join(", "),
            schema::table(query),
            is_key.join(" AND ")
        );
        let read = || {
            let mut statement = self.transaction.prepare_cached(&statement)?;
            statement.raw_bind_parameter(1, epoch.0)?;
            for (at, value) in key.iter().enumerate() {
                statement.raw_bind_parameter(at + 2, cells::stored(*value)?)?;
            }
            let mut rows = statement.raw_query();
            rows.next()?.map(|row| self.read_row(query, row)).transpose()
        };
        read().map_err(self.failed())
    }

    fn sums(&self, query: &StoredQuery, epoch: Epoch) -> Result<EpochSums, StoreError> {
        let sum = |column: &StoredColumn| match column.column_type {
            ColumnType::Count => format!("coalesce(sum({}), 0)", column.name),
            _ => "0".to_owned(),
        };
        let mut terms = vec!["count(*)".to_owned()];
        terms.extend(query.values.iter().map(sum));
        let table = schema::table(query);
        let statement = format!("SELECT {} FROM {table} WHERE epoch = ?1", terms.join(", "));
        let read = || {
            let mut statement = self.transaction.prepare_cached(&statement)?;
            statement.query_row([epoch.0], |row| {
                let sum = |at| row.get::<_, i64>(at).map(i64::unsigned_abs);
                let values = (1..terms.len()).map(sum).collect::<rusqlite::Result<_>>()?;
                Ok(EpochSums { rows: sum(0)?, values })
            })
        };
        let is_final = self.progress.final_through.contains(epoch);
        self.finals.of(query, epoch, is_final, || read().map_err(self.failed()))
    }

    fn ledger(&self) -> Result<Vec<LedgerRow>, StoreError> {
        self.view().ledger()
    }

    fn title(&self, video: VideoId) -> Result<Option<Title>, StoreError> {
        titles::find(&self.transaction, video).map_err(self.failed())
    }

    fn titles(
        &self,
        filter: &TitleFilter<'_>,
        page: Page,
        visitor: &mut TitleVisitor<'_>,
    ) -> Result<u64, StoreError> {
        titles::visit(&self.transaction, filter, page, visitor).map_err(self.failed())
    }

    fn genres(&self) -> Result<Vec<String>, StoreError> {
        titles::genres(&self.transaction).map_err(self.failed())
    }

    fn title_sources(&self) -> Result<Vec<TitleSource>, StoreError> {
        titles::sources(&self.transaction).map_err(self.failed())
    }

    fn completeness(&self) -> Result<Vec<Completeness>, StoreError> {
        self.view().completeness()
    }
}
