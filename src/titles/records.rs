//! The records of titles, of files and of topics alike.
//!
//! A record has `video_id` and `title`, and may have `genre` and `launched_at` (a time or a date in
//! RFC 3339, or milliseconds). Of several records of a video the last one counts, and one whose
//! title is null takes the title back. Fields with other names are ignored.

use super::{TEXT_BYTES_MAX, TITLES_MAX, Title, TitleSource};
use crate::decode::value::{FieldValue, to_time_ms, to_video_id};
use crate::event::VideoId;
use serde_json::Value;
use std::collections::BTreeMap;

/// The titles of a file, or of a partition of a topic.
pub type Titles = BTreeMap<VideoId, Title>;

/// A video, and its title if it has one.
pub(super) type Record = (VideoId, Option<Title>);

/// A file, or a partition of a topic, as far as it is read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Its titles.
    pub titles: Titles,
    /// What was read.
    pub source: TitleSource,
}

impl Reading {
    /// Nothing is read yet of this place.
    pub(super) fn new(place: String) -> Reading {
        Reading { titles: Titles::new(), source: TitleSource { place, ..TitleSource::default() } }
    }

    /// Adds a record, which is at a place such as `line 7`.
    pub(super) fn add(&mut self, at: impl FnOnce() -> String, record: Result<Record, String>) {
        let fits = |titles: &Titles, video| titles.len() < TITLES_MAX || titles.contains_key(video);
        let problem = match record {
            Ok((video, Some(title))) if fits(&self.titles, &video) => {
                self.titles.insert(video, title);
                None
            }
            Ok((_, Some(_))) => Some(format!("there are more than {TITLES_MAX} titles")),
            Ok((video, None)) => {
                self.titles.remove(&video);
                None
            }
            Err(problem) => Some(problem),
        };
        match problem {
            None => self.source.titles += 1,
            Some(problem) => {
                self.source.malformed += 1;
                self.source.first_malformed.get_or_insert_with(|| format!("{}: {problem}", at()));
            }
        }
    }
}

/// Why a line is not JSON, without the number of the line, which is always 1.
pub(super) fn not_json(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or_default();
    format!("not JSON: {reason} at column {}", error.column())
}

pub(super) fn of_json(record: &Value) -> Result<Record, String> {
    let Value::Object(fields) = record else { return Err("not a JSON object".into()) };
    let video = match fields.get("video_id") {
        Some(Value::Number(number)) => {
            VideoId(number.as_u64().ok_or("`video_id` is not an unsigned 64-bit integer")?)
        }
        Some(Value::String(text)) => video_of_text(text)?,
        _ => return Err("missing `video_id`, a number or a string of digits".into()),
    };
    let title = match fields.get("title") {
        Some(Value::String(title)) => title,
        Some(Value::Null) => return Ok((video, None)),
        _ => return Err("missing `title`, a string, or null to take it back".into()),
    };
    let genre = match fields.get("genre") {
        Some(Value::String(genre)) if !genre.is_empty() => Some(genre.as_str()),
        None | Some(Value::Null | Value::String(_)) => None,
        _ => return Err("`genre` is not a string".into()),
    };
    let launched_at_ms = match fields.get("launched_at") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(Value::String(text)) => Some(time_of_text(text)?),
        Some(Value::Number(number)) => {
            let time_ms = number.as_i64().ok_or("`launched_at` is not in milliseconds")?;
            Some(time_of(FieldValue::integer(time_ms))?)
        }
        _ => return Err("`launched_at` is neither a time nor milliseconds".into()),
    };
    of_parts(video, title, genre, launched_at_ms)
}

pub(super) fn of_parts(
    video: VideoId,
    title: &str,
    genre: Option<&str>,
    launched_at_ms: Option<i64>,
) -> Result<Record, String> {
    if title.trim().is_empty() {
        return Err("`title` is empty".into());
    }
    for (field, text) in [("title", Some(title)), ("genre", genre)] {
        if text.is_some_and(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(format!("`{field}` is longer than {TEXT_BYTES_MAX} bytes"));
        }
    }
    let (title, genre) = (title.to_owned(), genre.map(str::to_owned));
    Ok((video, Some(Title { title, genre, launched_at_ms })))
}

pub(super) fn video_of_text(text: &str) -> Result<VideoId, String> {
    to_video_id("video_id", FieldValue::Text(text)).map_err(|error| error.to_string())
}

/// A date is its midnight, in UTC.
pub(super) fn time_of_text(text: &str) -> Result<i64, String> {
    let is_date = text.len() == "2026-01-01".len() && text.contains('-');
    let midnight = is_date.then(|| format!("{text}T00:00:00Z"));
    time_of(FieldValue::Text(midnight.as_deref().unwrap_or(text)))
}

fn time_of(value: FieldValue<'_>) -> Result<i64, String> {
    to_time_ms("launched_at", value).map_err(|error| error.to_string())
}
