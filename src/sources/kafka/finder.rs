//! Finds the partitions of topics: synchronously at the start, then in a thread.
//!
//! A request to a broker takes milliseconds, or many seconds while the broker restarts. The worker
//! that looks for partitions twice a second must not block, so while following, a thread sends the
//! requests, and [`Finder::find`] returns its results.

use super::client::Client;
use super::errors::KafkaSourceError;
use super::topic_partition::TopicPartition;
use crate::event::Kind;
use crate::sources::Discovered;
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The interval between two checks for new partitions.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// How long the thread waits for a response.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The assumed size of a message in bytes, to estimate the sizes of partitions.
const MESSAGE_BYTES: u64 = 100;

/// The known partitions, and the thread that looks for new ones.
pub(super) struct Finder {
    found: Arc<Mutex<Vec<Discovered>>>,
    /// The thread stops when this is dropped.
    _stop: Sender<()>,
}

impl Finder {
    /// Finds the partitions of topics, and waits for brokers that do not answer at once. With
    /// `until_end`, they end at their current end offsets; without, a thread looks for new ones.
    pub(super) fn start(
        client: &Arc<Client>,
        topics: &[(Kind, String)],
        until_end: bool,
    ) -> Result<Finder, KafkaSourceError> {
        let mut found = Vec::new();
        for (kind, topic) in topics {
            for number in client.partitions(topic)? {
                let topic_partition = TopicPartition { topic: topic.clone(), number };
                let ends = client.offsets(topic, number)?;
                found.push(discovered(*kind, &topic_partition, ends, until_end));
            }
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        let found = Arc::new(Mutex::new(found));
        let (ends, stopped) = channel();
        if !until_end {
            let watch = Watch {
                client: Arc::clone(client),
                topics: topics.to_vec(),
                found: Arc::clone(&found),
            };
            std::thread::spawn(move || watch.run(&stopped));
        }
        Ok(Finder { found, _stop: ends })
    }

    /// Returns all partitions found so far, new ones last.
    pub(super) fn find(&self) -> Vec<Discovered> {
        lock(&self.found).clone()
    }
}

fn discovered(
    kind: Kind,
    topic_partition: &TopicPartition,
    ends: (u64, u64),
    until_end: bool,
) -> Discovered {
    let (first, end) = ends;
    Discovered {
        name: topic_partition.name(kind),
        size_bytes: end.saturating_sub(first).saturating_mul(MESSAGE_BYTES),
        end_offset: until_end.then_some(end),
        file: None,
    }
}

/// The thread that looks for new partitions.
struct Watch {
    client: Arc<Client>,
    topics: Vec<(Kind, String)>,
    found: Arc<Mutex<Vec<Discovered>>>,
}

impl Watch {
    fn run(self, stopped: &Receiver<()>) {
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(CHECK_INTERVAL) {
            for (kind, topic) in &self.topics {
                self.check_topic(*kind, topic);
            }
        }
    }

    /// Looks for new partitions of a topic. Failures are retried at the next check. Errors of
    /// partitions that are being read are reported by their readers.
    fn check_topic(&self, kind: Kind, topic: &str) {
        let numbers = match self.client.try_partitions(topic, ANSWER_TIMEOUT) {
            Ok(numbers) => numbers,
            Err(error) => {
                tracing::debug!("cannot look for new partitions of `{topic}`: {error}");
                return;
            }
        };
        let known: BTreeSet<_> = lock(&self.found).iter().map(|known| known.name.clone()).collect();
        for number in numbers {
            let topic_partition = TopicPartition { topic: topic.into(), number };
            if known.contains(&topic_partition.name(kind)) {
                continue;
            }
            let ends = self.client.try_offsets(topic, number, ANSWER_TIMEOUT);
            // A partition without a leader is added at a later check.
            if let Ok(ends) = ends {
                tracing::info!("new partition: {}", topic_partition.name(kind));
                lock(&self.found).push(discovered(kind, &topic_partition, ends, false));
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
