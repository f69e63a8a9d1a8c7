//! The definition of epochs and of when they close, on which every result depends.

use super::{EVENT_TIME_MAX_MS, EVENT_TIME_MIN_MS, Epoch, EpochRange, Span, Through, rfc3339};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The parameters that determine which events count in which epochs. Results under different
/// definitions must not be mixed, so a store rejects any definition other than its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// `L`: the length of an epoch, in milliseconds; positive.
    pub epoch_length_ms: i64,
    /// `H`: the number of epochs after the epoch of an impression in which its play still counts.
    pub join_window_epochs: i64,
    /// `D`: how far a partition's watermark trails its largest event time, in milliseconds.
    pub max_delay_ms: i64,
    /// `S`: how far an event time may lie after the timestamp of its record, in milliseconds.
    pub max_future_ms: i64,
    /// How far a timestamp may leap ahead of the time that the records before it support, in
    /// milliseconds, without support from the records after it.
    pub max_leap_ms: i64,
    /// `K`: the number of consecutive records that together support a time; positive.
    pub leap_support: usize,
    /// The earliest event time that counts, in milliseconds. Events before it are late.
    pub from_ms: i64,
    /// The end of the event times that count, in milliseconds. Events from it on are future.
    pub until_ms: i64,
}

impl Default for Definition {
    /// Epochs of 30 minutes, a join window of 4, 10 minutes for both maximum delay and future, and
    /// a maximum leap of one epoch, supported by 256 records. All event times count.
    fn default() -> Self {
        let minute_ms = 60_000;
        Definition {
            epoch_length_ms: 30 * minute_ms,
            join_window_epochs: 4,
            max_delay_ms: 10 * minute_ms,
            max_future_ms: 10 * minute_ms,
            max_leap_ms: 30 * minute_ms,
            leap_support: 256,
            from_ms: EVENT_TIME_MIN_MS,
            until_ms: EVENT_TIME_MAX_MS + 1,
        }
    }
}

impl Definition {
    /// Returns the maximum leap of a definition that does not state it, in milliseconds: one epoch,
    /// or the maximum delay if that is longer, as timestamps may be so far out of order.
    pub fn default_max_leap_ms(epoch_length_ms: i64, max_delay_ms: i64) -> i64 {
        epoch_length_ms.max(max_delay_ms)
    }

    /// Returns the epoch of a time, `floor(time / L)`. Plain `/` would put -1 ms into epoch 0.
    #[inline]
    pub fn epoch(&self, time_ms: i64) -> Epoch {
        Epoch(time_ms.div_euclid(self.epoch_length_ms))
    }

    /// Returns the first instant of an epoch, in milliseconds.
    pub fn start_ms(&self, epoch: Epoch) -> i64 {
        epoch.0.saturating_mul(self.epoch_length_ms)
    }

    /// Returns `end(epoch)`, the first instant after an epoch, in milliseconds.
    pub fn end_ms(&self, epoch: Epoch) -> i64 {
        self.start_ms(epoch.plus(1))
    }

    /// Returns the epochs whose impressions a play in epoch `played` can match.
    #[inline]
    pub fn impression_epochs(&self, played: Epoch) -> EpochRange {
        EpochRange { first: played.plus(-self.join_window_epochs), last: played }
    }

    /// Returns the lowest watermark that closes an epoch, `end(e + H)`, in milliseconds.
    pub fn closes_at_ms(&self, epoch: Epoch) -> i64 {
        self.end_ms(epoch.plus(self.join_window_epochs))
    }

    /// Returns the last epoch `e` closed by a watermark: `watermark >= end(e + H)`.
    ///
    /// As `end(e + H) = (e + H + 1) L`, this is `floor(watermark / L) - H - 1`.
    pub fn closed_through(&self, watermark_ms: i64) -> Through {
        Through::Epoch(self.epoch(watermark_ms).plus(-self.join_window_epochs - 1))
    }

    /// Returns the maximum number of open epochs while no watermark is more than `alignment_ms`
    /// ahead of the slowest: from the first epoch not closed by the slowest watermark, through the
    /// epoch of the latest event that the fastest partition can accept.
    pub fn open_epochs_max(&self, alignment_ms: i64) -> usize {
        let ahead_ms = alignment_ms.saturating_add(self.max_delay_ms);
        let ahead = ahead_ms.div_euclid(self.epoch_length_ms)
            + i64::from(ahead_ms.rem_euclid(self.epoch_length_ms) > 0);
        usize::try_from(self.join_window_epochs + 1 + ahead).unwrap_or(usize::MAX)
    }

    /// Returns the start of an epoch in RFC 3339, with as many decimals as needed:
    /// `2026-01-01T00:30:00Z`.
    pub fn start_rfc3339(&self, epoch: Epoch) -> String {
        rfc3339(self.start_ms(epoch))
    }
}

impl fmt::Display for Definition {
    /// Writes the definition as on the command line. Equal texts mean equal definitions.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spans = [self.epoch_length_ms, self.max_delay_ms, self.max_future_ms, self.max_leap_ms];
        let [length, delay, future, leap] = spans.map(|ms| Span { ms });
        write!(
            formatter,
            "epoch-length {length}, join-window {}, max-delay {delay}, max-future {future}, \
             max-leap {leap}, leap-support {}",
            self.join_window_epochs, self.leap_support
        )?;
        let all = Definition::default();
        if self.from_ms != all.from_ms {
            write!(formatter, ", from {}", rfc3339(self.from_ms))?;
        }
        if self.until_ms != all.until_ms {
            write!(formatter, ", until {}", rfc3339(self.until_ms))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(definition.closed_through(closes_ms), Through::Epoch(Epoch(epoch)));
            assert_eq!(definition.closed_through(closes_ms - 1), Through::Epoch(Epoch(epoch - 1)));
        }
    }

    #[test]
    fn a_definition_is_printed_in_the_units_it_was_given_in() {
        let definition =
            Definition { max_delay_ms: 0, max_future_ms: 90_000, ..Definition::default() };
        assert_eq!(
            definition.to_string(),
            "epoch-length 30m, join-window 4, max-delay 0s, max-future 1m30s, max-leap 30m, \
             leap-support 256"
        );
    }
}
