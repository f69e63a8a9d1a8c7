//! How long rounds take, from their first event until every worker is through with them.

use std::time::Duration;

/// The classes of an octave: a time is known to one part in this many.
const CLASSES: usize = 16;
/// From one microsecond on.
const OCTAVES: usize = 32;

/// The times of rounds, in classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundTimes {
    rounds: Vec<u64>,
}

impl Default for RoundTimes {
    fn default() -> RoundTimes {
        RoundTimes { rounds: vec![0; CLASSES * OCTAVES] }
    }
}

impl RoundTimes {
    /// Adds a round.
    pub fn add(&mut self, time: Duration) {
        let octaves = (time.as_secs_f64() * 1e6).max(1.0).log2();
        let class = (octaves * CLASSES as f64) as usize;
        self.rounds[class.min(CLASSES * OCTAVES - 1)] += 1;
    }

    /// Adds the rounds of another worker.
    #[must_use]
    pub fn merge(mut self, other: &RoundTimes) -> RoundTimes {
        self.rounds.iter_mut().zip(&other.rounds).for_each(|(all, others)| *all += others);
        self
    }

    /// Returns the time within which this share of the rounds was over, from 0 to 1.
    pub fn within(&self, share: f64) -> Duration {
        let wanted = (share * self.rounds.iter().sum::<u64>() as f64).ceil() as u64;
        let mut over = 0;
        let class = self.rounds.iter().position(|rounds| {
            over += rounds;
            over >= wanted
        });
        let octaves = (class.unwrap_or(0) + 1) as f64 / CLASSES as f64;
        Duration::from_secs_f64(octaves.exp2() / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_rounds_are_known_to_a_twentieth() {
        let mut one = RoundTimes::default();
        let mut other = RoundTimes::default();
        for micros in 1..=10_000 {
            let times = if micros % 3 == 0 { &mut one } else { &mut other };
            times.add(Duration::from_micros(micros));
        }
        let all = one.merge(&other);
        for (share, micros) in [(0.5, 5_000.0), (0.99, 9_900.0), (1.0, 10_000.0), (0.001, 10.0)] {
            let found = all.within(share).as_secs_f64() * 1e6;
            assert!((micros..micros * 1.05).contains(&found), "{share}: {found}");
        }
        assert_eq!(RoundTimes::default().within(0.5), RoundTimes::default().within(1.0));
        all.clone().add(Duration::from_secs(1 << 40));
    }
}
