//! Made-up worlds: titles with counts in every epoch, and the truth behind them.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma, LogNormal, Normal, Poisson};
use std::f64::consts::TAU;
use trendmark::scores::Counts;
use trendmark::scores::oracle::Table;

pub const DAY: i64 = 48;
pub const DAYS: i64 = 12;
/// The scores of these days are not judged.
pub const WARM_UP_DAYS: i64 = 8;
pub const TITLES: u64 = 1_500;
const SURGES: usize = 300;
const SURGE_FACTOR: f64 = 2.0;
/// Titles that are only shown more for some epochs.
const PROMOTED: usize = 100;
const PROMOTION_FACTOR: f64 = 3.0;

/// A kind of world.
#[derive(Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    /// The mean of φ among titles.
    pub dispersion: f64,
    /// Whether the noise is log-normal instead of gamma.
    pub is_log_normal: bool,
    /// The amplitude of the rhythm of all titles, and of those of single ones.
    pub rhythms: (f64, f64),
    /// The standard deviation of the logarithm of a rate after a day.
    pub drift: f64,
}

pub const KINDS: [Kind; 9] = [
    kind("no overdispersion, no rhythm", 0.0, false, (0.0, 0.0), 0.0),
    kind("no overdispersion, rhythms", 0.0, false, (0.4, 0.3), 0.0),
    kind("moderate, no rhythm", 0.02, false, (0.0, 0.0), 0.0),
    kind("moderate, rhythms", 0.02, false, (0.4, 0.3), 0.0),
    kind("moderate, log-normal noise", 0.02, true, (0.4, 0.3), 0.0),
    kind("moderate, drifting rates", 0.02, false, (0.4, 0.3), 0.25),
    kind("strong, no rhythm", 0.15, false, (0.0, 0.0), 0.0),
    kind("strong, rhythms", 0.15, false, (0.4, 0.3), 0.0),
    kind("strong, log-normal noise", 0.15, true, (0.4, 0.3), 0.0),
];

const fn kind(
    name: &'static str,
    dispersion: f64,
    is_log_normal: bool,
    rhythms: (f64, f64),
    drift: f64,
) -> Kind {
    Kind { name, dispersion, is_log_normal, rhythms, drift }
}

/// What is true of a row.
#[derive(Clone, Copy)]
pub struct Truth {
    pub expected: f64,
    pub dispersion: f64,
    pub is_surge: bool,
}

/// A surge of a title, by its first epoch and length.
#[derive(Clone, Copy)]
pub struct Surge {
    pub title: u64,
    pub first: i64,
    pub epochs: i64,
}

pub struct World {
    pub table: Table,
    pub truth: std::collections::BTreeMap<(u64, i64), Truth>,
    pub surges: Vec<Surge>,
}

struct Title {
    impressions: f64,
    rate: f64,
    phase: f64,
    exposure_phase: f64,
    dispersion: f64,
    launch: i64,
}

/// Makes a world.
pub fn make(kind: &Kind, seed: u64) -> World {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let titles: Vec<Title> = (0..TITLES).map(|_| title(kind, &mut random)).collect();
    let (first, last) = (WARM_UP_DAYS * DAY, DAYS * DAY);
    // Half of the surges are of titles that are large enough to be found.
    let is_large = |title: &u64| {
        let Title { impressions, rate, .. } = titles[*title as usize];
        impressions * rate >= 50.0
    };
    let large: Vec<u64> = (0..TITLES).filter(is_large).collect();
    let surges: Vec<Surge> = (0..SURGES)
        .map(|number| Surge {
            title: match number % 2 {
                0 => large[random.random_range(0..large.len())],
                _ => random.random_range(0..TITLES),
            },
            first: random.random_range(first..last - 8),
            epochs: random.random_range(1..=6),
        })
        .collect();
    let promoted: Vec<Surge> = (0..PROMOTED)
        .map(|_| Surge {
            title: random.random_range(0..TITLES),
            first: random.random_range(first..last - 8),
            epochs: random.random_range(1..=6),
        })
        .collect();
    let within = |all: &[Surge], title: u64, epoch: i64| {
        all.iter()
            .any(|one| one.title == title && (one.first..one.first + one.epochs).contains(&epoch))
    };
    let mut world = World { table: Table::new(), truth: Default::default(), surges };
    for (number, title) in (0..).zip(&titles) {
        let of_title: Vec<Surge> =
            world.surges.iter().filter(|one| one.title == number).copied().collect();
        let mut level = 0.0;
        for epoch in title.launch..DAYS * DAY {
            level +=
                Normal::new(0.0, kind.drift / (DAY as f64).sqrt()).unwrap().sample(&mut random);
            let is_surge = within(&of_title, number, epoch);
            let more = if within(&promoted, number, epoch) { PROMOTION_FACTOR } else { 1.0 };
            let hour = TAU * (epoch % DAY) as f64 / DAY as f64;
            let shown =
                title.impressions * more * (1.0 + 0.4 * (hour - title.exposure_phase).sin());
            let impressions = poisson(shown, &mut random);
            if impressions == 0 {
                continue;
            }
            let (all, own) = kind.rhythms;
            let common = 1.0 + all * (hour + 1.0).sin() + 0.1 * ((epoch * 7_919) as f64).sin();
            let rhythm = 1.0 + own * (hour + title.phase).sin();
            let usual = title.rate * level.exp() * common * rhythm;
            let factor = if is_surge { SURGE_FACTOR } else { 1.0 };
            let noise = noise(kind, title.dispersion, &mut random);
            let rate = (usual * factor * noise).min(0.95);
            let plays = binomial(impressions, rate, &mut random);
            let truth = Truth {
                expected: impressions as f64 * usual.min(0.95),
                dispersion: title.dispersion,
                is_surge,
            };
            world.truth.insert((number, epoch), truth);
            let counts = Counts { plays, impressions };
            world.table.entry(number).or_default().insert(epoch, counts);
        }
    }
    world
}

fn title(kind: &Kind, random: &mut ChaCha8Rng) -> Title {
    let spread = LogNormal::new(0.0, 0.7).unwrap();
    Title {
        impressions: LogNormal::new(f64::ln(300.0), 1.3).unwrap().sample(random).min(20_000.0),
        rate: f64::min(0.06 * LogNormal::new(0.0, 0.5).unwrap().sample(random), 0.3),
        phase: random.random_range(0.0..TAU),
        exposure_phase: random.random_range(0.0..1.5),
        dispersion: f64::min(kind.dispersion * spread.sample(random) * f64::exp(-0.245), 0.5),
        launch: if random.random_bool(0.1) { random.random_range(0..DAYS * DAY - 1) } else { 0 },
    }
}

fn noise(kind: &Kind, dispersion: f64, random: &mut ChaCha8Rng) -> f64 {
    if dispersion <= 0.0 {
        1.0
    } else if kind.is_log_normal {
        let sigma = (1.0 + dispersion).ln();
        LogNormal::new(-sigma / 2.0, sigma.sqrt()).unwrap().sample(random)
    } else {
        Gamma::new(1.0 / dispersion, dispersion).unwrap().sample(random)
    }
}

fn poisson(mean: f64, random: &mut ChaCha8Rng) -> u64 {
    Poisson::new(mean.max(1e-9)).unwrap().sample(random) as u64
}

fn binomial(trials: u64, rate: f64, random: &mut ChaCha8Rng) -> u64 {
    rand_distr::Binomial::new(trials, rate).unwrap().sample(random)
}
