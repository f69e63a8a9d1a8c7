//! The flags of a world that is more like a real one: rhythms, take rates that differ, surges and
//! bots. With their defaults a log is the same as without them.

use super::catalogue::{rank_of_video, video_of_rank};
use super::settings::{Model, ModelError, check_durations, check_shares, parse_share, refuse};
use super::surge::Surge;
use crate::event::Kind;
use crate::time::{Span, rfc3339, text::parse_duration_ms};
use clap::Args;

/// The most surges that can be given one by one.
const SURGES_MAX: usize = 1_000;
/// The largest sigma of the take rates: with it, 95 % of them are within a factor of 360.
const SPREAD_MAX: f64 = 3.0;
const OVERDISPERSION_MAX: f64 = 10.0;
const FACTOR_MAX: f64 = 1_000.0;

/// How the members and the catalogue of a [`Model`] behave over time.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct World {
    /// Amplitude of the daily rhythm of requests, of which most start at 20:00 UTC
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = parse_share)]
    pub daily_rhythm: f64,

    /// Largest amplitude of the daily rhythm of a video's popularity; each video has its own, and
    /// its own peak
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = parse_share)]
    pub video_rhythm: f64,

    /// Sigma of the log-normal take rates of videos; their mean is the play rate
    #[arg(long, value_name = "NUMBER", default_value_t = 0.0)]
    pub play_rate_spread: f64,

    /// Variance of a gamma factor with mean 1 on the take rate of each video and epoch of 30
    /// minutes
    #[arg(long, value_name = "NUMBER", default_value_t = 0.0)]
    pub overdispersion: f64,

    /// Surge, repeatable: the take rate of a video is multiplied for a while, such as
    /// 51474863@2026-01-01T02:00:00Z/1h×3 (x instead of × is allowed)
    #[arg(long = "surge", value_name = "VIDEO@TIME/DURATION×FACTOR")]
    pub surges: Vec<Surge>,

    /// Share of videos that have a surge at a random time
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = parse_share)]
    pub surge_share: f64,

    /// Shortest random surge
    #[arg(
        long = "surge-duration-min", value_name = "DURATION", default_value = "30m",
        value_parser = parse_duration_ms
    )]
    pub surge_duration_min_ms: i64,

    /// Longest random surge
    #[arg(
        long = "surge-duration-max", value_name = "DURATION", default_value = "6h",
        value_parser = parse_duration_ms
    )]
    pub surge_duration_max_ms: i64,

    /// Smallest factor of a random surge
    #[arg(long, value_name = "FACTOR", default_value_t = 1.5)]
    pub surge_factor_min: f64,

    /// Largest factor of a random surge
    #[arg(long, value_name = "FACTOR", default_value_t = 5.0)]
    pub surge_factor_max: f64,

    /// Share of requests that are of bots, which play nearly everything that they are shown; each
    /// has a denial in a third log
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = parse_share)]
    pub bot_rate: f64,

    /// Longest time from the last impression of a bot's request to its denial
    #[arg(
        long = "denial-delay-max", value_name = "DURATION", default_value = "5m",
        value_parser = parse_duration_ms
    )]
    pub denial_delay_max_ms: i64,
}

impl Default for World {
    /// The defaults of the flags.
    fn default() -> World {
        Model::default().world
    }
}

impl World {
    /// The kinds of which there are logs: denials only if there are bots.
    pub fn kinds(&self) -> &'static [Kind] {
        if self.bot_rate > 0.0 { &Kind::ALL } else { &[Kind::Impression, Kind::Play] }
    }

    /// Whether any flag is not at its default, so that there is a truth to be told.
    pub fn is_eventful(&self) -> bool {
        *self != World::default()
    }

    /// Checks that all settings are within their limits, and fit the model.
    ///
    /// # Errors
    /// Returns the first setting that is out of range.
    pub fn check(&self, model: &Model) -> Result<(), ModelError> {
        check_shares(&[
            ("daily-rhythm", self.daily_rhythm),
            ("video-rhythm", self.video_rhythm),
            ("surge-share", self.surge_share),
            ("bot-rate", self.bot_rate),
        ])?;
        check_durations(&[("denial-delay-max", self.denial_delay_max_ms, 0)])?;
        for (flag, number, most) in [
            ("play-rate-spread", self.play_rate_spread, SPREAD_MAX),
            ("overdispersion", self.overdispersion, OVERDISPERSION_MAX),
        ] {
            if !(0.0..=most).contains(&number) {
                return refuse(flag, number, format!("must be 0 to {most}"));
            }
        }
        self.check_random_surges(model)?;
        if self.surges.len() > SURGES_MAX {
            let limit = format!("at most {SURGES_MAX} can be given; --surge-share plants more");
            return refuse("surge", format!("given {} times", self.surges.len()), limit);
        }
        self.surges.iter().try_for_each(|surge| check_surge(surge, model))
    }

    fn check_random_surges(&self, model: &Model) -> Result<(), ModelError> {
        check_durations(&[
            ("surge-duration-min", self.surge_duration_min_ms, 1),
            ("surge-duration-max", self.surge_duration_max_ms, 1),
        ])?;
        if self.surge_duration_min_ms > self.surge_duration_max_ms {
            let most = Span { ms: self.surge_duration_max_ms };
            let limit = format!("must be at most --surge-duration-max, which is {most}");
            return refuse("surge-duration-min", Span { ms: self.surge_duration_min_ms }, limit);
        }
        for (flag, factor) in [
            ("surge-factor-min", self.surge_factor_min),
            ("surge-factor-max", self.surge_factor_max),
        ] {
            if !(factor > 0.0 && factor <= FACTOR_MAX) {
                return refuse(flag, factor, format!("must be above 0 and at most {FACTOR_MAX}"));
            }
        }
        if self.surge_factor_min > self.surge_factor_max {
            let most = self.surge_factor_max;
            let limit = format!("must be at most --surge-factor-max, which is {most}");
            return refuse("surge-factor-min", self.surge_factor_min, limit);
        }
        if self.surge_share > 0.0 && self.surge_factor_max * model.play_rate > 1.0 {
            let limit = above_one(model.play_rate);
            return refuse("surge-factor-max", self.surge_factor_max, limit);
        }
        Ok(())
    }
}

fn check_surge(surge: &Surge, model: &Model) -> Result<(), ModelError> {
    let refuse = |limit: String| refuse("surge", surge, limit);
    if rank_of_video(surge.video, model.videos).is_none() {
        let popular: Vec<String> =
            (1..=model.videos.min(3)).map(|rank| video_of_rank(rank).0.to_string()).collect();
        let limit = format!(
            "the catalogue of {} videos has no video {}; the most popular are {}, and --titles \
             writes all",
            model.videos,
            surge.video.0,
            popular.join(", ")
        );
        return refuse(limit);
    }
    if !(0.0..=FACTOR_MAX).contains(&surge.factor) {
        return refuse(format!("its factor must be 0 to {FACTOR_MAX}"));
    }
    if surge.factor * model.play_rate > 1.0 {
        return refuse(above_one(model.play_rate));
    }
    let end_ms = model.start_ms + model.duration_ms;
    if surge.duration_ms < 1 || surge.start_ms >= end_ms || surge.end_ms() <= model.start_ms {
        let (start, end) = (rfc3339(model.start_ms), rfc3339(end_ms));
        return refuse(format!("it must overlap the log, which is from {start} to {end}"));
    }
    Ok(())
}

fn above_one(play_rate: f64) -> String {
    format!(
        "a factor can be at most {}, as --play-rate is {play_rate} and at most every impression \
         is played",
        1.0 / play_rate
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(world: World) -> String {
        Model { world, ..Model::default() }.check().unwrap_err().to_string()
    }

    #[test]
    fn the_default_world_is_not_eventful() {
        assert!(!World::default().is_eventful());
        assert!(World { daily_rhythm: 0.1, ..World::default() }.is_eventful());
    }

    #[test]
    fn a_setting_out_of_its_limits_is_refused_with_its_flag_its_value_and_its_limit() {
        let default = World::default;
        for (world, message) in [
            (World { daily_rhythm: 1.5, ..default() }, "--daily-rhythm is 1.5, but a share must"),
            (World { video_rhythm: -0.5, ..default() }, "--video-rhythm is -0.5, but a share must"),
            (World { surge_share: f64::NAN, ..default() }, "--surge-share is NaN, but a share"),
            (
                World { play_rate_spread: 3.5, ..default() },
                "--play-rate-spread is 3.5, but must be 0 to 3",
            ),
            (World { bot_rate: 2.0, ..default() }, "--bot-rate is 2, but a share must be 0 to 1"),
            (
                World { denial_delay_max_ms: -1, ..default() },
                "--denial-delay-max is -1ms, but must be 0s to 366d",
            ),
            (World { overdispersion: -1.0, ..default() }, "--overdispersion is -1, but must be 0"),
            (
                World { surge_duration_min_ms: 0, ..default() },
                "--surge-duration-min is 0s, but must be 1ms to 366d",
            ),
            (
                World { surge_duration_min_ms: 25_200_000, ..default() },
                "--surge-duration-min is 7h, but must be at most --surge-duration-max, which is 6h",
            ),
            (World { surge_factor_min: 0.0, ..default() }, "--surge-factor-min is 0, but must be"),
            (
                World { surge_factor_min: 6.0, ..default() },
                "--surge-factor-min is 6, but must be at most --surge-factor-max, which is 5",
            ),
            (
                World { surge_share: 0.1, surge_factor_max: 21.0, ..default() },
                "--surge-factor-max is 21, but a factor can be at most 20, as --play-rate is 0.05",
            ),
        ] {
            let error = error(world);
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn a_surge_that_cannot_be_is_refused_with_the_reason() {
        let of = |text: &str| World { surges: vec![text.parse().unwrap()], ..World::default() };
        for (text, reason) in [
            ("7@2026-01-01T02:00:00Z/1h×3", "no video 7; the most popular are 51474863, 25840867,"),
            ("51474863@2026-01-01T02:00:00Z/1h×30", "a factor can be at most 20, as --play-rate"),
            ("51474863@2026-01-01T02:00:00Z/1h×-1", "its factor must be 0 to 1000"),
            ("51474863@2026-01-01T02:00:00Z/0s×3", "it must overlap the log"),
            ("51474863@2026-01-01T04:00:00Z/1h×3", "from 2026-01-01T00:00:00Z to 2026-01-01T04:"),
            ("51474863@2025-12-31T23:00:00Z/1h×3", "it must overlap the log"),
        ] {
            let error = error(of(text));
            assert!(error.starts_with(&format!("--surge is {text}, but ")), "{error}");
            assert!(error.contains(reason), "{error}");
        }
        let many = World {
            surges: of("51474863@2026-01-01T02:00:00Z/1h×3").surges.repeat(1_001),
            ..World::default()
        };
        assert!(error(many).contains("at most 1000 can be given"));
    }
}
