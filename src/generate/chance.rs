//! The random choices of the generator: one seeded random stream and its distributions.

use super::arrival::{Damage, RequestName};
use super::catalogue::video_of_rank;
use super::rhythm::VideoRhythm;
use super::settings::Model;
use crate::event::VideoId;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Exp1, LogNormal, Zipf};

/// Exponential draws are capped at this multiple of their mean; one in 500 million exceeds it.
const EXPONENTIAL_MEANS_MAX: f64 = 20.0;
/// Draws for a video that the request does not show yet; after them the next free rank is taken.
const VIDEO_DRAWS_MAX: usize = 16;
/// Draws for a video that is popular at the time of the request; the last is taken in any case. At
/// least half of them are taken on average.
const RHYTHM_DRAWS_MAX: usize = 64;

/// The random choices of one log.
pub struct RandomChoices {
    random: ChaCha8Rng,
    popularity: Zipf<f64>,
    play_delay_ms: LogNormal<f64>,
    play_delay_max_ms: i64,
    text_id_rate: f64,
    videos: u64,
    rhythm: Option<VideoRhythm>,
    ranks: Vec<u64>,
}

impl RandomChoices {
    /// The random choices of a checked model.
    pub fn new(model: &Model) -> RandomChoices {
        let mut seed = *b"trendmark generate, stream 1    ";
        seed[24..].copy_from_slice(&model.seed.to_le_bytes());
        let median_ms = model.play_delay_median_ms as f64;
        let (Ok(popularity), Ok(play_delay_ms)) = (
            Zipf::new(model.videos as f64, model.zipf),
            LogNormal::new(median_ms.ln(), model.play_delay_sigma),
        ) else {
            unreachable!("a checked model has videos, a median and finite exponents")
        };
        RandomChoices {
            random: ChaCha8Rng::from_seed(seed),
            popularity,
            play_delay_ms,
            play_delay_max_ms: model.play_delay_max_ms,
            text_id_rate: model.text_id_rate,
            videos: model.videos,
            rhythm: (model.world.video_rhythm > 0.0)
                .then(|| VideoRhythm::new(model.seed, model.world.video_rhythm)),
            ranks: Vec::new(),
        }
    }

    /// A uniform random number from 0 to 1, 1 excluded.
    #[inline]
    pub fn share(&mut self) -> f64 {
        self.random.random()
    }

    /// Returns `true` with probability `share`.
    #[inline]
    pub fn happens(&mut self, share: f64) -> bool {
        self.share() < share
    }

    /// A uniform random time from 0 to `max_ms`, in milliseconds.
    #[inline]
    pub fn up_to_ms(&mut self, max_ms: i64) -> i64 {
        (self.share() * (max_ms + 1) as f64) as i64
    }

    /// An exponentially distributed time, in milliseconds.
    #[inline]
    pub fn exponential_ms(&mut self, mean_ms: f64) -> i64 {
        let means: f64 = self.random.sample(Exp1);
        (means.min(EXPONENTIAL_MEANS_MAX) * mean_ms) as i64
    }

    /// The time from an impression to its play, in milliseconds.
    pub fn play_delay_ms(&mut self) -> i64 {
        let delay_ms = self.random.sample(self.play_delay_ms);
        delay_ms.min(self.play_delay_max_ms as f64) as i64
    }

    /// The id of a new request.
    pub fn request_name(&mut self) -> RequestName {
        let is_text = self.happens(self.text_id_rate);
        let bits = self.random.next_u64();
        if is_text {
            return RequestName::text(bits);
        }
        let low = self.random.next_u64();
        RequestName::uuid((u128::from(bits) << 64) | u128::from(low))
    }

    /// A random kind of damage.
    pub fn damage(&mut self) -> Damage {
        let place = self.share() * Damage::ALL.len() as f64;
        Damage::ALL[place as usize]
    }

    /// Replaces `videos` with `count` different ones, drawn by popularity at a time.
    pub fn draw_videos(&mut self, count: usize, time_ms: i64, videos: &mut Vec<VideoId>) {
        self.ranks.clear();
        while self.ranks.len() < count {
            let rank = self.unseen_rank(time_ms);
            self.ranks.push(rank);
        }
        videos.clear();
        videos.extend(self.ranks.iter().map(|rank| video_of_rank(*rank)));
    }

    #[inline]
    fn unseen_rank(&mut self, time_ms: i64) -> u64 {
        let mut rank = 1;
        for _ in 0..VIDEO_DRAWS_MAX {
            rank = self.popular_rank(time_ms);
            if !self.ranks.contains(&rank) {
                return rank;
            }
        }
        while self.ranks.contains(&rank) {
            rank = rank % self.videos + 1;
        }
        rank
    }

    #[inline]
    fn popular_rank(&mut self, time_ms: i64) -> u64 {
        let mut rank = self.random.sample(self.popularity) as u64;
        let Some(rhythm) = &self.rhythm else { return rank };
        for _ in 1..RHYTHM_DRAWS_MAX {
            let share: f64 = self.random.random();
            if share < rhythm.share(video_of_rank(rank), time_ms) {
                break;
            }
            rank = self.random.sample(self.popularity) as u64;
        }
        rank
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn chance(model: Model) -> RandomChoices {
        assert_eq!(model.check(), Ok(()));
        RandomChoices::new(&model)
    }

    #[test]
    fn a_request_can_show_every_video() {
        let mut chance = chance(Model { videos: 1_000, ..Model::default() });
        let mut videos = Vec::new();
        chance.draw_videos(1_000, 0, &mut videos);
        assert_eq!(videos.iter().collect::<HashSet<_>>().len(), 1_000);
    }

    #[test]
    fn twice_the_rank_is_half_as_popular_at_exponent_1() {
        let mut chance = chance(Model { zipf: 1.0, ..Model::default() });
        let (mut first, mut second, mut videos) = (0, 0, Vec::new());
        for _ in 0..100_000 {
            chance.draw_videos(1, 0, &mut videos);
            first += u32::from(videos[0] == video_of_rank(1));
            second += u32::from(videos[0] == video_of_rank(2));
        }
        let ratio = f64::from(first) / f64::from(second);
        assert!((1.9..2.1).contains(&ratio), "{first} to {second}");
    }

    #[test]
    fn half_of_the_plays_come_within_the_median_delay() {
        let mut chance = chance(Model::default());
        let within = (0..100_000).filter(|_| chance.play_delay_ms() < 30_000).count();
        assert!((49_000..51_000).contains(&within), "{within}");
    }
}
