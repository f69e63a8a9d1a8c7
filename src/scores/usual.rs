//! The state of a worker that finds what is usual for the rows of its videos.

use super::baseline::Habit;
use super::common::{Contribution, Habits};
use super::habits::HabitChange;
use super::{Counts, Settings, UsualRow, first_open};
use crate::time::Through;
use foldhash::fast::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A row that changed.
#[derive(Clone, Debug, PartialEq)]
pub struct UsualChange {
    /// Its video.
    pub video: u64,
    /// Its epoch.
    pub epoch: i64,
    /// The row now; `None` if it is gone, or nothing is usual for it.
    pub now: Option<UsualRow>,
    /// By how much it adds more to the sums of its epoch than before.
    pub added: Contribution,
}

/// An epoch that may still change, or whose scores later ones need.
#[derive(Default)]
struct OpenEpoch {
    habits: Option<Habits>,
    rows: HashMap<u64, OpenRow, RandomState>,
}

#[derive(Default)]
struct OpenRow {
    now: Option<Counts>,
    habit: Option<Habit>,
    usual: Option<UsualRow>,
}

/// What is usual for the rows of epochs that may still change, and of those before them.
pub struct UsualState {
    settings: Settings,
    epochs: BTreeMap<i64, OpenEpoch>,
}

impl UsualState {
    /// Creates the state before the first publication.
    pub fn new(settings: Settings) -> UsualState {
        UsualState { settings, epochs: BTreeMap::new() }
    }

    /// Takes the changes of a publication. Returns the rows that changed.
    pub fn update(
        &mut self,
        changes: Vec<HabitChange>,
        habits: Vec<(i64, Option<Habits>)>,
        final_through: Through,
    ) -> Vec<UsualChange> {
        let first = self.settings.first_needed(final_through);
        self.epochs = self.epochs.split_off(&first_open(final_through));
        let mut changed: BTreeSet<(i64, u64)> = BTreeSet::new();
        for HabitChange { video, epoch, now, habit, .. } in changes {
            if epoch >= first {
                let rows = &mut self.epochs.entry(epoch).or_default().rows;
                let row = rows.entry(video).or_default();
                row.now = now;
                row.habit = habit.or(row.habit);
                changed.insert((epoch, video));
            }
        }
        for (epoch, habits) in habits.into_iter().filter(|(epoch, _)| *epoch >= first) {
            let of_epoch = self.epochs.entry(epoch).or_default();
            of_epoch.habits = habits;
            changed.extend(of_epoch.rows.keys().map(|video| (epoch, *video)));
        }
        changed.into_iter().filter_map(|(epoch, video)| self.renew(epoch, video)).collect()
    }

    /// Looks at a row again. Returns its change, if any.
    fn renew(&mut self, epoch: i64, video: u64) -> Option<UsualChange> {
        let OpenEpoch { habits, rows } = self.epochs.get_mut(&epoch)?;
        let row = rows.get_mut(&video)?;
        let all = row.now.zip(row.habit.as_ref()).zip(habits.as_ref());
        let now = all
            .map(|((counts, habit), habits)| UsualRow::of(counts, habit, habits, &self.settings));
        let before = std::mem::replace(&mut row.usual, now);
        if row.now.is_none() {
            rows.remove(&video);
        }
        let of =
            |row: Option<UsualRow>| row.map_or(Contribution::default(), |row| row.contribution);
        let added = of(now).minus(of(before));
        (now != before).then_some(UsualChange { video, epoch, now, added })
    }
}
