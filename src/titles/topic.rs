//! A topic of titles: the key of a message is the id of a video, its value a record of a title, and
//! a message without a value takes the title back.
//!
//! A job reads the topic from its beginning, as a compacted topic is a table: what it no longer has
//! is gone. Of several messages of a video in a partition the last one counts; of several
//! partitions, the one with the highest number. While the brokers are away, the titles stay.

use super::records::{Reading, Record, not_json, of_json, video_of_text};
use crate::event::VideoId;
use crate::kafka::client::{self, is_transient, read_to_ends, reason, retry_transient};
use crate::kafka::{KafkaSettings, KafkaSettingsError};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// How long the brokers may say nothing at the start of a job.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long they may say nothing when a topic is read from its beginning once more.
const AGAIN_LIMIT: Duration = Duration::from_secs(2);
/// The timeout of one request to the brokers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How often new partitions are looked for.
const PARTITIONS_INTERVAL: Duration = Duration::from_secs(10);
/// The most messages that are taken between two updates.
const MESSAGES_MAX: usize = 100_000;

/// Why a topic of titles cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The Kafka settings are wrong.
    #[error(transparent)]
    Settings(#[from] KafkaSettingsError),
    /// The topic does not exist.
    #[error("there is no such topic; check the name and --bootstrap-servers, or create it")]
    Missing,
    /// The brokers do not answer, or refuse.
    #[error(
        "{0}; check --bootstrap-servers, that the brokers run, and that this user may read the \
         topic"
    )]
    Brokers(String),
}

impl TopicError {
    /// Whether the arguments are the cause. A topic that is not there may come.
    pub fn is_usage(&self) -> bool {
        matches!(self, TopicError::Settings(error) if error.is_usage())
    }
}

impl From<KafkaError> for TopicError {
    fn from(error: KafkaError) -> TopicError {
        TopicError::Brokers(reason(&error))
    }
}

/// A topic of titles, and what was read of it.
pub struct TitleTopic {
    settings: KafkaSettings,
    topic: String,
    consumer: BaseConsumer<Logged>,
    partitions: BTreeMap<i32, Reading>,
    /// When partitions were looked for last.
    counted: Instant,
    /// Whether people were warned that the topic cannot be read.
    is_warned: bool,
}

impl fmt::Debug for TitleTopic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("TitleTopic").field(&self.topic).finish()
    }
}

impl TitleTopic {
    /// Reads a topic from its beginning to its end.
    ///
    /// # Errors
    /// When the settings are wrong, there is no such topic, or the brokers do not answer for a
    /// minute.
    pub(super) fn read(settings: KafkaSettings, topic: &str) -> Result<TitleTopic, TopicError> {
        TitleTopic::read_within(settings, topic, START_LIMIT)
    }

    fn read_within(
        settings: KafkaSettings,
        topic: &str,
        limit: Duration,
    ) -> Result<TitleTopic, TopicError> {
        let consumer = consumer(&settings)?;
        let mut read = TitleTopic {
            settings,
            topic: topic.to_owned(),
            consumer,
            partitions: BTreeMap::new(),
            counted: Instant::now(),
            is_warned: false,
        };
        let count = retry_transient(limit, || read.count(ANSWER_TIMEOUT.min(limit)))?;
        read.assign(count.ok_or(TopicError::Missing)?)?;
        let TitleTopic { consumer, partitions, .. } = &mut read;
        let numbers: Vec<i32> = partitions.keys().copied().collect();
        read_to_ends(consumer, numbers, limit, |message| apply(partitions, message))?;
        Ok(read)
    }

    /// What the partitions have, in the order of their places.
    pub(super) fn readings(&self) -> impl Iterator<Item = &Reading> {
        self.partitions.values()
    }

    /// Reads what has come since. Where messages are lost, or the topic is another one, all of it
    /// is read from its beginning. Warns once while that cannot be done.
    pub(super) fn again(&mut self) {
        let read = match self.counted.elapsed() >= PARTITIONS_INTERVAL {
            true => self.new_partitions().and_then(|()| self.new_messages()),
            false => self.new_messages(),
        };
        let Err(error) = read else { return };
        tracing::debug!("titles: {}: {error}", self.topic);
        match TitleTopic::read_within(self.settings.clone(), &self.topic, AGAIN_LIMIT) {
            Ok(anew) => *self = anew,
            Err(error) if !self.is_warned => {
                self.is_warned = true;
                let topic = &self.topic;
                tracing::warn!(
                    "titles: cannot read `kafka:{topic}`: {error}; its titles stay as they are"
                );
            }
            Err(_) => {}
        }
    }

    /// Returns the number of partitions, or `None` if there is no such topic.
    fn count(&self, timeout: Duration) -> KafkaResult<Option<i32>> {
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), timeout)?;
        client::partitions(&metadata, &self.topic)
    }

    fn new_partitions(&mut self) -> KafkaResult<()> {
        self.counted = Instant::now();
        match self.count(AGAIN_LIMIT) {
            Ok(Some(count)) if count as usize > self.partitions.len() => self.assign(count),
            Ok(Some(count)) if count as usize == self.partitions.len() => Ok(()),
            Ok(_) => Err(KafkaError::MessageConsumption(RDKafkaErrorCode::UnknownPartition)),
            Err(error) if is_transient(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads the first partitions of the topic: new ones from their beginnings, the others from
    /// where they are.
    fn assign(&mut self, count: i32) -> KafkaResult<()> {
        let mut assignment = TopicPartitionList::new();
        for number in 0..count {
            let place = format!("kafka:{}/{number}", self.topic);
            let reading = self.partitions.entry(number).or_insert_with(|| Reading::new(place));
            let next = reading.source.next_offset.and_then(|next| i64::try_from(next).ok());
            let from = next.map_or(Offset::Beginning, Offset::Offset);
            assignment.add_partition_offset(&self.topic, number, from)?;
        }
        self.consumer.assign(&assignment)
    }

    fn new_messages(&mut self) -> KafkaResult<()> {
        for _ in 0..MESSAGES_MAX {
            match self.consumer.poll(Duration::ZERO) {
                Some(Ok(message)) => apply(&mut self.partitions, &message),
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(Err(error)) if is_transient(&error) => {}
                Some(Err(error)) => return Err(error),
                None => break,
            }
        }
        Ok(())
    }
}

/// Adds a message to what was read of its partition. Warns of the first that is no title.
fn apply(partitions: &mut BTreeMap<i32, Reading>, message: &impl Message) {
    let Some(reading) = partitions.get_mut(&message.partition()) else { return };
    let offset = message.offset();
    reading.add(|| format!("offset {offset}"), record(message.key(), message.payload()));
    reading.source.next_offset = u64::try_from(offset + 1).ok();
    let source = &reading.source;
    if let (1, Some(first)) = (source.malformed, &source.first_malformed)
        && first.starts_with(&format!("offset {offset}:"))
    {
        let place = &source.place;
        tracing::warn!("titles: a record of `{place}` is no title: {first}");
    }
}

/// Reads a message.
fn record(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Record, String> {
    let key = key.and_then(video_of_key);
    let Some(value) = value else {
        let video = key.ok_or("its key is no video id, so that it takes no title back")?;
        return Ok((video, None));
    };
    let mut value: Value = serde_json::from_slice(value).map_err(|error| not_json(&error))?;
    if let (Value::Object(fields), Some(video)) = (&mut value, key) {
        fields.entry("video_id").or_insert(video.0.into());
    }
    let (video, title) = of_json(&value)?;
    match key {
        Some(key) if key != video => {
            Err(format!("its key is video {}, but its `video_id` is {}", key.0, video.0))
        }
        _ => Ok((video, title)),
    }
}

/// The video of a key: digits, or a JSON object with `video_id`.
fn video_of_key(key: &[u8]) -> Option<VideoId> {
    let text = std::str::from_utf8(key).ok()?;
    if let Ok(video) = video_of_text(text) {
        return Some(video);
    }
    let key: Value = serde_json::from_str(text).ok()?;
    match &key["video_id"] {
        Value::String(text) => video_of_text(text).ok(),
        number => number.as_u64().map(VideoId),
    }
}

/// Creates a consumer that reads committed messages, and reports the ends of partitions.
fn consumer(settings: &KafkaSettings) -> Result<BaseConsumer<Logged>, TopicError> {
    let mut config = settings.client_config()?;
    client::set_defaults(&mut config, [(["group.id"], "trendmark-titles")]);
    config
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        // Where messages are lost, all of it is read anew.
        .set("auto.offset.reset", "error");
    Ok(config.create_with_context(Logged)?)
}

/// Passes the log of librdkafka on. Its errors come with the messages.
struct Logged;

impl ClientContext for Logged {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("titles: {error}: {reason}");
    }
}

impl ConsumerContext for Logged {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_title_or_takes_one_back() {
        for (key, value, expected) in [
            ("7", "{\"title\":\"x\"}", "7 x"),
            ("7", "{\"video_id\":\"7\",\"title\":\"x\"}", "7 x"),
            ("{\"video_id\":18446744073709551615}", "{\"title\":\"x\"}", "18446744073709551615 x"),
            ("{\"video_id\":\"7\"}", "", "7 gone"),
            ("7", "", "7 gone"),
            ("7", "{\"video_id\":7,\"title\":null}", "7 gone"),
            ("-", "{\"video_id\":7,\"title\":\"x\"}", "7 x"),
            ("-", "", "its key is no video id, so that it takes no title back"),
            ("sources", "{\"title\":\"x\"}", "missing `video_id`, a number or a string of digits"),
            (
                "8",
                "{\"video_id\":7,\"title\":\"x\"}",
                "its key is video 8, but its `video_id` is 7",
            ),
            ("8", "[]", "not a JSON object"),
            ("8", "{", "not JSON: EOF while parsing an object at column 1"),
        ] {
            let bytes = |text: &'static str, absent| (text != absent).then_some(text.as_bytes());
            let found = match record(bytes(key, "-"), bytes(value, "")) {
                Ok((video, Some(title))) => format!("{} {}", video.0, title.title),
                Ok((video, None)) => format!("{} gone", video.0),
                Err(problem) => problem,
            };
            assert_eq!(found, expected, "{key} {value}");
        }
    }
}
