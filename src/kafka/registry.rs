//! How to reach a schema registry, with what is secret of it never shown.

use super::settings::{HIDDEN, resolve};
use serde::{Deserialize, Serialize, Serializer};
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// A text as it was given, which may be or hold a secret: the URL of a registry, or who asks.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct RegistryText(String);

impl FromStr for RegistryText {
    type Err = Infallible;

    /// Never fails, so that nobody quotes in a message what may be a secret.
    fn from_str(text: &str) -> Result<RegistryText, Infallible> {
        Ok(RegistryText(text.trim().into()))
    }
}

impl RegistryText {
    /// The text as it may be printed: a URL without a user, or where the secret is.
    fn shown(&self) -> &str {
        let begins = |starts: &[&str]| starts.iter().any(|start| self.0.starts_with(start));
        let is_reference = begins(&["file:", "env:"]);
        let is_url = begins(&["http://", "https://"]) && !self.0.contains('@');
        if is_reference || is_url { &self.0 } else { HIDDEN }
    }
}

impl fmt::Debug for RegistryText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.shown())
    }
}

impl Serialize for RegistryText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}

/// How to reach a schema registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Where it is, without `/` at the end.
    pub(crate) url: String,
    /// The user and the password, as `USER:PASSWORD`, or where they are.
    auth: Option<RegistryText>,
}

/// What is wrong with the settings of a registry. No message holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The URL is none.
    #[error(
        "--schema-registry is not the URL of a schema registry: write http:// or https://, the \
         host and perhaps a port and a path; a user and a password go to --schema-registry-auth"
    )]
    Url,
    /// The user and the password are none.
    #[error("--schema-registry-auth is not USER:PASSWORD, nor are file:PATH or env:NAME")]
    Auth,
    /// They are what was printed in place of the secret.
    #[error(
        "--schema-registry-auth is `(hidden)`, which was printed in place of the secret; write \
         file:PATH or env:NAME"
    )]
    Hidden,
    /// They cannot be looked up.
    #[error(transparent)]
    Lookup(#[from] crate::kafka::KafkaSettingsError),
    /// It does not let this program in.
    #[error(
        "the schema registry `{url}` does not let this program in: it answers {status}; check \
         --schema-registry-auth"
    )]
    Refused {
        /// Which.
        url: String,
        /// The status of its answer.
        status: u16,
    },
}

impl RegistrySettings {
    /// The settings that were given.
    ///
    /// # Errors
    /// When the URL is none, or the user and the password cannot be what they are.
    pub fn given(
        url: &RegistryText,
        auth: Option<&RegistryText>,
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
            Some(auth) if auth.0 == HIDDEN => return Err(RegistryError::Hidden),
            Some(auth) if !auth.0.contains(':') => return Err(RegistryError::Auth),
            _ => {}
        }
        Ok(RegistrySettings { url: url.0.trim_end_matches('/').into(), auth: auth.cloned() })
    }

    /// The user and the password, looked up.
    pub(crate) fn user(&self) -> Result<Option<String>, RegistryError> {
        let Some(auth) = &self.auth else { return Ok(None) };
        let user = resolve("schema-registry-auth", &auth.0)?;
        if user.contains(':') { Ok(Some(user)) } else { Err(RegistryError::Auth) }
    }
}
