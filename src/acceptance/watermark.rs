//! The watermark of a partition, and the events and epochs that it affects.
//!
//! The rules depend only on the log of the partition itself, so that every replay, on any number of
//! workers, makes the same decisions:
//!
//! - The watermark is the largest event time read so far, minus the maximum delay `D`.
//! - An event is *future* if its stamp is not plausible ([`super::trust`]), or if its event time is
//!   more than `S` after its stamp. It is rejected and does not move the watermark. Nor does an
//!   event whose time is outside of the bounds that the definition gives: it is late before them,
//!   and future after them.
//! - Epoch `e` closes when the watermark reaches `end(e + H)`.
//!
//! An event cannot close its own epoch (`D` and `H` are not negative), so it does not matter
//! whether the watermark moves before or after the decision on the event.

use super::Reading;
use crate::event::Event;
use crate::time::{Definition, Epoch, Through};
use std::ops::Range;

/// The watermark of one partition.
#[derive(Clone, Copy, Debug)]
pub struct Watermark {
    definition: Definition,
    watermark_ms: Option<i64>,
    closed_through: Through,
    /// The watermark that closes the next epoch, in milliseconds; `None` before the first event.
    closes_next_ms: Option<i64>,
    /// The epoch of the last event, with its start and end in milliseconds. A cache: most events
    /// lie in the same epoch as the one before.
    latest: Option<(Epoch, i64, i64)>,
}

impl Watermark {
    /// Returns the watermark of a partition, resumed at `watermark_ms`, in milliseconds.
    pub fn new(definition: Definition, watermark_ms: Option<i64>) -> Watermark {
        let mut watermark = Watermark {
            definition,
            watermark_ms: None,
            closed_through: Through::Nothing,
            closes_next_ms: None,
            latest: None,
        };
        if let Some(watermark_ms) = watermark_ms {
            watermark.advance(watermark_ms);
        }
        watermark
    }

    /// Returns the watermark in milliseconds; `None` before the first event that is not future.
    pub fn at_ms(&self) -> Option<i64> {
        self.watermark_ms
    }

    /// Returns the epochs that have closed for this partition.
    pub fn closed_through(&self) -> Through {
        self.closed_through
    }

    /// Processes the next event of the partition, which may move the watermark.
    #[inline]
    pub fn read(&mut self, event: &Event, is_plausible: bool) -> Reading {
        let epoch = self.epoch(event.event_time_ms);
        let latest_ms = event.stamp_ms().saturating_add(self.definition.max_future_ms);
        let latest_ms = latest_ms.min(self.definition.until_ms - 1);
        let is_future = !is_plausible || event.event_time_ms > latest_ms;
        let is_early = event.event_time_ms < self.definition.from_ms;
        if !is_future && !is_early {
            self.note(event.event_time_ms);
        }
        Reading { epoch, is_future, is_early, closed_through: self.closed_through }
    }

    /// Takes the time of an event into account that is neither future nor early, in milliseconds.
    #[inline]
    pub fn note(&mut self, time_ms: i64) {
        self.advance(time_ms - self.definition.max_delay_ms);
    }

    /// Returns the event times, in milliseconds, that count and close no epoch; `None` before the
    /// first event.
    pub fn times_without_effect_ms(&self) -> Option<Range<i64>> {
        let closes_ms = self.closes_next_ms?.saturating_add(self.definition.max_delay_ms);
        Some(self.definition.from_ms..closes_ms.min(self.definition.until_ms))
    }

    /// Returns how far an event time may be after its stamp, in milliseconds.
    pub fn max_future_ms(&self) -> i64 {
        self.definition.max_future_ms
    }

    #[inline]
    fn advance(&mut self, watermark_ms: i64) {
        if Some(watermark_ms) > self.watermark_ms {
            self.watermark_ms = Some(watermark_ms);
            if self.closes_next_ms.is_none_or(|closes_ms| watermark_ms >= closes_ms) {
                self.close(watermark_ms);
            }
        }
    }

    fn close(&mut self, watermark_ms: i64) {
        self.closed_through = self.definition.closed_through(watermark_ms);
        let next = self.closed_through.last().map(|last| last.plus(1));
        self.closes_next_ms = next.map(|next| self.definition.closes_at_ms(next));
    }

    #[inline]
    fn epoch(&mut self, time_ms: i64) -> Epoch {
        match self.latest {
            Some((epoch, start_ms, end_ms)) if (start_ms..end_ms).contains(&time_ms) => epoch,
            _ => self.look_up_epoch(time_ms),
        }
    }

    fn look_up_epoch(&mut self, time_ms: i64) -> Epoch {
        let epoch = self.definition.epoch(time_ms);
        self.latest = Some((epoch, self.definition.start_ms(epoch), self.definition.end_ms(epoch)));
        epoch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acceptance::{Fate, admit};
    use crate::event::{Kind, RequestId, VideoId};
    use crate::time::parse_rfc3339_ms;

    /// The log of a partition, one event a line: `event time [record time | implausible] →
    /// watermark, closed through; fate of an impression`. Epochs of 30 minutes are numbered within
    /// the day; the join window is 1, and the maximum delay and future are 10 minutes.
    const LOG: &str = "
        00:05             → 23:55 d-1, -3; 0..0
        00:40             → 00:30, -1; 1..1
        00:10             → 00:30, -1; 0..0
        01:09             → 00:59, -1; 2..2
        00:29             → 00:59, -1; 0..0
        01:10             → 01:00, 0; 2..2
        00:29             → 01:00, 0; late
        00:30             → 01:00, 0; 1..1
        09:00 08:49       → 01:00, 0; future
        09:00 08:50       → 08:50, 15; 18..18
        01:10             → 08:50, 15; late
        09:30 implausible → 08:50, 15; future
        09:00 implausible → 08:50, 15; future
        08:00 23:00       → 08:50, 15; 16..16
    ";

    const DAY: &str = "2026-01-02";

    fn ms(time: &str) -> i64 {
        parse_rfc3339_ms(&format!("{DAY}T{time}:00Z")).unwrap()
    }

    fn time(at_ms: i64) -> String {
        let (date, time) = (
            crate::time::rfc3339(at_ms)[..10].to_owned(),
            crate::time::rfc3339(at_ms)[11..16].to_owned(),
        );
        if date == DAY { time } else { format!("{time} d-1") }
    }

    #[test]
    fn the_watermark_moves_and_closes_epochs_as_the_log_tells() {
        let definition = Definition { join_window_epochs: 1, ..Definition::default() };
        let mut watermark = Watermark::new(definition, None);
        let midnight = definition.epoch(ms("00:00"));
        for line in LOG.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (times, expected) = line.split_once('→').unwrap();
            let is_plausible = !times.contains("implausible");
            let times = times.split_whitespace().filter(|word| *word != "implausible");
            let times: Vec<i64> = times.map(ms).collect();
            let event = Event {
                offset: 0,
                request: RequestId::from_u128(1),
                video: VideoId(1),
                event_time_ms: times[0],
                record_time_ms: times.get(1).copied(),
            };
            let reading = watermark.read(&event, is_plausible);
            let number = |epoch: Epoch| epoch.0 - midnight.0;
            let fate = match admit(&definition, Kind::Impression, &reading, Through::Nothing) {
                Fate::Accepted(epochs) => {
                    format!("{}..{}", number(epochs.first), number(epochs.last))
                }
                Fate::Late => "late".into(),
                Fate::Future => "future".into(),
            };
            let closed = watermark.closed_through().last().map(number).unwrap();
            let found = format!("{}, {closed}; {fate}", time(watermark.at_ms().unwrap()));
            assert_eq!(found, expected.trim(), "{line}");
        }
    }

    #[test]
    fn a_watermark_continues_from_its_stored_value() {
        let definition = Definition::default();
        assert_eq!(Watermark::new(definition, None).closed_through(), Through::Nothing);
        let resumed = Watermark::new(definition, Some(ms("12:00")));
        assert_eq!(resumed.at_ms(), Some(ms("12:00")));
        assert_eq!(resumed.closed_through(), definition.closed_through(ms("12:00")));
    }
}
