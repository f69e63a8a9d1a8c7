//! An answer as it is sent, before it is one of the library of HTTP.

use super::api::Answer;
use super::error::ApiError;
use super::head::{Head, positions};
use super::table::quoted;
use crate::stores::Progress;
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
    pub fn of_rows(answer: &Answer, progress: &Progress, head: &Head, is_csv: bool) -> Reply {
        let mut reply = if is_csv {
            Reply::text(200, CSV, answer.table.to_csv())
        } else {
            Reply::text(200, JSON, envelope(answer, progress, head))
        };
        reply.headers = headers(head);
        reply
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

fn envelope(answer: &Answer, progress: &Progress, head: &Head) -> String {
    let mut out = format!("{{{},\n\"positions\":{}", head.members(), positions(progress));
    for (name, value) in &answer.more {
        out += &format!(",\n{}:{value}", quoted(name));
    }
    out += ",\n\"rows\":";
    answer.table.write_json(&mut out);
    out += &format!(",\n\"total\":{}}}\n", answer.total);
    out
}
