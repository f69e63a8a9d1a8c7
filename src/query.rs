//! The contract between the engine and a query: what a file in `dataflows/` must give.
//!
//! A query turns what is known of the showings of an epoch into rows, incrementally, and says how
//! to compute the same rows from scratch. It does no input or output and never reads a clock.

use crate::event::{RequestId, VideoId};
use crate::showings::Showings;
use crate::time::Epoch;
use bytemuck::{Pod, Zeroable};
use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The most cells of a row's key, after the epoch.
pub const KEY_CELLS: usize = 3;
/// The most cells of a row's values.
pub const VALUE_CELLS: usize = 2;

/// A row of a query's table: the epoch and the key name it, and at most one row has that name at a
/// time. A column takes one cell, or as many as [`ColumnType::cells`] says; unused cells are 0.
#[repr(C)]
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Pod,
    Zeroable,
    Serialize,
    Deserialize,
)]
pub struct Row {
    /// The number of the epoch, [`Epoch`].
    pub epoch: i64,
    /// The cells of the key columns.
    pub key: [u64; KEY_CELLS],
    /// The cells of the value columns.
    pub values: [u64; VALUE_CELLS],
}

impl Row {
    /// The cells of the columns of a key or of values, column by column.
    pub fn cells<'a>(
        columns: &'a [Column],
        cells: &'a [u64],
    ) -> impl Iterator<Item = (&'a Column, &'a [u64])> {
        let mut next = 0;
        columns.iter().map(move |column| {
            let start = next;
            next += column.column_type.cells();
            (column, &cells[start..next])
        })
    }
}

/// How the cells of a column are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// A [`VideoId`].
    Video,
    /// A [`RequestId`], in two cells.
    Request,
    /// A number of things.
    Count,
    /// 0 or 1.
    Flag,
    /// A [`crate::event::Kind`], by its number.
    Kind,
}

impl ColumnType {
    /// How many cells it takes.
    pub const fn cells(self) -> usize {
        match self {
            ColumnType::Request => 2,
            _ => 1,
        }
    }
}

/// A column of a query's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in the store.
    pub name: &'static str,
    /// How its cells are read.
    pub column_type: ColumnType,
    /// Its unit or meaning, for `--help`.
    pub unit: &'static str,
}

impl Column {
    /// A column.
    pub const fn new(name: &'static str, column_type: ColumnType, unit: &'static str) -> Column {
        Column { name, column_type, unit }
    }
}

/// The rows of a query for one epoch, as they change from round to round.
pub type Rows<'scope> = VecCollection<'scope, u64, Row, isize>;

/// A query: one file in `dataflows/`.
pub struct Query {
    /// Its name, for `--query` and as the name of its table.
    pub name: &'static str,
    /// What it answers, in one line, for `--help`.
    pub about: &'static str,
    /// Raised whenever the same events would give other rows than before.
    pub version: u32,
    /// The columns that, with the epoch, name a row; [`KEY_CELLS`] cells at most.
    pub key: &'static [Column],
    /// The other columns; [`VALUE_CELLS`] cells at most.
    pub values: &'static [Column],
    /// Builds the rows of one epoch on its shared arrangement. The engine sets [`Row::epoch`].
    pub build: for<'scope> fn(&Showings<'scope>) -> Rows<'scope>,
    /// Computes the same rows from scratch: plain, slow and obviously right.
    pub oracle: fn(&EpochLog) -> BTreeSet<Row>,
    /// The same as a batch query in DuckDB's SQL, for the benchmark: over the tables
    /// `impressions` and `plays` (`request_id`, `video_id`, `epoch`), with `$H` for the join
    /// window. Its columns are the key, the epoch and the values.
    pub batch_sql: &'static str,
}

impl std::fmt::Debug for Query {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Query({} version {})", self.name, self.version)
    }
}

/// The accepted events that contribute to one epoch: what an oracle computes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochLog {
    /// The epoch.
    pub epoch: Epoch,
    /// Its accepted impressions, in any order, repeated if they came repeatedly.
    pub impressions: Vec<(RequestId, VideoId)>,
    /// The accepted plays of its join window, likewise, each with the epoch of its own time.
    pub plays: Vec<(RequestId, VideoId, Epoch)>,
}
