//! A planted surge: for a while, one video is played more often.

use crate::event::VideoId;
use crate::time::{Span, parse_rfc3339_ms, rfc3339, text::parse_duration_ms};
use std::fmt;
use std::str::FromStr;

/// A time in which the take rate of a video (plays per impression) is multiplied.
///
/// Written `VIDEO@TIME/DURATION×FACTOR`, such as `51474863@2026-01-01T02:00:00Z/1h×3`; a letter `x`
/// may take the place of `×`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Surge {
    /// The video.
    pub video: VideoId,
    /// The start, in milliseconds of event time.
    pub start_ms: i64,
    /// The length, in milliseconds.
    pub duration_ms: i64,
    /// What the take rate is multiplied by.
    pub factor: f64,
}

impl Surge {
    /// The first instant after it, in milliseconds.
    pub fn end_ms(&self) -> i64 {
        self.start_ms.saturating_add(self.duration_ms)
    }

    /// Whether an impression at this time has the surged rate.
    #[inline]
    pub fn includes(&self, time_ms: i64) -> bool {
        (self.start_ms..self.end_ms()).contains(&time_ms)
    }
}

impl FromStr for Surge {
    type Err = String;

    /// # Errors
    /// When the text has another form. The message says which part, and shows an example.
    fn from_str(text: &str) -> Result<Surge, String> {
        let refuse = |reason: &str| {
            format!(
                "`{text}` is not a surge: {reason}; write VIDEO@TIME/DURATION×FACTOR, such as \
                 51474863@2026-01-01T02:00:00Z/1h×3"
            )
        };
        let (video, rest) = text.split_once('@').ok_or_else(|| refuse("`@` is missing"))?;
        let (start, rest) = rest.split_once('/').ok_or_else(|| refuse("`/` is missing"))?;
        let (duration, factor) =
            rest.split_once(['×', 'x']).ok_or_else(|| refuse("`×` or `x` is missing"))?;
        let no_video = |_| refuse(&format!("`{video}` is not a video id"));
        let factor: Option<f64> = factor.parse().ok().filter(|factor: &f64| factor.is_finite());
        Ok(Surge {
            video: VideoId(video.parse().map_err(no_video)?),
            start_ms: parse_rfc3339_ms(start).map_err(|reason| refuse(&reason))?,
            duration_ms: parse_duration_ms(duration).map_err(|reason| refuse(&reason))?,
            factor: factor.ok_or_else(|| refuse("its factor is not a number"))?,
        })
    }
}

impl fmt::Display for Surge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, duration) = (rfc3339(self.start_ms), Span { ms: self.duration_ms });
        write!(formatter, "{}@{start}/{duration}×{}", self.video.0, self.factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_surge_is_a_video_a_time_a_duration_and_a_factor() {
        let expected = Surge {
            video: VideoId(51_474_863),
            start_ms: 1_767_232_800_000,
            duration_ms: 5_400_000,
            factor: 2.5,
        };
        for text in [
            "51474863@2026-01-01T02:00:00Z/1h30m×2.5",
            "51474863@2026-01-01T03:00:00+01:00/90mx2.5",
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        assert!(expected.includes(expected.start_ms) && !expected.includes(expected.end_ms()));
    }

    #[test]
    fn a_text_of_another_form_is_refused_with_the_part_that_is_wrong() {
        for (text, reason) in [
            ("", "`@` is missing"),
            ("7@2026-01-01T02:00:00Z", "`/` is missing"),
            ("7@2026-01-01T02:00:00Z/1h", "`×` or `x` is missing"),
            ("seven@2026-01-01T02:00:00Z/1h×3", "`seven` is not a video id"),
            ("7@2026-01-01T02:00:00/1h×3", "it has no zone"),
            ("7@2026-01-01T02:00:00Z/1×3", "a unit (ms, s, m, h or d) is missing"),
            ("7@2026-01-01T02:00:00Z/1h×", "its factor is not a number"),
            ("7@2026-01-01T02:00:00Z/1h×NaN", "its factor is not a number"),
        ] {
            let error = text.parse::<Surge>().unwrap_err();
            assert!(error.contains(reason) && error.contains("VIDEO@TIME/"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_written_surge_is_parsed_back(
            video: u64,
            start_ms in 0..4_000_000_000_000i64,
            duration_ms in 0..10_000_000_000i64,
            factor in 0.0..1e6,
        ) {
            let surge = Surge { video: VideoId(video), start_ms, duration_ms, factor };
            prop_assert_eq!(surge.to_string().parse(), Ok(surge));
        }

        #[test]
        fn no_text_panics(text in "[0-9@/x×:TZ.-]{0,30}") {
            let _ = text.parse::<Surge>();
        }
    }
}
