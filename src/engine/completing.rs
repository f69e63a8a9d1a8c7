//! The leader's part in completeness: it gathers what has arrived, and estimates what is to come.

use super::protocol::{SlowestWatermark, Watermarks};
use crate::completeness::bins::UNITS;
use crate::completeness::{
    Arrivals, Arrived, Completeness, CompletenessUpdate, Curve, Curves, Estimate, StoredCurve,
};
use crate::event::Kind;
use crate::time::{Definition, Epoch, Through};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The kinds whose completeness is told.
const KINDS: [Kind; 2] = [Kind::Impression, Kind::Play];

/// The most final epochs of a kind that become examples in a publication, and that wait for it.
const SETTLED_AT_ONCE: usize = 2;
const UNSETTLED_MAX: usize = 80;

/// How far some partitions of a kind are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The latest record times of the partitions, in place of watermarks.
    pub record_times: Watermarks,
    /// The number of records that are not read, if it is known.
    pub unread: Option<u64>,
}

impl Reached {
    /// That of no partition.
    pub const NOTHING: Reached = Reached { record_times: Watermarks::NONE, unread: Some(0) };

    /// Returns that of two sets of partitions together.
    pub fn merge(self, other: Reached) -> Reached {
        Reached {
            record_times: self.record_times.merge(other.record_times),
            unread: self.unread.zip(other.unread).map(|(one, other)| one + other),
        }
    }

    /// Returns the record time that all active partitions have reached, in milliseconds.
    fn time_ms(self) -> Option<i64> {
        match self.record_times.slowest {
            SlowestWatermark::Unknown => None,
            SlowestWatermark::At(time_ms) => Some(time_ms),
            SlowestWatermark::NoneActive => self.record_times.max_ms,
        }
    }
}

/// The curves of a job.
pub(super) struct Completing {
    definition: Definition,
    kinds: BTreeMap<Kind, OfKind>,
}

struct OfKind {
    curves: Curves,
    /// The epochs that are not final.
    open: BTreeSet<Epoch>,
    /// Final epochs that are not examples yet.
    unsettled: BTreeSet<Epoch>,
    /// The curves of open epochs as the store has them, and their rows.
    stored: BTreeMap<Epoch, Curve>,
    told: BTreeMap<Epoch, Completeness>,
}

impl Completing {
    /// Goes on from the curves in a store.
    pub fn new(definition: &Definition, stored: Vec<StoredCurve>) -> Completing {
        let of_kind = |kind: Kind| {
            let mut curves = Curves::new(definition);
            let (mut open, mut unsettled) = (BTreeSet::new(), BTreeSet::new());
            for StoredCurve { epoch, first_whole, curve, .. } in
                stored.iter().filter(|one| one.kind == kind)
            {
                if let Some(first_whole) = first_whole {
                    curves.begin(*first_whole);
                }
                match curve {
                    Curve { is_final: false, .. } => drop(open.insert(*epoch)),
                    Curve { is_settled: false, .. } => drop(unsettled.insert(*epoch)),
                    _ => {}
                }
                curves.restore(*epoch, curve.clone());
            }
            let (stored, told) = (BTreeMap::new(), BTreeMap::new());
            (kind, OfKind { curves, open, unsettled, stored, told })
        };
        Completing { definition: *definition, kinds: KINDS.into_iter().map(of_kind).collect() }
    }

    /// Takes in what has arrived in a publication, and returns what changes. `reached` is by kind.
    pub fn publish(
        &mut self,
        arrivals: impl IntoIterator<Item = Arrivals>,
        reached: &[Reached; Kind::COUNT],
        final_through: Through,
    ) -> CompletenessUpdate {
        for ((epoch, kind), arrived) in arrivals.into_iter().flat_map(|worker| worker.0) {
            if let Some(of_kind) = self.kinds.get_mut(&kind) {
                of_kind.add(epoch, &arrived);
            }
        }
        // An epoch is open for both kinds if it is for one.
        let open = self.kinds.values().flat_map(|one| &one.open).copied();
        let open: BTreeSet<Epoch> = open.collect();
        let mut update = CompletenessUpdate::default();
        let definition = self.definition;
        for (kind, of_kind) in &mut self.kinds {
            of_kind.begin();
            of_kind.open.extend(&open);
            let reached = reached[*kind as usize];
            of_kind.close(*kind, final_through, reached.unread, &mut update);
            of_kind.settle(*kind, &mut update);
            of_kind.estimate(*kind, &definition, reached, &mut update);
        }
        update
    }
}

impl OfKind {
    fn add(&mut self, epoch: Epoch, arrived: &Arrived) {
        self.curves.add(epoch, arrived);
        if !self.curves.curve(epoch).is_final {
            self.open.insert(epoch);
        }
    }

    /// Notes where the log begins: within the first epoch of which something was read.
    fn begin(&mut self) {
        let mut open = self.open.iter();
        let first =
            open.find(|epoch| self.curves.get(**epoch).is_some_and(|curve| curve.timed() > 0));
        if let Some(first) = first {
            let first_whole = first.plus(1);
            self.curves.begin(first_whole);
        }
    }

    fn close(
        &mut self,
        kind: Kind,
        final_through: Through,
        unread: Option<u64>,
        update: &mut CompletenessUpdate,
    ) {
        while let Some(epoch) = self.open.first().copied()
            && final_through.contains(epoch)
        {
            self.open.pop_first();
            let curve = self.curves.curve(epoch);
            curve.is_final = true;
            let (seen, whole) = (curve.seen(), Ok(Estimate::WHOLE));
            update.rows.push(Completeness::new((epoch, kind), seen, unread, whole));
            self.unsettled.insert(epoch);
            self.store(kind, epoch, update);
            self.stored.remove(&epoch);
            self.told.remove(&epoch);
        }
    }

    /// Makes some final epochs examples for later ones. That takes a few milliseconds each, and
    /// while a job reads what is old, epochs become final by the hundred: most are never asked for.
    fn settle(&mut self, kind: Kind, update: &mut CompletenessUpdate) {
        while self.unsettled.len() > UNSETTLED_MAX
            && let Some(epoch) = self.unsettled.pop_first()
        {
            self.curves.forget(epoch);
            update.forgotten.push((epoch, kind));
        }
        for _ in 0..SETTLED_AT_ONCE {
            let Some(epoch) = self.unsettled.pop_first() else { return };
            let forgotten = self.curves.close(epoch);
            update.forgotten.extend(forgotten.into_iter().map(|epoch| (epoch, kind)));
            self.store(kind, epoch, update);
            self.stored.remove(&epoch);
        }
    }

    fn estimate(
        &mut self,
        kind: Kind,
        definition: &Definition,
        reached: Reached,
        update: &mut CompletenessUpdate,
    ) {
        let time_ms = reached.time_ms();
        for epoch in self.open.clone() {
            let age_ms = time_ms.map_or(-1, |at| at.saturating_sub(definition.start_ms(epoch)));
            let age = i128::from(age_ms) * i128::from(UNITS);
            let age = age.div_euclid(i128::from(definition.epoch_length_ms));
            let age = i64::try_from(age).unwrap_or(i64::MAX);
            let curve = self.curves.curve(epoch);
            let (read, seen) = (curve.timed(), curve.seen());
            let estimate = self.curves.estimate(epoch, age, read);
            let row = Completeness::new((epoch, kind), seen, reached.unread, estimate);
            if self.told.get(&epoch) != Some(&row) {
                self.told.insert(epoch, row.clone());
                update.rows.push(row);
            }
            self.store(kind, epoch, update);
        }
    }

    /// Adds a curve to what is stored, unless the store has it like this.
    fn store(&mut self, kind: Kind, epoch: Epoch, update: &mut CompletenessUpdate) {
        let Some(curve) = self.curves.get(epoch) else { return };
        if self.stored.get(&epoch) != Some(curve) {
            let (curve, first_whole) = (curve.clone(), self.curves.begun());
            self.stored.insert(epoch, curve.clone());
            update.curves.push(StoredCurve { epoch, kind, first_whole, curve });
        }
    }
}
