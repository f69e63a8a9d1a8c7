//! Judges the events of a partition in the order of its log: their stamps, and the watermark.

use super::{Ahead, Missing, Plain, Reading, Trust, Watermark};
use crate::event::Event;
use crate::log::{BlockStart, Decision};
use crate::time::Definition;

/// The judge of one partition's events.
#[derive(Clone, Debug)]
pub struct Judge {
    watermark: Watermark,
    trust: Trust,
    block: BlockStart,
}

impl Judge {
    /// Returns the judge of a partition that is read from the start of a block, with the decisions
    /// on its events that were made before.
    pub fn resume(definition: &Definition, block: BlockStart, decisions: Vec<Decision>) -> Judge {
        Judge {
            watermark: Watermark::new(*definition, block.watermark_ms),
            trust: Trust::new(definition, block.supported_ms, decisions),
            block,
        }
    }

    /// Judges the first of these events.
    ///
    /// # Errors
    /// If more must be known first. Then nothing has changed.
    #[inline]
    pub fn read(&mut self, ahead: &Ahead<'_>) -> Result<Reading, Missing> {
        let is_plausible = self.trust.is_plausible(ahead)?;
        self.pass(&ahead.events[..1]);
        Ok(self.watermark.read(&ahead.events[0], is_plausible))
    }

    fn pass(&mut self, events: &[Event]) {
        if self.trust.begins_block_at(events[0].offset) {
            self.block = self.next_block(events[0].offset);
        }
        self.trust.pass(events);
    }

    /// Returns the bounds within which the next events, from `offset` on, are plain. There are none
    /// before the first watermark.
    pub fn plain(&self, offset: u64) -> Option<Plain> {
        let (events_max, offsets_before) = self.trust.room_in_block(offset);
        Some(Plain {
            times_ms: self.watermark.times_without_effect_ms()?,
            stamps_through_ms: self.trust.plausible_through_ms(),
            max_future_ms: self.watermark.max_future_ms(),
            offsets_before,
            events_max,
        })
    }

    /// Does what [`Judge::read`] does for each of these events, which must be plain, and at least
    /// one. `latest_ms` is the latest of their event times, in milliseconds.
    pub fn pass_plain(&mut self, events: &[Event], latest_ms: i64) {
        self.pass(events);
        self.watermark.note(latest_ms);
    }

    /// The watermark, in milliseconds.
    pub fn watermark_ms(&self) -> Option<i64> {
        self.watermark.at_ms()
    }

    /// The start of the block of the event that was judged last.
    pub fn block(&self) -> BlockStart {
        self.block
    }

    /// The start of the block of the next event, which is not before `next_offset`.
    pub fn next_block(&self, next_offset: u64) -> BlockStart {
        if !self.trust.begins_block_at(next_offset) {
            return self.block;
        }
        BlockStart {
            offset: next_offset,
            watermark_ms: self.watermark.at_ms(),
            supported_ms: self.trust.supported_ms(),
        }
    }

    /// The decisions so far.
    pub fn decisions(&self) -> &[Decision] {
        self.trust.decisions()
    }

    /// Forgets the decisions on events before an offset.
    pub fn forget_before(&mut self, offset: u64) {
        self.trust.forget_before(offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acceptance::{ClockLimit, LogEnd};
    use crate::event::{RequestId, VideoId};
    use proptest::prelude::*;

    /// A definition under which a few events make blocks, leaps and epochs.
    const DEFINITION: Definition = Definition {
        epoch_length_ms: 20,
        join_window_epochs: 1,
        max_delay_ms: 10,
        max_future_ms: 5,
        max_leap_ms: 15,
        leap_support: 4,
        from_ms: 3,
        until_ms: 190,
    };

    /// A log whose time rises, with gaps of offsets, events out of order and of other clocks.
    fn log() -> impl Strategy<Value = Vec<Event>> {
        let event = (0..4i64, 0..12i64, prop_oneof![9 => 1..3u64, 1 => 1..80u64], 0..30u8);
        proptest::collection::vec(event, 0..200).prop_map(|steps| {
            let (mut time_ms, mut offset) = (0, 0);
            let event = |(step_ms, delay_ms, gap, fate): (i64, i64, u64, u8)| {
                (time_ms, offset) = (time_ms + step_ms / 2, offset + gap);
                let record_time_ms = (fate % 2 == 0).then_some(time_ms);
                let event_time_ms = match fate {
                    29 => time_ms + 40,
                    28 => time_ms + 8,
                    _ => time_ms - delay_ms,
                };
                let (request, video) = (RequestId::default(), VideoId(0));
                Event { offset, request, video, event_time_ms, record_time_ms }
            };
            steps.into_iter().map(event).collect()
        })
    }

    /// What a judge knows.
    fn state(judge: &Judge, next_offset: u64) -> impl PartialEq + std::fmt::Debug + use<> {
        let (block, watermark_ms) = (judge.next_block(next_offset), judge.watermark_ms());
        (block, judge.block(), watermark_ms, judge.decisions().to_vec())
    }

    proptest! {
        #[test]
        fn plain_events_may_be_judged_together(events in log()) {
            let start = BlockStart::default();
            let new = || Judge::resume(&DEFINITION, start, Vec::new());
            let (mut together, mut one_by_one) = (new(), new());
            let clock = ClockLimit { limit_ms: i64::MIN, is_final: true };
            let next_offset = events.last().map_or(0, |event| event.offset + 1);
            let mut rest = &events[..];
            while let Some(first) = rest.first() {
                let plain = together.plain(first.offset);
                let count = plain.as_ref().map_or(0, |plain| {
                    let all = rest.iter().take(plain.events_max);
                    all.take_while(|event| plain.contains(event)).count()
                });
                let ahead = |at: usize| {
                    Ahead { events: &rest[at..], next_offset, end: LogEnd::Exhausted, clock }
                };
                for at in 0..count.max(1) {
                    let reading = one_by_one.read(&ahead(at)).unwrap();
                    if count == 0 {
                        prop_assert_eq!(together.read(&ahead(at)).unwrap(), reading);
                    } else {
                        prop_assert!(!reading.is_future && !reading.is_early);
                        let closed_through = together.watermark.closed_through();
                        prop_assert_eq!(reading.closed_through, closed_through);
                    }
                }
                if let Some(latest_ms) = rest[..count].iter().map(|it| it.event_time_ms).max() {
                    together.pass_plain(&rest[..count], latest_ms);
                }
                rest = &rest[count.max(1)..];
                let offset = rest.first().map_or(next_offset, |event| event.offset);
                prop_assert_eq!(state(&together, offset), state(&one_by_one, offset));
            }
        }
    }
}
