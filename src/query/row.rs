//! Rows: the values of a query's columns, in cells of 64 bits.

use super::value::{ColumnType, Value};
use crate::time::Epoch;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// The cells of a key; those of most queries lie in the row itself.
pub type KeyCells = SmallVec<[u64; 3]>;
/// The cells of the other columns.
pub type ValueCells = SmallVec<[u64; 2]>;

/// A row of a query's table. Its epoch and its key name it, and at most one row has that name at a
/// time. It is made by [`super::Query::row`], which checks that it fits the query's columns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Row {
    /// The epoch.
    pub epoch: Epoch,
    /// The cells of the key columns.
    pub key: KeyCells,
    /// The cells of the other columns.
    pub values: ValueCells,
}

/// The cells of values, checked to be of the columns' types.
///
/// # Panics
/// When there are more values or fewer than columns, or one is of another type: a fault of the
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
        assert!(fits, "`{query}`: {value:?} stands in a column of {expected:?}");
        value.push_cells(|cell| cells.push(cell));
    }
    assert!(column_types.next().is_none(), "`{query}`: a row lacks values");
    cells
}

/// Words in whose order readers see rows, made of the cells of some columns.
pub fn order_of(
    column_types: impl IntoIterator<Item = ColumnType>,
    cells: &[u64],
) -> SmallVec<[u64; 4]> {
    let mut order = SmallVec::new();
    for value in values_in(column_types, cells) {
        value.push_order(|word| order.push(word));
    }
    order
}

/// The values in the cells of columns of these types, column by column.
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
