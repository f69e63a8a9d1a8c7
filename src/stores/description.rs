//! What a store says of itself: the definition and the queries that it was made for, and in what
//! those of a run differ from them.

use crate::query::{Column, ColumnType, Query};
use crate::time::Definition;
use serde::{Deserialize, Serialize};

/// The query whose rows are told to be final or not, and whose columns are a promise.
pub const TRENDS: &str = "trends";
/// The query that is half of the ledger, and has no table of its own for readers.
pub const DISTINCT: &str = "distinct";

/// A column of a query's table, as the store describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredColumn {
    /// Its name.
    pub name: String,
    /// How its values are read.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// Its unit or meaning.
    pub unit: String,
}

/// A query, as the store describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Its value in the run.
    pub given: String,
}

impl Description {
    /// That of a run.
    pub fn of(definition: &Definition, queries: &[&'static Query]) -> Description {
        let queries = queries.iter().map(|query| StoredQuery::of(query)).collect();
        Description { definition: *definition, queries }
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
