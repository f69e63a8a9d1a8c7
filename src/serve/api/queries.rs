//! `/api/v1/queries`: the queries of the job.

use super::{Answer, Asked};
use crate::serve::error::ApiError;
use crate::serve::fields::{self, Field, Holds};
use crate::serve::table::Cell;
use crate::stores::description::{StoredColumn, StoredParameter};
use serde_json::{Value, json};

/// The fields of a row.
pub static FIELDS: &[Field] = &[
    Field::new("name", Holds::Text, "its name"),
    Field::new("about", Holds::Text, "what it computes"),
    Field::new("version", Holds::Whole, "raised when the same events would give other rows"),
    Field::new("role", Holds::Text, "main, table or set"),
    Field::new("key", Holds::Nested(columns), "the columns that, with the epoch, identify a row"),
    Field::new("values", Holds::Nested(columns), "the other columns"),
    Field::new("parameters", Holds::Nested(parameters), "its parameters"),
];

fn columns() -> Value {
    list(json!({"name": {"type": "string"}, "type": {"type": "string"},
                "unit": {"type": "string"}}))
}

fn parameters() -> Value {
    list(json!({"name": {"type": "string"}, "unit": {"type": "string"},
                "value": {"type": "integer"}}))
}

fn list(properties: Value) -> Value {
    json!({"type": "array", "items": {"type": "object", "properties": properties}})
}

fn column(column: &StoredColumn) -> Value {
    json!({"name": column.name, "type": column.column_type.name(), "unit": column.unit})
}

fn parameter(parameter: &StoredParameter) -> Value {
    json!({"name": parameter.name, "unit": parameter.unit.name(), "value": parameter.value})
}

/// Answers.
///
/// # Errors
/// None.
pub fn answer(asked: &Asked<'_>) -> Result<Answer, ApiError> {
    let mut table = fields::table(FIELDS);
    for query in asked.snapshot.description().tables() {
        let of_job = asked.site.job.queries.iter().find(|one| one.query.name == query.name);
        let list = |columns: &[StoredColumn]| columns.iter().map(column).collect::<Value>();
        table.push(vec![
            Cell::Text(query.name.clone()),
            Cell::Text(of_job.map_or_else(String::new, |one| one.query.about.to_owned())),
            Cell::Count(query.version.into()),
            Cell::Text(query.role.name().to_owned()),
            Cell::Nested(list(&query.key)),
            Cell::Nested(list(&query.values)),
            Cell::Nested(query.parameters.iter().map(parameter).collect()),
        ]);
    }
    Ok(Answer::all(table))
}
