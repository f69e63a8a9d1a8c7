//! Prints the rows of a store: as a table for people, as CSV or JSON for programs.
//!
//! CSV and JSON Lines are streamed, so a store may have any size. A table ends after
//! [`TABLE_ROWS_MAX`] rows and says how to see the others.

mod arrived;
mod table;
#[cfg(test)]
mod tests;

pub use table::latest_epochs_table;

use super::run::RunError;
use super::store;
use crate::arguments::{RowsFormat, ShowArguments};
use crate::event::VideoId;
use crate::query::{Role, Value};
use crate::stores::description::StoredQuery;
use crate::stores::sqlite::schema::view_columns;
use crate::stores::{RowOrder, Selection, StoreError, StoreReader, StoredRow};
use crate::time::{Definition, Epoch, EpochRange, Publication};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::ops::ControlFlow;

/// The maximum number of rows of a table.
pub const TABLE_ROWS_MAX: usize = 1_000;

/// Why rows cannot be printed.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] RunError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store has no such query.
    #[error("the store has no query `{name}`; it has {known}")]
    UnknownQuery {
        /// The requested query.
        name: String,
        /// The queries in the store.
        known: String,
    },
    /// The query has no video column to filter by.
    #[error("the query `{0}` has no video column; leave out --video")]
    NoVideos(String),
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
}

/// Prints the rows of a store. A closed pipe (`show | head`) is not an error.
///
/// # Errors
/// When the store is missing or has no such query, or the output cannot be written.
pub fn show(arguments: &ShowArguments, out: &mut impl Write) -> Result<(), ShowError> {
    let reader = store::open(&arguments.store)?.reader;
    let reader = reader.as_ref();
    let query = find(reader, arguments.query.as_deref())?;
    if arguments.video.is_some() && !query.has_videos() {
        return Err(ShowError::NoVideos(query.name.clone()));
    }
    let selection = Selection {
        epochs: arguments.epoch.map(|epoch| EpochRange::only(Epoch(epoch))),
        video: arguments.video.map(VideoId),
        since: arguments.since.map(Publication),
        top: arguments.top,
    };
    let mut out = BufWriter::with_capacity(1 << 16, out);
    let written = match arguments.format {
        RowsFormat::Table => table::write(reader, query, &selection, &mut out),
        RowsFormat::Csv => write_csv(reader, query, &selection, &mut out),
        RowsFormat::Json => write_json(reader, query, &selection, &mut out),
    };
    match written.and_then(|()| out.flush().map_err(ShowError::Output)) {
        Err(ShowError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => {
            // Drops the buffer without flushing it.
            let (_, _) = out.into_parts();
            Ok(())
        }
        written => written,
    }
}

/// Finds a query by its name, or the query of the main table without a name.
fn find<'a>(reader: &'a dyn StoreReader, name: Option<&str>) -> Result<&'a StoredQuery, ShowError> {
    let description = reader.description();
    let main = || description.with_role(Role::Main).map(|(_, query)| query).next();
    let found = match name {
        Some(name) => description.table(name),
        None => main().or_else(|| description.tables().next()),
    };
    found.ok_or_else(|| {
        let known: Vec<&str> = description.tables().map(|query| query.name.as_str()).collect();
        let name = name.unwrap_or_default().to_owned();
        ShowError::UnknownQuery { name, known: known.join(", ") }
    })
}

/// A row for CSV and JSON, with the column names of the view.
struct Fields<'a> {
    query: &'a StoredQuery,
    stored: &'a StoredRow,
    names: &'a [&'a str],
    epoch_start: &'a str,
}

/// One field of a row.
enum Field<'a> {
    Value(Value),
    Epoch(Epoch),
    EpochStart(&'a str),
    Final(bool),
    Publication(Publication),
}

impl<'a> Fields<'a> {
    /// The fields with their names, in the order of the view.
    fn iter(&self) -> impl Iterator<Item = (&'a str, Field<'a>)> + '_ {
        let mut values = self.query.values_of(&self.stored.row);
        self.names.iter().enumerate().map(move |(position, name)| {
            let field = match (position, *name) {
                (1, _) => Field::Epoch(self.stored.row.epoch),
                (2, _) => Field::EpochStart(self.epoch_start),
                (_, "final") => Field::Final(self.stored.is_final),
                (_, "publication") => Field::Publication(self.stored.publication),
                _ => match values.next() {
                    Some(value) => Field::Value(value),
                    None => unreachable!("a view has the columns of its query"),
                },
            };
            (*name, field)
        })
    }
}

/// Calls `write` for the fields of every selected row, in order of epoch and key.
fn for_each(
    reader: &dyn StoreReader,
    query: &StoredQuery,
    selection: &Selection,
    mut write: impl FnMut(&Fields<'_>) -> io::Result<()>,
) -> Result<(), ShowError> {
    let names = view_columns(query);
    let mut start = EpochStart::new(reader.description().definition);
    let mut written = Ok(());
    reader.visit(query, selection, RowOrder::Key, &mut |stored| {
        let epoch_start = start.of(stored.row.epoch);
        written = write(&Fields { query, stored, names: &names, epoch_start });
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    written.map_err(ShowError::Output)
}

/// The start of the latest epoch as text, cached for the next rows of that epoch.
struct EpochStart {
    definition: Definition,
    latest: Option<(Epoch, String)>,
}

impl EpochStart {
    fn new(definition: Definition) -> EpochStart {
        EpochStart { definition, latest: None }
    }

    fn of(&mut self, epoch: Epoch) -> &str {
        let latest = self.latest.take().filter(|(latest, _)| *latest == epoch);
        let definition = self.definition;
        &self.latest.insert(latest.unwrap_or_else(|| (epoch, definition.start_rfc3339(epoch)))).1
    }
}

/// Writes CSV. No field needs quotes: all are numbers, UUIDs, dates or names of kinds.
fn write_csv(
    reader: &dyn StoreReader,
    query: &StoredQuery,
    selection: &Selection,
    out: &mut impl Write,
) -> Result<(), ShowError> {
    writeln!(out, "{}", view_columns(query).join(",")).map_err(ShowError::Output)?;
    for_each(reader, query, selection, |fields| {
        for (position, (_, field)) in fields.iter().enumerate() {
            out.write_all(if position == 0 { b"" } else { b"," })?;
            match field {
                Field::Value(value) => write!(out, "{value}")?,
                Field::Epoch(epoch) => write!(out, "{epoch}")?,
                Field::EpochStart(start) => write!(out, "{start}")?,
                Field::Final(is_final) => write!(out, "{}", u8::from(is_final))?,
                Field::Publication(publication) => write!(out, "{publication}")?,
            }
        }
        out.write_all(b"\n")
    })
}

fn write_json(
    reader: &dyn StoreReader,
    query: &StoredQuery,
    selection: &Selection,
    out: &mut impl Write,
) -> Result<(), ShowError> {
    let mut json = Vec::new();
    for_each(reader, query, selection, |fields| {
        json.clear();
        for (position, (name, field)) in fields.iter().enumerate() {
            write!(json, "{}\"{name}\":", if position == 0 { '{' } else { ',' })?;
            match field {
                Field::Value(value) => value.write_json(&mut json),
                Field::Epoch(epoch) => write!(json, "{epoch}")?,
                Field::EpochStart(start) => write!(json, "\"{start}\"")?,
                Field::Final(is_final) => write!(json, "{is_final}")?,
                Field::Publication(publication) => write!(json, "{publication}")?,
            }
        }
        json.extend_from_slice(b"}\n");
        out.write_all(&json)
    })
}
