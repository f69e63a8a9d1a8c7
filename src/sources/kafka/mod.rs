//! Kafka topics as a source: every message is a JSON, Avro or Protobuf record.
//!
//! A partition is named `kafka:TOPIC/NUMBER`, and its offsets are Kafka's. The job assigns
//! partitions to workers, and the store holds the positions. Offsets committed to the consumer
//! group (`group.id`, by default `trendmark`) are only for dashboards.
//!
//! - Only committed messages are read. A message that is not a valid event is malformed, as is one
//!   without a value. The record time is the least of its `record_time` and the timestamp of its
//!   message: no claim of a producer raises it.
//! - A message whose schema is not available yet blocks its partition until it is.
//! - Unavailable brokers and leader changes are waited for. A partition counts as read to its end
//!   only if the end was seen after the last connection loss.
//! - Every worker has its own client, with all of librdkafka's threads.

mod client;
mod decoder;
mod errors;
mod finder;
#[cfg(feature = "schema-registry")]
mod framed;
mod held;
mod queue;
mod reader;
#[cfg(feature = "schema-registry")]
pub mod registry;
mod topic_partition;

pub use decoder::MessageSettings;
pub use errors::KafkaSourceError;

use super::{Discovered, PartitionReader, Source, SourceError};
use crate::decode::LogFields;
use crate::event::Kind;
use crate::kafka::KafkaSettings;
use crate::log::{PartitionName, PartitionProgress};
use client::Client;
use decoder::MessageDecoder;
use finder::Finder;
use std::sync::{Arc, OnceLock};
use topic_partition::TopicPartition;

/// A source of Kafka topics.
pub struct KafkaSource {
    settings: KafkaSettings,
    topics: Vec<(Kind, String)>,
    fields: LogFields,
    /// The format of impressions, and of plays.
    messages: [MessageSettings; Kind::COUNT],
    until_end: bool,
    /// Created on first use.
    client: OnceLock<Arc<Client>>,
    finder: Option<Finder>,
}

impl Clone for KafkaSource {
    /// Returns a source of the same topics, with its own client.
    fn clone(&self) -> KafkaSource {
        let (settings, topics) = (self.settings.clone(), self.topics.clone());
        KafkaSource::new(settings, topics, self.fields.clone(), self.until_end)
            .with_messages(self.messages.clone())
    }
}

impl KafkaSource {
    /// Creates a source of these topics, whose records have their fields at these paths. With
    /// `until_end`, every partition ends at its end offset at discovery; without, it never ends.
    /// Contacts no broker before the first use.
    pub fn new(
        settings: KafkaSettings,
        topics: Vec<(Kind, String)>,
        fields: LogFields,
        until_end: bool,
    ) -> KafkaSource {
        let (client, messages) = (OnceLock::new(), Default::default());
        KafkaSource { settings, topics, fields, messages, until_end, client, finder: None }
    }

    /// Sets the message formats of impressions and of plays, which are JSON by default.
    pub fn with_messages(self, messages: [MessageSettings; Kind::COUNT]) -> KafkaSource {
        KafkaSource { messages, ..self }
    }

    /// Returns the offset after the last committed message of a partition.
    ///
    /// # Errors
    /// When the partition is not in Kafka, or the brokers do not return its end.
    pub fn end_offset(&self, partition: &PartitionName) -> Result<u64, SourceError> {
        let Some(topic_partition) = TopicPartition::of(partition) else {
            return Err(SourceError::NotFound(partition.name.clone().into()));
        };
        let (_, end) =
            self.client()?.offsets_if_any(&topic_partition.topic, topic_partition.number)?;
        Ok(end)
    }

    fn client(&self) -> Result<&Arc<Client>, KafkaSourceError> {
        match self.client.get() {
            Some(client) => Ok(client),
            None => {
                let client = Arc::new(Client::new(&self.settings)?);
                Ok(self.client.get_or_init(|| client))
            }
        }
    }
}

impl Source for KafkaSource {
    fn discover(&mut self) -> Result<Vec<Discovered>, SourceError> {
        if let Some(finder) = &self.finder {
            self.client()?.handle_events()?;
            return Ok(finder.find());
        }
        let finder = Finder::start(self.client()?, &self.topics, self.until_end)?;
        let found = finder.find();
        self.finder = Some(finder);
        Ok(found)
    }

    fn open(
        &self,
        partition: &Discovered,
        offset: Option<u64>,
    ) -> Result<Box<dyn PartitionReader>, SourceError> {
        let Some(topic_partition) = TopicPartition::of(&partition.name) else {
            return Err(SourceError::NotFound(partition.name.name.clone().into()));
        };
        let kind = partition.name.kind;
        let messages = &self.messages[kind as usize];
        let decoder = MessageDecoder::new(messages, self.fields.of(kind));
        reader::open(self.client()?, topic_partition, partition, offset, decoder)
    }

    fn may_have(&self, partition: &PartitionProgress) -> bool {
        let of = TopicPartition::of(&partition.partition);
        let kind = partition.partition.kind;
        of.is_some_and(|of| self.topics.contains(&(kind, of.topic)))
    }

    fn maintain(&mut self) -> Result<(), SourceError> {
        match self.client.get() {
            Some(client) => Ok(client.handle_events()?),
            None => Ok(()),
        }
    }

    fn committed(&mut self, partitions: &[PartitionProgress]) {
        let places = partitions.iter().filter_map(|at| {
            TopicPartition::of(&at.partition).map(|place| (place, at.next_offset))
        });
        let places: Vec<_> = places.collect();
        let Ok(client) = self.client() else { return };
        client.commit(places.iter().map(|(topic_partition, next_offset)| {
            (topic_partition.topic.as_str(), topic_partition.number, *next_offset)
        }));
        // Fatal errors are returned by `discover` and the readers.
        let _ = client.handle_events();
    }
}
