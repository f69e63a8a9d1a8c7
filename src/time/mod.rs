//! Event time and its epochs, the definition that every result depends on, and the numbering of
//! rounds and publications.
//!
//! All times are integer milliseconds since 1970-01-01T00:00Z, and a bare integer of them always
//! ends in `_ms`. The only division of time is [`Definition::epoch`].
//!
//! - [`definition`]: which epoch an instant lies in, and when an epoch closes.
//! - [`epoch`]: epochs, ranges of them, and how far they are closed.
//! - [`round`]: the timestamps of the dataflows.
//! - [`text`]: dates and durations as people write them.

pub mod definition;
pub mod epoch;
pub mod round;
pub mod text;

pub use definition::Definition;
pub use epoch::{Epoch, EpochRange, Through};
pub use round::{Publication, Round};
pub use text::{Span, parse_rfc3339_ms, rfc3339};

/// The earliest event time that is accepted: 0001-01-01T00:00:00Z.
pub const EVENT_TIME_MIN_MS: i64 = -62_135_596_800_000;
/// The latest event time that is accepted: 9999-12-30T00:00:00Z, so that the epoch after it can
/// still be written as a date.
pub const EVENT_TIME_MAX_MS: i64 = 253_402_128_000_000;
