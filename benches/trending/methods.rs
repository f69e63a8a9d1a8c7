//! The ways to score a title that are compared.

use crate::judge::Scores;
use crate::world::{DAY, World};
use trendmark::scores::oracle::{ScoredRow, rows};
use trendmark::scores::tails::Tails;
use trendmark::scores::{Exposure, Settings, normal};

/// The defaults of the queries.
pub fn settings(exposure: Exposure) -> Settings {
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

/// All methods, by name. The first four are in standard deviations.
pub fn all(world: &World) -> Vec<(&'static str, Scores)> {
    let trending = rows(&world.table, &settings(Exposure::Impressions));
    let surge = rows(&world.table, &settings(Exposure::Time));
    vec![
        ("trending: score", by_row(&trending, |row| row.scored.score.thousandths)),
        ("trending: momentum", by_row(&trending, |row| row.momentum)),
        ("surge: score", by_row(&surge, |row| row.scored.score.thousandths)),
        ("ceiling", ceiling(world)),
        ("Poisson against the last epoch", against_last(world)),
        ("plays", simple(world, |plays, _| plays)),
        ("take rate", simple(world, |plays, impressions| plays / impressions)),
        ("Wilson lower bound", simple(world, wilson_low)),
    ]
}

fn by_row(rows: &[ScoredRow], thousandths: impl Fn(&ScoredRow) -> i64) -> Scores {
    let score = |row: &ScoredRow| ((row.video, row.epoch), thousandths(row) as f64 / 1e3);
    rows.iter().map(score).collect()
}

/// What is possible: the true expectation and dispersion.
fn ceiling(world: &World) -> Scores {
    let score = |(at, truth): (&(u64, i64), &crate::world::Truth)| {
        let counts = world.table[&at.0][&at.1];
        let dispersion = truth.dispersion - (1.0 + truth.dispersion) / counts.impressions as f64;
        let tails = Tails::of(counts.plays, truth.expected.max(1e-6), dispersion);
        (*at, normal::z_of(tails.lower, tails.upper))
    };
    world.truth.iter().map(score).collect()
}

/// Plays against those of the epoch before, as if these were expected.
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
