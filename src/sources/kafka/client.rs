//! The client of one worker: its connection, its assignment, and what librdkafka has to say.
//!
//! Partitions are assigned explicitly and never through a group: which worker reads what is the
//! job's affair. Each has a queue of its own. Its queue is taken *before* it is assigned: then
//! librdkafka (2.12) never forwards it to the common one, so that no message can go astray. And
//! partitions are assigned incrementally, so that those that are being read are left alone.

use super::errors::{KafkaSourceError, Severity, hides_the_end, severity};
use crate::kafka::KafkaSettings;
use crate::sources::SAMPLE_BYTES_MAX;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long brokers may take to answer at the start.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a single question waits for its answer; in between, refusals are heard.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(2);
/// How long handshakes may fail: a certificate does not become right by waiting.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const QUESTION_PAUSE: Duration = Duration::from_millis(100);
/// How often the same trouble is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(30);
/// Most events of the common queue that are dealt with at a time.
const EVENTS_MAX: usize = 64;

/// The queue of a partition.
pub(super) type Queue = PartitionQueue<Context>;

/// A client, shared by the readers of a worker's partitions.
pub(super) struct Client {
    consumer: Arc<BaseConsumer<Context>>,
    servers: String,
    /// Partitions that were opened since the last assignment, and where to start.
    opened: Mutex<Vec<(String, i32, Offset)>>,
}

impl Client {
    /// A client, which connects by itself.
    pub(super) fn new(settings: &KafkaSettings) -> Result<Client, KafkaSourceError> {
        let config = consumer_config(settings)?;
        let made = config.create_with_context(Context::default());
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

    /// Takes the queue of a partition, which is assigned at the next [`Client::serve`].
    pub(super) fn open(&self, topic: &str, number: i32, start: Offset) -> Option<Queue> {
        let queue = self.queue(topic, number)?;
        lock(&self.opened).push((topic.into(), number, start));
        Some(queue)
    }

    /// The queue of a partition, which stays empty unless that is assigned.
    pub(super) fn queue(&self, topic: &str, number: i32) -> Option<Queue> {
        self.consumer.split_partition_queue(topic, number)
    }

    /// Assigns what was opened, and hears what librdkafka has to say.
    pub(super) fn serve(&self) -> Result<(), KafkaSourceError> {
        let opened = std::mem::take(&mut *lock(&self.opened));
        if !opened.is_empty() {
            let assigned =
                list(opened.iter().map(|(topic, number, start)| (topic.as_str(), *number, *start)))
                    .and_then(|list| self.consumer.incremental_assign(&list));
            assigned.map_err(|error| KafkaSourceError::Client(error.to_string()))?;
        }
        self.hear()
    }

    /// Deals with the events of the common queue.
    pub(super) fn hear(&self) -> Result<(), KafkaSourceError> {
        for _ in 0..EVENTS_MAX {
            let told = self.told();
            match self.consumer.poll(Duration::ZERO) {
                // Nothing also means that it told the context something: go on to what follows.
                None if self.told() != told => {}
                None => break,
                Some(Ok(_)) => {
                    let what = "a message came outside the queue of its partition: report this";
                    return Err(KafkaSourceError::Client(what.into()));
                }
                Some(Err(error)) => self.judge(&error)?,
            }
        }
        Ok(())
    }

    /// How many times librdkafka has told the context something.
    fn told(&self) -> u64 {
        self.consumer.context().told.load(Ordering::Relaxed)
    }

    /// An error of the client as a whole, if it stops the job.
    fn judge(&self, error: &KafkaError) -> Result<(), KafkaSourceError> {
        let refused = |reason| KafkaSourceError::Refused { servers: self.servers.clone(), reason };
        match error.rdkafka_error_code() {
            Some(code) if severity(code) == Severity::Refused => Err(refused(self.reason(code))),
            Some(code) if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                Err(KafkaSourceError::Client(self.reason(code)))
            }
            _ => Ok(()),
        }
    }

    /// What librdkafka said last about an error.
    pub(super) fn reason(&self, code: RDKafkaErrorCode) -> String {
        self.consumer.context().reason(code)
    }

    /// How many times a connection was lost so far.
    #[inline]
    pub(super) fn losses(&self) -> u64 {
        self.consumer.context().losses.load(Ordering::Relaxed)
    }

    /// Reads a partition from an offset again, without waiting.
    pub(super) fn seek(&self, topic: &str, number: i32, offset: Offset) -> KafkaResult<()> {
        self.consumer.seek(topic, number, offset, Duration::ZERO)
    }

    /// Commits positions to the group, without waiting; failures are logged.
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

    /// The first offset of a partition, and its end as readers of committed messages see it.
    pub(super) fn ends(&self, topic: &str, number: i32) -> Result<(u64, u64), KafkaSourceError> {
        let answer = self.ask(|timeout| self.ends_within(topic, number, timeout));
        answer.map_err(|error| self.unanswered(error, topic))
    }

    /// The same, asked once.
    pub(super) fn ends_within(
        &self,
        topic: &str,
        number: i32,
        timeout: Duration,
    ) -> KafkaResult<(u64, u64)> {
        let (first, end) = self.consumer.fetch_watermarks(topic, number, timeout)?;
        Ok((u64::try_from(first).unwrap_or(0), u64::try_from(end).unwrap_or(0)))
    }

    /// The numbers of a topic's partitions.
    pub(super) fn partitions(&self, topic: &str) -> Result<Vec<i32>, KafkaSourceError> {
        let answer = self.ask(|timeout| self.partitions_within(topic, timeout));
        answer.map_err(|error| self.unanswered(error, topic))
    }

    /// The same, asked once.
    pub(super) fn partitions_within(
        &self,
        topic: &str,
        timeout: Duration,
    ) -> KafkaResult<Vec<i32>> {
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

    /// Asks until there is an answer, an error that no patience mends, or no time left.
    fn ask<T>(&self, question: impl Fn(Duration) -> KafkaResult<T>) -> Result<T, Unanswered> {
        let started = Instant::now();
        loop {
            let error = match question(QUESTION_TIMEOUT) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            self.hear().map_err(Unanswered::Heard)?;
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            let patience = match severity(code) {
                Severity::Passing if self.last_loss_is_of_tls() => HANDSHAKE_TIMEOUT,
                Severity::Passing => ANSWER_TIMEOUT,
                // What was created a moment ago may not be known everywhere.
                Severity::Gone => QUESTION_TIMEOUT,
                _ => Duration::ZERO,
            };
            if started.elapsed() >= patience {
                return Err(Unanswered::Error(code, started.elapsed()));
            }
            std::thread::sleep(QUESTION_PAUSE);
        }
    }

    fn last_loss_is_of_tls(&self) -> bool {
        let last = self.consumer.context().last_loss();
        last.is_some_and(|(code, _)| code == RDKafkaErrorCode::SSL)
    }

    fn unanswered(&self, error: Unanswered, topic: &str) -> KafkaSourceError {
        let (code, elapsed) = match error {
            Unanswered::Heard(error) => return error,
            Unanswered::Error(code, elapsed) => (code, elapsed),
        };
        let servers = self.servers.clone();
        match severity(code) {
            Severity::Gone => KafkaSourceError::UnknownTopic { topic: topic.into(), servers },
            Severity::Refused => {
                let reason = format!("topic `{topic}`: {}", self.reason(code));
                KafkaSourceError::Refused { servers, reason }
            }
            _ => {
                // What was said of connections says more than that an answer did not come.
                let last = self.consumer.context().last_loss();
                let (code, reason) = last.unwrap_or_else(|| (code, self.reason(code)));
                if code == RDKafkaErrorCode::SSL {
                    return KafkaSourceError::Refused { servers, reason };
                }
                KafkaSourceError::Unreachable { servers, seconds: elapsed.as_secs(), reason }
            }
        }
    }
}

/// Why there is no answer.
enum Unanswered {
    /// Something was heard that stops the job.
    Heard(KafkaSourceError),
    /// The last error, and how long was asked.
    Error(RDKafkaErrorCode, Duration),
}

/// The user's settings over ours, and under what must hold.
fn consumer_config(settings: &KafkaSettings) -> Result<ClientConfig, KafkaSourceError> {
    let mut config = settings.client_config()?;
    // With queues of their own these hold for each partition.
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
    for (key, value) in defaults {
        if config.get(key).is_none() {
            config.set(key, value);
        }
    }
    config
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
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

/// What librdkafka says, counted, kept for messages, and logged from time to time.
#[derive(Default)]
pub(super) struct Context {
    told: AtomicU64,
    losses: AtomicU64,
    said: Mutex<BTreeMap<i32, Said>>,
    last_loss: Mutex<Option<(RDKafkaErrorCode, String)>>,
}

/// What was said about one kind of error.
struct Said {
    reason: String,
    logged: Instant,
    /// How many times it was said and not logged.
    unlogged: u64,
}

impl Context {
    fn reason(&self, code: RDKafkaErrorCode) -> String {
        let said = lock(&self.said);
        said.get(&(code as i32)).map_or_else(|| code.to_string(), |said| said.reason.clone())
    }

    fn last_loss(&self) -> Option<(RDKafkaErrorCode, String)> {
        lock(&self.last_loss).clone()
    }

    /// Keeps what was said, and logs it if it was not a short while ago.
    fn note(&self, code: RDKafkaErrorCode, reason: &str) {
        let mut said = lock(&self.said);
        let now = Instant::now();
        let reason: String = reason.chars().take(4 * SAMPLE_BYTES_MAX).collect();
        let unlogged = match said.get(&(code as i32)) {
            Some(before) if now.duration_since(before.logged) < LOG_INTERVAL => {
                let (logged, unlogged) = (before.logged, before.unlogged + 1);
                said.insert(code as i32, Said { reason, logged, unlogged });
                return;
            }
            Some(before) => before.unlogged,
            None => 0,
        };
        tracing::warn!(unlogged, "Kafka: {reason}");
        said.insert(code as i32, Said { reason, logged: now, unlogged: 0 });
    }

    fn note_commit_failure(&self, error: &KafkaError) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        let what = "offsets are not committed to the group, which only dashboards will miss";
        self.note(code, &format!("{what}: {error}"));
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.told.fetch_add(1, Ordering::Relaxed);
        // What these say is said by `error` too; or it is of no concern: a setting of producers.
        let known = matches!(facility, "FAIL" | "ERROR" | "CONFWARN");
        match level {
            RDKafkaLogLevel::Debug => {
                tracing::debug!(target: "librdkafka", "{facility}: {message}");
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: "librdkafka", "{facility}: {message}");
            }
            _ if known => tracing::info!(target: "librdkafka", "{facility}: {message}"),
            _ => tracing::warn!(target: "librdkafka", "{facility}: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        if code == RDKafkaErrorCode::PartitionEOF {
            return;
        }
        if hides_the_end(code) {
            self.losses.fetch_add(1, Ordering::Relaxed);
            // That all are down is said after why.
            if code != RDKafkaErrorCode::AllBrokersDown {
                *lock(&self.last_loss) = Some((code, reason.to_string()));
            }
        }
        self.note(code, reason);
    }
}

impl ConsumerContext for Context {
    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        self.told.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = result {
            self.note_commit_failure(&error);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
