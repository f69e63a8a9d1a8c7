//! `/api/v1/membership`: whether a request is in the sets of a video and an epoch.

use super::{Answer, Asked, main_table, value};
use crate::event::{RequestId, VideoId};
use crate::query::{ColumnType, SETS, Value};
use crate::serve::error::ApiError;
use crate::serve::parameters::{Form, Parameter};
use crate::serve::table::Table;
use crate::sets::{SetFile, members};
use crate::stores::Snapshot;
use crate::stores::description::{StoredColumn, StoredQuery};
use crate::stores::snapshot::{Page, RowFilter, Sort, SortBy};
use crate::time::{Epoch, EpochRange};
use serde_json::json;
use std::ops::ControlFlow;

/// The parameters.
pub static PARAMETERS: &[Parameter] = &[
    Parameter::required("video_id", Form::Video, "the video"),
    Parameter::required("epoch", Form::Epoch, "the epoch of the impression"),
    Parameter::required("request_id", Form::Request, "the request id, as in the logs"),
];

/// The schema of the object `member`.
pub fn schema() -> serde_json::Value {
    let flag = json!({"type": "boolean"});
    json!({"type": "object", "properties": {"shown": flag, "played": flag, "final": flag},
           "required": ["shown", "played", "final"]})
}

/// Answers.
///
/// # Errors
/// When the job keeps no sets, or they cannot be read.
pub fn answer(asked: &Asked<'_>) -> Result<Answer, ApiError> {
    let Asked { site, snapshot, given } = asked;
    let description = snapshot.description();
    let requests = description.table("requests").filter(|query| snapshot.has_rows_of(query));
    let files = description.table(SETS).zip(site.job.sets.as_ref());
    if requests.is_none() && files.is_none() {
        return Err(ApiError::not_found(
            "the job does not keep which requests are in its sets: start it with `--sets DIR`, or \
             for small logs and a store in SQLite with `--query requests`; both need a new store",
        ));
    }
    let latest = match main_table(*snapshot) {
        Some(main) => snapshot.latest(main)?,
        None => None,
    };
    let given_epoch = given.epoch("epoch");
    let epoch = given_epoch.and_then(|one| one.resolve(&description.definition, latest));
    let video = given.video("video_id").unwrap_or_default();
    // An id that no log can have is in no set.
    let showing = epoch.zip(given.request("request_id"));
    let played = match (showing, requests, files) {
        (None, ..) | (_, None, None) => None,
        (Some((epoch, request)), Some(query), _) => {
            in_rows(*snapshot, query, epoch, request, video)?
        }
        (Some((epoch, request)), None, Some((query, folder))) => {
            let files = files_of(asked, query, epoch)?;
            members::find(folder, &files, request, video).map_err(|error| {
                tracing::warn!("HTTP: {error}");
                let text = "a file of the sets cannot be read now: try again, and see the log";
                ApiError::unavailable(text)
            })?
        }
    };
    let is_final = epoch.is_some_and(|epoch| snapshot.progress().final_through.contains(epoch));
    let member = json!({
        "shown": played.is_some(),
        "played": played == Some(true),
        "final": is_final,
    });
    Ok(Answer { more: vec![("member", member)], ..Answer::all(Table::default()) })
}

/// Whether the request was played, by the rows of the query `requests`; `None` if it was not shown.
fn in_rows(
    snapshot: &dyn Snapshot,
    query: &StoredQuery,
    epoch: Epoch,
    request: RequestId,
    video: VideoId,
) -> Result<Option<bool>, ApiError> {
    let cell = |column: &StoredColumn| match column.column_type {
        ColumnType::Request => Value::Request(request),
        _ => Value::Video(video),
    };
    let key: Vec<Value> = query.key.iter().map(cell).collect();
    let Some(row) = snapshot.row(query, epoch, &key)? else { return Ok(None) };
    let is_set = |column| value(query, &row, column) == Some(Value::Flag(true));
    Ok(is_set("shown").then(|| is_set("played")))
}

/// The files of an epoch.
fn files_of(
    asked: &Asked<'_>,
    query: &StoredQuery,
    epoch: Epoch,
) -> Result<Vec<SetFile>, ApiError> {
    let filter = RowFilter::of(EpochRange::only(epoch));
    let sort = Sort { by: SortBy::Epoch, descending: false };
    let mut files = Vec::new();
    asked.snapshot.page(query, &filter, sort, Page::ALL, &mut |stored| {
        files.push(SetFile::of_row(&stored.row));
        ControlFlow::Continue(())
    })?;
    Ok(files)
}
