//! Something that happens often, and is said only now and then.

use std::time::{Duration, Instant};

/// The least time between two times that it is said.
const INTERVAL: Duration = Duration::from_secs(60);

/// What has happened since it was said.
#[derive(Debug, Default)]
pub struct Seldom {
    said_at: Option<Instant>,
    count: u64,
}

impl Seldom {
    /// Notes that it has happened once more. Returns how often since it was said, if it is to be
    /// said now.
    pub fn note(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        if self.said_at.is_some_and(|at| now.duration_since(at) < INTERVAL) {
            return None;
        }
        self.said_at = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_at_once_and_then_once_a_minute_with_the_number() {
        let (mut seldom, began) = (Seldom::default(), Instant::now());
        let said: Vec<_> = (0..1_300)
            .filter_map(|tenth| {
                let count = seldom.note(began + Duration::from_millis(100 * tenth))?;
                Some((tenth, count))
            })
            .collect();
        assert_eq!(said, [(0, 1), (600, 600), (1_200, 600)]);
    }
}
