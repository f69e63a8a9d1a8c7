//! Protobuf schemas: the numbers and types of the wanted fields.

use crate::decode::FieldPath;
use crate::decode::value::FieldValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use protox::prost_reflect::prost::Message;
use protox::prost_reflect::prost_types::FileDescriptorProto;
use protox::prost_reflect::{DescriptorPool, FieldDescriptor, Kind as Declared, MessageDescriptor};
use std::collections::BTreeMap;

/// The file name of the schema, which does not come with one.
const ROOT: &str = "schema.proto";

/// A schema with its references.
pub struct ProtobufSchema {
    pool: DescriptorPool,
}

/// A wanted field of a message type.
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) kind: Kind,
    /// Its value where it is absent from a message.
    pub(super) absent: FieldValue<'static>,
}

/// The declared type of a field.
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
    /// The name of a type that no wanted field can have.
    Unsupported(&'static str),
}

impl ProtobufSchema {
    /// Parses a schema: its source or, as Confluent's Python client registers it, a serialized
    /// `FileDescriptorProto` in Base64. `references` are its imports, by name. Google's own
    /// (`google/protobuf/…`) are built in.
    ///
    /// # Errors
    /// If it is not a schema; returns the reason.
    pub fn new(schema: &str, references: &[(String, String)]) -> Result<ProtobufSchema, String> {
        let mut files: BTreeMap<String, String> = references.iter().cloned().collect();
        files.insert(ROOT.into(), schema.into());
        let mut resolver = ChainFileResolver::new();
        resolver.add(Texts(files));
        resolver.add(GoogleFileResolver::new());
        let mut compiler = protox::Compiler::with_file_resolver(resolver);
        compiler.open_file(ROOT).map_err(|error| error.to_string())?;
        Ok(ProtobufSchema { pool: compiler.descriptor_pool() })
    }

    /// Returns the wanted fields of the type at `indexes`.
    pub(super) fn fields(
        &self,
        indexes: &[usize],
        paths: [&FieldPath; 4],
    ) -> Result<[Option<Field>; 4], String> {
        let message = self.message(indexes);
        let message = message.ok_or_else(|| format!("it has no message type at {indexes:?}"))?;
        let field = |at: usize| {
            let [name] = paths[at].names() else { return None };
            message.get_field_by_name(name).map(|field| Field::of(&field, at))
        };
        Ok([field(0), field(1), field(2), field(3)])
    }

    /// Returns the type at `indexes`: its position among the types of each level of nesting.
    pub(super) fn message(&self, indexes: &[usize]) -> Option<MessageDescriptor> {
        let (first, nested) = indexes.split_first()?;
        let mut message = self.pool.get_file_by_name(ROOT)?.messages().nth(*first)?;
        for number in nested {
            let child = message.child_messages().nth(*number)?;
            message = child;
        }
        Some(message)
    }
}

impl Field {
    /// Converts the field that is wanted at index `at` of the names.
    fn of(field: &FieldDescriptor, at: usize) -> Field {
        let kind = match field.kind() {
            _ if field.is_map() => Kind::Unsupported("a map"),
            _ if field.is_list() => Kind::Unsupported("a list"),
            Declared::String => Kind::Text,
            Declared::Bytes => Kind::Bytes,
            Declared::Int64 => Kind::Signed,
            Declared::Int32 => Kind::Signed32,
            Declared::Uint64 => Kind::Unsigned,
            Declared::Uint32 => Kind::Unsigned32,
            Declared::Sint32 | Declared::Sint64 => Kind::Zigzag,
            Declared::Fixed32 => Kind::Fixed32,
            Declared::Fixed64 => Kind::Fixed64,
            Declared::Sfixed32 => Kind::SignedFixed32,
            Declared::Sfixed64 => Kind::SignedFixed64,
            Declared::Message(message) if message.full_name() == "google.protobuf.Timestamp" => {
                Kind::Timestamp
            }
            Declared::Message(_) => Kind::Unsupported("a message"),
            Declared::Enum(_) => Kind::Unsupported("an enum"),
            Declared::Bool => Kind::Unsupported("a boolean"),
            Declared::Float | Declared::Double => Kind::Unsupported("a floating-point number"),
        };
        Field { number: field.number(), kind, absent: absent(field, kind, at) }
    }
}

/// Returns the value of an absent field: its default, if it has one. A time has none.
fn absent(field: &FieldDescriptor, kind: Kind, at: usize) -> FieldValue<'static> {
    let is_an_id = at < 2;
    match kind {
        _ if field.supports_presence() || !is_an_id => FieldValue::Absent,
        Kind::Unsupported(what) => FieldValue::Unsupported(what),
        Kind::Text => FieldValue::Text(""),
        Kind::Bytes => FieldValue::Bytes(b""),
        _ => FieldValue::Unsigned(0),
    }
}

/// Decodes a serialized file descriptor, and renames the file. Returns `None` if the text is not
/// one: the source of any file that declares something has characters that Base64 lacks.
fn described(name: &str, text: &str) -> Option<File> {
    let bytes = BASE64.decode(text.trim()).ok()?;
    let mut file = FileDescriptorProto::decode(&bytes[..]).ok()?;
    file.name = Some(name.into());
    Some(File::from_file_descriptor_proto(file))
}

/// Files in memory, by name.
struct Texts(BTreeMap<String, String>);

impl FileResolver for Texts {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.get(name) {
            Some(text) => match described(name, text) {
                Some(file) => Ok(file),
                None => File::from_source(name, text),
            },
            None => Err(protox::Error::file_not_found(name)),
        }
    }

    fn resolve_path(&self, path: &std::path::Path) -> Option<String> {
        path.to_str().filter(|name| self.0.contains_key(*name)).map(String::from)
    }
}
