//! `/api/v1/partitions`: how far each partition of the logs is read.

use super::{Answer, Asked, OFFSET, cut};
use crate::serve::error::ApiError;
use crate::serve::fields::{self, Field, Holds};
use crate::serve::parameters::{Form, Parameter};
use crate::serve::table::Cell;
use crate::time::rfc3339;

/// The parameters.
pub static PARAMETERS: &[Parameter] = &[
    Parameter::new("limit", Form::Count(0, super::LIMIT_MAX, Some(1_000)), "the most rows"),
    OFFSET,
];

/// The fields of a row.
pub static FIELDS: &[Field] = &[
    Field::new("topic", Holds::Text, "the log: impressions, plays or denials"),
    Field::new("partition", Holds::Text, "its name: a file, or a topic and a number"),
    Field::new("next_offset", Holds::Whole, "the offset after the last record of the publication"),
    Field::optional("watermark", Holds::Time, "no earlier event is expected"),
    Field::new("idle", Holds::Flag, "whether it holds no epoch open"),
    Field::new("malformed", Holds::Whole, "the records that are no events"),
    Field::optional("lag_records", Holds::Whole, "the records that are left to read, if known"),
    Field::optional("lag_bytes", Holds::Whole, "the bytes that are left to read, if known"),
    Field::optional("lost", Holds::Text, "what is, or may be, missing of it"),
];

/// Answers.
///
/// # Errors
/// None.
pub fn answer(asked: &Asked<'_>) -> Result<Answer, ApiError> {
    let Asked { site, snapshot, given } = asked;
    let mut table = fields::table(FIELDS);
    let partitions = &snapshot.progress().partitions;
    let total = partitions.len() as u64;
    for at in cut(given, partitions.values()) {
        let lag = site.counters.lag_of(&at.partition).filter(|lag| !lag.is_partial);
        // A file counts bytes, a topic records.
        let is_file = at.file.is_some();
        table.push(vec![
            Cell::Text(at.partition.kind.topic().to_owned()),
            Cell::Text(at.partition.name.clone()),
            Cell::Count(at.next_offset),
            Cell::text(at.watermark_ms.map(rfc3339)),
            Cell::Flag(at.idle),
            Cell::Count(at.malformed),
            Cell::count(lag.filter(|_| !is_file).map(|lag| lag.records)),
            Cell::count(lag.filter(|_| is_file).map(|lag| lag.bytes)),
            Cell::text(at.lost.as_ref().map(ToString::to_string)),
        ]);
    }
    Ok(Answer { total, ..Answer::all(table) })
}
