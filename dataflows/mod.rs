//! The queries: one file each, and an entry in the list below.
//!
//! The entry alone gives a query its table in the store, its `--query` name and `--help` text,
//! flags for its parameters, its tests (against its oracle, for random logs, workers, processes and
//! orders) and its place in the benchmark.

mod choices;
mod crowded;
mod distinct;
mod requests;
mod surge;
mod take_rate;
mod trending;
mod trends;

use crate::query::Query;

/// The queries that `--query` accepts, the default first.
pub static ALL: &[&Query] = &[
    &trends::QUERY,
    &requests::QUERY,
    &choices::QUERY,
    &take_rate::QUERY,
    &trending::QUERY,
    &surge::QUERY,
    &crowded::QUERY,
];

/// The query that counts the ledger's distinct events: it is part of every job.
pub static LEDGER: &Query = &distinct::QUERY;

/// Returns the query with a name.
pub fn find(name: &str) -> Option<&'static Query> {
    ALL.iter().copied().find(|query| query.name == name)
}
