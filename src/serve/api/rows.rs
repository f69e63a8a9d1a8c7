//! `/api/v1/queries/{name}/rows`: the rows of a query.

use super::{Answer, Asked, LIMIT, OFFSET, epoch, order, page};
use crate::event::VideoId;
use crate::query::{Role, Value};
use crate::serve::error::ApiError;
use crate::serve::extras::Titles;
use crate::serve::parameters::{Form, Parameter};
use crate::serve::table::{Cell, Heading, Table};
use crate::stores::description::{Description, StoredQuery};
use crate::stores::snapshot::RowFilter;
use crate::stores::sqlite::schema::view_columns;
use crate::stores::{Snapshot, StoredRow};
use crate::time::{Definition, EpochRange, rfc3339};
use crate::titles::Title;
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

/// The columns of titles, which the rows of a video end with here, as in its view.
pub const TITLE_COLUMNS: [&str; 3] = ["title", "genre", "launched_at"];

/// The video of a row, if its query is of one.
fn video_of(query: &StoredQuery, stored: &StoredRow) -> Option<VideoId> {
    match query.values_of(&stored.row).next() {
        Some(Value::Video(video)) if has_title(query) => Some(video),
        _ => None,
    }
}

fn has_title(query: &StoredQuery) -> bool {
    query.key.first().is_some_and(|key| key.name == "video_id")
}

/// The cells of a title, or of none.
fn title_cells(title: Option<&Title>) -> [Cell; 3] {
    let launched_at = title.and_then(|title| title.launched_at_ms).map(rfc3339);
    [
        Cell::text(title.map(|title| title.title.clone())),
        Cell::text(title.and_then(|title| title.genre.clone())),
        Cell::text(launched_at),
    ]
}

/// An empty table for rows of a query, with the titles of their videos.
fn titled_table(query: &StoredQuery) -> Table {
    let titles = TITLE_COLUMNS.into_iter().filter(|_| has_title(query));
    let heading = |name: &str| Heading { name: name.to_owned(), is_nested: false };
    Table::new(columns(query).into_iter().chain(titles).map(heading).collect())
}

/// An empty table for rows of a query.
pub fn table(query: &StoredQuery) -> Table {
    let heading = |name: &str| Heading { name: name.to_owned(), is_nested: false };
    Table::new(columns(query).into_iter().map(heading).collect())
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
    let mut table = titled_table(query);
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
    let titles = Titles::of(*snapshot)?;
    let total = snapshot.page(query, &filter, sort, page(given), &mut |stored| {
        let mut cells = cells(definition, query, stored);
        if let Some(video) = video_of(query, stored) {
            cells.extend(title_cells(titles.find(video)));
        }
        table.push(cells);
        ControlFlow::Continue(())
    })?;
    Ok(Answer { total, ..Answer::all(table) })
}
