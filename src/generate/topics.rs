//! A log in Kafka: the topics `NAME-impressions` and `NAME-plays`, one JSON object per message;
//! with bots also `NAME-denials`.

use super::arrival::Arrival;
use super::json;
use super::settings::Model;
use super::titles::Title;
use crate::kafka::client::{self, create_topic, partitions, reason, retry_transient, set_defaults};
use crate::kafka::notices::{Callbacks, Notices};
use crate::kafka::{KafkaSettings, KafkaSettingsError};
use rdkafka::admin::{AdminClient, NewTopic, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How far timestamps may be in the future.
const CENTURY_MS: &str = "3155760000000";
/// How long the brokers may take for an answer, or to accept a message.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a log cannot be written to topics. Every message says what failed, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The settings are not valid.
    #[error(transparent)]
    Settings(#[from] KafkaSettingsError),
    /// A topic holds records, and the new ones would mix with them.
    #[error("topic `{0}` holds records; give another name, or --force to append to it")]
    Occupied(String),
    /// A topic exists with another number of partitions.
    #[error("topic `{topic}` has {has} partitions; give --partitions {has}, or another name")]
    Partitions {
        /// The topic.
        topic: String,
        /// Its number of partitions.
        has: i32,
    },
    /// The brokers did not do what was asked.
    #[error(
        "cannot write topic `{topic}`: {reason}; check --bootstrap-servers, the settings given by \
         --kafka and the permissions of the user"
    )]
    Kafka {
        /// The topic.
        topic: String,
        /// The message of librdkafka.
        reason: String,
    },
}

impl TopicError {
    /// Whether the arguments are the cause, so that the same command fails again.
    pub fn is_usage(&self) -> bool {
        matches!(self, TopicError::Settings(error) if error.is_usage())
    }

    fn kafka(topic: &str, error: &KafkaError) -> TopicError {
        let reason = reason(error);
        TopicError::Kafka { topic: topic.into(), reason }
    }
}

/// Writes each arrival to the topic of its kind, in its partition. The timestamp of a message is
/// its time of arrival.
pub struct TopicWriter {
    producer: ThreadedProducer<Deliveries>,
    /// The topics of the kinds, in the order of their discriminants; that of denials is missing
    /// unless there are bots.
    topics: Vec<String>,
    /// The topic of titles, which may not exist.
    titles: String,
    line: Vec<u8>,
    bytes: u64,
}

impl TopicWriter {
    /// Connects to the brokers, and creates the topics if they are missing. They keep records for
    /// ever, and accept timestamps in the future.
    ///
    /// # Errors
    /// When a topic holds records and `force` is not set, has another number of partitions, or
    /// cannot be created.
    pub fn create(
        settings: &KafkaSettings,
        name: &str,
        model: &Model,
        has_titles: bool,
        force: bool,
    ) -> Result<TopicWriter, TopicError> {
        let config = producer_config(settings)?;
        let kinds = model.world.kinds().iter();
        let topics: Vec<_> = kinds.map(|kind| format!("{name}-{}", kind.topic())).collect();
        let failed = |error| TopicError::kafka(&topics[0], &error);
        let notices = Arc::new(Notices::of("topics"));
        let callbacks = Callbacks(Arc::clone(&notices));
        let deliveries = Deliveries { failure: OnceLock::new(), notices };
        let producer = config.create_with_context(deliveries).map_err(failed)?;
        let titles = format!("{name}-titles");
        let line = Vec::with_capacity(256);
        let writer = TopicWriter { producer, topics, titles, line, bytes: 0 };
        let admin: AdminClient<_> = config
            .create_with_context(callbacks)
            .map_err(|error| TopicError::kafka(name, &error))?;
        let partitions = i32::try_from(model.partitions).unwrap_or(i32::MAX);
        for topic in &writer.topics {
            writer.prepare(&admin, &new_topic(topic, partitions), force)?;
        }
        if has_titles {
            let compacted = new_topic(&writer.titles, 1).set("cleanup.policy", "compact");
            writer.prepare(&admin, &compacted, force)?;
        }
        Ok(writer)
    }

    /// Creates a topic or checks the existing one.
    fn prepare(
        &self,
        admin: &AdminClient<impl ClientContext>,
        new: &NewTopic<'_>,
        force: bool,
    ) -> Result<(), TopicError> {
        let (topic, count) = (new.name, new.num_partitions);
        let failed = |error| TopicError::kafka(topic, &error);
        let client = self.producer.client();
        let partitions_of =
            || partitions(&client.fetch_metadata(Some(topic), ANSWER_TIMEOUT)?, topic);
        let has = create_topic(admin, new, ANSWER_TIMEOUT, partitions_of)
            .and_then(|created| created.map_err(KafkaError::AdminOp))
            .map_err(failed)?;
        if has != count {
            return Err(TopicError::Partitions { topic: topic.into(), has });
        }
        for number in 0..count {
            let offsets = retry_transient(ANSWER_TIMEOUT, || {
                client.fetch_watermarks(topic, number, ANSWER_TIMEOUT)
            });
            let (first, end) = offsets.map_err(failed)?;
            if first < end && !force {
                return Err(TopicError::Occupied(topic.into()));
            }
        }
        Ok(())
    }

    /// Sends one record.
    ///
    /// # Errors
    /// When an earlier record was not accepted, or this one is not within half a minute.
    pub fn write(&mut self, arrival: &Arrival) -> Result<(), TopicError> {
        self.line.clear();
        json::push_record(arrival, &mut self.line);
        self.bytes += self.line.len() as u64;
        let topic = &self.topics[arrival.kind as usize];
        let record = BaseRecord::<[u8], [u8]>::to(topic)
            .partition(i32::try_from(arrival.partition).unwrap_or(i32::MAX))
            .timestamp(arrival.arrival_ms)
            .payload(&self.line);
        self.send(record)
    }

    /// Sends the title of a video, whose id in digits is the key.
    ///
    /// # Errors
    /// When an earlier record was not accepted, or this one is not within half a minute.
    pub fn write_title(&mut self, title: &Title) -> Result<(), TopicError> {
        let (key, object) = (title.video.0.to_string(), title.to_string());
        let record = BaseRecord::<[u8], [u8]>::to(&self.titles)
            .partition(0)
            .key(key.as_bytes())
            .payload(object.as_bytes());
        self.send(record)
    }

    fn send(&self, mut record: BaseRecord<'_, [u8], [u8]>) -> Result<(), TopicError> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            self.check_deliveries()?;
            record = match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((error, unsent)) => {
                    let is_full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                    if !is_full || Instant::now() >= deadline {
                        return Err(TopicError::kafka(unsent.topic, &error));
                    }
                    std::thread::sleep(Duration::from_millis(1));
                    unsent
                }
            };
        }
    }

    /// Waits until all records are accepted, and returns their total size in bytes.
    ///
    /// # Errors
    /// When a record was not accepted.
    pub fn finish(self) -> Result<u64, TopicError> {
        let flushed = self.producer.flush(2 * ANSWER_TIMEOUT);
        self.check_deliveries()?;
        flushed.map_err(|error| TopicError::kafka(&self.topics[0], &error))?;
        Ok(self.bytes)
    }

    fn check_deliveries(&self) -> Result<(), TopicError> {
        match self.producer.context().failure.get() {
            Some((topic, reason)) => {
                Err(TopicError::Kafka { topic: topic.clone(), reason: reason.clone() })
            }
            None => Ok(()),
        }
    }
}

/// The first record that was not accepted: its topic, and why.
struct Deliveries {
    failure: OnceLock<(String, String)>,
    notices: Arc<Notices>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.notices.error(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        use rdkafka::message::Message;
        if let Err((error, message)) = result {
            let _ = self.failure.set((message.topic().to_owned(), reason(error)));
        }
    }
}

/// A topic that keeps its records for ever.
fn new_topic(topic: &str, partitions: i32) -> NewTopic<'_> {
    NewTopic::new(topic, partitions, TopicReplication::Fixed(-1))
        .set("retention.ms", "-1")
        .set("message.timestamp.after.max.ms", CENTURY_MS)
}

/// The user's settings, and those that keep the records of a partition in order.
fn producer_config(settings: &KafkaSettings) -> Result<ClientConfig, KafkaSettingsError> {
    let mut config = settings.client_config()?;
    let defaults = [
        (["compression.type", "compression.codec"], "lz4"),
        (["linger.ms", "queue.buffering.max.ms"], "5"),
        (["message.timeout.ms", "delivery.timeout.ms"], "30000"),
        (["reconnect.backoff.max.ms", ""], "1000"),
    ];
    set_defaults(&mut config, defaults);
    config.set("enable.idempotence", "true").set("delivery.report.only.error", "true");
    Ok(config)
}
