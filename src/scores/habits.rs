//! The state of a worker that finds the habits of its videos.

use super::baseline::{Habit, Past};
use super::common::{HabitPart, Ratio};
use super::{Activities, Counts, Moments, Settings, habit_part};
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
    /// The row now; `None` if it is gone, or its video has no habits yet.
    pub now: Option<(Counts, Habit)>,
    /// By how much it adds more to the sums of its epoch than before.
    pub added: HabitPart,
}

/// A row of an epoch that may still change.
struct OpenRow {
    counts: Counts,
    habit: Option<Habit>,
    /// Whether its history has changed since `habit` was computed.
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
        self.open = self.open.split_off(&first);
        self.moments = self.moments.split_off(&first);
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
                if let Some(row) = rows.get_mut(&video) {
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
                for (video, row) in rows {
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
        let new = OpenRow { counts, habit: None, is_stale: true, part: HabitPart::default() };
        rows.entry(video).or_insert(new).counts = counts;
    }

    /// Looks at a row again. Returns its change, if any.
    fn renew(&mut self, epoch: i64, video: u64) -> Option<HabitChange> {
        let settings = &self.settings;
        let rows = self.open.get_mut(&epoch)?;
        let row = rows.get_mut(&video)?;
        let counts = self.counts.get(&video).map_or(&[][..], Vec::as_slice);
        let is_there = counts.binary_search_by_key(&epoch, |(at, _)| *at).is_ok();
        let had_habit = row.habit.is_some();
        if row.is_stale {
            let activities = &self.activities;
            let moments = self.moments.entry(epoch);
            let moments = moments.or_insert_with(|| Moments::of(activities, epoch, settings));
            let moments = moments.as_ref();
            row.habit =
                moments.and_then(|moments| moments.habit(counts, epoch, settings, &mut self.past));
            row.is_stale = false;
        }
        let now = row.habit.filter(|_| is_there).map(|habit| (row.counts, habit));
        let part = now
            .map_or(HabitPart::default(), |(counts, habit)| habit_part(counts, &habit, settings));
        let added = part.minus(row.part);
        row.part = part;
        if !is_there {
            rows.remove(&video);
        }
        (had_habit || now.is_some()).then_some(HabitChange { video, epoch, now, added })
    }
}
