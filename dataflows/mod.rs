//! The queries: one file each, and a word in the list below.
//!
//! That alone gives a query its table in the store, `--query` and `--help`, its tests (against its
//! oracle, for random logs, workers, processes, orders) and its place in the benchmark.

mod choices;
pub mod distinct;
mod requests;
mod trends;

use crate::query::Query;

/// The queries that `--query` picks from, the default first.
pub static ALL: [&Query; 3] = [&trends::QUERY, &requests::QUERY, &choices::QUERY];

/// The query of a name.
pub fn find(name: &str) -> Option<&'static Query> {
    ALL.into_iter().find(|query| query.name == name)
}
