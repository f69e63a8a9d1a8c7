//! `/api/v1/queries/{name}/rows`: the rows of a query.

use super::titles;
use super::{Answer, Asked, LIMIT, OFFSET, epoch, order, page};
use crate::query::{Role, Value};
use crate::serve::error::ApiError;
use crate::serve::parameters::{Form, Parameter};
use crate::serve::table::{Cell, Heading, Table};
use crate::stores::description::{Description, StoredQuery};
use crate::stores::snapshot::RowFilter;
use crate::stores::sqlite::schema::{TITLE_COLUMNS, view_columns};
use crate::stores::{Snapshot, StoreError, StoredRow};
use crate::time::{Definition, EpochRange};
use std::ops::ControlFlow;

/// The parameter in the path.
pub static IN_PATH: &[Parameter] =
    &[Parameter::required("name", Form::Text, "the name of a query of the job")];

/// The parameters.
pub static PARAMETERS: &[Parameter] = &[
    Parameter::new("epoch", Form::Epoch, "only rows of this epoch"),
    Parameter::new("video_id", Form::Video, "only rows with this video in any column"),
    Parameter::new("order", Form::Order, "the order of the rows: by epoch and key without it"),
    LIMIT,
    OFFSET,
    Parameter::new("since", Form::Publication, "only rows that changed in a later publication"),
];

/// The names of the columns of a query's rows: those of its view in an SQLite store, and in any
/// case the publication.
pub fn columns(query: &StoredQuery) -> Vec<&str> {
    let mut columns = view_columns(query);
    if query.role == Role::Main {
        columns.push("publication");
    }
    columns
}

/// An empty table for rows of a query.
pub fn table(query: &StoredQuery) -> Table {
    table_with(query, &[])
}

/// An empty table for rows of a query, with further columns.
fn table_with(query: &StoredQuery, further: &[&str]) -> Table {
    let heading = |name: &str| Heading { name: name.to_owned(), is_nested: false };
    let names = columns(query).into_iter().chain(further.iter().copied());
    Table::new(names.map(heading).collect())
}

/// The cells of the title of the video that a row is of. Such rows end with them here, as in their
/// view.
fn title_cells(
    snapshot: &dyn Snapshot,
    query: &StoredQuery,
    stored: &StoredRow,
) -> Result<Vec<Cell>, StoreError> {
    match query.values_of(&stored.row).next().filter(|_| query.is_of_video()) {
        Some(Value::Video(video)) => Ok(titles::cells(snapshot.title(video)?.as_ref()).into()),
        _ => Ok(Vec::new()),
    }
}

/// The cells of a row of a query.
pub fn cells(definition: &Definition, query: &StoredQuery, stored: &StoredRow) -> Vec<Cell> {
    let mut cells: Vec<Cell> = query.values_of(&stored.row).map(Cell::of).collect();
    let epoch = stored.row.epoch;
    cells.splice(1..1, [Cell::Whole(epoch.0), Cell::Text(definition.start_rfc3339(epoch))]);
    cells.push(Cell::Flag(stored.is_final));
    cells.push(Cell::Count(stored.publication.0));
    cells
}

/// Finds a query of the job.
///
/// # Errors
/// When there is none with this name.
pub fn find<'a>(description: &'a Description, name: &str) -> Result<&'a StoredQuery, ApiError> {
    description.table(name).ok_or_else(|| {
        let known: Vec<&str> = description.tables().map(|query| query.name.as_str()).collect();
        ApiError::not_found(format!("the job has no query `{name}`: it has {}", known.join(", ")))
    })
}

/// Refuses a query whose rows a snapshot does not have.
fn require(snapshot: &dyn Snapshot, query: &StoredQuery) -> Result<(), ApiError> {
    if snapshot.has_rows_of(query) {
        return Ok(());
    }
    Err(ApiError::not_found(format!(
        "the rows of `{}` are not kept here, as the store is in Kafka: read its topic",
        query.name
    )))
}

/// Answers.
///
/// # Errors
/// When there is no such query or column, or the store cannot be read.
pub fn answer(asked: &Asked<'_>) -> Result<Answer, ApiError> {
    let Asked { snapshot, given, .. } = asked;
    let query = find(snapshot.description(), given.text("name").unwrap_or_default())?;
    require(*snapshot, query)?;
    let further: &[&str] = if query.is_of_video() { &TITLE_COLUMNS } else { &[] };
    let mut table = table_with(query, further);
    let sort = order(given, query)?;
    let epochs = match epoch(asked, query)? {
        None => EpochRange::ALL,
        Some(Some(epoch)) => EpochRange::only(epoch),
        Some(None) => return Ok(Answer::all(table)),
    };
    let video = given.video("video_id");
    if video.is_some() && !query.has_videos() {
        let text = format!("the query `{}` has no video column: leave out `video_id`", query.name);
        return Err(ApiError::bad(text));
    }
    let filter = RowFilter { epochs, video, since: given.publication("since") };
    let definition = &snapshot.description().definition;
    let mut failed = None;
    let total =
        snapshot.page(query, &filter, sort, page(given), &mut |stored| match title_cells(
            *snapshot, query, stored,
        ) {
            Ok(title) => {
                table.push([cells(definition, query, stored), title].concat());
                ControlFlow::Continue(())
            }
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })?;
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(Answer { total, ..Answer::all(table) }),
    }
}
