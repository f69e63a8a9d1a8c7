//! Decodes messages by their format: JSON here, Avro and Protobuf in `framed`.

use super::errors::KafkaSourceError;
#[cfg(feature = "schema-registry")]
use super::framed::FramedDecoder;
#[cfg(feature = "schema-registry")]
use super::registry::Registry;
#[cfg(feature = "schema-registry")]
use crate::decode::MessageFormat;
use crate::decode::{DecodeError, FieldNames, JsonDecoder};
use crate::event::Event;
#[cfg(feature = "schema-registry")]
use std::sync::Arc;

/// The format of the messages.
#[derive(Clone, Default)]
pub enum MessageSettings {
    /// JSON objects.
    #[default]
    Json,
    /// Avro or Protobuf in Confluent's framing, with the schemas in a registry.
    #[cfg(feature = "schema-registry")]
    Framed(MessageFormat, Arc<Registry>),
}

/// The result of decoding a message.
pub(super) enum Decoded {
    Event(Event),
    /// The reason why the message is malformed.
    Malformed(String),
    /// The registry has not answered yet.
    #[cfg_attr(not(feature = "schema-registry"), expect(dead_code))]
    Waiting,
}

/// The decoder of one partition.
pub(super) enum MessageDecoder {
    Json(Box<JsonDecoder>),
    #[cfg(feature = "schema-registry")]
    Framed(Box<FramedDecoder>),
}

impl MessageDecoder {
    pub(super) fn new(messages: &MessageSettings, fields: &FieldNames) -> MessageDecoder {
        match messages {
            MessageSettings::Json => MessageDecoder::Json(Box::new(JsonDecoder::new(fields))),
            #[cfg(feature = "schema-registry")]
            MessageSettings::Framed(format, registry) => {
                let decoder = FramedDecoder::new(fields, *format, registry);
                MessageDecoder::Framed(Box::new(decoder))
            }
        }
    }

    /// Asks for what is needed to decode a message later.
    #[cfg_attr(not(feature = "schema-registry"), expect(unused_variables))]
    pub(super) fn prefetch(&self, message: &[u8]) {
        match self {
            MessageDecoder::Json(_) => {}
            #[cfg(feature = "schema-registry")]
            MessageDecoder::Framed(decoder) => decoder.prefetch(message),
        }
    }

    /// Decodes the message at an offset.
    #[inline]
    pub(super) fn decode(
        &mut self,
        message: &[u8],
        offset: u64,
    ) -> Result<Decoded, KafkaSourceError> {
        match self {
            MessageDecoder::Json(decoder) => {
                Ok(decoded(decoder.decode(without_frame(message), offset)))
            }
            #[cfg(feature = "schema-registry")]
            MessageDecoder::Framed(decoder) => decoder.decode(message, offset),
        }
    }
}

/// Returns a JSON text without the frame that Confluent's serializer of JSON Schema puts before it:
/// a zero byte, which no JSON text has, and the id of the schema, which is not needed.
#[inline]
fn without_frame(message: &[u8]) -> &[u8] {
    match message {
        [0, _, _, _, _, text @ ..] => text,
        text => text,
    }
}

#[inline]
pub(super) fn decoded(result: Result<Event, DecodeError>) -> Decoded {
    match result {
        Ok(event) => Decoded::Event(event),
        Err(error) => Decoded::Malformed(error.to_string()),
    }
}
