//! Decodes Avro and Protobuf messages as soon as their schemas are available.

use super::decoder::{Decoded, decoded};
use super::errors::KafkaSourceError;
use super::registry::{Lookup, Registry, Schema};
use crate::decode::avro::AvroDecoder;
use crate::decode::confluent::unframe;
use crate::decode::protobuf::{ProtobufDecoder, ProtobufSchema, split_indexes};
use crate::decode::{FieldNames, MessageFormat};
use crate::panics::catch_panic;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The largest id of a schema: registries have signed numbers of 32 bits, from 1.
const ID_MAX: u32 = i32::MAX.cast_unsigned();

/// Decodes messages with the schemas whose ids they contain.
pub(super) struct FramedDecoder {
    fields: FieldNames,
    format: MessageFormat,
    registry: Arc<Registry>,
    /// The schemas prepared so far, by id, or the reasons why they cannot be used.
    schemas: BTreeMap<u32, Result<Prepared, String>>,
}

enum Prepared {
    Avro(Box<AvroDecoder>),
    /// The schema, and the decoders of its types seen so far.
    Protobuf(ProtobufSchema, BTreeMap<Vec<usize>, Result<ProtobufDecoder, String>>),
}

impl FramedDecoder {
    /// Creates the decoder of a partition.
    pub(super) fn new(
        fields: &FieldNames,
        format: MessageFormat,
        registry: &Arc<Registry>,
    ) -> FramedDecoder {
        let registry = Arc::clone(registry);
        FramedDecoder { fields: fields.clone(), format, registry, schemas: BTreeMap::new() }
    }

    /// Asks for the schema of a message that will be decoded later.
    pub(super) fn prefetch(&self, message: &[u8]) {
        if let Ok((id, _)) = unframe(message)
            && id <= ID_MAX
            && !self.schemas.contains_key(&id)
        {
            self.registry.lookup(id);
        }
    }

    /// Decodes the message at an offset.
    pub(super) fn decode(
        &mut self,
        message: &[u8],
        offset: u64,
    ) -> Result<Decoded, KafkaSourceError> {
        let (id, payload) = match unframe(message) {
            Ok(framed) => framed,
            Err(error) => return Ok(Decoded::Malformed(error.to_string())),
        };
        if id > ID_MAX {
            return Ok(Decoded::Malformed(format!(
                "there can be no schema {id}: ids end at {ID_MAX}"
            )));
        }
        if !self.schemas.contains_key(&id) {
            match self.registry.lookup(id) {
                Lookup::Waiting => return Ok(Decoded::Waiting),
                Lookup::Denied(error) => return Err(error.into()),
                Lookup::Unknown => {
                    let reason = format!("the schema registry has no schema {id}");
                    return Ok(Decoded::Malformed(reason));
                }
                Lookup::Unusable(reason) => return Ok(Decoded::Malformed(unusable(id, &reason))),
                Lookup::Known(schema) => {
                    let prepared = catch_panic(|| self.prepare(&schema));
                    self.schemas.insert(id, prepared);
                }
            }
        }
        let prepared = self.schemas.get_mut(&id);
        Ok(match prepared {
            Some(Ok(prepared)) => decode(prepared, &self.fields, (id, payload), offset),
            Some(Err(reason)) => Decoded::Malformed(unusable(id, reason)),
            None => Decoded::Waiting,
        })
    }

    fn prepare(&self, schema: &Schema) -> Result<Prepared, String> {
        let expected = self.format.registry_name();
        if schema.format != expected {
            return Err(format!("its type is {}, expected {expected}", schema.format));
        }
        let (text, references) = (&schema.text, &schema.references);
        Ok(match self.format {
            MessageFormat::Protobuf => {
                Prepared::Protobuf(ProtobufSchema::new(text, references)?, BTreeMap::new())
            }
            _ => Prepared::Avro(Box::new(AvroDecoder::new(&self.fields, text, references)?)),
        })
    }
}

#[cold]
fn unusable(id: u32, reason: &str) -> String {
    format!("schema {id} cannot be used: {reason}")
}

/// The maximum number of decoders that are cached per schema.
const TYPES_MAX: usize = 1_000;

fn decode(
    prepared: &mut Prepared,
    fields: &FieldNames,
    (id, payload): (u32, &[u8]),
    offset: u64,
) -> Decoded {
    let (schema, types) = match prepared {
        Prepared::Avro(decoder) => return decoded(decoder.decode(payload, offset)),
        Prepared::Protobuf(schema, types) => (schema, types),
    };
    let (indexes, message) = match split_indexes(payload) {
        Ok(placed) => placed,
        Err(error) => return Decoded::Malformed(error.to_string()),
    };
    if !types.contains_key(&indexes) {
        if types.len() == TYPES_MAX {
            types.clear();
        }
        types.insert(indexes.clone(), ProtobufDecoder::new(fields, schema, &indexes));
    }
    match types.get(&indexes) {
        Some(Ok(decoder)) => decoded(decoder.decode(message, offset)),
        Some(Err(reason)) => Decoded::Malformed(unusable(id, reason)),
        None => Decoded::Waiting,
    }
}
