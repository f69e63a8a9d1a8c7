//! The errors of the Kafka source, and which of them are fatal for a job.
//!
//! librdkafka reconnects, finds new leaders and retries by itself, indefinitely. Only errors that
//! it cannot recover from are fatal. Unknown errors are fatal too: they may hide data loss.

use crate::kafka::{KafkaSettingsError, RegistryError};
use crate::log::PartitionName;
use rdkafka::error::RDKafkaErrorCode;

/// An error of the Kafka source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KafkaSourceError {
    /// The settings are not valid.
    #[error(transparent)]
    Settings(#[from] KafkaSettingsError),
    /// The schema registry cannot be used.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The client cannot be created, or has failed.
    #[error("the Kafka client failed: {0}")]
    Client(String),
    /// No broker answered in time.
    #[error(
        "no answer from the Kafka brokers `{servers}` within {seconds} s: {reason}; check \
         --bootstrap-servers, `security.protocol` and the network"
    )]
    Unreachable {
        /// The configured servers.
        servers: String,
        /// The time spent on all attempts, in seconds.
        seconds: u64,
        /// The message of librdkafka.
        reason: String,
    },
    /// The brokers deny access, or their certificates cannot be verified.
    #[error(
        "cannot log in to the Kafka brokers `{servers}`: {reason}; check `security.protocol`, \
         `sasl.*`, `ssl.*` and the permissions of the user"
    )]
    Denied {
        /// The configured servers.
        servers: String,
        /// The message of librdkafka.
        reason: String,
    },
    /// A given topic does not exist.
    #[error(
        "there is no topic `{topic}` on `{servers}`; check the name and --bootstrap-servers, or \
         create the topic"
    )]
    UnknownTopic {
        /// The topic.
        topic: String,
        /// The configured servers.
        servers: String,
    },
    /// A partition was deleted while it was being read.
    #[error(
        "{partition} no longer exists, but reading must resume at offset {offset}: its topic was \
         deleted; restore it, or start with a new store"
    )]
    NotFound {
        /// The partition.
        partition: PartitionName,
        /// The offset at which reading must resume.
        offset: u64,
    },
    /// A topic was deleted and made again while it was being read.
    #[error(
        "the topic of {partition} was deleted and made again: reading cannot resume at offset \
         {offset} of another log; start with a new store"
    )]
    Remade {
        /// The partition.
        partition: PartitionName,
        /// The offset that was reached in the old topic.
        offset: u64,
    },
    /// A partition cannot be read further.
    #[error("cannot read {partition} from offset {offset}: {reason}; {advice}")]
    Partition {
        /// The partition.
        partition: PartitionName,
        /// The offset at which reading must resume.
        offset: u64,
        /// The message of librdkafka.
        reason: String,
        /// The advice to the user.
        advice: &'static str,
    },
}

/// The meaning of an error of librdkafka for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// librdkafka recovers by itself. What was known of partitions may be outdated.
    Transient,
    /// The offset at which reading must resume does not exist.
    OffsetLost,
    /// The topic or the partition does not exist.
    NotFound,
    /// Authentication or authorization failed.
    Denied,
    /// Anything else.
    Fatal,
}

pub(super) fn severity(code: RDKafkaErrorCode) -> Severity {
    use RDKafkaErrorCode::*;
    match code {
        AutoOffsetReset | OffsetOutOfRange | LogTruncation => Severity::OffsetLost,
        UnknownTopic | UnknownPartition | UnknownTopicOrPartition => Severity::NotFound,
        Authentication
        | SaslAuthenticationFailed
        | UnsupportedSASLMechanism
        | IllegalSASLState
        | TopicAuthorizationFailed
        | ClusterAuthorizationFailed => Severity::Denied,
        AllBrokersDown
        | BrokerNotAvailable
        | BrokerTransportFailure
        | CoordinatorLoadInProgress
        | CoordinatorNotAvailable
        | FencedLeaderEpoch
        | GroupAuthorizationFailed
        | KafkaStorageError
        | LeaderNotAvailable
        | NetworkException
        | NodeUpdate
        | NotCoordinator
        | NotLeaderForPartition
        | OffsetNotAvailable
        | OperationTimedOut
        | ReplicaNotAvailable
        | RequestTimedOut
        | Resolve
        | SSL
        | ThrottlingQuotaExceeded
        | TimedOutQueue
        | Unknown
        | UnknownLeaderEpoch
        | WaitingForCoordinator => Severity::Transient,
        _ => Severity::Fatal,
    }
}
