//! The titles of videos, in a store.

use super::cells;
use crate::query::{ColumnType, Value};
use crate::time::{parse_rfc3339_ms, rfc3339};
use crate::titles::{Title, TitleChange, TitleSource, TitleTable, TitleUpdate};
use rusqlite::{Connection, Result, Transaction, params};
use std::collections::BTreeMap;

/// Writes what has changed.
pub(super) fn write(transaction: &Transaction<'_>, update: &TitleUpdate) -> Result<()> {
    let mut upsert = transaction.prepare_cached(
        "REPLACE INTO titles (video_id, title, genre, launched_at) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let mut delete = transaction.prepare_cached("DELETE FROM titles WHERE video_id = ?1")?;
    for TitleChange { video, title } in &update.changes {
        let video = cells::stored_video(*video);
        match title {
            Some(Title { title, genre, launched_at_ms }) => {
                upsert.execute(params![video, title, genre, launched_at_ms.map(rfc3339)])?
            }
            None => delete.execute([video])?,
        };
    }
    transaction.execute("DELETE FROM title_sources", [])?;
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO title_sources (place, titles, malformed, first_malformed, next_offset) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for source in &update.sources {
        let TitleSource { place, titles, malformed, first_malformed, next_offset } = source;
        let (titles, malformed) = (cells::integer(*titles)?, cells::integer(*malformed)?);
        let next_offset = next_offset.map(cells::integer).transpose()?;
        insert.execute(params![place, titles, malformed, first_malformed, next_offset])?;
    }
    Ok(())
}

/// Reads all titles.
pub(super) fn read(connection: &Connection) -> Result<TitleTable> {
    let mut statement =
        connection.prepare("SELECT video_id, title, genre, launched_at FROM titles")?;
    let rows = statement.query_map([], |row| {
        let Value::Video(video) = cells::value(ColumnType::Video, row.get_ref(0)?)? else {
            return Err(rusqlite::Error::InvalidQuery);
        };
        let launched_at: Option<String> = row.get(3)?;
        let launched_at_ms = launched_at.map(|text| parse_rfc3339_ms(&text)).transpose();
        let launched_at_ms = launched_at_ms.map_err(|_| rusqlite::Error::InvalidQuery)?;
        Ok((video, Title { title: row.get(1)?, genre: row.get(2)?, launched_at_ms }))
    })?;
    let titles = rows.collect::<Result<BTreeMap<_, _>>>()?;
    let mut statement = connection.prepare(
        "SELECT place, titles, malformed, first_malformed, next_offset FROM title_sources \
         ORDER BY place",
    )?;
    let sources = statement.query_map([], |row| {
        Ok(TitleSource {
            place: row.get(0)?,
            titles: row.get::<_, i64>(1)?.cast_unsigned(),
            malformed: row.get::<_, i64>(2)?.cast_unsigned(),
            first_malformed: row.get(3)?,
            next_offset: row.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned),
        })
    })?;
    Ok(TitleTable { titles, sources: sources.collect::<Result<_>>()? })
}
