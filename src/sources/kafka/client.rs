//! The Kafka client of one worker: its connection, its assignment, and the events of librdkafka.
//!
//! Partitions are assigned explicitly and not through a consumer group, as the job decides which
//! worker reads which partition. Each partition has its own queue, split off *before* the partition
//! is assigned: then librdkafka (2.12) never forwards it to the common queue, and no message can be
//! misrouted. Assignment is incremental, so it does not disturb partitions that are being read.

use super::errors::{KafkaSourceError, Severity, severity};
use super::queue::Queue;
use crate::kafka::client::{self, set_defaults};
use crate::kafka::notices::{Notices, is_connection};
use crate::kafka::{KafkaSettings, hide_users};
use crate::sources::SAMPLE_BYTES_MAX;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long brokers may take to answer at the start, over all attempts.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a partition that was found may be unknown to the brokers that this client asks.
const PARTITION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a single attempt waits. Errors such as refusals are handled between attempts.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long TLS handshakes may fail: waiting does not fix a certificate.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// The maximum number of events of the common queue that are handled at a time.
const EVENTS_MAX: usize = 1_024;

/// A client, shared by the readers of a worker's partitions.
pub(super) struct Client {
    consumer: Arc<BaseConsumer<Context>>,
    servers: String,
    /// The partitions opened since the last assignment, with their start offsets.
    opened: Mutex<Vec<(String, i32, Offset)>>,
}

impl Client {
    /// Creates a client, which connects in the background.
    pub(super) fn new(settings: &KafkaSettings) -> Result<Client, KafkaSourceError> {
        let config = consumer_config(settings)?;
        let made = config.create_with_context(Context::new());
        let consumer = made.map_err(|error: KafkaError| match error {
            KafkaError::ClientCreation(reason) => KafkaSourceError::Client(reason),
            error => KafkaSourceError::Client(error.to_string()),
        })?;
        Ok(Client {
            consumer: Arc::new(consumer),
            servers: settings.bootstrap_servers.clone(),
            opened: Mutex::default(),
        })
    }

    /// Splits off the queue of a partition, and assigns it at the next [`Client::serve`].
    pub(super) fn open(&self, topic: &str, number: i32, start: Offset) -> Option<Queue<Context>> {
        let queue = self.queue(topic, number)?;
        lock(&self.opened).push((topic.into(), number, start));
        Some(queue)
    }

    /// Splits off the queue of a partition. It stays empty unless the partition is assigned.
    pub(super) fn queue(&self, topic: &str, number: i32) -> Option<Queue<Context>> {
        Queue::split(&self.consumer, topic, number)
    }

    /// Assigns the opened partitions, and handles the events of librdkafka.
    pub(super) fn serve(&self) -> Result<(), KafkaSourceError> {
        let opened = std::mem::take(&mut *lock(&self.opened));
        if !opened.is_empty() {
            let assigned =
                list(opened.iter().map(|(topic, number, start)| (topic.as_str(), *number, *start)))
                    .and_then(|list| self.consumer.incremental_assign(&list));
            assigned.map_err(|error| KafkaSourceError::Client(error.to_string()))?;
        }
        self.handle_events()
    }

    /// Handles the events of the common queue.
    pub(super) fn handle_events(&self) -> Result<(), KafkaSourceError> {
        for _ in 0..EVENTS_MAX {
            let callbacks = self.callbacks();
            match self.consumer.poll(Duration::ZERO) {
                // `None` may also mean that a callback ran: continue with the next event.
                None if self.callbacks() != callbacks => {}
                None => break,
                Some(Ok(_)) => {
                    let what = "a message came outside the queue of its partition: report this bug";
                    return Err(KafkaSourceError::Client(what.into()));
                }
                Some(Err(error)) => self.fatal_error(&error)?,
            }
        }
        Ok(())
    }

    /// The number of log and commit callbacks so far.
    fn callbacks(&self) -> u64 {
        self.consumer.context().callbacks.load(Ordering::Relaxed)
    }

    /// Returns an error of the client as a whole if it is fatal for the job.
    fn fatal_error(&self, error: &KafkaError) -> Result<(), KafkaSourceError> {
        let refused = |reason| KafkaSourceError::Denied { servers: self.servers.clone(), reason };
        match error.rdkafka_error_code() {
            Some(code) if severity(code) == Severity::Denied => Err(refused(self.reason(code))),
            Some(code) if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                Err(KafkaSourceError::Client(self.reason(code)))
            }
            _ => Ok(()),
        }
    }

    /// Returns the last message of librdkafka about an error.
    pub(super) fn reason(&self, code: RDKafkaErrorCode) -> String {
        self.consumer.context().reason(code)
    }

    /// The number of connection losses so far.
    #[inline]
    pub(super) fn connection_losses(&self) -> u64 {
        self.consumer.context().connection_losses.load(Ordering::Relaxed)
    }

    /// The number of errors of topics so far.
    #[inline]
    pub(super) fn topic_errors(&self) -> u64 {
        self.consumer.context().topic_errors.load(Ordering::Relaxed)
    }

    /// Returns the end offset of a partition in the last statistics of librdkafka, if they tell it.
    pub(super) fn known_end(&self, topic: &str, number: i32) -> Option<u64> {
        lock(&self.consumer.context().known).get(topic)?.get(&number)?.end
    }

    /// Returns when the broker of a partition has last answered, as far as the statistics of
    /// librdkafka tell. While nothing is written, it answers four times a second.
    pub(super) fn answered_at(&self, topic: &str, number: i32) -> Option<Instant> {
        lock(&self.consumer.context().known).get(topic)?.get(&number)?.answered_at
    }

    /// Whether a topic was deleted and made again since this client has first seen it.
    #[inline]
    pub(super) fn was_remade(&self, topic: &str) -> bool {
        let context = self.consumer.context();
        context.remade_topics.load(Ordering::Relaxed) > 0 && lock(&context.remade).contains(topic)
    }

    /// Seeks to an offset of a partition, without waiting.
    pub(super) fn seek(&self, topic: &str, number: i32, offset: Offset) -> KafkaResult<()> {
        self.consumer.seek(topic, number, offset, Duration::ZERO)
    }

    /// Commits positions to the consumer group, without waiting. Failures are logged.
    pub(super) fn commit<'a>(&self, positions: impl Iterator<Item = (&'a str, i32, u64)>) {
        let positions = positions.map(|(topic, number, next_offset)| {
            (topic, number, Offset::Offset(i64::try_from(next_offset).unwrap_or(i64::MAX)))
        });
        let committed = list(positions).and_then(|list| match list.count() {
            0 => Ok(()),
            _ => self.consumer.commit(&list, CommitMode::Async),
        });
        if let Err(error) = committed {
            self.consumer.context().note_commit_failure(&error);
        }
    }

    /// Returns the first offset of a partition that was found, and its end offset under
    /// `read_committed`.
    pub(super) fn offsets(&self, topic: &str, number: i32) -> Result<(u64, u64), KafkaSourceError> {
        self.offsets_within(PARTITION_TIMEOUT, topic, number)
    }

    /// The same for a partition that may no longer exist.
    pub(super) fn offsets_if_any(
        &self,
        topic: &str,
        number: i32,
    ) -> Result<(u64, u64), KafkaSourceError> {
        self.offsets_within(ATTEMPT_TIMEOUT, topic, number)
    }

    fn offsets_within(
        &self,
        unknown: Duration,
        topic: &str,
        number: i32,
    ) -> Result<(u64, u64), KafkaSourceError> {
        // This client may have asked for the topic before the partition was added.
        let answer = self.retry(unknown, |timeout| {
            self.try_offsets(topic, number, timeout).inspect_err(|_| {
                let _ = self.try_partitions(topic, timeout);
            })
        });
        answer.map_err(|error| self.request_error(error, topic))
    }

    /// Like [`Client::offsets`], with a single attempt.
    pub(super) fn try_offsets(
        &self,
        topic: &str,
        number: i32,
        timeout: Duration,
    ) -> KafkaResult<(u64, u64)> {
        let (first, end) = self.consumer.fetch_watermarks(topic, number, timeout)?;
        Ok((u64::try_from(first).unwrap_or(0), u64::try_from(end).unwrap_or(0)))
    }

    /// Returns the partition numbers of a topic, sorted.
    pub(super) fn partitions(&self, topic: &str) -> Result<Vec<i32>, KafkaSourceError> {
        let answer = self.retry(ATTEMPT_TIMEOUT, |timeout| self.try_partitions(topic, timeout));
        answer.map_err(|error| self.request_error(error, topic))
    }

    /// Like [`Client::partitions`], with a single attempt.
    pub(super) fn try_partitions(&self, topic: &str, timeout: Duration) -> KafkaResult<Vec<i32>> {
        let metadata = self.consumer.fetch_metadata(Some(topic), timeout)?;
        let unknown = RDKafkaErrorCode::UnknownTopicOrPartition;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Err(KafkaError::MetadataFetch(unknown));
        };
        if let Some(error) = found.error() {
            return Err(KafkaError::MetadataFetch(error.into()));
        }
        let mut numbers: Vec<i32> = found.partitions().iter().map(|found| found.id()).collect();
        numbers.sort_unstable();
        if numbers.is_empty() { Err(KafkaError::MetadataFetch(unknown)) } else { Ok(numbers) }
    }

    /// Retries until there is an answer, a permanent error or a timeout. What a request asks for
    /// may not be known to all brokers for the time `unknown`.
    fn retry<T>(
        &self,
        unknown: Duration,
        request: impl Fn(Duration) -> KafkaResult<T>,
    ) -> Result<T, RequestError> {
        let started = Instant::now();
        loop {
            let error = match request(ATTEMPT_TIMEOUT) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            self.handle_events().map_err(RequestError::Fatal)?;
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            let timeout = match severity(code) {
                Severity::Transient if self.last_loss_was_tls() => HANDSHAKE_TIMEOUT,
                Severity::Transient => ANSWER_TIMEOUT,
                Severity::NotFound => unknown,
                _ => Duration::ZERO,
            };
            if started.elapsed() >= timeout {
                return Err(RequestError::Error(code, started.elapsed()));
            }
            std::thread::sleep(RETRY_PAUSE);
        }
    }

    fn last_loss_was_tls(&self) -> bool {
        let last = self.consumer.context().last_loss();
        last.is_some_and(|(code, _)| code == RDKafkaErrorCode::SSL)
    }

    fn request_error(&self, error: RequestError, topic: &str) -> KafkaSourceError {
        let (code, elapsed) = match error {
            RequestError::Fatal(error) => return error,
            RequestError::Error(code, elapsed) => (code, elapsed),
        };
        let servers = self.servers.clone();
        match severity(code) {
            Severity::NotFound => KafkaSourceError::UnknownTopic { topic: topic.into(), servers },
            Severity::Denied => {
                let reason = format!("topic `{topic}`: {}", self.reason(code));
                KafkaSourceError::Denied { servers, reason }
            }
            _ => {
                // The last connection error says more than a timeout.
                let last = self.consumer.context().last_loss();
                let (code, reason) = last.unwrap_or_else(|| (code, self.reason(code)));
                if code == RDKafkaErrorCode::SSL {
                    return KafkaSourceError::Denied { servers, reason };
                }
                KafkaSourceError::Unreachable { servers, seconds: elapsed.as_secs(), reason }
            }
        }
    }
}

/// The reason why there is no answer.
enum RequestError {
    /// A fatal error of the client.
    Fatal(KafkaSourceError),
    /// The last error, and the time spent on all attempts.
    Error(RDKafkaErrorCode, Duration),
}

/// Returns our defaults, overridden by the user's settings, overridden by the required values.
fn consumer_config(settings: &KafkaSettings) -> Result<ClientConfig, KafkaSourceError> {
    let mut config = settings.client_config()?;
    // The only place where librdkafka tells that a topic has another id. See `remade_topic`.
    let debug = config.get("debug").map_or("metadata".into(), |also| format!("{also},metadata"));
    config.set("debug", debug).set_log_level(RDKafkaLogLevel::Debug);
    // The queue limits apply to each partition, as each has its own queue.
    let defaults = [
        ("group.id", "trendmark"),
        ("queued.min.messages", "20000"),
        ("queued.max.messages.kbytes", "4096"),
        ("fetch.queue.backoff.ms", "5"),
        ("fetch.wait.max.ms", "250"),
        ("fetch.error.backoff.ms", "100"),
        ("reconnect.backoff.max.ms", "2000"),
        ("check.crcs", "true"),
        ("log.connection.close", "false"),
    ];
    set_defaults(&mut config, defaults.map(|(key, value)| ([key], value)));
    config
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("statistics.interval.ms", "1000")
        .set("isolation.level", "read_committed");
    Ok(config)
}

fn list<'a>(
    partitions: impl Iterator<Item = (&'a str, i32, Offset)>,
) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (topic, number, offset) in partitions {
        list.add_partition_offset(topic, number, offset)?;
    }
    Ok(list)
}

/// The callbacks of librdkafka: counts, stores and tells its errors, and stores the end offsets in
/// its statistics.
pub(super) struct Context {
    notices: Notices,
    callbacks: AtomicU64,
    connection_losses: AtomicU64,
    topic_errors: AtomicU64,
    /// The last message about each error code.
    last_messages: Mutex<BTreeMap<i32, String>>,
    last_loss: Mutex<Option<(RDKafkaErrorCode, String)>>,
    /// What the statistics tell of each partition, for each topic.
    known: Mutex<BTreeMap<String, BTreeMap<i32, Known>>>,
    /// The topics that were deleted and made again, and their number.
    remade: Mutex<BTreeSet<String>>,
    remade_topics: AtomicU64,
}

/// What the statistics tell of a partition.
#[derive(Clone, Copy, Default)]
struct Known {
    /// Its end offset.
    end: Option<u64>,
    /// When its broker has last answered.
    answered_at: Option<Instant>,
}

impl Context {
    fn new() -> Context {
        Context {
            notices: Notices::of("source"),
            callbacks: AtomicU64::default(),
            connection_losses: AtomicU64::default(),
            topic_errors: AtomicU64::default(),
            last_messages: Mutex::default(),
            last_loss: Mutex::default(),
            known: Mutex::default(),
            remade: Mutex::default(),
            remade_topics: AtomicU64::default(),
        }
    }

    fn reason(&self, code: RDKafkaErrorCode) -> String {
        let last_messages = lock(&self.last_messages);
        last_messages.get(&(code as i32)).cloned().unwrap_or_else(|| code.to_string())
    }

    fn last_loss(&self) -> Option<(RDKafkaErrorCode, String)> {
        lock(&self.last_loss).clone()
    }

    /// Stores a message, and tells it.
    fn record(&self, error: &KafkaError, code: RDKafkaErrorCode, reason: &str) {
        let reason: String = reason.chars().take(4 * SAMPLE_BYTES_MAX).collect();
        self.notices.error(error, &reason);
        lock(&self.last_messages).insert(code as i32, reason);
    }

    fn note_commit_failure(&self, error: &KafkaError) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        let what = "cannot commit offsets to the consumer group (only dashboards use them)";
        self.record(error, code, &format!("{what}: {error}"));
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.callbacks.fetch_add(1, Ordering::Relaxed);
        if let Some(topic) = remade_topic(message) {
            lock(&self.remade).insert(topic.into());
            self.remade_topics.fetch_add(1, Ordering::Relaxed);
        }
        // That a topic or a partition does not exist is told in the queue of the partition, where
        // only messages are taken: librdkafka (2.12, `rd_kafka_poll_cb`) writes it to the log.
        if facility == "ERROR" {
            self.topic_errors.fetch_add(1, Ordering::Relaxed);
        }
        client::log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        self.callbacks.fetch_add(1, Ordering::Relaxed);
        self.notices.statistics(&statistics);
        let answered = answers_of_brokers(&statistics);
        let mut known = lock(&self.known);
        for (name, topic) in statistics.topics {
            let of_topic = known.entry(name).or_default();
            for (number, partition) in topic.partitions {
                let Known { end, answered_at } = of_topic.entry(number).or_default();
                *end = u64::try_from(partition.ls_offset).ok().or(*end);
                *answered_at = answered.get(&partition.broker).copied().or(*answered_at);
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        let reason = &hide_users(reason);
        if code == RDKafkaErrorCode::PartitionEOF {
            return;
        }
        // What is known of the ends of partitions may be outdated then.
        if is_connection(code) {
            self.connection_losses.fetch_add(1, Ordering::Relaxed);
            // `AllBrokersDown` follows the error that is its cause.
            if code != RDKafkaErrorCode::AllBrokersDown {
                *lock(&self.last_loss) = Some((code, reason.to_string()));
            }
        }
        self.record(&error, code, reason);
    }
}

/// Returns the topic of a line of librdkafka's log which says that the topic has another id than
/// before. It reads the new topic on from the offset that it has reached in the old one, and tells
/// of it nowhere else (`rd_kafka_topic_metadata_update` of librdkafka 2.12).
fn remade_topic(message: &str) -> Option<&str> {
    let (before, ids) = message.split_once(" changed id from ")?;
    // The id of a topic that is seen for the first time is zero.
    let is_known = ids.split(' ').next()?.bytes().any(|letter| !matches!(letter, b'A' | b'='));
    is_known.then(|| before.rsplit_once("Topic ").map(|(_, topic)| topic))?
}

/// When each broker has last answered, by its number.
fn answers_of_brokers(statistics: &Statistics) -> BTreeMap<i32, Instant> {
    let now = Instant::now();
    let answered = statistics.brokers.values().filter_map(|broker| {
        let silent = Duration::from_micros(u64::try_from(broker.rxidle).ok()?);
        Some((broker.nodeid, now.checked_sub(silent)?))
    });
    answered.collect()
}

impl ConsumerContext for Context {
    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        self.callbacks.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = result {
            self.note_commit_failure(&error);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
