//! Finds the partitions of topics: at once the first time, then in a thread of its own.
//!
//! A question to a broker takes milliseconds, or many seconds while it restarts, and the worker
//! that asks for partitions twice a second must not stand still. So while following, a thread
//! asks, and [`Finder::find`] hands out what it has found.

use super::client::Client;
use super::errors::KafkaSourceError;
use super::topic_partition::TopicPartition;
use crate::event::Kind;
use crate::sources::Discovered;
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often topics are looked at for new partitions.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// How long the thread waits for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// What a message is taken to come to, to share partitions out.
const MESSAGE_BYTES: u64 = 100;

/// The partitions that were found, and the thread that looks for more.
pub(super) struct Finder {
    found: Arc<Mutex<Vec<Discovered>>>,
    /// The thread ends when this is dropped.
    _ends: Sender<()>,
}

impl Finder {
    /// Finds the partitions of topics, waiting for brokers that do not answer at once. With
    /// `until_end` they end where they end now; without, it goes on looking for new ones.
    pub(super) fn start(
        client: &Arc<Client>,
        topics: &[(Kind, String)],
        until_end: bool,
    ) -> Result<Finder, KafkaSourceError> {
        let mut found = Vec::new();
        for (kind, topic) in topics {
            for number in client.partitions(topic)? {
                let place = TopicPartition { topic: topic.clone(), number };
                let ends = client.ends(topic, number)?;
                found.push(discovered(*kind, &place, ends, until_end));
            }
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        let found = Arc::new(Mutex::new(found));
        let (ends, ended) = channel();
        if !until_end {
            let watch = Watch {
                client: Arc::clone(client),
                topics: topics.to_vec(),
                found: Arc::clone(&found),
            };
            std::thread::spawn(move || watch.run(&ended));
        }
        Ok(Finder { found, _ends: ends })
    }

    /// All that were found so far. Those that are new stand at the end.
    pub(super) fn find(&self) -> Vec<Discovered> {
        lock(&self.found).clone()
    }
}

fn discovered(kind: Kind, place: &TopicPartition, ends: (u64, u64), until_end: bool) -> Discovered {
    let (first, end) = ends;
    Discovered {
        name: place.name(kind),
        size_bytes: end.saturating_sub(first).saturating_mul(MESSAGE_BYTES),
        end_offset: until_end.then_some(end),
    }
}

/// Looks for partitions that are added.
struct Watch {
    client: Arc<Client>,
    topics: Vec<(Kind, String)>,
    found: Arc<Mutex<Vec<Discovered>>>,
}

impl Watch {
    fn run(self, ended: &Receiver<()>) {
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(LOOK_INTERVAL) {
            for (kind, topic) in &self.topics {
                self.look(*kind, topic);
            }
        }
    }

    /// Looks at a topic. Where that fails, the next look may not; what became of partitions that
    /// are being read, their readers tell.
    fn look(&self, kind: Kind, topic: &str) {
        let numbers = match self.client.partitions_within(topic, ANSWER_TIMEOUT) {
            Ok(numbers) => numbers,
            Err(error) => {
                tracing::debug!("cannot look for new partitions of `{topic}`: {error}");
                return;
            }
        };
        let known: BTreeSet<_> = lock(&self.found).iter().map(|known| known.name.clone()).collect();
        for number in numbers {
            let place = TopicPartition { topic: topic.into(), number };
            if known.contains(&place.name(kind)) {
                continue;
            }
            let ends = self.client.ends_within(topic, number, ANSWER_TIMEOUT);
            // One that has no leader yet is found when it has.
            if let Ok(ends) = ends {
                tracing::info!("new partition: {}", place.name(kind));
                lock(&self.found).push(discovered(kind, &place, ends, false));
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
