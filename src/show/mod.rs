//! Prints the rows of a store: as a table for people, as CSV or JSON for programs.
//!
//! CSV and JSON Lines are streamed, so that a store may be of any size. A table is for reading, so
//! that it ends after [`TABLE_ROWS_MAX`] rows and says how to see the others.

mod table;
#[cfg(test)]
mod tests;

pub use table::latest_epochs_table;

use crate::event::VideoId;
use crate::query::ColumnType;
use crate::stores::StoreError;
use crate::stores::sqlite::schema::{DISTINCT, TRENDS, view_columns};
use crate::stores::sqlite::{Order, ScannedRow, Selection, SqliteReader, StoredQuery, Value};
use crate::time::{Definition, Epoch};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

/// The most rows of a table.
pub const TABLE_ROWS_MAX: usize = 1_000;

/// What to print of which store.
#[derive(clap::Args, Clone, Debug)]
pub struct ShowArguments {
    /// The store, as given to `run`; a run may be writing it
    #[arg(long, value_name = "FILE")]
    pub store: PathBuf,
    /// The query whose rows are printed
    #[arg(long, value_name = "NAME", default_value = TRENDS)]
    pub query: String,
    /// How they are printed; a table has 1,000 rows at most, csv and json have all
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Only this epoch: its number since 1970 as in the column `epoch` of csv and json, which is
    /// floor(time / epoch length)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub epoch: Option<i64>,
    /// Only this video
    #[arg(long, value_name = "ID")]
    pub video: Option<u64>,
    /// Only the first N videos of each epoch: those with the most plays, then impressions
    #[arg(long, value_name = "N")]
    pub top: Option<u64>,
    /// Only rows that changed after this publication (commit); see the column `publication`
    #[arg(long, value_name = "PUBLICATION")]
    pub since: Option<u64>,
}

/// A format of output.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A table, largest first; `*` marks epochs that may still change
    Table,
    /// Comma-separated values with a header, by epoch and id; `final` is 0 or 1
    Csv,
    /// JSON Lines: one object per row, by epoch and id
    Json,
}

/// Why rows cannot be printed.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store has no rows of the query.
    #[error("the store has no query `{name}`; it has {known}")]
    UnknownQuery {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The query has no videos to filter by.
    #[error("the query `{0}` has no column of videos; leave out --video")]
    NoVideos(String),
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
}

/// Prints the rows of a store. A reader that goes away (`show | head`) is no error.
///
/// # Errors
/// When the store is missing or has no such query, or the output cannot be written.
pub fn show(arguments: &ShowArguments, out: &mut impl Write) -> Result<(), ShowError> {
    let reader = SqliteReader::open(&arguments.store)?;
    let query = find(&reader, &arguments.query)?;
    let is_video = |column_type| column_type == ColumnType::Video;
    if arguments.video.is_some() && !query.columns().any(|column| is_video(column.column_type)) {
        return Err(ShowError::NoVideos(query.name.clone()));
    }
    let selection = Selection {
        epochs: arguments.epoch.map(|epoch| epoch..=epoch),
        video: arguments.video.map(VideoId),
        since: arguments.since,
        top: arguments.top,
    };
    let mut out = BufWriter::with_capacity(1 << 16, out);
    let written = match arguments.format {
        Format::Table => table::write(&reader, query, &selection, &mut out),
        Format::Csv => write_csv(&reader, query, &selection, &mut out),
        Format::Json => write_json(&reader, query, &selection, &mut out),
    };
    match written.and_then(|()| out.flush().map_err(ShowError::Output)) {
        Err(ShowError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => {
            // What is still in the buffer has no reader either.
            let (_, _) = out.into_parts();
            Ok(())
        }
        written => written,
    }
}

fn find<'a>(reader: &'a SqliteReader, name: &str) -> Result<&'a StoredQuery, ShowError> {
    reader.query(name).ok_or_else(|| {
        let names = reader.queries().iter().map(|query| query.name.as_str());
        let known: Vec<&str> = names.filter(|name| *name != DISTINCT).collect();
        ShowError::UnknownQuery { name: name.to_owned(), known: known.join(", ") }
    })
}

/// A row as a program reads it: by the names of the view.
struct Fields<'a> {
    row: &'a ScannedRow,
    names: &'a [&'a str],
    epoch_start: &'a str,
}

/// One field of a row.
enum Field<'a> {
    Value(Value),
    Epoch(i64),
    EpochStart(&'a str),
    Final(bool),
    Publication(u64),
}

impl<'a> Fields<'a> {
    /// The fields with their names, in the order of the view.
    fn iter(&self) -> impl Iterator<Item = (&'a str, Field<'a>)> + '_ {
        let mut values = self.row.values.iter();
        self.names.iter().enumerate().map(move |(position, name)| {
            let field = match (position, *name) {
                (1, _) => Field::Epoch(self.row.epoch.0),
                (2, _) => Field::EpochStart(self.epoch_start),
                (_, "final") => Field::Final(self.row.is_final),
                (_, "publication") => Field::Publication(self.row.publication),
                _ => match values.next() {
                    Some(value) => Field::Value(*value),
                    None => unreachable!("a view has the columns of its query"),
                },
            };
            (*name, field)
        })
    }
}

/// Calls `write` for the fields of every selected row, by epoch and key.
fn for_each(
    reader: &SqliteReader,
    query: &StoredQuery,
    selection: &Selection,
    mut write: impl FnMut(&Fields<'_>) -> io::Result<()>,
) -> Result<(), ShowError> {
    let names = view_columns(query);
    let mut start = EpochStart::new(*reader.definition());
    reader.scan(query, selection, Order::Key, |row| {
        let epoch_start = start.of(row.epoch);
        write(&Fields { row, names: &names, epoch_start }).map_err(ShowError::Output)?;
        Ok(ControlFlow::Continue(()))
    })
}

/// The start of an epoch as text, kept for the rows of the same epoch.
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

/// No field needs quotes: they are numbers, UUIDs, dates and names of kinds.
fn write_csv(
    reader: &SqliteReader,
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
    reader: &SqliteReader,
    query: &StoredQuery,
    selection: &Selection,
    out: &mut impl Write,
) -> Result<(), ShowError> {
    for_each(reader, query, selection, |fields| {
        for (position, (name, field)) in fields.iter().enumerate() {
            write!(out, "{}\"{name}\":", if position == 0 { '{' } else { ',' })?;
            match field {
                Field::Value(Value::Flag(flag)) => write!(out, "{flag}")?,
                Field::Value(value @ (Value::Request(_) | Value::Kind(_))) => {
                    write!(out, "\"{value}\"")?;
                }
                Field::Value(value) => write!(out, "{value}")?,
                Field::Epoch(epoch) => write!(out, "{epoch}")?,
                Field::EpochStart(start) => write!(out, "\"{start}\"")?,
                Field::Final(is_final) => write!(out, "{is_final}")?,
                Field::Publication(publication) => write!(out, "{publication}")?,
            }
        }
        out.write_all(b"}\n")
    })
}
