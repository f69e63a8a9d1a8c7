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
pub use text::{Moment, Span, parse_rfc3339_ms, rfc3339};

use std::time::{SystemTime, UNIX_EPOCH};

/// The earliest accepted event time: 0001-01-01T00:00:00Z.
pub const EVENT_TIME_MIN_MS: i64 = -62_135_596_800_000;
/// The latest accepted event time: 9999-12-30T00:00:00Z, so that the start of the next epoch can
/// still be written as a date.
pub const EVENT_TIME_MAX_MS: i64 = 253_402_128_000_000;

/// Returns the unit in which a number is probably a time, if it is hardly one in milliseconds: it
/// is in the years 2001 to 2099 in that unit, and before 1990 or after 2099 in milliseconds.
pub fn probable_unit(time_ms: i64) -> Option<&'static str> {
    const YEAR_1990_S: i64 = 631_152_000;
    const YEAR_2001_S: i64 = 978_307_200;
    const YEAR_2100_S: i64 = 4_102_444_800;
    if (YEAR_1990_S * 1_000..YEAR_2100_S * 1_000).contains(&time_ms) {
        return None;
    }
    let units = [("seconds", 1), ("microseconds", 1_000_000), ("nanoseconds", 1_000_000_000)];
    let is_in =
        |per_second: i64| (YEAR_2001_S * per_second..YEAR_2100_S * per_second).contains(&time_ms);
    units.into_iter().find(|&(_, per_second)| is_in(per_second)).map(|(unit, _)| unit)
}

/// Returns the time of the wall clock, in milliseconds since 1970.
pub fn clock_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_another_unit_is_recognised() {
        for (time_ms, expected) in [
            (0, None),
            (-1, None),
            (1_767_225_600_000, None),
            (631_152_000_000, None),
            (978_307_199, None),
            (978_307_200, Some("seconds")),
            (1_767_225_600, Some("seconds")),
            (4_102_444_800, None),
            (4_102_444_800_000, None),
            (1_767_225_600_000_000, Some("microseconds")),
            (1_767_225_600_000_000_000, Some("nanoseconds")),
            (EVENT_TIME_MIN_MS, None),
            (EVENT_TIME_MAX_MS, None),
            (i64::MAX, None),
        ] {
            assert_eq!(probable_unit(time_ms), expected, "{time_ms}");
        }
    }
}
