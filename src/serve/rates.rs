//! How much per second, over the last seconds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The time that a rate is taken over.
const WINDOW: Duration = Duration::from_secs(10);
/// The shortest time between two amounts that are kept apart.
const RESOLUTION: Duration = Duration::from_millis(100);

/// Amounts, and when they were added.
#[derive(Debug, Default)]
pub struct Rates {
    began: Option<Instant>,
    /// The sum so far, of a count that only grows.
    reached: u64,
    added: VecDeque<(Instant, u64)>,
}

impl Rates {
    /// Adds an amount now.
    pub fn add(&mut self, amount: u64) {
        self.add_at(amount, Instant::now());
    }

    /// Adds what a count has grown by.
    pub fn reach(&mut self, count: u64) {
        let grown = count.saturating_sub(self.reached);
        self.reached = count;
        self.add(grown);
    }

    fn add_at(&mut self, amount: u64, now: Instant) {
        self.began.get_or_insert(now);
        match self.added.back_mut() {
            Some((at, sum)) if now.duration_since(*at) < RESOLUTION => *sum += amount,
            _ => self.added.push_back((now, amount)),
        }
        while self.added.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.added.pop_front();
        }
    }

    /// The amount per second.
    pub fn per_second(&self) -> f64 {
        self.per_second_at(Instant::now())
    }

    fn per_second_at(&self, now: Instant) -> f64 {
        let Some(began) = self.began else { return 0.0 };
        let is_recent = |at: &Instant| now.duration_since(*at) <= WINDOW;
        let recent = self.added.iter().filter(|(at, _)| is_recent(at)).map(|(_, sum)| sum);
        let seconds = now.duration_since(began).clamp(Duration::from_secs(1), WINDOW).as_secs_f64();
        (recent.sum::<u64>() as f64 / seconds * 10.0).round() / 10.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_ten_seconds() {
        let mut rates = Rates::default();
        let began = Instant::now();
        assert_eq!(rates.per_second_at(began), 0.0);
        for tenth in 0..1_000 {
            rates.add_at(10, began + Duration::from_millis(10 * tenth));
        }
        let after = |seconds| rates.per_second_at(began + Duration::from_secs(seconds));
        assert_eq!(after(10), 1_000.0);
        assert!((400.0..600.0).contains(&after(15)), "{}", after(15));
        assert_eq!(after(21), 0.0);
        assert!(rates.added.len() <= 101);
    }
}
