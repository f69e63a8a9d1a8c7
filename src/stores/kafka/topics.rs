//! The topics of a store: their names, the settings that they are created with, and the checks of
//! existing topics.

use super::client::Client;
use crate::kafka::client::{block_on, create_topic, retry_transient};
use crate::kafka::notices::Callbacks;
use crate::query::Role;
use crate::stores::StoreError;
use crate::stores::description::StoredQuery;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The maximum length of a topic name, in bytes; Kafka's own limit.
const NAME_BYTES_MAX: usize = 249;
/// The number of partitions that a row topic is created with.
pub(super) const ROW_PARTITIONS: i32 = 8;
/// How long the brokers may take to create a topic, or to return its settings.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(30);

/// The role of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TopicRole {
    /// Rows: the last record of each key is its row.
    Rows,
    /// Members that join a set: a log, whose retention its owner decides.
    Increments,
    /// The counts of the ledger, by epoch and kind.
    Ledger,
    /// The titles of videos.
    Titles,
    /// How much of each epoch has arrived.
    Completeness,
    /// The progress: the last record.
    Progress,
    /// The lease, and the claims of starting jobs.
    Lease,
}

/// A topic of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Topic {
    pub name: String,
    pub role: TopicRole,
}

/// The topics of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Topics {
    /// The topic of each query; `None` for the ledger query.
    pub queries: Vec<Option<Topic>>,
    pub ledger: Topic,
    pub titles: Topic,
    pub completeness: Topic,
    pub progress: Topic,
    pub lease: Topic,
}

impl TopicRole {
    fn partitions(self) -> i32 {
        match self {
            TopicRole::Rows | TopicRole::Increments => ROW_PARTITIONS,
            TopicRole::Ledger
            | TopicRole::Titles
            | TopicRole::Completeness
            | TopicRole::Progress
            | TopicRole::Lease => 1,
        }
    }

    /// The settings that a topic is created with.
    fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            // A consumer sees every change for six hours, and later at least the last one per row.
            TopicRole::Rows => {
                &[("cleanup.policy", "compact"), ("min.compaction.lag.ms", "21600000")]
            }
            TopicRole::Increments => {
                &[("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")]
            }
            // Small segments, as only closed ones are compacted, and a start reads the whole topic.
            // The compaction lag keeps the records that a concurrent reader may still need.
            TopicRole::Ledger
            | TopicRole::Titles
            | TopicRole::Completeness
            | TopicRole::Progress
            | TopicRole::Lease => &[
                ("cleanup.policy", "compact"),
                ("min.compaction.lag.ms", "60000"),
                ("retention.ms", "-1"),
                ("segment.bytes", "16777216"),
                ("segment.ms", "3600000"),
            ],
        }
    }
}

impl Topics {
    /// Names the topics of a store with these queries.
    ///
    /// # Errors
    /// When a name is invalid in Kafka.
    ///
    /// # Panics
    /// When the name of a query is reserved for a topic of the store: a bug in the list of queries.
    pub fn new(topic: &str, queries: &[StoredQuery]) -> Result<Topics, StoreError> {
        let of_query = |query: &StoredQuery| {
            assert!(
                !["ledger", "titles", "completeness", "progress", "lease"]
                    .contains(&query.name.as_str()),
                "{}",
                query.name
            );
            let own = || format!("{topic}-{}", query.name);
            match query.role {
                Role::Main => Some(Topic { name: topic.to_owned(), role: TopicRole::Rows }),
                Role::Table => Some(Topic { name: own(), role: TopicRole::Rows }),
                Role::Set => Some(Topic { name: own(), role: TopicRole::Increments }),
                Role::Ledger => None,
            }
        };
        let topics = Topics {
            queries: queries.iter().map(of_query).collect(),
            ledger: Topic { name: format!("{topic}-ledger"), role: TopicRole::Ledger },
            titles: Topic { name: format!("{topic}-titles"), role: TopicRole::Titles },
            completeness: Topic {
                name: format!("{topic}-completeness"),
                role: TopicRole::Completeness,
            },
            progress: Topic { name: progress_of(topic), role: TopicRole::Progress },
            lease: Topic { name: format!("{topic}-lease"), role: TopicRole::Lease },
        };
        for Topic { name, .. } in topics.all() {
            check_name(topic, name)?;
        }
        Ok(topics)
    }

    /// Returns all topics.
    pub fn all(&self) -> impl Iterator<Item = &Topic> {
        self.queries.iter().flatten().chain([
            &self.ledger,
            &self.titles,
            &self.completeness,
            &self.progress,
            &self.lease,
        ])
    }
}

/// Returns the name of the progress topic of a store.
pub(super) fn progress_of(topic: &str) -> String {
    format!("{topic}-progress")
}

/// Refuses a name that Kafka would refuse later, with a less clear message.
pub(super) fn check_name(topic: &str, name: &str) -> Result<(), StoreError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let problem = if topic.is_empty() || matches!(topic, "." | "..") {
        "no topic can have this name".to_owned()
    } else if !name.bytes().all(is_allowed) {
        "a name has only letters, digits, dots, underscores and hyphens".to_owned()
    } else if name.len() > NAME_BYTES_MAX {
        format!("`{name}` would have {} bytes, {NAME_BYTES_MAX} at most", name.len())
    } else {
        return Ok(());
    };
    Err(StoreError::Topic {
        topic: topic.to_owned(),
        problem,
        remedy: "give another name after `kafka:`".to_owned(),
    })
}

/// Creates and checks topics.
pub(super) struct Administrator<'a> {
    client: &'a Client,
    admin: AdminClient<Callbacks>,
    options: AdminOptions,
}

impl<'a> Administrator<'a> {
    pub fn new(client: &'a Client) -> Result<Administrator<'a>, StoreError> {
        let callbacks = Callbacks(Arc::clone(&client.notices));
        let admin = client.config.create_with_context(callbacks);
        let admin = admin.map_err(|error| client.cannot("reach", error))?;
        let timeout = Some(ADMIN_TIMEOUT);
        let options = AdminOptions::new().request_timeout(timeout).operation_timeout(timeout);
        Ok(Administrator { client, admin, options })
    }

    /// Creates a topic, and waits until it can be written. Returns its number of partitions, which
    /// another program may have chosen if it created the topic first.
    pub fn create(&self, topic: &Topic) -> Result<i32, StoreError> {
        let replication = TopicReplication::Fixed(-1);
        let mut new = NewTopic::new(&topic.name, topic.role.partitions(), replication);
        for (key, value) in topic.role.settings() {
            new = new.set(key, value);
        }
        let count = || self.client.partitions(&topic.name);
        let partitions = create_topic(&self.admin, &new, ADMIN_TIMEOUT, count)
            .map_err(|error| self.client.cannot("create the topics of", error))?
            .map_err(|code| self.refused(topic, code))?;
        tracing::info!(topic = topic.name, partitions, "topic created");
        Ok(partitions)
    }

    /// Refuses a topic with a wrong number of partitions, or with settings that would lose records.
    ///
    /// `partitions_before` is the number of partitions when the store was created, if there is one.
    /// With another number, keys would move to other partitions, and their old rows would stay in
    /// the compacted topic.
    pub fn check(
        &self,
        topic: &Topic,
        partitions: i32,
        partitions_before: Option<i32>,
    ) -> Result<(), StoreError> {
        let wanted = match topic.role {
            TopicRole::Ledger
            | TopicRole::Titles
            | TopicRole::Completeness
            | TopicRole::Progress
            | TopicRole::Lease => Some(1),
            TopicRole::Rows | TopicRole::Increments => partitions_before,
        };
        if let Some(wanted) = wanted.filter(|wanted| *wanted != partitions) {
            return Err(StoreError::Topic {
                topic: topic.name.clone(),
                problem: format!("it has {partitions} partitions, and must have {wanted}"),
                remedy: "their number cannot be lowered: give another --store, or delete the \
                         topics of this one if its results are not needed"
                    .to_owned(),
            });
        }
        match self.settings(topic)? {
            Some(settings) => check_settings(topic, |key| {
                settings.get(key).and_then(|entry| entry.value.as_deref())
            }),
            None => Ok(()),
        }
    }

    /// Returns the settings of a topic, or `None` if this user may not see them.
    fn settings(&self, topic: &Topic) -> Result<Option<ConfigResource>, StoreError> {
        let resource = ResourceSpecifier::Topic(&topic.name);
        let described = block_on(self.admin.describe_configs([&resource], &self.options))
            .map_err(|error| self.client.cannot("read the settings of the topics of", error))?;
        match described.into_iter().next() {
            Some(Ok(settings)) => Ok(Some(settings)),
            Some(Err(RDKafkaErrorCode::TopicAuthorizationFailed)) | None => {
                tracing::warn!(
                    topic = topic.name,
                    "its settings cannot be checked: this user lacks the permission DescribeConfigs"
                );
                Ok(None)
            }
            Some(Err(code)) => Err(self
                .client
                .cannot("read the settings of the topics of", KafkaError::AdminOp(code))),
        }
    }

    fn refused(&self, topic: &Topic, code: RDKafkaErrorCode) -> StoreError {
        let settings: String =
            topic.role.settings().iter().map(|(key, value)| format!(" {key}={value}")).collect();
        StoreError::Topic {
            topic: topic.name.clone(),
            problem: format!("it does not exist, and cannot be created: {code}"),
            remedy: format!(
                "create it with {} partition(s) and{settings}, or let this user create topics",
                topic.role.partitions()
            ),
        }
    }
}

/// Refuses settings that would lose records, or never compact them.
pub(super) fn check_settings<'a>(
    topic: &Topic,
    setting: impl Fn(&str) -> Option<&'a str>,
) -> Result<(), StoreError> {
    if topic.role == TopicRole::Increments {
        return Ok(());
    }
    let policy = setting("cleanup.policy").unwrap_or("compact");
    let has = |wanted: &str| policy.split(',').any(|policy| policy.trim() == wanted);
    let refuse = |is: String, wanted: &str| {
        let name = &topic.name;
        Err(StoreError::Topic {
            topic: name.clone(),
            problem: format!("it has {is}, which would lose rows or keep outdated ones"),
            remedy: format!(
                "set it (kafka-configs.sh --alter --entity-type topics --entity-name {name} \
                 --add-config {wanted}), or give another --store"
            ),
        })
    };
    if !has("compact") {
        return refuse(format!("cleanup.policy={policy}"), "cleanup.policy=compact");
    }
    let limits = ["retention.ms", "retention.bytes"];
    for key in limits.into_iter().filter(|_| has("delete")) {
        if let Some(limit) = setting(key).filter(|limit| *limit != "-1") {
            return refuse(
                format!("cleanup.policy={policy} and {key}={limit}"),
                "cleanup.policy=compact",
            );
        }
    }
    Ok(())
}

/// Returns the number of partitions of each existing topic, by name.
pub(super) fn partitions(
    client: &Client,
    topics: &Topics,
) -> Result<BTreeMap<String, i32>, StoreError> {
    let mut found = BTreeMap::new();
    for Topic { name, .. } in topics.all() {
        let partitions = retry_transient(ADMIN_TIMEOUT, || client.partitions(name));
        let partitions = partitions.map_err(|error| client.cannot("reach", error))?;
        found.extend(partitions.map(|partitions| (name.clone(), partitions)));
    }
    Ok(found)
}
