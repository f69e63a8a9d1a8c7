//! The text forms of dates and durations.

use super::date::{self, NotATime};
use super::{EVENT_TIME_MAX_MS, EVENT_TIME_MIN_MS};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A duration of event time or wall-clock time, written like `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The length in milliseconds.
    pub ms: i64,
}

impl Span {
    /// Returns the span of a duration, truncated to milliseconds.
    pub fn of(duration: Duration) -> Span {
        Span { ms: i64::try_from(duration.as_millis()).unwrap_or(i64::MAX) }
    }

    /// Returns the absolute value as a standard duration.
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.ms.unsigned_abs())
    }
}

/// An instant of event time, written in RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Milliseconds since 1970.
    pub ms: i64,
}

impl FromStr for Moment {
    type Err = String;

    /// See [`parse_rfc3339_ms`].
    fn from_str(text: &str) -> Result<Moment, String> {
        parse_rfc3339_ms(text).map(|ms| Moment { ms })
    }
}

impl fmt::Display for Moment {
    /// See [`rfc3339`].
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&rfc3339(self.ms))
    }
}

/// Writes and reads these types as text.
macro_rules! serialized_as_text {
    ($($name:ty)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

serialized_as_text!(Moment Span);

impl FromStr for Span {
    type Err = String;

    /// See [`parse_duration_ms`].
    fn from_str(text: &str) -> Result<Span, String> {
        parse_duration_ms(text).map(|ms| Span { ms })
    }
}

impl fmt::Display for Span {
    /// Writes the form read by [`parse_duration_ms`]: `1h30m`, `250ms`, `0s`; with a leading `-` if
    /// negative.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ms == 0 {
            return formatter.write_str("0s");
        }
        if self.ms < 0 {
            formatter.write_str("-")?;
        }
        let mut rest_ms = self.ms.unsigned_abs();
        for (name, length_ms) in UNITS {
            let count = rest_ms / length_ms.unsigned_abs();
            rest_ms %= length_ms.unsigned_abs();
            if count > 0 {
                write!(formatter, "{count}{name}")?;
            }
        }
        Ok(())
    }
}

/// Formats an instant in RFC 3339, UTC, with as many decimals of a second as needed.
pub fn rfc3339(time_ms: i64) -> String {
    let clamped_ms = time_ms.clamp(EVENT_TIME_MIN_MS, EVENT_TIME_MAX_MS);
    match Timestamp::from_millisecond(clamped_ms) {
        Ok(timestamp) => timestamp.to_string(),
        Err(error) => unreachable!("the limits of event time are inside jiff's: {error}"),
    }
}

/// Parses an RFC 3339 date such as `2026-01-01T00:00:00Z`. Returns milliseconds.
///
/// # Errors
/// If the text is not such a date. The message quotes the text and shows the expected form.
pub fn parse_rfc3339_ms(text: &str) -> Result<i64, String> {
    let reason = match date::parse(text) {
        Ok(time_ms) => return Ok(time_ms),
        Err(NotATime::NoZone) => "it has no zone",
        Err(NotATime::Malformed) => "it has another form, or there is no such day",
    };
    Err(format!(
        "`{text}` is not an RFC 3339 date ({reason}); write one like `2026-01-01T00:00:00Z`"
    ))
}

/// The units of a duration and their lengths in milliseconds, longest first.
const UNITS: [(&str, i64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Parses a duration such as `250ms`, `10s`, `30m`, `4h`, `2d` or `1h30m`: whole numbers with
/// units, each unit shorter than the one before. Returns milliseconds.
///
/// # Errors
/// If the text is not such a duration, or is too long. The message quotes the text and shows the
/// expected form.
pub fn parse_duration_ms(text: &str) -> Result<i64, String> {
    let refuse = |reason: &str| {
        format!("`{text}` is not a duration: {reason}; write one like `250ms`, `10s` or `1h30m`")
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
        format!("`{unit}` is not shorter than the unit before it")
    } else {
        format!("`{unit}` is not a unit (ms, s, m, h or d)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn limits_of_event_time_can_be_written_as_dates() {
        assert_eq!(rfc3339(EVENT_TIME_MIN_MS), "0001-01-01T00:00:00Z");
        assert_eq!(rfc3339(EVENT_TIME_MAX_MS), "9999-12-30T00:00:00Z");
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
    fn an_invalid_duration_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "number is missing"),
            ("h", "number is missing"),
            ("-1s", "number is missing"),
            ("10", "unit (ms, s, m, h or d) is missing"),
            ("1h30", "unit (ms, s, m, h or d) is missing"),
            ("1.5h", "`.` is not a unit"),
            ("3weeks", "`weeks` is not a unit"),
            ("1m1h", "`h` is not shorter than the unit before it"),
            ("1s1s", "`s` is not shorter than the unit before it"),
            ("1 h", "` h` is not a unit"),
            ("9223372036854775807d", "too long"),
            ("99999999999999999999s", "too long"),
        ] {
            let error = parse_duration_ms(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_duration_is_printed_in_the_largest_units() {
        for (duration_ms, expected) in
            [(0, "0s"), (250, "250ms"), (5_400_000, "1h30m"), (-1_500, "-1s500ms")]
        {
            assert_eq!(Span { ms: duration_ms }.to_string(), expected);
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
            let written = Span { ms: duration_ms }.to_string();
            prop_assert_eq!(parse_duration_ms(&written), Ok(duration_ms));
        }
    }
}
