//! Made-up worlds: titles with counts in every epoch, and the truth behind them.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma, LogNormal, Normal, Poisson};
use std::collections::BTreeMap;
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
    kind("moderate, drifting rates", 0.02, false, (0.4, 0.3), 0.12),
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

impl World {
    /// The surges of a title.
    pub fn surges_of(&self, title: u64) -> impl Iterator<Item = &Surge> {
        self.by_title.get(&title).into_iter().flatten().map(|at| &self.surges[*at])
    }
}

/// A surge of a title, by its first epoch and length.
#[derive(Clone, Copy)]
pub struct Surge {
    pub title: u64,
    pub first: i64,
    pub epochs: i64,
}

/// A world.
pub struct World {
    /// What is counted.
    pub table: Table,
    /// What is true of each row.
    pub truth: BTreeMap<(u64, i64), Truth>,
    /// What is to be found.
    pub surges: Vec<Surge>,
    by_title: BTreeMap<u64, Vec<usize>>,
}

/// Titles with so many plays in an epoch are large.
const LARGE_PLAYS: f64 = 50.0;
const RATE_MAX: f64 = 0.95;

/// A title: what it usually has in an epoch, and how it differs.
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
    let large = |title: &u64| titles[*title as usize].usual_plays() >= LARGE_PLAYS;
    let large: Vec<u64> = (0..TITLES).filter(large).collect();
    let any: Vec<u64> = (0..TITLES).collect();
    // Half of the surges are of titles that are large enough to be found.
    let surges =
        (0..SURGES).map(|number| span(if number % 2 == 0 { &large } else { &any }, &mut random));
    let surges: Vec<Surge> = surges.collect();
    let promoted: Vec<Surge> = (0..PROMOTED).map(|_| span(&any, &mut random)).collect();
    let mut by_title: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (at, surge) in surges.iter().enumerate() {
        by_title.entry(surge.title).or_default().push(at);
    }
    let mut world = World { table: Table::new(), truth: BTreeMap::new(), surges, by_title };
    for (number, title) in (0..).zip(&titles) {
        let spans = |all: &[Surge]| -> Vec<Surge> {
            all.iter().filter(|one| one.title == number).copied().collect()
        };
        let (surges, promoted) = (spans(&world.surges), spans(&promoted));
        let mut level = 0.0;
        for epoch in title.launch..DAYS * DAY {
            level += drift(kind, &mut random);
            let is_within = |all: &[Surge]| all.iter().any(|one| one.includes(epoch));
            let (is_surge, is_promoted) = (is_within(&surges), is_within(&promoted));
            let shown = title.shown(epoch) * if is_promoted { PROMOTION_FACTOR } else { 1.0 };
            let impressions = poisson(shown, &mut random);
            if impressions == 0 {
                continue;
            }
            let usual = (title.rate(kind, epoch) * f64::exp(level)).min(RATE_MAX);
            let factor = if is_surge { SURGE_FACTOR } else { 1.0 };
            let noise = noise(kind, title.dispersion, &mut random);
            let plays = binomial(impressions, (usual * factor * noise).min(RATE_MAX), &mut random);
            let (expected, dispersion) = (impressions as f64 * usual, title.dispersion);
            world.truth.insert((number, epoch), Truth { expected, dispersion, is_surge });
            let counts = Counts { plays, impressions };
            world.table.entry(number).or_default().insert(epoch, counts);
        }
    }
    world
}

impl Surge {
    fn includes(&self, epoch: i64) -> bool {
        (self.first..self.first + self.epochs).contains(&epoch)
    }
}

impl Title {
    fn usual_plays(&self) -> f64 {
        self.impressions * self.rate
    }

    /// The impressions to be expected in an epoch.
    fn shown(&self, epoch: i64) -> f64 {
        self.impressions * (1.0 + 0.4 * (hour(epoch) - self.exposure_phase).sin())
    }

    /// Plays for each impression, without drift and noise.
    fn rate(&self, kind: &Kind, epoch: i64) -> f64 {
        let (all, own) = kind.rhythms;
        let weather = 0.1 * ((epoch * 7_919) as f64).sin();
        let common = 1.0 + all * (hour(epoch) + 1.0).sin() + weather;
        self.rate * common * (1.0 + own * (hour(epoch) + self.phase).sin())
    }
}

/// The time of day, as an angle.
fn hour(epoch: i64) -> f64 {
    TAU * (epoch % DAY) as f64 / DAY as f64
}

/// Some epochs of one of these titles, once the scores are judged.
fn span(titles: &[u64], random: &mut ChaCha8Rng) -> Surge {
    let judged = WARM_UP_DAYS * DAY..DAYS * DAY - 8;
    Surge {
        title: titles[random.random_range(0..titles.len())],
        first: random.random_range(judged),
        epochs: random.random_range(1..=6),
    }
}

/// The change of the logarithm of a rate from one epoch to the next.
fn drift(kind: &Kind, random: &mut ChaCha8Rng) -> f64 {
    let deviation = kind.drift / f64::sqrt(DAY as f64);
    Normal::new(0.0, deviation).unwrap().sample(random)
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
