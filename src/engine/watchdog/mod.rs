//! The watchdog: says which thread does not get on, and ends the process if it never does.
//!
//! A state machine without input, output or clock; `guard` is the thread that acts.
//!
//! A worker that waits is no stall: for a message, for the store, for another process, or while a
//! source slows it down, its loop goes round. So a stall is *one* thing that a worker has begun and
//! not ended. Time counts only as far as the watchdog itself was running: after a pause of the
//! machine, nobody has stalled.

pub mod guard;
#[cfg(unix)]
mod operator;
#[cfg(not(unix))]
mod operator {
    //! Elsewhere no thread says which operator it is in.

    /// The identity of a thread.
    #[derive(Clone, Copy, Debug)]
    pub struct ThreadHandle;

    impl ThreadHandle {
        /// That of this thread.
        pub fn of_this() -> ThreadHandle {
            ThreadHandle
        }

        /// Nothing.
        pub fn operator(self) -> Option<usize> {
            None
        }
    }
}

pub use operator::ThreadHandle;

use super::activity::Activity;
use std::collections::BTreeMap;
use std::time::Duration;

/// If the watchdog itself looks so late, the process was suspended, and the silence of others tells
/// nothing.
const LATE: Duration = Duration::from_secs(2);

/// A thread, as the watchdog sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watched {
    /// The worker with this number.
    Worker(usize),
    /// The thread of the store, which may wait for a disk or for brokers: it ends no process.
    Store,
}

/// What one look at a thread has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The thread.
    pub thread: Watched,
    /// What it is doing.
    pub activity: Activity,
    /// How often it has begun something.
    pub begun: u64,
}

/// A thread that does not get on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// The thread.
    pub thread: Watched,
    /// What it has begun.
    pub activity: Activity,
    /// For how long.
    pub lasted: Duration,
}

/// What is to be done about a stall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// People are to be warned.
    Warn(Stall),
    /// The process is to end.
    End(Stall),
}

/// The state of the watchdog.
#[derive(Debug)]
pub struct Watchdog {
    warn_after: Duration,
    /// When the process ends; never if there is none.
    end_after: Option<Duration>,
    threads: BTreeMap<Watched, Seen>,
}

#[derive(Debug)]
struct Seen {
    activity: Activity,
    begun: u64,
    lasted: Duration,
    /// How long it must last before people are warned again.
    warned_after: Duration,
}

/// The time after which people are warned if no process is ended.
const WARN_AFTER: Duration = Duration::from_secs(20);

impl Watchdog {
    /// Ends the process after a limit, and warns at a third of it. With a limit of zero it only
    /// warns, after 20 s.
    pub fn new(limit: Duration) -> Watchdog {
        let end_after = (!limit.is_zero()).then_some(limit);
        let warn_after = end_after.map_or(WARN_AFTER, |limit| limit / 3);
        Watchdog { warn_after, end_after, threads: BTreeMap::new() }
    }

    /// From how long on a stall is one to tell people.
    pub fn warn_after(&self) -> Duration {
        self.warn_after
    }

    /// How often to look.
    pub fn interval(&self) -> Duration {
        (self.warn_after / 10).clamp(Duration::from_millis(50), Duration::from_millis(500))
    }

    /// Looks at all threads, `elapsed` after the look before. Returns what is to be done.
    pub fn look(&mut self, looks: &[Look], elapsed: Duration) -> Vec<Verdict> {
        let was_suspended = elapsed >= LATE;
        let mut verdicts = Vec::new();
        for Look { thread, activity, begun } in looks.iter().copied() {
            let fresh =
                || Seen { activity, begun, lasted: Duration::ZERO, warned_after: self.warn_after };
            let Some(seen) = self.threads.get_mut(&thread) else {
                self.threads.insert(thread, fresh());
                continue;
            };
            let goes_on = (seen.activity, seen.begun) != (activity, begun);
            if goes_on || was_suspended || activity.is_waiting() {
                *seen = fresh();
                continue;
            }
            seen.lasted += elapsed;
            let lasted = seen.lasted.saturating_sub(activity.grace());
            let stall = Stall { thread, activity, lasted };
            let may_end = thread != Watched::Store;
            if may_end && self.end_after.is_some_and(|limit| lasted >= limit) {
                verdicts.push(Verdict::End(stall));
            } else if lasted >= seen.warned_after {
                seen.warned_after = 2 * lasted;
                verdicts.push(Verdict::Warn(stall));
            }
        }
        verdicts
    }

    /// The threads that do not get on at the moment, for however short a time.
    pub fn stalls(&self) -> impl Iterator<Item = Stall> + '_ {
        self.threads.iter().map(|(thread, seen)| {
            let lasted = seen.lasted.saturating_sub(seen.activity.grace());
            Stall { thread: *thread, activity: seen.activity, lasted }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a limit of 60 s. A line is: how many milliseconds after the look before, how often the
    /// thread has begun something, what it is doing, and the verdict: `warn N` or `end N`, with the
    /// seconds. A line `worker` or `store` begins anew with that thread.
    const LOOKS: &str = "
        worker: it reads, and does not get on
        500   7  reading        →
        1900  7  reading        →
        1900  7  reading        →
        1900  7  reading        →
        1900  7  reading        →
        1900  7  reading        →
        1900  7  reading        →
        1900  7  reading        →
        1900  7  reading        →
        1900  7  reading        →
        1900  7  reading        →
        1900  7  reading        → warn 20
        1900  7  reading        →

        worker: it goes round
        1900  1  reading        →
        1900  2  reading        →
        1900  3  reading        →
        1900  3  stepping       →
        1900  3  reading        →

        worker: it waits for as long as it likes
        1900  1  waiting        →
        1900×100  1  waiting    →
        1900  1  opening_store  →
        1900×100  1  opening_store →

        worker: it stalls until the limit
        1000  1  stepping       →
        1000×19  1  stepping    →
        1000  1  stepping       → warn 20
        1000×19  1  stepping    →
        1000  1  stepping       → warn 40
        1000×19  1  stepping    →
        1000  1  stepping       → end 60

        worker: a pause that it may make does not count
        1000  1  pausing        →
        1000×49  1  pausing     →
        1000  1  pausing        → warn 20

        worker: the machine was suspended, which is no stall of anybody
        1000  1  stepping       →
        1000×19  1  stepping    →
        600000  1  stepping     →
        1000×19  1  stepping    →
        2000  1  stepping       →
        1000×19  1  stepping    →

        store: it is slow, which ends nothing
        1000  1  committing     →
        1000×19  1  committing  →
        1000  1  committing     → warn 20
        1000×19  1  committing  →
        1000  1  committing     → warn 40
        1000×39  1  committing  →
        1000  1  committing     → warn 80
        1000  2  committing     →
        1000×19  2  committing  →
    ";

    fn activity(name: &str) -> Activity {
        match name {
            "reading" => Activity::Polling(0),
            "stepping" => Activity::Stepping(0),
            "pausing" => Activity::Stepping(30_000),
            "waiting" => Activity::Waiting,
            "opening_store" => Activity::OpeningStore,
            "committing" => Activity::Committing(4),
            other => panic!("unknown activity: {other}"),
        }
    }

    #[test]
    fn a_thread_stalls_if_it_has_begun_something_and_does_not_get_on() {
        let mut watchdog = Watchdog::new(Duration::from_secs(60));
        let mut thread = Watched::Worker(3);
        for line in LOOKS.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let Some((look, expected)) = line.split_once('→') else {
                let of_store = line.starts_with("store");
                thread = if of_store { Watched::Store } else { Watched::Worker(3) };
                watchdog = Watchdog::new(Duration::from_secs(60));
                continue;
            };
            let fields: Vec<&str> = look.split_whitespace().collect();
            let (elapsed, times) = fields[0].split_once('×').unwrap_or((fields[0], "1"));
            let look =
                Look { thread, activity: activity(fields[2]), begun: fields[1].parse().unwrap() };
            let elapsed = Duration::from_millis(elapsed.parse().unwrap());
            let mut said = Vec::new();
            for _ in 0..times.parse().unwrap() {
                said.extend(watchdog.look(&[look], elapsed).into_iter().map(|one| match one {
                    Verdict::Warn(stall) => format!("warn {}", stall.lasted.as_secs()),
                    Verdict::End(stall) => format!("end {}", stall.lasted.as_secs()),
                }));
            }
            assert_eq!(said.join(" "), expected.trim(), "{line}");
        }
    }

    #[test]
    fn without_a_limit_it_only_warns() {
        let mut watchdog = Watchdog::new(Duration::ZERO);
        let thread = Watched::Worker(0);
        let look = Look { thread, activity: Activity::Leading, begun: 1 };
        let second = Duration::from_secs(1);
        let said = (0..10_000).flat_map(|_| watchdog.look(&[look], second)).collect::<Vec<_>>();
        assert!(said.iter().all(|one| matches!(one, Verdict::Warn(_))));
        // At 20 s, and whenever that has doubled.
        assert_eq!(said.len(), 9);
        assert_eq!(watchdog.stalls().next().unwrap().lasted, Duration::from_secs(9_999));
    }

    #[test]
    fn a_short_limit_is_looked_at_often() {
        let interval = |seconds| Watchdog::new(Duration::from_secs(seconds)).interval();
        assert_eq!(interval(1), Duration::from_millis(50));
        assert_eq!(interval(6), Duration::from_millis(200));
        assert_eq!(interval(60), Duration::from_millis(500));
    }
}
