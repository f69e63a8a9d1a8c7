//! `/api/v1/videos/{video_id}`: the last epochs of a video.

use super::trending::{row_of, seen};
use super::{Answer, Asked, cell, main_table, titles};
use crate::event::VideoId;
use crate::serve::error::ApiError;
use crate::serve::fields::{self, Field, Holds};
use crate::serve::parameters::{Form, Parameter};
use crate::serve::table::Cell;
use crate::stores::Snapshot;
use crate::time::{Epoch, EpochRange};

/// The parameter in the path.
pub static IN_PATH: &[Parameter] = &[Parameter::required("video_id", Form::Video, "the video")];

/// The parameters.
pub static PARAMETERS: &[Parameter] = &[Parameter::new(
    "epochs",
    Form::Count(1, 2_000, Some(96)),
    "the number of epochs, up to the latest one of the store",
)];

/// The fields of a row.
pub static FIELDS: &[Field] = &[
    Field::new("epoch", Holds::Whole, "the epoch"),
    Field::new("epoch_start", Holds::Time, "its first instant"),
    Field::new("final", Holds::Flag, "whether the row never changes again"),
    Field::optional("impressions", Holds::Whole, "request ids"),
    Field::optional("plays", Holds::Whole, "request ids"),
    Field::optional("rate", Holds::Whole, "plays per impression, in millionths"),
    Field::optional("rate_low", Holds::Whole, "its lower 95 % bound"),
    Field::optional("rate_high", Holds::Whole, "its upper 95 % bound"),
    Field::optional(
        "expected_plays",
        Holds::Whole,
        "what is usual for as many impressions, in thousandths",
    ),
    Field::optional("score", Holds::Whole, "how far plays are from that, in thousandths of sigma"),
    Field::optional("momentum", Holds::Whole, "the last scores together, in thousandths of sigma"),
    Field::optional("since", Holds::Whole, "the first epoch of the present rise"),
];

/// Answers.
///
/// # Errors
/// When the store cannot be read.
pub fn answer(asked: &Asked<'_>) -> Result<Answer, ApiError> {
    let Asked { snapshot, given, .. } = asked;
    let video = given.video("video_id").unwrap_or_default();
    let mut table = fields::table(FIELDS);
    let main = main_table(*snapshot);
    let latest = main.map(|query| snapshot.latest(query)).transpose()?.flatten();
    if let Some(last) = latest {
        let epochs = i64::try_from(given.count("epochs")).unwrap_or(i64::MAX);
        for epoch in (EpochRange { first: last.plus(1 - epochs), last }).iter() {
            if let Some(cells) = cells(*snapshot, epoch, video)? {
                table.push(cells);
            }
        }
    }
    let title = snapshot.title(video)?.map(|title| titles::object(video, &title));
    Ok(Answer { more: vec![("title", title.into())], ..Answer::all(table) })
}

fn cells(
    snapshot: &dyn Snapshot,
    epoch: Epoch,
    video: VideoId,
) -> Result<Option<Vec<Cell>>, ApiError> {
    let description = snapshot.description();
    let main = row_of(snapshot, main_table(snapshot), epoch, video)?;
    let rate = row_of(snapshot, description.table("take_rate"), epoch, video)?;
    let trending = row_of(snapshot, description.table("trending"), epoch, video)?;
    if main.is_none() && rate.is_none() && trending.is_none() {
        return Ok(None);
    }
    let counts = if main.is_some() { seen(&main) } else { seen(&trending) };
    Ok(Some(vec![
        Cell::Whole(epoch.0),
        Cell::Text(description.definition.start_rfc3339(epoch)),
        Cell::Flag(snapshot.progress().final_through.contains(epoch)),
        cell(seen(&main), "impressions"),
        cell(counts, "plays"),
        cell(seen(&rate), "rate"),
        cell(seen(&rate), "rate_low"),
        cell(seen(&rate), "rate_high"),
        cell(seen(&trending), "expected_plays"),
        cell(seen(&trending), "score"),
        cell(seen(&trending), "momentum"),
        cell(seen(&trending), "since"),
    ]))
}
