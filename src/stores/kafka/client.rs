//! The client that reads topics, and helpers shared by the Kafka clients of a store.

use crate::kafka::KafkaSettings;
use crate::kafka::client::{error_code, partitions, read_to_ends, reason, retry_transient};
use crate::kafka::notices::{Callbacks, Notices};
use crate::stores::StoreError;
use crate::time::Publication;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// The prefix that distinguishes a topic from a file in the name of a store.
const PREFIX: &str = "kafka:";
/// The timeout of one request to the brokers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request is retried while the brokers do not respond.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// How long a read may receive nothing before it fails.
const READ_LIMIT: Duration = Duration::from_secs(60);
/// How long to wait for an open transaction: longer than the brokers keep the transaction of a dead
/// producer open.
const SETTLE_LIMIT: Duration = Duration::from_secs(90);
/// The pause between two checks of an open transaction.
const SETTLE_PAUSE: Duration = Duration::from_millis(20);
/// How many offsets before the end of a partition the search for its last record begins. The
/// control records of transactions and the records of aborted transactions take up offsets too.
const TAIL_OFFSETS: i64 = 16;

/// A connection to the brokers of a store, and the store's name.
pub(super) struct Client {
    /// The base settings of all clients of this store.
    pub config: ClientConfig,
    /// The name of the store in messages: `kafka:TOPIC`.
    pub store: String,
    /// A consumer without an assignment, for requests about topics.
    questions: Reader,
    /// What is told of the connections of all clients of this store.
    pub notices: Arc<Notices>,
}

/// A record of a topic: its key, its value if it is not a tombstone, and the publication in its
/// header, if any.
pub(super) struct Record<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
    pub publication: Option<Publication>,
}

/// The header with the publication of a record whose value does not contain it.
pub(super) const PUBLICATION_HEADER: &str = "publication";

impl Client {
    pub fn new(settings: &KafkaSettings, topic: &str) -> Result<Client, StoreError> {
        let notices = Arc::new(Notices::of("store"));
        Client::connect(settings.client_config()?, format!("{PREFIX}{topic}"), notices)
    }

    /// Connects to a store with the settings and the notices of an earlier client.
    pub fn connect(
        config: ClientConfig,
        store: String,
        notices: Arc<Notices>,
    ) -> Result<Client, StoreError> {
        let questions = consumer(&config, &store, &notices, Isolation::Committed);
        let questions = questions.map_err(|error| cannot("reach", &store, &error))?;
        Ok(Client { config, store, questions, notices })
    }

    fn consumer(&self, isolation: Isolation) -> KafkaResult<Reader> {
        consumer(&self.config, &self.store, &self.notices, isolation)
    }

    /// Returns the topic that the store is named after.
    pub fn topic(&self) -> &str {
        self.store.strip_prefix(PREFIX).unwrap_or(&self.store)
    }

    /// Returns the error of an action on the store that failed.
    pub fn cannot(&self, action: &'static str, error: KafkaError) -> StoreError {
        cannot(action, &self.store, &error)
    }

    /// Returns the number of partitions of a topic, or `None` if the topic does not exist.
    ///
    /// # Errors
    /// When the brokers do not respond, or a partition has no leader yet.
    pub fn partitions(&self, topic: &str) -> KafkaResult<Option<i32>> {
        let metadata = self.questions.fetch_metadata(Some(topic), ANSWER_TIMEOUT)?;
        partitions(&metadata, topic)
    }

    /// Returns the first offset of a partition, and the offset after its last committed record.
    pub fn committed_offsets(&self, topic: &str, partition: i32) -> Result<(i64, i64), StoreError> {
        retry_transient(ANSWER_LIMIT, || {
            self.questions.fetch_watermarks(topic, partition, ANSWER_TIMEOUT)
        })
        .map_err(|error| self.cannot("read", error))
    }

    /// Returns the value of the last committed record of a topic with one partition.
    ///
    /// Searches backwards from the end, as the topic may hold millions of uncompacted records.
    pub fn last_value(&self, topic: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let (first, end) = self.committed_offsets(topic, 0)?;
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

    /// Reads the values of the last records of a topic with one partition, committed or not: those
    /// of the last `tail` offsets, or more if these hold none.
    pub fn read_tail(
        &self,
        topic: &str,
        mut tail: i64,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), StoreError> {
        let failed = |error| self.cannot("read", error);
        let uncommitted = self.consumer(Isolation::Uncommitted).map_err(failed)?;
        let (first, end) = retry_transient(ANSWER_LIMIT, || {
            uncommitted.fetch_watermarks(topic, 0, ANSWER_TIMEOUT)
        })
        .map_err(failed)?;
        loop {
            let from = first.max(end - tail);
            let mut is_empty = true;
            if from < end {
                self.read_with(Isolation::Uncommitted, topic, &[from], |record| {
                    is_empty = false;
                    record.value.into_iter().for_each(&mut each);
                })?;
            }
            if !is_empty || from == first {
                return Ok(());
            }
            tail = tail.saturating_mul(16);
        }
    }

    /// Waits until every record that is now in the partitions of a topic is committed or aborted: a
    /// committed transaction may not be visible in all partitions yet.
    pub fn wait_for_open_transactions(
        &self,
        topic: &str,
        partitions: i32,
    ) -> Result<(), StoreError> {
        let failed = |error| self.cannot("read", error);
        let uncommitted = self.consumer(Isolation::Uncommitted).map_err(failed)?;
        for partition in 0..partitions {
            let (_, written) = retry_transient(ANSWER_LIMIT, || {
                uncommitted.fetch_watermarks(topic, partition, ANSWER_TIMEOUT)
            })
            .map_err(failed)?;
            let started = Instant::now();
            while self.committed_offsets(topic, partition)?.1 < written {
                if started.elapsed() >= SETTLE_LIMIT {
                    let open = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
                    return Err(failed(open));
                }
                thread::sleep(SETTLE_PAUSE);
            }
        }
        Ok(())
    }

    /// Reads the committed records of a topic. `from` holds the start offset of each partition;
    /// every partition is read to its end.
    pub fn read(
        &self,
        topic: &str,
        from: &[i64],
        each: impl FnMut(Record<'_>),
    ) -> Result<(), StoreError> {
        self.read_with(Isolation::Committed, topic, from, each)
    }

    fn read_with(
        &self,
        isolation: Isolation,
        topic: &str,
        from: &[i64],
        mut each: impl FnMut(Record<'_>),
    ) -> Result<(), StoreError> {
        let failed = |error| self.cannot("read", error);
        // A new consumer, so that no message of an earlier read can appear in this one.
        let consumer = self.consumer(isolation).map_err(failed)?;
        let mut assignment = TopicPartitionList::new();
        for (partition, offset) in (0..).zip(from) {
            let offset = Offset::Offset(*offset);
            assignment.add_partition_offset(topic, partition, offset).map_err(failed)?;
        }
        consumer.assign(&assignment).map_err(failed)?;
        let partitions = (0..).take(from.len());
        let read = read_to_ends(&consumer, partitions, READ_LIMIT, |message| {
            each(Record {
                key: message.key().unwrap_or_default(),
                value: message.payload(),
                publication: publication_of(message),
            });
        });
        read.map_err(failed)
    }
}

/// Returns the publication in the header of a record.
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

/// Creates a consumer that reports the ends of partitions.
fn consumer(
    config: &ClientConfig,
    store: &str,
    notices: &Arc<Notices>,
    isolation: Isolation,
) -> KafkaResult<Reader> {
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
        // Compaction may remove the record at the start offset, but never one that is needed.
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "10");
    config.create_with_context(Callbacks(Arc::clone(notices)))
}

type Reader = BaseConsumer<Callbacks>;

/// Returns the error of an action that failed, with advice.
pub(super) fn cannot(action: &'static str, store: &str, error: &KafkaError) -> StoreError {
    StoreError::Kafka {
        action,
        store: store.to_owned(),
        reason: reason(error),
        advice: advice(error_code(error)),
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
            "check the user, the password and the mechanism in the --kafka settings"
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
            "raise max.message.bytes of the topics, and --kafka message.max.bytes=… to match"
        }
        Some(UnknownTopic | UnknownTopicOrPartition) => {
            "a topic of the store was deleted: restore it, or give another --store"
        }
        Some(NotEnoughReplicas) => "wait until more brokers run again, and restart the job",
        _ => "restart the job: the store holds all earlier commits",
    }
}
