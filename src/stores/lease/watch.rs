//! When a job that starts may take a store that another job has: a state machine without input,
//! output or clock.

use super::{EXPIRY, Lease};
use std::time::Duration;

/// A lease that has changed within this time is that of a living job: more than two intervals
/// between renewals, which a commit may delay.
const ALIVE: Duration = Duration::from_secs(5);

/// What was found of the job that has a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// No job has it: there was none, or it has ended.
    Free,
    /// A job has it, which may live.
    Held {
        /// Changes with every renewal.
        sign: (u64, i64),
        /// The job, for messages.
        holder: String,
    },
}

impl Found {
    /// A job with this lease has the store.
    pub fn held(lease: &Lease) -> Found {
        Found::Held { sign: lease.sign(), holder: lease.to_string() }
    }
}

/// What the starting job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Take the store.
    Take,
    /// Look again.
    Wait,
    /// Leave the store to the job that has it.
    Refuse,
}

/// A job that watches the lease of another.
#[derive(Debug)]
pub(super) struct Watch {
    take_over: bool,
    /// The last sign, and when it was first seen, since the start of the watch.
    seen: Option<((u64, i64), Duration)>,
    /// Whether the lease has changed since the start.
    has_changed: bool,
}

impl Watch {
    /// Begins to watch. With `take_over`, nothing is waited for.
    pub fn new(take_over: bool) -> Watch {
        Watch { take_over, seen: None, has_changed: false }
    }

    /// Decides, `now` after the start of the watch.
    pub fn decide(&mut self, now: Duration, found: &Found) -> Verdict {
        let Found::Held { sign, .. } = found else { return Verdict::Take };
        if self.take_over {
            return Verdict::Take;
        }
        let changed_at = match self.seen {
            Some((seen, at)) if seen == *sign => at,
            seen => {
                self.has_changed |= seen.is_some();
                self.seen = Some((*sign, now));
                now
            }
        };
        let silence = now.saturating_sub(changed_at);
        if silence >= EXPIRY {
            Verdict::Take
        } else if now >= EXPIRY && self.has_changed && silence < ALIVE {
            Verdict::Refuse
        } else {
            Verdict::Wait
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found at which second, and what is done: `free`, or a number that changes with each
    /// renewal. A case ends with the first verdict that is not to wait.
    const TABLE: &str = "
        nobody has it                     : 0 free take
        it has died, or ended, at once    : 0 free take
        it ends while it is watched       : 0 one wait; 3 two wait; 5 free take
        it never renews                   : 0 one wait; 5 one wait; 9.9 one wait; 10 one take
        it lives                          : 0 one wait; 2 two wait; 9 six wait; 10 six refuse
        it falls silent while watched     : 0 one wait; 4 two wait; 10 two wait; 14 two take
        it is slow, and lives             : 0 one wait; 4 two wait; 10 two wait; 12 three refuse
        another has taken it meanwhile    : 0 one wait; 9.9 new wait; 12 new refuse
        it was silent, another has it     : 0 one wait; 9 one wait; 12 new refuse
        take-over of a living job         : 0 one force take
        take-over of a free store         : 0 free force take
    ";

    fn found(text: &str) -> Found {
        let number = text.bytes().fold(0, |sum, byte| sum * 256 + i64::from(byte));
        match text {
            "free" => Found::Free,
            _ => Found::Held { sign: (7, number), holder: text.to_owned() },
        }
    }

    #[test]
    fn a_store_is_taken_when_its_lease_does_not_change_and_left_to_a_job_that_renews_it() {
        for line in TABLE.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (case, steps) = line.split_once(':').unwrap();
            let mut watch = Watch::new(steps.contains("force"));
            for step in steps.replace("force ", "").split(';') {
                let [second, seen, expected] =
                    step.split_whitespace().collect::<Vec<_>>().try_into().unwrap();
                let now = Duration::from_secs_f64(second.parse().unwrap());
                let expected = match expected {
                    "take" => Verdict::Take,
                    "wait" => Verdict::Wait,
                    "refuse" => Verdict::Refuse,
                    other => panic!("{other}"),
                };
                assert_eq!(watch.decide(now, &found(seen)), expected, "{case}: {step}");
            }
        }
    }

    #[test]
    fn a_watch_ends_after_at_most_twice_the_expiry() {
        // Whenever the lease changes last, and however often before.
        for last_change in 0..200 {
            for interval in [1, 7, 20, 49, 60, 99] {
                let mut watch = Watch::new(false);
                let end = (0..=400).find(|tenth| {
                    let sign = (1, (*tenth).min(last_change) / interval);
                    let found = Found::Held { sign, holder: String::new() };
                    let now = Duration::from_millis(100 * tenth.unsigned_abs());
                    watch.decide(now, &found) != Verdict::Wait
                });
                let end = end.unwrap();
                assert!((100..=200).contains(&end), "{last_change} {interval}: {end}");
            }
        }
    }
}
