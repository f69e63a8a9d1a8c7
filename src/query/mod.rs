//! The contract between the engine and a query: what a file in `dataflows/` must define.
//!
//! A query computes rows incrementally. Its input is either the showings of one epoch, or the rows
//! of other queries in several epochs. It also defines how to compute the same rows from scratch.
//! It does no input or output and never reads a clock.
//!
//! - [`row`], [`value`]: rows, and the values in their columns.
//! - [`parameters`]: the parameters of a query.
//! - [`tables`]: the input of a query across epochs.
//! - [`digest`]: tests whether two sets of rows are equal.

pub mod digest;
pub mod parameters;
pub mod row;
pub mod tables;
pub mod value;

pub use digest::{Digest, Digests};
pub use parameters::{DefaultFrom, Parameter, ParameterUnit, Parameters};
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
    /// The type of its values.
    pub column_type: ColumnType,
    /// Its unit or meaning.
    pub unit: &'static str,
}

impl Column {
    /// Creates a column.
    pub const fn new(name: &'static str, column_type: ColumnType, unit: &'static str) -> Column {
        Column { name, column_type, unit }
    }
}

/// How a store treats the rows of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The table that the store is named after; a store has at most one. SQLite marks whole epochs
    /// as final. Kafka cannot, so each row of this table has a field `final`.
    Main,
    /// A separate table.
    Table,
    /// A set for each epoch, with members added and removed.
    Set,
    /// The part of the ledger that the dataflow counts; it has no separate table. Its key is the
    /// kind, and its value the number of distinct events.
    Ledger,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 4] = [Role::Main, Role::Table, Role::Set, Role::Ledger];

    /// Returns its name in stores.
    pub fn name(self) -> &'static str {
        match self {
            Role::Main => "main",
            Role::Table => "table",
            Role::Set => "set",
            Role::Ledger => "ledger",
        }
    }
}

/// The name of the table that lists the files of the sets. The flag `--sets` asks for it.
pub const SETS: &str = "sets";

/// The rows of a query for one epoch, as they change from round to round.
pub type EpochRows<'scope> = VecCollection<'scope, Round, Row, isize>;
/// The rows of a query across epochs, as they change from publication to publication.
pub type TableRows<'scope> = VecCollection<'scope, Publication, Row, isize>;

/// How a query's rows are computed incrementally.
#[derive(Clone, Copy)]
pub enum Build {
    /// Computes the rows of one epoch from its shared arrangement. Called on each worker for each
    /// epoch. All updates of a row must arise on one worker, as they do behind an operator of
    /// differential that groups by the row's key.
    Epoch(for<'scope> fn(&Showings<'scope>, &Parameters) -> EpochRows<'scope>),
    /// Computes rows across epochs from the rows of other queries. Called once on each worker.
    Tables(for<'scope> fn(&Tables<'scope>, &Parameters) -> TableRows<'scope>),
    /// Lists files that the engine writes; no dataflow computes it.
    Files,
}

/// A query: one file in `dataflows/`.
pub struct Query {
    /// Its name, used by `--query` and for its table.
    pub name: &'static str,
    /// A description in one line, for `--help`.
    pub about: &'static str,
    /// Its version, raised whenever the same events would give different rows.
    pub version: u32,
    /// How a store treats its rows.
    pub role: Role,
    /// The columns that, with the epoch, identify a row.
    pub key: &'static [Column],
    /// The other columns.
    pub values: &'static [Column],
    /// Its parameters.
    pub parameters: &'static [Parameter],
    /// How its rows are computed incrementally.
    pub build: Build,
    /// For a query across epochs, the queries of single epochs whose rows it reads. A job that runs
    /// this query runs them too.
    pub reads: &'static [&'static Query],
    /// For a query across epochs, the number of epochs before its own that a row depends on.
    pub history_epochs: fn(&Parameters) -> i64,
    /// Computes the same rows from scratch: plain, slow and obviously correct.
    pub oracle: fn(&AcceptedLog, &Parameters) -> BTreeSet<Row>,
    /// The same as a batch query in DuckDB's SQL, for the benchmark. It reads the tables
    /// `impressions` and `plays` (`request_id`, `video_id`, `epoch`), or across epochs the tables
    /// of the queries in `reads`, with `$H` for the join window and `$NAME` for each parameter. Its
    /// columns are the key, the epoch and the values.
    pub batch_sql: &'static str,
}

impl Query {
    /// Returns a row of this query.
    ///
    /// # Panics
    /// If the values do not match the types of its columns, which is a bug in the query.
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

    /// Returns the values of a row of this query: the key, then the others.
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

/// Returns 0, the `history_epochs` of a query of single epochs.
pub fn no_history(_: &Parameters) -> i64 {
    0
}

/// A query of a job, with the values of its parameters.
#[derive(Clone, Debug)]
pub struct QueryInstance {
    /// The query.
    pub query: &'static Query,
    /// The values of its parameters.
    pub parameters: Parameters,
}

impl QueryInstance {
    /// Creates an instance with the defaults of all parameters.
    pub fn new(query: &'static Query) -> QueryInstance {
        QueryInstance { query, parameters: Parameters::new(query.parameters, |_| None) }
    }

    /// Returns the number of epochs before its own that a row depends on.
    pub fn history_epochs(&self) -> i64 {
        (self.query.history_epochs)(&self.parameters)
    }
}

impl fmt::Display for QueryInstance {
    /// Its name, version and parameters: instances with equal texts give the same rows.
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
    /// Its accepted impressions, in any order, with duplicates.
    pub impressions: Vec<(RequestId, VideoId)>,
    /// The accepted plays of its join window, likewise, each with the epoch of its event time.
    pub plays: Vec<(RequestId, VideoId, Epoch)>,
    /// The accepted denials of its join window, likewise.
    pub denials: Vec<(RequestId, Epoch)>,
}

impl EpochLog {
    /// Whether a request is denied in this epoch.
    pub fn is_denied(&self, request: RequestId) -> bool {
        self.denials.iter().any(|(denied, _)| *denied == request)
    }

    /// Returns the events of the requests that are not denied.
    pub fn without_denied(&self) -> EpochLog {
        let denied: BTreeSet<RequestId> =
            self.denials.iter().map(|(request, _)| *request).collect();
        let mut log = EpochLog { denials: Vec::new(), ..self.clone() };
        log.impressions.retain(|(request, _)| !denied.contains(request));
        log.plays.retain(|(request, ..)| !denied.contains(request));
        log
    }
}

/// The accepted events of all epochs: the input of an oracle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcceptedLog {
    /// The epochs that at least one event contributes to.
    pub epochs: BTreeMap<Epoch, EpochLog>,
}

impl AcceptedLog {
    /// Returns the rows that `rows` computes for each epoch, without the events of denied requests.
    pub fn each_epoch<R: IntoIterator<Item = Row>>(
        &self,
        rows: impl Fn(&EpochLog) -> R,
    ) -> BTreeSet<Row> {
        self.epochs.values().flat_map(|log| rows(&log.without_denied())).collect()
    }
}
