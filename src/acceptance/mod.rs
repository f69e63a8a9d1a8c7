//! The rules that decide which events count: pure functions of a partition's log.
//!
//! - [`trust`]: which stamps are plausible.
//! - [`watermark`]: the progress of event time in a partition.
//! - [`judge`]: both together, event by event, resumable at any block of events.
//! - [`admission`]: whether an event is accepted, given which epochs are closed.
//! - [`plain`]: events for which a few comparisons are enough.
//! - [`ledger`]: the counts of accepted and rejected events.

pub mod admission;
pub mod judge;
pub mod ledger;
pub mod plain;
pub mod trust;
pub mod watermark;

pub use admission::{Fate, Reading, admit};
pub use judge::Judge;
pub use ledger::{Counts, Distinct, Ledger, LedgerKey, LedgerRow, LedgerTotals, counted_epoch};
pub use plain::Plain;
pub use trust::{Ahead, ClockLimit, LogEnd, Missing, Trust};
pub use watermark::Watermark;
