//! How much more, or less, is a video played than is usual for it? A score that means something:
//! when nothing has changed, it exceeds 3 as often as a standard normal number does.
//!
//! ```text
//! past rows ──▶ habit of the video ──▶ what is usual now ──▶ expected plays ──▶ score ──▶ momentum
//!                    │        ▲               │        ▲
//! all rows           ▼        │               ▼        │
//! of the epoch:  habits of all videos     common factor of all others
//! ```
//!
//! - [`baseline`]: the plays that are usual for a video, from its own past.
//! - [`dispersion`]: how much they scatter.
//! - [`common`]: what all videos have in common in an epoch.
//! - [`tails`], [`normal`]: from a count to a probability, and to standard deviations.
//! - [`momentum`]: recent epochs together, and since when a video has been rising.
//! - [`flow`]: the same as a dataflow, updated with every publication.
//! - [`oracle`]: the same from scratch.
//!
//! Everything that is added up over videos is an integer. What is added up within a video is added
//! in the order of epochs. The functions are those of the crate `libm`, so they give the same bits
//! on every platform.

pub mod baseline;
pub mod common;
pub mod dispersion;
pub mod flow;
mod habits;
mod latest;
pub mod momentum;
pub mod normal;
pub mod oracle;
mod sums;
pub mod tails;
#[cfg(test)]
mod tests;
mod usual;

pub use momentum::Score;

use crate::time::Through;
use baseline::{Baseline, Habit, Past};
use common::{Common, Contribution, HabitPart, Habits, Ratio};
use dispersion::{GRID, Shares};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use tails::Tails;

/// Values on the grid of dispersions with a smaller share do not matter.
const SHARE_MIN: f64 = 1e-5;
const THOUSAND: f64 = 1_000.0;
/// Of the impressions of a row, at most this share is expected to be played.
const TAKE_RATE_MAX: f64 = 0.98;

/// What is compared with the plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// The impressions of the video.
    Impressions,
    /// The time that passed: a video that is shown more is also played more.
    Time,
}

/// The parameters of the model. Durations are in epochs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// What plays are compared with.
    pub exposure: Exposure,
    /// Epochs of a day.
    pub day: i64,
    /// Days of history.
    pub days: i64,
    /// Epochs between the history of a row and the row: those that may still change, and in which
    /// what is new would already be usual.
    pub guard: i64,
    /// The last days of the history, from which the dispersion is learned.
    pub evidence_days: i64,
    /// Without so many rows in the history there is no score.
    pub least_epochs: usize,
    /// Without so many plays in the history, and of other videos in the epoch, there is no score.
    pub least_plays: f64,
    /// As many plays as the usual rate of all videos counts for in that of one.
    pub prior_plays: f64,
    /// Epochs that the momentum and a rise look back, including the epoch itself.
    pub recent: i64,
    /// Epochs after which a score weighs half in the momentum.
    pub half_life: f64,
}

/// What was counted for a video in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Counts {
    /// Requests that played it.
    pub plays: u64,
    /// Requests that it was shown to.
    pub impressions: u64,
}

/// The score of a row, without that of other epochs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// The plays that were to be expected, in thousandths.
    pub expected_thousandths: i64,
    /// The score.
    pub score: Score,
}

impl Settings {
    /// The number of epochs before its own that a row depends on.
    pub fn history_epochs(&self) -> i64 {
        self.guard + self.days * self.day + self.recent - 1
    }

    /// The first and last epoch of the history of a row.
    fn window(&self, epoch: i64) -> (i64, i64) {
        (epoch - self.guard - self.days * self.day, epoch - self.guard - 1)
    }

    /// The epochs whose history includes an epoch.
    fn later(&self, epoch: i64) -> RangeInclusive<i64> {
        epoch + self.guard + 1..=epoch + self.guard + self.days * self.day
    }

    /// The first epoch whose score a row that is not final depends on, or whose rows may change.
    fn first_needed(&self, final_through: Through) -> i64 {
        first_open(final_through).saturating_add(1 - self.recent)
    }

    /// The units of exposure of a row, before what is common to its epoch.
    pub fn units(&self, counts: Counts) -> f64 {
        match self.exposure {
            Exposure::Impressions => counts.impressions as f64,
            Exposure::Time => 1.0,
        }
    }

    /// The activity of an epoch in which all videos together have these counts: by how much the
    /// plays to be expected for a unit of exposure differ from epoch to epoch.
    pub fn activity(&self, plays: i64, impressions: i64) -> Option<Ratio> {
        match self.exposure {
            Exposure::Impressions => Ratio::of(plays, impressions),
            Exposure::Time => Ratio::of(plays, 1),
        }
    }
}

/// The first epoch that is not final.
fn first_open(final_through: Through) -> i64 {
    match final_through {
        Through::Nothing => i64::MIN,
        Through::Epoch(last) => last.plus(1).0,
        Through::Everything => i64::MAX,
    }
}

/// The activity of epochs, by number.
pub type Activities = BTreeMap<i64, Ratio>;

/// The activities of the epochs in the history of the rows of an epoch, relative to their mean.
#[derive(Clone, Debug)]
pub struct Moments {
    first: i64,
    relative: Vec<f64>,
    mean: f64,
}

impl Moments {
    /// Returns `None` if nothing was played in the whole history.
    pub fn of(activities: &Activities, epoch: i64, settings: &Settings) -> Option<Moments> {
        let (first, last) = settings.window(epoch);
        let mut relative = vec![0.0; (last + 1 - first) as usize];
        let (mut sum, mut count) = (0.0, 0.0);
        for (at, activity) in activities.range(first..=last) {
            let value = activity.value();
            relative[(at - first) as usize] = value;
            (sum, count) = (sum + value, count + 1.0);
        }
        let mean = sum / count;
        relative.iter_mut().for_each(|one| *one /= mean);
        (count > 0.0).then_some(Moments { first, relative, mean })
    }

    /// The exposure of a past row.
    fn exposure(&self, epoch: i64, units: f64) -> f64 {
        units * self.relative[(epoch - self.first) as usize]
    }

    /// The habit of a video for a row of an epoch, from the counts of its video in the epochs
    /// before it, which are sorted and may include others.
    pub fn habit(
        &self,
        counts: &[(i64, Counts)],
        epoch: i64,
        settings: &Settings,
        past: &mut Vec<Past>,
    ) -> Option<Habit> {
        let (first, last) = settings.window(epoch);
        let counts = &counts[counts.partition_point(|(at, _)| *at < first)..];
        let counts = &counts[..counts.partition_point(|(at, _)| *at <= last)];
        past.clear();
        let mut push = |epoch: i64, plays: u64, units: f64| {
            let exposure = self.exposure(epoch, units);
            past.push(Past::new(epoch, plays, exposure, settings.day, past.last()));
        };
        match settings.exposure {
            Exposure::Impressions => {
                for (at, counts) in counts {
                    push(*at, counts.plays, counts.impressions as f64);
                }
                Habit::of(past, epoch, self.mean, settings)
            }
            Exposure::Time => {
                // From its first row on, an epoch without a row is one without plays.
                let mut rows = counts.iter().peekable();
                let from = rows.peek().map_or(last + 1, |(at, _)| *at);
                for at in from..=last {
                    let plays = rows.next_if(|row| row.0 == at).map_or(0, |row| row.1.plays);
                    push(at, plays, 1.0);
                }
                let sum = |part: fn(&Past) -> f64| past.iter().map(part).sum::<f64>();
                let own_rate = sum(|row| row.plays) / sum(|row| row.exposure);
                Habit::of(past, epoch, own_rate, settings)
            }
        }
    }
}

/// What a row adds to what is known of the habits of all videos.
pub fn habit_part(counts: Counts, habit: &Habit, settings: &Settings) -> HabitPart {
    let usual = settings.units(counts) * habit.rough_rate(settings.prior_plays);
    HabitPart::of_habit(habit).with(counts.plays, usual)
}

/// A row for which something is usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UsualRow {
    /// Its counts.
    pub counts: Counts,
    /// What is usual.
    pub baseline: Baseline,
    /// What it adds to what is common to its epoch.
    pub contribution: Contribution,
}

impl UsualRow {
    /// From the habits of the video and of all videos.
    pub fn of(counts: Counts, habit: &Habit, habits: &Habits, settings: &Settings) -> UsualRow {
        let baseline = habit.baseline(&habits.variances, &habits.prior, settings.prior_plays);
        let usual = settings.units(counts) * baseline.rate;
        let likely = usual * habits.rough_factor.value();
        let dispersion = baseline.scatter.mean() + baseline.error;
        let contribution = Contribution::of(counts.plays, usual, likely, dispersion);
        UsualRow { counts, baseline, contribution }
    }
}

/// The score of a row. `None` unless the other videos have enough plays.
pub fn score(row: &UsualRow, common: &Common, settings: &Settings) -> Option<Scored> {
    let UsualRow { counts, baseline, contribution } = row;
    let (factor, common_error) = common.of_others(contribution, settings.least_plays)?;
    // Of n impressions, at most n are played: without more scatter, the plays are binomial.
    let trials = match settings.exposure {
        Exposure::Impressions => counts.impressions as f64,
        Exposure::Time => f64::INFINITY,
    };
    let expected = factor * settings.units(*counts) * baseline.rate;
    let expected = expected.min(TAKE_RATE_MAX * trials);
    if expected <= 0.0 {
        return None;
    }
    let error = baseline.error + common_error;
    let Shares(shares) = baseline.scatter;
    let (mut lower, mut upper, mut variance) = (0.0, 0.0, 0.0);
    for (share, scatter) in shares.into_iter().zip(GRID).filter(|(share, _)| *share > SHARE_MIN) {
        let relative = scatter + error;
        let dispersion = relative - (1.0 + relative) / trials;
        let tails = Tails::of(counts.plays, expected, dispersion);
        lower += share * tails.lower;
        upper += share * tails.upper;
        variance += share * (expected + dispersion * expected * expected);
    }
    let sum = lower + upper;
    let thousandths = libm::round(normal::z_of(lower / sum, upper / sum) * THOUSAND) as i64;
    let shared = (expected * expected * baseline.error / variance).clamp(0.0, 1.0);
    let score = Score { thousandths, shared };
    Some(Scored { expected_thousandths: libm::round(expected * THOUSAND) as i64, score })
}
