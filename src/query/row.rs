//! Rows: the values of a query's columns, in cells of 64 bits.

use super::value::{ColumnType, Value};
use crate::time::Epoch;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// The cells of a key; those of most queries are stored inline.
pub type KeyCells = SmallVec<[u64; 3]>;
/// The cells of the other columns.
pub type ValueCells = SmallVec<[u64; 2]>;

/// A row of a query's table, identified by its epoch and key, which are unique at any time. Rows
/// are created by [`super::Query::row`], which checks them against the query's columns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Row {
    /// The epoch.
    pub epoch: Epoch,
    /// The cells of the key columns.
    pub key: KeyCells,
    /// The cells of the other columns.
    pub values: ValueCells,
}

/// Returns the cells of values, checked against the types of the columns.
///
/// # Panics
/// If there are more or fewer values than columns, or one has the wrong type, which is a bug in the
/// query.
#[inline]
pub fn cells<A: smallvec::Array<Item = u64>>(
    query: &str,
    column_types: impl IntoIterator<Item = ColumnType>,
    values: impl IntoIterator<Item = Value>,
) -> SmallVec<A> {
    let mut cells = SmallVec::new();
    let mut column_types = column_types.into_iter();
    for value in values {
        let expected = column_types.next();
        let fits = expected == Some(value.column_type());
        assert!(fits, "`{query}`: {value:?} does not fit a column of type {expected:?}");
        value.push_cells(|cell| cells.push(cell));
    }
    assert!(column_types.next().is_none(), "`{query}`: a row has too few values");
    cells
}

/// Returns words that order rows as readers see them, computed from the cells of some columns.
pub fn sort_key(
    column_types: impl IntoIterator<Item = ColumnType>,
    cells: &[u64],
) -> SmallVec<[u64; 4]> {
    sort_key_of(values_in(column_types, cells))
}

/// Returns words that order rows as readers see them, computed from values.
pub fn sort_key_of(values: impl Iterator<Item = Value>) -> SmallVec<[u64; 4]> {
    let mut order = SmallVec::new();
    for value in values {
        value.push_sort_key(|word| order.push(word));
    }
    order
}

/// Returns the values in the cells of columns of these types, column by column.
pub fn values_in(
    column_types: impl IntoIterator<Item = ColumnType>,
    cells: &[u64],
) -> impl Iterator<Item = Value> {
    let mut next = 0;
    column_types.into_iter().map(move |column_type| {
        let start = next;
        next += column_type.cells();
        Value::from_cells(column_type, &cells[start..next])
    })
}
