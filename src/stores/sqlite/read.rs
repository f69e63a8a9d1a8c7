//! Reads a store, while a job writes it or afterwards.

use super::cells::{self, Value};
use super::{open, progress, schema};
use crate::event::VideoId;
use crate::query::ColumnType;
use crate::stores::description::{Description, StoredColumn, StoredQuery};
use crate::stores::{Progress, StoreError};
use crate::time::{Definition, Epoch};
use rusqlite::types::Value as Parameter;
use rusqlite::{Connection, Statement, params_from_iter};
use std::ops::{ControlFlow, RangeInclusive};
use std::path::{Path, PathBuf};

/// A store that is only read.
#[derive(Debug)]
pub struct SqliteReader {
    connection: Connection,
    path: PathBuf,
    description: Description,
}

/// Which rows of a query are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Those of epochs in this range.
    pub epochs: Option<RangeInclusive<i64>>,
    /// Those that have this video in any column.
    pub video: Option<VideoId>,
    /// Those that changed in a later publication.
    pub since: Option<u64>,
    /// Of each epoch, this many with the largest values.
    pub top: Option<u64>,
}

/// The order of rows within an epoch; epochs come in their own order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By key: videos as unsigned numbers, requests as their UUIDs.
    Key,
    /// By values, largest first, then by key.
    Values,
}

/// A row of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScannedRow {
    /// Its epoch.
    pub epoch: Epoch,
    /// Whether it will never change again.
    pub is_final: bool,
    /// The publication in which it last changed.
    pub publication: u64,
    /// The values of the query's columns: the key, then the others.
    pub values: Vec<Value>,
}

impl SqliteReader {
    /// Opens a store. Nothing is made or changed, whatever is at the path.
    ///
    /// # Errors
    /// When there is no file, or it is no store.
    pub fn open(path: &Path) -> Result<SqliteReader, StoreError> {
        let (connection, description) = open::read(path)?;
        Ok(SqliteReader { connection, path: path.to_owned(), description })
    }

    /// The definition that the store was made for.
    pub fn definition(&self) -> &Definition {
        &self.description.definition
    }

    /// The queries that the store has rows of.
    pub fn queries(&self) -> &[StoredQuery] {
        &self.description.queries
    }

    /// A query by its name.
    pub fn query(&self, name: &str) -> Option<&StoredQuery> {
        self.queries().iter().find(|query| query.name == name)
    }

    /// What the store was made for.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// What the store reflects.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn progress(&self) -> Result<Progress, StoreError> {
        progress::read(&self.connection).map_err(self.explain())
    }

    /// How many publications were committed.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn publications(&self) -> Result<u64, StoreError> {
        self.connection
            .query_row("SELECT publications FROM job", [], |row| row.get::<_, i64>(0))
            .map(i64::unsigned_abs)
            .map_err(self.explain())
    }

    /// The last epoch that is final, if any; [`i64::MAX`] when the run has ended.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn final_through(&self) -> Result<Option<Epoch>, StoreError> {
        self.connection
            .query_row("SELECT final_through FROM job", [], |row| row.get::<_, Option<i64>>(0))
            .map(|epoch| epoch.map(Epoch))
            .map_err(self.explain())
    }

    /// The range of the latest epochs that have rows of a query, at most so many.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn latest_epochs(
        &self,
        query: &StoredQuery,
        epochs: usize,
    ) -> Result<Option<RangeInclusive<i64>>, StoreError> {
        let table = schema::table(query);
        let statement = format!(
            "SELECT min(epoch), max(epoch) FROM (SELECT epoch FROM epochs WHERE EXISTS (SELECT 1 \
             FROM {table} WHERE {table}.epoch = epochs.epoch) ORDER BY epoch DESC LIMIT ?1)"
        );
        let limit = i64::try_from(epochs).unwrap_or(i64::MAX);
        self.connection
            .query_row(&statement, [limit], |row| {
                let (first, last): (Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?);
                Ok(first.zip(last).map(|(first, last)| first..=last))
            })
            .map_err(self.explain())
    }

    /// Calls `each` for the selected rows, one after the other, until it answers
    /// [`ControlFlow::Break`]. All of them are of one publication. Rows are not collected; only
    /// those of one epoch are sorted at a time, on the disk if they are many.
    ///
    /// While this goes on the job's commits go into the WAL and stay there, so that `each` should
    /// not wait for a person.
    ///
    /// # Errors
    /// When the database cannot be read, and those of `each`.
    pub fn scan<E: From<StoreError>>(
        &self,
        query: &StoredQuery,
        selection: &Selection,
        order: Order,
        mut each: impl FnMut(&ScannedRow) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let explain = self.explain();
        let snapshot = self.connection.unchecked_transaction().map_err(&explain)?;
        let scan = Scan::new(query, selection);
        let mut rows = snapshot.prepare(&scan.rows(order)).map_err(&explain)?;
        for (epoch, is_final) in scan.epochs(&snapshot).map_err(&explain)? {
            let mut rows = scan.run(&mut rows, epoch).map_err(&explain)?;
            while let Some(row) = rows.next().map_err(&explain)? {
                let row = read_row(query, row, epoch, is_final).map_err(&explain)?;
                if each(&row)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// How many rows are selected.
    ///
    /// # Errors
    /// When the database cannot be read.
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
        count().map(i64::unsigned_abs).map_err(self.explain())
    }

    fn explain(&self) -> impl Fn(rusqlite::Error) -> StoreError + '_ {
        open::explain(&self.path, "read")
    }
}

/// The statements for a selection, which are run once for each epoch.
struct Scan<'a> {
    query: &'a StoredQuery,
    selection: &'a Selection,
    conditions: String,
    /// The parameters of the conditions, after the epoch's.
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
            parameters.push(Parameter::Integer(i64::try_from(since).unwrap_or(i64::MAX)));
            conditions += &format!(" AND publication > ?{}", parameters.len() + 1);
        }
        Scan { query, selection, conditions, parameters }
    }

    /// The epochs that can have such rows, and whether they are final.
    fn epochs(&self, connection: &Connection) -> rusqlite::Result<Vec<(i64, bool)>> {
        let range = self.selection.epochs.clone().unwrap_or(i64::MIN..=i64::MAX);
        // The first publication is number 1.
        let since = i64::try_from(self.selection.since.unwrap_or(0)).unwrap_or(i64::MAX);
        let mut statement = connection.prepare(
            "SELECT epoch, final FROM epochs WHERE epoch BETWEEN ?1 AND ?2 AND publication > ?3 \
             ORDER BY epoch",
        )?;
        let parameters = [*range.start(), *range.end(), since];
        statement.query_map(parameters, |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    }

    fn rows(&self, order: Order) -> String {
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
            (None, Order::Key) => format!("{all} ORDER BY {by_key}"),
            (None, Order::Values) => format!("{all} ORDER BY {by_values}"),
            (Some(top), Order::Values) => format!("{all} ORDER BY {by_values} LIMIT {top}"),
            (Some(top), Order::Key) => {
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
        epoch: i64,
    ) -> rusqlite::Result<rusqlite::Rows<'s>> {
        let epoch = Parameter::Integer(epoch);
        statement.query(params_from_iter([&epoch].into_iter().chain(&self.parameters)))
    }
}

fn read_row(
    query: &StoredQuery,
    row: &rusqlite::Row<'_>,
    epoch: i64,
    is_final: bool,
) -> rusqlite::Result<ScannedRow> {
    let mut values = Vec::with_capacity(query.columns().count());
    for (position, column) in query.columns().enumerate() {
        values.push(cells::value(column.column_type, row.get_ref(position)?)?);
    }
    let publication = row.get::<_, i64>(values.len())?.unsigned_abs();
    Ok(ScannedRow { epoch: Epoch(epoch), is_final, publication, values })
}
