//! Encodes rows as JSON records, into reused buffers, and decodes them.
//!
//! The record key holds the key columns and the epoch, `{"video_id":7,"epoch":983568}`. The value
//! repeats them, so that a reader needs only the value. Videos are unsigned 64-bit integers,
//! requests are UUIDs, and flags are `true` or `false`.

use crate::query::value::{Value, write_integer};
use crate::query::{ColumnType, KeyCells, Role, Row, row};
use crate::stores::description::{StoredColumn, StoredQuery};
use crate::time::{Definition, Epoch, Publication, Through, rfc3339};
use serde_json::Value as Json;

/// Encodes the rows of a query.
pub(super) struct RowEncoder {
    key: Vec<Field>,
    values: Vec<Field>,
    /// Whether values contain `final`, and the `watermark` up to which the row was computed.
    has_finality: bool,
    /// Whether a deleted row is a record with `removed`: the topic of a set is not compacted, and
    /// those who follow it read values.
    pub has_removals: bool,
}

/// A column, and the text before its value: `"video_id":`.
struct Field {
    name: String,
    column_type: ColumnType,
}

/// The parts of values that the rows of a publication share.
pub(super) struct PublicationFields {
    definition: Definition,
    final_through: Through,
    /// The field `watermark`, with the commas around it.
    watermark: String,
    /// The end of every value: the field `publication`, and the closing brace.
    end: String,
    /// The publication.
    pub publication: Publication,
    /// The epoch of the last encoded row, and its start in quotes.
    start: (Epoch, String),
}

impl RowEncoder {
    /// Creates the encoder of a query.
    pub fn of(query: &StoredQuery) -> RowEncoder {
        let field = |column: &StoredColumn| Field {
            name: format!("\"{}\":", column.name),
            column_type: column.column_type,
        };
        RowEncoder {
            key: query.key.iter().map(field).collect(),
            values: query.values.iter().map(field).collect(),
            has_finality: query.role == Role::Main,
            has_removals: query.role == Role::Set,
        }
    }

    /// Appends the key of a row's record.
    pub fn write_key(&self, row: &Row, record: &mut Vec<u8>) {
        record.push(b'{');
        self.write_name(row, record);
        record.push(b'}');
    }

    /// Appends the value of a record that removes a row.
    pub fn write_removal(&self, row: &Row, stamp: &mut PublicationFields, record: &mut Vec<u8>) {
        self.write_beginning(row, stamp, record);
        record.extend_from_slice(b"\"removed\":true,");
        record.extend_from_slice(stamp.end.as_bytes());
    }

    /// Appends the value of a row's record.
    pub fn write_value(&self, row: &Row, stamp: &mut PublicationFields, record: &mut Vec<u8>) {
        self.write_beginning(row, stamp, record);
        write_fields(&self.values, &row.values, record);
        if self.has_finality {
            record.extend_from_slice(b"\"final\":");
            Value::Flag(stamp.final_through.contains(row.epoch)).write_json(record);
            record.extend_from_slice(stamp.watermark.as_bytes());
        }
        record.extend_from_slice(stamp.end.as_bytes());
    }

    /// Appends what every value begins with.
    fn write_beginning(&self, row: &Row, stamp: &mut PublicationFields, record: &mut Vec<u8>) {
        record.push(b'{');
        self.write_name(row, record);
        record.extend_from_slice(b",\"epoch_start\":");
        record.extend_from_slice(stamp.start(row.epoch).as_bytes());
        record.push(b',');
    }

    fn write_name(&self, row: &Row, record: &mut Vec<u8>) {
        write_fields(&self.key, &row.key, record);
        record.extend_from_slice(b"\"epoch\":");
        write_integer(row.epoch.0, record);
    }
}

impl PublicationFields {
    /// Creates the stamp of a publication.
    pub fn new(
        definition: Definition,
        final_through: Through,
        watermark_ms: Option<i64>,
        publication: Publication,
    ) -> PublicationFields {
        let watermark = match watermark_ms {
            Some(watermark_ms) => format!(",\"watermark\":\"{}\",", rfc3339(watermark_ms)),
            None => ",\"watermark\":null,".to_owned(),
        };
        let end = format!("\"publication\":{publication}}}");
        let start = (Epoch(0), start(&definition, Epoch(0)));
        PublicationFields { definition, final_through, watermark, end, publication, start }
    }

    fn start(&mut self, epoch: Epoch) -> &str {
        if self.start.0 != epoch {
            self.start = (epoch, start(&self.definition, epoch));
        }
        &self.start.1
    }
}

fn start(definition: &Definition, epoch: Epoch) -> String {
    format!("\"{}\"", definition.start_rfc3339(epoch))
}

/// Appends columns, each followed by a comma.
fn write_fields(fields: &[Field], cells: &[u64], record: &mut Vec<u8>) {
    let values = row::values_in(fields.iter().map(|field| field.column_type), cells);
    for (field, value) in fields.iter().zip(values) {
        record.extend_from_slice(field.name.as_bytes());
        value.write_json(record);
        record.push(b',');
    }
}

/// The identity of a row: its epoch and its key.
pub(super) type RowName = (Epoch, KeyCells);

/// Decodes the epoch and the key of a row from a record key; `None` if it is not the key of a row.
pub(super) fn read_key(query: &StoredQuery, key: &[u8]) -> Option<RowName> {
    let key: Json = serde_json::from_slice(key).ok()?;
    let types = query.key.iter().map(|column| column.column_type);
    let cells = row::cells(&query.name, types, values(&query.key, &key)?);
    Some((Epoch(key["epoch"].as_i64()?), cells))
}

/// What the value of a record does to a row.
#[derive(Debug, PartialEq)]
pub(super) enum RowValue {
    /// It is now this one.
    Set(Row),
    /// It is removed.
    Removed,
}

/// Decodes a row and its publication from a record value; `None` if it is not the value of a row.
pub(super) fn read_value(query: &StoredQuery, value: &[u8]) -> Option<(RowValue, Publication)> {
    let value: Json = serde_json::from_slice(value).ok()?;
    let publication = Publication(value["publication"].as_u64()?);
    if value["removed"] == true {
        return Some((RowValue::Removed, publication));
    }
    let all = [values(&query.key, &value)?, values(&query.values, &value)?].concat();
    let row = query.row(Epoch(value["epoch"].as_i64()?), &all);
    Some((RowValue::Set(row), publication))
}

fn values(columns: &[StoredColumn], json: &Json) -> Option<Vec<Value>> {
    let value = |column: &StoredColumn| Value::from_json(column.column_type, &json[&column.name]);
    columns.iter().map(value).collect()
}
