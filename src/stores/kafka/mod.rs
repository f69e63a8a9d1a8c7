//! A store in Kafka: rows as an upsert changelog, and the progress in the same transactions.
//!
//! A store `kafka:TOPIC` consists of these topics. Keys and values are JSON.
//!
//! - `TOPIC`, compacted: the rows of the main table. When an epoch becomes final, each of its rows
//!   is written again with `"final":true`.
//! - `TOPIC-QUERY`: the rows of another query. It is compacted, unless the query is a set: then its
//!   rows are members that join the set, and the topic is a log of them that is kept for ever,
//!   unless its owner sets `retention.ms`.
//! - `TOPIC-ledger`, compacted, one partition: the event counts, by epoch and kind.
//! - `TOPIC-progress`, compacted, one partition: its last record is the progress of the store.
//!
//! A deleted row is a tombstone: its key without a value. A record whose value does not contain its
//! publication has it in a header. Consumers with `isolation.level=read_committed` see whole
//! publications, and only those of the job that owns the store.
//!
//! The job keeps in memory the main table's rows of the epochs that are not final (at most videos
//! × open epochs, about 100 bytes each) and the counts of all epochs (150 bytes for each epoch and
//! kind). A progress record holds all partitions, 250 bytes each: from 3,500 partitions on,
//! `max.message.bytes` of the topic and `message.max.bytes` of the job must be raised.

mod client;
mod encode;
mod read;
mod state;
#[cfg(test)]
mod tests;
mod topics;
mod transactions;

pub use read::KafkaReader;

use crate::acceptance::LedgerRow;
use crate::kafka::KafkaSettings;
use crate::query::{QueryInstance, Row};
use crate::stores::description::{Description, StoredQuery};
use crate::stores::{
    Changeset, Progress, RowChange, RowOrder, RowVisitor, Selection, Store, StoreError, StoreReader,
};
use crate::time::{Definition, EpochRange, Publication};
use client::Client;
use encode::{PublicationFields, RowEncoder};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaResult;
use read::read_progress;
use state::{PROGRESS_KEY, Staged, State, StoredProgress};
use std::collections::BTreeMap;
use topics::{Administrator, Topic, TopicRole, Topics};
use transactions::{CommitError, Transaction, Transactions};

/// The maximum number of producers that try to commit a publication.
const PRODUCERS_MAX: u32 = 4;

/// A store that this process writes.
pub struct KafkaStore {
    /// The settings for new clients. Idle clients are not kept.
    config: ClientConfig,
    /// The name of the store in messages: `kafka:TOPIC`.
    name: String,
    transactions: Transactions,
    topics: Topics,
    encoders: Vec<RowEncoder>,
    state: State,
}

/// The reused buffers of the record that is being written.
#[derive(Default)]
struct Buffers {
    key: Vec<u8>,
    value: Vec<u8>,
}

impl KafkaStore {
    /// Opens a store, or creates it if there is none, and takes it over: the previous job can no
    /// longer commit. If the store is refused, the previous job keeps it.
    ///
    /// # Errors
    /// When the store has another definition or other queries, its topics are not those of a store
    /// or have settings that would lose rows, or the brokers cannot be reached.
    ///
    /// # Panics
    /// When the queries are invalid for a store, see [`Description::of`].
    pub fn open(
        settings: &KafkaSettings,
        topic: &str,
        definition: &Definition,
        queries: &[QueryInstance],
    ) -> Result<KafkaStore, StoreError> {
        let description = Description::of(definition, queries);
        let topics = Topics::new(topic, &description.queries)?;
        let client = Client::new(settings, topic)?;
        let row_partitions = prepare_topics(&client, &topics, &description)?;
        let mut transactions = Transactions::fence(&client, 0)?;
        // Includes the last commits of the previous job, which is fenced now.
        let stored = read_progress(&client, &topics.progress.name)?;
        if let Some(stored) = &stored {
            stored.description.ensure_same(&client.store, &description)?;
        }
        let mut stored = match stored {
            Some(stored) => StoredProgress { description, ..stored },
            None => StoredProgress::new(description, row_partitions),
        };
        stored.progress.generation += 1;
        transactions.set_generation(stored.progress.generation);
        let record = stored.to_record();
        let committed = transactions.commit(|transaction| {
            transaction.send(&topics.progress.name, PROGRESS_KEY, Some(&record), None)
        });
        committed.map_err(
            |(CommitError::Permanent(error) | CommitError::ProducerUnusable(error))| error,
        )?;
        let encoders = stored.description.queries.iter().map(RowEncoder::of).collect();
        let (config, name) = (client.config.clone(), client.store.clone());
        let ledger = KafkaReader::of_owner(client, &stored)?.ledger()?;
        let state = State::new(stored, &ledger);
        Ok(KafkaStore { config, name, transactions, topics, encoders, state })
    }

    /// Continues with a new producer, if this job still owns the store. Returns whether the last
    /// publication was committed after all.
    fn renew_producer(&mut self, staged: &Staged) -> Result<bool, StoreError> {
        let client = Client::connect(self.config.clone(), self.name.clone())?;
        let generation = staged.stored.progress.generation;
        // Checked before the new producer, which would fence the job that owns the store.
        self.stored_by(&client, generation)?;
        self.transactions = Transactions::fence(&client, generation)?;
        let publication = self.stored_by(&client, generation)?;
        Ok(publication == staged.stored.progress.publication)
    }

    /// Returns the last committed publication, if the job of `generation` owns the store.
    fn stored_by(&self, client: &Client, generation: u64) -> Result<Publication, StoreError> {
        match read_progress(client, &self.topics.progress.name)? {
            Some(StoredProgress { progress, .. }) if progress.generation == generation => {
                Ok(progress.publication)
            }
            Some(_) => Err(StoreError::Fenced { store: self.name.clone(), generation }),
            None => Err(lost(&self.topics.progress)),
        }
    }

    /// Writes a publication into a transaction.
    fn write(
        &self,
        transaction: &Transaction<'_>,
        changes: &Changeset,
        staged: &Staged,
        buffers: &mut Buffers,
    ) -> KafkaResult<()> {
        let stored = &staged.stored;
        let mut stamp = PublicationFields::new(
            stored.description.definition,
            stored.progress.final_through,
            stored.watermark_ms,
            changes.publication,
        );
        for RowChange { query, row, deleted } in &changes.rows {
            self.write_row(transaction, *query, row, *deleted, &mut stamp, buffers)?;
        }
        for (query, row) in &staged.finals {
            self.write_row(transaction, *query, row, false, &mut stamp, buffers)?;
        }
        for (key, totals) in &staged.ledger {
            buffers.clear();
            write_json(&key, &mut buffers.key);
            write_json(&totals.row(*key), &mut buffers.value);
            let value = Some(buffers.value.as_slice());
            let publication = Some(changes.publication);
            transaction.send(&self.topics.ledger.name, &buffers.key, value, publication)?;
        }
        transaction.send(&self.topics.progress.name, PROGRESS_KEY, Some(&stored.to_record()), None)
    }

    fn write_row(
        &self,
        transaction: &Transaction<'_>,
        query: usize,
        row: &Row,
        deleted: bool,
        stamp: &mut PublicationFields,
        buffers: &mut Buffers,
    ) -> KafkaResult<()> {
        // The ledger query has no topic: its rows are part of the ledger.
        let Some(Topic { name, .. }) = &self.topics.queries[query] else { return Ok(()) };
        buffers.clear();
        self.encoders[query].write_key(row, &mut buffers.key);
        if deleted {
            return transaction.send(name, &buffers.key, None, Some(stamp.publication));
        }
        self.encoders[query].write_value(row, stamp, &mut buffers.value);
        transaction.send(name, &buffers.key, Some(&buffers.value), None)
    }
}

impl Buffers {
    fn clear(&mut self) {
        self.key.clear();
        self.value.clear();
    }
}

impl KafkaStore {
    /// Connects a reader of the store. Rarely needed, as each read scans a whole topic.
    fn reader(&self) -> Result<KafkaReader, StoreError> {
        let client = Client::connect(self.config.clone(), self.name.clone())?;
        KafkaReader::of_owner(client, &self.state.stored)
    }
}

impl StoreReader for KafkaStore {
    fn description(&self) -> &Description {
        &self.state.stored.description
    }

    fn progress(&self) -> Result<Progress, StoreError> {
        Ok(self.state.stored.progress.clone())
    }

    fn ledger(&self) -> Result<Vec<LedgerRow>, StoreError> {
        self.reader()?.ledger()
    }

    fn visit(
        &self,
        query: &StoredQuery,
        selection: &Selection,
        order: RowOrder,
        visitor: &mut RowVisitor<'_>,
    ) -> Result<(), StoreError> {
        self.reader()?.visit(query, selection, order, visitor)
    }

    fn count(&self, query: &StoredQuery, selection: &Selection) -> Result<u64, StoreError> {
        self.reader()?.count(query, selection)
    }

    fn latest_epochs(
        &self,
        query: &StoredQuery,
        epochs: usize,
    ) -> Result<Option<EpochRange>, StoreError> {
        self.reader()?.latest_epochs(query, epochs)
    }
}

impl Store for KafkaStore {
    fn restore(&mut self, rows: Vec<RowChange>) {
        self.state.restore(&rows);
    }

    fn commit(&mut self, changes: &Changeset) -> Result<(), StoreError> {
        let staged = self.state.stage(changes);
        let mut buffers = Buffers::default();
        for attempt in 1.. {
            let committed = self
                .transactions
                .commit(|transaction| self.write(transaction, changes, &staged, &mut buffers));
            match committed {
                Ok(()) => break,
                Err(CommitError::ProducerUnusable(error)) if attempt < PRODUCERS_MAX => {
                    tracing::warn!(%error, "continuing with a new producer");
                    if self.renew_producer(&staged)? {
                        break;
                    }
                }
                Err(CommitError::Permanent(error) | CommitError::ProducerUnusable(error)) => {
                    return Err(error);
                }
            }
        }
        self.state.apply(staged, changes);
        Ok(())
    }
}

/// Checks the topics, and creates those that do not exist, before any job is fenced. Returns the
/// number of partitions of each row topic.
fn prepare_topics(
    client: &Client,
    topics: &Topics,
    description: &Description,
) -> Result<BTreeMap<String, i32>, StoreError> {
    let found = topics::partitions(client, topics)?;
    let progress = &topics.progress.name;
    let stored = match found.contains_key(progress) {
        true => read_progress(client, progress)?,
        false => None,
    };
    if let Some(stored) = &stored {
        stored.description.ensure_same(&client.store, description)?;
    }
    let administrator = Administrator::new(client)?;
    let mut row_partitions = BTreeMap::new();
    for topic in topics.all() {
        let before = stored.as_ref().map(|stored| &stored.partitions_of_topics);
        let before = before.and_then(|before| before.get(&topic.name)).copied();
        let partitions = match found.get(&topic.name) {
            Some(partitions) => *partitions,
            None if stored.is_some() => return Err(lost(topic)),
            None => administrator.create(topic)?,
        };
        administrator.check(topic, partitions, before)?;
        if stored.is_none() && topic.role != TopicRole::Progress {
            let is_created = || match found.contains_key(progress) {
                true => read_progress(client, progress).map(|stored| stored.is_some()),
                false => Ok(false),
            };
            refuse_records(client, topic, partitions, is_created)?;
        }
        if matches!(topic.role, TopicRole::Rows | TopicRole::Increments) {
            row_partitions.insert(topic.name.clone(), partitions);
        }
    }
    Ok(row_partitions)
}

/// Refuses a topic that holds records without a progress record. A job that was killed while it
/// created the store may still complete its first commits, so the progress is read once more. In
/// the progress topic itself, records that cannot be read are those of an aborted creation.
fn refuse_records(
    client: &Client,
    topic: &Topic,
    partitions: i32,
    is_created: impl Fn() -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    for partition in 0..partitions {
        let (first, end) = client.committed_offsets(&topic.name, partition)?;
        if first < end && !is_created()? {
            let reason = format!(
                "its topic `{}` holds records, but there is no progress record for them",
                topic.name
            );
            return Err(StoreError::NotAStore { store: client.store.clone(), reason });
        }
    }
    Ok(())
}

fn lost(topic: &Topic) -> StoreError {
    StoreError::Topic {
        topic: topic.name.clone(),
        problem: "it is gone, but the progress of the store refers to rows in it".to_owned(),
        remedy: "restore it; or give another --store; or delete the store's other topics too, to \
                 start over"
            .to_owned(),
    }
}

fn write_json(value: &impl serde::Serialize, buffer: &mut Vec<u8>) {
    if let Err(error) = serde_json::to_writer(buffer, value) {
        unreachable!("a ledger row serializes to JSON: {error}");
    }
}
