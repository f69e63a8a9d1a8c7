//! Compares what was said of an epoch while it was open with what it came to.

use crate::log::{AGES, KINDS, Log};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use trendmark::event::Kind;
use trendmark::time::Epoch;

/// Shares in a store are rounded to millionths.
const ROUNDED: f64 = 1e-6;
/// An answer is far off if the truth is so far from its interval.
const FAR: f64 = 0.05;
/// How long after an outage has begun answers are also counted apart.
const AFTER_OUTAGE_MS: i64 = 3_600_000;

/// What was said of an epoch.
pub struct Answer {
    pub kind: Kind,
    pub epoch: Epoch,
    /// The age at which it was asked for, in thirtieths of an epoch.
    pub age: i64,
    /// When.
    pub at_ms: i64,
    /// The number of its events that were read.
    pub read: u64,
    /// The share that has arrived with the ends of its interval, or why that is unknown.
    pub said: Result<[f64; 3], String>,
}

impl Answer {
    /// Whether another answer says the same, but for the rounding of the store.
    pub fn is_same(&self, other: &Answer) -> bool {
        let asked = |one: &Answer| (one.kind, one.epoch, one.age, one.read);
        asked(self) == asked(other)
            && match (&self.said, &other.said) {
                (Ok(one), Ok(other)) => {
                    one.iter().zip(other).all(|(one, other)| (one - other).abs() <= ROUNDED)
                }
                (one, other) => one == other,
            }
    }
}

/// What was said in a run, and the truth.
#[derive(Default)]
pub struct Run {
    pub answers: Vec<Answer>,
    /// The events of final epochs.
    events: BTreeMap<(Kind, Epoch), u64>,
    /// The epochs whose shape was odd at any age.
    odd: BTreeSet<(Kind, Epoch)>,
}

impl Run {
    /// Notes what a final epoch came to.
    pub fn close(&mut self, kind: Kind, epoch: Epoch, events: u64, is_odd: bool) {
        self.events.insert((kind, epoch), events);
        if is_odd {
            self.note_odd(kind, epoch);
        }
    }

    /// Notes that the shape of an epoch is odd.
    pub fn note_odd(&mut self, kind: Kind, epoch: Epoch) {
        self.odd.insert((kind, epoch));
    }

    /// The truth of an answer; none of an epoch without events.
    fn truth(&self, answer: &Answer) -> Option<f64> {
        let events = *self.events.get(&(answer.kind, answer.epoch))?;
        (events > 0).then(|| answer.read as f64 / events as f64)
    }
}

/// Sums over answers.
#[derive(Default)]
struct Tally {
    answers: u64,
    unlike: u64,
    unknown: u64,
    /// Of those that are known: how often the truth is below and above the interval, and far off.
    below: u64,
    above: u64,
    far: u64,
    width: f64,
    /// The distance of the middle estimate.
    error: f64,
}

impl Tally {
    fn add(&mut self, answer: &Answer, truth: f64) {
        self.answers += 1;
        match &answer.said {
            Err(reason) => {
                self.unknown += 1;
                self.unlike += u64::from(reason == "unlike past epochs");
            }
            Ok([share, low, high]) => {
                self.below += u64::from(truth < low - ROUNDED);
                self.above += u64::from(truth > high + ROUNDED);
                self.far += u64::from(truth < low - FAR || truth > high + FAR);
                self.width += high - low;
                self.error += (share - truth).abs();
            }
        }
    }

    fn known(&self) -> u64 {
        self.answers - self.unknown
    }

    fn json(&self) -> Value {
        let Tally { answers, unlike, unknown, below, above, far, width, error } = self;
        json!({
            "answers": answers, "unknown": unknown, "unlike": unlike, "below": below,
            "above": above, "far": far, "width": width, "error": error,
        })
    }
}

/// The figures of a run, an object for each kind.
pub fn judge(log: &Log, run: &Run) -> Vec<Value> {
    let of_kind = |kind: Kind| {
        let mut ages: BTreeMap<i64, Tally> = BTreeMap::new();
        let mut after_outages = Tally::default();
        let mut epochs = BTreeSet::new();
        for answer in run.answers.iter().filter(|answer| answer.kind == kind) {
            let Some(truth) = run.truth(answer) else { continue };
            epochs.insert(answer.epoch);
            ages.entry(answer.age).or_default().add(answer, truth);
            let is_after = |at: &i64| (*at..at + AFTER_OUTAGE_MS).contains(&answer.at_ms);
            if log.outages_ms.iter().any(is_after) {
                after_outages.add(answer, truth);
            }
        }
        let odd = epochs.iter().filter(|epoch| run.odd.contains(&(kind, **epoch))).count();
        let events: u64 = epochs.iter().map(|epoch| run.events[&(kind, *epoch)]).sum();
        let ages = AGES.map(|age| (age.to_string(), ages.entry(age).or_default().json()));
        let ages: BTreeMap<_, _> = ages.into();
        json!({
            "log": log.name, "kind": kind.topic(), "epochs": epochs.len(), "odd": odd,
            "events": events, "ages": ages, "after_outages": after_outages.json(),
        })
    };
    KINDS.map(of_kind).to_vec()
}

/// The share of known answers in whose interval the truth lies, and the share that are unknown.
pub fn coverage(run: &Run) -> (f64, f64) {
    let mut all = Tally::default();
    for answer in &run.answers {
        if let Some(truth) = run.truth(answer) {
            all.add(answer, truth);
        }
    }
    let held = all.known() - all.below - all.above;
    (held as f64 / all.known() as f64, all.unknown as f64 / all.answers as f64)
}
