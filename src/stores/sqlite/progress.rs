//! Reads what a store reflects: where a job that takes it over goes on.

use crate::digest::{Digest, Digests};
use crate::event::Kind;
use crate::sources::PartitionName;
use crate::stores::{PartitionProgress, Progress};
use crate::time::Epoch;
use rusqlite::{Connection, Result, Row};

/// Reads the progress of a store, which must be one.
pub(super) fn read(connection: &Connection) -> Result<Progress> {
    connection.query_row("SELECT generation, publications, final_through FROM job", [], |row| {
        let final_through: Option<i64> = row.get(2)?;
        Ok(Progress {
            generation: row.get::<_, i64>(0)?.cast_unsigned(),
            publications: row.get::<_, i64>(1)?.cast_unsigned(),
            final_through: final_through.map(Epoch),
            partitions: partitions(connection)?,
            digests: digests(connection)?,
        })
    })
}

fn partitions(connection: &Connection) -> Result<Vec<PartitionProgress>> {
    let mut statement = connection.prepare(
        "SELECT topic, partition, next_offset, watermark_ms, replay_offset, replay_watermark_ms, \
         malformed, idle FROM partitions",
    )?;
    let partitions = statement.query_map([], partition)?;
    partitions.collect()
}

fn partition(row: &Row<'_>) -> Result<PartitionProgress> {
    let topic: String = row.get(0)?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.topic() == topic);
    let kind = kind.ok_or(rusqlite::Error::InvalidQuery)?;
    Ok(PartitionProgress {
        partition: PartitionName { kind, name: row.get(1)? },
        next_offset: row.get::<_, i64>(2)?.cast_unsigned(),
        watermark_ms: row.get(3)?,
        replay_offset: row.get::<_, i64>(4)?.cast_unsigned(),
        replay_watermark_ms: row.get(5)?,
        malformed: row.get::<_, i64>(6)?.cast_unsigned(),
        idle: row.get(7)?,
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
