//! Whether a job runs as it should, as far as its store tells: a judgement without input, output or
//! clock.

use crate::stores::LeaseState;
use crate::stores::lease::{EXPIRY, RENEWAL_INTERVAL};
use std::time::Duration;

/// What is known of the job of a store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// Whether every epoch is final.
    pub is_finished: bool,
    /// What its lease tells; `None` if there is none.
    pub lease: Option<Sign>,
    /// How many records it is known to be behind.
    pub behind: u64,
    /// How long it may commit nothing while it is behind.
    pub stale_after: Duration,
}

/// What a lease tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sign {
    /// What the job does, or how it ended.
    pub state: LeaseState,
    /// Whether its process is of this machine, so that its clock is the same.
    pub is_here: bool,
    /// Whether its process is known to be gone.
    pub is_gone: bool,
    /// The time since the lease was renewed, in milliseconds by the clock of this machine.
    pub age_ms: i64,
    /// Whether the lease was renewed while it was watched, for as long as it takes to expire;
    /// `None` if it was not watched.
    pub has_changed: Option<bool>,
    /// How long the job had committed nothing when it renewed the lease.
    pub without_commit: Duration,
}

/// Whether a job runs as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It starts or runs.
    Lives,
    /// Every epoch is final, and it has ended.
    Finished,
    /// It was asked to stop.
    Stopped,
    /// It has ended with an error.
    Failed,
    /// Its process is gone.
    Died,
    /// Its lease has expired: it hangs, or its machine is gone.
    Silent,
    /// It lives, is behind, and has committed nothing for too long.
    Stuck,
    /// No job has left a lease.
    Unknown,
}

impl Sign {
    /// Whether the lease must be watched to tell: the clocks of two machines differ.
    pub fn is_doubtful(&self) -> bool {
        let is_old = self.age_ms > millis(EXPIRY);
        let is_ahead = self.age_ms < -millis(RENEWAL_INTERVAL);
        !self.state.is_over() && !self.is_gone && (is_ahead || is_old && !self.is_here)
    }

    fn is_silent(&self) -> bool {
        self.has_changed.map_or(self.age_ms > millis(EXPIRY), |has_changed| !has_changed)
    }
}

impl Verdict {
    /// Judges a job.
    pub fn of(facts: &Facts) -> Verdict {
        let Some(sign) = facts.lease else { return Verdict::Unknown };
        let lives = !sign.state.is_over() && !sign.is_gone && !sign.is_silent();
        let is_due = facts.behind > 0 && sign.without_commit > facts.stale_after;
        match sign.state {
            LeaseState::Running if lives && is_due => Verdict::Stuck,
            _ if lives => Verdict::Lives,
            _ if facts.is_finished => Verdict::Finished,
            LeaseState::Finished => Verdict::Finished,
            LeaseState::Stopped => Verdict::Stopped,
            LeaseState::Failed => Verdict::Failed,
            _ if sign.is_gone => Verdict::Died,
            _ => Verdict::Silent,
        }
    }

    /// Whether a process has the store, and works.
    pub fn is_running(self) -> bool {
        matches!(self, Verdict::Lives | Verdict::Stuck)
    }

    /// The exit code: 0 if the job runs or has ended as it should, 3 if it should run and does not,
    /// or commits nothing, 4 if that is not known.
    pub fn exit_code(self) -> u8 {
        match self {
            Verdict::Lives | Verdict::Finished | Verdict::Stopped => 0,
            Verdict::Failed | Verdict::Died | Verdict::Silent | Verdict::Stuck => 3,
            Verdict::Unknown => 4,
        }
    }

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self.exit_code() {
            3 => "stale",
            4 => "unknown",
            _ if self.is_running() => "running",
            _ if self == Verdict::Finished => "finished",
            _ => "stopped",
        }
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of each case: the state; `far` for another machine, `gone` for a process that has
    /// ended; the age of the lease in seconds; `changed` or `same` if it was watched; `final` if
    /// every epoch is; `behind` and the seconds without a commit. Then whether the lease has to be
    /// watched, the verdict and the exit code.
    const TABLE: &str = "
        running 1                     → Lives 0
        running 10                    → Lives 0
        running 11                    → Silent 3
        running 1 gone                → Died 3
        running 11 gone               → Died 3
        claimed 1                     → Lives 0
        starting 9 behind 500         → Lives 0
        starting 20                   → Silent 3
        running far 9                 → Lives 0
        running far -1                → Lives 0
        running far 11 changed        → watch Lives 0
        running far 11 same           → watch Silent 3
        running far -3 changed        → watch Lives 0
        running far -3600 same        → watch Silent 3
        running -3600 same            → watch Silent 3
        running -3600 gone            → Died 3
        running 1 behind 60           → Lives 0
        running 1 behind 61           → Stuck 3
        running far 11 changed behind 61 → watch Stuck 3
        running 1 quiet 500           → Lives 0
        running 11 behind 61          → Silent 3
        finished 500 final            → Finished 0
        finished 500                  → Finished 0
        stopped 500                   → Stopped 0
        stopped far 500 behind 500    → Stopped 0
        failed 5                      → Failed 3
        running 5 gone final          → Finished 0
        running 5 final               → Lives 0
        failed 5 final                → Finished 0
        none                          → Unknown 4
        none final                    → Unknown 4
    ";

    fn facts(case: &str) -> Facts {
        let words: Vec<&str> = case.split_whitespace().collect();
        let has = |word| words.contains(&word);
        let after = |word| {
            let at = words.iter().position(|one| *one == word)?;
            words[at + 1].parse::<u64>().ok()
        };
        let state = match words[0] {
            "claimed" => LeaseState::Claimed,
            "starting" => LeaseState::Starting,
            "running" => LeaseState::Running,
            "finished" => LeaseState::Finished,
            "stopped" => LeaseState::Stopped,
            "failed" => LeaseState::Failed,
            "none" => LeaseState::Claimed,
            other => panic!("{other}"),
        };
        let age_s = words.iter().find_map(|word| word.parse::<i64>().ok()).unwrap_or(0);
        let sign = Sign {
            state,
            is_here: !has("far"),
            is_gone: has("gone"),
            age_ms: age_s * 1_000,
            has_changed: (has("changed") || has("same")).then(|| has("changed")),
            without_commit: Duration::from_secs(
                after("behind").or(after("quiet")).unwrap_or_default(),
            ),
        };
        Facts {
            is_finished: has("final"),
            lease: (words[0] != "none").then_some(sign),
            behind: u64::from(has("behind")) * 7,
            stale_after: Duration::from_secs(60),
        }
    }

    #[test]
    fn a_job_is_stale_if_it_should_run_and_does_not_or_commits_nothing() {
        for line in TABLE.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (case, expected) = line.split_once('→').unwrap();
            let facts = facts(case);
            let watched = match facts.lease.is_some_and(|sign| sign.is_doubtful()) {
                true => "watch ",
                false => "",
            };
            let verdict = Verdict::of(&facts);
            let found = format!("{watched}{verdict:?} {}", verdict.exit_code());
            assert_eq!(found, expected.trim(), "{case}");
        }
    }
}
