//! Sources and stores in Kafka, for the commands that use them.

use super::run::RunError;
use crate::arguments::Plan;
use crate::decode::LogFields;
use crate::event::Kind;
use crate::kafka::KafkaSettings;
use crate::log::PartitionName;
use crate::query::QueryInstance;
use crate::sources::kafka::{KafkaSource, KafkaSourceError, MessageSettings};
use crate::sources::{Source, SourceError};
use crate::stores::kafka::{KafkaReader, KafkaStore};
use crate::stores::{Claim, Store, StoreError, StoreReader};
use crate::time::Definition;

/// Returns a function that makes a source of the topics of a plan, if it has any.
///
/// # Errors
/// When the settings are invalid, or the message format needs a feature that is not built in.
pub fn source(
    plan: &Plan,
) -> Result<Option<impl Fn() -> Box<dyn Source> + Send + Sync + 'static>, RunError> {
    let Some(settings) = plan.kafka.clone().filter(|_| !plan.inputs.topics.is_empty()) else {
        return Ok(None);
    };
    let (inputs, fields) = (plan.inputs.clone(), plan.fields.clone());
    let messages = messages(plan)?;
    Ok(Some(move || -> Box<dyn Source> {
        let (settings, topics) = (settings.clone(), inputs.topics.clone());
        let source = KafkaSource::new(settings, topics, fields.clone(), inputs.until_end);
        Box::new(source.with_messages(messages.clone()))
    }))
}

/// Returns the format of each log.
#[cfg(feature = "schema-registry")]
fn messages(plan: &Plan) -> Result<[MessageSettings; Kind::COUNT], RunError> {
    use crate::decode::MessageFormat;
    use crate::sources::kafka::registry::Registry;
    let Some(settings) = &plan.registry else { return Ok(Default::default()) };
    let registry = Registry::new(settings).map_err(crate::arguments::ArgumentError::from)?;
    let registry = std::sync::Arc::new(registry);
    Ok(plan.message_formats.map(|format| match format {
        MessageFormat::Json => MessageSettings::Json,
        format => MessageSettings::Framed(format, std::sync::Arc::clone(&registry)),
    }))
}

#[cfg(not(feature = "schema-registry"))]
fn messages(plan: &Plan) -> Result<[MessageSettings; Kind::COUNT], RunError> {
    use crate::decode::MessageFormat;
    match plan.message_formats {
        formats if formats.iter().all(|one| *one == MessageFormat::Json) => Ok(Default::default()),
        _ => Err(crate::features::Feature::SchemaRegistry.missing("--kafka-format").into()),
    }
}

/// Opens a store, and takes it over.
///
/// # Errors
/// Those of [`KafkaStore::open`].
pub fn store(
    settings: &KafkaSettings,
    topic: &str,
    definition: &Definition,
    queries: &[QueryInstance],
    claim: &Claim,
) -> Result<Box<dyn Store>, StoreError> {
    Ok(Box::new(KafkaStore::open(settings, topic, definition, queries, claim)?))
}

/// Opens a store for reading.
///
/// # Errors
/// Those of [`KafkaReader::open`].
pub fn reader(
    settings: &KafkaSettings,
    topic: &str,
) -> Result<Box<dyn StoreReader + Send>, StoreError> {
    Ok(Box::new(KafkaReader::open(settings, topic)?))
}

/// The end offsets of partitions.
pub struct EndOffsets {
    source: KafkaSource,
    /// Whether the brokers have answered so far.
    answers: bool,
}

impl EndOffsets {
    /// Creates a client, which connects at the first question.
    pub fn new(settings: &KafkaSettings) -> EndOffsets {
        let source = KafkaSource::new(settings.clone(), vec![], LogFields::default(), false);
        EndOffsets { source, answers: true }
    }

    /// Returns the offset after the last committed message of a partition; `None` if the brokers
    /// have not answered an earlier question, as each question takes half a minute then.
    ///
    /// # Errors
    /// When the brokers do not return it.
    pub fn of(&mut self, partition: &PartitionName) -> Result<Option<u64>, SourceError> {
        if !self.answers {
            return Ok(None);
        }
        let end = self.source.end_offset(partition);
        let about_partition =
            |error: &KafkaSourceError| matches!(error, KafkaSourceError::UnknownTopic { .. });
        if let Err(SourceError::Kafka(error)) = &end {
            self.answers = about_partition(error);
        }
        end.map(Some)
    }
}
