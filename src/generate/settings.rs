//! The settings of a generated log: flags, defaults and limits.

use super::world::World;
use crate::time::{
    EVENT_TIME_MAX_MS, EVENT_TIME_MIN_MS, Span, parse_rfc3339_ms, rfc3339, text::parse_duration_ms,
};
use clap::{Args, FromArgMatches};

/// The maximum number of videos in a catalogue, so that every id has eight digits.
pub const VIDEOS_MAX: u64 = 50_000_000;
/// The maximum number of videos that a request shows.
pub const VIDEOS_PER_REQUEST_MAX: u64 = 1_000;
/// The maximum of every duration, so that all times of the log stay within the calendar.
const DURATION_MAX_MS: i64 = 366 * 86_400_000;

/// The model of members who are shown videos and play some, and of the clients that log this.
/// Equal models give the same log.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct Model {
    /// Number of impressions, without duplicates
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    pub impressions: u64,

    /// Seed: the same seed and flags give the same bytes
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,

    /// Partitions of each log; the events are the same for any number
    #[arg(long, value_name = "COUNT", default_value_t = 8)]
    pub partitions: u32,

    /// Videos in the catalogue
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    pub videos: u64,

    /// Exponent of the Zipf distribution of popularity; 0 makes all videos equally popular
    #[arg(long, value_name = "NUMBER", default_value_t = 1.05)]
    pub zipf: f64,

    /// Different videos that a request shows
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    pub videos_per_request: u64,

    /// Time of the first request, in RFC 3339
    #[arg(
        long = "start", value_name = "TIME", default_value = "2026-01-01T00:00:00Z",
        value_parser = parse_rfc3339_ms
    )]
    pub start_ms: i64,

    /// Event time over which the requests are spread evenly
    #[arg(
        long = "duration", value_name = "DURATION", default_value = "4h",
        value_parser = parse_duration_ms
    )]
    pub duration_ms: i64,

    /// Share of impressions that are played
    #[arg(long, value_name = "SHARE", default_value_t = 0.05, value_parser = parse_share)]
    pub play_rate: f64,

    /// Median time from an impression to its play (log-normal)
    #[arg(
        long = "play-delay-median", value_name = "DURATION", default_value = "30s",
        value_parser = parse_duration_ms
    )]
    pub play_delay_median_ms: i64,

    /// Sigma of the log-normal time from an impression to its play
    #[arg(long, value_name = "NUMBER", default_value_t = 1.2)]
    pub play_delay_sigma: f64,

    /// Longest time from an impression to its play
    #[arg(
        long = "play-delay-max", value_name = "DURATION", default_value = "3h",
        value_parser = parse_duration_ms
    )]
    pub play_delay_max_ms: i64,

    /// Mean time over which the videos of a request come into view
    #[arg(
        long = "browsing-time", value_name = "DURATION", default_value = "40s",
        value_parser = parse_duration_ms
    )]
    pub browsing_time_ms: i64,

    /// Mean time between two uploads of a client's log (exponential)
    #[arg(
        long = "flush-interval", value_name = "DURATION", default_value = "2m",
        value_parser = parse_duration_ms
    )]
    pub flush_interval_ms: i64,

    /// Longest time from an event to its arrival, unless it is deliberately late
    #[arg(
        long = "arrival-delay-max", value_name = "DURATION", default_value = "10m",
        value_parser = parse_duration_ms
    )]
    pub arrival_delay_max_ms: i64,

    /// Every event arrives by itself, up to the maximum arrival delay after it: the impressions of
    /// a request do not arrive together
    #[arg(long)]
    pub scatter: bool,

    /// Share of events that arrive a second time, alone or with their whole batch
    #[arg(long, value_name = "SHARE", default_value_t = 0.02, value_parser = parse_share)]
    pub duplicate_rate: f64,

    /// Share of plays without an impression
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = parse_share)]
    pub orphan_rate: f64,

    /// Share of events that arrive long after their epoch has closed
    #[arg(long, value_name = "SHARE", default_value_t = 0.0005, value_parser = parse_share)]
    pub late_rate: f64,

    /// Minimum delay of late events; the maximum is twice that
    #[arg(
        long = "late-delay", value_name = "DURATION", default_value = "3h10m",
        value_parser = parse_duration_ms
    )]
    pub late_delay_ms: i64,

    /// Share of events that a wrong clock stamps in the future
    #[arg(long, value_name = "SHARE", default_value_t = 0.0005, value_parser = parse_share)]
    pub future_rate: f64,

    /// Minimum time that a wrong clock is ahead of the arrival; up to 30 days are added at random
    #[arg(
        long = "future-offset", value_name = "DURATION", default_value = "1h",
        value_parser = parse_duration_ms
    )]
    pub future_offset_ms: i64,

    /// Malformed records (cut off, fields missing or of a wrong type) per event
    #[arg(long, value_name = "SHARE", default_value_t = 0.0005, value_parser = parse_share)]
    pub malformed_rate: f64,

    /// Share of requests whose id is not a UUID but other text
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = parse_share)]
    pub text_id_rate: f64,

    /// How members and videos behave over time.
    #[command(flatten)]
    pub world: World,
}

/// A setting that is out of range.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("--{flag} is {given}, but {limit}")]
pub struct ModelError {
    /// The flag, without its dashes.
    pub flag: &'static str,
    /// The given value.
    pub given: String,
    /// The allowed values.
    pub limit: String,
}

impl Default for Model {
    /// The defaults of the flags.
    fn default() -> Model {
        let command = Model::augment_args(clap::Command::new("generate"));
        let parsed = command
            .try_get_matches_from(["generate"])
            .and_then(|matches| Model::from_arg_matches(&matches));
        match parsed {
            Ok(model) => model,
            Err(error) => unreachable!("every flag has a default: {error}"),
        }
    }
}

impl Model {
    /// Checks that all settings are within their limits.
    ///
    /// # Errors
    /// Returns the first setting that is out of range.
    pub fn check(&self) -> Result<(), ModelError> {
        self.check_counts()?;
        self.check_numbers()?;
        self.check_times()?;
        self.world.check(self)
    }

    fn check_counts(&self) -> Result<(), ModelError> {
        let counts = [
            ("partitions", u64::from(self.partitions), 1, 1_000),
            ("videos-per-request", self.videos_per_request, 1, VIDEOS_PER_REQUEST_MAX),
            ("videos", self.videos, self.videos_per_request, VIDEOS_MAX),
        ];
        for (flag, count, least, most) in counts {
            if !(least..=most).contains(&count) {
                return refuse(flag, count, format!("must be {least} to {most}"));
            }
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), ModelError> {
        for (flag, number) in [("zipf", self.zipf), ("play-delay-sigma", self.play_delay_sigma)] {
            if !(0.0..=10.0).contains(&number) {
                return refuse(flag, number, "must be 0 to 10".to_string());
            }
        }
        check_shares(&self.shares())?;
        let others = self.future_rate + self.orphan_rate;
        if self.late_rate + others > 1.0 {
            let limit = format!(
                "an event can be only one of late, future and orphan, and --future-rate and \
                 --orphan-rate are already {others} together"
            );
            return refuse("late-rate", self.late_rate, limit);
        }
        Ok(())
    }

    fn shares(&self) -> [(&'static str, f64); 7] {
        [
            ("play-rate", self.play_rate),
            ("duplicate-rate", self.duplicate_rate),
            ("orphan-rate", self.orphan_rate),
            ("late-rate", self.late_rate),
            ("future-rate", self.future_rate),
            ("malformed-rate", self.malformed_rate),
            ("text-id-rate", self.text_id_rate),
        ]
    }

    fn check_times(&self) -> Result<(), ModelError> {
        check_durations(&[
            ("duration", self.duration_ms, 1),
            ("play-delay-median", self.play_delay_median_ms, 1),
            ("play-delay-max", self.play_delay_max_ms, 0),
            ("browsing-time", self.browsing_time_ms, 0),
            ("flush-interval", self.flush_interval_ms, 0),
            ("arrival-delay-max", self.arrival_delay_max_ms, 0),
            ("late-delay", self.late_delay_ms, 0),
            ("future-offset", self.future_offset_ms, 0),
        ])?;
        // Browsing takes at most 20 times its mean; the other durations are added to it.
        let latest_ms = EVENT_TIME_MAX_MS - 40 * DURATION_MAX_MS;
        if !(EVENT_TIME_MIN_MS..=latest_ms).contains(&self.start_ms) {
            let limit =
                format!("must be from {} to {}", rfc3339(EVENT_TIME_MIN_MS), rfc3339(latest_ms));
            return refuse("start", rfc3339(self.start_ms), limit);
        }
        Ok(())
    }
}

/// The error that a flag is out of range.
pub(super) fn refuse(
    flag: &'static str,
    given: impl ToString,
    limit: String,
) -> Result<(), ModelError> {
    Err(ModelError { flag, given: given.to_string(), limit })
}

/// Checks that all of these are shares.
pub(super) fn check_shares(shares: &[(&'static str, f64)]) -> Result<(), ModelError> {
    for (flag, share) in shares {
        if !(0.0..=1.0).contains(share) {
            return refuse(flag, share, "a share must be 0 to 1".to_string());
        }
    }
    Ok(())
}

/// Checks durations with their minimum, in milliseconds.
pub(super) fn check_durations(durations: &[(&'static str, i64, i64)]) -> Result<(), ModelError> {
    for &(flag, duration_ms, least_ms) in durations {
        if !(least_ms..=DURATION_MAX_MS).contains(&duration_ms) {
            let (least, most) = (Span { ms: least_ms }, Span { ms: DURATION_MAX_MS });
            let limit = format!("must be {least} to {most}");
            return refuse(flag, Span { ms: duration_ms }, limit);
        }
    }
    Ok(())
}

/// Parses a share: a number from 0 to 1.
pub(super) fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("`{text}` is not a share; write a number from 0 to 1, such as 0.02")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_model_is_within_its_limits() {
        let model = Model::default();
        assert_eq!(model.check(), Ok(()));
        assert_eq!(model.duration_ms, 14_400_000);
        assert_eq!(rfc3339(model.start_ms), "2026-01-01T00:00:00Z");
    }

    #[test]
    fn a_setting_out_of_its_limits_is_refused_with_its_flag() {
        let default = Model::default;
        for (flag, model) in [
            ("partitions", Model { partitions: 0, ..default() }),
            ("videos", Model { videos: 19, ..default() }),
            ("videos-per-request", Model { videos_per_request: 0, ..default() }),
            ("zipf", Model { zipf: f64::NAN, ..default() }),
            ("duplicate-rate", Model { duplicate_rate: 1.5, ..default() }),
            ("late-rate", Model { late_rate: 0.6, future_rate: 0.6, ..default() }),
            ("duration", Model { duration_ms: 0, ..default() }),
            ("play-delay-median", Model { play_delay_median_ms: 0, ..default() }),
            ("start", Model { start_ms: i64::MAX, ..default() }),
        ] {
            assert_eq!(model.check().unwrap_err().flag, flag);
        }
    }

    #[test]
    fn a_share_is_a_number_from_0_to_1() {
        assert_eq!(parse_share("0.02"), Ok(0.02));
        for text in ["2", "-0.1", "NaN", "2%", ""] {
            assert!(parse_share(text).unwrap_err().contains("0 to 1"), "{text}");
        }
    }
}
