//! The input of a query across epochs: the rows of queries of single epochs, as collections whose
//! timestamps are publications.

use super::{Query, TableRows};
use crate::time::Through;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The rows of queries of single epochs: of the open epochs, and of a history of final epochs at
/// least as long as the query declares.
///
/// A row of epoch `e` must be computed only from the rows of `e - history ..= e`, even if others
/// are present: these are final when `e` is, so the row becomes final with `e`. As event time
/// advances, the oldest history is retracted; the effect on rows of final epochs is ignored.
pub struct Tables<'scope> {
    rows: BTreeMap<&'static str, TableRows<'scope>>,
    finality: Finality,
}

/// The epochs that are final in the store: changes of their rows are ignored. Operators read it to
/// free state, and to compute nothing that no other row needs. It may lag behind.
#[derive(Clone, Debug, Default)]
pub struct Finality(Rc<Cell<Through>>);

impl Finality {
    /// Returns the epochs that are final in the store.
    pub fn final_through(&self) -> Through {
        self.0.get()
    }

    /// Notes that these epochs are final in the store.
    pub fn set(&self, through: Through) {
        self.0.set(through);
    }
}

impl<'scope> Tables<'scope> {
    /// Creates the tables from the rows of queries, by name.
    pub fn new(
        rows: BTreeMap<&'static str, TableRows<'scope>>,
        finality: Finality,
    ) -> Tables<'scope> {
        Tables { rows, finality }
    }

    /// Returns which epochs are final.
    pub fn finality(&self) -> &Finality {
        &self.finality
    }

    /// Returns the rows of a query.
    ///
    /// # Panics
    /// If no query of the job lists `query` in its `reads`, which is a bug in the calling query.
    pub fn rows(&self, query: &'static Query) -> TableRows<'scope> {
        match self.rows.get(query.name) {
            Some(rows) => rows.clone(),
            None => panic!("no query of the job declares that it reads `{}`", query.name),
        }
    }
}
