//! The lease of a store in Kafka, and how a job claims the store before it fences the one before.
//!
//! The topic `TOPIC-lease` has two kinds of records. The job that has the store renews its lease in
//! its transactions, so that a fenced job cannot. A job that wants the store writes a *claim*: its
//! lease with the next generation and the state `starting`, outside of any transaction, as it has
//! none yet. The first claim of a generation wins; the log orders them. Only its job fences.
//!
//! Fencing alone cannot do that: whoever initialises the transactional id last wins, also an old
//! job that only replaces a producer that broke. With claims, an old job that has fenced its
//! successor by mistake sees the successor's claim and ends, and the successor, which sees no later
//! claim, fences once more.
//!
//! Readers of this topic read uncommitted records: an open transaction of a job that died would
//! hide later claims for a minute, and a renewal that was not committed is a sign of life too.

use super::client::{Client, cannot};
use crate::stores::lease::Found;
use crate::stores::{Claim, Lease, LeaseState, StoreError};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::Duration;

/// The key of all records of the topic.
pub(super) const LEASE_KEY: &[u8] = b"\"lease\"";
/// How long writing a claim may take.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(30);
/// How many offsets before the end of the topic reading begins. A claim that lost lies at most a
/// few records after the one that won.
const TAIL_OFFSETS: i64 = 64;

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
    let is_claim = |lease: &&Lease| lease.state == LeaseState::Starting;
    let mut latest = leases.iter().filter(|lease| lease.generation == generation);
    // Only the job whose claim has won fences, and only then writes anything but a claim.
    let owner = latest.clone().rfind(|lease| !is_claim(lease));
    owner.or_else(|| latest.next()).cloned()
}

/// Waits until the store may be taken, and claims it. Returns the lease of this job, whose
/// generation is after `generation_before`.
pub(super) fn claim(
    client: &Client,
    topic: &str,
    claim: &Claim,
    generation_before: u64,
) -> Result<Lease, StoreError> {
    loop {
        let mut before = None;
        claim.wait(&client.store, || {
            before = read(client, topic)?;
            let held = before.as_ref().filter(|before| !before.is_over());
            Ok(held.map_or(Found::Free, Found::held))
        })?;
        let last = before.as_ref().map_or(0, |before| before.generation);
        let own = Lease::new(last.max(generation_before) + 1, before.as_ref());
        write(client, topic, &own)?;
        match read(client, topic)? {
            Some(current) if current.claim == own.claim => return Ok(own),
            Some(_) => tracing::info!("another job has claimed `{}` first", client.store),
            None => return Err(unreadable(client)),
        }
    }
}

/// Writes a claim, outside of any transaction.
fn write(client: &Client, topic: &str, lease: &Lease) -> Result<(), StoreError> {
    let failed = |error| client.cannot("write to", error);
    let mut config = client.config.clone();
    config.set("enable.idempotence", "true");
    let producer: BaseProducer = config.create().map_err(failed)?;
    let json = lease.to_json();
    let record = BaseRecord::to(topic).key(LEASE_KEY).payload(json.as_bytes()).partition(0);
    producer.send(record).map_err(|(error, _)| failed(error))?;
    producer.flush(CLAIM_TIMEOUT).map_err(failed)
}

fn unreadable(client: &Client) -> StoreError {
    let lost = KafkaError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition);
    cannot("read", &client.store, &lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The log, each record as `generation+claim` with `*` for the states after `starting`, and the
    /// claim whose lease counts.
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
    ";

    fn lease(text: &str) -> Lease {
        let state = if text.ends_with('*') { LeaseState::Running } else { LeaseState::Starting };
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
                let end = if lease.state == LeaseState::Running { "*" } else { "" };
                format!("{}{end}", char::from(lease.claim as u8))
            });
            assert_eq!(found.unwrap_or_default(), expected.trim(), "{line}");
        }
    }
}
