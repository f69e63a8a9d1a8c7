//! `/api/v1/epochs`: the epochs that have rows.

use super::{Answer, Asked, LIMIT, OFFSET, cut, main_table};
use crate::completeness::Completeness;
use crate::event::Kind;
use crate::serve::error::ApiError;
use crate::serve::fields::{self, Field, Holds};
use crate::serve::parameters::{Form, Parameter};
use crate::serve::table::Cell;
use crate::stores::description::StoredQuery;
use crate::stores::snapshot::EpochSums;
use crate::time::Epoch;
use serde_json::{Value, json};

/// The parameters.
pub static PARAMETERS: &[Parameter] = &[
    LIMIT,
    OFFSET,
    Parameter::new("order", Form::Choice(&["-epoch", "epoch"]), "the latest or the first first"),
];

/// The fields of a row.
pub static FIELDS: &[Field] = &[
    Field::new("epoch", Holds::Whole, "the number of the epoch: floor(time / epoch length)"),
    Field::new("epoch_start", Holds::Time, "its first instant"),
    Field::new("epoch_end", Holds::Time, "the first instant after it"),
    Field::new("final", Holds::Flag, "whether its rows never change again"),
    Field::new("publication", Holds::Whole, "the last publication that has changed it"),
    Field::new("impressions", Holds::Whole, "the sum over its rows of the main table"),
    Field::new("plays", Holds::Whole, "the sum over its rows of the main table"),
    Field::new("videos", Holds::Whole, "the number of its rows of the main table"),
    Field::optional(
        "completeness",
        Holds::Nested(completeness_schema),
        "how much of its input is read",
    ),
];

fn completeness_schema() -> Value {
    let whole = json!({"type": ["integer", "null"], "minimum": 0});
    let share = json!({"type": ["number", "null"], "minimum": 0, "maximum": 1});
    let of_kind = json!({
        "type": ["object", "null"],
        "required": ["seen", "unread", "share", "share_low", "share_high", "unknown"],
        "properties": {
            "seen": {"type": "integer", "minimum": 0},
            "unread": whole,
            "share": share,
            "share_low": share,
            "share_high": share,
            "unknown": {"type": ["string", "null"]},
        },
    });
    json!({
        "type": "object",
        "required": ["impressions", "plays"],
        "properties": {"impressions": of_kind, "plays": of_kind},
    })
}

/// The object `completeness` of an epoch, or nothing.
fn arrived(all: &[Completeness], epoch: Epoch) -> Cell {
    let of = |kind: Kind| {
        let row = all.iter().find(|row| row.epoch == epoch && row.kind == kind);
        row.map_or(Value::Null, |row| {
            json!({
                "seen": row.seen,
                "unread": row.unread,
                "share": row.share,
                "share_low": row.share_low,
                "share_high": row.share_high,
                "unknown": row.unknown,
            })
        })
    };
    let (impressions, plays) = (of(Kind::Impression), of(Kind::Play));
    match impressions.is_null() && plays.is_null() {
        true => Cell::Null,
        false => Cell::Nested(json!({ "impressions": impressions, "plays": plays })),
    }
}

/// The sum of a column.
fn sum(query: &StoredQuery, sums: &EpochSums, column: &str) -> Cell {
    let position = query.values.iter().position(|one| one.name == column);
    Cell::count(position.and_then(|position| sums.values.get(position).copied()))
}

/// Answers.
///
/// # Errors
/// When the store cannot be read.
pub fn answer(asked: &Asked<'_>) -> Result<Answer, ApiError> {
    let Asked { snapshot, given, .. } = asked;
    let mut table = fields::table(FIELDS);
    let Some(query) = main_table(*snapshot) else { return Ok(Answer::all(table)) };
    let definition = &snapshot.description().definition;
    let mut epochs = snapshot.epochs(query)?;
    if given.text("order") != Some("epoch") {
        epochs.reverse();
    }
    let total = epochs.len() as u64;
    let completeness = snapshot.completeness()?;
    for state in cut(given, epochs) {
        let sums = snapshot.sums(query, state.epoch)?;
        table.push(vec![
            Cell::Whole(state.epoch.0),
            Cell::Text(definition.start_rfc3339(state.epoch)),
            Cell::time(definition.end_ms(state.epoch)),
            Cell::Flag(state.is_final),
            Cell::Count(state.publication.0),
            sum(query, &sums, "impressions"),
            sum(query, &sums, "plays"),
            Cell::Count(sums.rows),
            arrived(&completeness, state.epoch),
        ]);
    }
    Ok(Answer { total, ..Answer::all(table) })
}
