//! Event time, its division into epochs, and the definition that every result depends on.
//!
//! All times are integer milliseconds since 1970-01-01T00:00Z, and a bare integer of them always
//! ends in `_ms`. The only division of time is [`Definition::epoch`].

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The earliest event time that is accepted: 0001-01-01T00:00:00Z.
pub const EVENT_TIME_MIN_MS: i64 = -62_135_596_800_000;
/// The latest event time that is accepted: 9999-12-30T00:00:00Z, so that the epoch after it can
/// still be written as a date.
pub const EVENT_TIME_MAX_MS: i64 = 253_402_128_000_000;

/// A window of event time, numbered from the one that starts at 1970-01-01T00:00Z; negative before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub i64);

impl Epoch {
    /// The epoch `epochs` later (earlier, if negative).
    pub fn plus(self, epochs: i64) -> Epoch {
        Epoch(self.0.saturating_add(epochs))
    }
}

/// The four numbers that decide what is counted where. Results of different definitions must not
/// be mixed, so a store refuses a definition other than its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// `L`: the length of an epoch, in milliseconds; positive.
    pub epoch_length_ms: i64,
    /// `H`: how many epochs after its impression a play still counts.
    pub join_window_epochs: i64,
    /// `D`: how far the watermark of a partition trails its largest event time, in milliseconds.
    pub max_delay_ms: i64,
    /// `S`: how far an event may be stamped after its record's own timestamp, in milliseconds.
    pub max_future_ms: i64,
}

impl Default for Definition {
    /// Epochs of 30 minutes, a join window of 4, and 10 minutes of delay and of future.
    fn default() -> Self {
        let minute_ms = 60_000;
        Definition {
            epoch_length_ms: 30 * minute_ms,
            join_window_epochs: 4,
            max_delay_ms: 10 * minute_ms,
            max_future_ms: 10 * minute_ms,
        }
    }
}

impl Definition {
    /// `floor(time / L)`: plain `/` would put -1 ms into epoch 0.
    #[inline]
    pub fn epoch(&self, time_ms: i64) -> Epoch {
        Epoch(time_ms.div_euclid(self.epoch_length_ms))
    }

    /// The first instant of an epoch, in milliseconds.
    pub fn start_ms(&self, epoch: Epoch) -> i64 {
        epoch.0.saturating_mul(self.epoch_length_ms)
    }

    /// `end(epoch)`: the first instant after an epoch, in milliseconds.
    pub fn end_ms(&self, epoch: Epoch) -> i64 {
        self.start_ms(epoch.plus(1))
    }

    /// The epochs whose impressions a play of epoch `played` can still belong to.
    pub fn shown_epochs(&self, played: Epoch) -> std::ops::RangeInclusive<i64> {
        played.0 - self.join_window_epochs..=played.0
    }

    /// The least watermark that closes an epoch: `end(e + H)`, in milliseconds.
    pub fn closes_at_ms(&self, epoch: Epoch) -> i64 {
        self.end_ms(epoch.plus(self.join_window_epochs))
    }

    /// The last epoch `e` that a watermark has closed: `watermark >= end(e + H)`.
    ///
    /// `end(e + H) = (e + H + 1) L`, so that is `floor(watermark / L) - H - 1`.
    pub fn closed_through(&self, watermark_ms: i64) -> Epoch {
        self.epoch(watermark_ms).plus(-self.join_window_epochs - 1)
    }

    /// The most epochs that can be open while no watermark is more than `alignment_ms` ahead of
    /// the slowest: from the first epoch that the slowest has not closed, through that of the
    /// latest event that the fastest can accept.
    pub fn open_epochs_max(&self, alignment_ms: i64) -> usize {
        let ahead_ms = alignment_ms.saturating_add(self.max_delay_ms);
        let ahead = ahead_ms.div_euclid(self.epoch_length_ms)
            + i64::from(ahead_ms.rem_euclid(self.epoch_length_ms) > 0);
        usize::try_from(self.join_window_epochs + 1 + ahead).unwrap_or(usize::MAX)
    }

    /// The start of an epoch in RFC 3339, with as many decimals as it needs:
    /// `2026-01-01T00:30:00Z`.
    pub fn start_rfc3339(&self, epoch: Epoch) -> String {
        rfc3339(self.start_ms(epoch))
    }
}

/// An instant in RFC 3339, UTC, with as many decimals of a second as it needs.
pub fn rfc3339(time_ms: i64) -> String {
    let clamped_ms = time_ms.clamp(EVENT_TIME_MIN_MS, EVENT_TIME_MAX_MS);
    match Timestamp::from_millisecond(clamped_ms) {
        Ok(timestamp) => timestamp.to_string(),
        Err(error) => unreachable!("the limits of event time are inside jiff's: {error}"),
    }
}

/// The instant that an RFC 3339 date tells, such as `2026-01-01T00:00:00Z`, in milliseconds.
///
/// # Errors
/// With the text and what was expected, if it is no such date.
pub fn parse_rfc3339_ms(text: &str) -> Result<i64, String> {
    match text.parse::<Timestamp>() {
        Ok(timestamp) => Ok(timestamp.as_millisecond()),
        Err(error) => Err(format!(
            "`{text}` is no date in RFC 3339 ({error}); write one like `2026-01-01T00:00:00Z`"
        )),
    }
}

/// The units of a duration and their lengths in milliseconds, the longest first.
const UNITS: [(&str, i64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The milliseconds of a duration such as `250ms`, `10s`, `30m`, `4h`, `2d` or `1h30m`: whole
/// numbers with their units, each unit shorter than the one before.
///
/// # Errors
/// With the text and what was expected, if it is no such duration or too long to be told.
pub fn parse_duration_ms(text: &str) -> Result<i64, String> {
    let refuse = |reason: &str| {
        format!("`{text}` is no duration: {reason}; write one like `250ms`, `10s` or `1h30m`")
    };
    let mut rest = text;
    let mut units_left = UNITS.as_slice();
    let mut total_ms: i64 = 0;
    while !rest.is_empty() || units_left.len() == UNITS.len() {
        let (number, after) = split_where(rest, |letter| !letter.is_ascii_digit());
        let (unit, after) = split_where(after, |letter| letter.is_ascii_digit());
        if number.is_empty() {
            return Err(refuse("a whole number is missing"));
        }
        let known = units_left.iter().position(|(name, _)| *name == unit);
        let Some(position) = known else {
            return Err(refuse(&unit_problem(unit)));
        };
        let part_ms =
            number.parse().ok().and_then(|count: i64| count.checked_mul(units_left[position].1));
        total_ms = part_ms
            .and_then(|part_ms| total_ms.checked_add(part_ms))
            .ok_or_else(|| refuse("it is too long"))?;
        units_left = &units_left[position + 1..];
        rest = after;
    }
    Ok(total_ms)
}

fn split_where(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

fn unit_problem(unit: &str) -> String {
    if unit.is_empty() {
        "a unit (ms, s, m, h or d) is missing".to_string()
    } else if UNITS.iter().any(|(name, _)| *name == unit) {
        format!("`{unit}` follows a unit that is not longer")
    } else {
        format!("`{unit}` is no unit (ms, s, m, h or d)")
    }
}

/// A duration the way [`parse_duration_ms`] reads it: `1h30m`, `250ms`, `0s`; `-` before it if
/// it is negative.
pub fn format_duration(duration_ms: i64) -> String {
    if duration_ms == 0 {
        return "0s".to_string();
    }
    let mut text = String::new();
    if duration_ms < 0 {
        text.push('-');
    }
    let mut rest_ms = duration_ms.unsigned_abs();
    for (name, length_ms) in UNITS {
        let count = rest_ms / length_ms.unsigned_abs();
        rest_ms %= length_ms.unsigned_abs();
        if count > 0 {
            text.push_str(&format!("{count}{name}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HALF_HOUR_MS: i64 = 1_800_000;

    #[test]
    fn the_instant_before_1970_lies_in_epoch_minus_one() {
        let definition = Definition::default();
        assert_eq!(definition.epoch(-1), Epoch(-1));
        assert_eq!(definition.epoch(0), Epoch(0));
        assert_eq!(definition.epoch(HALF_HOUR_MS - 1), Epoch(0));
        assert_eq!(definition.epoch(HALF_HOUR_MS), Epoch(1));
    }

    #[test]
    fn an_epoch_closes_when_the_watermark_reaches_the_end_of_its_join_window() {
        let definition = Definition::default();
        for epoch in [-7, 0, 12] {
            let closes_ms = definition.closes_at_ms(Epoch(epoch));
            assert_eq!(definition.closed_through(closes_ms), Epoch(epoch));
            assert_eq!(definition.closed_through(closes_ms - 1), Epoch(epoch - 1));
        }
    }

    #[test]
    fn limits_of_event_time_can_be_written_as_dates() {
        assert_eq!(rfc3339(EVENT_TIME_MIN_MS), "0001-01-01T00:00:00Z");
        assert_eq!(rfc3339(EVENT_TIME_MAX_MS), "9999-12-30T00:00:00Z");
        assert_eq!(Definition::default().start_rfc3339(Epoch(1)), "1970-01-01T00:30:00Z");
    }

    #[test]
    fn a_duration_is_a_sum_of_numbers_with_units() {
        for (text, expected_ms) in [
            ("0s", 0),
            ("250ms", 250),
            ("10s", 10_000),
            ("30m", 1_800_000),
            ("4h", 14_400_000),
            ("2d", 172_800_000),
            ("1h30m", 5_400_000),
            ("1d2h3m4s5ms", 93_784_005),
        ] {
            assert_eq!(parse_duration_ms(text), Ok(expected_ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "number is missing"),
            ("h", "number is missing"),
            ("-1s", "number is missing"),
            ("10", "unit (ms, s, m, h or d) is missing"),
            ("1h30", "unit (ms, s, m, h or d) is missing"),
            ("1.5h", "`.` is no unit"),
            ("3weeks", "`weeks` is no unit"),
            ("1m1h", "`h` follows a unit that is not longer"),
            ("1s1s", "`s` follows a unit that is not longer"),
            ("1 h", "` h` is no unit"),
            ("9223372036854775807d", "too long"),
            ("99999999999999999999s", "too long"),
        ] {
            let error = parse_duration_ms(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_duration_is_written_with_the_longest_units() {
        for (duration_ms, expected) in
            [(0, "0s"), (250, "250ms"), (5_400_000, "1h30m"), (-1_500, "-1s500ms")]
        {
            assert_eq!(format_duration(duration_ms), expected);
        }
    }

    #[test]
    fn a_date_is_read_to_the_millisecond() {
        assert_eq!(parse_rfc3339_ms("1970-01-01T00:00:01.5Z"), Ok(1_500));
        assert_eq!(parse_rfc3339_ms("1970-01-01T01:00:00+01:00"), Ok(0));
        assert!(parse_rfc3339_ms("yesterday").unwrap_err().contains("`yesterday`"));
    }

    proptest! {
        #[test]
        fn a_written_duration_is_read_back(duration_ms in 0..=i64::MAX) {
            prop_assert_eq!(parse_duration_ms(&format_duration(duration_ms)), Ok(duration_ms));
        }
    }
}
