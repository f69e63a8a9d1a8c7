//! The completeness of epochs, and the curves that it rests on, in a store.

use super::cells;
use crate::completeness::{Completeness, CompletenessUpdate, StoredCurve};
use crate::event::Kind;
use crate::time::Epoch;
use rusqlite::types::Type;
use rusqlite::{Connection, Error, Result, Transaction, params};

/// Writes what has changed.
pub(super) fn write(transaction: &Transaction<'_>, update: &CompletenessUpdate) -> Result<()> {
    let mut upsert = transaction.prepare_cached(
        "REPLACE INTO completeness (epoch, kind, seen, unread, share, share_low, share_high, \
         unknown) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for row in &update.rows {
        upsert.execute(params![
            row.epoch.0,
            row.kind.name(),
            cells::integer(row.seen)?,
            row.unread.map(cells::integer).transpose()?,
            row.share,
            row.share_low,
            row.share_high,
            row.unknown
        ])?;
    }
    let mut upsert = transaction
        .prepare_cached("REPLACE INTO curves (epoch, kind, curve) VALUES (?1, ?2, ?3)")?;
    for stored in &update.curves {
        upsert.execute(params![stored.epoch.0, stored.kind.name(), cells::json(stored)?])?;
    }
    let mut delete =
        transaction.prepare_cached("DELETE FROM curves WHERE epoch = ?1 AND kind = ?2")?;
    for (epoch, kind) in &update.forgotten {
        delete.execute(params![epoch.0, kind.name()])?;
    }
    Ok(())
}

/// Reads the rows.
pub(super) fn read(connection: &Connection) -> Result<Vec<Completeness>> {
    let mut statement = connection.prepare(
        "SELECT epoch, kind, seen, unread, share, share_low, share_high, unknown \
         FROM completeness ORDER BY epoch, kind",
    )?;
    let rows = statement.query_map([], |row| {
        let kind = Kind::named(&row.get::<_, String>(1)?).ok_or(Error::InvalidQuery)?;
        Ok(Completeness {
            epoch: Epoch(row.get(0)?),
            kind,
            seen: row.get::<_, i64>(2)?.cast_unsigned(),
            unread: row.get::<_, Option<i64>>(3)?.map(i64::cast_unsigned),
            share: row.get(4)?,
            share_low: row.get(5)?,
            share_high: row.get(6)?,
            unknown: row.get(7)?,
        })
    })?;
    rows.collect()
}

/// Reads the curves.
pub(super) fn curves(connection: &Connection) -> Result<Vec<StoredCurve>> {
    let mut statement = connection.prepare("SELECT curve FROM curves ORDER BY epoch, kind")?;
    let rows = statement.query_map([], |row| {
        serde_json::from_str(&row.get::<_, String>(0)?)
            .map_err(|error| Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))
    })?;
    rows.collect()
}
