//! Kafka: rows as an upsert changelog, and the progress that they reflect in the same transaction.
//!
//! A store `kafka:TOPIC` is these topics; keys and values are JSON:
//!
//! - `TOPIC`, compacted: the rows of `trends`. When an epoch becomes final, each of its rows is
//!   written once more with `"final":true`.
//! - `TOPIC-QUERY`: the rows of another query. It is compacted, unless the query names requests:
//!   then its rows are members that join a set, and the topic is a log of them that is kept for
//!   ever, or as long as its owner sets `retention.ms` to.
//! - `TOPIC-ledger`, compacted, one partition: all counts, by epoch and kind.
//! - `TOPIC-progress`, compacted, one partition: its last record is what the store reflects.
//!
//! A deleted row is its key without a value. Who reads with `isolation.level=read_committed` sees
//! whole publications, and only those of the job that has the store.
//!
//! The job remembers the rows of the epochs that are not final, at most videos × open epochs of
//! about 100 bytes, and the counts of all epochs, 150 bytes for each epoch and kind. A record of
//! progress holds all partitions, 250 bytes each: from 3,500 partitions on, `max.message.bytes` of
//! the topic and `message.max.bytes` of the job have to be raised.

mod client;
mod encode;
mod state;
#[cfg(test)]
mod tests;
mod topics;
mod transactions;

pub use encode::{LedgerKey, LedgerRow};
pub use state::StoredProgress;

use crate::kafka::KafkaSettings;
use crate::query::{Query, Row};
use crate::stores::description::{Description, Difference};
use crate::stores::{Progress, Publication, RowChange, Store, StoreError};
use crate::time::Definition;
use client::Client;
use encode::{RowFormat, Stamp};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaResult;
use state::{PROGRESS_KEY, Staged, State};
use std::collections::BTreeMap;
use topics::{Administrator, Role, Topic, Topics};
use transactions::{Failure, Transaction, Transactions};

/// With how many producers a publication is tried to be committed.
const PRODUCERS_MAX: u32 = 4;

/// A store that this process writes.
pub struct KafkaStore {
    /// How the brokers are reached again. A client that is not asked is not kept.
    config: ClientConfig,
    /// The store as it is named to the user.
    name: String,
    transactions: Transactions,
    topics: Topics,
    formats: Vec<RowFormat>,
    state: State,
}

/// A record that is being written; its buffers are used again.
#[derive(Default)]
struct Buffers {
    key: Vec<u8>,
    value: Vec<u8>,
}

impl KafkaStore {
    /// Opens a store, or makes a new one where there is none, and takes it over: the job that had
    /// it before can commit nothing more. A store that is refused is left to the job that has it.
    ///
    /// # Errors
    /// When the store is of another definition or other queries, its topics are not ours or have
    /// settings by which they would lose rows, and when the brokers cannot be reached.
    ///
    /// # Panics
    /// When `queries` lacks `distinct`, the other half of the ledger.
    pub fn open(
        settings: &KafkaSettings,
        topic: &str,
        definition: &Definition,
        queries: &[&'static Query],
    ) -> Result<KafkaStore, StoreError> {
        let description = Description::of(definition, queries);
        let topics = Topics::new(topic, &description.queries)?;
        assert!(topics.queries.contains(&None), "the ledger needs the query `distinct`");
        let client = Client::new(settings, topic)?;
        let row_partitions = prepare(&client, &topics, &description)?;
        let mut transactions = Transactions::fence(&client, 0)?;
        // What the job before has committed since, which is all that it ever will.
        let stored = read_progress(&client, &topics.progress.name)?;
        refuse_other(&client.store, stored.as_ref(), &description)?;
        let mut stored = match stored {
            Some(stored) => StoredProgress { description, ..stored },
            None => StoredProgress::new(description, row_partitions),
        };
        stored.progress.generation += 1;
        transactions.set_generation(stored.progress.generation);
        let ledger = read_ledger(&client, &topics.ledger.name)?;
        let record = stored.to_record();
        let committed = transactions.commit(|transaction| {
            transaction.send(&topics.progress.name, PROGRESS_KEY, Some(&record))
        });
        committed.map_err(|(Failure::Final(error) | Failure::Broken(error))| error)?;
        let formats = stored.description.queries.iter().map(RowFormat::of).collect();
        let state = State::new(stored, &ledger);
        let Client { config, store: name, .. } = client;
        Ok(KafkaStore { config, name, transactions, topics, formats, state })
    }

    /// Reads what a store reflects, and leaves it to the job that has it; none if there is no such
    /// store.
    ///
    /// # Errors
    /// When the topic of its progress is not ours, or cannot be read.
    pub fn read_progress(
        settings: &KafkaSettings,
        topic: &str,
    ) -> Result<Option<StoredProgress>, StoreError> {
        let name = topics::progress_of(topic);
        topics::check_name(topic, &name)?;
        let client = Client::new(settings, topic)?;
        match client.partitions(&name).map_err(|error| client.cannot("reach", error))? {
            Some(_) => read_progress(&client, &name),
            None => Ok(None),
        }
    }

    /// Reads the ledger of a store, and leaves it to the job that has it: the counts of each epoch
    /// and kind. Empty if there is no such store.
    ///
    /// # Errors
    /// When the topic of its ledger is not ours, or cannot be read.
    pub fn read_ledger(
        settings: &KafkaSettings,
        topic: &str,
    ) -> Result<Vec<LedgerRow>, StoreError> {
        let topics = Topics::new(topic, &[])?;
        let client = Client::new(settings, topic)?;
        let name = &topics.ledger.name;
        match client.partitions(name).map_err(|error| client.cannot("reach", error))? {
            Some(_) => read_ledger(&client, name),
            None => Ok(Vec::new()),
        }
    }

    /// Goes on with a new producer, if the store is still this job's. Returns whether the last
    /// publication was committed after all.
    fn renew(&mut self, staged: &Staged) -> Result<bool, StoreError> {
        let client = Client::connect(self.config.clone(), self.name.clone())?;
        let generation = staged.stored.progress.generation;
        // Before the new producer: it would fence the job that has the store.
        self.stored_by(&client, generation)?;
        self.transactions = Transactions::fence(&client, generation)?;
        let publications = self.stored_by(&client, generation)?;
        Ok(publications == staged.stored.progress.publications)
    }

    /// How many publications are committed, all of them by this job or those before.
    fn stored_by(&self, client: &Client, generation: u64) -> Result<u64, StoreError> {
        match read_progress(client, &self.topics.progress.name)? {
            Some(StoredProgress { progress, .. }) if progress.generation == generation => {
                Ok(progress.publications)
            }
            Some(_) => Err(StoreError::Fenced { store: self.name.clone(), generation }),
            None => Err(lost(&self.topics.progress)),
        }
    }

    /// Writes a publication into a transaction.
    fn write(
        &self,
        transaction: &Transaction<'_>,
        publication: &Publication,
        staged: &Staged,
        buffers: &mut Buffers,
    ) -> KafkaResult<()> {
        let stored = &staged.stored;
        let mut stamp = Stamp::new(
            stored.description.definition,
            stored.progress.final_through,
            stored.watermark_ms,
            stored.progress.publications,
        );
        for RowChange { query, row, deleted } in &publication.rows {
            self.write_row(transaction, *query, row, *deleted, &mut stamp, buffers)?;
        }
        for (query, row) in &staged.finals {
            self.write_row(transaction, *query, row, false, &mut stamp, buffers)?;
        }
        for (key, totals) in &staged.ledger {
            buffers.clear();
            write_json(&key, &mut buffers.key);
            write_json(&totals.row(*key), &mut buffers.value);
            transaction.send(&self.topics.ledger.name, &buffers.key, Some(&buffers.value))?;
        }
        transaction.send(&self.topics.progress.name, PROGRESS_KEY, Some(&stored.to_record()))
    }

    fn write_row(
        &self,
        transaction: &Transaction<'_>,
        query: usize,
        row: &Row,
        deleted: bool,
        stamp: &mut Stamp,
        buffers: &mut Buffers,
    ) -> KafkaResult<()> {
        // The rows without a topic are in the ledger.
        let Some(Topic { name, .. }) = &self.topics.queries[query] else { return Ok(()) };
        buffers.clear();
        self.formats[query].write_key(row, &mut buffers.key);
        if deleted {
            return transaction.send(name, &buffers.key, None);
        }
        self.formats[query].write_value(row, stamp, &mut buffers.value);
        transaction.send(name, &buffers.key, Some(&buffers.value))
    }
}

impl Buffers {
    fn clear(&mut self) {
        self.key.clear();
        self.value.clear();
    }
}

impl Store for KafkaStore {
    fn progress(&mut self) -> Result<Progress, StoreError> {
        Ok(self.state.stored.progress.clone())
    }

    fn restore(&mut self, rows: Vec<RowChange>) {
        self.state.restore(&rows);
    }

    fn commit(&mut self, publication: &Publication) -> Result<(), StoreError> {
        let staged = self.state.stage(publication);
        let mut buffers = Buffers::default();
        for attempt in 1.. {
            let committed = self
                .transactions
                .commit(|transaction| self.write(transaction, publication, &staged, &mut buffers));
            match committed {
                Ok(()) => break,
                Err(Failure::Broken(error)) if attempt < PRODUCERS_MAX => {
                    tracing::warn!(%error, "going on with a new producer");
                    if self.renew(&staged)? {
                        break;
                    }
                }
                Err(Failure::Final(error) | Failure::Broken(error)) => return Err(error),
            }
        }
        self.state.apply(staged, publication);
        Ok(())
    }
}

/// Makes sure that the topics are there and fit, before anybody is fenced. Returns how many
/// partitions the topics of rows have.
fn prepare(
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
    refuse_other(&client.store, stored.as_ref(), description)?;
    let administrator = Administrator::new(client)?;
    let mut row_partitions = BTreeMap::new();
    for topic in topics.all() {
        let before = stored.as_ref().map(|stored| &stored.partitions_of_topics);
        let before = before.and_then(|before| before.get(&topic.name)).copied();
        match found.get(&topic.name) {
            Some(partitions) => {
                administrator.check(topic, *partitions, before)?;
                if stored.is_none() {
                    refuse_records(client, topic, *partitions)?;
                }
            }
            None if stored.is_some() => return Err(lost(topic)),
            None => administrator.create(topic)?,
        }
        if matches!(topic.role, Role::Rows | Role::Increments) {
            let partitions = match found.get(&topic.name) {
                Some(partitions) => *partitions,
                None => topics::ROW_PARTITIONS,
            };
            row_partitions.insert(topic.name.clone(), partitions);
        }
    }
    Ok(row_partitions)
}

/// Refuses to write among the records of others.
fn refuse_records(client: &Client, topic: &Topic, partitions: i32) -> Result<(), StoreError> {
    for partition in 0..partitions {
        let (first, end) = client.range(&topic.name, partition)?;
        if first < end {
            let reason = format!(
                "its topic `{}` holds records, but there is no progress that tells of them",
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
        problem: "it is gone, but the progress of the store tells of rows in it".to_owned(),
        remedy: "restore it; or give another --store; or delete the store's other topics too, to \
                 begin anew"
            .to_owned(),
    }
}

fn refuse_other(
    store: &str,
    stored: Option<&StoredProgress>,
    given: &Description,
) -> Result<(), StoreError> {
    match stored.and_then(|stored| stored.description.difference(given)) {
        Some(Difference { key, stored, given }) => {
            Err(StoreError::OtherDefinition { store: store.to_owned(), key, stored, given })
        }
        None => Ok(()),
    }
}

fn read_progress(client: &Client, topic: &str) -> Result<Option<StoredProgress>, StoreError> {
    let Some(record) = client.last(topic)? else { return Ok(None) };
    let not_ours = |reason| StoreError::NotAStore { store: client.store.clone(), reason };
    StoredProgress::parse(&record).map(Some).map_err(not_ours)
}

fn read_ledger(client: &Client, topic: &str) -> Result<Vec<LedgerRow>, StoreError> {
    let (first, end) = client.range(topic, 0)?;
    let mut rows = BTreeMap::new();
    let mut damaged = None;
    if first < end {
        client.read(topic, first, |value| {
            let row = value.map(serde_json::from_slice::<LedgerRow>);
            match row {
                Some(Ok(row)) => drop(rows.insert(row.key, row)),
                Some(Err(error)) => damaged = Some(error),
                None => {}
            }
        })?;
    }
    match damaged {
        Some(error) => Err(StoreError::NotAStore {
            store: client.store.clone(),
            reason: format!("a record of `{topic}` is no row of a ledger: {error}"),
        }),
        None => Ok(rows.into_values().collect()),
    }
}

fn write_json(value: &impl serde::Serialize, buffer: &mut Vec<u8>) {
    if let Err(error) = serde_json::to_writer(buffer, value) {
        unreachable!("a row of the ledger can be written as JSON: {error}");
    }
}
