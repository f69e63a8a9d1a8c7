//! The ledger: counts of all events by outcome, for each epoch and kind.
//!
//! `events = distinct + duplicate + late + future`. The workers count accepted and rejected events.
//! The number of distinct events among the accepted ones comes from the dataflow, as the rows of a
//! dedicated query; the remaining accepted events are duplicates. Of the distinct events, those of
//! denied requests are counted once more.
//!
//! Rejected events may have any event time. Those that are far from the watermark of their
//! partition are counted together, without an epoch, so that junk cannot make a ledger long.

use super::{Fate, Reading};
use crate::event::Kind;
use crate::time::{Epoch, Through};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far from the last closed epoch of their partition rejected events are counted by epoch.
const REACH_EPOCHS: u64 = 1_000;

/// Returns the epoch under which an event is counted. A rejected one has none if it is more than
/// 1,000 epochs from the last closed epoch of its partition, or if none has closed.
#[inline]
pub fn counted_epoch(reading: &Reading, fate: Fate) -> Option<Epoch> {
    match (fate, reading.closed_through) {
        (Fate::Accepted(_), _) => Some(reading.epoch),
        (_, Through::Epoch(last)) => {
            (reading.epoch.0.abs_diff(last.0) <= REACH_EPOCHS).then_some(reading.epoch)
        }
        (_, Through::Nothing | Through::Everything) => None,
    }
}

/// The numbers of events of one epoch and kind, as counted by the workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// The accepted events, duplicates included.
    pub accepted: u64,
    /// Rejected: all epochs that they could contribute to had closed for the partition or the job.
    pub late: u64,
    /// Rejected: the event time lies too far after the timestamp of the record.
    pub future: u64,
}

impl Counts {
    /// The number of events.
    pub fn total(self) -> u64 {
        self.accepted + self.late + self.future
    }

    /// Adds other counts.
    pub fn merge(&mut self, other: Counts) {
        self.accepted += other.accepted;
        self.late += other.late;
        self.future += other.future;
    }
}

/// The key of a row of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LedgerKey {
    /// The epoch of the event times; `None` for rejected events far from the watermark.
    pub epoch: Option<Epoch>,
    /// The kind of the events.
    pub kind: Kind,
}

/// The ledger, or a change of it: counts by epoch and kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    counts: BTreeMap<LedgerKey, Counts>,
}

impl Ledger {
    /// Counts `events` events of an epoch and kind with the same fate.
    ///
    /// The epoch is that of [`counted_epoch`].
    pub fn record(&mut self, epoch: Option<Epoch>, kind: Kind, fate: Fate, events: u64) {
        let counts = self.counts.entry(LedgerKey { epoch, kind }).or_default();
        match fate {
            Fate::Accepted(_) => counts.accepted += events,
            Fate::Late => counts.late += events,
            Fate::Future => counts.future += events,
        }
    }

    /// Adds counts of an epoch and kind.
    pub fn add(&mut self, key: LedgerKey, counts: Counts) {
        self.counts.entry(key).or_default().merge(counts);
    }

    /// Adds the counts of another ledger.
    pub fn merge(&mut self, other: &Ledger) {
        for (key, counts) in &other.counts {
            self.counts.entry(*key).or_default().merge(*counts);
        }
    }

    /// Returns the counts, ordered by epoch and kind.
    pub fn iter(&self) -> impl Iterator<Item = (LedgerKey, Counts)> + '_ {
        self.counts.iter().map(|(key, counts)| (*key, *counts))
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether there are no counts.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

/// All counts of the events of one epoch and kind, from the workers and the dataflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerTotals {
    /// The counts of the workers.
    pub counts: Counts,
    /// The distinct events, from the dataflow.
    pub distinct: Distinct,
}

/// The distinct accepted events of one epoch and kind, as counted by the dataflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Distinct {
    /// The number of distinct events.
    pub events: u64,
    /// The number of those whose request is denied in their epoch.
    pub denied: u64,
}

/// A row of the ledger as readers see it: counts since the first job of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// The key.
    #[serde(flatten)]
    pub key: LedgerKey,
    /// All events read: the sum of the other counts but the last.
    pub events: u64,
    /// The accepted events without duplicates, those of denied requests included.
    pub distinct_events: u64,
    /// The other accepted events. A negative number means that the ledger is wrong.
    pub duplicate_events: i64,
    /// The events rejected as late.
    pub late_events: u64,
    /// The events rejected as future.
    pub future_events: u64,
    /// The distinct events of denied requests, which count in no set.
    pub denied_events: u64,
}

impl LedgerRow {
    /// Returns the counts by outcome: those that every event has one of, then parts of these.
    pub fn outcomes(&self) -> [(&'static str, i64); 5] {
        [
            ("distinct", self.distinct_events.cast_signed()),
            ("duplicate", self.duplicate_events),
            ("late", self.late_events.cast_signed()),
            ("future", self.future_events.cast_signed()),
            ("denied", self.denied_events.cast_signed()),
        ]
    }

    /// Whether every event that was read has one outcome. Otherwise the ledger is wrong.
    pub fn is_conserved(&self) -> bool {
        let outcomes = self.outcomes();
        let all: i64 = outcomes[..4].iter().map(|(_, events)| events).sum();
        u64::try_from(all) == Ok(self.events) && outcomes.iter().all(|(_, events)| *events >= 0)
    }
}

impl LedgerTotals {
    /// Returns the row with this key.
    pub fn row(&self, key: LedgerKey) -> LedgerRow {
        let Counts { accepted, late, future } = self.counts;
        LedgerRow {
            key,
            events: accepted + late + future,
            distinct_events: self.distinct.events,
            duplicate_events: accepted.wrapping_sub(self.distinct.events).cast_signed(),
            late_events: late,
            future_events: future,
            denied_events: self.distinct.denied,
        }
    }

    /// The inverse of [`LedgerTotals::row`].
    pub fn of(row: &LedgerRow) -> LedgerTotals {
        let distinct = Distinct { events: row.distinct_events, denied: row.denied_events };
        let accepted = distinct.events.wrapping_add_signed(row.duplicate_events);
        let counts = Counts { accepted, late: row.late_events, future: row.future_events };
        LedgerTotals { counts, distinct }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::EpochRange;

    #[test]
    fn rejected_events_far_from_the_watermark_have_no_epoch() {
        let accepted = Fate::Accepted(EpochRange::only(Epoch(7)));
        let cases = [
            (7, Through::Epoch(Epoch(5_000)), accepted, Some(7)),
            (7, Through::Nothing, accepted, Some(7)),
            (4_000, Through::Epoch(Epoch(5_000)), Fate::Late, Some(4_000)),
            (3_999, Through::Epoch(Epoch(5_000)), Fate::Late, None),
            (6_000, Through::Epoch(Epoch(5_000)), Fate::Future, Some(6_000)),
            (6_001, Through::Epoch(Epoch(5_000)), Fate::Future, None),
            (i64::MIN, Through::Epoch(Epoch(i64::MAX)), Fate::Late, None),
            (7, Through::Nothing, Fate::Future, None),
            (7, Through::Everything, Fate::Late, None),
        ];
        for (epoch, closed_through, fate, expected) in cases {
            let (epoch_read, is_early) = (Epoch(epoch), false);
            let reading = Reading { epoch: epoch_read, is_future: false, is_early, closed_through };
            let found = counted_epoch(&reading, fate).map(|epoch| epoch.0);
            assert_eq!(found, expected, "{epoch} {closed_through:?} {fate:?}");
        }
    }
}
