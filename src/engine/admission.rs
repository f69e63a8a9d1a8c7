//! Decides on the events of a partition, and sends the accepted ones to their epochs.

use super::Counters;
use super::epochs::Epochs;
use super::metrics::unit_hint;
use super::partition::{Partition, ReplayPoint};
use super::routes::{Route, Routes};
use crate::acceptance::{Fate, Ledger, Reading, admit, counted_epoch};
use crate::completeness::{Arrivals, Counter};
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
    pub arrivals: &'a mut Arrivals,
    pub counters: &'a Counters,
    pub asked: &'a mut u64,
    pub clock_limit_ms: i64,
    pub now: Instant,
}

impl Admission<'_> {
    /// Processes the next events of a partition, at most `events_max`, until one must wait. Returns
    /// their number.
    ///
    /// Nearly all events are plain, and go where one before them went. So each is first looked at
    /// as one of these, and by itself only if it is not.
    pub fn process_events(&mut self, partition: &mut Partition, events_max: usize) -> usize {
        let start = partition.next;
        let replayed = partition.is_replaying();
        let end = match replayed {
            true => partition.first_event_from(partition.live_from_offset),
            false => partition.batch.events.len(),
        };
        let end = end.min(start + events_max);
        let mut routes = Routes::default();
        while partition.next < end {
            let plain = self.process_plain(partition, &mut routes, end);
            if plain == 0 && !self.process_one(partition, &mut routes, replayed) {
                break;
            }
        }
        self.count(partition, replayed, routes);
        partition.next - start
    }

    /// Processes the next events, before index `end`, that are plain and have a route. Returns
    /// their number.
    fn process_plain(
        &mut self,
        partition: &mut Partition,
        routes: &mut Routes,
        end: usize,
    ) -> usize {
        let kind = partition.name.kind;
        if !kind.has_video() {
            // There are few denials.
            return 0;
        }
        let Some((events, plain)) = partition.plain_ahead(end) else { return 0 };
        let Some(latest_ms) = self.latest_ms(partition) else { return 0 };
        let (mut processed, mut newest_ms) = (0, i64::MIN);
        let mut recorded_ms = partition.recorded_ms;
        for event in events {
            let time_ms = event.event_time_ms;
            if !plain.contains(event) || time_ms > latest_ms {
                break;
            }
            let Some(route) = routes.find(time_ms) else { break };
            route.events += 1;
            route.arrived.count(event.record_time_ms, &mut recorded_ms);
            for open in self.epochs.at(route.open.clone()) {
                open.send(event.request, event.video, touch(kind, open.epoch() == route.epoch));
            }
            newest_ms = newest_ms.max(time_ms);
            processed += 1;
        }
        partition.recorded_ms = recorded_ms;
        partition.pass_plain(processed, newest_ms, self.now);
        processed
    }

    /// Returns the latest event time, in milliseconds, with which the watermark of a partition does
    /// not run ahead, nor leap; `None` if events must wait.
    fn latest_ms(&self, partition: &Partition) -> Option<i64> {
        let watermark_ms = partition.judge.watermark_ms()?;
        let leap_ms = watermark_ms.saturating_add(self.definition.max_leap_ms);
        let limit_ms = match self.watermark_limit_ms {
            _ if self.replaying => leap_ms,
            Some(limit_ms) if watermark_ms <= limit_ms => leap_ms.min(limit_ms),
            _ => return None,
        };
        Some(limit_ms.saturating_add(self.definition.max_delay_ms))
    }

    /// Processes the next event, whatever it is. Returns `false` if it must wait.
    fn process_one(
        &mut self,
        partition: &mut Partition,
        routes: &mut Routes,
        replayed: bool,
    ) -> bool {
        let kind = partition.name.kind;
        let event = partition.batch.events[partition.next];
        let Some((reading, before_ms)) = self.read_next(partition) else { return false };
        if routes.closed_through != reading.closed_through {
            // An epoch has closed.
            self.count(partition, replayed, std::mem::take(routes));
            routes.closed_through = reading.closed_through;
        }
        let fate = admit(self.definition, kind, &reading, self.closed_through);
        if let Fate::Accepted(epochs) = fate {
            if !self.send(partition, &event, &reading, epochs, before_ms) {
                partition.pending_reading = Some((reading, before_ms));
                partition.held_back = true;
                return false;
            }
            partition.note_accepted(before_ms, self.now);
            self.add_route(routes, &reading, epochs);
            if let Some(route) = routes.find(event.event_time_ms) {
                route.arrived.count(event.record_time_ms, &mut partition.recorded_ms);
            }
        }
        partition.next += 1;
        if !replayed {
            self.report(partition, &event, fate, before_ms);
            self.ledger.record(counted_epoch(&reading, fate), kind, fate, 1);
        }
        true
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
                if after_ms.saturating_sub(before_ms) > self.definition.max_leap_ms
                    && partition.name.kind.has_video() =>
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

    /// Counts the events that took these routes, unless they are replayed.
    fn count(&mut self, partition: &Partition, replayed: bool, routes: Routes) {
        for route in routes.all.iter().filter(|_| !replayed) {
            let fate = Fate::Accepted(EpochRange::only(route.epoch));
            self.ledger.record(Some(route.epoch), partition.name.kind, fate, route.events);
            self.arrivals.add(route.epoch, partition.name.kind, &route.arrived);
        }
    }

    /// Adds the route of the epoch of an event that was sent to these epochs.
    fn add_route(&self, routes: &mut Routes, reading: &Reading, epochs: EpochRange) {
        let ends = [epochs.first, epochs.last].map(|epoch| self.epochs.position(epoch));
        if let [Some(first), Some(last)] = ends {
            let epoch = reading.epoch;
            let times_ms = self.definition.start_ms(epoch)..self.definition.end_ms(epoch);
            let arrived = Counter::new(times_ms.start, self.definition.epoch_length_ms);
            routes.add(Route { epoch, times_ms, open: first..last + 1, events: 0, arrived });
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
            let touch = touch(partition.name.kind, epoch == reading.epoch);
            let open = self.epochs.ready(epoch).expect("all epochs of the event are ready");
            match partition.name.kind.has_video() {
                true => open.send(event.request, event.video, touch),
                false => open.deny(event.request, touch),
            }
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

/// The touch by an event in an epoch, which may be its own.
#[inline]
fn touch(kind: Kind, is_own_epoch: bool) -> Touch {
    match kind {
        Kind::Impression => Touch::SHOWN,
        Kind::Play if is_own_epoch => Touch::PLAYED_IN_EPOCH,
        Kind::Play => Touch::PLAYED,
        Kind::Denial if is_own_epoch => Touch::DENIED_IN_EPOCH,
        Kind::Denial => Touch::DENIED,
    }
}
