//! Protobuf schemas: which fields of a message are wanted, by their numbers and types.

use super::declared::{Declared, Message, ProtoFile, described};
use super::source;
use crate::decode::value::FieldValue;
use crate::decode::{FieldNames, FieldTree};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::collections::BTreeMap;

/// A schema with its references.
pub struct ProtobufSchema {
    /// The types of the schema itself that are not nested, by number.
    roots: Vec<usize>,
    messages: Vec<MessageType>,
    /// The named types, by their full names.
    names: BTreeMap<String, Named>,
}

/// A message type.
struct MessageType {
    full_name: String,
    fields: Vec<Declared>,
    nested: Vec<usize>,
    /// Whether scalars do not tell if they are present, unless they say so.
    is_implicit: bool,
}

#[derive(Clone, Copy)]
enum Named {
    /// The number of a message type.
    Message(usize),
    Enum,
}

/// What is wanted of the messages of a type.
#[derive(Debug)]
pub(super) struct Plan {
    /// The fields by which something is found, by their numbers.
    pub(super) fields: Vec<(u32, Target)>,
    /// The values of wanted fields that are absent from the message.
    pub(super) absent: Vec<(usize, FieldValue<'static>)>,
}

/// What a field is wanted for.
#[derive(Debug)]
pub(super) enum Target {
    /// It is the wanted field of this index.
    Field(usize, Kind),
    /// The message in it has wanted fields; the number of its plan.
    Inside(usize),
}

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Bytes,
    Signed,
    Signed32,
    Unsigned,
    Unsigned32,
    Zigzag,
    Fixed32,
    Fixed64,
    SignedFixed32,
    SignedFixed64,
    Timestamp,
    /// A message of `google/protobuf/wrappers.proto` around a value of this type.
    Wrapper(&'static Kind),
    /// The name of a type that no wanted field can have.
    Unsupported(&'static str),
}

impl ProtobufSchema {
    /// Parses a schema: its source or, as Confluent's Python client registers it, a serialized
    /// `FileDescriptorProto` in Base64. `references` are its imports, by name. Types of others,
    /// which a registry knows, matter only if a wanted field has one.
    ///
    /// # Errors
    /// If it is not a schema; returns the reason.
    pub fn new(schema: &str, references: &[(String, String)]) -> Result<ProtobufSchema, String> {
        let mut parsed =
            ProtobufSchema { roots: Vec::new(), messages: Vec::new(), names: BTreeMap::new() };
        parsed.roots = parsed.add(file(schema)?);
        for (name, text) in references {
            parsed.add(file(text).map_err(|error| format!("in its import `{name}`, {error}"))?);
        }
        Ok(parsed)
    }

    /// Adds the types of a file, and returns the numbers of those that are not nested.
    fn add(&mut self, file: ProtoFile) -> Vec<usize> {
        for name in &file.enums {
            self.names.entry(full_name(&file.package, name)).or_insert(Named::Enum);
        }
        let messages = file.messages.into_iter();
        messages.map(|message| self.add_message(message, &file.package, file.is_implicit)).collect()
    }

    fn add_message(&mut self, message: Message, scope: &str, is_implicit: bool) -> usize {
        let full_name = full_name(scope, &message.name);
        for name in &message.enums {
            self.names.entry(self::full_name(&full_name, name)).or_insert(Named::Enum);
        }
        let nested = message.messages.into_iter();
        let nested =
            nested.map(|nested| self.add_message(nested, &full_name, is_implicit)).collect();
        let number = self.messages.len();
        self.names.entry(full_name.clone()).or_insert(Named::Message(number));
        self.messages.push(MessageType { full_name, fields: message.fields, nested, is_implicit });
        number
    }

    /// Returns what is wanted of the type at `indexes`, and of the types inside, by number. That of
    /// the type itself is the last.
    pub(super) fn plans(
        &self,
        indexes: &[usize],
        fields: &FieldNames,
    ) -> Result<Vec<Plan>, String> {
        let message = self.message(indexes);
        let message = message.ok_or_else(|| format!("it has no message type at {indexes:?}"))?;
        let mut plans = Vec::new();
        self.plan(message, &fields.tree(), &mut plans);
        Ok(plans)
    }

    /// Returns the number of the type at `indexes`: its position among the types of each level of
    /// nesting.
    fn message(&self, indexes: &[usize]) -> Option<usize> {
        let (first, nested) = indexes.split_first()?;
        let first = *self.roots.get(*first)?;
        nested
            .iter()
            .try_fold(first, |number, place| self.messages[number].nested.get(*place).copied())
    }

    /// Returns the full name of the type at `indexes`.
    #[cfg(test)]
    pub(super) fn name_of(&self, indexes: &[usize]) -> Option<&str> {
        self.message(indexes).map(|number| self.messages[number].full_name.as_str())
    }

    /// Plans how to read a type of which a tree is wanted. Ends, as each message goes one step down
    /// the tree.
    fn plan(&self, number: usize, tree: &FieldTree, plans: &mut Vec<Plan>) -> usize {
        let message = &self.messages[number];
        let mut plan = Plan { fields: Vec::new(), absent: Vec::new() };
        for field in &message.fields {
            let Some(place) = tree.place(&field.name) else { continue };
            let wanted = &tree.inside[place].1;
            let is_list = field.is_map || field.is_repeated;
            match (wanted.field, self.named(&message.full_name, &field.kind)) {
                (Some(index), _) => {
                    let kind = self.kind(message, field);
                    plan.absent.push((index, absent(kind, self.tells(message, field), index)));
                    plan.fields.push((field.number, Target::Field(index, kind)));
                }
                (None, Some((_, Named::Message(inside)))) if !is_list => {
                    let target = Target::Inside(self.plan(inside, wanted, plans));
                    plan.fields.push((field.number, target));
                }
                _ => {}
            }
        }
        plans.push(plan);
        plans.len() - 1
    }

    /// Whether a field tells if it is present.
    fn tells(&self, message: &MessageType, field: &Declared) -> bool {
        let is_scalar = scalar(&field.kind).is_some()
            || matches!(self.named(&message.full_name, &field.kind), Some((_, Named::Enum)));
        !is_scalar || field.has_presence.unwrap_or(!message.is_implicit)
    }

    fn kind(&self, message: &MessageType, field: &Declared) -> Kind {
        match scalar(&field.kind) {
            _ if field.is_map => Kind::Unsupported("a map"),
            _ if field.is_repeated => Kind::Unsupported("a list"),
            Some(kind) => kind,
            None => match self.named(&message.full_name, &field.kind) {
                Some((name, Named::Message(_))) => {
                    well_known(&name).unwrap_or(Kind::Unsupported("a message"))
                }
                Some((_, Named::Enum)) => Kind::Unsupported("an enum"),
                None => scopes(&message.full_name)
                    .find_map(|scope| well_known(&full_name(scope, &field.kind)))
                    .or_else(|| well_known(field.kind.trim_start_matches('.')))
                    .unwrap_or(Kind::Unsupported("of a type that its schema does not define")),
            },
        }
    }

    /// Returns what a name of a type means inside a message, and its full name: names of inner
    /// scopes come first.
    fn named(&self, scope: &str, name: &str) -> Option<(String, Named)> {
        let find = |name: String| self.names.get(&name).map(|named| (name, *named));
        match name.strip_prefix('.') {
            Some(full_name) => find(full_name.into()),
            None => scopes(scope).find_map(|scope| find(full_name(scope, name))),
        }
    }
}

fn file(text: &str) -> Result<ProtoFile, String> {
    // The source of any file that declares something has characters that Base64 lacks.
    let bytes = BASE64.decode(text.trim()).ok();
    match bytes.and_then(|bytes| described(&bytes)) {
        Some(file) => Ok(file),
        None => source::parse(text),
    }
}

/// Returns a scope and the scopes around it, innermost first, and the empty one last.
fn scopes(scope: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(scope), |scope| match scope.rsplit_once('.') {
        Some((around, _)) => Some(around),
        None => (!scope.is_empty()).then_some(""),
    })
}

fn full_name(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.into() } else { format!("{scope}.{name}") }
}

fn scalar(keyword: &str) -> Option<Kind> {
    Some(match keyword {
        "string" => Kind::Text,
        "bytes" => Kind::Bytes,
        "int64" => Kind::Signed,
        "int32" => Kind::Signed32,
        "uint64" => Kind::Unsigned,
        "uint32" => Kind::Unsigned32,
        "sint32" | "sint64" => Kind::Zigzag,
        "fixed32" => Kind::Fixed32,
        "fixed64" => Kind::Fixed64,
        "sfixed32" => Kind::SignedFixed32,
        "sfixed64" => Kind::SignedFixed64,
        "bool" => Kind::Unsupported("a boolean"),
        "float" | "double" => Kind::Unsupported("a floating-point number"),
        _ => return None,
    })
}

/// Returns the meaning of one of Google's message types, which need not be handed out by a
/// registry.
fn well_known(full_name: &str) -> Option<Kind> {
    Some(match full_name.strip_prefix("google.protobuf.")? {
        "Timestamp" => Kind::Timestamp,
        "StringValue" => Kind::Wrapper(&Kind::Text),
        "BytesValue" => Kind::Wrapper(&Kind::Bytes),
        "Int64Value" => Kind::Wrapper(&Kind::Signed),
        "Int32Value" => Kind::Wrapper(&Kind::Signed32),
        "UInt64Value" => Kind::Wrapper(&Kind::Unsigned),
        "UInt32Value" => Kind::Wrapper(&Kind::Unsigned32),
        "BoolValue" => Kind::Unsupported("a boolean"),
        "FloatValue" | "DoubleValue" => Kind::Unsupported("a floating-point number"),
        _ => return None,
    })
}

/// Returns the value of an absent field: its default, if it has one. A time has none.
fn absent(kind: Kind, tells: bool, index: usize) -> FieldValue<'static> {
    let is_an_id = index < 2;
    match kind {
        _ if tells || !is_an_id => FieldValue::Absent,
        kind => kind.default_value(),
    }
}

impl Kind {
    /// Returns the value that is not written.
    pub(super) fn default_value(self) -> FieldValue<'static> {
        match self {
            Kind::Unsupported(what) => FieldValue::Unsupported(what),
            Kind::Text => FieldValue::Text(""),
            Kind::Bytes => FieldValue::Bytes(b""),
            _ => FieldValue::Unsigned(0),
        }
    }
}
