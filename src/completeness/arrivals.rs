//! The events that have arrived since the last publication, by the age of their records.

use super::bins::{AgeCounts, BINS, Bins};
use crate::event::Kind;
use crate::time::Epoch;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The events of an epoch and kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrived {
    /// Those with a record time, by age.
    pub counts: AgeCounts,
    /// The number of the others.
    pub untimed: u64,
}

/// Events by epoch and kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrivals(pub BTreeMap<(Epoch, Kind), Arrived>);

impl Arrivals {
    /// Adds the events that were counted for an epoch.
    pub fn add(&mut self, epoch: Epoch, kind: Kind, counter: &Counter) {
        let Arrived { counts, untimed } = self.0.entry((epoch, kind)).or_default();
        let some = counter.counts.iter().enumerate().filter(|(_, events)| **events > 0);
        some.for_each(|(bin, events)| counts.add(bin, u64::from(*events)));
        *untimed += counter.untimed;
    }
}

/// Counts events of one epoch of a partition, at most 2³² of them.
#[derive(Clone, Debug)]
pub struct Counter {
    bins: Bins,
    counts: [u32; BINS],
    untimed: u64,
}

impl Counter {
    /// Counts for the epoch with this start and length, in milliseconds.
    pub fn new(epoch_start_ms: i64, epoch_length_ms: i64) -> Counter {
        let bins = Bins::new(epoch_start_ms, epoch_length_ms);
        Counter { bins, counts: [0; BINS], untimed: 0 }
    }

    /// Counts an event. `latest_ms` is the latest record time of the partition so far, which is
    /// raised to that of the event's record.
    #[inline]
    pub fn count(&mut self, record_time_ms: Option<i64>, latest_ms: &mut Option<i64>) {
        match record_time_ms {
            None => self.untimed += 1,
            Some(time_ms) => {
                let time_ms = latest_ms.map_or(time_ms, |latest_ms| latest_ms.max(time_ms));
                *latest_ms = Some(time_ms);
                self.counts[self.bins.of(time_ms)] += 1;
            }
        }
    }
}
