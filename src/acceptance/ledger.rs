//! The ledger: what became of every event, for each epoch and kind.
//!
//! `events = distinct + duplicate + late + future`. The workers count what they accept and reject;
//! how many of the accepted events are distinct comes from the dataflow, as the rows of a query of
//! its own; the duplicates are the rest.

use super::Fate;
use crate::event::Kind;
use crate::time::Epoch;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What became of the events of one epoch and kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Accepted: they took part in the result, if only as duplicates.
    pub accepted: u64,
    /// Rejected because their epoch had closed for their partition, or was final.
    pub late: u64,
    /// Rejected because they were stamped too far after their record's own timestamp.
    pub future: u64,
}

impl Counts {
    /// Adds other counts.
    pub fn merge(&mut self, other: Counts) {
        self.accepted += other.accepted;
        self.late += other.late;
        self.future += other.future;
    }
}

/// What names a row of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LedgerKey {
    /// The epoch of the events' own time.
    pub epoch: Epoch,
    /// Their kind.
    pub kind: Kind,
}

/// Changes of the ledger, or all of it: counts by epoch and kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    counts: BTreeMap<(Epoch, Kind), Counts>,
}

impl Ledger {
    /// Counts events of an epoch and kind that had the same fate.
    pub fn record(&mut self, epoch: Epoch, kind: Kind, fate: Fate, events: u64) {
        let counts = self.counts.entry((epoch, kind)).or_default();
        match fate {
            Fate::Accepted(_) => counts.accepted += events,
            Fate::Late => counts.late += events,
            Fate::Future => counts.future += events,
        }
    }

    /// Adds the counts of another ledger.
    pub fn merge(&mut self, other: &Ledger) {
        for (key, counts) in &other.counts {
            self.counts.entry(*key).or_default().merge(*counts);
        }
    }

    /// The counts, by epoch and kind.
    pub fn iter(&self) -> impl Iterator<Item = (LedgerKey, Counts)> + '_ {
        self.counts
            .iter()
            .map(|((epoch, kind), counts)| (LedgerKey { epoch: *epoch, kind: *kind }, *counts))
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

/// All that became of the events of one epoch and kind: the counts of the workers and that of the
/// dataflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerTotals {
    /// What the workers have counted.
    pub counts: Counts,
    /// How many of the accepted events are distinct.
    pub distinct: u64,
}

/// A row of the ledger as readers see it: all counts since the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// What names it.
    #[serde(flatten)]
    pub key: LedgerKey,
    /// All events that were read: the sum of the others.
    pub events: u64,
    /// The accepted events without their duplicates.
    pub distinct_events: u64,
    /// The other accepted events. A negative number would mean that the ledger is wrong.
    pub duplicate_events: i64,
    /// The rejected events whose epoch had closed.
    pub late_events: u64,
    /// The rejected events that were stamped too far after their records' own timestamps.
    pub future_events: u64,
}

impl LedgerTotals {
    /// As a row.
    pub fn row(&self, key: LedgerKey) -> LedgerRow {
        let Counts { accepted, late, future } = self.counts;
        LedgerRow {
            key,
            events: accepted + late + future,
            distinct_events: self.distinct,
            duplicate_events: accepted.wrapping_sub(self.distinct).cast_signed(),
            late_events: late,
            future_events: future,
        }
    }

    /// The totals that a row was made of.
    pub fn of(row: &LedgerRow) -> LedgerTotals {
        let distinct = row.distinct_events;
        let accepted = distinct.wrapping_add_signed(row.duplicate_events);
        let counts = Counts { accepted, late: row.late_events, future: row.future_events };
        LedgerTotals { counts, distinct }
    }
}
