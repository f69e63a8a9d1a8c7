//! What a query across epochs reads: the rows of queries of single epochs, as collections whose
//! timestamps are publications.

use super::{Query, TableRows};
use std::collections::BTreeMap;

/// The rows of queries of single epochs: those of the open epochs, and of a history of final ones
/// at least as long as the query declares.
///
/// A row of epoch `e` must be computed from the rows of `e - history ..= e` alone, whatever else is
/// held: they are final when `e` is, and so the row is final with `e`. The history is retracted
/// from the beginning as event time passes; what that does to the rows of final epochs is ignored.
pub struct Tables<'scope> {
    rows: BTreeMap<&'static str, TableRows<'scope>>,
}

impl<'scope> Tables<'scope> {
    /// Tables of these queries, by their names.
    pub fn new(rows: BTreeMap<&'static str, TableRows<'scope>>) -> Tables<'scope> {
        Tables { rows }
    }

    /// The rows of a query.
    ///
    /// # Panics
    /// When the reader does not declare that it reads them: a fault of the reader.
    pub fn rows(&self, query: &'static Query) -> TableRows<'scope> {
        match self.rows.get(query.name) {
            Some(rows) => rows.clone(),
            None => panic!("no query of the job declares that it reads `{}`", query.name),
        }
    }
}
