//! Reads a store in Kafka, while a job writes it or afterwards.
//!
//! A log has no index, so a topic is read from its beginning to its end. Records of publications
//! after the progress, which is read first, are ignored; of the others, the last one of each key
//! counts. Only selected rows are held in memory.

use super::claims;
use super::client::{Client, Record};
use super::completeness;
use super::encode::{RowName, RowValue, read_key, read_value};
use super::state::StoredProgress;
use super::titles;
use super::topics::{self, Topics};
use crate::acceptance::{LedgerKey, LedgerRow};
use crate::completeness::{Completeness, StoredCurve};
use crate::kafka::KafkaSettings;
use crate::stores::description::{Description, StoredQuery};
use crate::stores::reader::{latest, select};
use crate::stores::{
    Lease, Progress, RowOrder, RowVisitor, Selection, StoreError, StoreReader, StoredRow,
};
use crate::time::{EpochRange, Publication};
use crate::titles::TitleTable;
use std::collections::{BTreeMap, HashMap};

/// A store that is opened only for reading.
pub struct KafkaReader {
    client: Client,
    topics: Topics,
    description: Description,
    /// The progress to stay at: that of the job that owns the store, if that job is the reader, as
    /// its last commit may not be visible to consumers yet; or that of [`StoreReader::hold`].
    progress: Option<Progress>,
}

impl KafkaReader {
    /// Opens a store for reading, without taking it over.
    ///
    /// # Errors
    /// When the store does not exist, its topics are not those of a store, or the brokers cannot be
    /// reached.
    pub fn open(settings: &KafkaSettings, topic: &str) -> Result<KafkaReader, StoreError> {
        let name = topics::progress_of(topic);
        topics::check_name(topic, &name)?;
        let client = Client::new(settings, topic)?;
        let found = client.partitions(&name).map_err(|error| client.cannot("reach", error))?;
        let stored = match found {
            Some(_) => read_progress(&client, &name)?,
            None => None,
        };
        let Some(StoredProgress { description, .. }) = stored else {
            return Err(StoreError::NotFound(client.store));
        };
        let topics = Topics::new(topic, &description.queries)?;
        Ok(KafkaReader { client, topics, description, progress: None })
    }

    /// Creates a reader for the job that owns the store, and knows its progress.
    pub(super) fn of_owner(
        client: Client,
        stored: &StoredProgress,
    ) -> Result<KafkaReader, StoreError> {
        let description = stored.description.clone();
        let topics = Topics::new(client.topic(), &description.queries)?;
        let progress = Some(stored.progress.clone());
        Ok(KafkaReader { client, topics, description, progress })
    }

    /// Returns the rows of a query as of the latest publication, in no particular order. Does not
    /// apply `since` and `top`.
    fn rows(
        &self,
        query: &StoredQuery,
        selection: &Selection,
    ) -> Result<Vec<StoredRow>, StoreError> {
        let number = self.description.queries.iter().position(|known| known.name == query.name);
        let Some(topic) = number.and_then(|number| self.topics.queries[number].as_ref()) else {
            return Ok(Vec::new());
        };
        let progress = self.progress()?;
        let mut rows = Rows::new(query, selection, &progress);
        self.read(&topic.name, |record| rows.apply(record))?;
        Ok(rows.rows.into_values().collect())
    }

    /// Reads all committed records of a topic. `apply` returns `None` for one that it cannot read.
    fn read(
        &self,
        topic: &str,
        mut apply: impl FnMut(&Record<'_>) -> Option<()>,
    ) -> Result<(), StoreError> {
        let partitions = self.client.partitions(topic);
        let partitions = partitions.map_err(|error| self.client.cannot("reach", error))?;
        let partitions = partitions.unwrap_or(0);
        self.client.wait_for_open_transactions(topic, partitions)?;
        let from: Result<Vec<i64>, StoreError> = (0..partitions)
            .map(|number| Ok(self.client.committed_offsets(topic, number)?.0))
            .collect();
        let mut is_damaged = false;
        self.client.read(topic, &from?, |record| is_damaged |= apply(&record).is_none())?;
        if is_damaged { Err(self.damaged(topic)) } else { Ok(()) }
    }

    fn completeness_records(&self) -> Result<completeness::Records, StoreError> {
        let publication = self.progress()?.publication;
        let mut records = completeness::Records::default();
        self.read(&self.topics.completeness.name, |record| {
            match record.publication.is_none_or(|of| of <= publication) {
                true => completeness::apply(&mut records, record.key, record.value),
                false => Some(()),
            }
        })?;
        Ok(records)
    }

    fn damaged(&self, topic: &str) -> StoreError {
        StoreError::NotAStore {
            store: self.client.store.clone(),
            reason: format!("this version of trendmark cannot read a record of `{topic}`"),
        }
    }
}

/// The rows of the records of a topic, as of a publication.
struct Rows<'a> {
    query: &'a StoredQuery,
    /// The selection without `since`: a later record may change an earlier row again.
    selection: Selection,
    progress: &'a Progress,
    rows: HashMap<RowName, StoredRow>,
}

impl<'a> Rows<'a> {
    fn new(query: &'a StoredQuery, selection: &Selection, progress: &'a Progress) -> Rows<'a> {
        let selection = Selection { since: None, ..selection.clone() };
        Rows { query, selection, progress, rows: HashMap::new() }
    }

    /// Applies a record. Returns `None` if it is not one of the query.
    fn apply(&mut self, record: &Record<'_>) -> Option<()> {
        match record.value {
            Some(value) => self.set(record.key, value),
            None => self.remove(record),
        }
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (row, publication) = read_value(self.query, value)?;
        let RowValue::Set(row) = row else {
            if publication <= self.progress.publication {
                self.rows.remove(&read_key(self.query, key)?);
            }
            return Some(());
        };
        let is_final = self.progress.final_through.contains(row.epoch);
        let stored = StoredRow { row, is_final, publication };
        if publication > self.progress.publication {
            return Some(());
        }
        let name = (stored.row.epoch, stored.row.key.clone());
        match crate::stores::reader::is_selected(self.query, &stored, &self.selection) {
            true => self.rows.insert(name, stored),
            // An earlier record of the row may have been selected.
            false => self.rows.remove(&name),
        };
        Some(())
    }

    fn remove(&mut self, record: &Record<'_>) -> Option<()> {
        let name = read_key(self.query, record.key)?;
        if record.publication <= Some(self.progress.publication) {
            self.rows.remove(&name);
        }
        Some(())
    }
}

impl StoreReader for KafkaReader {
    fn description(&self) -> &Description {
        &self.description
    }

    fn progress(&self) -> Result<Progress, StoreError> {
        if let Some(progress) = &self.progress {
            return Ok(progress.clone());
        }
        match read_progress(&self.client, &self.topics.progress.name)? {
            Some(stored) => Ok(stored.progress),
            None => Err(StoreError::NotFound(self.client.store.clone())),
        }
    }

    fn hold(&mut self) -> Result<Progress, StoreError> {
        let progress = self.progress()?;
        self.progress = Some(progress.clone());
        Ok(progress)
    }

    fn lease(&self) -> Result<Option<Lease>, StoreError> {
        claims::read(&self.client, &self.topics.lease.name)
    }

    fn ledger(&self) -> Result<Vec<LedgerRow>, StoreError> {
        let publication = self.progress()?.publication;
        let mut rows: BTreeMap<LedgerKey, LedgerRow> = BTreeMap::new();
        let ledger = &self.topics.ledger.name;
        self.read(ledger, |record| apply_ledger(&mut rows, record, publication))?;
        Ok(rows.into_values().collect())
    }

    fn completeness(&self) -> Result<Vec<Completeness>, StoreError> {
        Ok(self.completeness_records()?.rows.into_values().collect())
    }

    fn curves(&self) -> Result<Vec<StoredCurve>, StoreError> {
        Ok(self.completeness_records()?.curves.into_values().collect())
    }

    fn titles(&self) -> Result<TitleTable, StoreError> {
        let publication = self.progress()?.publication;
        let mut table = TitleTable::default();
        self.read(&self.topics.titles.name, |record| {
            match record.publication.is_none_or(|of| of <= publication) {
                true => titles::apply(&mut table, record.key, record.value),
                false => Some(()),
            }
        })?;
        Ok(table)
    }

    fn visit(
        &self,
        query: &StoredQuery,
        selection: &Selection,
        order: RowOrder,
        visitor: &mut RowVisitor<'_>,
    ) -> Result<(), StoreError> {
        let rows = select(query, self.rows(query, selection)?, selection, order);
        let _ = rows.iter().try_for_each(visitor);
        Ok(())
    }

    fn count(&self, query: &StoredQuery, selection: &Selection) -> Result<u64, StoreError> {
        let rows = self.rows(query, selection)?;
        Ok(select(query, rows, selection, RowOrder::Key).len() as u64)
    }

    fn latest_epochs(
        &self,
        query: &StoredQuery,
        epochs: usize,
    ) -> Result<Option<EpochRange>, StoreError> {
        let rows = self.rows(query, &Selection::default())?;
        Ok(latest(rows.iter().map(|stored| stored.row.epoch), epochs))
    }
}

/// Applies a ledger record, unless it belongs to a later publication.
fn apply_ledger(
    rows: &mut BTreeMap<LedgerKey, LedgerRow>,
    record: &Record<'_>,
    publication: Publication,
) -> Option<()> {
    let row: LedgerRow = serde_json::from_slice(record.value?).ok()?;
    if record.publication? <= publication {
        rows.insert(row.key, row);
    }
    Some(())
}

/// Reads the last committed record of a progress topic, or `None` if there is no record.
pub(super) fn read_progress(
    client: &Client,
    topic: &str,
) -> Result<Option<StoredProgress>, StoreError> {
    let record = client.last_value(topic)?;
    record.map(|record| StoredProgress::parse(&client.store, &record)).transpose()
}
