//! The limits of values of flags.

use super::ArgumentError;
use crate::time::Span;
use std::fmt;
use std::time::Duration;

/// A week, in milliseconds.
pub(super) const WEEK_MS: i64 = 7 * 86_400_000;
/// The shortest limit of the watchdog, in milliseconds.
const WATCHDOG_LEAST_MS: i64 = 1_000;

/// Returns a duration within these bounds, in milliseconds.
pub(super) fn checked_span(
    flag: &'static str,
    span: Option<Span>,
    least_ms: i64,
    most_ms: i64,
) -> Result<Option<Span>, ArgumentError> {
    match span {
        Some(span) if !(least_ms..=most_ms).contains(&span.ms) => {
            let (least, most) = (Span { ms: least_ms }, Span { ms: most_ms });
            Err(invalid_value(flag, span, &format!("must be {least} to {most}")))
        }
        _ => Ok(span),
    }
}

/// Returns a time of the clock, a week at most.
pub(super) fn clock(
    flag: &'static str,
    span: Option<Span>,
    default: Duration,
) -> Result<Duration, ArgumentError> {
    checked_span(flag, span, 0, WEEK_MS).map(|span| span.map_or(default, Span::duration))
}

/// Returns the limit of the watchdog: zero, or at least a second.
pub(super) fn watchdog(span: Option<Span>, default: Duration) -> Result<Duration, ArgumentError> {
    match span.filter(|span| (1..WATCHDOG_LEAST_MS).contains(&span.ms)) {
        Some(span) => Err(invalid_value("watchdog", span, "must be 0s, or at least 1s")),
        None => clock("watchdog", span, default),
    }
}

/// Returns the error that a value is beyond a limit.
pub(super) fn invalid_value(
    flag: &'static str,
    given: impl fmt::Display,
    limit: &str,
) -> ArgumentError {
    ArgumentError::Limit { flag, given: given.to_string(), limit: limit.to_string() }
}
