//! Protobuf messages: the schema gives the field numbers of the wanted fields.
//!
//! Messages are walked by their wire types. As Protobuf specifies, the last occurrence of a field
//! wins, and an absent field without presence has its default value. An absent time, however, is
//! missing, not 1970. A field that is encoded as a group is read like a message.

mod declared;
mod schema;
mod source;

use super::confluent::{Bytes, unzigzag};
use super::value::{self, FieldValue};
use super::{DecodeError, FieldNames};
use crate::event::Event;
use schema::{Kind, Plan, Target};

pub use schema::ProtobufSchema;

/// The maximum number of indexes of a type: the depth at which it is nested in other types.
const INDEXES_MAX: i64 = 32;
const GROUPS_MAX: usize = 64;
const FIELD_NUMBER_MAX: u32 = 0x1fff_ffff;
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
    /// What is wanted of the type, which is the last, and of the types inside.
    plans: Vec<Plan>,
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
        let plans = schema.plans(indexes, fields)?;
        Ok(ProtobufDecoder { fields: fields.clone(), plans })
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
        self.walk_inside(message, self.plans.len() - 1, &mut found)?;
        Ok(found)
    }

    /// Finds what the plan of this number wants of a message. It goes as deep as the paths of the
    /// fields.
    fn walk_inside<'a>(
        &self,
        message: &'a [u8],
        plan: usize,
        found: &mut [FieldValue<'a>; 4],
    ) -> Result<(), &'static str> {
        let plan = &self.plans[plan];
        for (index, absent) in &plan.absent {
            // Several occurrences of a message are merged.
            if found[*index] == FieldValue::Absent {
                found[*index] = *absent;
            }
        }
        let mut bytes = Bytes(message);
        while !bytes.is_empty() {
            let (number, wire) = key(&mut bytes)?;
            let value = WireValue::read(&mut bytes, number, wire, 0)?;
            let target = plan.fields.iter().find(|(wanted, _)| u64::from(*wanted) == number);
            match (target, value) {
                (None, _) => {}
                (Some((_, Target::Field(index, kind))), value) => {
                    found[*index] = value.found(*kind)?;
                }
                (
                    Some((_, Target::Inside(plan))),
                    WireValue::Bytes(inside) | WireValue::Group(inside),
                ) => self.walk_inside(inside, *plan, found)?,
                (Some((_, Target::Inside(_))), _) => return Err(WRONG_WIRE_TYPE),
            }
        }
        Ok(())
    }
}

const WRONG_WIRE_TYPE: &str = "the wire type does not match the field's type";

/// Reads the number of a field and its wire type.
fn key(bytes: &mut Bytes<'_>) -> Result<(u64, u64), &'static str> {
    let key = bytes.varint()?;
    match key >> 3 {
        number if (1..=u64::from(FIELD_NUMBER_MAX)).contains(&number) => Ok((number, key & 7)),
        _ => Err("invalid field number"),
    }
}

/// A value by its wire type.
enum WireValue<'a> {
    Varint(u64),
    Four(u32),
    Eight(u64),
    Bytes(&'a [u8]),
    /// What is between the ends of a group.
    Group(&'a [u8]),
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
                let inside = bytes.0;
                loop {
                    let length = inside.len() - bytes.0.len();
                    let (inner, wire) = key(bytes)?;
                    if wire != GROUP_END {
                        WireValue::read(bytes, inner, wire, depth + 1)?;
                    } else if inner == number {
                        break WireValue::Group(&inside[..length]);
                    } else {
                        return Err("mismatched end of a group");
                    }
                }
            }
            3 => return Err("nested too deeply"),
            5 => WireValue::Four(u32::from_le_bytes(array(bytes.take(4)?))),
            _ => return Err("invalid wire type"),
        })
    }

    /// Returns the value of a field of this kind.
    fn found(self, kind: Kind) -> Result<FieldValue<'a>, &'static str> {
        Ok(match (kind, self) {
            (Kind::Unsupported(what), _) => FieldValue::Unsupported(what),
            (Kind::Text, WireValue::Bytes(bytes)) => {
                FieldValue::Text(std::str::from_utf8(bytes).map_err(|_| "a string is not UTF-8")?)
            }
            (Kind::Bytes, WireValue::Bytes(bytes)) => FieldValue::Bytes(bytes),
            (Kind::Timestamp, WireValue::Bytes(bytes) | WireValue::Group(bytes)) => {
                FieldValue::Instant(timestamp(bytes)?)
            }
            (Kind::Wrapper(kind), WireValue::Bytes(bytes) | WireValue::Group(bytes)) => {
                wrapped(*kind, bytes)?
            }
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
            _ => return Err(WRONG_WIRE_TYPE),
        })
    }
}

fn array<const COUNT: usize>(bytes: &[u8]) -> [u8; COUNT] {
    let mut array = [0; COUNT];
    array.copy_from_slice(bytes);
    array
}

/// Returns the value in a message of `google/protobuf/wrappers.proto`.
fn wrapped(kind: Kind, message: &[u8]) -> Result<FieldValue<'_>, &'static str> {
    let mut found = kind.default_value();
    let mut bytes = Bytes(message);
    while !bytes.is_empty() {
        let (number, wire) = key(&mut bytes)?;
        let value = WireValue::read(&mut bytes, number, wire, 0)?;
        if number == 1 {
            found = value.found(kind)?;
        }
    }
    Ok(found)
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
            (1 | 2, _) => return Err(WRONG_WIRE_TYPE),
            _ => {}
        }
    }
    Ok(seconds.saturating_mul(1_000).saturating_add(nanoseconds.div_euclid(1_000_000)))
}

#[cfg(test)]
mod tests;
