//! Writes and reads the description of a store in SQLite.

use crate::query::{ColumnType, ParameterUnit, Role};
use crate::stores::description::{Description, StoredColumn, StoredParameter, StoredQuery};
use crate::stores::sqlite::cells;
use crate::time::Definition;
use rusqlite::{Connection, params};

/// Writes a description into a new store.
pub(super) fn write(connection: &Connection, description: &Description) -> rusqlite::Result<()> {
    let definition = &description.definition;
    connection.execute(
        "INSERT INTO job (epoch_length_ms, join_window_epochs, max_delay_ms, max_future_ms, \
             max_leap_ms, leap_support, from_ms, until_ms, written_by, generation, publications, \
             finished, lease) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, 0, 0, '')",
        params![
            definition.epoch_length_ms,
            definition.join_window_epochs,
            definition.max_delay_ms,
            definition.max_future_ms,
            definition.max_leap_ms,
            cells::integer(definition.leap_support as u64)?,
            definition.from_ms,
            definition.until_ms,
            env!("CARGO_PKG_VERSION")
        ],
    )?;
    for query in &description.queries {
        connection.execute(
            "INSERT INTO queries (name, version, role) VALUES (?1, ?2, ?3)",
            params![query.name, query.version, query.role.name()],
        )?;
        write_columns(connection, &query.name, true, &query.key)?;
        write_columns(connection, &query.name, false, &query.values)?;
        for StoredParameter { name, unit, value } in &query.parameters {
            connection.execute(
                "INSERT INTO parameters (query, name, unit, value) VALUES (?1, ?2, ?3, ?4)",
                params![query.name, name, unit.name(), value],
            )?;
        }
    }
    Ok(())
}

/// Reads the description of a store.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Description> {
    let definition = connection.query_row(
        "SELECT epoch_length_ms, join_window_epochs, max_delay_ms, max_future_ms, \
                max_leap_ms, leap_support, from_ms, until_ms FROM job",
        [],
        |row| {
            Ok(Definition {
                epoch_length_ms: row.get(0)?,
                join_window_epochs: row.get(1)?,
                max_delay_ms: row.get(2)?,
                max_future_ms: row.get(3)?,
                max_leap_ms: row.get(4)?,
                leap_support: row.get::<_, u32>(5)? as usize,
                from_ms: row.get(6)?,
                until_ms: row.get(7)?,
            })
        },
    )?;
    let mut statement =
        connection.prepare("SELECT name, version, role FROM queries ORDER BY id")?;
    let queries = statement.query_map([], |row| {
        let name: String = row.get(0)?;
        let key = read_columns(connection, &name, true)?;
        let values = read_columns(connection, &name, false)?;
        let parameters = read_parameters(connection, &name)?;
        let role: String = row.get(2)?;
        let role = named(Role::ALL, Role::name, &role)?;
        Ok(StoredQuery { name, version: row.get(1)?, role, key, values, parameters })
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
            params![query, column.name, column.column_type.name(), is_key, column.unit],
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
        let column_type = named(ColumnType::ALL, ColumnType::name, &type_name)?;
        Ok(StoredColumn { name: row.get(0)?, column_type, unit: row.get(2)? })
    })?;
    columns.collect()
}

fn read_parameters(connection: &Connection, query: &str) -> rusqlite::Result<Vec<StoredParameter>> {
    let mut statement = connection
        .prepare_cached("SELECT name, unit, value FROM parameters WHERE query = ?1 ORDER BY id")?;
    let parameters = statement.query_map([query], |row| {
        let unit: String = row.get(1)?;
        let unit = named(ParameterUnit::ALL, ParameterUnit::name, &unit)?;
        Ok(StoredParameter { name: row.get(0)?, unit, value: row.get(2)? })
    })?;
    parameters.collect()
}

/// Returns the element of `all` with a name.
fn named<T: Copy, const N: usize>(
    all: [T; N],
    name_of: fn(T) -> &'static str,
    name: &str,
) -> rusqlite::Result<T> {
    let found = all.into_iter().find(|thing| name_of(*thing) == name);
    found.ok_or(rusqlite::Error::InvalidQuery)
}
