//! The requests to a schema registry: for a schema by id, and for a referenced schema by subject
//! and version.

use super::Schema;
use crate::kafka::{RegistryError, RegistrySettings};
use base64::Engine;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use ureq::Agent;
use ureq::http::Uri;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

/// The timeout of a request as a whole.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum size of a response, in bytes.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// The maximum number of schemas that a schema may refer to, directly or indirectly.
const REFERENCES_MAX: usize = 1_000;
/// The maximum number of redirects that are followed for a request.
const REDIRECTS_MAX: usize = 5;
/// The minimum interval between two requests of a process: 200 in a second.
const INTERVAL: Duration = Duration::from_millis(5);
const ACCEPTED: &str = "application/vnd.schemaregistry.v1+json, application/json";

/// The HTTP client of a registry. Several threads may use it at the same time.
pub(super) struct Http {
    agent: Agent,
    url: String,
    authorization: Option<String>,
    /// When the next request may be sent.
    next_at: Mutex<Instant>,
    /// Whether something has answered as only a registry does.
    is_registry: AtomicBool,
}

/// The reason why there is no schema.
#[derive(Debug)]
pub(super) enum Failure {
    /// The registry does not have it.
    Unknown,
    /// The registry has it, but it cannot be used, for this reason.
    Unusable(String),
    /// The registry denies access.
    Denied(RegistryError),
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

/// A response, after redirects.
struct Response {
    status: u16,
    body: Vec<u8>,
    /// Where the last redirect led to, if the credentials were not sent there.
    elsewhere: Option<String>,
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
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(ANSWER_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .user_agent(concat!("trendmark/", env!("CARGO_PKG_VERSION")))
            .build();
        let encode = |user: String| base64::engine::general_purpose::STANDARD.encode(user);
        Ok(Http {
            agent: config.into(),
            url: settings.url.clone(),
            authorization: user.map(|user| format!("Basic {}", encode(user))),
            next_at: Mutex::new(Instant::now()),
            is_registry: AtomicBool::new(false),
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
                let reason = format!("it refers to more than {REFERENCES_MAX} others");
                return Err(Failure::Unusable(reason));
            }
            let Reference { name, subject, version } = reference;
            let subject = encoded(&subject);
            let answer = match self.fetch(&format!("/subjects/{subject}/versions/{version}")) {
                Err(Failure::Unknown) => {
                    let reason = format!("it refers to `{name}`, which does not exist");
                    return Err(Failure::Unusable(reason));
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
        let Response { status, body, elsewhere } = self.get(path)?;
        let unexpected = |what: &str| Failure::Unreachable(format!("{path} returns {what}"));
        match status {
            200 => {
                let answer = serde_json::from_slice(&body)
                    .map_err(|_| unexpected("something other than a schema; check the URL"))?;
                self.is_registry.store(true, Ordering::Relaxed);
                Ok(answer)
            }
            401 | 403 => {
                let url = self.url.clone();
                Err(Failure::Denied(match elsewhere {
                    Some(elsewhere) => RegistryError::RefusedElsewhere { url, status, elsewhere },
                    None => RegistryError::Refused { url, status },
                }))
            }
            404 if is_not_found(&body) => {
                self.is_registry.store(true, Ordering::Relaxed);
                Err(Failure::Unknown)
            }
            // Registries answer an id that cannot exist like a path that does not, and proxies may
            // replace their answers. But any other server would answer everything so.
            404 if self.is_registry() => Err(Failure::Unknown),
            404 => Err(unexpected("404, but not from a schema registry; check the URL")),
            status => Err(unexpected(&status.to_string())),
        }
    }

    /// Whether the URL is that of a registry: it has answered as one before, or it does when it is
    /// asked for the formats of schemas that it has.
    fn is_registry(&self) -> bool {
        let is_list = |response: Response| {
            let is_list = serde_json::from_slice::<Vec<String>>(&response.body).is_ok();
            response.status == 200 && is_list || is_not_found(&response.body)
        };
        if !self.is_registry.load(Ordering::Relaxed)
            && self.get("/schemas/types").is_ok_and(is_list)
        {
            self.is_registry.store(true, Ordering::Relaxed);
        }
        self.is_registry.load(Ordering::Relaxed)
    }

    /// Sends a request when it is its turn, and follows redirects.
    fn get(&self, path: &str) -> Result<Response, Failure> {
        let unreachable = |error: ureq::Error| Failure::Unreachable(error.to_string());
        let mut url = format!("{}{path}", self.url);
        let mut elsewhere = None;
        for _ in 0..=REDIRECTS_MAX {
            self.wait_for_turn();
            let mut request = self.agent.get(&url).header("Accept", ACCEPTED);
            if let (Some(authorization), None) = (&self.authorization, &elsewhere) {
                request = request.header("Authorization", authorization);
            }
            let mut response = request.call().map_err(unreachable)?;
            let status = response.status().as_u16();
            let location = response.headers().get("Location").and_then(|text| text.to_str().ok());
            match location.filter(|_| matches!(status, 301 | 302 | 303 | 307 | 308)) {
                Some(location) => {
                    let reason = || Failure::Unreachable(format!("{path} leads to no valid URL"));
                    let next = target(&url, location).ok_or_else(reason)?;
                    if self.authorization.is_some() && !is_same_place(&url, &next) {
                        elsewhere = Some(origin(&next).unwrap_or_default());
                    }
                    url = next;
                }
                None => {
                    let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
                    let body = body.read_to_vec().map_err(unreachable)?;
                    return Ok(Response { status, body, elsewhere });
                }
            }
        }
        Err(Failure::Unreachable(format!("{path} leads to more than {REDIRECTS_MAX} redirects")))
    }

    /// Sleeps until the next request may be sent.
    fn wait_for_turn(&self) {
        let turn = {
            let mut next_at = self.next_at.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = (*next_at).max(Instant::now());
            *next_at = turn + INTERVAL;
            turn
        };
        std::thread::sleep(turn.saturating_duration_since(Instant::now()));
    }
}

/// Whether the body of a response has one of the registry's own five-digit codes for "not found".
fn is_not_found(body: &[u8]) -> bool {
    matches!(serde_json::from_slice(body), Ok(ErrorResponse { error_code: 40_401..=40_499 }))
}

/// Returns the URL that a redirect leads to.
fn target(url: &str, location: &str) -> Option<String> {
    if location.starts_with("http://") || location.starts_with("https://") {
        return origin(location).map(|_| location.into());
    }
    let path = location.strip_prefix('/').filter(|path| !path.starts_with('/'))?;
    let target = format!("{}/{path}", origin(url)?);
    origin(&target).map(|_| target)
}

/// Returns the scheme, host and port of a URL, without a user and a password.
fn origin(url: &str) -> Option<String> {
    let url: Uri = url.parse().ok()?;
    let port = url.port_u16().map_or_else(String::new, |port| format!(":{port}"));
    Some(format!("{}://{}{port}", url.scheme_str()?, url.host()?))
}

/// Whether credentials for the first URL may be sent to the other, to which it redirects: the same
/// host and port, or the same host with TLS in place of none.
fn is_same_place(url: &str, next: &str) -> bool {
    let (Ok(url), Ok(next)) = (url.parse::<Uri>(), next.parse::<Uri>()) else { return false };
    let is_upgrade = url.scheme_str() == Some("http") && next.scheme_str() == Some("https");
    let is_same = url.scheme_str() == next.scheme_str() && port(&url) == port(&next);
    url.host() == next.host() && (is_same || is_upgrade)
}

fn port(url: &Uri) -> u16 {
    url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 })
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(crate::fixtures::cases(256))]

        #[test]
        fn no_answer_makes_it_panic(
            body in "[{}\\[\\]:,\"a-z0-9]{0,80}",
            location in "(https?:)?/{0,2}[a-z0-9@:./?#%\\[\\] é-]{0,40}",
        ) {
            let _ = serde_json::from_str::<Answer>(&body);
            is_not_found(body.as_bytes());
            if let Some(next) = target("http://r:81/a", &location) {
                is_same_place("http://r:81/a", &next);
                prop_assert!(origin(&next).is_some_and(|origin| !origin.contains('@')), "{}", next);
            }
        }
    }

    #[test]
    fn credentials_follow_a_redirect_to_the_same_place_only() {
        for (url, next, is_same) in [
            ("http://r/schemas/ids/1", "http://r/other", true),
            ("http://r:80/x", "http://r/x", true),
            ("http://r:8081/x", "https://r:8443/x", true),
            ("http://r/x", "https://r/x", true),
            ("https://r/x", "http://r/x", false),
            ("https://r/x", "https://r:444/x", false),
            ("http://r/x", "http://r.other/x", false),
            ("http://r/x", "http://other/x", false),
        ] {
            assert_eq!(is_same_place(url, next), is_same, "{url} to {next}");
        }
    }

    #[test]
    fn a_redirect_leads_to_a_url_or_a_path() {
        for (location, found) in [
            ("/y?z=1", Some("http://r:81/y?z=1")),
            ("https://s/y", Some("https://s/y")),
            ("//s/y", None),
            ("y", None),
            ("http://", None),
            ("", None),
        ] {
            assert_eq!(target("http://r:81/a/b", location).as_deref(), found, "{location}");
        }
        assert_eq!(origin("https://user:secret@s:1/y").as_deref(), Some("https://s:1"));
    }
}
