//! The two requests to a schema registry: for a schema by id, and for a referenced schema by
//! subject and version.

use super::Schema;
use crate::kafka::{RegistryError, RegistrySettings};
use base64::Engine;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

/// The timeout of a request as a whole.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum size of a response, in bytes.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// The maximum number of schemas that a schema may refer to, directly or indirectly.
const REFERENCES_MAX: usize = 1_000;
const ACCEPTED: &str = "application/vnd.schemaregistry.v1+json, application/json";

/// The HTTP client of a registry.
pub(super) struct Http {
    agent: Agent,
    url: String,
    authorization: Option<String>,
}

/// The reason why there is no schema.
#[derive(Debug)]
pub(super) enum Failure {
    /// The registry does not have it.
    Unknown,
    /// The registry denies access, with this HTTP status.
    Denied(u16),
    /// The registry gives no usable response, for this reason.
    Unreachable(String),
}

/// The response of the registry with a schema.
#[derive(Deserialize)]
struct Answer {
    schema: String,
    #[serde(default, rename = "schemaType")]
    format: Option<String>,
    #[serde(default)]
    references: Option<Vec<Reference>>,
}

#[derive(Deserialize)]
struct Reference {
    name: String,
    subject: String,
    version: i64,
}

/// The error response of the registry.
#[derive(Deserialize)]
struct ErrorResponse {
    error_code: i64,
}

impl Http {
    pub(super) fn new(settings: &RegistrySettings) -> Result<Http, RegistryError> {
        let user = settings.credentials()?;
        // The certificates that the system trusts.
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::PlatformVerifier)
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .timeout_global(Some(ANSWER_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .user_agent(concat!("trendmark/", env!("CARGO_PKG_VERSION")))
            .build();
        let encode = |user: String| base64::engine::general_purpose::STANDARD.encode(user);
        Ok(Http {
            agent: config.into(),
            url: settings.url.clone(),
            authorization: user.map(|user| format!("Basic {}", encode(user))),
        })
    }

    /// Fetches a schema by id, with all schemas that it refers to.
    pub(super) fn schema(&self, id: u32) -> Result<Schema, Failure> {
        let answer = self.fetch(&format!("/schemas/ids/{id}"))?;
        let mut referenced: BTreeMap<String, String> = BTreeMap::new();
        // Schemas found later come first, as earlier ones may refer to them.
        let mut texts = Vec::new();
        let mut pending = answer.references.unwrap_or_default();
        while let Some(reference) = pending.pop() {
            if referenced.contains_key(&reference.name) {
                continue;
            }
            if referenced.len() == REFERENCES_MAX {
                let reason = format!("schema {id} refers to more than {REFERENCES_MAX} others");
                return Err(Failure::Unreachable(reason));
            }
            let Reference { name, subject, version } = reference;
            let subject = encoded(&subject);
            let answer = match self.fetch(&format!("/subjects/{subject}/versions/{version}")) {
                Err(Failure::Unknown) => {
                    let reason = format!("schema {id} refers to {name}, which does not exist");
                    return Err(Failure::Unreachable(reason));
                }
                answer => answer?,
            };
            referenced.insert(name.clone(), String::new());
            texts.insert(0, (name, answer.schema));
            pending.extend(answer.references.unwrap_or_default());
        }
        let format = answer.format.unwrap_or_else(|| "AVRO".into());
        Ok(Schema { format, text: answer.schema, references: texts })
    }

    fn fetch(&self, path: &str) -> Result<Answer, Failure> {
        let unreachable = |error: ureq::Error| Failure::Unreachable(error.to_string());
        let mut request = self.agent.get(format!("{}{path}", self.url)).header("Accept", ACCEPTED);
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        let mut response = request.call().map_err(unreachable)?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let body = body.map_err(unreachable)?;
        let unexpected = |what: &str| Failure::Unreachable(format!("{path} returns {what}"));
        match status {
            200 => serde_json::from_slice(&body)
                .map_err(|_| unexpected("something other than a schema; check the URL")),
            401 | 403 => Err(Failure::Denied(status)),
            404 => match serde_json::from_slice::<ErrorResponse>(&body) {
                // The registry's own five-digit codes for "not found".
                Ok(ErrorResponse { error_code: 40_401..=40_499 }) => Err(Failure::Unknown),
                _ => Err(unexpected("404, but not from a schema registry; check the URL")),
            },
            status => Err(unexpected(&status.to_string())),
        }
    }
}

/// Percent-encodes a subject as a path segment.
fn encoded(subject: &str) -> String {
    let mut encoded = String::new();
    for byte in subject.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte.into());
            }
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
