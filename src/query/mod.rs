//! The contract between the engine and a query: what a file in `dataflows/` must give.
//!
//! A query turns what is known of the showings of an epoch into rows, or the rows of such queries
//! across epochs into other rows, incrementally; and it says how to compute the same rows from
//! scratch. It does no input or output and never reads a clock.
//!
//! - [`row`], [`value`]: rows, and the values in their columns.
//! - [`parameters`]: what can be set about a query.
//! - [`tables`]: what a query across epochs reads.
//! - [`digest`]: whether two sets of rows are the same.

pub mod digest;
pub mod parameters;
pub mod row;
pub mod tables;
pub mod value;

pub use digest::{Digest, Digests};
pub use parameters::{Parameter, ParameterUnit, Parameters};
pub use row::{KeyCells, Row, ValueCells};
pub use tables::Tables;
pub use value::{ColumnType, Value};

use crate::event::{RequestId, VideoId};
use crate::showings::Showings;
use crate::time::{Epoch, Publication, Round};
use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A column of a query's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in the store.
    pub name: &'static str,
    /// What it holds.
    pub column_type: ColumnType,
    /// Its unit or meaning.
    pub unit: &'static str,
}

impl Column {
    /// A column.
    pub const fn new(name: &'static str, column_type: ColumnType, unit: &'static str) -> Column {
        Column { name, column_type, unit }
    }
}

/// What a query's rows are to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The table that a store is named after, of which there is one. Its rows say whether they are
    /// final, also where a store cannot tell that otherwise.
    Main,
    /// A table of its own.
    Table,
    /// A set for each epoch, whose members are added and removed.
    Set,
    /// The part of the ledger that the dataflow counts: no table of its own. Its key is the kind,
    /// and its value the number of distinct events.
    Ledger,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 4] = [Role::Main, Role::Table, Role::Set, Role::Ledger];

    /// Its name, in stores.
    pub fn name(self) -> &'static str {
        match self {
            Role::Main => "main",
            Role::Table => "table",
            Role::Set => "set",
            Role::Ledger => "ledger",
        }
    }
}

/// The rows of a query for one epoch, as they change from round to round.
pub type EpochRows<'scope> = VecCollection<'scope, Round, Row, isize>;
/// The rows of a query across epochs, as they change from publication to publication.
pub type TableRows<'scope> = VecCollection<'scope, Publication, Row, isize>;

/// How a query's rows are computed incrementally.
#[derive(Clone, Copy)]
pub enum Build {
    /// The rows of one epoch, on its shared arrangement. It is called for each epoch.
    Epoch(for<'scope> fn(&Showings<'scope>, &Parameters) -> EpochRows<'scope>),
    /// Rows that look across epochs, on the rows of other queries. It is called once a job.
    Tables(for<'scope> fn(&Tables<'scope>, &Parameters) -> TableRows<'scope>),
}

/// A query: one file in `dataflows/`.
pub struct Query {
    /// Its name, for `--query` and as the name of its table.
    pub name: &'static str,
    /// What it answers, in one line, for `--help`.
    pub about: &'static str,
    /// Raised whenever the same events would give other rows than before.
    pub version: u32,
    /// What its rows are to a store.
    pub role: Role,
    /// The columns that, with the epoch, name a row.
    pub key: &'static [Column],
    /// The other columns.
    pub values: &'static [Column],
    /// What can be set about it.
    pub parameters: &'static [Parameter],
    /// How its rows are computed incrementally.
    pub build: Build,
    /// For a query across epochs, the queries whose rows it reads; they are of single epochs, and
    /// a job that has this query has them too.
    pub reads: &'static [&'static Query],
    /// For a query across epochs, how many epochs before its own a row depends on.
    pub history_epochs: fn(&Parameters) -> i64,
    /// Computes the same rows from scratch: plain, slow and obviously right.
    pub oracle: fn(&AcceptedLog, &Parameters) -> BTreeSet<Row>,
    /// The same as a batch query in DuckDB's SQL, for the benchmark: over the tables
    /// `impressions` and `plays` (`request_id`, `video_id`, `epoch`), with `$H` for the join
    /// window, and `$NAME` for each parameter. Its columns are the key, the epoch and the values.
    pub batch_sql: &'static str,
}

impl Query {
    /// A row of this query.
    ///
    /// # Panics
    /// When the values are not of its columns' types: a fault of the query.
    #[inline]
    pub fn row(
        &self,
        epoch: Epoch,
        key: impl IntoIterator<Item = Value>,
        values: impl IntoIterator<Item = Value>,
    ) -> Row {
        Row {
            epoch,
            key: row::cells(self.name, types(self.key), key),
            values: row::cells(self.name, types(self.values), values),
        }
    }

    /// The values of a row of this query: those of the key, then the others.
    pub fn values_of(&self, row: &Row) -> SmallVec<[Value; 4]> {
        let key = row::values_in(types(self.key), &row.key);
        key.chain(row::values_in(types(self.values), &row.values)).collect()
    }
}

#[inline]
fn types(columns: &'static [Column]) -> impl Iterator<Item = ColumnType> {
    columns.iter().map(|column| column.column_type)
}

impl fmt::Debug for Query {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Query({} version {})", self.name, self.version)
    }
}

/// No history: what a query of single epochs declares.
pub fn no_history(_: &Parameters) -> i64 {
    0
}

/// A query as a job has it: with the values of its parameters.
#[derive(Clone, Debug)]
pub struct QueryInstance {
    /// The query.
    pub query: &'static Query,
    /// The values of its parameters.
    pub parameters: Parameters,
}

impl QueryInstance {
    /// A query with the defaults of its parameters.
    pub fn new(query: &'static Query) -> QueryInstance {
        QueryInstance { query, parameters: Parameters::new(query.parameters, |_| None) }
    }

    /// How many epochs before its own a row depends on.
    pub fn history_epochs(&self) -> i64 {
        (self.query.history_epochs)(&self.parameters)
    }
}

impl fmt::Display for QueryInstance {
    /// Its name, version and parameters: two that read the same give the same rows.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.query.name, self.query.version)?;
        match self.query.parameters {
            [] => Ok(()),
            _ => write!(formatter, " ({})", self.parameters),
        }
    }
}

/// The accepted events that contribute to one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochLog {
    /// The epoch.
    pub epoch: Epoch,
    /// Its accepted impressions, in any order, repeated if they came repeatedly.
    pub impressions: Vec<(RequestId, VideoId)>,
    /// The accepted plays of its join window, likewise, each with the epoch of its own time.
    pub plays: Vec<(RequestId, VideoId, Epoch)>,
}

/// The accepted events of all epochs: what an oracle computes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcceptedLog {
    /// The epochs that any event contributes to.
    pub epochs: BTreeMap<Epoch, EpochLog>,
}

impl AcceptedLog {
    /// The rows that a function of single epochs gives for each of them.
    pub fn each_epoch<R: IntoIterator<Item = Row>>(
        &self,
        rows: impl Fn(&EpochLog) -> R,
    ) -> BTreeSet<Row> {
        self.epochs.values().flat_map(rows).collect()
    }
}
