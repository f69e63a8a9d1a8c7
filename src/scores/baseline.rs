//! What is usual for a video at a moment, from its past rows.
//!
//! For a row of epoch e, the past is the `days` days that end `guard` epochs before e. Each past
//! row has plays k and an *exposure* x: how many plays an average video would have had in its
//! place, so that what is common to all videos at a moment does not look like a habit of one. The
//! plays that are usual for one unit of exposure are a product of five factors. Each one is
//! estimated from the plays k that are left when those before it are known, and drawn towards 1 as
//! if its prior had seen a number of plays that is 1 / (the variance of the factor among videos):
//!
//! 1. the usual rate, drawn towards that of all videos;
//! 2. the level of the last day;
//! 3. the time of day: [`NEAR_SLOTS`] slots around that of e, on all days;
//! 4. more closely: [`NEXT_SLOTS`] slots around it;
//! 5. the level of the last quarter of a day.
//!
//! Where rates drift, they have also changed since: by how much is added to the error.
//!
//! Rows that scatter more than independent plays count for less. Rows far from what is usual are
//! left out.

use super::Settings;
use super::dispersion::{Evidence, Shares};
use serde::{Deserialize, Serialize};
use std::ops::{AddAssign, Range};

/// The slots of the day that the third factor averages over.
pub const NEAR_SLOTS: i64 = 9;
/// The slots of the day that the fourth factor averages over.
pub const NEXT_SLOTS: i64 = 3;
/// Rows that are further from the usual than so many standard deviations are left out. If there are
/// many of them, they also make the standard deviation larger: then the usual has changed.
const OUTLIER: f64 = 4.0;

/// A past row of a video.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Past {
    /// The number of its epoch.
    pub epoch: i64,
    /// Its slot: the number of its epoch in its day.
    pub slot: i64,
    /// Whether the number of its day is odd.
    pub is_odd: bool,
    /// Its plays.
    pub plays: f64,
    /// Its exposure, in plays of an average video.
    pub exposure: f64,
}

impl Past {
    /// A row with the exposure of an epoch. `before` is the row before it.
    pub fn new(epoch: i64, plays: u64, exposure: f64, day: i64, before: Option<&Past>) -> Past {
        let (mut slot, mut is_odd) = match before {
            Some(before) => (before.slot + epoch - before.epoch, before.is_odd),
            None => (epoch.rem_euclid(day), epoch.div_euclid(day) & 1 == 1),
        };
        // Most rows are of the epoch after, and a division takes longer.
        while slot >= day {
            (slot, is_odd) = (slot - day, !is_odd);
        }
        Past { epoch, slot, is_odd, plays: plays as f64, exposure }
    }
}

/// The past of a row, summed up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Habit {
    all: Sums,
    level: Sums,
    near: Sums,
    next: Sums,
    /// Of the last quarter of a day, with exposures that contain the time of day.
    lately: Sums,
    /// The usual number of plays of all videos for each unit of exposure.
    common_rate: f64,
    /// How much the plays scatter.
    pub evidence: Evidence,
    /// What it says about the variances among videos.
    pub likeness: [Likeness; VARIANCES_COUNT],
}

/// The variances among videos: of the level, of the time of day near and next to that of the epoch,
/// of the level lately, and of what has changed since.
pub const VARIANCES_COUNT: usize = 5;

/// Two estimates of the same factor from different days, each less 1. Their product is on average
/// the variance of the factor among videos.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Likeness {
    /// The product.
    pub product: f64,
    /// How much it weighs.
    pub weight: f64,
}

/// The variances among videos, in the order of [`VARIANCES_COUNT`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variances(pub [f64; VARIANCES_COUNT]);

/// The variances before anything is known.
pub const VARIANCES: Variances = Variances([0.02, 0.03, 0.01, 0.005, 0.000_5]);

/// What is usual for a video in an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Baseline {
    /// Plays for each unit of exposure.
    pub rate: f64,
    /// The variance of the error of `rate`, relative to its square.
    pub error: f64,
    /// How much the plays scatter.
    pub scatter: Shares,
}

/// Sums over rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sums {
    plays: f64,
    exposure: f64,
    /// Of squared exposures.
    squares: f64,
}

impl AddAssign<&Past> for Sums {
    fn add_assign(&mut self, row: &Past) {
        self.plays += row.plays;
        self.exposure += row.exposure;
        self.squares += row.exposure * row.exposure;
    }
}

impl Sums {
    fn over<'a>(rows: impl IntoIterator<Item = &'a Past>) -> Sums {
        let mut sums = Sums::default();
        rows.into_iter().for_each(|row| sums += row);
        sums
    }

    /// The sums over the rows of both.
    fn and(&self, other: &Sums) -> Sums {
        Sums {
            plays: self.plays + other.plays,
            exposure: self.exposure + other.exposure,
            squares: self.squares + other.squares,
        }
    }

    /// The part of the information of the rows that a dispersion leaves, if `rate` is usual.
    fn left(&self, rate: f64, dispersion: f64) -> f64 {
        let Sums { exposure, squares, .. } = *self;
        if exposure > 0.0 { 1.0 / (1.0 + dispersion * rate * squares / exposure) } else { 1.0 }
    }

    /// By how much of its own deviation a row moves the factor of these rows, for each unit of its
    /// exposure.
    fn draws(&self, usual: Usual, variance: f64) -> f64 {
        let left = self.left(usual.rate, usual.dispersion) * usual.rate;
        left / (1.0 / variance + left * self.exposure)
    }

    /// The factor by which these rows exceed `rate`, drawn towards 1 by a prior of a variance, and
    /// the relative variance of its error.
    fn factor(&self, rate: f64, dispersion: f64, variance: f64) -> (f64, f64) {
        let (prior, left) = (1.0 / variance, self.left(rate, dispersion));
        let expected = prior + left * rate * self.exposure;
        ((prior + left * self.plays) / expected, 1.0 / expected)
    }
}

impl Habit {
    /// Sums up the past rows of a video, which are sorted by epoch, for a row of an epoch.
    /// `common_rate` is the usual number of plays of all videos for each unit of exposure.
    /// Returns `None` if there are too few.
    ///
    /// Rows are added up in the order of their epochs.
    pub fn of(
        rows: &mut Vec<Past>,
        epoch: i64,
        common_rate: f64,
        settings: &Settings,
    ) -> Option<Habit> {
        if rows.len() < settings.least_epochs || Sums::over(&*rows).plays < settings.least_plays {
            return None;
        }
        let dispersion = leave_out(rows, common_rate, settings);
        let all = Sums::over(&*rows);
        let (rate, _) = usual_rate(&all, common_rate, dispersion, settings.prior_plays);
        let day = settings.day;
        let (around, end) = (Around { slot: epoch.rem_euclid(day), day }, epoch - settings.guard);
        let usual = Usual { rate, dispersion };
        let [of_near, of_next] = likeness_of_slots(rows, around, usual);
        let levels =
            [end - day..end, end - 2 * day..end - day].map(|span| Sums::over(within(rows, span)));
        let near = Sums::over(rows.iter().filter(|past| around.includes(past, NEAR_SLOTS)));
        let next = Sums::over(rows.iter().filter(|past| around.includes(past, NEXT_SLOTS)));
        let slots = slots(rows, day, usual);
        let evidence = evidence(rows, &slots, usual, settings);
        // From here on, exposures contain the time of day.
        for past in rows.iter_mut() {
            past.exposure *= slots[past.slot as usize].factor;
        }
        let [lately, ahead] = likeness_of_time(rows, end, usual, settings);
        let [level_variance, ..] = VARIANCES.0;
        let of_level = likeness(usual.of(&levels[0]), usual.of(&levels[1]), level_variance);
        Some(Habit {
            all,
            level: levels[0],
            near,
            next,
            lately: Sums::over(within(rows, end - quarter(day)..end)),
            common_rate,
            evidence,
            likeness: [of_level, of_near, of_next, lately, ahead],
        })
    }

    /// What is usual, given the variances among videos and how much most of them scatter.
    pub fn baseline(
        &self,
        Variances([level, near, next, lately, ahead]): &Variances,
        prior: &Shares,
        prior_plays: f64,
    ) -> Baseline {
        let scatter = self.evidence.posterior(prior);
        let dispersion = scatter.mean();
        let (rate, error) = usual_rate(&self.all, self.common_rate, dispersion, prior_plays);
        // The level of the last day is that of all slots, and the time of day that of all days:
        // each is relative to the usual rate.
        let (level, level_error) = self.level.factor(rate, dispersion, *level);
        let (near, near_error) = self.near.factor(rate, dispersion, *near);
        let (next, next_error) = self.next.factor(rate * near, dispersion, *next);
        let (lately, lately_error) = self.lately.factor(rate * level, dispersion, *lately);
        Baseline {
            rate: rate * level * near * next * lately,
            error: error + level_error + near_error + next_error + lately_error + ahead,
            scatter,
        }
    }

    /// The plays that are usual for one unit of exposure, roughly.
    pub fn rough_rate(&self, prior_plays: f64) -> f64 {
        usual_rate(&self.all, self.common_rate, 0.0, prior_plays).0
    }
}

/// The slots of the day around that of an epoch.
#[derive(Clone, Copy)]
struct Around {
    slot: i64,
    day: i64,
}

impl Around {
    /// Whether a row is in one of the `slots` slots around the epoch's.
    fn includes(self, past: &Past, slots: i64) -> bool {
        let apart = (past.slot - self.slot).abs();
        apart.min(self.day - apart) <= reach(slots, self.day)
    }
}

/// How far from its middle a span of slots reaches.
fn reach(slots: i64, day: i64) -> i64 {
    (slots / 2).min((day - 1) / 2)
}

/// The rows of a span of epochs.
fn within(rows: &[Past], span: Range<i64>) -> &[Past] {
    let at = |epoch: i64| rows.partition_point(|row| row.epoch < epoch);
    &rows[at(span.start)..at(span.end)]
}

/// The epochs of a quarter of a day.
fn quarter(day: i64) -> i64 {
    (day / 4).max(1)
}

/// A usual rate, and how much rows scatter around it.
#[derive(Clone, Copy)]
struct Usual {
    rate: f64,
    dispersion: f64,
}

impl Usual {
    /// By how much rows exceed what is usual, relative to it, and the information that this rests
    /// on.
    fn of(self, sums: &Sums) -> (f64, f64) {
        let expected = self.rate * sums.exposure;
        (sums.plays / expected - 1.0, sums.left(self.rate, self.dispersion) * expected)
    }

    /// With a rate that is larger by a factor.
    fn times(self, factor: f64) -> Usual {
        Usual { rate: self.rate * factor, ..self }
    }
}

/// Two independent estimates of what has a variance among videos, each with its information.
fn likeness(one: (f64, f64), other: (f64, f64), variance: f64) -> Likeness {
    let weight = 1.0 / ((1.0 / one.1 + variance) * (1.0 / other.1 + variance));
    let product = (one.0 * other.0).clamp(-1.0, 1.0);
    let is_known = weight.is_finite() && product.is_finite();
    if is_known { Likeness { product, weight } } else { Likeness::default() }
}

/// What the rows say about the variance of the time of day near that of the epoch, and next to it.
fn likeness_of_slots(rows: &[Past], around: Around, usual: Usual) -> [Likeness; 2] {
    // Days with an even and those with an odd number, and of each the slots next to that of the
    // epoch, and the others near it.
    let (mut next, mut ring) = ([Sums::default(); 2], [Sums::default(); 2]);
    for past in rows.iter().filter(|past| around.includes(past, NEAR_SLOTS)) {
        let half = usize::from(past.is_odd);
        let sums = if around.includes(past, NEXT_SLOTS) { &mut next } else { &mut ring };
        sums[half] += past;
    }
    let near = [0, 1].map(|half| usual.of(&next[half].and(&ring[half])));
    // The slots next to that of the epoch are among those near it, with which they are compared.
    let apart = [0, 1].map(|half| {
        let ((one, of_one), (other, of_other)) = (usual.of(&next[half]), usual.of(&ring[half]));
        let variance = RING_SHARE * RING_SHARE * (1.0 / of_one + 1.0 / of_other);
        (RING_SHARE * (one - other), 1.0 / variance)
    });
    let [_, near_variance, next_variance, ..] = VARIANCES.0;
    [likeness(near[0], near[1], near_variance), likeness(apart[0], apart[1], next_variance)]
}

/// What the last rows before `end` say about the variance of the level lately, and of what changes
/// after that: they are compared with what could have been said of them as long before as is
/// between a history and its row.
fn likeness_of_time(rows: &[Past], end: i64, usual: Usual, settings: &Settings) -> [Likeness; 2] {
    let [level_variance, _, _, lately_variance, ahead_variance] = VARIANCES.0;
    let (day, half) = (settings.day, (settings.day / 16).max(1));
    let then = end - 2 * half - settings.guard;
    let sums = |span: Range<i64>| Sums::over(within(rows, span));
    let (of_day, of_quarter) = (sums(then - day..then), sums(then - quarter(day)..then));
    let halves = [sums(end - 2 * half..end - half), sums(end - half..end)];
    let (level, level_error) = of_day.factor(usual.rate, usual.dispersion, level_variance);
    let leveled = usual.times(level);
    let (factor, lately_error) = of_quarter.factor(leveled.rate, usual.dispersion, lately_variance);
    let lately =
        likeness(leveled.of(&of_quarter), leveled.of(&halves[0].and(&halves[1])), lately_variance);
    let [one, other] = halves.map(|sums| leveled.times(factor).of(&sums));
    let ahead = likeness(one, other, ahead_variance);
    // The error of what was said is common to both, too.
    let product = ahead.product - level_error - lately_error;
    [lately, Likeness { product, ..ahead }]
}

/// The share of the slots near that of an epoch which are not next to it.
const RING_SHARE: f64 = (NEAR_SLOTS - NEXT_SLOTS) as f64 / NEAR_SLOTS as f64;

/// The usual rate, and the relative variance of its error.
fn usual_rate(all: &Sums, common: f64, dispersion: f64, prior: f64) -> (f64, f64) {
    let rough = (prior + all.plays) / (prior / common + all.exposure);
    let left = all.left(rough, dispersion);
    let plays = prior + left * all.plays;
    (plays / (prior / common + left * all.exposure), 1.0 / plays)
}

/// The dispersion of rows around a rate, by their second moment.
fn scatter(rows: &[Past], rate: f64) -> f64 {
    let (mut excess, mut squares) = (0.0, 0.0);
    for row in rows {
        let mean = rate * row.exposure;
        excess += (row.plays - mean) * (row.plays - mean) - mean;
        squares += mean * mean;
    }
    if squares > 0.0 { (excess / squares).max(0.0) } else { 0.0 }
}

/// Removes rows that are far from the usual rate. Returns the dispersion of the others.
fn leave_out(rows: &mut Vec<Past>, common_rate: f64, settings: &Settings) -> f64 {
    let (rate, _) = usual_rate(&Sums::over(&*rows), common_rate, 0.0, settings.prior_plays);
    let dispersion = scatter(rows, rate);
    let is_far = |row: &Past| {
        let mean = rate * row.exposure;
        let deviation = (row.plays - mean).abs() - 0.5;
        deviation > 0.0
            && deviation * deviation > OUTLIER * OUTLIER * (mean + dispersion * mean * mean)
    };
    let count = rows.len();
    rows.retain(|row| !is_far(row));
    let has_left_out = rows.len() < count;
    if has_left_out { scatter(rows, rate) } else { dispersion }
}

/// The evidence of the rows of the last days for the dispersion around the time of day and the
/// level of each quarter of a day. As these are estimated from the same rows, the deviations are a
/// little too small, for which they are corrected.
fn evidence(rows: &[Past], slots: &[Slot], usual: Usual, settings: &Settings) -> Evidence {
    let (day, quarter) = (settings.day, quarter(settings.day));
    let Usual { rate, dispersion } = usual;
    let [level_variance, ..] = VARIANCES.0;
    let last = rows.last().map_or(0, |row| row.epoch);
    let mut recent = within(rows, last + 1 - settings.evidence_days * day..last + 1);
    let mut evidence = Evidence::default();
    while let Some(first) = recent.first() {
        // The quarters are counted from the last row back.
        let end = last + 1 - (last - first.epoch) / quarter * quarter;
        let (rows, later) = recent.split_at(recent.partition_point(|row| row.epoch < end));
        recent = later;
        let with_slot = |row: &Past| row.exposure * slots[row.slot as usize].factor;
        let mut sums = Sums::default();
        for row in rows {
            sums += &Past { exposure: with_slot(row), ..*row };
        }
        let (level, _) = sums.factor(rate, dispersion, level_variance);
        let draws = sums.draws(usual, level_variance);
        for row in rows {
            let exposure = with_slot(row);
            let mean = rate * level * exposure;
            let leverage = slots[row.slot as usize].draws * row.exposure + draws * exposure;
            let deviation = row.plays - mean;
            evidence.add(deviation * deviation / (1.0 - leverage.min(0.5)), mean);
        }
    }
    evidence
}

/// What is usual in a slot of the day.
struct Slot {
    /// The factor of the time of day.
    factor: f64,
    /// By how much of its own deviation a row moves this factor, for each unit of its exposure.
    draws: f64,
}

/// Every slot of the day.
fn slots(rows: &[Past], day: i64, usual: Usual) -> Vec<Slot> {
    let [_, near_variance, ..] = VARIANCES.0;
    let mut sums = vec![Sums::default(); day as usize];
    rows.iter().for_each(|row| sums[row.slot as usize] += row);
    let reach = reach(NEAR_SLOTS, day);
    let around = |slot: i64| {
        let each = (slot - reach..=slot + reach).map(|at| match at {
            ..0 => at + day,
            at if at >= day => at - day,
            _ => at,
        });
        let near = each.fold(Sums::default(), |sum, at| sum.and(&sums[at as usize]));
        let (factor, _) = near.factor(usual.rate, usual.dispersion, near_variance);
        Slot { factor, draws: near.draws(usual, near_variance) }
    };
    (0..day).map(around).collect()
}
