//! `/api/v1/trending`: the videos that are played most beyond what is usual, in one epoch.

use super::titles;
use super::{Answer, Asked, cell, epoch, main_table, value};
use crate::event::VideoId;
use crate::query::Value;
use crate::serve::error::ApiError;
use crate::serve::fields::{self, Field, Holds};
use crate::serve::parameters::{Form, Given, Parameter};
use crate::serve::table::Cell;
use crate::stores::description::StoredQuery;
use crate::stores::snapshot::{Page, RowFilter, Sort, SortBy};
use crate::stores::{Snapshot, StoreError, StoredRow};
use crate::time::{Epoch, EpochRange};
use serde_json::json;
use std::ops::ControlFlow;

/// The number of epochs of a spark line.
const SPARK_EPOCHS: i64 = 24;

/// The parameters.
pub static PARAMETERS: &[Parameter] = &[
    Parameter::new("limit", Form::Count(0, 1_000, Some(20)), "the most rows"),
    Parameter::new("genre", Form::Text, "only videos of this genre"),
    Parameter::new("launched_since", Form::Time, "only videos that were launched then or later"),
    Parameter::new("epoch", Form::Epoch, "the epoch; without it the latest one with rows"),
    Parameter::new("direction", Form::Choice(&["rising", "falling"]), "by momentum, down or up"),
    Parameter::new(
        "min_impressions",
        Form::Count(0, i64::MAX as u64, None),
        "only videos with as many impressions in the epoch",
    ),
];

/// The fields of a row.
pub static FIELDS: &[Field] = &[
    Field::new("rank", Holds::Whole, "its place, from 1"),
    Field::new("video_id", Holds::Text, "the video"),
    Field::optional("title", Holds::Text, "its name"),
    Field::optional("genre", Holds::Text, "its genre"),
    Field::optional("launched_at", Holds::Time, "when it was launched"),
    Field::new("epoch", Holds::Whole, "the epoch"),
    Field::new("epoch_start", Holds::Time, "its first instant"),
    Field::new("final", Holds::Flag, "whether the row never changes again"),
    Field::new("plays", Holds::Whole, "request ids"),
    Field::optional("impressions", Holds::Whole, "request ids"),
    Field::new(
        "expected_plays",
        Holds::Whole,
        "what is usual for as many impressions, in thousandths",
    ),
    Field::new("score", Holds::Whole, "how far plays are from that, in thousandths of sigma"),
    Field::new("momentum", Holds::Whole, "the last scores together, in thousandths of sigma"),
    Field::optional("since", Holds::Whole, "the first epoch of the present rise"),
    Field::optional("since_start", Holds::Time, "its first instant"),
    Field::optional(
        "rate",
        Holds::Whole,
        "plays per impression, in millionths, if the job has take_rate",
    ),
    Field::optional("rate_low", Holds::Whole, "its lower 95 % bound"),
    Field::optional("rate_high", Holds::Whole, "its upper 95 % bound"),
    Field::new("spark", Holds::Nested(spark_schema), "the last 24 epochs that have rows"),
];

fn spark_schema() -> serde_json::Value {
    let properties =
        ["epoch", "plays", "impressions"].map(|name| (name, json!({"type": "integer"})));
    let properties: serde_json::Map<_, _> =
        properties.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
    json!({"type": "array", "items": {"type": "object", "properties": properties}})
}

/// The queries whose rows are joined.
struct Joined<'a> {
    snapshot: &'a dyn Snapshot,
    trending: &'a StoredQuery,
    main: Option<&'a StoredQuery>,
    take_rate: Option<&'a StoredQuery>,
}

/// The row of a video, if the job has the query.
pub(super) fn row_of<'a>(
    snapshot: &dyn Snapshot,
    query: Option<&'a StoredQuery>,
    epoch: Epoch,
    video: VideoId,
) -> Result<Option<(&'a StoredQuery, StoredRow)>, StoreError> {
    let Some(query) = query else { return Ok(None) };
    let row = snapshot.row(query, epoch, &[Value::Video(video)])?;
    Ok(row.map(|row| (query, row)))
}

/// The row as [`cell`] takes it.
pub(super) fn seen<'a>(
    row: &'a Option<(&'a StoredQuery, StoredRow)>,
) -> Option<(&'a StoredQuery, &'a StoredRow)> {
    row.as_ref().map(|(query, row)| (*query, row))
}

/// Answers.
///
/// # Errors
/// When the job does not have the query, or the store cannot be read.
pub fn answer(asked: &Asked<'_>) -> Result<Answer, ApiError> {
    let Asked { snapshot, given, .. } = asked;
    let description = snapshot.description();
    let Some(trending) = description.table("trending") else {
        let text = "the job does not have the query `trending`: start it with `--query trending`, \
                    which needs a new store";
        return Err(ApiError::not_found(text));
    };
    let joined = Joined {
        snapshot: *snapshot,
        trending,
        main: main_table(*snapshot),
        take_rate: description.table("take_rate"),
    };
    let mut table = fields::table(FIELDS);
    let epoch = match epoch(asked, trending)? {
        Some(epoch) => epoch,
        None => snapshot.latest(trending)?,
    };
    let Some(epoch) = epoch else { return Ok(Answer::all(table)) };
    let (found, total) = joined.found(given, epoch)?;
    for (number, stored) in found.iter().enumerate() {
        table.push(joined.cells(number as u64 + 1, stored)?);
    }
    Ok(Answer { total, ..Answer::all(table) })
}

impl Joined<'_> {
    /// The rows that are asked for, in their order, and the number of all.
    fn found(&self, given: &Given, epoch: Epoch) -> Result<(Vec<StoredRow>, u64), ApiError> {
        let limit = given.count("limit");
        let filters = ["genre", "launched_since", "min_impressions"];
        let is_filtered = filters.iter().any(|name| given.is_given(name));
        let page = if is_filtered { Page::ALL } else { Page { offset: 0, limit } };
        let position = self.trending.columns().position(|column| column.name == "momentum");
        let by = position.map_or(SortBy::Epoch, SortBy::Column);
        let sort = Sort { by, descending: given.text("direction") != Some("falling") };
        let filter = RowFilter::of(EpochRange::only(epoch));
        let (mut found, mut matching, mut failed) = (Vec::new(), 0, None);
        let all = self.snapshot.page(self.trending, &filter, sort, page, &mut |stored| {
            match self.matches(given, stored) {
                Ok(true) => {
                    matching += 1;
                    if matching <= limit {
                        found.push(stored.clone());
                    }
                }
                Ok(false) => {}
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        match failed {
            Some(error) => Err(error.into()),
            None => Ok((found, if is_filtered { matching } else { all })),
        }
    }

    fn video(&self, stored: &StoredRow) -> VideoId {
        match value(self.trending, stored, "video_id") {
            Some(Value::Video(video)) => video,
            _ => VideoId::default(),
        }
    }

    fn matches(&self, given: &Given, stored: &StoredRow) -> Result<bool, StoreError> {
        let video = self.video(stored);
        let genre = given.text("genre");
        let since_ms = given.time_ms("launched_since");
        if genre.is_some() || since_ms.is_some() {
            let Some(title) = self.snapshot.title(video)? else { return Ok(false) };
            let launched_ms = title.launched_at_ms;
            if genre.is_some() && title.genre.as_deref() != genre
                || since_ms.is_some_and(|since_ms| launched_ms.is_none_or(|at_ms| at_ms < since_ms))
            {
                return Ok(false);
            }
        }
        let Some(least) = given.count_if_given("min_impressions") else { return Ok(true) };
        let main = row_of(self.snapshot, self.main, stored.row.epoch, video)?;
        let impressions = main.and_then(|(query, row)| value(query, &row, "impressions"));
        Ok(matches!(impressions, Some(Value::Count(count)) if count >= least))
    }

    fn cells(&self, rank: u64, stored: &StoredRow) -> Result<Vec<Cell>, ApiError> {
        let definition = &self.snapshot.description().definition;
        let (video, epoch) = (self.video(stored), stored.row.epoch);
        let [title, genre, launched_at] = titles::cells(self.snapshot.title(video)?.as_ref());
        let main = row_of(self.snapshot, self.main, epoch, video)?;
        let rate = row_of(self.snapshot, self.take_rate, epoch, video)?;
        let own = |column| cell(Some((self.trending, stored)), column);
        let since_start = match value(self.trending, stored, "since") {
            Some(Value::Epoch(Some(since))) => Cell::Text(definition.start_rfc3339(since)),
            _ => Cell::Null,
        };
        Ok(vec![
            Cell::Count(rank),
            own("video_id"),
            title,
            genre,
            launched_at,
            Cell::Whole(epoch.0),
            Cell::Text(definition.start_rfc3339(epoch)),
            Cell::Flag(stored.is_final),
            own("plays"),
            cell(seen(&main), "impressions"),
            own("expected_plays"),
            own("score"),
            own("momentum"),
            own("since"),
            since_start,
            cell(seen(&rate), "rate"),
            cell(seen(&rate), "rate_low"),
            cell(seen(&rate), "rate_high"),
            self.spark(video, epoch)?,
        ])
    }

    /// The last epochs of a video, oldest first.
    fn spark(&self, video: VideoId, last: Epoch) -> Result<Cell, ApiError> {
        let mut points = Vec::new();
        for epoch in (EpochRange { first: last.plus(1 - SPARK_EPOCHS), last }).iter() {
            if let Some((query, row)) = row_of(self.snapshot, self.main, epoch, video)? {
                let count = |column| match value(query, &row, column) {
                    Some(Value::Count(count)) => count,
                    _ => 0,
                };
                points.push(json!({"epoch": epoch.0, "plays": count("plays"),
                                   "impressions": count("impressions")}));
            }
        }
        Ok(Cell::Nested(points.into()))
    }
}
