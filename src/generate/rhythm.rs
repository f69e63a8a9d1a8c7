//! The rhythms of the day: of all requests, and of single videos.

use super::keyed::{KeyedRandom, Purpose};
use crate::event::VideoId;
use rand::RngExt;
use std::f64::consts::TAU;

const DAY_MS: i64 = 86_400_000;
/// The time of day at which most requests start, in UTC.
const PEAK_MS: i64 = 20 * 3_600_000;

/// When the requests of a log start: evenly, or more at the peak of each day.
///
/// Their rate is proportional to `1 + amplitude cos(2π (time − 20:00) / day)`.
pub struct DailyRhythm {
    amplitude: f64,
    start_ms: i64,
    duration_ms: i64,
}

impl DailyRhythm {
    /// The rhythm of a log; the amplitude is 0 to 1.
    pub fn new(amplitude: f64, start_ms: i64, duration_ms: i64) -> DailyRhythm {
        DailyRhythm { amplitude, start_ms, duration_ms }
    }

    /// The time before which this share of the requests start, in milliseconds. It never falls when
    /// the share rises.
    #[inline]
    pub fn time_ms(&self, share: f64) -> i64 {
        if self.amplitude == 0.0 {
            return self.start_ms + (share * self.duration_ms as f64) as i64;
        }
        let wanted = share * self.started(self.duration_ms);
        let (mut low_ms, mut high_ms) = (0, self.duration_ms);
        while low_ms < high_ms {
            let middle_ms = low_ms + (high_ms - low_ms) / 2;
            if self.started(middle_ms) < wanted {
                low_ms = middle_ms + 1;
            } else {
                high_ms = middle_ms;
            }
        }
        self.start_ms + low_ms
    }

    /// The requests of the first milliseconds, if there is one a millisecond on average.
    fn started(&self, passed_ms: i64) -> f64 {
        let per_radian_ms = DAY_MS as f64 / TAU;
        let sine = |passed_ms: i64| {
            let since_peak_ms = (self.start_ms - PEAK_MS + passed_ms).rem_euclid(DAY_MS);
            (since_peak_ms as f64 / per_radian_ms).sin()
        };
        passed_ms as f64 + self.amplitude * per_radian_ms * (sine(passed_ms) - sine(0))
    }
}

/// How popular each video is over the day, compared with its average: a wave with a phase and an
/// amplitude of its own.
pub struct VideoRhythm {
    seed: u64,
    amplitude_max: f64,
}

impl VideoRhythm {
    /// The rhythms of a catalogue: the amplitudes are uniform from 0 to the maximum, which is at
    /// most 1.
    pub fn new(seed: u64, amplitude_max: f64) -> VideoRhythm {
        VideoRhythm { seed, amplitude_max }
    }

    /// The popularity of a video at a time, as a share of the highest that any video can have.
    pub fn share(&self, video: VideoId, time_ms: i64) -> f64 {
        let mut random = KeyedRandom::new(self.seed, Purpose::Rhythm, video.0, 0);
        let (amplitude, phase): (f64, f64) = (random.random(), random.random());
        let day = time_ms.rem_euclid(DAY_MS) as f64 / DAY_MS as f64;
        let wave = (TAU * (day - phase)).cos();
        (1.0 + self.amplitude_max * amplitude * wave) / (1.0 + self.amplitude_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: i64 = 1_767_225_600_000;

    #[test]
    fn without_amplitude_requests_start_evenly() {
        let rhythm = DailyRhythm::new(0.0, START_MS, 1_000);
        assert_eq!([0.0, 0.5, 0.999].map(|share| rhythm.time_ms(share) - START_MS), [0, 500, 999]);
    }

    #[test]
    fn most_requests_start_in_the_evening_and_fewest_in_the_morning() {
        let rhythm = DailyRhythm::new(0.5, START_MS, 2 * DAY_MS);
        let mut hours = [0; 24];
        let times: Vec<i64> =
            (0..48_000).map(|number| rhythm.time_ms(f64::from(number) / 48_000.0)).collect();
        for time_ms in &times {
            hours[((time_ms - START_MS) % DAY_MS / 3_600_000) as usize] += 1;
        }
        assert!(times.is_sorted());
        // Twice 1,000 an hour on average, by the cosine 1.5 and 0.5 of it.
        assert!((2_950..3_010).contains(&hours[20]) && (2_950..3_010).contains(&hours[19]));
        assert!((990..1_050).contains(&hours[7]) && (990..1_050).contains(&hours[8]), "{hours:?}");
    }

    #[test]
    fn a_full_amplitude_stays_within_the_log() {
        for duration_ms in [1, 1_000, DAY_MS, 100 * DAY_MS + 1] {
            let rhythm = DailyRhythm::new(1.0, START_MS, duration_ms);
            for share in [0.0, 0.3, 1.0 - f64::EPSILON] {
                let passed_ms = rhythm.time_ms(share) - START_MS;
                assert!((0..=duration_ms).contains(&passed_ms), "{duration_ms} {share}");
            }
        }
    }

    #[test]
    fn the_rhythms_of_videos_differ_and_repeat_every_day() {
        let rhythm = VideoRhythm::new(1, 0.8);
        let peak = |video| {
            let share = |hour: i64| rhythm.share(VideoId(video), START_MS + hour * 3_600_000);
            assert!((share(3) - share(27)).abs() < 1e-12);
            assert!((0..24).map(share).all(|share| (0.0..=1.0).contains(&share)));
            (0..24).max_by(|one, other| share(*one).total_cmp(&share(*other))).unwrap()
        };
        let mut peaks = [0; 24];
        (0..2_400).for_each(|video| peaks[peak(video) as usize] += 1);
        assert!(peaks.iter().all(|videos| (60..150).contains(videos)), "{peaks:?}");
    }
}
