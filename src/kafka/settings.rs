//! How to reach the brokers: any setting of librdkafka. Secrets are never printed.
//!
//! A value `file:PATH` refers to the content of that file, and `env:NAME` to an environment
//! variable. They are read when a client is created, so that a configuration need not contain
//! secrets. Secrets that are given literally are hidden wherever settings are printed.

use crate::features::MissingFeature;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The placeholder that is printed instead of a secret.
pub(super) const REDACTED: &str = "(hidden)";
/// The settings that the user cannot set, and why.
pub const RESERVED_SETTINGS: [(&str, &str); 12] = [
    ("auto.commit.enable", COMMITS),
    ("auto.offset.reset", "a lost log must stop the job"),
    ("bootstrap.servers", "give --bootstrap-servers"),
    ("enable.auto.commit", COMMITS),
    ("enable.auto.offset.store", COMMITS),
    ("enable.idempotence", "the store requires it"),
    ("enable.partition.eof", "the job must see the ends of partitions"),
    ("isolation.level", "messages of aborted transactions must not be read"),
    ("log.queue", "trendmark receives the log of librdkafka"),
    ("metadata.broker.list", "give --bootstrap-servers"),
    ("test.mock.num.brokers", "give --bootstrap-servers"),
    ("transactional.id", "the store derives it from the topic, to fence older runs"),
];
const COMMITS: &str = "offsets are committed only after the store has committed";

/// How to reach the brokers.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KafkaSettings {
    /// The addresses of some of the brokers, as `host:port`, separated by commas.
    pub bootstrap_servers: String,
    /// Other settings, by librdkafka's names. May contain secrets: print them with
    /// [`KafkaSettings::redacted`] only.
    pub settings: BTreeMap<String, String>,
}

/// An error in the Kafka settings. No message contains a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KafkaSettingsError {
    /// No broker is given.
    #[error("give --bootstrap-servers: `kafka:` topics need it")]
    NoServers,
    /// An address of a broker has a user.
    #[error(
        "--bootstrap-servers has an address with a user; write HOST:PORT, and give a user and a \
         password with --kafka sasl.username and sasl.password"
    )]
    UserInServers,
    /// A setting that the user cannot set.
    #[error("the Kafka setting `{key}` cannot be set: {reason}")]
    Refused {
        /// The name of the setting.
        key: String,
        /// The reason.
        reason: &'static str,
    },
    /// A setting was given without a value.
    #[error("the Kafka setting `{key}` has no value; write KEY=VALUE")]
    NoValue {
        /// The text that was given, up to the first character that is not allowed in keys.
        key: String,
    },
    /// The value is the placeholder that is printed instead of a secret.
    #[error(
        "the Kafka setting `{key}` is `(hidden)`, which was printed in place of the secret; \
         write file:PATH or env:NAME"
    )]
    Hidden {
        /// The name of the setting.
        key: String,
    },
    /// The file of a `file:PATH` value cannot be read.
    #[error("cannot read the Kafka setting `{key}` from the file `{path}`: {reason}")]
    File {
        /// The name of the setting.
        key: String,
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        reason: String,
    },
    /// The variable of an `env:NAME` value is not set or not UTF-8.
    #[error("the Kafka setting `{key}` refers to the variable `{variable}`, which is {reason}")]
    Environment {
        /// The name of the setting.
        key: String,
        /// The name of the variable.
        variable: String,
        /// `not set` or `not UTF-8`.
        reason: &'static str,
    },
    /// The program was built without a feature that a setting needs.
    #[error(transparent)]
    MissingFeature(#[from] MissingFeature),
    /// librdkafka rejects a setting.
    #[error("the Kafka setting `{key}` is wrong: {reason}")]
    Invalid {
        /// The name of the setting.
        key: String,
        /// The message of librdkafka.
        reason: String,
    },
    /// librdkafka rejects the combination of settings.
    #[error("the Kafka settings are wrong: {0}")]
    Conflict(String),
}

impl KafkaSettingsError {
    /// Whether the arguments are the cause, and not a file or a variable that they name.
    pub fn is_usage(&self) -> bool {
        !matches!(self, KafkaSettingsError::File { .. } | KafkaSettingsError::Environment { .. })
    }
}

impl KafkaSettings {
    /// Checks the settings, without reading files or the environment.
    ///
    /// # Errors
    /// When no server is given, the user cannot set a setting, or a value is the placeholder of a
    /// secret.
    pub fn check(&self) -> Result<(), KafkaSettingsError> {
        if self.bootstrap_servers.trim().is_empty() {
            return Err(KafkaSettingsError::NoServers);
        }
        check_servers(&self.bootstrap_servers)?;
        for (key, value) in &self.settings {
            if let Some((_, reason)) = RESERVED_SETTINGS.iter().find(|(refused, _)| refused == key)
            {
                return Err(KafkaSettingsError::Refused { key: key.clone(), reason });
            }
            if value == REDACTED {
                return Err(KafkaSettingsError::Hidden { key: key.clone() });
            }
        }
        Ok(())
    }

    /// Returns the settings for printing, with secrets hidden.
    pub fn redacted(&self) -> BTreeMap<&str, &str> {
        self.settings.iter().map(|(key, value)| (key.as_str(), redacted(key, value))).collect()
    }
}

impl fmt::Debug for KafkaSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KafkaSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("settings", &self.redacted())
            .finish()
    }
}

/// Checks that no address of a broker has a user, which could be printed.
///
/// # Errors
/// When one has.
pub fn check_servers(bootstrap_servers: &str) -> Result<(), KafkaSettingsError> {
    match bootstrap_servers.contains('@') {
        true => Err(KafkaSettingsError::UserInServers),
        false => Ok(()),
    }
}

/// Returns the value of a setting for printing.
pub(super) fn redacted<'a>(key: &str, value: &'a str) -> &'a str {
    let is_reference = value.starts_with("file:") || value.starts_with("env:");
    let is_shown = is_reference || !is_secret(key) && matches!(hide_users(value), Cow::Borrowed(_));
    if is_shown { value } else { REDACTED }
}

/// Hides the users and passwords of the URLs in a text.
pub fn hide_users(text: &str) -> Cow<'_, str> {
    const SCHEME_END: &str = "://";
    let mut hidden = Cow::Borrowed("");
    let mut rest = text;
    while let Some(at) = rest.find(SCHEME_END) {
        let (before, authority) = rest.split_at(at + SCHEME_END.len());
        let is_end = |letter: char| letter.is_whitespace() || "/?#\"'`<>,".contains(letter);
        let end = authority.find(is_end).unwrap_or(authority.len());
        hidden += before;
        rest = authority;
        if let Some(user) = authority[..end].rfind('@') {
            hidden += REDACTED;
            rest = &authority[user..];
        }
    }
    hidden += rest;
    if hidden == text { Cow::Borrowed(text) } else { hidden }
}

/// Whether the value of a setting is hidden when printed. Errs on the side of hiding.
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

/// Returns the value of a setting, with `file:PATH` and `env:NAME` resolved.
#[cfg(feature = "kafka")]
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
