//! The ages of records, in bins. A unit of age is a thirtieth of an epoch: a minute, of 30.

use serde::{Deserialize, Serialize};

/// The number of bins.
pub const BINS: usize = 64;
/// The number of units in an epoch.
pub const UNITS: i64 = 30;

/// The first unit of each bin: steps of one unit, and from 40 units on steps that double after each
/// six. The last bin has no end.
pub const EDGES: [i64; BINS] = edges();

const fn edges() -> [i64; BINS] {
    let mut edges = [0; BINS];
    let mut at = 1;
    while at < BINS {
        let step = match at {
            0..=40 => 1,
            41..=46 => 2,
            47..=52 => 4,
            53..=58 => 8,
            _ => 16,
        };
        edges[at] = edges[at - 1] + step;
        at += 1;
    }
    edges
}

/// Returns the last bin that begins at or before an age in units.
pub fn last_edge(age: i64) -> usize {
    EDGES.partition_point(|edge| *edge <= age).saturating_sub(1)
}

/// Numbers of events by the bin of their record's age.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgeCounts(pub Vec<u64>);

impl AgeCounts {
    /// Adds events of a bin.
    pub fn add(&mut self, bin: usize, events: u64) {
        if self.0.len() <= bin {
            self.0.resize(bin + 1, 0);
        }
        self.0[bin] += events;
    }

    /// Adds other counts.
    pub fn merge(&mut self, other: &AgeCounts) {
        other.0.iter().enumerate().for_each(|(bin, events)| self.add(bin, *events));
    }

    /// The number of all events.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// Finds the bins of records of one epoch. Consecutive records mostly have the same.
#[derive(Clone, Debug)]
pub struct Bins {
    epoch_start_ms: i64,
    epoch_length_ms: i64,
    /// The bin of the last record, and the times of its records, in milliseconds.
    last: usize,
    from_ms: i64,
    until_ms: i64,
}

impl Bins {
    /// Creates the bins of the epoch with this start and length, in milliseconds.
    pub fn new(epoch_start_ms: i64, epoch_length_ms: i64) -> Bins {
        let (last, from_ms, until_ms) = (0, i64::MAX, i64::MAX);
        Bins { epoch_start_ms, epoch_length_ms, last, from_ms, until_ms }
    }

    /// Returns the bin of a record with this time, in milliseconds. A record before the start of
    /// its epoch has the first bin.
    #[inline]
    pub fn of(&mut self, record_time_ms: i64) -> usize {
        if !(self.from_ms..self.until_ms).contains(&record_time_ms) {
            self.find(record_time_ms);
        }
        self.last
    }

    #[cold]
    fn find(&mut self, record_time_ms: i64) {
        let age_ms = i128::from(record_time_ms) - i128::from(self.epoch_start_ms);
        let units = age_ms.max(0) * i128::from(UNITS) / i128::from(self.epoch_length_ms);
        self.last = last_edge(i64::try_from(units).unwrap_or(i64::MAX));
        let start_ms = |edge: i64| {
            let age_ms = i128::from(edge) * i128::from(self.epoch_length_ms);
            let age_ms = (age_ms + i128::from(UNITS - 1)).div_euclid(i128::from(UNITS));
            self.epoch_start_ms.saturating_add(i64::try_from(age_ms).unwrap_or(i64::MAX))
        };
        self.from_ms = if self.last == 0 { i64::MIN } else { start_ms(EDGES[self.last]) };
        self.until_ms = EDGES.get(self.last + 1).map_or(i64::MAX, |edge| start_ms(*edge));
    }
}
