//! Random numbers that belong to a key, such as a video and an epoch: the same whenever they are
//! drawn, so that nothing needs to be remembered of a catalogue of any size.

use rand::TryRng;
use std::convert::Infallible;

/// What random numbers are drawn for. Those of different purposes are independent.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// The take rate of a video.
    PlayRate = 1,
    /// The scatter of the take rate of a video in an epoch.
    Scatter = 2,
    /// Whether a video has a random surge, and which.
    Surge = 3,
    /// The rhythm of a video.
    Rhythm = 4,
    /// The genre and the launch of a title.
    Title = 5,
    /// The order of the names of a catalogue.
    Names = 6,
}

/// The random numbers of one key: SplitMix64, whose state begins with a hash of the key.
pub struct KeyedRandom {
    state: u64,
}

impl KeyedRandom {
    /// The numbers of a key of two parts.
    #[inline]
    pub fn new(seed: u64, purpose: Purpose, first: u64, second: u64) -> KeyedRandom {
        let parts = [seed, purpose as u64, first, second];
        let state = parts.into_iter().fold(0, |hash, part| mixed(hash ^ part).wrapping_add(STEP));
        KeyedRandom { state }
    }
}

/// The step of SplitMix64: the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A bijection in which every input bit affects every output bit.
#[inline]
fn mixed(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

impl TryRng for KeyedRandom {
    type Error = Infallible;

    #[inline]
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|bits| (bits >> 32) as u32)
    }

    #[inline]
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.state = self.state.wrapping_add(STEP);
        Ok(mixed(self.state))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for part in bytes.chunks_mut(8) {
            let bits = self.try_next_u64()?.to_le_bytes();
            part.copy_from_slice(&bits[..part.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, RngExt};
    use std::collections::HashSet;

    #[test]
    fn a_key_has_its_own_numbers_and_always_the_same() {
        let first =
            |seed, purpose, one, other| KeyedRandom::new(seed, purpose, one, other).next_u64();
        let mut seen = HashSet::new();
        for number in 0..1_000 {
            for purpose in [Purpose::PlayRate, Purpose::Scatter] {
                assert!(seen.insert(first(1, purpose, number, 0)));
                assert!(seen.insert(first(1, purpose, 0, number + 1)));
                assert!(seen.insert(first(number + 2, purpose, 0, 0)));
            }
        }
        assert_eq!(first(1, Purpose::Title, 2, 3), first(1, Purpose::Title, 2, 3));
    }

    #[test]
    fn the_first_numbers_of_neighbouring_keys_are_uniform() {
        let mut bins = [0; 16];
        for video in 0..16_000 {
            let share: f64 = KeyedRandom::new(1, Purpose::Surge, video, 0).random();
            bins[(share * 16.0) as usize] += 1;
        }
        assert!(bins.iter().all(|bin| (850..1150).contains(bin)), "{bins:?}");
    }
}
