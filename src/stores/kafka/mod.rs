//! A store in Kafka: rows as an upsert changelog, and the progress in the same transactions.
//!
//! A store `kafka:TOPIC` consists of these topics. Keys and values are JSON.
//!
//! - `TOPIC`, compacted: the rows of the main table. When an epoch becomes final, each of its rows
//!   is written again with `"final":true`.
//! - `TOPIC-QUERY`: the rows of another query. It is compacted, unless the query is a set: then its
//!   rows are members that join the set, or with `"removed":true` leave it, and the topic is a log
//!   of them that is kept for ever, unless its owner sets `retention.ms`.
//! - `TOPIC-ledger`, compacted, one partition: the event counts, by epoch and kind.
//! - `TOPIC-titles`, compacted, one partition: the titles of videos, and what was read of them.
//! - `TOPIC-completeness`, compacted, one partition: how much of each epoch has arrived.
//! - `TOPIC-progress`, compacted, one partition: its last record is the progress of the store.
//! - `TOPIC-lease`, compacted, one partition: the job that has the store, see `claims`.
//!
//! A deleted row of a table is a tombstone: its key without a value. A record whose value does not
//! contain its publication has it in a header. Consumers with `isolation.level=read_committed` see
//! whole publications, and only those of the job that owns the store.
//!
//! The job keeps in memory the main table's rows of the epochs that are not final (at most videos
//! × open epochs, about 100 bytes each) and the counts of all epochs (150 bytes for each epoch and
//! kind). A progress record holds all partitions, 250 bytes each: from 3,500 partitions on,
//! `max.message.bytes` of the topic and `message.max.bytes` of the job must be raised.

mod claims;
mod client;
mod completeness;
mod encode;
mod opening;
mod read;
mod state;
#[cfg(test)]
mod tests;
mod titles;
mod topics;
mod transactions;

pub use read::KafkaReader;

use crate::acceptance::LedgerRow;
use crate::completeness::{Completeness, StoredCurve};
use crate::kafka::KafkaSettings;
use crate::kafka::notices::Notices;
use crate::query::{QueryInstance, Row};
use crate::stores::description::{Description, StoredQuery};
use crate::stores::lease::RENEWAL_INTERVAL;
use crate::stores::{
    Changeset, Claim, Lease, LeaseState, Progress, RowChange, RowOrder, RowVisitor, Selection,
    Store, StoreError, StoreReader,
};
use crate::time::{Definition, EpochRange, Publication};
use crate::titles::TitleTable;
use client::Client;
use encode::{PublicationFields, RowEncoder};
use opening::{Owned, Prepared, ensure_no_successor, fence, lost, prepare_topics};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaResult;
use read::read_progress;
use state::{PROGRESS_KEY, Staged, State, StoredProgress};
use std::sync::Arc;
use std::time::{Duration, Instant};
use topics::{Topic, Topics};
use transactions::{CommitError, Transaction, Transactions};

/// The maximum number of producers that try to commit a publication.
const PRODUCERS_MAX: u32 = 4;

/// How long writing the end of a job into the lease may take.
const RELEASE_LIMIT: Duration = Duration::from_secs(10);

/// A store that this process writes.
pub struct KafkaStore {
    /// The settings for new clients. Idle clients are not kept.
    config: ClientConfig,
    /// The name of the store in messages: `kafka:TOPIC`.
    name: String,
    notices: Arc<Notices>,
    transactions: Transactions,
    topics: Topics,
    encoders: Vec<RowEncoder>,
    state: State,
    /// The lease as it was last written.
    lease: Lease,
    renewed_at: Instant,
    /// Whether a commit has failed for good.
    has_failed: bool,
}

/// The reused buffers of the record that is being written.
#[derive(Default)]
struct Buffers {
    key: Vec<u8>,
    value: Vec<u8>,
}

impl KafkaStore {
    /// Opens a store, or creates it if there is none, and takes it over: the previous job can no
    /// longer commit. If another job has the store, this waits for its end as `claim` says. If the
    /// store is refused, the previous job keeps it.
    ///
    /// # Errors
    /// When the store has another definition or other queries, its topics are not those of a store
    /// or have settings that would lose rows, another job has it and lives, or the brokers cannot
    /// be reached.
    ///
    /// # Panics
    /// When the queries are invalid for a store, see [`Description::of`].
    pub fn open(
        settings: &KafkaSettings,
        topic: &str,
        definition: &Definition,
        queries: &[QueryInstance],
        claim: &Claim,
    ) -> Result<KafkaStore, StoreError> {
        let description = Description::of(definition, queries);
        let topics = Topics::new(topic, &description.queries)?;
        let client = Client::new(settings, topic)?;
        let Prepared { row_partitions, generation } =
            prepare_topics(&client, &topics, &description)?;
        let (lease, keeper) = claims::claim(&client, &topics.lease.name, claim, generation)?;
        let lease = Lease { state: LeaseState::Running, ..lease };
        let new = StoredProgress::new(description, row_partitions);
        let owned = fence(&client, &topics, &lease, claim, &keeper, &new)?;
        let Owned { transactions, stored, ledger } = owned;
        keeper.finish();
        let encoders = stored.description.queries.iter().map(RowEncoder::of).collect();
        let Client { config, store: name, notices, .. } = client;
        let state = State::new(stored, &ledger);
        let (renewed_at, has_failed) = (Instant::now(), false);
        Ok(KafkaStore {
            config,
            name,
            notices,
            transactions,
            topics,
            encoders,
            state,
            lease,
            renewed_at,
            has_failed,
        })
    }

    /// Commits what `write` sends, with new producers if the old one breaks or was fenced by an
    /// earlier job. `publication` is the last publication once it is committed.
    fn commit_with(
        &mut self,
        publication: Option<Publication>,
        mut write: impl FnMut(&KafkaStore, &Transaction<'_>) -> KafkaResult<()>,
    ) -> Result<(), StoreError> {
        for attempt in 1.. {
            let committed = self.transactions.commit(|transaction| write(self, transaction));
            match committed {
                Ok(()) => break,
                Err(CommitError::ProducerUnusable(error)) if attempt < PRODUCERS_MAX => {
                    // A job that was fenced on purpose ends, and says so then.
                    if !error.is_fenced() {
                        tracing::warn!(%error, "continuing with a new producer");
                    }
                    let last = self.renew_producer();
                    if publication == Some(last.inspect_err(|_| self.has_failed = true)?) {
                        break;
                    }
                }
                Err(CommitError::Permanent(error) | CommitError::ProducerUnusable(error)) => {
                    self.has_failed = true;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Connects once more.
    fn client(&self) -> Result<Client, StoreError> {
        Client::connect(self.config.clone(), self.name.clone(), Arc::clone(&self.notices))
    }

    /// Continues with a new producer, if this job still owns the store. Returns the last
    /// publication that was committed.
    fn renew_producer(&mut self) -> Result<Publication, StoreError> {
        let client = self.client()?;
        let generation = self.lease.generation;
        // Before the new producer, which would fence the job that owns the store: that job would
        // have to fence this one in turn.
        self.stored_by(&client, generation)?;
        self.transactions = Transactions::fence(&client, generation)?;
        self.stored_by(&client, generation)
    }

    /// Returns the last committed publication, if the job of `generation` owns the store.
    fn stored_by(&self, client: &Client, generation: u64) -> Result<Publication, StoreError> {
        ensure_no_successor(client, &self.topics, generation)?;
        match read_progress(client, &self.topics.progress.name)? {
            Some(StoredProgress { progress, .. }) if progress.generation == generation => {
                Ok(progress.publication)
            }
            Some(_) => Err(StoreError::Fenced { store: self.name.clone(), generation }),
            None => Err(lost(&self.topics.progress)),
        }
    }

    /// Writes a lease alone.
    fn write_lease(&mut self, lease: Lease) -> Result<(), StoreError> {
        let json = lease.to_json();
        self.commit_with(None, |store, transaction| store.send_lease(transaction, &json))?;
        self.note_renewal(lease);
        Ok(())
    }

    fn send_lease(&self, transaction: &Transaction<'_>, json: &str) -> KafkaResult<()> {
        let topic = &self.topics.lease.name;
        transaction.send(topic, claims::LEASE_KEY, Some(json.as_bytes()), None)
    }

    fn note_renewal(&mut self, lease: Lease) {
        self.lease = lease;
        self.renewed_at = Instant::now();
    }

    /// Whether the lease was not renewed a moment ago.
    fn is_renewal_due(&self) -> bool {
        self.renewed_at.elapsed() >= RENEWAL_INTERVAL / 2
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
        if let Some(update) = &changes.titles {
            let publication = Some(changes.publication);
            titles::write(update, |key, value| {
                transaction.send(&self.topics.titles.name, key, value, publication)
            })?;
        }
        completeness::write(&changes.completeness, |key, value| {
            let publication = Some(changes.publication);
            transaction.send(&self.topics.completeness.name, key, value, publication)
        })?;
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
        let encoder = &self.encoders[query];
        encoder.write_key(row, &mut buffers.key);
        match deleted {
            true if encoder.has_removals => encoder.write_removal(row, stamp, &mut buffers.value),
            true => return transaction.send(name, &buffers.key, None, Some(stamp.publication)),
            false => encoder.write_value(row, stamp, &mut buffers.value),
        }
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
    fn own_reader(&self) -> Result<KafkaReader, StoreError> {
        let client = self.client()?;
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

    fn lease(&self) -> Result<Option<Lease>, StoreError> {
        Ok(Some(self.lease.clone()))
    }

    fn ledger(&self) -> Result<Vec<LedgerRow>, StoreError> {
        self.own_reader()?.ledger()
    }

    fn titles(&self) -> Result<TitleTable, StoreError> {
        self.own_reader()?.titles()
    }

    fn completeness(&self) -> Result<Vec<Completeness>, StoreError> {
        self.own_reader()?.completeness()
    }

    fn curves(&self) -> Result<Vec<StoredCurve>, StoreError> {
        self.own_reader()?.curves()
    }

    fn visit(
        &self,
        query: &StoredQuery,
        selection: &Selection,
        order: RowOrder,
        visitor: &mut RowVisitor<'_>,
    ) -> Result<(), StoreError> {
        self.own_reader()?.visit(query, selection, order, visitor)
    }

    fn count(&self, query: &StoredQuery, selection: &Selection) -> Result<u64, StoreError> {
        self.own_reader()?.count(query, selection)
    }

    fn latest_epochs(
        &self,
        query: &StoredQuery,
        epochs: usize,
    ) -> Result<Option<EpochRange>, StoreError> {
        self.own_reader()?.latest_epochs(query, epochs)
    }
}

impl Store for KafkaStore {
    fn reader(&self) -> Result<Box<dyn StoreReader>, StoreError> {
        Ok(Box::new(self.own_reader()?))
    }

    fn restore(&mut self, rows: Vec<RowChange>) {
        self.state.restore(&rows);
    }

    fn commit(&mut self, changes: &Changeset) -> Result<(), StoreError> {
        let staged = self.state.stage(changes);
        let mut buffers = Buffers::default();
        let before = &self.state.stored.progress;
        let lease = self.lease.committed(staged.stored.progress.records_since(before));
        let renewal = self.is_renewal_due().then(|| lease.to_json());
        self.commit_with(Some(changes.publication), |store, transaction| {
            store.write(transaction, changes, &staged, &mut buffers)?;
            renewal.as_deref().map_or(Ok(()), |json| store.send_lease(transaction, json))
        })?;
        self.state.apply(staged, changes);
        match renewal {
            Some(_) => self.note_renewal(lease),
            // The next renewal tells it.
            None => self.lease = Lease { renewed_ms: self.lease.renewed_ms, ..lease },
        }
        Ok(())
    }

    fn renew(&mut self, holder: Option<String>) -> Result<(), StoreError> {
        self.lease.holder = holder;
        match self.is_renewal_due() {
            true => self.write_lease(self.lease.renewed()),
            false => Ok(()),
        }
    }

    fn release(&mut self, ended: LeaseState) -> Result<(), StoreError> {
        let lease = Lease { state: ended, holder: None, ..self.lease.renewed() };
        let json = lease.to_json();
        let released = self
            .transactions
            .commit_within(RELEASE_LIMIT, |transaction| self.send_lease(transaction, &json));
        self.note_renewal(lease);
        released
            .map_err(|(CommitError::Permanent(error) | CommitError::ProducerUnusable(error))| error)
    }
}

impl Drop for KafkaStore {
    /// Releases the lease, unless that was done, or the store has failed.
    fn drop(&mut self) {
        if !self.has_failed && !self.lease.state.is_over() {
            // The next job has to wait for the lease to expire.
            let _ = self.release(LeaseState::Failed);
        }
    }
}

fn write_json(value: &impl serde::Serialize, buffer: &mut Vec<u8>) {
    if let Err(error) = serde_json::to_writer(buffer, value) {
        unreachable!("a ledger row serializes to JSON: {error}");
    }
}
