//! Event time and epochs, the definition that every result depends on, and the numbering of rounds
//! and publications.
//!
//! All times are integer milliseconds since 1970-01-01T00:00Z, and the name of a plain integer of
//! milliseconds ends in `_ms`. Only [`Definition::epoch`] divides times.
//!
//! - [`date`]: reads times written as RFC 3339.
//! - [`definition`]: which epoch an instant lies in, and when an epoch closes.
//! - [`epoch`]: epochs, ranges of epochs, and [`Through`]: the last epoch that is closed or final.
//! - [`round`]: the timestamps of the dataflows.
//! - [`text`]: the text forms of dates and durations.

pub mod date;
pub mod definition;
pub mod epoch;
pub mod round;
pub mod text;

pub use definition::Definition;
pub use epoch::{Epoch, EpochRange, Through};
pub use round::{Publication, Round};
pub use text::{Span, parse_rfc3339_ms, rfc3339};

use std::time::{SystemTime, UNIX_EPOCH};

/// The earliest accepted event time: 0001-01-01T00:00:00Z.
pub const EVENT_TIME_MIN_MS: i64 = -62_135_596_800_000;
/// The latest accepted event time: 9999-12-30T00:00:00Z, so that the start of the next epoch can
/// still be written as a date.
pub const EVENT_TIME_MAX_MS: i64 = 253_402_128_000_000;

/// Returns the time of the wall clock, in milliseconds since 1970.
pub fn clock_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}
