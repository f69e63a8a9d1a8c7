//! Protobuf messages: the schema gives the field numbers of the wanted fields.
//!
//! `protox` parses the schema; messages are walked here. As Protobuf specifies, the last occurrence
//! of a field wins, and an absent field without presence has its default value. An absent time,
//! however, is missing, not 1970.

mod schema;

use super::confluent::{Bytes, unzigzag};
use super::value::{self, FieldValue};
use super::{DecodeError, FieldNames};
use crate::event::Event;
use schema::{Field, Kind};

pub use schema::ProtobufSchema;

/// The maximum number of indexes of a type: the depth at which it is nested in other types.
const INDEXES_MAX: i64 = 32;
const GROUPS_MAX: usize = 64;
const GROUP_END: u64 = 4;

/// Returns the indexes of a message's type in its schema, and the message.
///
/// # Errors
/// If the payload does not begin with valid indexes.
pub fn split_indexes(payload: &[u8]) -> Result<(Vec<usize>, &[u8]), DecodeError> {
    let mut bytes = Bytes(payload);
    let mut read = || {
        let count = bytes.signed()?;
        let number = |number: i64| usize::try_from(number).map_err(|_| "negative message index");
        match count {
            // The first type of the schema, which nearly every message has.
            0 => Ok(vec![0]),
            1..=INDEXES_MAX => (0..count).map(|_| bytes.signed().and_then(number)).collect(),
            _ => Err("invalid number of message indexes"),
        }
    };
    let indexes = read().map_err(not_of_schema)?;
    Ok((indexes, bytes.0))
}

#[cold]
fn not_of_schema(reason: &'static str) -> DecodeError {
    DecodeError::SchemaMismatch { format: "Protobuf", reason }
}

/// Decodes the messages of one type.
pub struct ProtobufDecoder {
    fields: FieldNames,
    wanted: [Option<Field>; 4],
}

impl ProtobufDecoder {
    /// Creates a decoder of the messages of the type at `indexes` in a schema.
    ///
    /// # Errors
    /// If there is no such type; returns the reason.
    pub fn new(
        fields: &FieldNames,
        schema: &ProtobufSchema,
        indexes: &[usize],
    ) -> Result<ProtobufDecoder, String> {
        let wanted = schema.fields(indexes, fields.all())?;
        Ok(ProtobufDecoder { fields: fields.clone(), wanted })
    }

    /// Returns the event in a message, which is at `offset` in its partition.
    ///
    /// # Errors
    /// If the message is not an event.
    pub fn decode(&self, message: &[u8], offset: u64) -> Result<Event, DecodeError> {
        let found = self.walk(message).map_err(not_of_schema)?;
        value::event(&self.fields, found, offset)
    }

    fn walk<'a>(&self, message: &'a [u8]) -> Result<[FieldValue<'a>; 4], &'static str> {
        let mut found = [FieldValue::Absent; 4];
        for (found, field) in found.iter_mut().zip(&self.wanted) {
            *found = field.as_ref().map_or(FieldValue::Absent, |field| field.absent);
        }
        let mut bytes = Bytes(message);
        while !bytes.is_empty() {
            let (number, wire) = key(&mut bytes)?;
            let is_it = |field: &Option<Field>| {
                field.as_ref().is_some_and(|field| u64::from(field.number) == number)
            };
            let value = WireValue::read(&mut bytes, number, wire, 0)?;
            if let Some(at) = self.wanted.iter().position(is_it)
                && let Some(field) = &self.wanted[at]
            {
                found[at] = value.found(&field.kind)?;
            }
        }
        Ok(found)
    }
}

/// Reads the number of a field and its wire type.
fn key(bytes: &mut Bytes<'_>) -> Result<(u64, u64), &'static str> {
    let key = bytes.varint()?;
    match key >> 3 {
        1..=0x1fff_ffff => Ok((key >> 3, key & 7)),
        _ => Err("invalid field number"),
    }
}

/// A value by its wire type.
enum WireValue<'a> {
    Varint(u64),
    Four(u32),
    Eight(u64),
    Bytes(&'a [u8]),
    Group,
}

impl<'a> WireValue<'a> {
    fn read(
        bytes: &mut Bytes<'a>,
        number: u64,
        wire: u64,
        depth: usize,
    ) -> Result<WireValue<'a>, &'static str> {
        Ok(match wire {
            0 => WireValue::Varint(bytes.varint()?),
            1 => WireValue::Eight(u64::from_le_bytes(array(bytes.take(8)?))),
            2 => {
                let length = bytes.varint()?;
                WireValue::Bytes(bytes.take(length)?)
            }
            3 if depth < GROUPS_MAX => {
                loop {
                    let (inner, wire) = key(bytes)?;
                    if wire != GROUP_END {
                        WireValue::read(bytes, inner, wire, depth + 1)?;
                    } else if inner == number {
                        break;
                    } else {
                        return Err("mismatched end of a group");
                    }
                }
                WireValue::Group
            }
            3 => return Err("nested too deeply"),
            5 => WireValue::Four(u32::from_le_bytes(array(bytes.take(4)?))),
            _ => return Err("invalid wire type"),
        })
    }

    /// Returns the value of a field of this kind.
    fn found(self, kind: &Kind) -> Result<FieldValue<'a>, &'static str> {
        Ok(match (kind, self) {
            (Kind::Unsupported(what), _) => FieldValue::Unsupported(what),
            (Kind::Text, WireValue::Bytes(bytes)) => {
                FieldValue::Text(std::str::from_utf8(bytes).map_err(|_| "a string is not UTF-8")?)
            }
            (Kind::Bytes, WireValue::Bytes(bytes)) => FieldValue::Bytes(bytes),
            (Kind::Timestamp, WireValue::Bytes(bytes)) => FieldValue::Instant(timestamp(bytes)?),
            (Kind::Signed, WireValue::Varint(number)) => FieldValue::integer(number as i64),
            (Kind::Signed32, WireValue::Varint(number)) => {
                FieldValue::integer(i64::from(number as i32))
            }
            (Kind::Unsigned, WireValue::Varint(number)) => FieldValue::Unsigned(number),
            (Kind::Unsigned32, WireValue::Varint(number)) => {
                FieldValue::Unsigned(u64::from(number as u32))
            }
            (Kind::Zigzag, WireValue::Varint(number)) => FieldValue::integer(unzigzag(number)),
            (Kind::Fixed32, WireValue::Four(number)) => FieldValue::Unsigned(number.into()),
            (Kind::Fixed64, WireValue::Eight(number)) => FieldValue::Unsigned(number),
            (Kind::SignedFixed32, WireValue::Four(number)) => {
                FieldValue::integer((number as i32).into())
            }
            (Kind::SignedFixed64, WireValue::Eight(number)) => FieldValue::integer(number as i64),
            _ => return Err("the wire type does not match the field's type"),
        })
    }
}

fn array<const COUNT: usize>(bytes: &[u8]) -> [u8; COUNT] {
    let mut array = [0; COUNT];
    array.copy_from_slice(bytes);
    array
}

/// Returns the milliseconds of a `google.protobuf.Timestamp`, rounded down.
fn timestamp(message: &[u8]) -> Result<i64, &'static str> {
    let (mut seconds, mut nanoseconds) = (0, 0);
    let mut bytes = Bytes(message);
    while !bytes.is_empty() {
        let (number, wire) = key(&mut bytes)?;
        match (number, WireValue::read(&mut bytes, number, wire, 0)?) {
            (1, WireValue::Varint(value)) => seconds = value as i64,
            (2, WireValue::Varint(value)) => nanoseconds = i64::from(value as i32),
            (1 | 2, _) => return Err("the wire type does not match the field's type"),
            _ => {}
        }
    }
    Ok(seconds.saturating_mul(1_000).saturating_add(nanoseconds.div_euclid(1_000_000)))
}

#[cfg(test)]
mod tests;
