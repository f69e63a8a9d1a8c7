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
        let ahead = ahead_ms.div_euclid(self.epoch_length_ms) + 1;
        usize::try_from(self.join_window_epochs + 1 + ahead).unwrap_or(usize::MAX)
    }

    /// The start of an epoch in RFC 3339, with as many decimals as it needs: `2026-01-01T00:30:00Z`.
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
            let closes_ms = definition.end_ms(Epoch(epoch + definition.join_window_epochs));
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
}
