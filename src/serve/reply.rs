//! An answer as it is sent, before it is one of the library of HTTP.

use super::api::Answer;
use super::error::ApiError;
use super::head::{Head, positions};
use super::table::quoted;
use crate::stores::Snapshot;
use bytes::Bytes;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status of HTTP.
    pub status: u16,
    /// The type of the body.
    pub content_type: &'static str,
    /// Other headers: names in lower case, and values.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
}

/// The type of CSV.
pub const CSV: &str = "text/csv; charset=utf-8";
/// The type of JSON.
pub const JSON: &str = "application/json";

impl Reply {
    /// An answer without other headers.
    pub fn text(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
        Reply { status, content_type, headers: Vec::new(), body: body.into() }
    }

    /// An error.
    pub fn error(error: &ApiError) -> Reply {
        let mut reply = Reply::text(error.status, JSON, error.to_json());
        match error.status {
            401 => reply.headers.push(("www-authenticate", "Bearer".to_owned())),
            503 => reply.headers.push(("retry-after", "1".to_owned())),
            _ => {}
        }
        reply
    }

    /// The rows of a handler, as JSON or CSV.
    ///
    /// # Errors
    /// When they are too large, or the store cannot be read.
    pub fn of_rows(
        answer: &Answer,
        snapshot: &dyn Snapshot,
        head: &Head,
        is_csv: bool,
    ) -> Result<Reply, ApiError> {
        let mut reply = if is_csv {
            Reply::text(200, CSV, answer.table.to_csv()?)
        } else {
            Reply::text(200, JSON, envelope(answer, snapshot, head)?)
        };
        reply.headers = headers(head);
        Ok(reply)
    }

    /// What a client is told that has the answer already: its tag is one of these.
    pub fn unless_known(mut self, none_match: Option<&str>) -> Reply {
        let tag = self.headers.iter().find(|(name, _)| *name == "etag");
        let is_known = none_match.zip(tag).is_some_and(|(tags, (_, tag))| has_tag(tags, tag));
        if is_known {
            (self.status, self.body) = (304, Bytes::new());
        }
        self
    }
}

/// The headers that say which publication an answer is of.
pub fn headers(head: &Head) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("trendmark-publication", head.publication.to_string()),
        ("trendmark-generation", head.generation.to_string()),
    ];
    headers.extend(head.watermark.clone().map(|watermark| ("trendmark-watermark", watermark)));
    headers
}

/// Whether a header `If-None-Match` has a tag.
fn has_tag(tags: &str, tag: &str) -> bool {
    let each = tags.split(',').map(|one| one.trim().trim_start_matches("W/"));
    tags.trim() == "*" || each.into_iter().any(|one| one == tag)
}

fn envelope(answer: &Answer, snapshot: &dyn Snapshot, head: &Head) -> Result<String, ApiError> {
    let positions = positions(snapshot.progress(), &snapshot.title_sources()?);
    let mut out = format!("{{{},\n\"positions\":{positions}", head.members());
    for (name, value) in &answer.more {
        out += &format!(",\n{}:{value}", quoted(name));
    }
    out += ",\n\"rows\":";
    answer.table.write_json(&mut out)?;
    out += &format!(",\n\"total\":{}}}\n", answer.total);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_one_of_those_that_a_client_has() {
        for (tags, expected) in [
            ("\"1-7-json\"", true),
            ("W/\"1-7-json\"", true),
            ("\"x\", \"1-7-json\"", true),
            ("*", true),
            ("\"1-6-json\"", false),
            ("1-7-json", false),
            ("", false),
        ] {
            assert_eq!(has_tag(tags, "\"1-7-json\""), expected, "{tags}");
        }
    }
}
