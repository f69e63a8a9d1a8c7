//! The authoritative decoder: serde_json decides, and errors are precise.

use crate::decode::value::{self, FieldValue};
use crate::decode::{DecodeError, FieldNames, FieldTree};
use crate::event::Event;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;
use std::fmt;

/// Returns the event in a record. `tree` has the paths of `fields`.
pub(super) fn decode(
    fields: &FieldNames,
    tree: &FieldTree,
    record: &[u8],
    offset: u64,
) -> Result<Event, DecodeError> {
    let text =
        std::str::from_utf8(record).map_err(|error| DecodeError::NotUtf8(error.valid_up_to()))?;
    let raw = parse(fields, tree, text)?;
    let mut unescaped = [const { String::new() }; 4];
    let mut found = [FieldValue::Absent; 4];
    for ((found, raw), unescaped) in found.iter_mut().zip(raw).zip(&mut unescaped) {
        if let Some(raw) = raw {
            *found = field_value(raw, unescaped)
                .map_err(|error| not_json(&error, beginning(text, raw)))?;
        }
    }
    value::event(fields, found, offset)
}

/// Returns the JSON texts of the four fields.
fn parse<'a>(
    fields: &FieldNames,
    tree: &FieldTree,
    text: &'a str,
) -> Result<[Option<&'a str>; 4], DecodeError> {
    let mut record = Record::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    (&mut deserializer)
        .deserialize_map(ObjectSeed { tree, record: &mut record })
        .and_then(|()| deserializer.end())
        .map_err(|error| match error.classify() {
            // The visitors reject nothing but a record that is not an object.
            Category::Data => DecodeError::NotAnObject,
            _ => not_json(&error, ""),
        })?;
    match record.duplicate {
        Some(Wanted::Field(field)) => Err(DecodeError::Duplicate(fields.texts()[field].into())),
        Some(Wanted::Object(name)) => Err(DecodeError::Duplicate(name)),
        None => Ok(record.found),
    }
}

/// Returns the part of a text before `part`, which is a part of it.
fn beginning<'a>(text: &'a str, part: &str) -> &'a str {
    &text[..part.as_ptr() as usize - text.as_ptr() as usize]
}

/// Returns the error of what follows `before` in the record.
fn not_json(error: &serde_json::Error, before: &str) -> DecodeError {
    let text = error.to_string();
    // The line number of serde_json is left out.
    let reason = text.split(" at line ").next().unwrap_or_default();
    let in_line = before.rsplit('\n').next().unwrap_or_default().len();
    DecodeError::NotJson { reason: reason.into(), column: in_line + error.column() }
}

/// Returns a value of valid JSON. A string with escapes is written to `unescaped`.
fn field_value<'v>(
    raw: &'v str,
    unescaped: &'v mut String,
) -> Result<FieldValue<'v>, serde_json::Error> {
    Ok(match raw.as_bytes().first() {
        Some(b'"') if raw.contains('\\') => {
            *unescaped = serde_json::from_str(raw)?;
            FieldValue::Text(unescaped)
        }
        Some(b'"') => FieldValue::Text(&raw[1..raw.len() - 1]),
        Some(b'n') => FieldValue::Null,
        Some(b't' | b'f') => FieldValue::Unsupported("a boolean"),
        Some(b'[') => FieldValue::Unsupported("an array"),
        Some(b'{') => FieldValue::Unsupported("an object"),
        _ => FieldValue::number(raw),
    })
}

/// The wanted fields of a record, as far as it is read.
#[derive(Default)]
struct Record<'a> {
    /// The JSON text of each field.
    found: [Option<&'a str>; 4],
    /// The first that occurs twice.
    duplicate: Option<Wanted>,
}

/// A field, by its index, or an object that has fields inside, by its name.
enum Wanted {
    Field(usize),
    Object(String),
}

/// Reads an object, and what is wanted of it. Any other value has nothing that is wanted.
struct ObjectSeed<'t, 'r, 'a> {
    tree: &'t FieldTree,
    record: &'r mut Record<'a>,
}

impl<'a> DeserializeSeed<'a> for ObjectSeed<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(NestedVisitor(self))
    }
}

impl<'a> Visitor<'a> for ObjectSeed<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let mut is_seen = [false; 4];
        while let Some(place) = map.next_key_seed(KeySeed(self.tree))? {
            let Some(place) = place else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let (name, inside) = &self.tree.inside[place];
            if std::mem::replace(&mut is_seen[place], true) {
                let again =
                    || inside.field.map_or_else(|| Wanted::Object(name.clone()), Wanted::Field);
                self.record.duplicate.get_or_insert_with(again);
                map.next_value::<IgnoredAny>()?;
            } else if let Some(field) = inside.field {
                self.record.found[field] = Some(map.next_value::<&RawValue>()?.get());
            } else {
                map.next_value_seed(ObjectSeed { tree: inside, record: self.record })?;
            }
        }
        Ok(())
    }
}

/// Reads a value of any type that may be an object.
struct NestedVisitor<'t, 'r, 'a>(ObjectSeed<'t, 'r, 'a>);

impl<'a> Visitor<'a> for NestedVisitor<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'a>>(self, map: A) -> Result<(), A::Error> {
        self.0.visit_map(map)
    }
}

/// Reads a key, and returns the place in the tree of the field with this name, if it is wanted.
struct KeySeed<'t>(&'t FieldTree);

impl<'a> DeserializeSeed<'a> for KeySeed<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Option<usize>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a field's name")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(self.0.place(key))
    }
}
