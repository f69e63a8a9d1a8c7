//! Transactions: a publication is committed atomically, and only while this job owns the store.
//!
//! The transactional id is derived from the topic, so that initialising transactions fences the
//! previous job. No transaction is open between publications.

use super::client::{self, Client, PUBLICATION_HEADER};
use crate::kafka::client::{log, set_defaults};
use crate::kafka::notices::Notices;
use crate::stores::StoreError;
use crate::time::Publication;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer, ProducerContext};
use rdkafka::statistics::Statistics;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long the brokers keep the transaction of a dead producer open, in milliseconds.
const TRANSACTION_TIMEOUT_MS: u64 = 60_000;
/// The timeout of one call to the brokers. A call that times out is resumed by the next one.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long fencing the previous job may take: its transaction has to be ended first.
const FENCE_LIMIT: Duration = Duration::from_secs(120);
/// How long a commit of a publication is retried before the job gives up.
const COMMIT_LIMIT: Duration = Duration::from_secs(600);
/// How many times a publication is written; each time but the first follows an aborted transaction.
const ATTEMPTS_MAX: u32 = 8;
/// The pause before the second attempt. It doubles with each further one, up to `PAUSE_MAX`.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The timeout of one poll while the queue is full, or before a call is resumed.
const POLL_TIMEOUT: Duration = Duration::from_millis(10);
/// The action of a commit, for error messages.
const COMMIT: &str = "commit a publication to";
/// The timeout of one poll while records are delivered.
const FLUSH_POLL_TIMEOUT: Duration = Duration::from_millis(1);

/// A transactional producer.
pub(super) struct Transactions {
    producer: BaseProducer<Deliveries>,
    store: String,
    /// The generation of this job.
    generation: u64,
}

/// An open transaction.
pub(super) struct Transaction<'a> {
    transactions: &'a Transactions,
    deadline: Instant,
}

/// Keeps the first delivery error of an attempt, which the error of the transaction leaves out.
struct Deliveries {
    failed: Mutex<Option<KafkaError>>,
    notices: Arc<Notices>,
}

/// Why committing a publication failed.
pub(super) enum CommitError {
    /// The publication was not committed, and this job cannot commit it.
    Permanent(StoreError),
    /// The producer is unusable or fenced, and the outcome of its last transaction may be unknown.
    /// A new producer can continue, if this job still owns the store.
    ProducerUnusable(StoreError),
}

/// What an error means for a publication.
enum ErrorAction {
    /// Abort the transaction, and write the publication again.
    Retry,
    /// Abort the transaction: writing the publication again would fail again.
    Abort,
    /// Another producer has fenced this one: that of a job that owns the store now, or that of an
    /// earlier job, which did not know of this one.
    Fenced,
    /// The producer is unusable, or the outcome of the transaction is unknown.
    RenewProducer,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.notices.error(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.notices.statistics(&statistics);
    }
}

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        // The error of a record that an abort purges does not name the cause.
        let purged = [RDKafkaErrorCode::PurgeQueue, RDKafkaErrorCode::PurgeInflight];
        if let Err((error, _)) = result
            && !error.rdkafka_error_code().is_some_and(|code| purged.contains(&code))
        {
            self.lock().get_or_insert_with(|| error.clone());
        }
    }
}

impl Deliveries {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<KafkaError>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transactions {
    /// Fences the previous producer of the store, and ends the transaction that it left open.
    /// `generation` is the generation of this job, for [`StoreError::Fenced`].
    pub fn fence(client: &Client, generation: u64) -> Result<Transactions, StoreError> {
        let producer = producer_config(&client.config, client.topic())
            .create_with_context(Deliveries {
                failed: Mutex::default(),
                notices: Arc::clone(&client.notices),
            })
            .map_err(|error| client.cannot("write to", error))?;
        let transactions = Transactions { producer, store: client.store.clone(), generation };
        let deadline = Instant::now() + FENCE_LIMIT;
        let fenced =
            transactions.retry_call(deadline, |producer| producer.init_transactions(CALL_TIMEOUT));
        match fenced {
            Ok(()) => Ok(transactions),
            Err(error) => Err(transactions.to_store_error("take over", error)),
        }
    }

    /// Commits the records that `write` sends, atomically. `write` is called again whenever the
    /// transaction had to be aborted.
    pub fn commit(
        &self,
        write: impl FnMut(&Transaction<'_>) -> KafkaResult<()>,
    ) -> Result<(), CommitError> {
        self.commit_within(COMMIT_LIMIT, write)
    }

    /// Commits like [`Transactions::commit`], but gives up after `limit`.
    pub fn commit_within(
        &self,
        limit: Duration,
        mut write: impl FnMut(&Transaction<'_>) -> KafkaResult<()>,
    ) -> Result<(), CommitError> {
        let deadline = Instant::now() + limit;
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            *self.producer.context().lock() = None;
            let Err(error) = self.attempt(deadline, &mut write) else { return Ok(()) };
            let may_try_again = attempt < ATTEMPTS_MAX && Instant::now() < deadline;
            match self.classify(&error) {
                ErrorAction::Retry if may_try_again => {
                    let reason = self.root_cause(error).to_string();
                    tracing::warn!(store = self.store, attempt, reason, "publication aborted");
                    self.abort(deadline)?;
                    thread::sleep(pause);
                    pause = PAUSE_MAX.min(pause * 2);
                }
                ErrorAction::Retry | ErrorAction::Abort => {
                    let error = self.root_cause(error);
                    self.abort(deadline)?;
                    return Err(CommitError::Permanent(self.to_store_error(COMMIT, error)));
                }
                ErrorAction::Fenced | ErrorAction::RenewProducer => {
                    return Err(CommitError::ProducerUnusable(self.to_store_error(COMMIT, error)));
                }
            }
        }
        unreachable!("attempts are bounded")
    }

    fn attempt(
        &self,
        deadline: Instant,
        write: &mut impl FnMut(&Transaction<'_>) -> KafkaResult<()>,
    ) -> KafkaResult<()> {
        self.producer.begin_transaction()?;
        write(&Transaction { transactions: self, deadline })?;
        self.flush(deadline)?;
        // A call that has timed out continues in librdkafka, and the next call waits for the same
        // commit, not for another. So the call is repeated until the outcome is known. If it stays
        // unknown, the next producer learns it from the stored progress.
        self.retry_call(deadline, |producer| producer.commit_transaction(CALL_TIMEOUT))
    }

    /// Waits until every record was delivered or has failed. A commit would do that too, but polls
    /// only every 100 ms (rdkafka 0.39), which is most of the duration of a small commit.
    fn flush(&self, deadline: Instant) -> KafkaResult<()> {
        loop {
            match self.producer.flush(Duration::ZERO) {
                Err(error) if is_retriable(&error) && Instant::now() < deadline => {
                    self.producer.poll(FLUSH_POLL_TIMEOUT);
                }
                flushed => return flushed,
            }
        }
    }

    /// Aborts the open transaction. As in a commit, a call that has timed out is resumed.
    ///
    /// librdkafka 2.12 fails fatally here if the brokers became unreachable before they knew of the
    /// transaction (confluentinc/librdkafka#4849).
    fn abort(&self, deadline: Instant) -> Result<(), CommitError> {
        self.retry_call(deadline, |producer| {
            producer.poll(Duration::ZERO);
            producer.abort_transaction(CALL_TIMEOUT)
        })
        .map_err(|error| CommitError::ProducerUnusable(self.to_store_error(COMMIT, error)))
    }

    /// Repeats a call until its outcome is known, or the deadline has passed.
    fn retry_call(
        &self,
        deadline: Instant,
        call: impl Fn(&BaseProducer<Deliveries>) -> KafkaResult<()>,
    ) -> KafkaResult<()> {
        loop {
            match call(&self.producer) {
                Err(error) if is_retriable(&error) && Instant::now() < deadline => {
                    self.producer.poll(POLL_TIMEOUT);
                }
                outcome => return outcome,
            }
        }
    }

    fn classify(&self, error: &KafkaError) -> ErrorAction {
        use RDKafkaErrorCode as Code;
        if self.is_fenced(error) {
            return ErrorAction::Fenced;
        }
        if self.producer.client().fatal_error().is_some() {
            return ErrorAction::RenewProducer;
        }
        let requires_abort = match error {
            KafkaError::Transaction(error) => error.txn_requires_abort(),
            // The commit had not begun.
            KafkaError::MessageProduction(_) | KafkaError::Flush(_) => true,
            _ => false,
        };
        let last = self.producer.context().lock().clone();
        let code = last.as_ref().unwrap_or(error).rdkafka_error_code();
        match code {
            _ if !requires_abort => ErrorAction::RenewProducer,
            Some(
                Code::InvalidRecord
                | Code::MessageSizeTooLarge
                | Code::PolicyViolation
                | Code::TopicAuthorizationFailed
                | Code::UnknownTopic
                | Code::UnknownTopicOrPartition,
            ) => ErrorAction::Abort,
            _ => ErrorAction::Retry,
        }
    }

    fn is_fenced(&self, error: &KafkaError) -> bool {
        let fatal = self.producer.client().fatal_error().map(|(code, _)| code);
        let codes = [
            RDKafkaErrorCode::Fenced,
            RDKafkaErrorCode::ProducerFenced,
            RDKafkaErrorCode::InvalidProducerEpoch,
        ];
        // `InvalidProducerEpoch` means fencing only if it is fatal: a broker may also have raised
        // the epoch of this producer itself.
        let told = error.rdkafka_error_code().filter(|code| *code == RDKafkaErrorCode::Fenced);
        fatal.or(told).is_some_and(|code| codes.contains(&code))
    }

    /// Returns the delivery error, if any: it is more specific than the error of the transaction.
    fn root_cause(&self, error: KafkaError) -> KafkaError {
        self.producer.context().lock().clone().unwrap_or(error)
    }

    fn to_store_error(&self, action: &'static str, error: KafkaError) -> StoreError {
        if self.is_fenced(&error) {
            StoreError::Fenced { store: self.store.clone(), generation: self.generation }
        } else {
            client::cannot(action, &self.store, &error)
        }
    }
}

impl Transaction<'_> {
    /// Sends a record; without a value it is a tombstone. The publication, if given, goes into a
    /// header.
    ///
    /// # Errors
    /// When the producer rejects the record. If its queue is full, this waits for room.
    pub fn send(
        &self,
        topic: &str,
        key: &[u8],
        value: Option<&[u8]>,
        publication: Option<Publication>,
    ) -> KafkaResult<()> {
        let mut record = BaseRecord::to(topic).key(key);
        record.payload = value;
        record.headers = publication.map(|publication| {
            let value = Some(publication.to_string());
            OwnedHeaders::new().insert(Header { key: PUBLICATION_HEADER, value: value.as_ref() })
        });
        loop {
            record = match self.transactions.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((error, record)) if is_queue_full(&error) && self.is_in_time() => {
                    self.transactions.producer.poll(POLL_TIMEOUT);
                    record
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    fn is_in_time(&self) -> bool {
        Instant::now() < self.deadline
    }
}

/// The settings of the producer: the user's, then those that a store depends on.
fn producer_config(base: &ClientConfig, topic: &str) -> ClientConfig {
    let mut config = base.clone();
    let transaction_timeout_ms = base
        .get("transaction.timeout.ms")
        .and_then(|timeout_ms| timeout_ms.parse().ok())
        .unwrap_or(TRANSACTION_TIMEOUT_MS);
    // A record times out before its transaction does, so that the job aborts it, not the brokers.
    let message_timeout_ms = (transaction_timeout_ms / 6 * 5).max(1).to_string();
    let defaults = [
        (["transaction.timeout.ms", ""], transaction_timeout_ms.to_string()),
        (["message.timeout.ms", "delivery.timeout.ms"], message_timeout_ms),
        (["compression.type", "compression.codec"], "lz4".to_owned()),
        (["linger.ms", "queue.buffering.max.ms"], "5".to_owned()),
        (["reconnect.backoff.max.ms", ""], "1000".to_owned()),
    ];
    set_defaults(&mut config, defaults);
    config
        .set("transactional.id", format!("trendmark-{topic}"))
        .set("enable.idempotence", "true")
        // The partitioner of Kafka's own clients: a key is in the same partition for every writer.
        .set("partitioner", "murmur2_random")
        // They tell which brokers answer again.
        .set("statistics.interval.ms", "1000")
        // The commit reports success.
        .set("delivery.report.only.error", "true");
    config
}

fn is_retriable(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => error.is_retriable() && !error.txn_requires_abort(),
        KafkaError::Flush(code) => *code == RDKafkaErrorCode::OperationTimedOut,
        _ => false,
    }
}

fn is_queue_full(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull)
}
