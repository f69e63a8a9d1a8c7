//! `/api/v1/titles`: the names of videos.

use super::{Answer, Asked, LIMIT, OFFSET, page};
use crate::event::VideoId;
use crate::serve::error::ApiError;
use crate::serve::fields::{self, Field, Holds};
use crate::serve::parameters::{Form, Parameter};
use crate::serve::table::Cell;
use crate::stores::snapshot::{GENRES_MAX, TitleFilter};
use crate::time::rfc3339;
use crate::titles::Title;
use serde_json::{Value, json};

/// The parameters.
pub static PARAMETERS: &[Parameter] = &[
    Parameter::new("video_id", Form::Video, "only this video"),
    Parameter::new("genre", Form::Text, "only this genre"),
    Parameter::new("search", Form::Text, "only names with this text, in upper or lower case"),
    LIMIT,
    OFFSET,
];

/// The fields of a row.
pub static FIELDS: &[Field] = &[
    Field::new("video_id", Holds::Text, "the video"),
    Field::new("title", Holds::Text, "its name"),
    Field::optional("genre", Holds::Text, "its genre"),
    Field::optional("launched_at", Holds::Time, "when it was launched"),
];

/// The cells of a title, or of none: title, genre and launched_at.
pub fn cells(title: Option<&Title>) -> [Cell; 3] {
    [
        Cell::text(title.map(|title| title.title.as_str())),
        Cell::text(title.and_then(|title| title.genre.as_deref())),
        Cell::text(title.and_then(|title| title.launched_at_ms).map(rfc3339)),
    ]
}

/// A title as an object.
pub fn object(video: VideoId, title: &Title) -> Value {
    json!({
        "video_id": video.0.to_string(),
        "title": title.title,
        "genre": title.genre,
        "launched_at": title.launched_at_ms.map(rfc3339),
    })
}

/// The schema of a title as an object.
pub fn schema_of_one() -> Value {
    json!({"anyOf": [fields::schema(FIELDS), {"type": "null"}]})
}

/// The schema of the list of genres.
pub fn schema_of_genres() -> Value {
    json!({"type": "array", "items": {"type": "string"}, "maxItems": GENRES_MAX})
}

/// Answers.
///
/// # Errors
/// When the store cannot be read.
pub fn answer(asked: &Asked<'_>) -> Result<Answer, ApiError> {
    let Asked { snapshot, given, .. } = asked;
    let search = given.text("search").map(str::to_lowercase);
    let filter = TitleFilter {
        video: given.video("video_id"),
        genre: given.text("genre"),
        search: search.as_deref(),
    };
    let mut table = fields::table(FIELDS);
    let total = snapshot.titles(&filter, page(given), &mut |video, title| {
        let mut row = vec![Cell::Text(video.0.to_string())];
        row.extend(cells(Some(title)));
        table.push(row);
    })?;
    let more = vec![("genres", snapshot.genres()?.into())];
    Ok(Answer { total, more, ..Answer::all(table) })
}
