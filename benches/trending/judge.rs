//! Judges methods by the truth: what they find, what they claim, and whether their scores mean what
//! they say.

use crate::world::{DAY, DAYS, Surge, TITLES, WARM_UP_DAYS, World};
use std::collections::BTreeMap;

/// The shares of a standard normal distribution beyond 2, 3 and 4.
const NORMAL: [f64; 3] = [0.022_750_132, 0.001_349_898, 3.167_124e-5];
/// Epochs after a surge in which a title may still be noticed.
const AFTER: i64 = 6;

/// The scores of a method, by title and epoch: higher means more unusual.
pub type Scores = BTreeMap<(u64, i64), f64>;

/// Surges are to be found if so many plays are usual.
const EXPECTED_MIN: f64 = 50.0;
/// False alarms for each title and day.
const ALARMS: f64 = 1e-3;

/// What a method finds, and what it claims.
#[derive(Clone, Copy, Debug)]
pub struct Judgement {
    /// The score above which it claims something.
    pub threshold: f64,
    /// The number of surges that were to be found.
    pub surges: usize,
    /// The shares that were found in their first epoch, and in their first two.
    pub at_once: f64,
    pub within_one: f64,
    /// See [`precision`].
    pub precision: f64,
    /// Epochs from the beginning of a surge to its detection, of those that are found.
    pub delay: f64,
}

fn is_judged(epoch: i64) -> bool {
    epoch >= WARM_UP_DAYS * DAY
}

/// Whether a row is neither in a surge nor shortly after one.
pub fn is_quiet(world: &World, title: u64, epoch: i64) -> bool {
    let is_near = |one: &Surge| (one.first..one.first + one.epochs + AFTER).contains(&epoch);
    !world.surges_of(title).any(is_near)
}

/// Judges what a method finds.
pub fn judge(world: &World, scores: &Scores) -> Judgement {
    let days = (DAYS - WARM_UP_DAYS) as f64;
    let allowed = (ALARMS * TITLES as f64 * days) as usize;
    let mut quiet: Vec<f64> = scores
        .iter()
        .filter(|((title, epoch), _)| is_judged(*epoch) && is_quiet(world, *title, *epoch))
        .map(|(_, score)| *score)
        .collect();
    quiet.sort_by(|one, other| other.total_cmp(one));
    let threshold = quiet.get(allowed).copied().unwrap_or(f64::INFINITY);
    let is_found =
        |title: u64, epoch: i64| scores.get(&(title, epoch)).is_some_and(|one| *one > threshold);
    let large: Vec<&Surge> = world
        .surges
        .iter()
        .filter(|one| {
            let truth = world.truth.get(&(one.title, one.first));
            truth.is_some_and(|truth| truth.expected >= EXPECTED_MIN) && scores_possible(world, one)
        })
        .collect();
    let share = |found: &dyn Fn(&&&Surge) -> bool| {
        large.iter().filter(found).count() as f64 / large.len().max(1) as f64
    };
    let at_once = share(&|one| is_found(one.title, one.first));
    let within_one = share(&|one| {
        let last = (one.first + 1).min(one.first + one.epochs - 1);
        (one.first..=last).any(|epoch| is_found(one.title, epoch))
    });
    let mut delays: Vec<i64> = large
        .iter()
        .filter_map(|one| (0..one.epochs).find(|after| is_found(one.title, one.first + after)))
        .collect();
    delays.sort_unstable();
    let delay = delays.get(delays.len() / 2).map_or(f64::NAN, |one| *one as f64);
    Judgement {
        threshold,
        surges: large.len(),
        at_once,
        within_one,
        precision: precision(world, scores),
        delay,
    }
}

/// Whether the title is old enough to be scored by anything with a history of two days.
fn scores_possible(world: &World, surge: &Surge) -> bool {
    let first = world.table[&surge.title].keys().next();
    first.is_some_and(|first| surge.first - first >= 3 * DAY)
}

/// Of the k highest scores of an epoch, the share that are surges, where k is 10, or the number of
/// surges with enough plays if that is less.
fn precision(world: &World, scores: &Scores) -> f64 {
    let mut by_epoch: BTreeMap<i64, Vec<(f64, u64)>> = BTreeMap::new();
    for ((title, epoch), score) in scores {
        if is_judged(*epoch) {
            by_epoch.entry(*epoch).or_default().push((*score, *title));
        }
    }
    let (mut right, mut all) = (0, 0);
    for (epoch, mut rows) in by_epoch {
        rows.sort_by(|one, other| other.0.total_cmp(&one.0));
        let is_large = |title: u64| {
            let truth = world.truth[&(title, epoch)];
            truth.is_surge && truth.expected >= EXPECTED_MIN
        };
        let surges = rows.iter().filter(|(_, title)| is_large(*title)).count().min(10);
        let top = rows.iter().take(surges);
        right += top.filter(|(_, title)| world.truth[&(*title, epoch)].is_surge).count();
        all += surges;
    }
    right as f64 / f64::from(all.max(1) as u32)
}

/// The shares of quiet rows beyond 2, 3 and 4, as multiples of those of a normal distribution, of
/// rows with at least so many expected plays; and the number of rows.
pub fn calibration(world: &World, scores: &Scores, expected_min: f64) -> ([f64; 3], usize) {
    let is_counted = |(title, epoch): &(u64, i64)| {
        is_judged(*epoch)
            && world.truth[&(*title, *epoch)].expected >= expected_min
            && is_quiet(world, *title, *epoch)
    };
    let quiet = scores.iter().filter(|(at, _)| is_counted(at)).map(|(_, score)| *score);
    let quiet: Vec<f64> = quiet.collect();
    (shares_beyond(&quiet), quiet.len())
}

/// The shares beyond 2, 3 and 4, as multiples of those of a normal distribution.
pub fn shares_beyond(scores: &[f64]) -> [f64; 3] {
    [0, 1, 2].map(|at| {
        let least = 2.0 + at as f64;
        let beyond = scores.iter().filter(|one| **one > least).count();
        beyond as f64 / scores.len() as f64 / NORMAL[at]
    })
}
