//! What the callbacks of librdkafka tell people, the same for all clients: losses of connections
//! once, and its log.

use super::client::log;
use super::connections::{Connections, News};
use super::hide_users;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::statistics::Statistics;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Tells of the connections of a client, or of several clients of the same purpose.
pub struct Notices {
    /// What the client is for, in messages.
    purpose: &'static str,
    started: Instant,
    connections: Mutex<Connections>,
}

impl Notices {
    /// Creates the notices of a client for this purpose: `source` or `store`, for example.
    pub fn of(purpose: &'static str) -> Notices {
        Notices { purpose, started: Instant::now(), connections: Mutex::default() }
    }

    /// Tells of an error that a client has reported, if it is time to.
    pub fn error(&self, error: &KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        let reason = hide_users(reason);
        let (reason, now) = (reason.as_ref(), self.started.elapsed());
        if is_told_elsewhere(code) {
            tracing::debug!(target: "librdkafka", "{error}: {reason}");
            return;
        }
        let mut connections = self.lock();
        let (news, lost) = match Broker::named_in(reason).filter(|_| is_connection(code)) {
            Some(Broker { address, is_first: true, .. }) => {
                (connections.first_failed(address, now), address)
            }
            Some(Broker { address, .. }) => (connections.failed(address, now), address),
            // One code is one trouble, whatever else the message says.
            None => (connections.failed(&error.to_string(), now), ""),
        };
        drop(connections);
        let problem = Broker::named_in(reason).map_or(reason, |broker| broker.problem);
        let purpose = self.purpose;
        match news {
            Some(News::Lost) if lost.is_empty() => tracing::warn!("Kafka, {purpose}: {reason}"),
            Some(News::StillLost(_)) if lost.is_empty() => {
                tracing::warn!("Kafka, {purpose}, again: {reason}");
            }
            Some(News::Lost) => {
                tracing::warn!("Kafka, {purpose}: lost the broker {lost}: {problem}");
            }
            Some(News::StillLost(lasted)) => tracing::warn!(
                "Kafka, {purpose}: no connection to the broker {lost} for {} s: {problem}",
                lasted.as_secs()
            ),
            Some(News::Back(_)) | None => {}
        }
    }

    /// Tells of the brokers that answer again.
    pub fn statistics(&self, statistics: &Statistics) {
        let answer = statistics.brokers.values().filter(|broker| {
            let is_up = matches!(broker.state.as_str(), "UP" | "UPDATE");
            is_up && broker.rxidle >= 0 && broker.nodeid >= 0 && broker.source != "logical"
        });
        let now = self.started.elapsed();
        for broker in answer {
            self.tell_back(self.lock().answered(&broker.nodename, now));
        }
    }

    fn tell_back(&self, news: Vec<(String, News)>) {
        for (broker, news) in news {
            if let News::Back(lasted) = news {
                let (purpose, lasted) = (self.purpose, lasted.as_secs());
                tracing::warn!(
                    "Kafka, {purpose}: connected to the broker {broker} again, after {lasted} s"
                );
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an error is about the connection to a broker.
pub fn is_connection(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::*;
    matches!(
        code,
        AllBrokersDown
            | Authentication
            | BrokerTransportFailure
            | NetworkException
            | OperationTimedOut
            | Resolve
            | SSL
    )
}

/// Whether an error is told anyway: the end of a partition is none, that all brokers are down
/// follows from each of them, and the error of the job says that its store was taken over.
fn is_told_elsewhere(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::*;
    matches!(code, PartitionEOF | AllBrokersDown | Fenced | ProducerFenced | InvalidProducerEpoch)
}

/// The broker that a message of librdkafka begins with.
#[derive(Debug, PartialEq, Eq)]
struct Broker<'a> {
    /// Its host and port.
    address: &'a str,
    /// Whether it is an address by which brokers are looked for at first.
    is_first: bool,
    /// The rest of the message.
    problem: &'a str,
}

impl<'a> Broker<'a> {
    fn named_in(message: &'a str) -> Option<Broker<'a>> {
        let (name, problem) = message.split_once(": ")?;
        let name = name.rsplit_once("://").map_or(name, |(_, name)| name);
        match name.rsplit_once('/') {
            Some((address, id)) if address.contains(':') => {
                Some(Broker { address, is_first: id == "bootstrap", problem })
            }
            // A broker that has a part, such as `TxnCoordinator: alpha:9092: …`.
            None if name.ends_with("Coordinator") => {
                let (address, problem) = problem.split_once(": ")?;
                Some(Broker { address, is_first: false, problem })
            }
            _ => None,
        }
    }
}

/// The callbacks of a client that needs no others.
#[derive(Clone)]
pub struct Callbacks(pub Arc<Notices>);

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.0.statistics(&statistics);
    }
}

impl ConsumerContext for Callbacks {}

impl ProducerContext for Callbacks {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_of_a_message_is_known_by_its_address() {
        let refused = "Connect to ipv4#127.0.0.1:9092 failed: Connection refused";
        let cases = [
            ("127.0.0.1:9092/bootstrap: ", Some(("127.0.0.1:9092", true))),
            ("127.0.0.1:9092/1: ", Some(("127.0.0.1:9092", false))),
            ("sasl_ssl://alpha:9092/12: ", Some(("alpha:9092", false))),
            ("[::1]:9092/1: ", Some(("[::1]:9092", false))),
            ("TxnCoordinator: beta:9092: ", Some(("beta:9092", false))),
            ("GroupCoordinator: beta:9092: ", Some(("beta:9092", false))),
            ("TxnCoordinator/1: ", None),
            ("Failed to read: ", None),
            ("", None),
        ];
        for (begin, expected) in cases {
            let message = format!("{begin}{refused}");
            let found = Broker::named_in(&message);
            let told = found.as_ref().map(|broker| (broker.address, broker.is_first));
            assert_eq!(told, expected, "{message}");
            assert!(found.is_none_or(|broker| broker.problem == refused), "{message}");
        }
    }
}
