//! Reads the progress and the ledger of a store.

use crate::acceptance::{LedgerKey, LedgerRow};
use crate::event::Kind;
use crate::log::{BlockStart, PartitionName, PartitionProgress};
use crate::query::{Digest, Digests};
use crate::stores::sqlite::schema;
use crate::stores::{Lease, Progress};
use crate::time::{Epoch, Publication, Through};
use rusqlite::types::Type;
use rusqlite::{Connection, Result, Row};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// Reads the progress of a store, from which the next job resumes.
pub(super) fn read(connection: &Connection) -> Result<Progress> {
    let job = "SELECT generation, publications, final_through, finished FROM job";
    connection.query_row(job, [], |row| {
        let last: Option<i64> = row.get(2)?;
        let finished: bool = row.get(3)?;
        Ok(Progress {
            generation: row.get::<_, i64>(0)?.cast_unsigned(),
            publication: Publication(row.get::<_, i64>(1)?.cast_unsigned()),
            final_through: match last {
                _ if finished => Through::Everything,
                Some(last) => Through::Epoch(Epoch(last)),
                None => Through::Nothing,
            },
            partitions: partitions(connection)?,
            digests: digests(connection)?,
        })
    })
}

/// Reads the lease of a store.
pub(super) fn lease(connection: &Connection) -> Result<Option<Lease>> {
    let json: String = connection.query_row("SELECT lease FROM job", [], |row| row.get(0))?;
    if json.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(&json)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error.into()))
}

/// Reads the ledger of a store.
pub(super) fn ledger(connection: &Connection) -> Result<Vec<LedgerRow>> {
    let columns = schema::LEDGER_COLUMNS;
    let statement = format!("SELECT {columns} FROM ledger ORDER BY epoch, kind");
    let mut statement = connection.prepare(&statement)?;
    let rows = statement.query_map([], |row| {
        let kind = Kind::named(&row.get::<_, String>(1)?);
        let kind = kind.ok_or(rusqlite::Error::InvalidQuery)?;
        Ok(LedgerRow {
            key: LedgerKey { epoch: row.get::<_, Option<i64>>(0)?.map(Epoch), kind },
            events: count(row, 2)?,
            distinct_events: count(row, 3)?,
            duplicate_events: row.get(4)?,
            late_events: count(row, 5)?,
            future_events: count(row, 6)?,
            denied_events: count(row, 7)?,
        })
    })?;
    rows.collect()
}

fn count(row: &Row<'_>, column: usize) -> Result<u64> {
    Ok(row.get::<_, i64>(column)?.cast_unsigned())
}

fn partitions(connection: &Connection) -> Result<BTreeMap<PartitionName, PartitionProgress>> {
    let mut statement = connection.prepare(
        "SELECT topic, partition, next_offset, watermark_ms, replay_offset, replay_watermark_ms, \
         malformed, idle, block_offset, block_watermark_ms, supported_ms, decisions, \
         file, lost \
         FROM partitions",
    )?;
    let partitions = statement.query_map([], partition)?;
    partitions
        .map(|progress| progress.map(|progress| (progress.partition.clone(), progress)))
        .collect()
}

fn partition(row: &Row<'_>) -> Result<PartitionProgress> {
    let topic: String = row.get(0)?;
    let kind = Kind::of_topic(&topic).ok_or(rusqlite::Error::InvalidQuery)?;
    Ok(PartitionProgress {
        partition: PartitionName { kind, name: row.get(1)? },
        next_offset: row.get::<_, i64>(2)?.cast_unsigned(),
        watermark_ms: row.get(3)?,
        replay_offset: row.get::<_, i64>(4)?.cast_unsigned(),
        replay_watermark_ms: row.get(5)?,
        block: BlockStart {
            offset: row.get::<_, i64>(8)?.cast_unsigned(),
            watermark_ms: row.get(9)?,
            supported_ms: row.get(10)?,
        },
        decisions: json(11, &row.get::<_, String>(11)?)?,
        malformed: row.get::<_, i64>(6)?.cast_unsigned(),
        idle: row.get(7)?,
        file: row.get::<_, Option<String>>(12)?.map(|text| json(12, &text)).transpose()?,
        lost: row.get::<_, Option<String>>(13)?.map(|text| json(13, &text)).transpose()?,
    })
}

fn json<T: DeserializeOwned>(column: usize, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
    })
}

/// The digests of the epochs that are not final and have rows.
fn digests(connection: &Connection) -> Result<Digests> {
    let mut statement =
        connection.prepare("SELECT epoch, digest FROM epochs WHERE final = 0 AND digest <> 0")?;
    let digests = statement.query_map([], |row| {
        Ok((Epoch(row.get(0)?), Digest(row.get::<_, i64>(1)?.cast_unsigned())))
    })?;
    digests.collect()
}
