//! Transactions: everything of a publication, or nothing, and nothing at all once another job has
//! the store.
//!
//! The transactional id is made from the topic, so that whoever initialises transactions fences
//! the job before. No transaction is open between publications.

use super::client::{self, Client, PUBLICATION_HEADER};
use crate::stores::StoreError;
use crate::time::Publication;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer, ProducerContext};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long the brokers keep a transaction open whose producer is gone, in milliseconds.
const TRANSACTION_TIMEOUT_MS: u64 = 60_000;
/// How long one call to the brokers may take before it is asked for its outcome again.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the job before may take to be fenced: its transaction has to be ended first.
const FENCE_LIMIT: Duration = Duration::from_secs(120);
/// How long a publication is tried to be committed before the job gives up.
const COMMIT_LIMIT: Duration = Duration::from_secs(600);
/// How many times a publication is written again after its transaction had to be aborted.
const ATTEMPTS_MAX: u32 = 8;
/// How long to wait before the first of them; each further one waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long one wait for room in the queue, or for the next try of a call, lasts.
const POLL_TIMEOUT: Duration = Duration::from_millis(10);
/// What is done with a publication, for messages.
const COMMIT: &str = "commit a publication to";
/// How long one wait for deliveries lasts.
const FLUSH_POLL_TIMEOUT: Duration = Duration::from_millis(1);

/// A producer that writes transactions, unless it is fenced.
pub(super) struct Transactions {
    producer: BaseProducer<Deliveries>,
    store: String,
    /// The generation of this job, as far as it is known.
    generation: u64,
}

/// An open transaction.
pub(super) struct Transaction<'a> {
    transactions: &'a Transactions,
    deadline: Instant,
}

/// Remembers why the last record was not delivered, which the error of a transaction leaves out.
#[derive(Default)]
struct Deliveries {
    failed: Mutex<Option<KafkaError>>,
}

/// Why a publication was not committed, as far as is known.
pub(super) enum Failure {
    /// It was not, and this job can do nothing about it.
    Final(StoreError),
    /// The producer can do nothing more, and how its last transaction ended may not be known. A new
    /// one can, if the store is still this job's.
    Broken(StoreError),
}

/// What an error means for a publication.
enum Meaning {
    /// It is to be written again, after its transaction is aborted.
    Again,
    /// Writing it again would fail again; its transaction is to be aborted.
    InVain,
    /// Another job has the store.
    Fenced,
    /// The producer can do nothing more, or how the transaction ended is not known.
    Over,
}

impl ClientContext for Deliveries {}

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        // What is purged by an abort says nothing of the reason.
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
    /// Fences whoever wrote the store before, and ends the transaction that it has left open.
    /// `generation` is that of this job as far as it is known, for what it says when it is fenced.
    pub fn fence(client: &Client, generation: u64) -> Result<Transactions, StoreError> {
        let producer = producer_config(&client.config, client.topic())
            .create_with_context(Deliveries::default())
            .map_err(|error| client.cannot("write to", error))?;
        let transactions = Transactions { producer, store: client.store.clone(), generation };
        let deadline = Instant::now() + FENCE_LIMIT;
        let fenced =
            transactions.insist(deadline, |producer| producer.init_transactions(CALL_TIMEOUT));
        match fenced {
            Ok(()) => Ok(transactions),
            Err(error) => Err(transactions.ended("take over", error)),
        }
    }

    /// Tells the generation of this job.
    pub fn set_generation(&mut self, generation: u64) {
        self.generation = generation;
    }

    /// Commits what `write` writes: all of it, or nothing. It may be called several times, as
    /// everything is written again when a transaction had to be aborted.
    pub fn commit(
        &self,
        mut write: impl FnMut(&Transaction<'_>) -> KafkaResult<()>,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + COMMIT_LIMIT;
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            *self.producer.context().lock() = None;
            let Err(error) = self.attempt(deadline, &mut write) else { return Ok(()) };
            let may_try_again = attempt < ATTEMPTS_MAX && Instant::now() < deadline;
            match self.meaning(&error) {
                Meaning::Again if may_try_again => {
                    let reason = self.explained(error).to_string();
                    tracing::warn!(store = self.store, attempt, reason, "publication aborted");
                    self.abort(deadline)?;
                    thread::sleep(pause);
                    pause = PAUSE_MAX.min(pause * 2);
                }
                Meaning::Again | Meaning::InVain => {
                    let error = self.explained(error);
                    self.abort(deadline)?;
                    return Err(Failure::Final(self.ended(COMMIT, error)));
                }
                Meaning::Fenced => return Err(Failure::Final(self.ended(COMMIT, error))),
                Meaning::Over => return Err(Failure::Broken(self.ended(COMMIT, error))),
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
        // A call that has timed out goes on in librdkafka, and the next one waits for the same
        // commit, not for another. So this asks until the outcome is known. If it never is, the
        // progress tells it to the next producer.
        self.insist(deadline, |producer| producer.commit_transaction(CALL_TIMEOUT))
    }

    /// Waits until every record was delivered or has failed. A commit would do that too, but looks
    /// every 100 ms only (rdkafka 0.39), which is most of what a small commit would take.
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

    /// Aborts the open transaction. Like a commit, a call that has timed out is resumed.
    ///
    /// librdkafka 2.12 fails fatally here when the brokers went away before they knew of the
    /// transaction (confluentinc/librdkafka#4849).
    fn abort(&self, deadline: Instant) -> Result<(), Failure> {
        self.insist(deadline, |producer| {
            producer.poll(Duration::ZERO);
            producer.abort_transaction(CALL_TIMEOUT)
        })
        .map_err(|error| match self.is_fenced(&error) {
            true => Failure::Final(self.ended(COMMIT, error)),
            false => Failure::Broken(self.ended(COMMIT, error)),
        })
    }

    /// Calls until the outcome is known, or the deadline has passed.
    fn insist(
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

    fn meaning(&self, error: &KafkaError) -> Meaning {
        use RDKafkaErrorCode as Code;
        if self.is_fenced(error) {
            return Meaning::Fenced;
        }
        if self.producer.client().fatal_error().is_some() {
            return Meaning::Over;
        }
        let requires_abort = match error {
            KafkaError::Transaction(error) => error.txn_requires_abort(),
            // Nothing was committed while it was being written.
            KafkaError::MessageProduction(_) | KafkaError::Flush(_) => true,
            _ => false,
        };
        let last = self.producer.context().lock().clone();
        let code = last.as_ref().unwrap_or(error).rdkafka_error_code();
        match code {
            _ if !requires_abort => Meaning::Over,
            Some(
                Code::InvalidRecord
                | Code::MessageSizeTooLarge
                | Code::PolicyViolation
                | Code::TopicAuthorizationFailed
                | Code::UnknownTopic
                | Code::UnknownTopicOrPartition,
            ) => Meaning::InVain,
            _ => Meaning::Again,
        }
    }

    fn is_fenced(&self, error: &KafkaError) -> bool {
        let fatal = self.producer.client().fatal_error().map(|(code, _)| code);
        let codes = [
            RDKafkaErrorCode::Fenced,
            RDKafkaErrorCode::ProducerFenced,
            RDKafkaErrorCode::InvalidProducerEpoch,
        ];
        // An old epoch alone can be this producer's own, raised by a broker; only then it is fatal.
        let told = error.rdkafka_error_code().filter(|code| *code == RDKafkaErrorCode::Fenced);
        fatal.or(told).is_some_and(|code| codes.contains(&code))
    }

    /// The error of the record that was refused, which says more than that of its transaction.
    fn explained(&self, error: KafkaError) -> KafkaError {
        self.producer.context().lock().clone().unwrap_or(error)
    }

    fn ended(&self, action: &'static str, error: KafkaError) -> StoreError {
        if self.is_fenced(&error) {
            StoreError::Fenced { store: self.store.clone(), generation: self.generation }
        } else {
            client::cannot(action, &self.store, &error)
        }
    }
}

impl Transaction<'_> {
    /// Writes a record; without a value it deletes what its key names. A publication goes into a
    /// header.
    ///
    /// # Errors
    /// When the producer does not take it. A full queue is waited for.
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

/// The settings of the producer: the user's, then those that a store rests on.
fn producer_config(base: &ClientConfig, topic: &str) -> ClientConfig {
    let mut config = base.clone();
    let transaction_timeout_ms = base
        .get("transaction.timeout.ms")
        .and_then(|timeout_ms| timeout_ms.parse().ok())
        .unwrap_or(TRANSACTION_TIMEOUT_MS);
    // A record is given up before the brokers give up the transaction: aborting it is up to us.
    let message_timeout_ms = (transaction_timeout_ms / 6 * 5).max(1).to_string();
    let defaults = [
        (["transaction.timeout.ms", ""], transaction_timeout_ms.to_string()),
        (["message.timeout.ms", "delivery.timeout.ms"], message_timeout_ms),
        (["compression.type", "compression.codec"], "lz4".to_owned()),
        (["linger.ms", "queue.buffering.max.ms"], "5".to_owned()),
        (["reconnect.backoff.max.ms", ""], "1000".to_owned()),
    ];
    // Some have two names.
    for (names, value) in defaults {
        if names.iter().all(|name| base.get(name).is_none()) {
            config.set(names[0], value);
        }
    }
    config
        .set("transactional.id", format!("trendmark-{topic}"))
        .set("enable.idempotence", "true")
        // That of Kafka's own clients, so that a key is in the same partition whoever writes it.
        .set("partitioner", "murmur2_random")
        // Of what was delivered, the transaction tells.
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
