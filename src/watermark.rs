//! A partition's watermark, and which of its events are accepted.
//!
//! The rules depend on nothing but the log of the partition itself, so that any replay, on any
//! number of workers, decides the same:
//!
//! - The watermark is the largest event time read so far, minus the maximum delay `D`.
//! - An event stamped more than `S` after its record's own timestamp is *future*: it is rejected
//!   and does not move the watermark.
//! - Epoch `e` closes when the watermark reaches `end(e + H)`. An event of a closed epoch is
//!   *late*. A play contributes to those epochs of `q - H ..= q` that have not closed; as epochs
//!   close in order, it is late exactly when its own epoch `q` has closed.
//!
//! An event cannot close its own epoch (`D` and `H` are not negative), so it does not matter
//! whether the watermark moves before or after it is judged.

use crate::event::{Event, Kind};
use crate::ledger::Verdict;
use crate::time::{Definition, Epoch};
use std::ops::RangeInclusive;

/// The watermark of one partition.
#[derive(Clone, Copy, Debug)]
pub struct Watermark {
    definition: Definition,
    kind: Kind,
    watermark_ms: Option<i64>,
    closed_through: Epoch,
    /// The watermark that closes the next epoch, in milliseconds.
    closes_next_ms: i64,
    /// The epoch of the last event and its limits, as most events lie in the same as the last.
    latest: (Epoch, i64, i64),
}

/// What becomes of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The epoch of its own time.
    pub epoch: Epoch,
    /// Whether it is accepted.
    pub verdict: Verdict,
}

impl Watermark {
    /// The watermark of a partition, from where it stood when reading was left off.
    pub fn new(definition: Definition, kind: Kind, watermark_ms: Option<i64>) -> Watermark {
        let mut watermark = Watermark {
            definition,
            kind,
            watermark_ms: None,
            closed_through: Epoch(i64::MIN),
            closes_next_ms: i64::MIN,
            latest: (Epoch(i64::MIN), 0, 0),
        };
        if let Some(watermark_ms) = watermark_ms {
            watermark.advance(watermark_ms);
        }
        watermark
    }

    /// The watermark in milliseconds; none before the first honest event.
    pub fn at_ms(&self) -> Option<i64> {
        self.watermark_ms
    }

    /// The last epoch that has closed for this partition.
    pub fn closed_through(&self) -> Epoch {
        self.closed_through
    }

    /// Reads the next event of the partition: moves the watermark and judges the event.
    #[inline]
    pub fn read(&mut self, event: &Event) -> Judgement {
        let epoch = self.epoch(event.event_time_ms);
        if self.is_future(event) {
            return Judgement { epoch, verdict: Verdict::Future };
        }
        self.advance(event.event_time_ms - self.definition.max_delay_ms);
        let late = epoch <= self.closed_through;
        let verdict = if late { Verdict::Late } else { Verdict::Accepted };
        Judgement { epoch, verdict }
    }

    /// The epochs that an accepted event of `epoch` contributes to.
    #[inline]
    pub fn contributes_to(&self, epoch: Epoch) -> RangeInclusive<i64> {
        match self.kind {
            Kind::Impression => epoch.0..=epoch.0,
            Kind::Play => {
                let shown = self.definition.shown_epochs(epoch);
                (*shown.start()).max(self.closed_through.0.saturating_add(1))..=epoch.0
            }
        }
    }

    #[inline]
    fn is_future(&self, event: &Event) -> bool {
        event.record_time_ms.is_some_and(|record_time_ms| {
            event.event_time_ms > record_time_ms.saturating_add(self.definition.max_future_ms)
        })
    }

    #[inline]
    fn advance(&mut self, watermark_ms: i64) {
        if self.watermark_ms.is_none_or(|before_ms| watermark_ms > before_ms) {
            self.watermark_ms = Some(watermark_ms);
            if watermark_ms >= self.closes_next_ms {
                self.closed_through = self.definition.closed_through(watermark_ms);
                self.closes_next_ms = self.definition.closes_at_ms(self.closed_through.plus(1));
            }
        }
    }

    #[inline]
    fn epoch(&mut self, time_ms: i64) -> Epoch {
        let (epoch, start_ms, end_ms) = self.latest;
        if (start_ms..end_ms).contains(&time_ms) {
            return epoch;
        }
        let epoch = self.definition.epoch(time_ms);
        self.latest = (epoch, self.definition.start_ms(epoch), self.definition.end_ms(epoch));
        epoch
    }
}
