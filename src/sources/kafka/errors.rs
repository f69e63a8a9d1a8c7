//! What can go wrong with Kafka, and which of it stops a job.
//!
//! librdkafka reconnects, finds new leaders and asks again by itself, for as long as it takes. So
//! only what it cannot mend is an error here; and what nobody knows is, as it may hide a loss.

use crate::kafka::{KafkaSettingsError, RegistryError};
use crate::log::PartitionName;
use rdkafka::error::RDKafkaErrorCode;

/// Why topics cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KafkaSourceError {
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] KafkaSettingsError),
    /// The schema registry cannot be used.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// No client can be made of the settings.
    #[error("the Kafka settings are wrong: {0}")]
    Client(String),
    /// No broker has answered.
    #[error(
        "no answer from the Kafka brokers `{servers}` within {seconds} s: {reason}; check \
         --bootstrap-servers, `security.protocol` and the network"
    )]
    Unreachable {
        /// The servers that were asked.
        servers: String,
        /// How long they were asked, in seconds.
        seconds: u64,
        /// What librdkafka says.
        reason: String,
    },
    /// The brokers do not let this client in, or cannot show who they are.
    #[error(
        "cannot log in to the Kafka brokers `{servers}`: {reason}; check `security.protocol`, \
         `sasl.*`, `ssl.*` and what the user may do"
    )]
    Refused {
        /// The servers.
        servers: String,
        /// What librdkafka says.
        reason: String,
    },
    /// A topic that was given does not exist.
    #[error(
        "there is no topic `{topic}` on `{servers}`; check the name and --bootstrap-servers, or \
         create the topic"
    )]
    UnknownTopic {
        /// The topic.
        topic: String,
        /// The servers that were asked.
        servers: String,
    },
    /// A partition that was being read is no more.
    #[error(
        "{partition} is gone after offset {offset}: its topic was deleted; restore it, or start \
         with a new store"
    )]
    Gone {
        /// Which partition.
        partition: PartitionName,
        /// Where reading has to go on.
        offset: u64,
    },
    /// A partition cannot be read on.
    #[error("cannot read {partition} on from offset {offset}: {reason}; {advice}")]
    Partition {
        /// Which partition.
        partition: PartitionName,
        /// Where reading has to go on.
        offset: u64,
        /// What librdkafka says.
        reason: String,
        /// What to do.
        advice: &'static str,
    },
}

/// What an error that librdkafka tells means for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// librdkafka goes on by itself. What was seen of partitions before may be outdated.
    Passing,
    /// The offset at which reading has to go on is not there.
    OffsetLost,
    /// The topic or the partition does not exist.
    Gone,
    /// This client may not do what it has to.
    Refused,
    /// Anything else.
    Broken,
}

pub(super) fn severity(code: RDKafkaErrorCode) -> Severity {
    use RDKafkaErrorCode::*;
    match code {
        AutoOffsetReset | OffsetOutOfRange | LogTruncation => Severity::OffsetLost,
        UnknownTopic | UnknownPartition | UnknownTopicOrPartition => Severity::Gone,
        Authentication
        | SaslAuthenticationFailed
        | UnsupportedSASLMechanism
        | IllegalSASLState
        | TopicAuthorizationFailed
        | ClusterAuthorizationFailed => Severity::Refused,
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
        | WaitingForCoordinator => Severity::Passing,
        _ => Severity::Broken,
    }
}

/// Whether an error means that more may have been written than this client has heard of.
pub(super) fn hides_the_end(code: RDKafkaErrorCode) -> bool {
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
