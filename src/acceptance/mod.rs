//! Which events count: pure functions of a partition's log.
//!
//! - [`watermark`]: how far event time has passed in a partition.
//! - [`admission`]: what becomes of an event, given how far epochs are closed.
//! - [`ledger`]: what became of all events.

pub mod admission;
pub mod ledger;
pub mod watermark;

pub use admission::{Fate, Reading, admit};
pub use ledger::{Counts, Ledger, LedgerKey, LedgerRow, LedgerTotals};
pub use watermark::Watermark;
