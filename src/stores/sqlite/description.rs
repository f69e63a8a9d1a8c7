//! How the description of a store is kept in SQLite.

use crate::query::ColumnType;
use crate::stores::description::{Description, StoredColumn, StoredQuery};
use crate::time::Definition;
use rusqlite::{Connection, params};

/// Writes a description into a new store.
pub(super) fn write(connection: &Connection, description: &Description) -> rusqlite::Result<()> {
    let definition = &description.definition;
    connection.execute(
        "INSERT INTO job (epoch_length_ms, join_window_epochs, max_delay_ms, max_future_ms, \
             generation, publications) VALUES (?1, ?2, ?3, ?4, 0, 0)",
        params![
            definition.epoch_length_ms,
            definition.join_window_epochs,
            definition.max_delay_ms,
            definition.max_future_ms
        ],
    )?;
    for query in &description.queries {
        connection.execute(
            "INSERT INTO queries (name, version) VALUES (?1, ?2)",
            params![query.name, query.version],
        )?;
        write_columns(connection, &query.name, true, &query.key)?;
        write_columns(connection, &query.name, false, &query.values)?;
    }
    Ok(())
}

/// Reads that of a store.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Description> {
    let definition = connection.query_row(
        "SELECT epoch_length_ms, join_window_epochs, max_delay_ms, max_future_ms FROM job",
        [],
        |row| {
            Ok(Definition {
                epoch_length_ms: row.get(0)?,
                join_window_epochs: row.get(1)?,
                max_delay_ms: row.get(2)?,
                max_future_ms: row.get(3)?,
            })
        },
    )?;
    let mut statement = connection.prepare("SELECT name, version FROM queries ORDER BY id")?;
    let queries = statement.query_map([], |row| {
        let name: String = row.get(0)?;
        let key = read_columns(connection, &name, true)?;
        let values = read_columns(connection, &name, false)?;
        Ok(StoredQuery { name, version: row.get(1)?, key, values })
    })?;
    Ok(Description { definition, queries: queries.collect::<rusqlite::Result<_>>()? })
}

fn write_columns(
    connection: &Connection,
    query: &str,
    is_key: bool,
    columns: &[StoredColumn],
) -> rusqlite::Result<()> {
    for column in columns {
        connection.execute(
            "INSERT INTO columns (query, name, type, is_key, unit) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![query, column.name, type_name(column.column_type), is_key, column.unit],
        )?;
    }
    Ok(())
}

fn read_columns(
    connection: &Connection,
    query: &str,
    is_key: bool,
) -> rusqlite::Result<Vec<StoredColumn>> {
    let mut statement = connection.prepare_cached(
        "SELECT name, type, unit FROM columns WHERE query = ?1 AND is_key = ?2 ORDER BY id",
    )?;
    let columns = statement.query_map(params![query, is_key], |row| {
        let type_name: String = row.get(1)?;
        let column_type = column_type(&type_name).ok_or(rusqlite::Error::InvalidQuery)?;
        Ok(StoredColumn { name: row.get(0)?, column_type, unit: row.get(2)? })
    })?;
    columns.collect()
}

const COLUMN_TYPES: [(ColumnType, &str); 5] = [
    (ColumnType::Video, "video"),
    (ColumnType::Request, "request"),
    (ColumnType::Count, "count"),
    (ColumnType::Flag, "flag"),
    (ColumnType::Kind, "kind"),
];

fn type_name(column_type: ColumnType) -> &'static str {
    match COLUMN_TYPES.iter().find(|(known, _)| *known == column_type) {
        Some((_, name)) => name,
        None => unreachable!("every type of column has a name"),
    }
}

fn column_type(type_name: &str) -> Option<ColumnType> {
    COLUMN_TYPES.iter().find(|(_, name)| *name == type_name).map(|(known, _)| *known)
}
