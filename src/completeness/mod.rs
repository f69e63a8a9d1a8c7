//! Completeness: which share of the events of an open epoch has arrived.
//!
//! An event has the age of its record: the time from the start of the event's epoch to the record's
//! own timestamp. Each epoch and kind has a *curve*: how many of its events came at which age. An
//! open epoch has the curve up to the age that the log has reached, and those of past epochs tell
//! how it goes on.
//!
//! - [`bins`]: the ages, in bins, and counts of events by bin.
//! - [`arrivals`]: what has arrived since the last publication.
//! - [`curves`]: the curves of a kind, and the estimate.
//! - [`table`]: the rows, and what a store keeps.
//!
//! Only the log's own timestamps are read, never a clock. An estimate is no result: it is in no
//! digest, and a fault in it moves no count. Floats are added in a fixed order on one thread.

pub mod arrivals;
pub mod bins;
pub mod curves;
pub mod table;
#[cfg(test)]
mod tests;

pub use arrivals::{Arrivals, Arrived, Counter};
pub use bins::{AgeCounts, BINS, Bins};
pub use curves::{Curve, Curves, Estimate, Unknown};
pub use table::{Completeness, CompletenessUpdate, StoredCurve};
