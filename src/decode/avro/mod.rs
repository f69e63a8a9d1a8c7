//! Records of Avro: the schema they were written with says what stands where.
//!
//! `apache-avro` reads the schema. A record is walked here, to its end: fields that are not wanted
//! are stepped over, and a record with bytes to spare is malformed.

mod shape;

use super::confluent::Bytes;
use super::value::{self, FieldValue};
use super::{DecodeError, FieldNames};
use crate::event::Event;
use apache_avro::Schema;
use shape::{Integer, Shape, Shapes};

/// How deeply values may be nested.
const DEPTH_MAX: usize = 64;

/// Decodes the records of one schema.
pub struct AvroDecoder {
    fields: FieldNames,
    /// The fields of a record in the order of the schema, with which wanted field each is.
    parts: Vec<(Option<usize>, Shape)>,
    named: Vec<Shape>,
}

impl AvroDecoder {
    /// A decoder of the records that were written with a schema, whose references are given by
    /// name.
    ///
    /// # Errors
    /// When it is no schema of Avro, or none of a record; says why.
    pub fn new(
        fields: &FieldNames,
        schema: &str,
        references: &[(String, String)],
    ) -> Result<AvroDecoder, String> {
        let referenced = references.iter().map(|(_, text)| text);
        let (schema, referenced) =
            Schema::parse_str_with_list(schema, referenced).map_err(|error| error.to_string())?;
        let Schema::Record(record) = &schema else {
            return Err("it is not that of a record".into());
        };
        let mut shapes = Shapes::default();
        for schema in &referenced {
            shapes.shape(schema)?;
        }
        let mut parts = Vec::new();
        for field in &record.fields {
            let wanted = fields.all().iter().position(|name| *name == field.name);
            parts.push((wanted, shapes.shape(&field.schema)?));
        }
        // The record itself may be what a field of it refers to.
        shapes.shape(&schema)?;
        Ok(AvroDecoder { fields: fields.clone(), parts, named: shapes.finish()? })
    }

    /// The event in a record, which stands at `offset` in its partition.
    ///
    /// # Errors
    /// When the record is no event.
    pub fn decode(&self, record: &[u8], offset: u64) -> Result<Event, DecodeError> {
        let found = self.walk(record);
        let found = found.map_err(|reason| DecodeError::NotOfSchema { format: "Avro", reason })?;
        value::event(&self.fields, found, offset)
    }

    fn walk<'a>(&self, record: &'a [u8]) -> Result<[FieldValue<'a>; 4], &'static str> {
        let mut found = [FieldValue::Nothing; 4];
        let mut bytes = Bytes(record);
        for (wanted, shape) in &self.parts {
            let value = self.value(shape, &mut bytes, 1)?;
            if let Some(wanted) = *wanted {
                found[wanted] = value;
            }
        }
        if bytes.is_empty() { Ok(found) } else { Err("there are bytes behind its end") }
    }

    /// Steps over a value, and tells what a field that has it holds.
    fn value<'a>(
        &self,
        shape: &Shape,
        bytes: &mut Bytes<'a>,
        depth: usize,
    ) -> Result<FieldValue<'a>, &'static str> {
        if depth > DEPTH_MAX {
            return Err("it is nested too deeply");
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
                bytes.take(length).map(|_| FieldValue::Other("a decimal"))
            }
            Shape::Fixed(size) => bytes.take(*size).map(FieldValue::Bytes),
            Shape::Plain(size, what) => bytes.take(*size).map(|_| FieldValue::Other(what)),
            Shape::Union(variants) => {
                let variant = usize::try_from(bytes.signed()?).ok();
                let variant = variant.and_then(|variant| variants.get(variant));
                self.value(variant.ok_or("a union has no such type")?, bytes, depth + 1)
            }
            Shape::Record(parts) => {
                for part in parts {
                    self.value(part, bytes, depth + 1)?;
                }
                Ok(FieldValue::Other("a record"))
            }
            Shape::Array(items) => {
                self.blocks(bytes, |bytes| self.value(items, bytes, depth + 1).map(|_| ()))?;
                Ok(FieldValue::Other("an array"))
            }
            Shape::Map(values) => {
                self.blocks(bytes, |bytes| {
                    self.value(&Shape::Text, bytes, depth + 1)?;
                    self.value(values, bytes, depth + 1).map(|_| ())
                })?;
                Ok(FieldValue::Other("a map"))
            }
            Shape::Named(place) => self.value(&self.named[*place], bytes, depth + 1),
        }
    }

    /// Steps over the blocks of an array or a map.
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
                    // Items that take no bytes: there may be any number of them.
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
            Integer::Other(what) => FieldValue::Other(what),
        })
    }
}

#[cfg(test)]
mod tests;
