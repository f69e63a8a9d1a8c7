//! What a store says of itself: the definition and the queries that it was made for.

use crate::query::{Column, ColumnType, Query};
use crate::time::Definition;
use rusqlite::{Connection, params};

/// A column of a query's table, as the store describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredColumn {
    /// Its name.
    pub name: String,
    /// How its values are read.
    pub column_type: ColumnType,
    /// Its unit or meaning.
    pub unit: String,
}

/// A query, as the store describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredQuery {
    /// Its name, which is that of its view.
    pub name: String,
    /// Its version when the store was made.
    pub version: u32,
    /// The columns that, with the epoch, name a row.
    pub key: Vec<StoredColumn>,
    /// The other columns.
    pub values: Vec<StoredColumn>,
}

impl StoredQuery {
    /// All columns: the key, then the values.
    pub fn columns(&self) -> impl Iterator<Item = &StoredColumn> {
        self.key.iter().chain(&self.values)
    }

    fn of(query: &Query) -> StoredQuery {
        let stored = |column: &Column| StoredColumn {
            name: column.name.to_owned(),
            column_type: column.column_type,
            unit: column.unit.to_owned(),
        };
        StoredQuery {
            name: query.name.to_owned(),
            version: query.version,
            key: query.key.iter().map(stored).collect(),
            values: query.values.iter().map(stored).collect(),
        }
    }
}

/// The definition and the queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Description {
    pub definition: Definition,
    pub queries: Vec<StoredQuery>,
}

/// Something in which two descriptions differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub key: String,
    pub stored: String,
    pub given: String,
}

impl Description {
    /// That of a run.
    pub fn of(definition: &Definition, queries: &[&'static Query]) -> Description {
        let queries = queries.iter().map(|query| StoredQuery::of(query)).collect();
        Description { definition: *definition, queries }
    }

    /// Writes it into a new store.
    pub fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let definition = &self.definition;
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
        for query in &self.queries {
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
    pub fn read(connection: &Connection) -> rusqlite::Result<Description> {
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

    /// The first thing in which the description of a run differs from this one of a store.
    pub fn difference(&self, given: &Description) -> Option<Difference> {
        let (ours, theirs) = (&self.definition, &given.definition);
        let epochs = |epochs: i64| format!("{epochs} epochs");
        let settings = [
            ("epoch-length", duration(ours.epoch_length_ms), duration(theirs.epoch_length_ms)),
            ("join-window", epochs(ours.join_window_epochs), epochs(theirs.join_window_epochs)),
            ("max-delay", duration(ours.max_delay_ms), duration(theirs.max_delay_ms)),
            ("max-future", duration(ours.max_future_ms), duration(theirs.max_future_ms)),
            ("query", names(&self.queries), names(&given.queries)),
        ];
        let differs = |(key, stored, given): (&str, String, String)| {
            (stored != given).then(|| Difference { key: key.to_owned(), stored, given })
        };
        settings.into_iter().find_map(differs).or_else(|| {
            self.queries.iter().find_map(|stored| {
                let given = given.queries.iter().find(|given| given.name == stored.name)?;
                differs((&format!("query {}", stored.name), rows(stored), rows(given)))
            })
        })
    }
}

/// What the rows of a query mean: its version and its columns.
fn rows(query: &StoredQuery) -> String {
    let column = |column: &StoredColumn| format!("{}: {:?}", column.name, column.column_type);
    let columns = |columns: &[StoredColumn]| columns.iter().map(column).collect::<Vec<_>>();
    let (key, values) = (columns(&query.key).join(", "), columns(&query.values).join(", "));
    format!("version {} ({key}; {values})", query.version)
}

/// The names of queries in alphabetical order, as the order in which they were given is no matter.
fn names(queries: &[StoredQuery]) -> String {
    let mut names: Vec<&str> = queries.iter().map(|query| query.name.as_str()).collect();
    names.sort_unstable();
    names.join(",")
}

/// A duration in the largest unit that divides it: `30m`, `90s`, `1500ms`.
fn duration(duration_ms: i64) -> String {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    match units.iter().find(|(_, unit_ms)| duration_ms != 0 && duration_ms % unit_ms == 0) {
        Some((unit, unit_ms)) => format!("{}{unit}", duration_ms / unit_ms),
        None => format!("{duration_ms}ms"),
    }
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
