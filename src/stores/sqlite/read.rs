//! Reads a store, while a job writes it or afterwards.

use super::titles;
use super::{cells, completeness, open, progress, schema};
use crate::acceptance::LedgerRow;
use crate::completeness::{Completeness, StoredCurve};
use crate::query::{ColumnType, Row, Value};
use crate::stores::description::{Description, StoredColumn, StoredQuery};
use crate::stores::{
    Lease, Progress, RowOrder, RowVisitor, Selection, StoreError, StoreReader, StoredRow,
};
use crate::time::{Epoch, EpochRange, Publication};
use crate::titles::TitleTable;
use rusqlite::types::Value as Parameter;
use rusqlite::{Connection, Statement, params_from_iter};
use smallvec::SmallVec;
use std::path::{Path, PathBuf};

/// A store that is opened only for reading.
#[derive(Debug)]
pub struct SqliteReader {
    connection: Connection,
    path: PathBuf,
    description: Description,
}

impl SqliteReader {
    /// Opens a store. Nothing is created or changed at the path.
    ///
    /// # Errors
    /// When the file does not exist, or is not a store.
    pub fn open(path: &Path) -> Result<SqliteReader, StoreError> {
        let (connection, description) = open::read(path)?;
        Ok(SqliteReader { connection, path: path.to_owned(), description })
    }

    /// Returns the reader with another description of the same queries.
    pub(super) fn described_by(self, description: Description) -> SqliteReader {
        SqliteReader { description, ..self }
    }

    fn view(&self) -> View<'_> {
        View { connection: &self.connection, path: &self.path }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl StoreReader for SqliteReader {
    fn description(&self) -> &Description {
        &self.description
    }

    fn progress(&self) -> Result<Progress, StoreError> {
        self.view().progress()
    }

    fn lease(&self) -> Result<Option<Lease>, StoreError> {
        self.view().lease()
    }

    fn ledger(&self) -> Result<Vec<LedgerRow>, StoreError> {
        self.view().ledger()
    }

    fn titles(&self) -> Result<TitleTable, StoreError> {
        self.view().titles()
    }

    fn completeness(&self) -> Result<Vec<Completeness>, StoreError> {
        self.view().completeness()
    }

    fn curves(&self) -> Result<Vec<StoredCurve>, StoreError> {
        self.view().curves()
    }

    fn visit(
        &self,
        query: &StoredQuery,
        selection: &Selection,
        order: RowOrder,
        visitor: &mut RowVisitor<'_>,
    ) -> Result<(), StoreError> {
        self.view().visit(query, selection, order, visitor)
    }

    fn count(&self, query: &StoredQuery, selection: &Selection) -> Result<u64, StoreError> {
        self.view().count(query, selection)
    }

    fn latest_epochs(
        &self,
        query: &StoredQuery,
        epochs: usize,
    ) -> Result<Option<EpochRange>, StoreError> {
        self.view().latest_epochs(query, epochs)
    }
}

/// The read operations of a connection, shared by the reader and the writer.
pub(super) struct View<'a> {
    pub connection: &'a Connection,
    pub path: &'a Path,
}

impl View<'_> {
    pub fn progress(&self) -> Result<Progress, StoreError> {
        let read = || {
            let snapshot = self.connection.unchecked_transaction()?;
            progress::read(&snapshot)
        };
        read().map_err(self.to_store_error())
    }

    pub fn lease(&self) -> Result<Option<Lease>, StoreError> {
        progress::lease(self.connection).map_err(self.to_store_error())
    }

    pub fn ledger(&self) -> Result<Vec<LedgerRow>, StoreError> {
        progress::ledger(self.connection).map_err(self.to_store_error())
    }

    pub fn completeness(&self) -> Result<Vec<Completeness>, StoreError> {
        completeness::read(self.connection).map_err(self.to_store_error())
    }

    pub fn curves(&self) -> Result<Vec<StoredCurve>, StoreError> {
        completeness::curves(self.connection).map_err(self.to_store_error())
    }

    pub fn titles(&self) -> Result<TitleTable, StoreError> {
        // The titles and their sources are read one after the other.
        titles::read(self.connection).map_err(self.to_store_error())
    }

    pub fn latest_epochs(
        &self,
        query: &StoredQuery,
        epochs: usize,
    ) -> Result<Option<EpochRange>, StoreError> {
        let table = schema::table(query);
        let statement = format!(
            "SELECT min(epoch), max(epoch) FROM (SELECT epoch FROM epochs WHERE EXISTS (SELECT 1 \
             FROM {table} WHERE {table}.epoch = epochs.epoch) ORDER BY epoch DESC LIMIT ?1)"
        );
        let limit = i64::try_from(epochs).unwrap_or(i64::MAX);
        self.connection
            .query_row(&statement, [limit], |row| {
                let (first, last): (Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?);
                let range = first.zip(last);
                Ok(range.map(|(first, last)| EpochRange { first: Epoch(first), last: Epoch(last) }))
            })
            .map_err(self.to_store_error())
    }

    /// Rows are streamed. SQLite sorts one epoch at a time, on disk if it has many rows. Until this
    /// returns, the job's commits pile up in the WAL, so the visitor must not wait for user input.
    pub fn visit(
        &self,
        query: &StoredQuery,
        selection: &Selection,
        order: RowOrder,
        visitor: &mut RowVisitor<'_>,
    ) -> Result<(), StoreError> {
        let explain = self.to_store_error();
        let snapshot = self.connection.unchecked_transaction().map_err(&explain)?;
        let scan = Scan::new(query, selection);
        let mut rows = snapshot.prepare(&scan.rows(order)).map_err(&explain)?;
        for (epoch, is_final) in scan.epochs(&snapshot).map_err(&explain)? {
            let mut rows = scan.run(&mut rows, epoch).map_err(&explain)?;
            while let Some(row) = rows.next().map_err(&explain)? {
                let row = read_row(query, row, epoch, is_final).map_err(&explain)?;
                if visitor(&row).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    pub fn count(&self, query: &StoredQuery, selection: &Selection) -> Result<u64, StoreError> {
        let scan = Scan::new(query, selection);
        let count = || -> rusqlite::Result<i64> {
            let snapshot = self.connection.unchecked_transaction()?;
            let mut rows = snapshot.prepare(&scan.count())?;
            let mut count = 0;
            for (epoch, _) in scan.epochs(&snapshot)? {
                if let Some(row) = scan.run(&mut rows, epoch)?.next()? {
                    count += row.get::<_, i64>(0)?;
                }
            }
            Ok(count)
        };
        count().map(i64::unsigned_abs).map_err(self.to_store_error())
    }

    fn to_store_error(&self) -> impl Fn(rusqlite::Error) -> StoreError + '_ {
        open::to_store_error(self.path, "read")
    }
}

/// The statements of a selection, which are run once per epoch.
struct Scan<'a> {
    query: &'a StoredQuery,
    selection: &'a Selection,
    conditions: String,
    /// The parameters of the conditions, from `?2` on; `?1` is the epoch.
    parameters: Vec<Parameter>,
}

impl<'a> Scan<'a> {
    fn new(query: &'a StoredQuery, selection: &'a Selection) -> Scan<'a> {
        let mut conditions = "epoch = ?1".to_owned();
        let mut parameters = Vec::new();
        if let Some(video) = selection.video {
            parameters.push(match cells::stored_video(video) {
                cells::Stored::Integer(integer) => Parameter::Integer(integer),
                _ => Parameter::Text(video.0.to_string()),
            });
            let is_video = |column: &&StoredColumn| column.column_type == ColumnType::Video;
            let videos = query.columns().filter(is_video);
            let any: Vec<String> = videos.map(|column| format!("{} = ?2", column.name)).collect();
            let any = if any.is_empty() { "?2 IS NULL".to_owned() } else { any.join(" OR ") };
            conditions += &format!(" AND ({any})");
        }
        if let Some(since) = selection.since {
            parameters.push(Parameter::Integer(number(since)));
            conditions += &format!(" AND publication > ?{}", parameters.len() + 1);
        }
        Scan { query, selection, conditions, parameters }
    }

    /// The epochs that may have selected rows, and whether they are final.
    fn epochs(&self, connection: &Connection) -> rusqlite::Result<Vec<(Epoch, bool)>> {
        let range = self.selection.epochs.unwrap_or(EpochRange::ALL);
        // Publications are numbered from 1, so 0 selects every epoch.
        let since = number(self.selection.since.unwrap_or_default());
        let mut statement = connection.prepare(
            "SELECT epoch, final FROM epochs WHERE epoch BETWEEN ?1 AND ?2 AND publication > ?3 \
             ORDER BY epoch",
        )?;
        let parameters = [range.first.0, range.last.0, since];
        statement.query_map(parameters, |row| Ok((Epoch(row.get(0)?), row.get(1)?)))?.collect()
    }

    fn rows(&self, order: RowOrder) -> String {
        let (table, conditions) = (schema::table(self.query), &self.conditions);
        let mut columns: Vec<&str> =
            self.query.columns().map(|column| column.name.as_str()).collect();
        columns.push("publication");
        let columns = columns.join(", ");
        let by_key = schema::key_order(self.query);
        let by_values = schema::value_order(self.query);
        let all = format!("SELECT {columns} FROM {table} WHERE {conditions}");
        let top = self.selection.top.map(|top| top.min(i64::MAX as u64));
        match (top, order) {
            (None, RowOrder::Key) => format!("{all} ORDER BY {by_key}"),
            (None, RowOrder::Values) => format!("{all} ORDER BY {by_values}"),
            (Some(top), RowOrder::Values) => format!("{all} ORDER BY {by_values} LIMIT {top}"),
            (Some(top), RowOrder::Key) => {
                format!("SELECT * FROM ({all} ORDER BY {by_values} LIMIT {top}) ORDER BY {by_key}")
            }
        }
    }

    fn count(&self) -> String {
        let (table, conditions) = (schema::table(self.query), &self.conditions);
        match self.selection.top.map(|top| top.min(i64::MAX as u64)) {
            None => format!("SELECT count(*) FROM {table} WHERE {conditions}"),
            Some(top) => format!(
                "SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {conditions} LIMIT {top})"
            ),
        }
    }

    fn run<'s>(
        &self,
        statement: &'s mut Statement<'_>,
        epoch: Epoch,
    ) -> rusqlite::Result<rusqlite::Rows<'s>> {
        let epoch = Parameter::Integer(epoch.0);
        statement.query(params_from_iter([&epoch].into_iter().chain(&self.parameters)))
    }
}

pub(super) fn number(publication: Publication) -> i64 {
    i64::try_from(publication.0).unwrap_or(i64::MAX)
}

fn read_row(
    query: &StoredQuery,
    row: &rusqlite::Row<'_>,
    epoch: Epoch,
    is_final: bool,
) -> rusqlite::Result<StoredRow> {
    let mut values: SmallVec<[Value; 4]> = SmallVec::new();
    for (position, column) in query.columns().enumerate() {
        values.push(cells::value(column.column_type, row.get_ref(position)?)?);
    }
    let publication = Publication(row.get::<_, i64>(values.len())?.unsigned_abs());
    let row: Row = query.row(epoch, &values);
    Ok(StoredRow { row, is_final, publication })
}
