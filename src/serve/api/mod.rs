//! What each path answers: functions of a publication and of the parameters of a request.

pub mod epochs;
pub mod job;
pub mod ledger;
pub mod membership;
pub mod partitions;
pub mod queries;
pub mod rows;
pub mod titles;
pub mod trending;
pub mod videos;

use super::error::ApiError;
use super::parameters::{Form, Given, Parameter};
use super::site::Site;
use super::table::{Cell, Table};
use crate::query::{Role, Value};
use crate::stores::description::StoredQuery;
use crate::stores::snapshot::{Page, Sort, SortBy};
use crate::stores::{Snapshot, StoredRow};
use crate::time::Epoch;

/// What a handler is given.
pub struct Asked<'a> {
    /// What all requests share.
    pub site: &'a Site,
    /// The publication to answer with.
    pub snapshot: &'a dyn Snapshot,
    /// The parameters.
    pub given: &'a Given,
}

/// What a handler answers.
pub struct Answer {
    /// The rows.
    pub table: Table,
    /// The number of rows before they were cut to a page.
    pub total: u64,
    /// Other members of the object: names, and values in JSON.
    pub more: Vec<(&'static str, serde_json::Value)>,
}

impl Answer {
    /// An answer of rows only, all of them.
    pub fn all(table: Table) -> Answer {
        let total = table.rows().len() as u64;
        Answer { table, total, more: Vec::new() }
    }
}

/// The most rows of a page.
pub const LIMIT_MAX: u64 = 10_000;

/// The parameter of the most rows of an answer.
pub const LIMIT: Parameter =
    Parameter::new("limit", Form::Count(0, LIMIT_MAX, Some(100)), "the most rows");
/// The parameter of the number of rows that are left out before.
pub const OFFSET: Parameter = Parameter::new(
    "offset",
    Form::Count(0, i64::MAX as u64, Some(0)),
    "the number of rows to leave out before",
);

/// The page that is asked for.
pub fn page(given: &Given) -> Page {
    Page { offset: given.count("offset"), limit: given.count("limit") }
}

/// Cuts rows to the page that is asked for.
pub fn cut<T>(given: &Given, rows: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    let [offset, limit] = [given.count("offset"), given.count("limit")]
        .map(|number| usize::try_from(number).unwrap_or(usize::MAX));
    rows.into_iter().skip(offset).take(limit)
}

/// The main table, `trends`.
pub fn main_table(snapshot: &dyn Snapshot) -> Option<&StoredQuery> {
    snapshot.description().with_role(Role::Main).map(|(_, query)| query).next()
}

/// The value of a column of a row, by name.
pub fn value(query: &StoredQuery, stored: &StoredRow, column: &str) -> Option<Value> {
    let position = query.columns().position(|one| one.name == column)?;
    query.values_of(&stored.row).nth(position)
}

/// The cell of a column of a row, by name; nothing if there is no such row or column.
pub fn cell(row: Option<(&StoredQuery, &StoredRow)>, column: &str) -> Cell {
    row.and_then(|(query, stored)| value(query, stored, column)).map_or(Cell::Null, Cell::of)
}

/// Reads an order: the name of a column, with `-` in front for the largest first.
///
/// # Errors
/// When there is no such column.
pub fn order(given: &Given, query: &StoredQuery) -> Result<Sort, ApiError> {
    let Some(text) = given.text("order") else {
        return Ok(Sort { by: SortBy::Epoch, descending: false });
    };
    let (name, descending) = match text.strip_prefix('-') {
        Some(name) => (name, true),
        None => (text, false),
    };
    let by = match name {
        "epoch" | "epoch_start" => SortBy::Epoch,
        "final" => SortBy::Final,
        "publication" => SortBy::Publication,
        name => match query.columns().position(|column| column.name == name) {
            Some(position) => SortBy::Column(position),
            None => {
                let columns = rows::columns(query).join(", ");
                let allowed = format!("one of {columns}, with `-` in front for the largest first");
                return Err(given.parameter("order").refused(text, &allowed));
            }
        },
    };
    Ok(Sort { by, descending })
}

/// The epoch that is asked for, if one is: `None` inside if there is no latest one.
///
/// # Errors
/// When the store cannot be read.
pub fn epoch(asked: &Asked<'_>, query: &StoredQuery) -> Result<Option<Option<Epoch>>, ApiError> {
    let Some(given) = asked.given.epoch("epoch") else { return Ok(None) };
    let definition = &asked.snapshot.description().definition;
    Ok(Some(given.resolve(definition, asked.snapshot.latest(query)?)))
}
