//! The curves of a kind of events, and the estimate of what is still to come of an open epoch.
//!
//! **Forecast**: the reverse-time hazard (Kalbfleisch and Lawless 1991): of the events that came up
//! to an age, the share that came in its last bin, from the youngest past epochs that have reached
//! that age. The product over later bins is the share that has arrived. It is drawn to the expected
//! size of the epoch, from the epochs before, as little has arrived (Bornhuetter and Ferguson
//! 1972).
//!
//! **Interval**: what past epochs had still to come at the same age, as a multiple of what was
//! forecast for them: the quantiles of their residuals. The epoch is the unit of uncertainty.
//!
//! **Unknown**: if the shape of the curve so far is farther from those of past epochs than theirs
//! from each other, nothing is said.

use super::arrivals::Arrived;
use super::bins::{AgeCounts, BINS, EDGES, UNITS, last_edge};
use crate::time::{Definition, Epoch};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The most past epochs in the residuals, and in the test of the shape.
const HISTORY: i64 = 48;
/// The residuals are of the youngest among so many epochs.
const LOOK_BACK: i64 = 72;
/// The fewest past epochs for the test of the shape, and for an answer.
const HISTORY_MIN: usize = 16;
const RESIDUALS_MIN: usize = 32;
/// The past epochs of each hazard, and of the expected size.
const SPAN: i64 = 12;
const PRIOR: i64 = 6;
/// The half-lives of their weights, in epochs.
const HAZARD_HALF_LIFE: f64 = 3.0;
const PRIOR_HALF_LIFE: f64 = 2.0;
/// The share of epochs below the interval, and above it.
const TAIL: f64 = 0.05;
/// The variance of the logarithm of what is missing between epochs, besides chance.
const BETWEEN: f64 = 0.1;
/// A shape is odd that is so many times the past distances' upper quartile away, which is taken to
/// be at least this. Differences of shares below the last number are no sign.
const ODD: f64 = 2.75;
const QUARTILE_MIN: f64 = 1.5;
const SHARE_MIN: f64 = 0.003;
/// How many units after the closing of an epoch its curve counts as whole.
const SETTLING: i64 = 3;
/// The number of the first epochs whose residuals are not used: their forecasts rest on little.
const FIRST_EPOCHS: i64 = 3;

/// The curve of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The events by age.
    counts: AgeCounts,
    /// The events without a record time.
    untimed: u64,
    /// The first edge at which its shape was odd.
    pub first_odd: Option<usize>,
    /// The edges up to this one were looked at.
    pub checked: usize,
    /// Whether the epoch is final.
    pub is_final: bool,
    /// Whether it is closed: an example for later epochs, if it can be one.
    pub is_settled: bool,
    /// What was still to come at each edge, in standard deviations from the forecast; none in an
    /// epoch that is no example.
    pub residuals: Vec<f64>,
    /// The events before each bin, and all: those of `counts`, added up.
    #[serde(skip)]
    sums: Vec<u64>,
}

impl Curve {
    /// The number of events with a record time.
    pub fn timed(&self) -> u64 {
        self.counts.total()
    }

    /// The number of all events.
    pub fn seen(&self) -> u64 {
        self.timed() + self.untimed
    }

    /// The number of events in the bins before one.
    fn before(&self, bin: usize) -> u64 {
        self.sums.get(bin).or(self.sums.last()).copied().unwrap_or(0)
    }

    /// Adds up the counts, which have changed.
    fn add_up(&mut self) {
        let sums = self.counts.0.iter().scan(0, |sum, events| {
            *sum += events;
            Some(*sum)
        });
        self.sums = std::iter::once(0).chain(sums).collect();
    }
}

/// A share that has arrived, from 0 to 1, and its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The median.
    pub share: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Estimate {
    /// That of a final epoch.
    pub const WHOLE: Estimate = Estimate { share: 1.0, low: 1.0, high: 1.0 };
}

/// Why there is no estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The log begins within the epoch.
    Partial,
    /// The log has not reached the epoch.
    NotReached,
    /// There are too few past epochs.
    TooFew,
    /// The curve is unlike those of the past.
    Unlike,
    /// Records have no timestamps.
    Untimed,
}

impl fmt::Display for Unknown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Unknown::Partial => "the log begins within the epoch",
            Unknown::NotReached => "the log has not reached the epoch",
            Unknown::TooFew => "too few past epochs",
            Unknown::Unlike => "unlike past epochs",
            Unknown::Untimed => "records have no timestamps",
        })
    }
}

/// The curves of one kind, open epochs and a bounded number of final ones.
#[derive(Clone, Debug)]
pub struct Curves {
    epochs: BTreeMap<i64, Curve>,
    /// The first epoch that the log has whole: the one after its first. None before its first.
    first_whole: Option<i64>,
    /// The age, in units, at which an epoch is whole.
    final_age: i64,
}

fn ceil_div(units: i64, by: i64) -> i64 {
    units.div_euclid(by) + i64::from(units.rem_euclid(by) > 0)
}

/// The standard deviation of the logarithm of what is missing.
fn scale(missing: f64) -> f64 {
    libm::sqrt(BETWEEN + 1.0 / (missing + 1.0))
}

fn weight(epochs: i64, half_life: f64) -> f64 {
    libm::exp2(-(epochs as f64) / half_life)
}

/// The quantile of ordered numbers, between two of them.
pub(super) fn quantile(ordered: &[f64], p: f64) -> f64 {
    let last = ordered.len() - 1;
    let at = (p * (ordered.len() + 1) as f64 - 1.0).clamp(0.0, last as f64);
    let low = libm::floor(at) as usize;
    ordered[low] + (at - low as f64) * (ordered[(low + 1).min(last)] - ordered[low])
}

impl Curves {
    /// Creates the curves of a job.
    pub fn new(definition: &Definition) -> Curves {
        let Definition { epoch_length_ms, join_window_epochs, max_delay_ms, .. } = *definition;
        let delay = ceil_div(max_delay_ms.saturating_mul(UNITS), epoch_length_ms);
        let final_age = (1 + join_window_epochs) * UNITS + delay + SETTLING;
        Curves { epochs: BTreeMap::new(), first_whole: None, final_age }
    }

    /// Sets the first epoch that the log has whole, unless it is known.
    pub fn begin(&mut self, first_whole: Epoch) {
        self.first_whole.get_or_insert(first_whole.0);
    }

    /// Returns the first epoch that the log has whole.
    pub fn begun(&self) -> Option<Epoch> {
        self.first_whole.map(Epoch)
    }

    /// Sets the curve of an epoch, as it was stored.
    pub fn restore(&mut self, epoch: Epoch, curve: Curve) {
        self.epochs.insert(epoch.0, curve);
        self.add(epoch, &Arrived::default());
    }

    /// Adds events to the curve of an epoch.
    pub fn add(&mut self, epoch: Epoch, arrived: &Arrived) {
        let curve = self.curve(epoch);
        curve.counts.merge(&arrived.counts);
        curve.untimed += arrived.untimed;
        curve.add_up();
    }

    /// The curve of an epoch, which may have no events.
    pub fn curve(&mut self, epoch: Epoch) -> &mut Curve {
        self.epochs.entry(epoch.0).or_default()
    }

    /// Forgets the curve of an epoch.
    pub fn forget(&mut self, epoch: Epoch) {
        self.epochs.remove(&epoch.0);
    }

    /// Returns the curve of an epoch, if it has one.
    pub fn get(&self, epoch: Epoch) -> Option<&Curve> {
        self.epochs.get(&epoch.0)
    }

    fn first_whole(&self) -> i64 {
        self.first_whole.unwrap_or(i64::MAX)
    }

    /// The number of epochs back to the youngest one that is whole, seen from the age of an edge.
    pub(super) fn lag(&self, edge: usize) -> i64 {
        ceil_div(self.final_age - EDGES[edge], UNITS).max(1)
    }

    /// A past epoch that may be an example.
    fn past(&self, epoch: i64) -> Option<&Curve> {
        let is_whole = epoch >= self.first_whole();
        self.epochs.get(&epoch).filter(|curve| is_whole && curve.untimed == 0)
    }

    /// The epoch `back` epochs before, unless it was odd at the age that it has now.
    fn usable(&self, epoch: i64, edge: usize, back: i64) -> Option<&Curve> {
        let reached = last_edge(EDGES[edge] + UNITS * back);
        self.past(epoch - back).filter(|curve| curve.first_odd.is_none_or(|odd| odd > reached))
    }

    /// Whether the curve of an epoch up to an edge is outside of what the past has shown.
    fn is_odd(&self, epoch: i64, edge: usize) -> bool {
        let Some(here) = self.epochs.get(&epoch) else { return false };
        let now = here.before(edge);
        let lag = self.lag(edge);
        let past = (0..HISTORY).filter_map(|back| self.past(epoch - lag - back));
        let past: Vec<_> = past.filter(|curve| curve.timed() > 0).collect();
        if edge < 1 || past.len() < HISTORY_MIN {
            return false;
        }
        let least = past.iter().map(|curve| curve.before(edge)).min().unwrap_or(0);
        if 2 * now < least {
            return true;
        }
        let past: Vec<_> = past.into_iter().filter(|one| one.before(edge) > 0).collect();
        if edge < 2 || now == 0 || past.len() < HISTORY_MIN {
            return false;
        }
        is_far(here, &past, edge)
    }

    /// Looks at the shape of an epoch up to an edge, as far as that was not done.
    fn check(&mut self, epoch: i64, edge: usize) {
        loop {
            let Some(curve) = self.epochs.get(&epoch) else { return };
            if curve.checked >= edge {
                return;
            }
            let next = curve.checked + 1;
            let is_odd = curve.first_odd.is_none() && self.is_odd(epoch, next);
            if let Some(curve) = self.epochs.get_mut(&epoch) {
                curve.checked = next;
                if is_odd {
                    curve.first_odd = Some(next);
                }
            }
        }
    }

    /// The shares of an epoch that have arrived before each edge from `edge` on.
    fn arrived(&self, epoch: i64, edge: usize) -> [f64; BINS + 1] {
        let mut share = [1.0; BINS + 1];
        let mut left = 1.0;
        for bin in (edge.max(1)..BINS).rev() {
            let first = match bin + 1 < BINS {
                true => ceil_div(EDGES[bin + 1] - EDGES[edge], UNITS).max(1),
                false => ceil_div(self.final_age, UNITS) + 1,
            };
            let (mut came, mut of) = (0.0, 0.0);
            for back in first..first + SPAN {
                let Some(curve) = self.usable(epoch, edge, back) else { continue };
                let (high, low) = (curve.before(bin + 1), curve.before(bin));
                let weight = weight(back, HAZARD_HALF_LIFE) / (high as f64 + 1.0);
                came += weight * (high - low) as f64;
                of += weight * high as f64;
            }
            left *= 1.0 - if of > 0.0 { came / of } else { 0.0 };
            share[bin] = left;
        }
        share
    }

    /// The expected number of events of an epoch that come after an edge.
    fn missing(&self, epoch: i64, edge: usize) -> f64 {
        let share = self.arrived(epoch, edge);
        let (mut events, mut shares) = (0.0, 0.0);
        for back in 1..=PRIOR {
            let Some(curve) = self.usable(epoch, edge, back) else { continue };
            let there = last_edge(EDGES[edge] + UNITS * back);
            let weight = weight(back, PRIOR_HALF_LIFE);
            events += weight * curve.before(there) as f64;
            shares += weight * share[there];
        }
        let expected = if shares > 0.0 { events / shares } else { 0.0 };
        let late = 1.0 - if edge > 0 { share[edge] } else { 0.0 };
        let here = self.epochs.get(&epoch).map_or(0, |curve| curve.before(edge));
        late * (here as f64 + late * expected)
    }

    /// Makes an epoch an example for later ones, as it is final. Epochs close in rising order.
    /// Returns the epochs that are forgotten: they are too old to be examples.
    pub fn close(&mut self, epoch: Epoch) -> Vec<Epoch> {
        let first_whole = self.first_whole();
        self.check(epoch.0, BINS - 1);
        if let Some(curve) = self.epochs.get(&epoch.0) {
            let total = curve.timed();
            let is_example = epoch.0 >= first_whole.saturating_add(FIRST_EPOCHS)
                && total > 0
                && curve.untimed == 0
                && curve.first_odd.is_none();
            let residual = |edge: usize| {
                let missing = self.missing(epoch.0, edge);
                let came = (total - curve.before(edge)) as f64;
                libm::log((came + 0.5) / (missing + 0.5)) / scale(missing)
            };
            let residuals = if is_example { (0..BINS).map(residual).collect() } else { vec![] };
            let curve = self.curve(epoch);
            (curve.is_final, curve.is_settled, curve.residuals) = (true, true, residuals);
        }
        let kept = epoch.0 - LOOK_BACK - ceil_div(self.final_age, UNITS) - 1;
        let later = self.epochs.split_off(&kept);
        let old = std::mem::replace(&mut self.epochs, later);
        old.into_keys().map(Epoch).collect()
    }

    /// Estimates the share of an epoch's events that was read, where `read` were. `age` is how far
    /// the log has come since the start of the epoch, in units.
    ///
    /// # Errors
    /// Says why there is no estimate.
    pub fn estimate(&mut self, epoch: Epoch, age: i64, read: u64) -> Result<Estimate, Unknown> {
        let Epoch(epoch) = epoch;
        if self.epochs.get(&epoch).is_some_and(|curve| curve.is_final) {
            return Ok(Estimate::WHOLE);
        }
        if epoch < self.first_whole() {
            return Err(Unknown::Partial);
        }
        if self.epochs.get(&epoch).is_some_and(|curve| curve.untimed > 0) {
            return Err(Unknown::Untimed);
        }
        if age < 0 {
            return Err(Unknown::NotReached);
        }
        let edge = last_edge(age);
        for back in (0..=HISTORY).rev() {
            if self.past(epoch - back).is_some() {
                self.check(epoch - back, last_edge(EDGES[edge] + UNITS * back));
            }
        }
        let lag = self.lag(edge);
        let past = (0..LOOK_BACK).filter_map(|back| self.past(epoch - lag - back));
        let residuals = past.filter_map(|curve| curve.residuals.get(edge).copied());
        let mut residuals: Vec<f64> = residuals.take(HISTORY as usize).collect();
        residuals.sort_by(f64::total_cmp);
        if residuals.len() < RESIDUALS_MIN {
            return Err(Unknown::TooFew);
        }
        if self.is_odd(epoch, edge) {
            return Err(Unknown::Unlike);
        }
        let missing = self.missing(epoch, edge);
        let arrived = self.epochs.get(&epoch).map_or(0, |curve| curve.before(edge));
        let share = |p: f64| {
            let left = (missing + 0.5) * libm::exp(scale(missing) * quantile(&residuals, p));
            let of = (arrived as f64 + libm::floor(left).max(0.0)).max(read as f64);
            if of > 0.0 { read as f64 / of } else { 1.0 }
        };
        Ok(Estimate { share: share(0.5), low: share(1.0 - TAIL), high: share(TAIL) })
    }
}

/// Whether the shape of a curve up to an edge is far from those of the past.
fn is_far(here: &Curve, past: &[&Curve], edge: usize) -> bool {
    let now = here.before(edge);
    let sizes: Vec<u64> = past.iter().map(|curve| curve.before(edge)).collect();
    let mut worst = 0.0_f64;
    let mut worst_past = vec![0.0_f64; past.len()];
    for at in 1..edge {
        let shares: Vec<f64> = past
            .iter()
            .zip(&sizes)
            .map(|(curve, size)| curve.before(at) as f64 / *size as f64)
            .collect();
        let mut ordered = shares.clone();
        ordered.sort_by(f64::total_cmp);
        let count = ordered.len();
        let middle = ordered[count / 2];
        let spread = (ordered[9 * count / 10] - ordered[count / 10]) / 2.5;
        let distance = |share: f64, size: u64| {
            let size = size as f64;
            let chance = libm::sqrt(middle * (1.0 - middle) / size + 1.0 / (size * size));
            (share - middle).abs() / spread.max(chance).max(SHARE_MIN)
        };
        worst = worst.max(distance(here.before(at) as f64 / now as f64, now));
        for (worst, (share, size)) in worst_past.iter_mut().zip(shares.iter().zip(&sizes)) {
            *worst = worst.max(distance(*share, *size));
        }
    }
    worst_past.sort_by(f64::total_cmp);
    worst > ODD * worst_past[3 * past.len() / 4].max(QUARTILE_MIN)
}
