//! The rules that decide which events count: pure functions of a partition's log.
//!
//! - [`watermark`]: the progress of event time in a partition.
//! - [`admission`]: whether an event is accepted, given which epochs are closed.
//! - [`ledger`]: the counts of accepted and rejected events.

pub mod admission;
pub mod ledger;
pub mod watermark;

pub use admission::{Fate, Reading, admit};
pub use ledger::{Counts, Ledger, LedgerKey, LedgerRow, LedgerTotals};
pub use watermark::Watermark;
