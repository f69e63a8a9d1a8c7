//! Decides on the events of a partition, and sends the accepted ones to their epochs.

use super::Counters;
use super::epochs::Epochs;
use super::metrics::unit_hint;
use super::partition::{Partition, ReplayPoint};
use crate::acceptance::{Fate, Ledger, Reading, admit, counted_epoch};
use crate::event::{Event, Kind, Touch};
use crate::time::{Definition, Epoch, EpochRange, Through, rfc3339};
use std::collections::BTreeSet;
use std::time::Instant;

/// Decides on the events of a partition, and sends the accepted ones to their epochs.
pub(super) struct Admission<'a> {
    pub definition: &'a Definition,
    pub watermark_limit_ms: Option<i64>,
    pub closed_through: Through,
    pub replaying: bool,
    pub epochs: &'a mut Epochs,
    pub wanted: &'a mut BTreeSet<Epoch>,
    pub ledger: &'a mut Ledger,
    pub counters: &'a Counters,
    pub asked: &'a mut u64,
    pub clock_limit_ms: i64,
    pub now: Instant,
}

/// Consecutive events with the same epoch and fate, as most have; they are counted together.
struct SameFateEvents {
    /// The epoch under which they are counted.
    epoch: Option<Epoch>,
    fate: Fate,
    events: u64,
}

impl SameFateEvents {
    #[inline]
    fn has_fate(&self, epoch: Option<Epoch>, fate: Fate) -> bool {
        self.epoch == epoch && std::mem::discriminant(&self.fate) == std::mem::discriminant(&fate)
    }
}

impl Admission<'_> {
    /// Processes the next events of a partition, at most `events_max`, until one must wait. Returns
    /// their number.
    pub fn process_events(&mut self, partition: &mut Partition, events_max: usize) -> usize {
        let start = partition.next;
        let replayed = partition.is_replaying();
        let end = match replayed {
            true => partition.first_event_from(partition.live_from_offset),
            false => partition.batch.events.len(),
        };
        let kind = partition.name.kind;
        let mut same: Option<SameFateEvents> = None;
        while partition.next < end && partition.next - start < events_max {
            let event = partition.batch.events[partition.next];
            let Some((reading, before_ms)) = self.read_next(partition) else { break };
            let fate = admit(self.definition, kind, &reading, self.closed_through);
            if let Fate::Accepted(epochs) = fate {
                if !self.send(partition, &event, &reading, epochs, before_ms) {
                    partition.pending_reading = Some((reading, before_ms));
                    partition.held_back = true;
                    break;
                }
                partition.note_accepted(before_ms, self.now);
            }
            partition.next += 1;
            if replayed {
                continue;
            }
            self.report(partition, &event, fate, before_ms);
            let epoch = counted_epoch(&reading, fate);
            match &mut same {
                Some(same) if same.has_fate(epoch, fate) => same.events += 1,
                _ => {
                    self.count(kind, same.take());
                    same = Some(SameFateEvents { epoch, fate, events: 1 });
                }
            }
        }
        self.count(kind, same);
        partition.next - start
    }

    /// Returns the reading of the next event and the watermark before it, unless it must wait.
    #[inline]
    fn read_next(&mut self, partition: &mut Partition) -> Option<(Reading, Option<i64>)> {
        let before_ms = partition.judge.watermark_ms();
        match partition.pending_reading.take() {
            Some(waited) => Some(waited),
            None => {
                let reading = partition.read_next(self.clock_limit_ms, self.asked)?;
                Some((reading, before_ms))
            }
        }
    }

    /// Keeps the first rejected events for people, and tells them of leaps of the watermark.
    #[inline]
    fn report(&self, partition: &Partition, event: &Event, fate: Fate, before_ms: Option<i64>) {
        let after_ms = partition.judge.watermark_ms();
        match (before_ms, after_ms) {
            (Some(before_ms), Some(after_ms))
                if after_ms.saturating_sub(before_ms) > self.definition.max_leap_ms =>
            {
                self.report_leap(partition, event, before_ms, after_ms);
            }
            (None, Some(_)) => self.counters.note_unit(&partition.name, event),
            _ if matches!(fate, Fate::Accepted(_)) => {}
            _ => self.report_rejected(partition, event, fate),
        }
    }

    #[cold]
    fn report_rejected(&self, partition: &Partition, event: &Event, fate: Fate) {
        self.counters.note_rejected(fate, || {
            let what = if fate == Fate::Late { "late" } else { "future" };
            let (name, offset) = (&partition.name, event.offset);
            let (time, stamp) = (rfc3339(event.event_time_ms), rfc3339(event.stamp_ms()));
            let watermark = partition.judge.watermark_ms().map_or("none".into(), rfc3339);
            format!(
                "the first {what} event is in {name} at offset {offset}: its event time is {time}, \
                 the time of its record {stamp}, and the watermark was {watermark}{}",
                unit_hint(event)
            )
        });
    }

    #[cold]
    fn report_leap(&self, partition: &Partition, event: &Event, before_ms: i64, after_ms: i64) {
        if self.counters.note_leap() {
            tracing::warn!(
                "the watermark of {} leaps from {} to {} at offset {}: earlier events of the \
                 partition are late from now on, as --max-delay says",
                partition.name,
                rfc3339(before_ms),
                rfc3339(after_ms),
                event.offset
            );
        }
    }

    fn count(&mut self, kind: Kind, same: Option<SameFateEvents>) {
        if let Some(SameFateEvents { epoch, fate, events }) = same {
            self.ledger.record(epoch, kind, fate, events);
        }
    }

    /// Sends an accepted event to the epochs that it contributes to. Returns `false` if it must
    /// wait.
    fn send(
        &mut self,
        partition: &mut Partition,
        event: &Event,
        reading: &Reading,
        epochs: EpochRange,
        before_ms: Option<i64>,
    ) -> bool {
        // Alignment is not needed in the replay, which opens only epochs that were open before.
        let is_ahead = partition.judge.watermark_ms() > self.watermark_limit_ms;
        if is_ahead && !self.replaying {
            return false;
        }
        // The epochs of the previous event stay ready until they close.
        let is_new_epoch = partition.last_epoch != Some(reading.epoch);
        if is_new_epoch && !self.all_ready(epochs) {
            return false;
        }
        for epoch in epochs.iter() {
            let touch = match partition.name.kind {
                Kind::Impression => Touch::SHOWN,
                Kind::Play if epoch == reading.epoch => Touch::PLAYED_IN_EPOCH,
                Kind::Play => Touch::PLAYED,
            };
            let open = self.epochs.ready(epoch).expect("all epochs of the event are ready");
            open.send(event.request, event.video, touch);
        }
        if is_new_epoch {
            partition.last_epoch = Some(reading.epoch);
            let block = partition.judge.block();
            let point = ReplayPoint { offset: event.offset, watermark_ms: before_ms, block };
            for epoch in epochs.iter() {
                partition.replay_points.entry(epoch).or_insert(point);
            }
        }
        true
    }

    /// Whether touches can be sent to all these epochs. Marks those that are not open as wanted.
    fn all_ready(&mut self, epochs: EpochRange) -> bool {
        let mut all_ready = true;
        for epoch in epochs.iter() {
            if self.epochs.ready(epoch).is_none() {
                all_ready = false;
                if !self.epochs.is_open(epoch) {
                    self.wanted.insert(epoch);
                }
            }
        }
        all_ready
    }
}
