//! The lease of a store in Kafka, and how a job claims the store before it fences the one before.
//!
//! The topic `TOPIC-lease` has three kinds of records. The job that has the store renews its lease
//! in its transactions, so that a fenced job cannot. A job that wants the store writes a *claim*:
//! its lease with the next generation and the state `claimed`, outside of any transaction, as it
//! has none yet. The first claim of a generation wins; the log orders them. Only its job fences.
//! Until that job has the store, which may take minutes, a thread renews its claim with the state
//! `starting` ([`Keeper`]).
//!
//! Fencing alone cannot do that: whoever initialises the transactional id last wins, also an old
//! job that only replaces a producer that broke. With claims, an old job that has fenced its
//! successor by mistake sees the successor's claim and ends, and the successor, which sees no later
//! claim, fences once more.
//!
//! Readers of this topic read uncommitted records: an open transaction of a job that died would
//! hide later claims for a minute, and a renewal that was not committed is a sign of life too.

use super::client::{Client, cannot};
use crate::kafka::notices::Callbacks;
use crate::stores::lease::{Found, RENEWAL_INTERVAL};
use crate::stores::{Claim, Lease, LeaseState, StoreError};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The key of all records of the topic.
pub(super) const LEASE_KEY: &[u8] = b"\"lease\"";
/// How long writing a claim may take.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(30);
/// How many offsets before the end of the topic reading begins. A claim that lost lies at most a
/// few records after the one that won.
const TAIL_OFFSETS: i64 = 64;
/// The pause between two looks at whether a start is over.
const KEEPER_PAUSE: Duration = Duration::from_millis(50);
/// How long writing the end of a start may take.
const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(1);

/// Reads the lease of a store, `None` if no job has claimed it.
pub(super) fn read(client: &Client, topic: &str) -> Result<Option<Lease>, StoreError> {
    let mut leases = Vec::new();
    client.read_tail(topic, TAIL_OFFSETS, |value| {
        // A record of a later version may have other fields. It is not understood, but no error.
        leases.extend(serde_json::from_slice::<Lease>(value));
    })?;
    Ok(current(leases))
}

/// Returns the lease that counts, of all that were written, in the order of the log.
fn current(leases: Vec<Lease>) -> Option<Lease> {
    let generation = leases.iter().map(|lease| lease.generation).max()?;
    let latest = leases.iter().filter(|lease| lease.generation == generation);
    // Only the job whose claim has won writes anything but a claim. What it writes while it starts
    // is in no transaction, so it may come late.
    let is_early = |state| matches!(state, LeaseState::Claimed | LeaseState::Starting);
    let owner = latest.clone().rfind(|lease| !is_early(lease.state));
    let starting = || latest.clone().rfind(|lease| lease.state == LeaseState::Starting);
    owner.or_else(starting).or_else(|| latest.clone().next()).cloned()
}

/// Waits until the store may be taken, and claims it. Returns the lease of this job, whose
/// generation is after `generation_before`, and what renews it until the job has the store.
pub(super) fn claim(
    client: &Client,
    topic: &str,
    claim: &Claim,
    generation_before: u64,
) -> Result<(Lease, Keeper), StoreError> {
    let failed = |error| client.cannot("write to", error);
    let mut config = client.config.clone();
    config.set("enable.idempotence", "true");
    let callbacks = Callbacks(Arc::clone(&client.notices));
    let producer = config.create_with_context(callbacks).map_err(failed)?;
    let records = Records { producer, topic: topic.to_owned() };
    loop {
        let mut before = None;
        claim.wait(&client.store, || {
            before = read(client, topic)?;
            let held = before.as_ref().filter(|before| !before.is_over());
            Ok(held.map_or(Found::Free, Found::held))
        })?;
        let last = before.as_ref().map_or(0, |before| before.generation);
        let own = Lease::new(last.max(generation_before) + 1, before.as_ref());
        records.send(&own).map_err(failed)?;
        records.producer.flush(CLAIM_TIMEOUT).map_err(failed)?;
        match read(client, topic)? {
            Some(current) if current.claim == own.claim => {
                let keeper = Keeper::start(records, own.clone(), claim.clone());
                return Ok((own, keeper));
            }
            Some(_) => tracing::info!("another job has claimed `{}` first", client.store),
            None => return Err(unreadable(client)),
        }
    }
}

/// Writes leases outside of any transaction.
struct Records {
    producer: BaseProducer<Callbacks>,
    topic: String,
}

impl Records {
    /// Sends a lease, without waiting.
    fn send(&self, lease: &Lease) -> KafkaResult<()> {
        let json = lease.to_json();
        let record = BaseRecord::to(&self.topic).key(LEASE_KEY).payload(json.as_bytes());
        self.producer.send(record.partition(0)).map_err(|(error, _)| error)
    }
}

/// Who says what becomes of the lease of a job that starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastWord {
    /// The job, as it takes the store.
    Job,
    /// The thread that renews the lease, as the job is asked to stop.
    Keeper,
}

impl LastWord {
    /// Whether it is the first to claim the last word.
    fn is_first(self, decided: &OnceLock<LastWord>) -> bool {
        *decided.get_or_init(|| self) == self
    }
}

/// Renews the lease of a job that starts, in a thread, as the job may wait for the brokers. If it
/// is dropped before [`Keeper::finish`], or the job is asked to stop before [`Keeper::take`], the
/// lease ends.
pub(super) struct Keeper {
    last_word: Arc<OnceLock<LastWord>>,
    finished: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    fn start(records: Records, lease: Lease, claim: Claim) -> Keeper {
        let (finished, is_finished) = channel();
        let last_word = Arc::new(OnceLock::new());
        let decided = Arc::clone(&last_word);
        let may_stop =
            move || claim.stop.load(Ordering::Relaxed) && LastWord::Keeper.is_first(&decided);
        let thread = thread::spawn(move || keep(&records, lease, may_stop, &is_finished));
        Keeper { last_word, finished: Some(finished), thread: Some(thread) }
    }

    /// Whether the job may take the store: the end of its start is not written, and will not be
    /// from now on, unless taking the store fails.
    pub fn take(&self) -> bool {
        LastWord::Job.is_first(&self.last_word)
    }

    /// Ends the renewals: the job has the store, and renews its lease itself.
    pub fn finish(mut self) {
        if let Some(finished) = self.finished.take() {
            // Nobody listens if the job was asked to stop.
            let _ = finished.send(());
        }
        // The thread closes its connection, which nobody needs to wait for.
        self.thread = None;
    }
}

impl Drop for Keeper {
    /// Waits until the end of the start is written, unless it was successful.
    fn drop(&mut self) {
        self.finished = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn keep(records: &Records, lease: Lease, may_stop: impl Fn() -> bool, is_finished: &Receiver<()>) {
    let mut lease = Lease { state: LeaseState::Starting, ..lease };
    let mut due = Instant::now();
    let ended = loop {
        if may_stop() {
            break LeaseState::Stopped;
        }
        if let Some(next) = after_renewal(due, Instant::now()) {
            due = next;
            lease = lease.renewed();
            // Renewals that cannot be written are no error: the start fails by itself then.
            let _ = records.send(&lease);
        }
        records.producer.poll(Duration::ZERO);
        match is_finished.recv_timeout(KEEPER_PAUSE) {
            Ok(()) => return,
            Err(RecvTimeoutError::Disconnected) => break LeaseState::Failed,
            Err(RecvTimeoutError::Timeout) => {}
        }
    };
    // Otherwise the next job may have to wait for the lease to expire.
    let _ = records.send(&Lease { state: ended, ..lease.renewed() });
    let _ = records.producer.flush(LAST_WORD_TIMEOUT);
}

/// Returns when the next renewal is due, if one is due now. Those that a suspended process has
/// missed are not made up for.
fn after_renewal(due: Instant, now: Instant) -> Option<Instant> {
    (now >= due).then(|| now + RENEWAL_INTERVAL)
}

fn unreadable(client: &Client) -> StoreError {
    let lost = KafkaError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition);
    cannot("read", &client.store, &lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The log, each record as `generation+claim` with `+` for the state `starting` and `*` for
    /// those after it, and the lease that counts.
    const TABLE: &str = "
        nothing                                →
        1a                                     → a
        1a 1b                                  → a
        1b 1a 1c                               → b
        1a 1b 1a* 1a*                          → a*
        1b 1a* 2c                              → c
        1a* 2c 1a* 2d                          → c
        2c 2d 2c* 1a*                          → c*
        1a* 1a*                                → a*
        2d 2c*                                 → c*
        1a 1b 1a+                              → a+
        1b 1a+                                 → a+
        1a 1a+ 1a* 1a+                         → a*
        1a 1a+ 1a* 2c                          → c
        1a* 2c 2c+ 1a* 2d                      → c+
    ";

    fn lease(text: &str) -> Lease {
        let state = match text.as_bytes()[2..] {
            [b'*'] => LeaseState::Running,
            [b'+'] => LeaseState::Starting,
            _ => LeaseState::Claimed,
        };
        let generation = text[..1].parse().unwrap();
        let claim = u64::from(text.as_bytes()[1]);
        Lease { claim, state, ..Lease::new(generation, None) }
    }

    #[test]
    fn the_first_claim_of_the_last_generation_counts_until_its_job_has_the_store() {
        for line in TABLE.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (log, expected) = line.split_once('→').unwrap();
            let log = log.split_whitespace().filter(|word| *word != "nothing").map(lease);
            let found = current(log.collect()).map(|lease| {
                let end = match lease.state {
                    LeaseState::Running => "*",
                    LeaseState::Starting => "+",
                    _ => "",
                };
                format!("{}{end}", char::from(lease.claim as u8))
            });
            assert_eq!(found.unwrap_or_default(), expected.trim(), "{line}");
        }
    }
    #[test]
    fn a_process_that_was_suspended_renews_its_lease_once() {
        let due = Instant::now();
        let resumed = due + RENEWAL_INTERVAL * 100;
        assert_eq!(after_renewal(due, due - Duration::from_millis(1)), None);
        let next = after_renewal(due, resumed).unwrap();
        assert_eq!(after_renewal(next, resumed + RENEWAL_INTERVAL / 2), None);
        assert!(after_renewal(next, resumed + RENEWAL_INTERVAL).is_some());
    }

    #[test]
    fn a_job_that_takes_the_store_is_not_said_to_have_stopped_and_one_that_has_takes_it_not() {
        let (taken, stopped) = (OnceLock::new(), OnceLock::new());
        // Taking may need several attempts.
        assert!(LastWord::Job.is_first(&taken) && LastWord::Job.is_first(&taken));
        assert!(!LastWord::Keeper.is_first(&taken));
        assert!(LastWord::Keeper.is_first(&stopped));
        assert!(!LastWord::Job.is_first(&stopped));
    }
}
