//! Does a score find what is new, and does it mean what it says?
//!
//! `cargo bench --bench trending -- [--seeds N] [--first-seed N]`

mod judge;
mod world;

use judge::{Scores, calibration, judge};
use std::time::Instant;
use trendmark::scores::oracle::{ScoredRow, rows};
use trendmark::scores::tails::Tails;
use trendmark::scores::{Exposure, Settings, normal};
use world::{DAY, KINDS, World, make};

fn settings(exposure: Exposure) -> Settings {
    Settings {
        exposure,
        day: DAY,
        days: 7,
        guard: 5,
        evidence_days: 3,
        least_epochs: 48,
        least_plays: 20.0,
        prior_plays: 3.0,
        recent: 24,
        half_life: 2.0,
    }
}

fn parameter(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args();
    arguments.find(|one| one == name);
    arguments.next().map_or(default, |one| one.parse().unwrap())
}

fn by_row(rows: &[ScoredRow], value: impl Fn(&ScoredRow) -> f64) -> Scores {
    rows.iter().map(|row| ((row.video, row.epoch), value(row))).collect()
}

/// What is possible: the true expectation and dispersion.
fn ceiling(world: &World) -> Scores {
    let score = |(at, truth): (&(u64, i64), &world::Truth)| {
        let counts = world.table[&at.0][&at.1];
        let n = counts.impressions as f64;
        let dispersion = truth.dispersion - (1.0 + truth.dispersion) / n;
        let tails = Tails::of(counts.plays, truth.expected.max(1e-6), dispersion);
        (*at, normal::z_of(tails.lower, tails.upper))
    };
    world.truth.iter().map(score).collect()
}

/// Plays against those of the epoch before, both Poisson.
fn against_last(world: &World) -> Scores {
    let mut scores = Scores::new();
    for (title, counts) in &world.table {
        for (epoch, now) in counts {
            let before = counts.get(&(epoch - 1)).map_or(1.0, |one| one.plays.max(1) as f64);
            let tails = Tails::of(now.plays, before, 0.0);
            scores.insert((*title, *epoch), normal::z_of(tails.lower, tails.upper));
        }
    }
    scores
}

fn simple(world: &World, value: impl Fn(f64, f64) -> f64) -> Scores {
    let mut scores = Scores::new();
    for (title, counts) in &world.table {
        for (epoch, now) in counts {
            scores.insert((*title, *epoch), value(now.plays as f64, now.impressions as f64));
        }
    }
    scores
}

fn wilson_low(plays: f64, impressions: f64) -> f64 {
    let (z, n, p) = (1.96_f64, impressions, plays / impressions);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    (p + z * z / (2.0 * n) - half) / (1.0 + z * z / n)
}

fn main() {
    let (seeds, first) = (parameter("--seeds", 1), parameter("--first-seed", 1));
    let only = parameter("--kind", 99) as usize;
    let is_short = parameter("--short", 0) == 1;
    for (number, kind) in KINDS.iter().enumerate() {
        if only < KINDS.len() && only != number {
            continue;
        }
        for seed in first..first + seeds {
            let world = make(kind, seed);
            let started = Instant::now();
            let rows = rows(&world.table, &settings(Exposure::Impressions));
            let took = started.elapsed();
            println!("{} (seed {seed}): {} rows in {took:.1?}", kind.name, rows.len());
            let score = by_row(&rows, |row| row.scored.score.thousandths as f64 / 1e3);
            let momentum = by_row(&rows, |row| row.momentum as f64 / 1e3);
            let top = ceiling(&world);
            let mut methods = vec![("score", score), ("momentum", momentum), ("ceiling", top)];
            {
                let set = settings(Exposure::Impressions);
                let mut sums: std::collections::BTreeMap<i64, (i64, i64)> = Default::default();
                for (epoch, counts) in world.table.values().flatten() {
                    let sum = sums.entry(*epoch).or_default();
                    sum.0 += counts.plays as i64;
                    sum.1 += counts.impressions as i64;
                }
                let activities = sums
                    .iter()
                    .filter_map(|(e, (p, i))| Some((*e, set.activity(*p, *i)?)))
                    .collect();
                for epoch in [480] {
                    use trendmark::scores::{common::Habits, habit_part};
                    let moments = trendmark::scores::Moments::of(&activities, epoch, &set).unwrap();
                    let mut sums = [0; 16];
                    for rows in world.table.values() {
                        let Some(counts) = rows.get(&epoch) else { continue };
                        let past: Vec<_> = rows.iter().map(|(a, b)| (*a, *b)).collect();
                        if let Some(habit) = moments.habit(&past, epoch, &set, &mut Vec::new()) {
                            let part = habit_part(*counts, &habit, &set).0;
                            sums.iter_mut().zip(part).for_each(|(a, b)| *a += b);
                        }
                    }
                    println!("  {:?}", Habits::of(&sums));
                }
            }
            for least in [0.0, 1.0, 5.0, 20.0, 100.0, 500.0] {
                let mut sums = [0.0_f64; 8];
                for row in rows.iter().filter(|row| row.epoch >= 8 * DAY) {
                    let truth = world.truth[&(row.video, row.epoch)];
                    let e = truth.expected;
                    if truth.is_surge || e < least || e >= least.max(0.2) * 5.0 {
                        continue;
                    }
                    let z = row.scored.score.thousandths as f64 / 1e3;
                    let m = row.momentum as f64 / 1e3;
                    let ratio = row.scored.expected_thousandths as f64 / 1e3 / e - 1.0;
                    let parts =
                        [1.0, z, z * z, m, m * m, row.scored.score.shared, ratio, ratio * ratio];
                    sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
                }
                let n = sums[0];
                println!(
                    "    E>={least}: n {n} z {:.3} var {:.3} m {:.3} var {:.3} shared {:.4} ratio {:.4} sd {:.4}",
                    sums[1] / n,
                    sums[2] / n,
                    sums[3] / n,
                    sums[4] / n,
                    sums[5] / n,
                    sums[6] / n,
                    (sums[7] / n).sqrt()
                );
            }
            if !is_short {
                let surge =
                    trendmark::scores::oracle::rows(&world.table, &settings(Exposure::Time));
                let surge = by_row(&surge, |row| row.scored.score.thousandths as f64 / 1e3);
                methods.push(("surge", surge));
                methods.push(("against the last epoch", against_last(&world)));
                methods.push(("plays", simple(&world, |plays, _| plays)));
                methods.push(("take rate", simple(&world, |plays, n| plays / n)));
                methods.push(("Wilson low", simple(&world, wilson_low)));
            }
            for (name, scores) in &methods {
                let one = judge(&world, scores);
                let (all, n) = calibration(&world, scores, 0.0);
                let (large, m) = calibration(&world, scores, 5.0);
                println!(
                    "  {name:24} found {:.3} {:.3} at {:5.2} precision {:.3} delay {}  \
                     z>2,3,4 {:.2} {:.2} {:.2} of {n}; E>=5: {:.2} {:.2} {:.2} of {m}",
                    one.at_once,
                    one.within_one,
                    one.threshold,
                    one.precision,
                    one.delay,
                    all[0],
                    all[1],
                    all[2],
                    large[0],
                    large[1],
                    large[2],
                );
            }
        }
    }
}
