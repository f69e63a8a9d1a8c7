//! Avro records: the writer's schema gives their layout.
//!
//! A record is walked here, to its end: unwanted fields are skipped, and a record with trailing
//! bytes is malformed. The work for a record is bounded by its length, whatever its schema says.

mod plan;
mod shape;

use super::confluent::Bytes;
use super::value::{self, FieldValue};
use super::{DecodeError, FieldNames};
use crate::event::Event;
use plan::{Plan, Step};
use shape::{Integer, Shape};

/// The maximum depth of nested values.
const DEPTH_MAX: usize = 64;
/// The values that are read of a record at most: this many, and more for each of its bytes. Values
/// of some types take no bytes, and a small schema may have thousands of millions of them.
const STEPS_MAX: usize = 10_000;
const STEPS_MAX_PER_BYTE: usize = 16;

/// Decodes the records of one schema.
pub struct AvroDecoder {
    fields: FieldNames,
    plan: Plan,
}

impl AvroDecoder {
    /// Creates a decoder of records written with a schema, whose references are given by name.
    ///
    /// # Errors
    /// If it is not an Avro schema, or neither one of a record nor of a union with records; returns
    /// the reason.
    pub fn new(
        fields: &FieldNames,
        schema: &str,
        references: &[(String, String)],
    ) -> Result<AvroDecoder, String> {
        Ok(AvroDecoder { fields: fields.clone(), plan: Plan::new(fields, schema, references)? })
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
        let mut walk = Walk {
            plan: &self.plan,
            bytes: Bytes(record),
            steps: STEPS_MAX.saturating_add(record.len().saturating_mul(STEPS_MAX_PER_BYTE)),
            found: [FieldValue::Absent; 4],
        };
        walk.step(&self.plan.root, 0)?;
        if walk.bytes.is_empty() { Ok(walk.found) } else { Err("trailing bytes") }
    }
}

/// A record that is being read.
struct Walk<'a, 'p> {
    plan: &'p Plan,
    bytes: Bytes<'a>,
    /// How many more values may be read.
    steps: usize,
    found: [FieldValue<'a>; 4],
}

impl<'a, 'p> Walk<'a, 'p> {
    /// Reads a value, and stores what is wanted of it.
    fn step(&mut self, step: &'p Step, depth: usize) -> Result<(), &'static str> {
        match step {
            Step::Skip(shape) => self.value(shape, depth).map(|_| ()),
            Step::Field(field, shape) => {
                self.found[*field] = self.value(shape, depth)?;
                Ok(())
            }
            // As deep as the paths of the fields, so it needs no bound.
            Step::Record(number) => {
                let plan = self.plan;
                plan.records[*number].iter().try_for_each(|step| self.step(step, depth + 1))
            }
            Step::Union(branches) => {
                let branch = self.branch(branches)?;
                self.step(branch, depth + 1)
            }
            Step::Null(fields) => {
                fields.iter().for_each(|field| self.found[*field] = FieldValue::Null);
                Ok(())
            }
        }
    }

    /// Reads which branch of a union follows.
    fn branch<T>(&mut self, branches: &'p [T]) -> Result<&'p T, &'static str> {
        let branch = usize::try_from(self.bytes.signed()?).ok();
        branch.and_then(|branch| branches.get(branch)).ok_or("invalid branch of a union")
    }

    /// Reads a value, and returns it as the value of a field.
    fn value(&mut self, shape: &'p Shape, depth: usize) -> Result<FieldValue<'a>, &'static str> {
        if depth > DEPTH_MAX {
            return Err("nested too deeply");
        }
        self.steps = self.steps.checked_sub(1).ok_or("it has too many values for its length")?;
        match shape {
            Shape::Null => Ok(FieldValue::Null),
            Shape::Integer(integer) => Ok(integer.found(self.bytes.signed()?)),
            Shape::Text => {
                let length = self.length()?;
                self.bytes.text(length).map(FieldValue::Text)
            }
            Shape::Bytes => self.sized().map(FieldValue::Bytes),
            Shape::Decimal(true) => self.sized().map(whole_decimal),
            Shape::Decimal(false) => {
                self.sized().map(|_| FieldValue::Unsupported("a decimal with a fraction"))
            }
            Shape::Fixed(size) => self.bytes.take(*size).map(FieldValue::fixed),
            Shape::FixedDecimal(size) => self.bytes.take(*size).map(whole_decimal),
            Shape::Plain(size, what) => {
                self.bytes.take(*size).map(|_| FieldValue::Unsupported(what))
            }
            Shape::Union(branches) => {
                let branch = self.branch(branches)?;
                self.value(branch, depth + 1)
            }
            Shape::Record(fields) => {
                for (_, shape) in fields {
                    self.value(shape, depth + 1)?;
                }
                Ok(FieldValue::Unsupported("a record"))
            }
            Shape::Array(items) => {
                self.blocks(|walk| walk.value(items, depth + 1).map(|_| ()))?;
                Ok(FieldValue::Unsupported("an array"))
            }
            Shape::Map(values) => {
                self.blocks(|walk| {
                    walk.value(&Shape::Text, depth + 1)?;
                    walk.value(values, depth + 1).map(|_| ())
                })?;
                Ok(FieldValue::Unsupported("a map"))
            }
            Shape::Named(number) => {
                let plan = self.plan;
                self.value(&plan.named[*number], depth + 1)
            }
        }
    }

    /// Reads the blocks of an array or a map, with `step` for each item.
    fn blocks(
        &mut self,
        mut step: impl FnMut(&mut Self) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        loop {
            let count = self.bytes.signed()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                self.sized()?;
                continue;
            }
            for _ in 0..count {
                let before = self.bytes.0.len();
                step(self)?;
                if self.bytes.0.len() == before {
                    // Items take no bytes, so there may be any number of them.
                    break;
                }
            }
        }
    }

    /// Reads bytes after their length.
    fn sized(&mut self) -> Result<&'a [u8], &'static str> {
        let length = self.length()?;
        self.bytes.take(length)
    }

    fn length(&mut self) -> Result<u64, &'static str> {
        u64::try_from(self.bytes.signed()?).map_err(|_| "a length is negative")
    }
}

/// Returns the value for an integer of any size, in two's complement, most significant byte first.
fn whole_decimal(bytes: &[u8]) -> FieldValue<'static> {
    let sign = bytes.first().map_or(0, |first| first.cast_signed() >> 7).cast_unsigned();
    let digits = bytes.iter().position(|byte| *byte != sign).map_or(&[][..], |at| &bytes[at..]);
    let mut number = [sign; 16];
    match number.len().checked_sub(digits.len()) {
        // One more byte than 8 is enough for the sign of a 64-bit integer.
        Some(start) if digits.len() < number.len() => number[start..].copy_from_slice(digits),
        _ => return FieldValue::WideInteger,
    }
    FieldValue::wide_integer(i128::from_be_bytes(number))
}

impl Integer {
    fn found(self, number: i64) -> FieldValue<'static> {
        match self {
            Integer::Plain => FieldValue::integer(number),
            Integer::Instant { per_ms } => FieldValue::Instant(number.div_euclid(per_ms)),
            Integer::Unsupported(what) => FieldValue::Unsupported(what),
        }
    }
}

#[cfg(test)]
mod tests;
