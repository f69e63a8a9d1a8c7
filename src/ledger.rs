//! The ledger: what became of every event, for each epoch and kind.
//!
//! `read = distinct + duplicate + late + future`. The workers count what they accept and reject;
//! how many of the accepted are distinct is told by the dataflow, as the rows of a query of its
//! own; the duplicates are the rest.

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
    pub fn add(&mut self, other: Counts) {
        self.accepted += other.accepted;
        self.late += other.late;
        self.future += other.future;
    }
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It contributes to at least one epoch.
    Accepted,
    /// Its epoch has closed.
    Late,
    /// It is stamped too far after its record's own timestamp.
    Future,
}

/// Changes of the ledger, or all of it: counts by epoch (that of the event's own time) and kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    counts: BTreeMap<(Epoch, Kind), Counts>,
}

impl Ledger {
    /// Counts events of an epoch and kind that fared alike.
    pub fn record(&mut self, epoch: Epoch, kind: Kind, verdict: Verdict, events: u64) {
        let counts = self.counts.entry((epoch, kind)).or_default();
        match verdict {
            Verdict::Accepted => counts.accepted += events,
            Verdict::Late => counts.late += events,
            Verdict::Future => counts.future += events,
        }
    }

    /// Adds the counts of another ledger.
    pub fn merge(&mut self, other: Ledger) {
        for (key, counts) in other.counts {
            self.counts.entry(key).or_default().add(counts);
        }
    }

    /// The counts, by epoch and kind.
    pub fn iter(&self) -> impl Iterator<Item = (Epoch, Kind, Counts)> + '_ {
        self.counts.iter().map(|((epoch, kind), counts)| (*epoch, *kind, *counts))
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}
