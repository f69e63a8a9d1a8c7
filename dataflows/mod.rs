//! The queries: one file each, and a word in the list below.
//!
//! That alone gives a query its table in the store, `--query` and `--help`, flags for its
//! parameters, its tests (against its oracle, for random logs, workers, processes, orders) and its
//! place in the benchmark.

mod choices;
mod distinct;
mod requests;
mod take_rate;
mod trends;

use crate::query::Query;

/// The queries that `--query` picks from, the default first.
pub static ALL: &[&Query] = &[&trends::QUERY, &requests::QUERY, &choices::QUERY, &take_rate::QUERY];

/// The query that counts the ledger's distinct events: it is part of every job.
pub static LEDGER: &Query = &distinct::QUERY;

/// The query of a name.
pub fn find(name: &str) -> Option<&'static Query> {
    ALL.iter().copied().find(|query| query.name == name)
}
