//! What a store says of itself: the definition and the queries that it was made for, and in what
//! those of a job differ from them.

use super::StoreError;
use crate::acceptance::LedgerKey;
use crate::query::{
    Column, ColumnType, ParameterUnit, Query, QueryInstance, Role, Row, Value, row,
};
use crate::time::{Definition, Epoch, Span};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::fmt;

/// The format of stores that this version reads and writes. It is raised whenever a store of the
/// version before could not be read; see `docs/store-formats.md`.
pub const FORMAT: i64 = 3;

/// The versions of the program that wrote older formats.
const OLDER_FORMATS: [(i64, &str); 2] = [(1, "0.1.0"), (2, "0.1.0")];

/// Refuses a store whose format is not the one of this version.
///
/// # Errors
/// With the version that wrote it, as far as that is known.
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
    /// What it holds.
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
    /// What its numbers are.
    pub unit: ParameterUnit,
    /// Its value.
    pub value: i64,
}

/// A query, as the store describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredQuery {
    /// Its name, which is that of its view.
    pub name: String,
    /// Its version when the store was made.
    pub version: u32,
    /// What its rows are to the store.
    pub role: Role,
    /// The columns that, with the epoch, name a row.
    pub key: Vec<StoredColumn>,
    /// The other columns.
    pub values: Vec<StoredColumn>,
    /// Its parameters.
    pub parameters: Vec<StoredParameter>,
}

impl StoredQuery {
    /// All columns: the key, then the values.
    pub fn columns(&self) -> impl Iterator<Item = &StoredColumn> {
        self.key.iter().chain(&self.values)
    }

    /// Whether any column holds videos.
    pub fn has_videos(&self) -> bool {
        self.columns().any(|column| column.column_type == ColumnType::Video)
    }

    /// A row of this query, of values that were read from a store: those of the key, then the
    /// others.
    ///
    /// # Panics
    /// When the values are not of its columns' types.
    pub fn row(&self, epoch: Epoch, values: &[Value]) -> Row {
        let (key, others) = values.split_at(self.key.len());
        Row {
            epoch,
            key: row::cells(&self.name, types(&self.key), key.iter().copied()),
            values: row::cells(&self.name, types(&self.values), others.iter().copied()),
        }
    }

    /// The values of a row of this query: those of the key, then the others.
    pub fn values_of<'a>(&'a self, row: &'a Row) -> impl Iterator<Item = Value> + 'a {
        let key = row::values_in(types(&self.key), &row.key);
        key.chain(row::values_in(types(&self.values), &row.values))
    }

    /// What a row of a query of [`Role::Ledger`] says: how many distinct events there are of an
    /// epoch and kind.
    ///
    /// # Panics
    /// When the query has other columns than its role asks for: a fault of the query.
    pub fn ledger_entry(&self, row: &Row) -> (LedgerKey, u64) {
        let mut values = self.values_of(row);
        match (values.next(), values.next()) {
            (Some(Value::Kind(kind)), Some(Value::Count(distinct))) => {
                (LedgerKey { epoch: row.epoch, kind }, distinct)
            }
            other => panic!("`{}` is no query of the ledger: {other:?}", self.name),
        }
    }

    /// Words in whose order readers see the rows of an epoch by their keys: videos as unsigned
    /// numbers, requests as their UUIDs.
    pub fn key_order(&self, row: &Row) -> SmallVec<[u64; 4]> {
        row::order_of(types(&self.key), &row.key)
    }

    /// The same by their values.
    pub fn value_order(&self, row: &Row) -> SmallVec<[u64; 4]> {
        row::order_of(types(&self.values), &row.values)
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

/// The definition and the queries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The definition.
    pub definition: Definition,
    /// The queries, in the order that the store numbers them.
    pub queries: Vec<StoredQuery>,
}

/// Something in which two descriptions differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What differs, as it is called on the command line.
    pub key: String,
    /// Its value in the store.
    pub stored: String,
    /// Its value in the job.
    pub given: String,
}

impl Description {
    /// That of a job.
    ///
    /// # Panics
    /// When the queries are not one of each role that a store has once: a fault of the list.
    pub fn of(definition: &Definition, queries: &[QueryInstance]) -> Description {
        let queries: Vec<StoredQuery> = queries.iter().map(StoredQuery::of).collect();
        let description = Description { definition: *definition, queries };
        let once = |role| description.with_role(role).count();
        assert_eq!(once(Role::Ledger), 1, "the ledger needs one query among those of a store");
        assert!(once(Role::Main) <= 1, "a store is named after one query");
        description
    }

    /// The queries of a role, with their numbers.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = (usize, &StoredQuery)> {
        self.queries.iter().enumerate().filter(move |(_, query)| query.role == role)
    }

    /// The queries whose rows readers can ask for.
    pub fn tables(&self) -> impl Iterator<Item = &StoredQuery> {
        self.queries.iter().filter(|query| query.role != Role::Ledger)
    }

    /// A query that readers can ask for, by its name.
    pub fn table(&self, name: &str) -> Option<&StoredQuery> {
        self.tables().find(|query| query.name == name)
    }

    /// Refuses a job that differs from this store.
    ///
    /// # Errors
    /// With the first thing that differs.
    pub fn refuse_other(&self, store: &str, given: &Description) -> Result<(), StoreError> {
        let Some(Difference { key, stored, given }) = self.difference(given) else { return Ok(()) };
        Err(StoreError::OtherDefinition { store: store.to_owned(), key, stored, given })
    }

    /// The first thing in which the description of a job differs from this one of a store.
    pub fn difference(&self, given: &Description) -> Option<Difference> {
        let (ours, theirs) = (&self.definition, &given.definition);
        let span = |ms| Span { ms }.to_string();
        let epochs = |epochs: i64| format!("{epochs} epochs");
        let settings = [
            ("epoch-length", span(ours.epoch_length_ms), span(theirs.epoch_length_ms)),
            ("join-window", epochs(ours.join_window_epochs), epochs(theirs.join_window_epochs)),
            ("max-delay", span(ours.max_delay_ms), span(theirs.max_delay_ms)),
            ("max-future", span(ours.max_future_ms), span(theirs.max_future_ms)),
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

/// What the rows of a query mean: its version, role and columns.
fn rows(query: &StoredQuery) -> String {
    let column = |column: &StoredColumn| format!("{}: {}", column.name, column.column_type.name());
    let columns = |columns: &[StoredColumn]| columns.iter().map(column).collect::<Vec<_>>();
    let (key, values) = (columns(&query.key).join(", "), columns(&query.values).join(", "));
    format!("version {} of the {} ({key}; {values})", query.version, query.role.name())
}

/// The parameters of either of two descriptions of a query, with both values.
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

/// The names of queries in alphabetical order, as the order in which they were given is no matter.
/// What every store has is left out.
fn names(description: &Description) -> String {
    let mut names: Vec<&str> = description.tables().map(|query| query.name.as_str()).collect();
    names.sort_unstable();
    names.join(",")
}
