//! Whether the process lives (`/healthz`), and whether rows are committed (`/readyz`).
//!
//! Pure: what is known goes in, the verdict comes out.

use super::reply::{JSON, Reply};
use crate::engine::{Counters, Holder, PartitionState, Reason};
use serde_json::json;
use std::time::{Duration, Instant};

/// What is known of a job at one moment.
#[derive(Clone, Debug)]
pub struct Pulse {
    /// Whether all processes are connected, and in the first one the store is open.
    pub is_launched: bool,
    /// Whether what is in the store is read again.
    pub is_replaying: bool,
    /// The events that this process has read again.
    pub replayed: u64,
    /// The time since the last commit, or since the end of the replay. In other processes than the
    /// first, since the last publication began.
    pub quiet: Duration,
    /// For how long there has been something to commit. Only the first process knows.
    pub uncommitted: Option<Duration>,
    /// Which partition keeps epochs from closing, and for how long. Only the first process knows.
    pub holder: Option<(Holder, Duration)>,
    /// A partition of this process that could not be read for as long as the limit is.
    pub stalled: Option<Holder>,
}

/// Why a job is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReady {
    /// The reason, as a word: `starting`, `replaying`, `held` or `no_commit`.
    pub reason: &'static str,
    /// The reason, in words.
    pub text: String,
}

impl Pulse {
    /// What the counters of a process tell. Partitions have stalled after `limit`.
    pub fn of(counters: &Counters, limit: Duration, now: Instant) -> Pulse {
        let age = |at: Instant| now.saturating_duration_since(at);
        let committed_at = counters.committed().map(|(_, at)| at).or(counters.begun_at());
        let since = committed_at.or(counters.live_since());
        let stalled = |state: &PartitionState| state.is_stalled(limit, now);
        let stalled = counters.partitions().into_iter().find(stalled);
        Pulse {
            is_launched: counters.is_launched(),
            is_replaying: counters.is_replaying(),
            replayed: counters.replayed(),
            quiet: since.map_or(Duration::ZERO, age),
            uncommitted: counters.uncommitted_since().map(age),
            holder: counters.held_by(),
            stalled: stalled
                .map(|PartitionState { partition, reason, .. }| Holder { partition, reason }),
        }
    }

    /// Whether rows are committed within a limit, or there are none to commit.
    ///
    /// # Errors
    /// The reason why they are not.
    pub fn check(&self, limit: Duration) -> Result<(), NotReady> {
        if !self.is_launched {
            let text = "waiting for the other processes of the job, or for its store";
            return Err(NotReady { reason: "starting", text: text.into() });
        }
        if self.is_replaying {
            let text = format!("replaying what the store holds: {} events so far", self.replayed);
            return Err(NotReady { reason: "replaying", text });
        }
        let waits = self.stalled.as_ref().or_else(|| self.held_from_outside(limit));
        let is_late = self.uncommitted.is_some_and(|time| time >= limit) || waits.is_some();
        if self.quiet < limit || !is_late {
            return Ok(());
        }
        let seconds = self.quiet.as_secs();
        let holder = self.holder.as_ref().filter(|(_, lasted)| *lasted >= limit);
        match waits.or(holder.map(|(holder, _)| holder)) {
            Some(Holder { partition, reason }) => {
                let text =
                    format!("no commit for {seconds} s: held by {partition}, because {reason}");
                Err(NotReady { reason: "held", text })
            }
            None => {
                let text = format!("no commit for {seconds} s: the store is behind, or a worker");
                Err(NotReady { reason: "no_commit", text })
            }
        }
    }

    /// The partition of another process that waits for something outside of the job.
    fn held_from_outside(&self, limit: Duration) -> Option<&Holder> {
        let (holder, lasted) = self.holder.as_ref()?;
        (matches!(holder.reason, Reason::Source(_)) && *lasted >= limit).then_some(holder)
    }
}

/// Answers `/readyz`.
pub fn ready(counters: &Counters, limit: Duration) -> Reply {
    let pulse = Pulse::of(counters, limit, Instant::now());
    match pulse.check(limit) {
        Ok(()) => Reply::text(200, JSON, format!("{}\n", json!({ "ready": true }))),
        Err(NotReady { reason, text }) => unavailable(json!({
            "ready": false,
            "reason": reason,
            "error": text,
            "status": 503,
        })),
    }
}

/// Answers `/healthz`.
pub fn healthy(counters: &Counters) -> Reply {
    match counters.meter().unhealthy() {
        None => Reply::text(200, "text/plain; charset=utf-8", "ok\n"),
        Some(text) => unavailable(json!({ "error": text, "status": 503 })),
    }
}

fn unavailable(body: serde_json::Value) -> Reply {
    let mut reply = Reply::text(503, JSON, format!("{body}\n"));
    reply.headers.push(("retry-after", "1".to_owned()));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;
    use crate::log::PartitionName;
    use crate::sources::Wait;

    /// A line: what the job does, seconds since the last commit, seconds for which there has been
    /// something to commit, the holder's reason and seconds, the reason of a stalled partition of
    /// this process → the verdict for a limit of 60 s. `-` is none.
    const PULSES: &str = "
        starting   0    -   -                 -            → starting
        replaying  999  -   -                 -            → replaying
        running    0    -   -                 -            → ready
        running    59   59  -                 -            → ready
        running    60   60  -                 -            → no_commit
        running    9999 -   -                 -            → ready
        running    9999 1   -                 -            → ready
        running    9999 -   no_data 9999      -            → ready
        running    9999 -   reading 9999      -            → ready
        running    99   80  back_pressure 90  -            → held
        running    99   80  back_pressure 9   -            → no_commit
        running    99   -   broker 60         -            → held
        running    99   -   broker 59         -            → ready
        running    3    3   broker 9999       -            → ready
        running    99   -   -                 broker       → held
        running    99   -   -                 file         → held
        running    3    -   -                 broker       → ready
    ";

    fn holder(word: &str) -> Option<Holder> {
        let reason = match word {
            "-" => return None,
            "no_data" => Reason::NoData,
            "reading" => Reason::Reading,
            "back_pressure" => Reason::BackPressure,
            "broker" => Reason::Source(Wait::Broker),
            "file" => Reason::Source(Wait::File),
            other => panic!("unknown reason: {other}"),
        };
        let partition = PartitionName { kind: Kind::Play, name: "p".into() };
        Some(Holder { partition, reason })
    }

    #[test]
    fn a_job_is_ready_if_rows_are_committed_or_there_are_none() {
        for line in PULSES.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (given, expected) = line.split_once('→').unwrap();
            let mut words = given.split_whitespace().peekable();
            let mut word = || words.next().unwrap();
            let seconds = |word: &str| word.parse().ok().map(Duration::from_secs);
            let state = word();
            let (quiet, uncommitted) = (seconds(word()).unwrap(), seconds(word()));
            let held = holder(word());
            let pulse = Pulse {
                is_launched: state != "starting",
                is_replaying: state == "replaying",
                replayed: 7,
                quiet,
                uncommitted,
                holder: held.map(|held| (held, seconds(word()).unwrap())),
                stalled: holder(word()),
            };
            let found = pulse.check(Duration::from_secs(60));
            let found = found.err().map_or("ready", |not| not.reason);
            assert_eq!(found, expected.trim(), "{line}");
        }
    }

    #[test]
    fn the_reason_names_the_partition() {
        let pulse = Pulse {
            is_launched: true,
            is_replaying: false,
            replayed: 0,
            quiet: Duration::from_secs(61),
            uncommitted: None,
            holder: None,
            stalled: holder("broker"),
        };
        let text = pulse.check(Duration::from_secs(60)).unwrap_err().text;
        let expected = "no commit for 61 s: held by plays p, because its broker does not answer";
        assert_eq!(text, expected);
    }
}
