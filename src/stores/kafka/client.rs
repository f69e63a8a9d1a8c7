//! What reads topics, and the little that every use of Kafka's clients here needs.

use crate::kafka::KafkaSettings;
use crate::stores::StoreError;
use crate::time::Publication;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// What tells a topic from a file where a store is named.
const PREFIX: &str = "kafka:";
/// How long one question to the brokers may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long brokers that do not answer are asked again.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// How long a read may bring nothing.
const READ_LIMIT: Duration = Duration::from_secs(60);
/// How long an open transaction is waited for: longer than the brokers keep one whose producer is
/// gone.
const SETTLE_LIMIT: Duration = Duration::from_secs(90);
/// How often it is looked at.
const SETTLE_PAUSE: Duration = Duration::from_millis(20);
/// How long one look for messages lasts.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// How long to wait before the same is tried again.
const PAUSE: Duration = Duration::from_millis(100);
/// From how many offsets before its end the last record of a partition is looked for first. Every
/// transaction leaves a record of its end there too, and those that were aborted their records.
const TAIL_OFFSETS: i64 = 16;

/// The brokers and the name of a store.
pub(super) struct Client {
    /// What every client of this store begins with.
    pub config: ClientConfig,
    /// The store as it is named to the user: `kafka:TOPIC`.
    pub store: String,
    /// A consumer that reads nothing: for questions about topics.
    questions: Reader,
}

/// A record of a topic: its key, its value if it has one, and the publication that its header
/// names, if it has one.
pub(super) struct Record<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
    pub publication: Option<Publication>,
}

/// The header that names the publication of a record, where its value does not.
pub(super) const PUBLICATION_HEADER: &str = "publication";

impl Client {
    pub fn new(settings: &KafkaSettings, topic: &str) -> Result<Client, StoreError> {
        Client::connect(settings.client_config()?, format!("{PREFIX}{topic}"))
    }

    /// That of a store which was reached before.
    pub fn connect(config: ClientConfig, store: String) -> Result<Client, StoreError> {
        let questions = consumer(&config, &store, Isolation::Committed);
        let questions = questions.map_err(|error| cannot("reach", &store, &error))?;
        Ok(Client { config, store, questions })
    }

    /// The topic that the store is named after.
    pub fn topic(&self) -> &str {
        self.store.strip_prefix(PREFIX).unwrap_or(&self.store)
    }

    /// That something could not be done with the store.
    pub fn cannot(&self, action: &'static str, error: KafkaError) -> StoreError {
        cannot(action, &self.store, &error)
    }

    /// How many partitions a topic has, or none if there is no such topic.
    ///
    /// # Errors
    /// When nobody can tell, or its partitions cannot be written yet.
    pub fn partitions(&self, topic: &str) -> KafkaResult<Option<i32>> {
        let metadata = self.questions.fetch_metadata(Some(topic), ANSWER_TIMEOUT)?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Ok(None);
        };
        match found.error().map(RDKafkaErrorCode::from) {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                return Ok(None);
            }
            Some(code) => return Err(KafkaError::MetadataFetch(code)),
            None => {}
        }
        let partitions = found.partitions();
        if partitions.iter().any(|partition| partition.leader() < 0) {
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::LeaderNotAvailable));
        }
        Ok(Some(i32::try_from(partitions.len()).unwrap_or(i32::MAX)))
    }

    /// The first offset of a partition, and the one after its last that is committed.
    pub fn range(&self, topic: &str, partition: i32) -> Result<(i64, i64), StoreError> {
        patiently(ANSWER_LIMIT, || {
            self.questions.fetch_watermarks(topic, partition, ANSWER_TIMEOUT)
        })
        .map_err(|error| self.cannot("read", error))
    }

    /// The last committed record of a topic of one partition.
    ///
    /// It is read from the end backwards, as the topic may have millions that are not compacted.
    pub fn last(&self, topic: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let (first, end) = self.range(topic, 0)?;
        let mut tail = TAIL_OFFSETS;
        loop {
            let from = first.max(end - tail);
            let mut last = None;
            if from < end {
                self.read(topic, &[from], |record| last = record.value.map(<[u8]>::to_vec))?;
            }
            if last.is_some() || from == first {
                return Ok(last);
            }
            tail = tail.saturating_mul(16);
        }
    }

    /// Waits until every record that a topic's partitions hold now is committed or aborted: a
    /// transaction that was committed may not be so in all partitions yet.
    pub fn settle(&self, topic: &str, partitions: i32) -> Result<(), StoreError> {
        let failed = |error| self.cannot("read", error);
        let uncommitted =
            consumer(&self.config, &self.store, Isolation::Uncommitted).map_err(failed)?;
        for partition in 0..partitions {
            let (_, written) = patiently(ANSWER_LIMIT, || {
                uncommitted.fetch_watermarks(topic, partition, ANSWER_TIMEOUT)
            })
            .map_err(failed)?;
            let started = Instant::now();
            while self.range(topic, partition)?.1 < written {
                if started.elapsed() >= SETTLE_LIMIT {
                    let open = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
                    return Err(failed(open));
                }
                thread::sleep(SETTLE_PAUSE);
            }
        }
        Ok(())
    }

    /// Reads the committed records of a topic, from an offset of each of its first partitions to
    /// its end.
    pub fn read(
        &self,
        topic: &str,
        from: &[i64],
        mut each: impl FnMut(Record<'_>),
    ) -> Result<(), StoreError> {
        let failed = |error| self.cannot("read", error);
        // A consumer of its own: nothing of an earlier read can come up in this one.
        let consumer = consumer(&self.config, &self.store, Isolation::Committed).map_err(failed)?;
        let mut assignment = TopicPartitionList::new();
        for (partition, offset) in (0..).zip(from) {
            let offset = Offset::Offset(*offset);
            assignment.add_partition_offset(topic, partition, offset).map_err(failed)?;
        }
        consumer.assign(&assignment).map_err(failed)?;
        let mut heard = Instant::now();
        let mut trouble = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
        let mut ended = BTreeSet::new();
        while ended.len() < from.len() {
            match consumer.poll(POLL_TIMEOUT) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    each(Record {
                        key: message.key().unwrap_or_default(),
                        value: message.payload(),
                        publication: publication_of(&message),
                    });
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    heard = Instant::now();
                    ended.insert(partition);
                }
                Some(Err(error)) if is_transient(&error) => trouble = error,
                Some(Err(error)) => return Err(failed(error)),
                None => {}
            }
            if heard.elapsed() >= READ_LIMIT {
                return Err(failed(trouble));
            }
        }
        Ok(())
    }
}

/// The publication that the header of a record names.
fn publication_of(message: &BorrowedMessage<'_>) -> Option<Publication> {
    let header = message.headers()?.iter().find(|header| header.key == PUBLICATION_HEADER)?;
    std::str::from_utf8(header.value?).ok()?.parse().ok().map(Publication)
}

/// Which records a consumer sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Isolation {
    Committed,
    Uncommitted,
}

/// A consumer that is told where a partition ends.
fn consumer(config: &ClientConfig, store: &str, isolation: Isolation) -> KafkaResult<Reader> {
    let isolation = match isolation {
        Isolation::Committed => "read_committed",
        Isolation::Uncommitted => "read_uncommitted",
    };
    let mut config = config.clone();
    config
        .set("group.id", format!("trendmark-store-{}", store.trim_start_matches(PREFIX)))
        .set("enable.auto.commit", "false")
        .set("isolation.level", isolation)
        .set("enable.partition.eof", "true")
        // Compaction may remove the record that a read begins at, and never one that is needed.
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "10");
    config.create_with_context(Quiet)
}

type Reader = BaseConsumer<Quiet>;

/// Tells the errors of a reader, of which the end of a partition is none.
struct Quiet;

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        if !matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::PartitionEOF)) {
            tracing::warn!("librdkafka: {error}: {reason}");
        }
    }
}

impl ConsumerContext for Quiet {}

/// That something could not be done, and what to do about it.
pub(super) fn cannot(action: &'static str, store: &str, error: &KafkaError) -> StoreError {
    let code = match error {
        KafkaError::AdminOp(code) => Some(*code),
        error => error.rdkafka_error_code(),
    };
    StoreError::Kafka {
        action,
        store: store.to_owned(),
        reason: reason(error),
        advice: advice(code),
    }
}

/// What Kafka says, without the name of the type that says it.
fn reason(error: &KafkaError) -> String {
    match error {
        KafkaError::Transaction(error) => error.to_string(),
        KafkaError::AdminOp(code) => code.to_string(),
        error => match error.rdkafka_error_code() {
            Some(code) => code.to_string(),
            None => error.to_string(),
        },
    }
}

fn advice(code: Option<RDKafkaErrorCode>) -> &'static str {
    use RDKafkaErrorCode::{
        AllBrokersDown, Authentication, BrokerTransportFailure, ClusterAuthorizationFailed,
        GroupAuthorizationFailed, InvalidMessageSize, MessageSizeTooLarge, NotEnoughReplicas,
        OperationTimedOut, Resolve, SaslAuthenticationFailed, TopicAuthorizationFailed,
        TransactionalIdAuthorizationFailed, UnknownTopic, UnknownTopicOrPartition,
    };
    match code {
        Some(AllBrokersDown | BrokerTransportFailure | Resolve) => {
            "check --bootstrap-servers, and that the brokers run and can be reached from here"
        }
        Some(OperationTimedOut) => {
            "check --bootstrap-servers and that the brokers run; transactions also need as many \
             brokers as their transaction.state.log.replication.factor says"
        }
        Some(Authentication | SaslAuthenticationFailed) => {
            "check the user, its password and the mechanism among the settings --kafka"
        }
        Some(
            TopicAuthorizationFailed
            | GroupAuthorizationFailed
            | ClusterAuthorizationFailed
            | TransactionalIdAuthorizationFailed,
        ) => {
            "let this user read, write, create and describe the topics of the store, and write \
             with a transactional id that begins with `trendmark-`"
        }
        Some(MessageSizeTooLarge | InvalidMessageSize) => {
            "raise max.message.bytes of the topics and give --kafka message.max.bytes=… alike"
        }
        Some(UnknownTopic | UnknownTopicOrPartition) => {
            "a topic of the store was deleted: restore it, or give another --store"
        }
        Some(NotEnoughReplicas) => "wait until more brokers run again, and start anew",
        _ => "start anew: the store holds what was committed before",
    }
}

/// Whether the same may well succeed a little later.
fn is_transient(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::AllBrokersDown
                | Code::BrokerTransportFailure
                | Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::OperationTimedOut
                | Code::Resolve
                | Code::UnknownTopicOrPartition
                | Code::UnknownPartition
                | Code::WaitingForCoordinator
        )
    )
}

/// Asks until there is an answer, or an error that will stay.
pub(super) fn patiently<T>(
    limit: Duration,
    mut ask: impl FnMut() -> KafkaResult<T>,
) -> KafkaResult<T> {
    let started = Instant::now();
    loop {
        match ask() {
            Err(error) if is_transient(&error) && started.elapsed() < limit => {
                thread::sleep(PAUSE);
            }
            answer => return answer,
        }
    }
}

/// Waits for what another thread will have done.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
