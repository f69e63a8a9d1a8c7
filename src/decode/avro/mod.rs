//! Avro records: the writer's schema gives their layout.
//!
//! `apache-avro` parses the schema. A record is walked here, to its end: unwanted fields are
//! skipped, and a record with trailing bytes is malformed.

mod shape;

use super::confluent::Bytes;
use super::value::{self, FieldValue};
use super::{DecodeError, FieldNames};
use crate::event::Event;
use apache_avro::Schema;
use shape::{Integer, Shape, Shapes};

/// The maximum depth of nested values.
const DEPTH_MAX: usize = 64;

/// Decodes the records of one schema.
pub struct AvroDecoder {
    fields: FieldNames,
    /// The fields of a record in schema order, each with the index of its wanted field, if any.
    parts: Vec<(Option<usize>, Shape)>,
    named: Vec<Shape>,
}

impl AvroDecoder {
    /// Creates a decoder of records written with a schema, whose references are given by name.
    ///
    /// # Errors
    /// If it is not an Avro schema, or not one of a record; returns the reason.
    pub fn new(
        fields: &FieldNames,
        schema: &str,
        references: &[(String, String)],
    ) -> Result<AvroDecoder, String> {
        let referenced = references.iter().map(|(_, text)| text);
        let (schema, referenced) =
            Schema::parse_str_with_list(schema, referenced).map_err(|error| error.to_string())?;
        let Schema::Record(record) = &schema else {
            return Err("it is not the schema of a record".into());
        };
        let mut shapes = Shapes::default();
        for schema in &referenced {
            shapes.shape(schema)?;
        }
        let mut parts = Vec::new();
        for field in &record.fields {
            let wanted =
                fields.all().iter().position(|path| *path.names() == [field.name.as_str()]);
            parts.push((wanted, shapes.shape(&field.schema)?));
        }
        // A field may refer to the record itself.
        shapes.shape(&schema)?;
        Ok(AvroDecoder { fields: fields.clone(), parts, named: shapes.finish()? })
    }

    /// Returns the event in a record, which is at `offset` in its partition.
    ///
    /// # Errors
    /// If the record is not an event.
    pub fn decode(&self, record: &[u8], offset: u64) -> Result<Event, DecodeError> {
        let found = self.walk(record);
        let found =
            found.map_err(|reason| DecodeError::SchemaMismatch { format: "Avro", reason })?;
        value::event(&self.fields, found, offset)
    }

    fn walk<'a>(&self, record: &'a [u8]) -> Result<[FieldValue<'a>; 4], &'static str> {
        let mut found = [FieldValue::Absent; 4];
        let mut bytes = Bytes(record);
        for (wanted, shape) in &self.parts {
            let value = self.value(shape, &mut bytes, 1)?;
            if let Some(wanted) = *wanted {
                found[wanted] = value;
            }
        }
        if bytes.is_empty() { Ok(found) } else { Err("trailing bytes") }
    }

    /// Reads a value, and returns it as the value of a field.
    fn value<'a>(
        &self,
        shape: &Shape,
        bytes: &mut Bytes<'a>,
        depth: usize,
    ) -> Result<FieldValue<'a>, &'static str> {
        if depth > DEPTH_MAX {
            return Err("nested too deeply");
        }
        match shape {
            Shape::Null => Ok(FieldValue::Null),
            Shape::Integer(integer) => integer.found(bytes.signed()?),
            Shape::Text => {
                let length = length(bytes)?;
                bytes.text(length).map(FieldValue::Text)
            }
            Shape::Bytes => {
                let length = length(bytes)?;
                bytes.take(length).map(FieldValue::Bytes)
            }
            Shape::Decimal => {
                let length = length(bytes)?;
                bytes.take(length).map(|_| FieldValue::Unsupported("a decimal"))
            }
            Shape::Fixed(size) => bytes.take(*size).map(FieldValue::fixed),
            Shape::Plain(size, what) => bytes.take(*size).map(|_| FieldValue::Unsupported(what)),
            Shape::Union(variants) => {
                let variant = usize::try_from(bytes.signed()?).ok();
                let variant = variant.and_then(|variant| variants.get(variant));
                self.value(variant.ok_or("invalid branch of a union")?, bytes, depth + 1)
            }
            Shape::Record(parts) => {
                for part in parts {
                    self.value(part, bytes, depth + 1)?;
                }
                Ok(FieldValue::Unsupported("a record"))
            }
            Shape::Array(items) => {
                self.blocks(bytes, |bytes| self.value(items, bytes, depth + 1).map(|_| ()))?;
                Ok(FieldValue::Unsupported("an array"))
            }
            Shape::Map(values) => {
                self.blocks(bytes, |bytes| {
                    self.value(&Shape::Text, bytes, depth + 1)?;
                    self.value(values, bytes, depth + 1).map(|_| ())
                })?;
                Ok(FieldValue::Unsupported("a map"))
            }
            Shape::Named(place) => self.value(&self.named[*place], bytes, depth + 1),
        }
    }

    /// Reads the blocks of an array or a map, with `step` for each item.
    fn blocks<'a>(
        &self,
        bytes: &mut Bytes<'a>,
        mut step: impl FnMut(&mut Bytes<'a>) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        loop {
            let count = bytes.signed()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                let size = length(bytes)?;
                bytes.take(size)?;
                continue;
            }
            for _ in 0..count {
                let before = bytes.0.len();
                step(bytes)?;
                if bytes.0.len() == before {
                    // Items take no bytes, so there may be any number of them.
                    break;
                }
            }
        }
    }
}

fn length(bytes: &mut Bytes<'_>) -> Result<u64, &'static str> {
    u64::try_from(bytes.signed()?).map_err(|_| "a length is negative")
}

impl Integer {
    fn found(self, number: i64) -> Result<FieldValue<'static>, &'static str> {
        Ok(match self {
            Integer::Plain => FieldValue::integer(number),
            Integer::Instant { per_ms } => FieldValue::Instant(number.div_euclid(per_ms)),
            Integer::Unsupported(what) => FieldValue::Unsupported(what),
        })
    }
}

#[cfg(test)]
mod tests;
