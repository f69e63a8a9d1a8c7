//! What a Protobuf schema declares, whether it is given as source or as a serialized description.

use super::{Bytes, WireValue, key};
use std::fmt;

/// The maximum depth of nested messages in a description.
const DEPTH_MAX: usize = 64;

/// A file of a schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ProtoFile {
    pub(super) package: String,
    pub(super) messages: Vec<Message>,
    pub(super) enums: Vec<String>,
    /// Whether scalars that do not say otherwise do not tell whether they are present.
    pub(super) is_implicit: bool,
}

/// A message type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) name: String,
    pub(super) fields: Vec<Declared>,
    /// The nested types in the order of the schema, with those of groups and of entries of maps:
    /// the indexes in the framing of a message count all of them.
    pub(super) messages: Vec<Message>,
    pub(super) enums: Vec<String>,
    pub(super) is_map_entry: bool,
}

/// A declared field.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) number: u32,
    /// The keyword of a scalar, or the name of a type as it is written.
    pub(super) kind: String,
    pub(super) is_map: bool,
    pub(super) is_repeated: bool,
    /// Whether a scalar tells if it is present; `None` if its file decides. Messages always do.
    pub(super) has_presence: Option<bool>,
}

impl fmt::Debug for Declared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Declared { name, number, kind, is_map, is_repeated, has_presence } = self;
        let list = if *is_map { "map " } else { "" };
        let list = if *is_repeated { "repeated " } else { list };
        let presence = match has_presence {
            Some(true) => "explicit ",
            Some(false) => "implicit ",
            None => "",
        };
        write!(formatter, "{presence}{list}{kind} {name} = {number}")
    }
}

/// The keywords of the scalar types, by their numbers in `FieldDescriptorProto.Type`; groups,
/// messages and enums have names.
const KEYWORDS: [&str; 19] = [
    "", "double", "float", "int64", "uint64", "int32", "fixed64", "fixed32", "bool", "string", "",
    "", "bytes", "uint32", "", "sfixed32", "sfixed64", "sint32", "sint64",
];

/// Reads a serialized `FileDescriptorProto` (`google/protobuf/descriptor.proto`). Returns `None` if
/// the bytes are not one.
pub(super) fn described(bytes: &[u8]) -> Option<ProtoFile> {
    let mut file = ProtoFile::default();
    each_field(bytes, |number, value| {
        match (number, value) {
            (2, WireValue::Bytes(text)) => file.package = text_of(text)?,
            (4, WireValue::Bytes(message)) => file.messages.push(message_of(message, 0)?),
            (5, WireValue::Bytes(enumeration)) => file.enums.push(name_of(enumeration)?),
            (8, WireValue::Bytes(options)) => {
                file.is_implicit |= presence_of(options, 50)? == Some(false);
            }
            (12, WireValue::Bytes(syntax)) => file.is_implicit |= syntax == b"proto3",
            _ => {}
        }
        Some(())
    })?;
    Some(file)
}

/// Calls `visit` with every field of a message. Returns `None` if it or `visit` fails.
fn each_field<'a>(
    message: &'a [u8],
    mut visit: impl FnMut(u64, WireValue<'a>) -> Option<()>,
) -> Option<()> {
    let mut bytes = Bytes(message);
    while !bytes.is_empty() {
        let (number, wire) = key(&mut bytes).ok()?;
        visit(number, WireValue::read(&mut bytes, number, wire, 0).ok()?)?;
    }
    Some(())
}

fn text_of(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(String::from)
}

/// Returns the name of a described message or enum, its first field.
fn name_of(description: &[u8]) -> Option<String> {
    let mut name = String::new();
    each_field(description, |number, value| {
        if let (1, WireValue::Bytes(text)) = (number, value) {
            name = text_of(text)?;
        }
        Some(())
    })?;
    Some(name)
}

fn message_of(description: &[u8], depth: usize) -> Option<Message> {
    if depth == DEPTH_MAX {
        return None;
    }
    let mut message = Message::default();
    each_field(description, |number, value| {
        match (number, value) {
            (1, WireValue::Bytes(text)) => message.name = text_of(text)?,
            (2, WireValue::Bytes(field)) => message.fields.push(field_of(field)?),
            (3, WireValue::Bytes(nested)) => message.messages.push(message_of(nested, depth + 1)?),
            (4, WireValue::Bytes(enumeration)) => message.enums.push(name_of(enumeration)?),
            (7, WireValue::Bytes(options)) => each_field(options, |number, value| {
                message.is_map_entry |= matches!((number, value), (7, WireValue::Varint(1)));
                Some(())
            })?,
            _ => {}
        }
        Some(())
    })?;
    // Of a map, nothing but that it is one matters.
    for entry in message.messages.iter_mut().filter(|nested| nested.is_map_entry) {
        let entry = std::mem::replace(entry, Message { is_map_entry: true, ..Message::default() });
        let is_of = |field: &&mut Declared| field.kind.rsplit('.').next() == Some(&entry.name);
        for field in message.fields.iter_mut().filter(is_of) {
            (field.is_map, field.is_repeated, field.kind) = (true, false, "map".into());
        }
    }
    Some(message)
}

fn field_of(description: &[u8]) -> Option<Declared> {
    let (mut name, mut kind) = (String::new(), String::new());
    let (mut number, mut is_repeated, mut in_oneof, mut has_presence) = (0, false, false, None);
    each_field(description, |field, value| {
        match (field, value) {
            (1, WireValue::Bytes(text)) => name = text_of(text)?,
            (3, WireValue::Varint(value)) => number = u32::try_from(value).ok()?,
            (4, WireValue::Varint(label)) => is_repeated = label == 3,
            (5, WireValue::Varint(value)) if kind.is_empty() => {
                kind = (*KEYWORDS.get(usize::try_from(value).ok()?)?).into();
            }
            (6, WireValue::Bytes(text)) => kind = text_of(text)?,
            (8, WireValue::Bytes(options)) => has_presence = presence_of(options, 21)?,
            // Every field of proto3 with the label `optional` is in one.
            (9, WireValue::Varint(_)) => in_oneof = true,
            _ => {}
        }
        Some(())
    })?;
    let has_presence = if in_oneof { Some(true) } else { has_presence };
    Some(Declared { name, number, kind, is_map: false, is_repeated, has_presence })
}

/// Returns whether scalars tell if they are present, if the options of a file or a field say so in
/// their `FeatureSet`, which has this number.
fn presence_of(options: &[u8], features: u64) -> Option<Option<bool>> {
    let mut presence = None;
    each_field(options, |number, value| match value {
        WireValue::Bytes(set) if number == features => each_field(set, |number, value| {
            if let (1, WireValue::Varint(value)) = (number, value) {
                presence = Some(value != 2);
            }
            Some(())
        }),
        _ => Some(()),
    })?;
    Some(presence)
}
