//! The state of a worker that finds the habits of its videos.

use super::baseline::{Habit, Past};
use super::common::{HabitPart, Ratio};
use super::{Activities, Counts, Moments, Settings, first_open};
use crate::time::Through;
use differential_dataflow::consolidation::consolidate;
use foldhash::fast::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A row of counts: video, epoch, counts.
pub type CountRow = (u64, i64, Counts);

/// A row that changed.
#[derive(Clone, Debug, PartialEq)]
pub struct HabitChange {
    /// Its video.
    pub video: u64,
    /// Its epoch.
    pub epoch: i64,
    /// The row now; `None` if it is gone, or its video has no habit yet.
    pub now: Option<Counts>,
    /// The habit of the video, if it has changed.
    pub habit: Option<Habit>,
    /// By how much it adds more to the sums of its epoch than before.
    pub added: HabitPart,
}

/// A row of an epoch that may still change.
struct OpenRow {
    counts: Counts,
    /// The rough usual rate of the video, if it has a habit.
    rough_rate: Option<f64>,
    /// Whether its history has changed since its habit was computed.
    is_stale: bool,
    /// What it adds to the sums of its epoch.
    part: HabitPart,
}

/// Counts of the history and of open epochs, by video; and habits in open epochs.
pub struct HabitState {
    settings: Settings,
    counts: HashMap<u64, Vec<(i64, Counts)>, RandomState>,
    activities: Activities,
    open: BTreeMap<i64, HashMap<u64, OpenRow, RandomState>>,
    /// The moments of the histories of open epochs.
    moments: BTreeMap<i64, Option<Moments>>,
    past: Vec<Past>,
}

impl HabitState {
    /// Creates the state before the first publication.
    pub fn new(settings: Settings) -> HabitState {
        HabitState {
            settings,
            counts: HashMap::default(),
            activities: Activities::new(),
            open: BTreeMap::new(),
            moments: BTreeMap::new(),
            past: Vec::new(),
        }
    }

    /// Takes the changes of a publication. Returns the rows that changed. Epochs that no row may
    /// need any more, as they are final, are left out.
    pub fn update(
        &mut self,
        mut rows: Vec<(CountRow, isize)>,
        activities: Vec<(i64, Option<Ratio>)>,
        final_through: Through,
    ) -> Vec<HabitChange> {
        let first = self.settings.first_needed(final_through);
        // Epochs that were final before are done. Those of a history come once, at the start.
        let first_open = first_open(final_through);
        self.open = self.open.split_off(&first_open);
        self.moments = self.moments.split_off(&first_open);
        // Rows to look at again: of each epoch, or all of it.
        let mut changed: BTreeSet<(i64, u64)> = BTreeSet::new();
        consolidate(&mut rows);
        for of_row in rows
            .chunk_by(|((video, epoch, _), _), ((other, at, _), _)| (video, epoch) == (other, at))
        {
            let (video, epoch, _) = of_row[0].0;
            let now = of_row.iter().find(|(_, diff)| *diff > 0).map(|((_, _, counts), _)| *counts);
            self.set(video, epoch, now);
            if epoch >= first {
                changed.insert((epoch, video));
                self.set_open(video, epoch, now);
            }
            for (later, rows) in self.open.range_mut(self.settings.later(epoch)) {
                if let Some(row) = rows.get_mut(&video).filter(|row| !row.is_stale) {
                    row.is_stale = true;
                    changed.insert((*later, video));
                }
            }
        }
        for (epoch, activity) in activities {
            match activity {
                Some(activity) => self.activities.insert(epoch, activity),
                None => self.activities.remove(&epoch),
            };
            for (later, rows) in self.open.range_mut(self.settings.later(epoch)) {
                self.moments.remove(later);
                for (video, row) in rows.iter_mut().filter(|(_, row)| !row.is_stale) {
                    row.is_stale = true;
                    changed.insert((*later, *video));
                }
            }
        }
        changed.into_iter().filter_map(|(epoch, video)| self.renew(epoch, video)).collect()
    }

    /// Sets the counts of a row.
    fn set(&mut self, video: u64, epoch: i64, now: Option<Counts>) {
        let rows = self.counts.entry(video).or_default();
        match (rows.binary_search_by_key(&epoch, |(at, _)| *at), now) {
            (Ok(at), Some(counts)) => rows[at].1 = counts,
            (Ok(at), None) => {
                rows.remove(at);
            }
            (Err(at), Some(counts)) => rows.insert(at, (epoch, counts)),
            (Err(_), None) => {}
        }
        if rows.is_empty() {
            self.counts.remove(&video);
        }
    }

    fn set_open(&mut self, video: u64, epoch: i64, now: Option<Counts>) {
        let rows = self.open.entry(epoch).or_default();
        // A row without counts is removed when it is looked at again.
        let counts = now.unwrap_or(Counts { plays: 0, impressions: 0 });
        let part = HabitPart::default();
        let new = OpenRow { counts, rough_rate: None, is_stale: true, part };
        rows.entry(video).or_insert(new).counts = counts;
    }

    /// Looks at a row again. Returns its change, if any.
    fn renew(&mut self, epoch: i64, video: u64) -> Option<HabitChange> {
        let settings = &self.settings;
        let rows = self.open.get_mut(&epoch)?;
        let row = rows.get_mut(&video)?;
        let counts = self.counts.get(&video).map_or(&[][..], Vec::as_slice);
        let is_there = counts.binary_search_by_key(&epoch, |(at, _)| *at).is_ok();
        let had_habit = row.rough_rate.is_some();
        let mut habit = None;
        if row.is_stale {
            let activities = &self.activities;
            let moments = self.moments.entry(epoch);
            let moments = moments.or_insert_with(|| Moments::of(activities, epoch, settings));
            habit = moments
                .as_ref()
                .and_then(|moments| moments.habit(counts, epoch, settings, &mut self.past));
            row.rough_rate = habit.as_ref().map(|habit| habit.rough_rate(settings.prior_plays));
            row.is_stale = false;
        }
        let now = row.rough_rate.filter(|_| is_there).map(|rate| (row.counts, rate));
        let part = now.map_or(HabitPart::default(), |(counts, rate)| {
            let part = habit.as_ref().map_or(row.part, HabitPart::of_habit);
            part.with(counts.plays, settings.units(counts) * rate)
        });
        let added = part.minus(row.part);
        row.part = part;
        if !is_there {
            rows.remove(&video);
        }
        let now = now.map(|(counts, _)| counts);
        let change = HabitChange { video, epoch, now, habit, added };
        (had_habit || now.is_some()).then_some(change)
    }
}
