//! The steps by which a job takes a store over: the topics are checked and created, the lease is
//! claimed ([`claims`]), and the previous job is fenced.

use super::PRODUCERS_MAX;
use super::claims::{self, Keeper};
use super::client::Client;
use super::read::{KafkaReader, read_progress};
use super::state::{PROGRESS_KEY, StoredProgress};
use super::topics::{self, Administrator, Topic, TopicRole, Topics};
use super::transactions::{CommitError, Transactions};
use crate::acceptance::LedgerRow;
use crate::stores::description::Description;
use crate::stores::{Claim, Lease, StoreError, StoreReader};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What a job that owns the store writes with, and continues from.
pub(super) struct Owned {
    pub transactions: Transactions,
    pub stored: StoredProgress,
    pub ledger: Vec<LedgerRow>,
}

/// Fences the previous job, reads the store, and makes this job, which has the lease, its owner,
/// unless `claim` or its `keeper` says that it is asked to stop. `new` is the progress of a new
/// store.
pub(super) fn fence(
    client: &Client,
    topics: &Topics,
    lease: &Lease,
    claim: &Claim,
    keeper: &Keeper,
    new: &StoredProgress,
) -> Result<Owned, StoreError> {
    for attempt in 1.. {
        let transactions = Transactions::fence(client, lease.generation)?;
        // Includes the last commits of the previous job, which is fenced now.
        let stored = read_progress(client, &topics.progress.name)?;
        if let Some(stored) = &stored {
            stored.description.ensure_same(&client.store, &new.description)?;
        }
        let description = new.description.clone();
        let mut stored = StoredProgress { description, ..stored.unwrap_or_else(|| new.clone()) };
        // Before this job owns the store, as only until then another thread renews the lease.
        let notices = Arc::clone(&client.notices);
        let reader = Client::connect(client.config.clone(), client.store.clone(), notices)?;
        let ledger = KafkaReader::of_owner(reader, &stored)?.ledger()?;
        ensure_no_successor(client, topics, lease.generation)?;
        if claim.stop.load(Ordering::Relaxed) || !keeper.take() {
            return Err(StoreError::Stopped { store: client.store.clone() });
        }
        stored.progress.generation = lease.generation;
        let (record, json) = (stored.to_record(), lease.renewed().to_json());
        let committed = transactions.commit(|transaction| {
            transaction.send(&topics.progress.name, PROGRESS_KEY, Some(&record), None)?;
            transaction.send(&topics.lease.name, claims::LEASE_KEY, Some(json.as_bytes()), None)
        });
        match committed {
            Ok(()) => return Ok(Owned { transactions, stored, ledger }),
            // The previous job has renewed its producer at this moment.
            Err(CommitError::ProducerUnusable(_)) if attempt < PRODUCERS_MAX => {}
            Err(CommitError::Permanent(error) | CommitError::ProducerUnusable(error)) => {
                return Err(error);
            }
        }
    }
    unreachable!("attempts are bounded")
}

/// Refuses to continue if a later job has claimed the store.
pub(super) fn ensure_no_successor(
    client: &Client,
    topics: &Topics,
    generation: u64,
) -> Result<(), StoreError> {
    match claims::read(client, &topics.lease.name)? {
        Some(lease) if lease.generation > generation => {
            Err(StoreError::Fenced { store: client.store.clone(), generation })
        }
        _ => Ok(()),
    }
}

/// What [`prepare_topics`] has found.
pub(super) struct Prepared {
    /// The number of partitions of each row topic.
    pub row_partitions: BTreeMap<String, i32>,
    /// The generation of the store, 0 if it is new.
    pub generation: u64,
}

/// Checks the topics, and creates those that do not exist, before any job is fenced.
pub(super) fn prepare_topics(
    client: &Client,
    topics: &Topics,
    description: &Description,
) -> Result<Prepared, StoreError> {
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
        let holds_rows = !matches!(topic.role, TopicRole::Progress | TopicRole::Lease);
        if stored.is_none() && holds_rows {
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
    let generation = stored.map_or(0, |stored| stored.progress.generation);
    Ok(Prepared { row_partitions, generation })
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

pub(super) fn lost(topic: &Topic) -> StoreError {
    StoreError::Topic {
        topic: topic.name.clone(),
        problem: "it is gone, but the progress of the store refers to rows in it".to_owned(),
        remedy: "restore it; or give another --store; or delete the store's other topics too, to \
                 start over"
            .to_owned(),
    }
}
