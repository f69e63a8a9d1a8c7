//! The description of a store: the definition and the queries that it was created for, and their
//! differences from those of a job.

use super::StoreError;
use crate::acceptance::{Distinct, LedgerKey};
use crate::query::{
    Column, ColumnType, ParameterUnit, Query, QueryInstance, Role, Row, SETS, Value, row,
};
use crate::time::{Definition, Epoch, Span, rfc3339};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::fmt;

/// The store format that this version reads and writes. It is raised whenever stores of the
/// previous version cannot be read; see `docs/store-formats.md`.
pub const FORMAT: i64 = 5;

/// The older formats, each with the version of trendmark that wrote it.
const OLDER_FORMATS: [(i64, &str); 4] =
    [(1, "0.1.0"), (2, "0.1.0"), (3, "0.2.0 before its release"), (4, "0.2.0")];

/// Refuses a store whose format this version does not support.
///
/// # Errors
/// Names the version that wrote the store, as far as known.
pub(super) fn check_format(store: &str, found: i64) -> Result<(), StoreError> {
    if found == FORMAT {
        return Ok(());
    }
    let written_by = match OLDER_FORMATS.iter().find(|(format, _)| *format == found) {
        Some((_, version)) => (*version).to_owned(),
        None => format!("later than {}", env!("CARGO_PKG_VERSION")),
    };
    Err(StoreError::OtherFormat { store: store.to_owned(), found, written_by })
}

/// A column of a query's table, as the store describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredColumn {
    /// Its name.
    pub name: String,
    /// The type of its values.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// Its unit or meaning.
    pub unit: String,
}

/// A parameter of a query and its value, as the store describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredParameter {
    /// Its name.
    pub name: String,
    /// The unit of its value.
    pub unit: ParameterUnit,
    /// Its value.
    pub value: i64,
}

/// A query, as the store describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredQuery {
    /// Its name, which its SQL view shares unless it is the ledger query.
    pub name: String,
    /// Its version when the store was created.
    pub version: u32,
    /// The role of its rows in the store.
    pub role: Role,
    /// The columns that, with the epoch, identify a row.
    pub key: Vec<StoredColumn>,
    /// The other columns.
    pub values: Vec<StoredColumn>,
    /// Its parameters.
    pub parameters: Vec<StoredParameter>,
}

impl StoredQuery {
    /// Returns all columns: the key, then the values.
    pub fn columns(&self) -> impl Iterator<Item = &StoredColumn> {
        self.key.iter().chain(&self.values)
    }

    /// Whether any column holds videos.
    pub fn has_videos(&self) -> bool {
        self.columns().any(|column| column.column_type == ColumnType::Video)
    }

    /// Whether each of its rows is of one video, which may have a title.
    pub fn is_of_video(&self) -> bool {
        self.key.first().is_some_and(|key| key.name == "video_id")
    }

    /// Builds a row of this query from stored values: the key columns, then the others.
    ///
    /// # Panics
    /// When a value does not have the type of its column.
    pub fn row(&self, epoch: Epoch, values: &[Value]) -> Row {
        let (key, others) = values.split_at(self.key.len());
        Row {
            epoch,
            key: row::cells(&self.name, types(&self.key), key.iter().copied()),
            values: row::cells(&self.name, types(&self.values), others.iter().copied()),
        }
    }

    /// Returns the values of a row of this query: the key columns, then the others.
    pub fn values_of<'a>(&'a self, row: &'a Row) -> impl Iterator<Item = Value> + 'a {
        let key = row::values_in(types(&self.key), &row.key);
        key.chain(row::values_in(types(&self.values), &row.values))
    }

    /// Returns the ledger key and the distinct events in a row of the [`Role::Ledger`] query.
    ///
    /// # Panics
    /// When the query does not have the columns that its role requires: a bug in the query.
    pub fn ledger_entry(&self, row: &Row) -> (LedgerKey, Distinct) {
        let mut values = self.values_of(row);
        match (values.next(), values.next(), values.next()) {
            (Some(Value::Kind(kind)), Some(Value::Count(events)), Some(Value::Count(denied))) => {
                (LedgerKey { epoch: Some(row.epoch), kind }, Distinct { events, denied })
            }
            other => panic!("`{}` is not a ledger query: {other:?}", self.name),
        }
    }

    /// Returns the sort key that orders the rows of an epoch by key: videos as unsigned integers,
    /// requests as UUIDs.
    pub fn key_order(&self, row: &Row) -> SmallVec<[u64; 4]> {
        row::sort_key(types(&self.key), &row.key)
    }

    /// Returns the sort key of the row with a key, see [`StoredQuery::key_order`].
    pub fn order_of_key(&self, key: &[Value]) -> SmallVec<[u64; 4]> {
        row::sort_key_of(key.iter().copied())
    }

    /// Returns the sort key that orders rows by a column, by its position among the key columns and
    /// the others.
    pub fn column_order(&self, row: &Row, position: usize) -> SmallVec<[u64; 4]> {
        row::sort_key_of(self.values_of(row).skip(position).take(1))
    }

    /// Returns the sort key that orders the rows of an epoch by values.
    pub fn value_order(&self, row: &Row) -> SmallVec<[u64; 4]> {
        row::sort_key(types(&self.values), &row.values)
    }

    fn of(instance: &QueryInstance) -> StoredQuery {
        let Query { name, version, role, key, values, .. } = instance.query;
        let stored = |column: &Column| StoredColumn {
            name: column.name.to_owned(),
            column_type: column.column_type,
            unit: column.unit.to_owned(),
        };
        let parameters = instance.parameters.iter().map(|(parameter, value)| StoredParameter {
            name: parameter.name.to_owned(),
            unit: parameter.unit,
            value,
        });
        StoredQuery {
            name: (*name).to_owned(),
            version: *version,
            role: *role,
            key: key.iter().map(stored).collect(),
            values: values.iter().map(stored).collect(),
            parameters: parameters.collect(),
        }
    }
}

impl fmt::Display for StoredQuery {
    /// Its name, version and parameters.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.name, self.version)?;
        for (position, StoredParameter { name, unit, value }) in self.parameters.iter().enumerate()
        {
            let begin = if position == 0 { " (" } else { ", " };
            write!(formatter, "{begin}{name}={}", unit.text(*value))?;
        }
        if self.parameters.is_empty() { Ok(()) } else { formatter.write_str(")") }
    }
}

fn types(columns: &[StoredColumn]) -> impl Iterator<Item = ColumnType> {
    columns.iter().map(|column| column.column_type)
}

/// The definition and the queries that a store was created for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The definition.
    pub definition: Definition,
    /// The queries. A store refers to a query by its index in this list.
    pub queries: Vec<StoredQuery>,
}

/// A difference between two descriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The setting that differs, by its name on the command line.
    pub key: String,
    /// Its value in the store.
    pub stored: String,
    /// Its value in the job.
    pub given: String,
}

impl Description {
    /// Creates the description of a job.
    ///
    /// # Panics
    /// Unless there is exactly one ledger query and at most one main query, and queries across
    /// epochs read tables only: a bug in the list.
    pub fn of(definition: &Definition, queries: &[QueryInstance]) -> Description {
        let mut read = queries.iter().flat_map(|instance| instance.query.reads);
        let is_table = |query: &&Query| matches!(query.role, Role::Main | Role::Table);
        assert!(read.all(is_table), "a history is read back from tables");
        let queries: Vec<StoredQuery> = queries.iter().map(StoredQuery::of).collect();
        let description = Description { definition: *definition, queries };
        let once = |role| description.with_role(role).count();
        assert_eq!(once(Role::Ledger), 1, "a store has exactly one ledger query");
        assert!(once(Role::Main) <= 1, "a store has at most one main query");
        description
    }

    /// Returns the queries with a role, and their indices.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = (usize, &StoredQuery)> {
        self.queries.iter().enumerate().filter(move |(_, query)| query.role == role)
    }

    /// Returns the queries that readers can select rows of.
    pub fn tables(&self) -> impl Iterator<Item = &StoredQuery> {
        self.queries.iter().filter(|query| query.role != Role::Ledger)
    }

    /// Returns the query with a name, if readers can select rows of it.
    pub fn table(&self, name: &str) -> Option<&StoredQuery> {
        self.tables().find(|query| query.name == name)
    }

    /// Refuses a job whose description differs from this one of a store.
    ///
    /// # Errors
    /// Names the first difference.
    pub fn ensure_same(&self, store: &str, given: &Description) -> Result<(), StoreError> {
        let Some(Difference { key, stored, given }) = self.difference(given) else { return Ok(()) };
        Err(StoreError::OtherDefinition { store: store.to_owned(), key, stored, given })
    }

    /// Returns the first difference between this description of a store and the one of a job.
    pub fn difference(&self, given: &Description) -> Option<Difference> {
        let (ours, theirs) = (&self.definition, &given.definition);
        let span = |ms| Span { ms }.to_string();
        let epochs = |epochs: i64| format!("{epochs} epochs");
        let events = |events: usize| format!("{events} events");
        let settings = [
            ("epoch-length", span(ours.epoch_length_ms), span(theirs.epoch_length_ms)),
            ("join-window", epochs(ours.join_window_epochs), epochs(theirs.join_window_epochs)),
            ("max-delay", span(ours.max_delay_ms), span(theirs.max_delay_ms)),
            ("max-future", span(ours.max_future_ms), span(theirs.max_future_ms)),
            ("max-leap", span(ours.max_leap_ms), span(theirs.max_leap_ms)),
            ("leap-support", events(ours.leap_support), events(theirs.leap_support)),
            ("from", rfc3339(ours.from_ms), rfc3339(theirs.from_ms)),
            ("until", rfc3339(ours.until_ms), rfc3339(theirs.until_ms)),
            ("sets", has_sets(self), has_sets(given)),
            ("query", names(self), names(given)),
        ];
        let differs = |(key, stored, given): (&str, String, String)| {
            (stored != given).then(|| Difference { key: key.to_owned(), stored, given })
        };
        settings.into_iter().find_map(differs).or_else(|| {
            self.queries.iter().find_map(|stored| {
                let given = given.queries.iter().find(|given| given.name == stored.name)?;
                parameters(stored, given)
                    .find_map(|(key, stored, given)| differs((&key, stored, given)))
                    .or_else(|| {
                        differs((&format!("query {}", stored.name), rows(stored), rows(given)))
                    })
            })
        })
    }
}

/// The version, role and columns of a query, as text.
fn rows(query: &StoredQuery) -> String {
    let column = |column: &StoredColumn| format!("{}: {}", column.name, column.column_type.name());
    let columns = |columns: &[StoredColumn]| columns.iter().map(column).collect::<Vec<_>>();
    let (key, values) = (columns(&query.key).join(", "), columns(&query.values).join(", "));
    format!("version {}, role {} ({key}; {values})", query.version, query.role.name())
}

/// The flag of each parameter of either query, with its values in both.
fn parameters<'a>(
    stored: &'a StoredQuery,
    given: &'a StoredQuery,
) -> impl Iterator<Item = (String, String, String)> + 'a {
    let names: std::collections::BTreeSet<&str> =
        stored.parameters.iter().chain(&given.parameters).map(|one| one.name.as_str()).collect();
    let value = |query: &StoredQuery, name: &str| {
        let found = query.parameters.iter().find(|parameter| parameter.name == name);
        found.map_or("none".to_owned(), |found| found.unit.text(found.value))
    };
    names.into_iter().map(move |name| {
        let flag = crate::query::parameters::flag(&stored.name, name);
        (flag, value(stored, name), value(given, name))
    })
}

/// Whether the sets are written to files, as text.
fn has_sets(description: &Description) -> String {
    if description.table(SETS).is_some() { "DIR" } else { "none" }.to_owned()
}

/// The names of the queries in alphabetical order, as their order on the command line does not
/// matter. The ledger query, which every store has, is left out, and so are the files of the sets,
/// which have a flag of their own.
fn names(description: &Description) -> String {
    let tables = description.tables().map(|query| query.name.as_str());
    let mut names: Vec<&str> = tables.filter(|name| *name != SETS).collect();
    names.sort_unstable();
    names.join(",")
}
