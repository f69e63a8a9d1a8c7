//! How to reach a schema registry. Secrets are never printed.

use super::settings::REDACTED;
use serde::{Deserialize, Serialize, Serializer};
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// A text that may contain a secret: the URL or the credentials of a registry, as given.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct SecretText(String);

impl FromStr for SecretText {
    type Err = Infallible;

    /// Never fails, so that no error message can quote a secret.
    fn from_str(text: &str) -> Result<SecretText, Infallible> {
        Ok(SecretText(text.trim().into()))
    }
}

impl SecretText {
    /// Returns the text for printing: hidden unless a URL without a user, `file:…` or `env:…`.
    fn redacted(&self) -> &str {
        let begins = |starts: &[&str]| starts.iter().any(|start| self.0.starts_with(start));
        let is_reference = begins(&["file:", "env:"]);
        let is_url = begins(&["http://", "https://"]) && !self.0.contains('@');
        if is_reference || is_url { &self.0 } else { REDACTED }
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.redacted())
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.redacted())
    }
}

/// How to reach a schema registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrySettings {
    /// The URL, without `/` at the end.
    pub(crate) url: String,
    /// The credentials: `USER:PASSWORD`, or the `file:PATH` or `env:NAME` that holds them.
    auth: Option<SecretText>,
}

/// An error of the schema registry or its settings. No message contains a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// Not a valid URL.
    #[error(
        "--schema-registry is not a valid URL: write http:// or https://, the host, and optionally \
         a port and a path; give a user and a password with --schema-registry-auth"
    )]
    Url,
    /// The credentials are not `USER:PASSWORD`.
    #[error(
        "--schema-registry-auth is not USER:PASSWORD; write that, or a file:PATH or env:NAME that \
         holds it"
    )]
    Auth,
    /// The credentials are the placeholder that is printed instead of a secret.
    #[error(
        "--schema-registry-auth is `(hidden)`, which was printed in place of the secret; write \
         file:PATH or env:NAME"
    )]
    Hidden,
    /// The file or variable of the credentials cannot be read.
    #[error(transparent)]
    Lookup(#[from] crate::kafka::KafkaSettingsError),
    /// The registry denies access.
    #[error(
        "the schema registry `{url}` denies access: it answers {status}; check \
         --schema-registry-auth"
    )]
    Refused {
        /// The URL of the registry.
        url: String,
        /// The HTTP status of its answer.
        status: u16,
    },
    /// The registry has redirected to another place, which denies access.
    #[error(
        "the schema registry `{url}` redirects to `{elsewhere}`, which denies access: it answers \
         {status}; --schema-registry-auth is not sent to another place: give its URL"
    )]
    RefusedElsewhere {
        /// The URL of the registry.
        url: String,
        /// The HTTP status of the answer.
        status: u16,
        /// The place, without a path.
        elsewhere: String,
    },
}

impl RegistryError {
    /// Whether the arguments are the cause, and not a file, a variable or the registry.
    pub fn is_usage(&self) -> bool {
        match self {
            RegistryError::Url | RegistryError::Auth | RegistryError::Hidden => true,
            RegistryError::Lookup(error) => error.is_usage(),
            _ => false,
        }
    }
}

impl RegistrySettings {
    /// Returns the given settings, without reading files or the environment.
    ///
    /// # Errors
    /// When the URL or the credentials are not valid.
    pub fn given(
        url: &SecretText,
        auth: Option<&SecretText>,
    ) -> Result<RegistrySettings, RegistryError> {
        let host = url.0.strip_prefix("https://").or_else(|| url.0.strip_prefix("http://"));
        let is_host = |host: &str| {
            !host.is_empty()
                && !host.starts_with(['/', ':'])
                && !host.contains(['@', '?', '#', ' '])
        };
        if !host.is_some_and(is_host) {
            return Err(RegistryError::Url);
        }
        match auth {
            Some(auth) if auth.0 == REDACTED => return Err(RegistryError::Hidden),
            Some(auth) if !auth.0.contains(':') => return Err(RegistryError::Auth),
            _ => {}
        }
        Ok(RegistrySettings { url: url.0.trim_end_matches('/').into(), auth: auth.cloned() })
    }

    /// Returns the credentials as `USER:PASSWORD`, read from their file or variable if necessary.
    #[cfg(feature = "schema-registry")]
    pub(crate) fn credentials(&self) -> Result<Option<String>, RegistryError> {
        let Some(auth) = &self.auth else { return Ok(None) };
        let user = super::settings::resolve("schema-registry-auth", &auth.0)?;
        if user.contains(':') { Ok(Some(user)) } else { Err(RegistryError::Auth) }
    }
}
