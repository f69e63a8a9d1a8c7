//! The rounds of a worker: when it ends one, and when it follows the others into a later one.
//!
//! A state machine without input, output or clock.

use crate::time::Round;

/// How many rounds a worker may be behind the others while it is filling a round.
const ROUNDS_BEHIND_MAX: u64 = 2;

/// The pace of a worker.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    round: Round,
    is_empty: bool,
    /// The latest round that worker 0 has told it to follow into.
    commanded: Round,
}

impl Pace {
    /// Begins with an empty round.
    pub fn new(round: Round) -> Pace {
        Pace { round, is_empty: true, commanded: round }
    }

    /// The current round.
    pub fn round(&self) -> Round {
        self.round
    }

    /// Whether nothing was read in the current round.
    pub fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Notes that something was read in the current round.
    pub fn note_read(&mut self) {
        self.is_empty = false;
    }

    /// Notes that the worker has entered a round.
    pub fn enter(&mut self, round: Round) {
        (self.round, self.is_empty) = (round, true);
    }

    /// Returns the round to enter when the current one ends; `None` if nothing was read in it.
    ///
    /// If the others are further ahead, it is theirs: they may wait for this worker, and then they
    /// do not advance, so it is not told to follow again.
    pub fn end(&self) -> Option<Round> {
        let next = self.round.next()?;
        (!self.is_empty).then_some(next.max(self.commanded))
    }

    /// Follows the others into a round; returns it if it is to be entered at once.
    ///
    /// The boundary of a publication is crossed at once. Otherwise the current round goes on
    /// filling, unless it is empty or the others are too far ahead: if every worker ended its round
    /// whenever another did, all rounds would be small.
    pub fn follow(&mut self, round: Round) -> Option<Round> {
        self.commanded = self.commanded.max(round);
        let crosses = round.publication() > self.round.publication();
        let behind = round.ahead_of(self.round);
        let is_due = crosses || behind > ROUNDS_BEHIND_MAX || behind > 0 && self.is_empty;
        is_due.then_some(round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Publication;

    /// One step a line: `follow ROUND`, `end` or `read`, and the round that is then entered. Rounds
    /// are written `publication.tick`.
    const STEPS: &str = "
        end          →
        follow 1.2   → 1.2
        follow 1.1   →
        read         →
        follow 1.3   →
        follow 1.4   →
        end          → 1.4
        end          →
        read         →
        follow 1.7   → 1.7
        read         →
        end          → 1.8
        read         →
        follow 2.0   → 2.0
        read         →
        end          → 2.1
    ";

    fn round(text: &str) -> Round {
        let (publication, tick) = text.split_once('.').unwrap();
        Round::at(Publication(publication.parse().unwrap()), tick.parse().unwrap())
    }

    #[test]
    fn a_worker_ends_its_rounds_and_follows_the_others() {
        let mut pace = Pace::new(round("1.0"));
        for line in STEPS.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (step, expected) = line.split_once('→').unwrap();
            let entered = match step.split_whitespace().collect::<Vec<_>>()[..] {
                ["follow", to] => pace.follow(round(to)),
                ["end"] => pace.end(),
                ["read"] => {
                    pace.note_read();
                    None
                }
                ref other => panic!("unknown step: {other:?}"),
            };
            let expected = expected.trim();
            assert_eq!(entered, (!expected.is_empty()).then(|| round(expected)), "{line}");
            if let Some(entered) = entered {
                pace.enter(entered);
            }
        }
    }
}
