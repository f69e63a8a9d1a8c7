//! How to reach the brokers: any setting of librdkafka, with secrets that are never shown.
//!
//! A value `file:PATH` stands for what that file holds, and `env:NAME` for a variable of the
//! environment. They are looked up when a client is made, so that no secret needs to stand in a
//! configuration. Where settings are printed, a secret that stands there itself is hidden.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use tracing::Level;

/// What stands in place of a secret where settings are printed.
pub(super) const HIDDEN: &str = "(hidden)";
/// The settings that only this program may make, and why.
pub const REFUSED: [(&str, &str); 12] = [
    ("auto.commit.enable", COMMITS),
    ("auto.offset.reset", "a log that was lost has to stop the job"),
    ("bootstrap.servers", "give --bootstrap-servers"),
    ("enable.auto.commit", COMMITS),
    ("enable.auto.offset.store", COMMITS),
    ("enable.idempotence", "the store needs it on"),
    ("enable.partition.eof", "the ends of partitions have to be seen"),
    ("isolation.level", "what an aborted transaction wrote never happened"),
    ("log.queue", "what librdkafka logs is logged here"),
    ("metadata.broker.list", "give --bootstrap-servers"),
    ("test.mock.num.brokers", "give --bootstrap-servers"),
    ("transactional.id", "the store makes it from the topic, to fence older runs"),
];
const COMMITS: &str = "offsets are committed when the store has committed, and at no other time";

/// How to reach the brokers.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KafkaSettings {
    /// Some of the brokers, as `host:port`, separated by commas.
    pub bootstrap_servers: String,
    /// Other settings, by librdkafka's names. Secrets stand here as they were given: show them
    /// with [`KafkaSettings::shown`] only.
    pub settings: BTreeMap<String, String>,
}

/// What is wrong with the settings. No message holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KafkaSettingsError {
    /// No broker is named.
    #[error("give --bootstrap-servers: the `kafka:` topics are nowhere without it")]
    NoServers,
    /// A setting is not the user's to make.
    #[error("the Kafka setting `{key}` cannot be given: {reason}")]
    Refused {
        /// Which.
        key: String,
        /// Why.
        reason: &'static str,
    },
    /// A setting was given without a value.
    #[error("the Kafka setting `{key}` has no value; write KEY=VALUE")]
    NoValue {
        /// Which; what was typed, up to the first character that no key has.
        key: String,
    },
    /// The value is what was printed in place of a secret.
    #[error(
        "the Kafka setting `{key}` is `(hidden)`, which was printed in place of the secret; \
         write file:PATH or env:NAME"
    )]
    Hidden {
        /// Which.
        key: String,
    },
    /// The file that holds a value cannot be read.
    #[error("cannot read the Kafka setting `{key}` from the file `{path}`: {reason}")]
    File {
        /// Which.
        key: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The variable that holds a value is not there.
    #[error("the Kafka setting `{key}` is in the variable `{variable}`, which is {reason}")]
    Environment {
        /// Which.
        key: String,
        /// The variable.
        variable: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// librdkafka does not take it.
    #[error("the Kafka setting `{key}` is wrong: {reason}")]
    Invalid {
        /// Which.
        key: String,
        /// What librdkafka says.
        reason: String,
    },
    /// librdkafka does not take the settings together.
    #[error("the Kafka settings are wrong: {0}")]
    Conflict(String),
}

impl KafkaSettings {
    /// Whether the settings can be what they are, without looking at files or the environment.
    ///
    /// # Errors
    /// When there is no server, or a setting that is not the user's to make.
    pub fn check(&self) -> Result<(), KafkaSettingsError> {
        if self.bootstrap_servers.trim().is_empty() {
            return Err(KafkaSettingsError::NoServers);
        }
        for (key, value) in &self.settings {
            if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| refused == key) {
                return Err(KafkaSettingsError::Refused { key: key.clone(), reason });
            }
            if value == HIDDEN {
                return Err(KafkaSettingsError::Hidden { key: key.clone() });
            }
        }
        Ok(())
    }

    /// What all clients begin with: the servers, and the user's settings with their secrets. What
    /// librdkafka logs goes to `tracing`, target `librdkafka`.
    ///
    /// # Errors
    /// When a setting is not the user's to make, its file or variable is not there, or librdkafka
    /// does not take it.
    pub fn client_config(&self) -> Result<ClientConfig, KafkaSettingsError> {
        self.check()?;
        let mut config = ClientConfig::new();
        config.set_log_level(self.log_level());
        config.set("bootstrap.servers", &self.bootstrap_servers);
        config.set("client.id", "trendmark");
        for (key, value) in &self.settings {
            config.set(key, resolve(key, value)?);
        }
        match config.create_native_config() {
            Ok(_) => Ok(config),
            Err(error) => Err(invalid(error)),
        }
    }

    /// The settings as they may be printed, with secrets hidden.
    pub fn shown(&self) -> BTreeMap<&str, &str> {
        self.settings.iter().map(|(key, value)| (key.as_str(), shown(key, value))).collect()
    }

    /// How much librdkafka is to log: what `tracing` will take.
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

impl fmt::Debug for KafkaSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KafkaSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("settings", &self.shown())
            .finish()
    }
}

/// A setting's value as it may be printed.
pub(super) fn shown<'a>(key: &str, value: &'a str) -> &'a str {
    let is_reference = value.starts_with("file:") || value.starts_with("env:");
    if is_secret(key) && !is_reference { HIDDEN } else { value }
}

/// Whether the value of a setting is to be hidden. Rather too many than too few.
pub fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let names_a_place = [".location", ".url", ".uri"].iter().any(|end| key.ends_with(end));
    let secrets = [
        "assertion",
        "credential",
        "jaas",
        "key.pem",
        "keystore",
        "oauthbearer.config",
        "passphrase",
        "password",
        "passwd",
        "private",
        "registry-auth",
        "secret",
        "ssl.key",
        "ssl_key",
        "token",
    ];
    !names_a_place && secrets.iter().any(|secret| key.contains(secret))
}

/// The value that a setting stands for.
pub(super) fn resolve(key: &str, value: &str) -> Result<String, KafkaSettingsError> {
    if let Some(path) = value.strip_prefix("file:") {
        let content = std::fs::read_to_string(path);
        let content = content.map_err(|error| KafkaSettingsError::File {
            key: key.into(),
            path: path.into(),
            reason: error.to_string(),
        })?;
        return Ok(content.trim().to_string());
    }
    let Some(variable) = value.strip_prefix("env:") else { return Ok(value.to_string()) };
    std::env::var(variable).map_err(|error| KafkaSettingsError::Environment {
        key: key.into(),
        variable: variable.into(),
        reason: match error {
            std::env::VarError::NotPresent => "not set",
            std::env::VarError::NotUnicode(_) => "not UTF-8",
        },
    })
}

/// What librdkafka has against a setting. It quotes the value, which a secret must not be.
fn invalid(error: KafkaError) -> KafkaSettingsError {
    match error {
        KafkaError::ClientConfig(_, _, key, _) if is_secret(&key) => {
            KafkaSettingsError::Invalid { key, reason: "librdkafka does not take its value".into() }
        }
        KafkaError::ClientConfig(_, reason, key, _) => KafkaSettingsError::Invalid { key, reason },
        error => KafkaSettingsError::Conflict(error.to_string()),
    }
}
