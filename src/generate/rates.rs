//! The take rates of a catalogue: the chance that an impression of a video is played.
//!
//! The usual rate of a video is drawn once. At a time it is multiplied by the factors of the surges
//! that include the time, and by the scatter of the epoch. Every factor is a function of the seed
//! and the video, so no video needs memory.

use super::catalogue::video_of_rank;
use super::keyed::{KeyedRandom, Purpose};
use super::settings::Model;
use super::surge::Surge;
use crate::event::VideoId;
use crate::time::Definition;
use rand::{Rng, RngExt};
use rand_distr::{Gamma, StandardNormal};
use std::collections::HashMap;

/// The take rates of a catalogue at any time.
pub struct TakeRates {
    seed: u64,
    play_rate: f64,
    spread: f64,
    scatter: Option<Gamma<f64>>,
    planted: HashMap<VideoId, Vec<Surge>>,
    random_surges: Option<RandomSurges>,
    is_constant: bool,
    definition: Definition,
}

/// The take rate of a video at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TakeRate {
    /// Without surges and without the scatter of the epoch.
    pub usual: f64,
    /// With both: the chance that an impression is played.
    pub now: f64,
}

impl TakeRates {
    /// The take rates of a checked model.
    pub fn new(model: &Model) -> TakeRates {
        let world = &model.world;
        let scatter = (world.overdispersion > 0.0).then(|| {
            match Gamma::new(1.0 / world.overdispersion, world.overdispersion) {
                Ok(gamma) => gamma,
                Err(error) => unreachable!("a checked model has a finite scatter: {error}"),
            }
        });
        let mut planted: HashMap<VideoId, Vec<Surge>> = HashMap::new();
        for surge in &world.surges {
            planted.entry(surge.video).or_default().push(*surge);
        }
        let random_surges = RandomSurges::new(model);
        let has_surges = !planted.is_empty() || random_surges.is_some();
        TakeRates {
            seed: model.seed,
            play_rate: model.play_rate,
            spread: world.play_rate_spread,
            is_constant: world.play_rate_spread == 0.0 && scatter.is_none() && !has_surges,
            scatter,
            planted,
            random_surges,
            definition: Definition::default(),
        }
    }

    /// The take rate of a video at a time. A rate above 1 is cut to 1.
    #[inline]
    pub fn at(&self, video: VideoId, time_ms: i64) -> TakeRate {
        if self.is_constant {
            return TakeRate { usual: self.play_rate, now: self.play_rate };
        }
        let usual = self.usual(video);
        let now = usual * self.surge_factor(video, time_ms) * self.scatter(video, time_ms);
        TakeRate { usual, now: now.min(1.0) }
    }

    /// Log-normal around the play rate, which is the mean unless rates are cut to 1.
    fn usual(&self, video: VideoId) -> f64 {
        if self.spread == 0.0 {
            return self.play_rate;
        }
        let mut random = KeyedRandom::new(self.seed, Purpose::PlayRate, video.0, 0);
        let normal: f64 = random.sample(StandardNormal);
        let factor = (self.spread * normal - self.spread * self.spread / 2.0).exp();
        (self.play_rate * factor).min(1.0)
    }

    fn surge_factor(&self, video: VideoId, time_ms: i64) -> f64 {
        let planted = self.planted.get(&video).into_iter().flatten().copied();
        let random = self.random_surges.as_ref().and_then(|surges| surges.of(video));
        let surges = planted.chain(random).filter(|surge| surge.includes(time_ms));
        surges.map(|surge| surge.factor).product()
    }

    fn scatter(&self, video: VideoId, time_ms: i64) -> f64 {
        let Some(gamma) = &self.scatter else { return 1.0 };
        let epoch = self.definition.epoch(time_ms).0.cast_unsigned();
        KeyedRandom::new(self.seed, Purpose::Scatter, video.0, epoch).sample(gamma)
    }
}

/// The surges that a share of the videos have, at random.
struct RandomSurges {
    seed: u64,
    share: f64,
    start_ms: i64,
    duration_ms: i64,
    durations_ms: (f64, f64),
    factors: (f64, f64),
}

impl RandomSurges {
    fn new(model: &Model) -> Option<RandomSurges> {
        let world = &model.world;
        (world.surge_share > 0.0).then_some(RandomSurges {
            seed: model.seed,
            share: world.surge_share,
            start_ms: model.start_ms,
            duration_ms: model.duration_ms,
            durations_ms: (world.surge_duration_min_ms as f64, world.surge_duration_max_ms as f64),
            factors: (world.surge_factor_min, world.surge_factor_max),
        })
    }

    /// The surge of a video, if it has one: within the log, unless it is longer than the log.
    fn of(&self, video: VideoId) -> Option<Surge> {
        let mut random = KeyedRandom::new(self.seed, Purpose::Surge, video.0, 0);
        if random.random::<f64>() >= self.share {
            return None;
        }
        let duration_ms = between(self.durations_ms, &mut random) as i64;
        let latest_ms = (self.duration_ms - duration_ms).max(0);
        let after_ms = (random.random::<f64>() * (latest_ms + 1) as f64) as i64;
        let hundredths = (between(self.factors, &mut random) * 100.0).round();
        let factor = (hundredths / 100.0).clamp(self.factors.0, self.factors.1);
        Some(Surge { video, start_ms: self.start_ms + after_ms, duration_ms, factor })
    }
}

/// A number between two positive ones, log-uniform: as often in the lower half of the ratio as in
/// the upper.
fn between((least, most): (f64, f64), random: &mut impl Rng) -> f64 {
    (least * (most / least).powf(random.random())).clamp(least, most)
}

/// All surges of a checked model: the given ones, then the random ones by popularity of the video.
pub fn surges(model: &Model) -> impl Iterator<Item = Surge> {
    let random = RandomSurges::new(model).into_iter();
    let videos = model.videos;
    let random = random.flat_map(move |surges| {
        (1..=videos).filter_map(move |rank| surges.of(video_of_rank(rank)))
    });
    model.world.surges.clone().into_iter().chain(random)
}

#[cfg(test)]
mod tests {
    use super::super::world::World;
    use super::*;

    fn model(world: World) -> Model {
        let model = Model { world, ..Model::default() };
        assert_eq!(model.check(), Ok(()));
        model
    }

    #[test]
    fn without_flags_every_rate_is_the_play_rate() {
        let rates = TakeRates::new(&model(World::default()));
        assert_eq!(rates.at(VideoId(7), 0), TakeRate { usual: 0.05, now: 0.05 });
    }

    #[test]
    fn a_surge_multiplies_the_rate_of_its_video_while_it_lasts() {
        let start_ms = Model::default().start_ms;
        let video = video_of_rank(3);
        let surge = Surge { video, start_ms, duration_ms: 1_000, factor: 4.0 };
        let twice = Surge { factor: 2.0, ..surge };
        let rates =
            TakeRates::new(&model(World { surges: vec![surge, twice], ..World::default() }));
        let now = |video, time_ms| rates.at(video, time_ms).now;
        assert!((now(video, start_ms) - 0.4).abs() < 1e-12, "overlapping surges multiply");
        assert_eq!(now(video, start_ms + 1_000), 0.05);
        assert_eq!(now(video, start_ms - 1), 0.05);
        assert_eq!(now(video_of_rank(4), start_ms), 0.05);
        assert_eq!(rates.at(video, start_ms).usual, 0.05);
    }

    /// The mean and the variance of numbers.
    fn moments(numbers: &[f64]) -> (f64, f64) {
        let count = numbers.len() as f64;
        let mean = numbers.iter().sum::<f64>() / count;
        (mean, numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / count)
    }

    #[test]
    fn a_spread_keeps_the_mean_and_has_its_sigma() {
        let rates = TakeRates::new(&model(World { play_rate_spread: 0.5, ..World::default() }));
        let usual: Vec<f64> =
            (1..=40_000).map(|rank| rates.at(video_of_rank(rank), 0).usual).collect();
        let logarithms: Vec<f64> = usual.iter().map(|rate| rate.ln()).collect();
        let (mean, variance) = (moments(&usual).0, moments(&logarithms).1);
        assert!((0.0495..0.0505).contains(&mean), "{mean}");
        assert!((0.245..0.255).contains(&variance), "{variance}");
    }

    #[test]
    fn the_scatter_of_epochs_has_mean_1_and_its_variance() {
        for overdispersion in [0.02, 0.2, 2.0] {
            let world = World { overdispersion, ..World::default() };
            let rates = TakeRates::new(&Model { play_rate: 1e-3, ..model(world) });
            let factors: Vec<f64> = (0..40_000)
                .map(|epoch| rates.at(VideoId(7), epoch * 1_800_000).now / 1e-3)
                .collect();
            let (mean, variance) = moments(&factors);
            assert!((mean - 1.0).abs() < 0.03, "{mean}");
            assert!((variance / overdispersion - 1.0).abs() < 0.1, "{variance}");
            let one = rates.at(VideoId(7), 1_800_000 * 9).now;
            assert_eq!(one, rates.at(VideoId(7), 1_800_000 * 10 - 1).now, "one factor an epoch");
        }
    }

    #[test]
    fn a_share_of_the_videos_surges_within_the_log_and_the_limits() {
        let world = World { surge_share: 0.1, ..World::default() };
        let model = Model { duration_ms: 5 * 86_400_000, ..model(world) };
        let surges: Vec<Surge> = surges(&model).collect();
        assert!((900..1_100).contains(&surges.len()), "{} of 10,000", surges.len());
        let end_ms = model.start_ms + model.duration_ms;
        for surge in &surges {
            assert!(surge.start_ms >= model.start_ms && surge.end_ms() <= end_ms, "{surge}");
            assert!((1_800_000..=21_600_000).contains(&surge.duration_ms), "{surge}");
            assert!((1.5..=5.0).contains(&surge.factor), "{surge}");
        }
        let early = surges.iter().filter(|surge| surge.start_ms < end_ms - 216_000_000).count();
        assert!((400..600).contains(&early), "{early}");
        let rates = TakeRates::new(&model);
        let surge = surges[0];
        assert_eq!(rates.at(surge.video, surge.start_ms).now, 0.05 * surge.factor);
    }

    #[test]
    fn a_rate_above_1_is_cut() {
        let world = World { overdispersion: 10.0, play_rate_spread: 3.0, ..World::default() };
        let rates = TakeRates::new(&Model { play_rate: 1.0, ..model(world) });
        for rank in 1..1_000 {
            let rate = rates.at(video_of_rank(rank), 0);
            assert!((0.0..=1.0).contains(&rate.now) && (0.0..=1.0).contains(&rate.usual));
        }
    }
}
