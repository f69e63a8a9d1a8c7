//! The world of the demo: a catalogue of titles, a rhythm of the day, titles that surge while one
//! looks, and bots that are denied.

use crate::arguments::DemoArguments;
use crate::generate::catalogue::video_of_rank;
use crate::generate::{Model, Surge, World};

/// The maximum duration of a log, in milliseconds of event time.
const YEAR_MS: i64 = 366 * 86_400_000;
/// The event time that has passed when the demo begins, so that there is something to compare with:
/// scores need a day.
const PAST_MS: i64 = 36 * 3_600_000;
/// The most impressions of that time.
const PAST_IMPRESSIONS_MAX: u64 = 6_000_000;
/// The first surge begins so many seconds after the demo, and the others follow after so many.
const SURGE_AFTER_S: i64 = 12;
const SURGE_INTERVAL_S: i64 = 25;
const SURGES: i64 = 24;
/// How long a surge lasts, in seconds of the demo, and how much more its title is played then.
const SURGE_S: i64 = 15;
const SURGE_FACTOR: f64 = 4.0;

/// Returns the event time that has passed when the demo begins, in milliseconds.
pub(super) fn past_ms(arguments: &DemoArguments) -> i64 {
    let pace_ms = arguments.pace.ms.max(1);
    let seconds = i64::try_from(PAST_IMPRESSIONS_MAX / arguments.rate.max(1)).unwrap_or(i64::MAX);
    PAST_MS.min(seconds.saturating_mul(pace_ms))
}

/// Returns the model of the demo.
pub(super) fn model(arguments: &DemoArguments) -> Model {
    let pace_ms = arguments.pace.ms.max(1);
    // Longer than any demo: a week, or the time in which a year of event time passes.
    let seconds = (YEAR_MS / pace_ms).clamp(1, 7 * 86_400);
    let model = Model {
        seed: arguments.seed,
        impressions: arguments.rate.saturating_mul(seconds.unsigned_abs()),
        duration_ms: pace_ms.saturating_mul(seconds),
        partitions: 4,
        ..Model::default()
    };
    let surge = |number: i64| Surge {
        // Titles that are neither always on top nor hardly seen.
        video: video_of_rank(9 + 17 * number.unsigned_abs() % 80),
        start_ms: model.start_ms
            + past_ms(arguments)
            + (SURGE_AFTER_S + number * SURGE_INTERVAL_S) * pace_ms,
        duration_ms: SURGE_S * pace_ms,
        factor: SURGE_FACTOR,
    };
    let world = World {
        daily_rhythm: 0.5,
        video_rhythm: 0.3,
        play_rate_spread: 0.4,
        overdispersion: 0.002,
        surges: (0..SURGES).map(surge).collect(),
        bot_rate: 0.002,
        ..World::default()
    };
    Model { world, ..model }
}
