//! What all clients of librdkafka share: configuration, log, errors, topics, and how to wait.

use super::settings::{KafkaSettings, KafkaSettingsError, hide_users, is_secret, resolve};
use crate::features::{Feature, MissingFeature};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::metadata::Metadata;
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use tracing::Level;

/// The timeout of one poll for messages.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// The pause before a request is retried.
const PAUSE: Duration = Duration::from_millis(100);

impl KafkaSettings {
    /// Returns the base configuration of all clients: the servers and the user's settings, with
    /// their secrets. librdkafka logs to `tracing`, target `librdkafka`.
    ///
    /// # Errors
    /// When [`KafkaSettings::check`] fails, a file or variable cannot be read, or librdkafka
    /// rejects the settings.
    pub fn client_config(&self) -> Result<ClientConfig, KafkaSettingsError> {
        self.check()?;
        let mut config = ClientConfig::new();
        config.set_log_level(self.log_level());
        config.set("bootstrap.servers", &self.bootstrap_servers);
        config.set("client.id", "trendmark");
        for (key, value) in &self.settings {
            config.set(key, resolve(key, value)?);
        }
        require_tls(&config)?;
        match config.create_native_config() {
            Ok(_) => Ok(config),
            Err(error) => Err(invalid(error)),
        }
    }

    /// The log level of librdkafka: the level that `tracing` accepts, or `Debug` if `debug` is set.
    fn log_level(&self) -> RDKafkaLogLevel {
        if self.settings.contains_key("debug") {
            RDKafkaLogLevel::Debug
        } else if tracing::enabled!(target: "librdkafka", Level::INFO) {
            RDKafkaLogLevel::Info
        } else {
            RDKafkaLogLevel::Warning
        }
    }
}

/// Refuses settings that need TLS if it is not built in: librdkafka would not name a remedy.
fn require_tls(config: &ClientConfig) -> Result<(), MissingFeature> {
    for key in ["security.protocol", "sasl.mechanism", "sasl.mechanisms"] {
        let value = config.get(key).unwrap_or_default().to_ascii_uppercase();
        let needs_tls = match key {
            "security.protocol" => value.ends_with("SSL"),
            _ => value.starts_with("SCRAM-") || value == "OAUTHBEARER",
        };
        if needs_tls {
            Feature::KafkaTls.require(format!("the Kafka setting `{key}={value}`"))?;
        }
    }
    Ok(())
}

/// Converts an error of librdkafka. Its message quotes the value, so it is dropped for secrets.
fn invalid(error: KafkaError) -> KafkaSettingsError {
    match error {
        KafkaError::ClientConfig(_, _, key, _) if is_secret(&key) => {
            KafkaSettingsError::Invalid { key, reason: "librdkafka rejects its value".into() }
        }
        KafkaError::ClientConfig(_, reason, key, _) => {
            KafkaSettingsError::Invalid { key, reason: hide_users(&reason).into_owned() }
        }
        error => KafkaSettingsError::Conflict(error.to_string()),
    }
}

/// Sets defaults, unless the user has set them, by any of their names.
pub fn set_defaults<const NAMES: usize>(
    config: &mut ClientConfig,
    defaults: impl IntoIterator<Item = ([&'static str; NAMES], impl Into<String>)>,
) {
    for (names, value) in defaults {
        if names.iter().all(|name| config.get(name).is_none()) {
            config.set(names[0], value);
        }
    }
}

/// What librdkafka logs of errors that it reports by other ways too: as errors of the client, of
/// transactions and of requests. `CONFWARN` is only about settings of other clients.
const TOLD_ELSEWHERE: [&str; 7] =
    ["ADDPARTS", "CONFWARN", "ERROR", "FAIL", "FATAL", "REQTMOUT", "TXNERR"];

/// Passes a line of librdkafka's log to `tracing`.
pub fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    let message = hide_users(message);
    let level = match level {
        RDKafkaLogLevel::Debug => level,
        _ if TOLD_ELSEWHERE.contains(&facility) => RDKafkaLogLevel::Info,
        _ => level,
    };
    match level {
        RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", "{facility}: {message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: "librdkafka", "{facility}: {message}");
        }
        _ => tracing::warn!(target: "librdkafka", "{facility}: {message}"),
    }
}

/// Returns the code of an error, if it has one.
pub fn error_code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        error => error.rdkafka_error_code(),
    }
}

/// Returns the message of an error, without the name of its type.
pub fn reason(error: &KafkaError) -> String {
    match (error, error_code(error)) {
        (KafkaError::Transaction(error), _) => error.to_string(),
        (_, Some(code)) => code.to_string(),
        (error, None) => error.to_string(),
    }
}

/// Returns the number of partitions of a topic, or `None` if the topic does not exist.
///
/// # Errors
/// When the brokers report an error about it, or a partition has no leader yet.
pub fn partitions(metadata: &Metadata, topic: &str) -> KafkaResult<Option<i32>> {
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Ok(None);
    };
    match found.error().map(RDKafkaErrorCode::from) {
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            return Ok(None);
        }
        Some(code) => return Err(KafkaError::MetadataFetch(code)),
        None => {}
    }
    let partitions = found.partitions();
    if partitions.iter().any(|partition| partition.leader() < 0) {
        return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::LeaderNotAvailable));
    }
    Ok(Some(i32::try_from(partitions.len()).unwrap_or(i32::MAX)))
}

/// Creates a topic if it is missing, and waits until all its partitions have a leader. `count`
/// returns their number, as [`partitions`] does.
///
/// # Errors
/// The outer error when the brokers do not answer, the inner one when they refuse.
pub fn create_topic<C: ClientContext>(
    admin: &AdminClient<C>,
    new: &NewTopic<'_>,
    timeout: Duration,
    count: impl Fn() -> KafkaResult<Option<i32>>,
) -> KafkaResult<Result<i32, RDKafkaErrorCode>> {
    let options =
        AdminOptions::new().request_timeout(Some(timeout)).operation_timeout(Some(timeout));
    for created in block_on(admin.create_topics([new], &options))? {
        match created {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Ok(Err(code)),
        }
    }
    let unknown = KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition);
    retry_transient(timeout, || count()?.ok_or_else(|| unknown.clone())).map(Ok)
}

/// Whether a retry may succeed.
pub fn is_transient(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::AllBrokersDown
                | Code::BrokerTransportFailure
                | Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::OperationTimedOut
                | Code::Resolve
                | Code::UnknownTopicOrPartition
                | Code::UnknownPartition
                | Code::WaitingForCoordinator
        )
    )
}

/// Retries a request while it fails with a transient error, up to a limit.
///
/// # Errors
/// The last error.
pub fn retry_transient<T>(
    limit: Duration,
    mut ask: impl FnMut() -> KafkaResult<T>,
) -> KafkaResult<T> {
    let started = Instant::now();
    loop {
        match ask() {
            Err(error) if is_transient(&error) && started.elapsed() < limit => {
                thread::sleep(PAUSE);
            }
            answer => return answer,
        }
    }
}

/// Passes on the messages of the assigned partitions of a consumer that reports their ends, until
/// each has ended. `limit` is how long the brokers may say nothing.
///
/// # Errors
/// When they say nothing for longer, or with an error that is not transient.
pub fn read_to_ends<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: impl IntoIterator<Item = i32>,
    limit: Duration,
    mut each: impl FnMut(&BorrowedMessage<'_>),
) -> KafkaResult<()> {
    let mut open: BTreeSet<i32> = partitions.into_iter().collect();
    let mut heard = Instant::now();
    let mut trouble = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
    while !open.is_empty() {
        match consumer.poll(POLL_TIMEOUT) {
            Some(Ok(message)) => {
                heard = Instant::now();
                each(&message);
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                heard = Instant::now();
                open.remove(&partition);
            }
            Some(Err(error)) if is_transient(&error) => trouble = error,
            Some(Err(error)) => return Err(error),
            None => {}
        }
        if heard.elapsed() >= limit {
            return Err(trouble);
        }
    }
    Ok(())
}

/// Blocks on a future that another thread completes.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

#[cfg(test)]
mod tests;
