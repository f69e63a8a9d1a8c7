//! Topics of Kafka as partitions, their messages as records: JSON, Avro or Protobuf.
//!
//! A partition is called `kafka:TOPIC/NUMBER`, and its offsets are Kafka's. Which worker reads
//! which partition is the job's affair, and how far it was read is in the store: the offsets that
//! are committed to the group (`group.id`, by default `trendmark`) are for dashboards.
//!
//! - Only committed messages are read. A message that is no event is malformed, also one without
//!   a value. A record without a time of its own has that of its message.
//! - A message whose schema is not there yet is waited for, and with it those behind it.
//! - Brokers that go away and leaders that move are waited for. A partition counts as read to its
//!   end only when that was seen since the last connection was lost.
//! - Every worker has a client of its own, with all the threads that librdkafka gives it.

mod client;
mod decoder;
mod errors;
mod finder;
mod reader;
pub mod registry;
mod topic_partition;

pub use decoder::Messages;
pub use errors::KafkaSourceError;

use super::{Discovered, PartitionReader, Source, SourceError};
use crate::decode::FieldNames;
use crate::event::Kind;
use crate::kafka::KafkaSettings;
use crate::log::PartitionName;
use client::Client;
use decoder::MessageDecoder;
use finder::Finder;
use std::sync::{Arc, OnceLock};
use topic_partition::TopicPartition;

/// Topics of Kafka.
pub struct KafkaSource {
    settings: KafkaSettings,
    topics: Vec<(Kind, String)>,
    fields: FieldNames,
    messages: Messages,
    until_end: bool,
    /// Made when it is first needed.
    client: OnceLock<Arc<Client>>,
    finder: Option<Finder>,
}

impl Clone for KafkaSource {
    /// A source of the same topics, with a client of its own.
    fn clone(&self) -> KafkaSource {
        let (settings, topics) = (self.settings.clone(), self.topics.clone());
        KafkaSource::new(settings, topics, self.fields.clone(), self.until_end)
            .with_messages(self.messages.clone())
    }
}

impl KafkaSource {
    /// A source of these topics, as records with fields of these names. With `until_end` it ends
    /// where the partitions end when they are discovered; without, it never does. No broker is
    /// asked for anything before its partitions are.
    pub fn new(
        settings: KafkaSettings,
        topics: Vec<(Kind, String)>,
        fields: FieldNames,
        until_end: bool,
    ) -> KafkaSource {
        let (client, messages) = (OnceLock::new(), Messages::default());
        KafkaSource { settings, topics, fields, messages, until_end, client, finder: None }
    }

    /// The same of messages that are not JSON.
    pub fn with_messages(self, messages: Messages) -> KafkaSource {
        KafkaSource { messages, ..self }
    }

    /// Whether a partition is one in Kafka.
    pub fn holds(partition: &PartitionName) -> bool {
        TopicPartition::of(partition).is_some()
    }

    /// The offset after the last committed message of a partition.
    ///
    /// # Errors
    /// When the partition is not in Kafka, or cannot be asked for.
    pub fn end_offset(&self, partition: &PartitionName) -> Result<u64, SourceError> {
        let Some(place) = TopicPartition::of(partition) else {
            return Err(SourceError::NotFound(partition.name.clone().into()));
        };
        let (_, end) = self.client()?.ends(&place.topic, place.number)?;
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
            self.client()?.hear()?;
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
        let Some(place) = TopicPartition::of(&partition.name) else {
            return Err(SourceError::NotFound(partition.name.name.clone().into()));
        };
        let decoder = MessageDecoder::new(&self.messages, &self.fields);
        reader::open(self.client()?, place, partition, offset, decoder)
    }

    fn committed(&mut self, positions: &[(PartitionName, u64)]) {
        let places = positions.iter().filter_map(|(name, next_offset)| {
            TopicPartition::of(name).map(|place| (place, *next_offset))
        });
        let places: Vec<_> = places.collect();
        let Ok(client) = self.client() else { return };
        client.commit(
            places
                .iter()
                .map(|(place, next_offset)| (place.topic.as_str(), place.number, *next_offset)),
        );
        // What stops the job is told by `discover` and the readers.
        let _ = client.hear();
    }
}
