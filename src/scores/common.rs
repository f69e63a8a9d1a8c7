//! What all videos have in common in an epoch.
//!
//! Three things are computed from all rows of an epoch, one after the other: its *activity*, plays
//! for each impression, which turns past impressions into exposure; what is known of the *habits*
//! of all videos, which says what to believe of one that is known little; and its *common factor*,
//! by how much the plays of all videos exceed what is usual for each of them. The last one contains
//! whatever concerns all videos alike: the time of day, an outage, a holiday, and that the plays of
//! a provisional epoch have not all arrived yet.
//!
//! The sums are integers, so they do not depend on the order of the rows. They enter the rows
//! rounded, so that not every event changes every row.

use super::baseline::{Habit, VARIANCES, VARIANCES_COUNT, Variances};
use super::dispersion::{GRID, Shares};
use serde::{Deserialize, Serialize};
use std::array;

/// Steps by which a factor of 2 is divided: a step is 0.27 %.
const STEPS: f64 = 256.0;
/// The unit of the sums of weighted plays.
const UNIT: f64 = 1_048_576.0;
/// The units of likeness and of shares of the grid.
const LIKENESS_UNIT: f64 = 65_536.0;
const SHARE_UNIT: f64 = 1_073_741_824.0;
/// As many videos that are perfectly known as the assumed variances count for.
const ASSUMED: f64 = 1.0;
/// Plays count at most so many standard deviations away from the likely ones.
const FAR: f64 = 3.0;
/// A video's plays weigh less the more are usual, as its own news would count as everybody's.
const CROWDING: f64 = 0.02;

/// A ratio of positive integers, rounded on a logarithmic scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ratio(i32);

impl Ratio {
    /// Rounds a ratio. Returns `None` unless both numbers are positive.
    pub fn of(numerator: i64, denominator: i64) -> Option<Ratio> {
        let logarithm = |number: i64| libm::log2(number as f64);
        (numerator > 0 && denominator > 0).then(|| {
            let steps = (logarithm(numerator) - logarithm(denominator)) * STEPS;
            Ratio(libm::round(steps) as i32)
        })
    }

    /// Its value.
    pub fn value(self) -> f64 {
        libm::exp2(f64::from(self.0) / STEPS)
    }
}

/// What a row adds to what is known of the habits of all videos.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HabitPart(pub [i64; HABIT_PARTS]);

/// Of a [`HabitPart`]: plays and usual plays; products and weights; shares of the grid.
pub const HABIT_PARTS: usize = 2 + 2 * VARIANCES_COUNT + GRID.len();

impl HabitPart {
    /// What a habit adds, without the plays of its row.
    pub fn of_habit(habit: &Habit) -> HabitPart {
        let mut parts = [0; HABIT_PARTS];
        let fixed = |number: f64| libm::round(number) as i64;
        for (at, one) in habit.likeness.iter().enumerate() {
            parts[2 + 2 * at] = fixed(one.product * one.weight * LIKENESS_UNIT);
            parts[3 + 2 * at] = fixed(one.weight * LIKENESS_UNIT);
        }
        // Whoever knows little says little about the others.
        let information = habit.evidence.information();
        let information = information * information;
        let Shares(shares) = habit.evidence.posterior(&Shares::EVEN);
        for (part, share) in parts[2 + 2 * VARIANCES_COUNT..].iter_mut().zip(shares) {
            *part = fixed(share * information * SHARE_UNIT);
        }
        HabitPart(parts)
    }

    /// The same with the plays of a row, where `usual` plays are usual, roughly.
    pub fn with(self, plays: u64, usual: f64) -> HabitPart {
        let fixed = |number: f64| libm::round(number) as i64;
        let weight = 1.0 / (1.0 + CROWDING * usual);
        let HabitPart(mut parts) = self;
        parts[0] = fixed(plays as f64 * weight * UNIT);
        parts[1] = fixed(usual * weight * UNIT);
        HabitPart(parts)
    }

    /// By how much one is more than another.
    pub fn minus(self, other: HabitPart) -> HabitPart {
        HabitPart(array::from_fn(|at| self.0[at] - other.0[at]))
    }
}

/// What is known of the habits of all videos that have a row in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Habits {
    /// The variances of factors among them.
    pub variances: Variances,
    /// How much they scatter: the prior of each.
    pub prior: Shares,
    /// By how much their plays exceed what is usual, roughly.
    pub rough_factor: Ratio,
}

impl Habits {
    /// From the sums over all rows of an epoch. Returns `None` if nothing was played.
    pub fn of(sums: &[i64; HABIT_PARTS]) -> Option<Habits> {
        let rough_factor = Ratio::of(sums[0], sums[1])?;
        let Variances(assumed) = VARIANCES;
        let variances = array::from_fn(|at| {
            // As if some videos had shown exactly what is assumed.
            let weight = ASSUMED / (assumed[at] * assumed[at]);
            let [product, weights] = [sums[2 + 2 * at], sums[3 + 2 * at]].map(|one| one as f64);
            let variance = (product / LIKENESS_UNIT + weight * assumed[at])
                / (weights / LIKENESS_UNIT + weight);
            // Coarse, so that it does not change with every event.
            let steps = libm::round(libm::log2(variance.clamp(1e-5, 1.0)) * 4.0);
            libm::exp2(steps / 4.0)
        });
        let mut counted = [0; GRID.len()];
        counted.copy_from_slice(&sums[2 + 2 * VARIANCES_COUNT..]);
        let prior = Shares::prior(&counted);
        Some(Habits { variances: Variances(variances), prior, rough_factor })
    }
}

/// What a row adds to the sums of its epoch: plays, and usual plays, both weighted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contribution {
    /// Its plays.
    pub plays: i64,
    /// The plays that are usual for it.
    pub usual: i64,
}

impl Contribution {
    /// What a row with `plays` adds, where `usual` plays are usual. Plays far from `likely`, with a
    /// dispersion, are only taken as far: news of one video should not count as everybody's.
    pub fn of(plays: u64, usual: f64, likely: f64, dispersion: f64) -> Contribution {
        let weight = 1.0 / (1.0 + CROWDING * usual);
        let reach = FAR * (likely + dispersion * likely * likely).sqrt() + 1.0;
        let plays = (plays as f64).clamp(likely - reach, likely + reach);
        let fixed = |number: f64| libm::round(number * weight * UNIT) as i64;
        Contribution { plays: fixed(plays), usual: fixed(usual) }
    }

    /// By how much one is more than another.
    pub fn minus(self, other: Contribution) -> Contribution {
        Contribution { plays: self.plays - other.plays, usual: self.usual - other.usual }
    }
}

/// What the rows of an epoch have in common.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Common {
    /// Plays / usual plays.
    factor: Ratio,
    /// The sum of usual plays, rounded.
    usual: Ratio,
}

impl Common {
    /// From the sums of plays and usual plays over all rows of an epoch. Returns `None` if nothing
    /// was played.
    pub fn of([plays, usual]: &[i64; 2]) -> Option<Common> {
        let factor = Ratio::of(*plays, *usual)?;
        // A sixteenth as fine: it only matters for what a single video has in it.
        let Ratio(steps) = Ratio::of(*usual, 1)?;
        Some(Common { factor, usual: Ratio((steps + 8).div_euclid(16) * 16) })
    }

    /// The common factor of all rows but one, and the variance of its error relative to its square.
    /// Returns `None` unless the others have at least so many plays, as weighted.
    pub fn of_others(&self, own: &Contribution, least_plays: f64) -> Option<(f64, f64)> {
        let (factor, usual) = (self.factor.value(), self.usual.value());
        let others_usual = usual - own.usual as f64;
        let others_plays = factor * usual - own.plays as f64;
        let is_enough = others_usual > 0.0 && others_plays >= least_plays * UNIT;
        is_enough.then(|| (others_plays / others_usual, UNIT / others_plays))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_rounded_to_a_third_of_a_percent() {
        for (numerator, denominator) in [(1, 3), (1_000_000, 7), (5, 5), (3, i64::MAX / 2)] {
            let exact = numerator as f64 / denominator as f64;
            let found = Ratio::of(numerator, denominator).unwrap().value();
            assert!((found / exact - 1.0).abs() < 0.0014, "{found} for {exact}");
        }
        assert_eq!(Ratio::of(0, 3), None);
        assert_eq!(Ratio::of(3, 0), None);
    }

    #[test]
    fn a_video_is_left_out_of_its_own_common_factor() {
        // Nine others have what is usual; one has five times as much, which is taken as far.
        let others = Contribution::of(20, 20.0, 20.0, 1.0);
        let own = Contribution::of(100, 20.0, 20.0, 1.0);
        let sums = [9 * others.plays + own.plays, 9 * others.usual + own.usual];
        let common = Common::of(&sums).unwrap();
        let (factor, error) = common.of_others(&own, 1.0).unwrap();
        assert!((factor - 1.0).abs() < 0.05, "{factor}");
        assert!(error > 0.0 && error < 0.01, "{error}");
        assert_eq!(common.of_others(&own, 1e9), None);
        assert_eq!(Common::of(&[0, 5]), None);
    }

    #[test]
    fn plays_far_from_the_likely_ones_count_less() {
        let far = Contribution::of(1_000, 20.0, 20.0, 0.0);
        assert_eq!(far, Contribution::of(39, 20.0, 20.0, 0.0).minus(Contribution::default()));
        assert!(Contribution::of(0, 20.0, 20.0, 0.0).plays > 0);
    }
}
