//! `/api/v1/ledger`: what became of the events.

use super::{Answer, Asked, OFFSET, cut, main_table};
use crate::serve::error::ApiError;
use crate::serve::fields::{self, Field, Holds};
use crate::serve::parameters::{Form, Parameter};
use crate::serve::table::Cell;
use std::cmp::Reverse;

/// The parameters.
pub static PARAMETERS: &[Parameter] = &[
    Parameter::new("epoch", Form::Epoch, "only events of this epoch"),
    Parameter::new("limit", Form::Count(0, super::LIMIT_MAX, Some(1_000)), "the most rows"),
    OFFSET,
];

/// The fields of a row.
pub static FIELDS: &[Field] = &[
    Field::optional("epoch", Holds::Whole, "that of the event times; null: far from the watermark"),
    Field::optional("epoch_start", Holds::Time, "its first instant"),
    Field::new("kind", Holds::Text, "impression, play or denial"),
    Field::new(
        "events",
        Holds::Whole,
        "all events that were read: the sum of the others but the last",
    ),
    Field::new("distinct_events", Holds::Whole, "accepted, without duplicates"),
    Field::new("duplicate_events", Holds::Whole, "accepted once more"),
    Field::new("late_events", Holds::Whole, "rejected: their epochs had closed"),
    Field::new("future_events", Holds::Whole, "rejected: their clock runs ahead"),
    Field::new("denied_events", Holds::Whole, "accepted, of a request that was denied"),
];

/// Answers.
///
/// # Errors
/// When the store cannot be read.
pub fn answer(asked: &Asked<'_>) -> Result<Answer, ApiError> {
    let Asked { snapshot, given, .. } = asked;
    let mut table = fields::table(FIELDS);
    let mut rows = snapshot.ledger()?;
    if let Some(main) = main_table(*snapshot)
        && let Some(epoch) = super::epoch(asked, main)?
    {
        rows.retain(|row| epoch.is_some() && row.key.epoch == epoch);
    }
    // The latest epoch first, and those without an epoch last.
    rows.sort_by_key(|row| (row.key.epoch.is_none(), Reverse(row.key.epoch), row.key.kind));
    let total = rows.len() as u64;
    let definition = &snapshot.description().definition;
    for row in cut(given, rows) {
        let epoch = row.key.epoch;
        table.push(vec![
            epoch.map_or(Cell::Null, |epoch| Cell::Whole(epoch.0)),
            Cell::text(epoch.map(|epoch| definition.start_rfc3339(epoch))),
            Cell::Text(row.key.kind.name().to_owned()),
            Cell::Count(row.events),
            Cell::Count(row.distinct_events),
            Cell::Whole(row.duplicate_events),
            Cell::Count(row.late_events),
            Cell::Count(row.future_events),
            Cell::Count(row.denied_events),
        ]);
    }
    Ok(Answer { total, ..Answer::all(table) })
}
