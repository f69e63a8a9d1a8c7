//! The videos of a catalogue: which id has which rank of popularity.

use crate::event::VideoId;

/// The largest prime below 2²⁶; see [`video_of_rank`].
const VIDEO_PRIME: u64 = 67_108_859;
const VIDEO_STRIDE: u64 = 41_474_863;
const VIDEO_FIRST: u64 = 10_000_000;
/// Undoes the stride: to the power of the prime minus two, a number is its own inverse.
const VIDEO_STRIDE_INVERSE: u64 = power(VIDEO_STRIDE, VIDEO_PRIME - 2);

/// The video at a popularity rank (1 is the most popular), the same for every seed.
///
/// Ids have eight digits and are scattered: neighbours in popularity are not neighbours in the key
/// space. As the modulus is prime, no two ranks below it share an id.
#[inline]
pub fn video_of_rank(rank: u64) -> VideoId {
    VideoId(VIDEO_FIRST + rank * VIDEO_STRIDE % VIDEO_PRIME)
}

/// The popularity rank of a video in a catalogue of so many; `None` if it is not there.
pub fn rank_of_video(video: VideoId, videos: u64) -> Option<u64> {
    let scattered = video.0.checked_sub(VIDEO_FIRST).filter(|number| *number < VIDEO_PRIME)?;
    let rank = scattered * VIDEO_STRIDE_INVERSE % VIDEO_PRIME;
    (1..=videos).contains(&rank).then_some(rank)
}

/// A power modulo the prime.
const fn power(base: u64, mut exponent: u64) -> u64 {
    let (mut result, mut square) = (1, base);
    while exponent > 0 {
        if exponent % 2 == 1 {
            result = result * square % VIDEO_PRIME;
        }
        square = square * square % VIDEO_PRIME;
        exponent /= 2;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn video_ids_have_eight_digits_and_are_scattered() {
        let ids: HashSet<u64> = (1..=100_000).map(|rank| video_of_rank(rank).0).collect();
        assert_eq!(ids.len(), 100_000);
        assert!(ids.iter().all(|id| (10_000_000..100_000_000).contains(id)));
        assert!(video_of_rank(1).0.abs_diff(video_of_rank(2).0) > 1_000_000);
    }

    #[test]
    fn other_ids_have_no_rank() {
        for id in [0, 9_999_999, 10_000_000, video_of_rank(51).0, u64::MAX] {
            assert_eq!(rank_of_video(VideoId(id), 50), None, "{id}");
        }
    }

    proptest! {
        #[test]
        fn a_video_has_the_rank_that_it_is_at(rank in 1u64..=50_000_000) {
            prop_assert_eq!(rank_of_video(video_of_rank(rank), 50_000_000), Some(rank));
            prop_assert_eq!(rank_of_video(video_of_rank(rank), rank - 1), None);
        }
    }
}
