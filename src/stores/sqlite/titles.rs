//! The titles of videos, in a store.

use super::cells;
use crate::event::VideoId;
use crate::query::{ColumnType, Value};
use crate::stores::snapshot::{GENRES_MAX, Page, TitleFilter, TitleVisitor};
use crate::time::{parse_rfc3339_ms, rfc3339};
use crate::titles::{Title, TitleChange, TitleSource, TitleTable, TitleUpdate};
use rusqlite::{
    Connection, Error, OptionalExtension, Result, Row, Transaction, params, params_from_iter,
};
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
        "INSERT OR REPLACE INTO title_sources \
         (place, titles, malformed, first_malformed, next_offset) VALUES (?1, ?2, ?3, ?4, ?5)",
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
    let mut statement = connection.prepare(&format!("SELECT {COLUMNS} FROM titles"))?;
    let rows = statement.query_map([], title)?;
    let titles = rows.collect::<Result<BTreeMap<_, _>>>()?;
    Ok(TitleTable { titles, sources: sources(connection)? })
}

/// The columns of a title.
const COLUMNS: &str = "video_id, title, genre, launched_at";

fn title(row: &Row<'_>) -> Result<(VideoId, Title)> {
    let Value::Video(video) = cells::value(ColumnType::Video, row.get_ref(0)?)? else {
        return Err(Error::InvalidQuery);
    };
    let launched_at: Option<String> = row.get(3)?;
    let launched_at_ms = launched_at.map(|text| parse_rfc3339_ms(&text)).transpose();
    let launched_at_ms = launched_at_ms.map_err(|_| Error::InvalidQuery)?;
    Ok((video, Title { title: row.get(1)?, genre: row.get(2)?, launched_at_ms }))
}

/// Reads what was read of each place.
pub(super) fn sources(connection: &Connection) -> Result<Vec<TitleSource>> {
    let mut statement = connection.prepare_cached(
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
    sources.collect()
}

/// Reads the title of a video.
pub(super) fn find(connection: &Connection, video: VideoId) -> Result<Option<Title>> {
    let statement = format!("SELECT {COLUMNS} FROM titles WHERE video_id = ?1");
    let mut statement = connection.prepare_cached(&statement)?;
    let found = statement.query_row([cells::stored_video(video)], title).optional()?;
    Ok(found.map(|(_, title)| title))
}

/// Reads the genres, sorted.
pub(super) fn genres(connection: &Connection) -> Result<Vec<String>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT DISTINCT genre FROM titles WHERE genre IS NOT NULL ORDER BY genre LIMIT \
         {GENRES_MAX}"
    ))?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// The forms of ids: their conditions and orders. Integers are before texts, and less; the key has
/// both in this order.
const FORMS: [(&str, &str); 2] =
    [("video_id < ''", "video_id"), ("video_id >= ''", "length(video_id), video_id")];

/// Visits a page of titles, by video. Returns the number of all that a filter selects.
pub(super) fn visit(
    connection: &Connection,
    filter: &TitleFilter<'_>,
    page: Page,
    visitor: &mut TitleVisitor<'_>,
) -> Result<u64> {
    if let Some(video) = filter.video {
        let found = find(connection, video)?.filter(|title| filter.selects(video, title));
        if let Some(title) = found.as_ref().filter(|_| page.offset == 0 && page.limit > 0) {
            visitor(video, title);
        }
        return Ok(u64::from(found.is_some()));
    }
    let Page { mut offset, mut limit } = page;
    let mut total = 0;
    for (form, order) in FORMS {
        let genre = filter.genre.map_or("", |_| " AND genre = ?1");
        let selected = format!("FROM titles WHERE {form}{genre}");
        let found = if filter.search.is_some() {
            let all = format!("SELECT {COLUMNS} {selected} ORDER BY {order}");
            search(connection, &all, filter, Page { offset, limit }, visitor)?
        } else {
            let count = format!("SELECT count(*) {selected}");
            let mut count = connection.prepare_cached(&count)?;
            let genre = params_from_iter(filter.genre);
            let found = count.query_row(genre, |row| row.get::<_, i64>(0))?.unsigned_abs();
            let [most, before] = [limit, offset].map(|one| i64::try_from(one).unwrap_or(i64::MAX));
            let part = format!(
                "SELECT {COLUMNS} {selected} ORDER BY {order} LIMIT {most} OFFSET {before}"
            );
            let mut part = connection.prepare(&part)?;
            for row in part.query_map(params_from_iter(filter.genre), title)? {
                let (video, title) = row?;
                visitor(video, &title);
            }
            found
        };
        total += found;
        limit -= limit.min(found.saturating_sub(offset));
        offset = offset.saturating_sub(found);
    }
    Ok(total)
}

/// Visits a page of those whose names a filter selects. Returns the number of all.
fn search(
    connection: &Connection,
    all: &str,
    filter: &TitleFilter<'_>,
    page: Page,
    visitor: &mut TitleVisitor<'_>,
) -> Result<u64> {
    let mut all = connection.prepare_cached(all)?;
    let mut rows = all.query(params_from_iter(filter.genre))?;
    let mut found = 0;
    while let Some(row) = rows.next()? {
        if filter.selects_name(row.get_ref(1)?.as_str()?) {
            if found >= page.offset && found - page.offset < page.limit {
                let (video, title) = title(row)?;
                visitor(video, &title);
            }
            found += 1;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::snapshot::{FinalSums, Snapshot};
    use crate::stores::sqlite::SqliteReader;
    use crate::stores::sqlite::fixtures::{CommitNext, create, folder};
    use crate::stores::{Changeset, StoreError};

    fn named(video: u64, name: &str) -> TitleChange {
        let title = Title { title: name.into(), genre: Some(name.into()), launched_at_ms: Some(7) };
        TitleChange { video: VideoId(video), title: Some(title) }
    }

    #[test]
    fn a_look_up_and_a_page_read_no_other_titles() {
        let (_folder, path) = folder();
        let mut store = create(&path);
        let changes = vec![named(7, "Seven"), named(8, "Eight"), named(u64::MAX, "Last")];
        let update = TitleUpdate { changes, sources: vec![] };
        store.commit_next(&Changeset { titles: Some(update), ..Changeset::default() }).unwrap();
        drop(store);
        // Whoever reads this title fails.
        let damage = "UPDATE titles SET launched_at = 'soon' WHERE video_id = 8";
        assert_eq!(Connection::open(&path).unwrap().execute(damage, []), Ok(1));
        let (reader, finals) = (SqliteReader::open(&path).unwrap(), FinalSums::default());
        let snapshot = reader.snapshot(&finals).unwrap();
        let name = |video| snapshot.title(VideoId(video)).map(|title| title.map(|one| one.title));
        assert_eq!(name(7).unwrap().as_deref(), Some("Seven"));
        assert_eq!(name(u64::MAX).unwrap().as_deref(), Some("Last"));
        assert_eq!(name(9).unwrap(), None);
        assert!(name(8).is_err());
        let page = |offset, limit, search| {
            let mut videos = Vec::new();
            let filter = TitleFilter { search, ..TitleFilter::default() };
            let page = Page { offset, limit };
            let total = snapshot.titles(&filter, page, &mut |video, _| videos.push(video.0))?;
            Ok::<_, StoreError>((videos, total))
        };
        assert_eq!(page(0, 1, None).unwrap(), (vec![7], 3));
        assert_eq!(page(2, 1, None).unwrap(), (vec![u64::MAX], 3));
        assert!(page(0, 9, Some("e")).is_err());
        assert_eq!(page(0, 9, Some("s")).unwrap(), (vec![7, u64::MAX], 2));
        assert!(page(0, 2, None).is_err());
        assert_eq!(snapshot.genres().unwrap(), ["Eight", "Last", "Seven"]);
    }
}
