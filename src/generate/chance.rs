//! The random choices of the generator: one seeded random stream and its distributions.

use super::arrival::{Damage, RequestName};
use super::settings::Model;
use crate::event::VideoId;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Exp1, LogNormal, Zipf};

/// Exponential draws are capped at this multiple of their mean; one in 500 million exceeds it.
const EXPONENTIAL_MEANS_MAX: f64 = 20.0;
/// Draws for a video that the request does not show yet; after them the next free rank is taken.
const VIDEO_DRAWS_MAX: usize = 16;

/// The largest prime below 2²⁶; see [`video_of_rank`].
const VIDEO_PRIME: u64 = 67_108_859;
const VIDEO_STRIDE: u64 = 41_474_863;
const VIDEO_FIRST: u64 = 10_000_000;

/// The random choices of one log.
pub struct RandomChoices {
    random: ChaCha8Rng,
    popularity: Zipf<f64>,
    play_delay_ms: LogNormal<f64>,
    play_delay_max_ms: i64,
    text_id_rate: f64,
    videos: u64,
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

    /// Replaces `videos` with `count` different ones, drawn by popularity.
    pub fn draw_videos(&mut self, count: usize, videos: &mut Vec<VideoId>) {
        self.ranks.clear();
        while self.ranks.len() < count {
            let rank = self.unseen_rank();
            self.ranks.push(rank);
        }
        videos.clear();
        videos.extend(self.ranks.iter().map(|rank| video_of_rank(*rank)));
    }

    #[inline]
    fn unseen_rank(&mut self) -> u64 {
        let mut rank = 1;
        for _ in 0..VIDEO_DRAWS_MAX {
            rank = self.random.sample(self.popularity) as u64;
            if !self.ranks.contains(&rank) {
                return rank;
            }
        }
        while self.ranks.contains(&rank) {
            rank = rank % self.videos + 1;
        }
        rank
    }
}

/// The video at a popularity rank (1 is the most popular), the same for every seed.
///
/// Ids have eight digits and are scattered: neighbours in popularity are not neighbours in the key
/// space. As the modulus is prime, no two ranks below it share an id.
fn video_of_rank(rank: u64) -> VideoId {
    VideoId(VIDEO_FIRST + rank * VIDEO_STRIDE % VIDEO_PRIME)
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
        chance.draw_videos(1_000, &mut videos);
        assert_eq!(videos.iter().collect::<HashSet<_>>().len(), 1_000);
    }

    #[test]
    fn twice_the_rank_is_half_as_popular_at_exponent_1() {
        let mut chance = chance(Model { zipf: 1.0, ..Model::default() });
        let (mut first, mut second, mut videos) = (0, 0, Vec::new());
        for _ in 0..100_000 {
            chance.draw_videos(1, &mut videos);
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

    #[test]
    fn video_ids_have_eight_digits_and_are_scattered() {
        let ids: HashSet<u64> = (1..=100_000).map(|rank| video_of_rank(rank).0).collect();
        assert_eq!(ids.len(), 100_000);
        assert!(ids.iter().all(|id| (10_000_000..100_000_000).contains(id)));
        assert!(video_of_rank(1).0.abs_diff(video_of_rank(2).0) > 1_000_000);
    }
}
