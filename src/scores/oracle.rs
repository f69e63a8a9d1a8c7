//! The scores of whole tables of counts, from scratch: epoch by epoch, and video by video.
//!
//! It shares the formulas with the dataflow. `dataflows/scores.sql` has them a second time, written
//! apart; `benches/against` compares its rows.

use super::common::{Common, Habits};
use super::momentum::{momentum, rising_for};
use super::{Activities, Counts, Moments, Scored, Settings, UsualRow, habit_part, score};
use std::collections::BTreeMap;

/// The counts of all rows, by video and epoch.
pub type Table = BTreeMap<u64, BTreeMap<i64, Counts>>;

/// The row of a video in an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoredRow {
    /// The epoch.
    pub epoch: i64,
    /// The video.
    pub video: u64,
    /// Its plays.
    pub plays: u64,
    /// Its score, and the plays that were to be expected.
    pub scored: Scored,
    /// The recent scores together, in thousandths of a standard deviation.
    pub momentum: i64,
    /// The epoch in which the present rise began.
    pub since: Option<i64>,
}

/// Computes all rows, sorted by video and epoch.
pub fn rows(table: &Table, settings: &Settings) -> Vec<ScoredRow> {
    let activities = activities(table, settings);
    let mut scores: BTreeMap<u64, BTreeMap<i64, (u64, Scored)>> = BTreeMap::new();
    for epoch in epochs(table) {
        for (video, scored) in of_epoch(table, &activities, epoch, settings) {
            scores.entry(video).or_default().insert(epoch, scored);
        }
    }
    let mut rows = Vec::new();
    for (video, of_video) in scores {
        for (epoch, (plays, scored)) in &of_video {
            let at = |epoch: i64| of_video.get(&epoch).map(|(_, scored)| scored.score);
            let (epoch, recent) = (*epoch, settings.recent);
            let newest_first = (0..recent).map(|age| at(epoch - age));
            let momentum = momentum(newest_first, settings.half_life);
            let oldest_first: Vec<_> = (0..recent).rev().map(|age| at(epoch - age)).collect();
            let since = rising_for(oldest_first.into_iter()).map(|ago| epoch - ago);
            rows.push(ScoredRow { epoch, video, plays: *plays, scored: *scored, momentum, since });
        }
    }
    rows
}

/// Computes the plays and scores of the videos of one epoch, without those of others.
pub fn scores_in(table: &Table, epoch: i64, settings: &Settings) -> Vec<(u64, u64, Scored)> {
    let of_epoch = of_epoch(table, &activities(table, settings), epoch, settings);
    of_epoch.into_iter().map(|(video, (plays, scored))| (video, plays, scored)).collect()
}

fn epochs(table: &Table) -> impl Iterator<Item = i64> {
    let all = table.values().flat_map(|of_video| of_video.keys().copied());
    all.collect::<std::collections::BTreeSet<_>>().into_iter()
}

fn activities(table: &Table, settings: &Settings) -> Activities {
    let mut sums: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    for (epoch, counts) in table.values().flatten() {
        let sum = sums.entry(*epoch).or_default();
        sum.0 += counts.plays.cast_signed();
        sum.1 += counts.impressions.cast_signed();
    }
    let of = |(epoch, (plays, impressions))| Some((epoch, settings.activity(plays, impressions)?));
    sums.into_iter().filter_map(of).collect()
}

fn sum<const N: usize>(parts: impl Iterator<Item = [i64; N]>) -> [i64; N] {
    parts.fold([0; N], |sum, part| std::array::from_fn(|at| sum[at] + part[at]))
}

/// The plays and scores of the videos of an epoch.
fn of_epoch(
    table: &Table,
    activities: &Activities,
    epoch: i64,
    settings: &Settings,
) -> Vec<(u64, (u64, Scored))> {
    let Some(moments) = Moments::of(activities, epoch, settings) else { return Vec::new() };
    let mut rows = Vec::new();
    for (video, of_video) in table {
        let Some(counts) = of_video.get(&epoch) else { continue };
        let past: Vec<_> = of_video.range(..epoch).map(|(at, counts)| (*at, *counts)).collect();
        if let Some(habit) = moments.habit(&past, epoch, settings, &mut Vec::new()) {
            rows.push((*video, *counts, habit));
        }
    }
    let parts = rows.iter().map(|(_, counts, habit)| habit_part(*counts, habit, settings).0);
    let Some(habits) = Habits::of(&sum(parts)) else { return Vec::new() };
    let usual = rows
        .iter()
        .map(|(video, counts, habit)| (*video, UsualRow::of(*counts, habit, &habits, settings)));
    let usual: Vec<_> = usual.collect();
    let parts = usual.iter().map(|(_, row)| [row.contribution.plays, row.contribution.usual]);
    let Some(common) = Common::of(&sum(parts)) else { return Vec::new() };
    let scored = usual.iter().filter_map(|(video, row)| {
        Some((*video, (row.counts.plays, score(row, &common, settings)?)))
    });
    scored.collect()
}
