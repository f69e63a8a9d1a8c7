//! The fields of rows: declared once, from which the rows are made and described.

use super::table::{Heading, Table};
use serde_json::{Value, json};

/// A field of the rows of a route.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// The type of its values.
    pub holds: Holds,
    /// Whether a value may be `null`.
    pub may_be_null: bool,
    /// What it is.
    pub about: &'static str,
}

/// The type of the values of a field.
#[derive(Clone, Copy, Debug)]
pub enum Holds {
    /// A text.
    Text,
    /// An instant.
    Time,
    /// A whole number.
    Whole,
    /// A boolean.
    Flag,
    /// An object or a list, with this schema. CSV leaves it out.
    Nested(fn() -> Value),
}

impl Field {
    /// A field that always has a value.
    pub const fn new(name: &'static str, holds: Holds, about: &'static str) -> Field {
        Field { name, holds, may_be_null: false, about }
    }

    /// A field that may be `null`.
    pub const fn optional(name: &'static str, holds: Holds, about: &'static str) -> Field {
        Field { name, holds, may_be_null: true, about }
    }

    /// The schema of its values.
    pub fn schema(&self) -> Value {
        let mut schema = match self.holds {
            Holds::Text => json!({"type": "string"}),
            Holds::Time => json!({"type": "string", "format": "date-time"}),
            Holds::Whole => json!({"type": "integer"}),
            Holds::Flag => json!({"type": "boolean"}),
            Holds::Nested(schema) => schema(),
        };
        if self.may_be_null {
            schema = match schema["type"].as_str() {
                Some(name) => {
                    schema["type"] = json!([name, "null"]);
                    schema
                }
                None => json!({"anyOf": [schema, {"type": "null"}]}),
            };
        }
        schema["description"] = self.about.into();
        schema
    }
}

/// An empty table with these fields.
pub fn table(fields: &[Field]) -> Table {
    let heading = |field: &Field| Heading {
        name: field.name.to_owned(),
        is_nested: matches!(field.holds, Holds::Nested(_)),
    };
    Table::new(fields.iter().map(heading).collect())
}

/// The schema of a row with these fields.
pub fn schema(fields: &[Field]) -> Value {
    let properties: serde_json::Map<String, Value> =
        fields.iter().map(|field| (field.name.to_owned(), field.schema())).collect();
    let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
    json!({"type": "object", "properties": properties, "required": names,
           "additionalProperties": false})
}
