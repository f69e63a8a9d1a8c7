//! What two processes of a job tell each other before they trust a connection.
//!
//! ```text
//! caller   → greeting
//! answerer → greeting, proof
//! caller   → proof
//! ```
//!
//! A greeting is [`MAGIC`], a length (4 bytes, big-endian), and as many bytes of JSON. It has a
//! random challenge. A proof is BLAKE3's keyed hash of both greetings and the role of its sender.
//! The key is derived from the shared secret, which is never sent (an empty one, if none is set).
//! So a proof convinces only who knows the secret, and only for this connection. What follows is
//! not encrypted: the secret keeps strangers out of a job, not out of a network.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The first bytes of a greeting; the last one is the version of the protocol.
const MAGIC: [u8; 8] = *b"trndmrk2";
/// The maximum length of a greeting, in bytes.
const GREETING_BYTES_MAX: u32 = 256 << 10;
/// Settings with longer values are compared by their digest.
const VALUE_BYTES_MAX: usize = 200;
const PROOF_BYTES: usize = 32;
/// The context of the key, see [`blake3::derive_key`].
const KEY_CONTEXT: &str = "trendmark 2026-11 proof between the processes of a job";

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Purpose {
    /// The messages of timely.
    Data,
    /// The signs of life of [`super::super::peers`].
    Life,
}

/// The first message of a process over a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Greeting {
    pub version: String,
    pub process: usize,
    pub processes: usize,
    /// The workers of each process.
    pub workers: usize,
    /// The settings that must be equal in all processes: names and values.
    pub settings: Vec<(String, String)>,
    pub purpose: Purpose,
    /// Random, so that two processes with the same number are told apart.
    pub instance: u128,
    /// Random, so that no proof is valid twice.
    pub challenge: u128,
}

/// Why a connection is not used over which nothing comes.
const SILENT: &str = "the connection is open, but nothing is said: it is suspended, or another \
                      program";

/// Who sends a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Caller = 0,
    Answerer = 1,
}

/// Both greetings of a connection, as bytes.
pub(super) struct Exchange {
    pub caller: Vec<u8>,
    pub answerer: Vec<u8>,
}

/// Why a connection is not used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is dropped, and another may come.
    Dropped(String),
    /// It is dropped, as the other side has another secret.
    OtherSecret,
    /// The job cannot start.
    Fatal(String),
}

impl Refusal {
    /// Returns the reason, as text.
    pub fn reason(self) -> String {
        match self {
            Refusal::Dropped(reason) | Refusal::Fatal(reason) => reason,
            Refusal::OtherSecret => "its secret is another one, see --cluster-secret".into(),
        }
    }
}

impl Greeting {
    /// Shortens the values of settings, so that a greeting stays small.
    pub fn shortened(settings: &[(String, String)]) -> Vec<(String, String)> {
        let short = |value: &String| match value.len() {
            0..=VALUE_BYTES_MAX => value.clone(),
            bytes => format!("{bytes} bytes, BLAKE3 {}", blake3::hash(value.as_bytes())),
        };
        settings.iter().map(|(name, value)| (name.clone(), short(value))).collect()
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        match serde_json::to_vec(self) {
            Ok(bytes) => bytes,
            Err(error) => unreachable!("a greeting can be written as JSON: {error}"),
        }
    }

    /// Returns how the job of another process differs from that of this one.
    pub fn difference(&self, other: &Greeting) -> Option<String> {
        let (own, others) =
            (format!("process {}", self.process), format!("process {}", other.process));
        if self.version != other.version {
            return Some(format!(
                "{others} is trendmark {}, and {own} is trendmark {}: start the same version \
                 everywhere",
                other.version, self.version
            ));
        }
        let counts = |of: &Greeting| {
            vec![
                ("processes".to_string(), of.processes.to_string()),
                ("workers".to_string(), of.workers.to_string()),
            ]
        };
        let all = |of: &Greeting| [counts(of), of.settings.clone()].concat();
        let (mine, theirs) = (all(self), all(other));
        let names: BTreeSet<&String> = mine.iter().chain(&theirs).map(|(name, _)| name).collect();
        let value = |of: &[(String, String)], name: &str| {
            let found = of.iter().find(|(known, _)| known == name);
            found.map_or(format!("no --{name}"), |(_, value)| format!("--{name} {value}"))
        };
        let values = names.into_iter().map(|name| (value(&theirs, name), value(&mine, name)));
        let (their, my): (Vec<_>, Vec<_>) = values.filter(|(their, my)| their != my).unzip();
        (!their.is_empty()).then(|| {
            let (their, my) = (their.join(", "), my.join(", "));
            format!(
                "{others} has {their}, and {own} has {my}: start all processes with the same flags"
            )
        })
    }
}

impl fmt::Display for Greeting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "process {} of {}", self.process, self.processes)
    }
}

impl Exchange {
    /// Returns the proof of one side.
    pub fn proof(&self, secret: &[u8], role: Role) -> [u8; PROOF_BYTES] {
        let key = blake3::derive_key(KEY_CONTEXT, secret);
        let mut hasher = blake3::Hasher::new_keyed(&key);
        hasher.update(&[role as u8]);
        for greeting in [&self.caller, &self.answerer] {
            hasher.update(&(greeting.len() as u64).to_be_bytes()).update(greeting);
        }
        *hasher.finalize().as_bytes()
    }

    /// Checks the proof of the other side.
    pub fn check(
        &self,
        secret: &[u8],
        role: Role,
        proof: [u8; PROOF_BYTES],
    ) -> Result<(), Refusal> {
        // `blake3::Hash` compares in constant time.
        if blake3::Hash::from(proof) == blake3::Hash::from(self.proof(secret, role)) {
            return Ok(());
        }
        Err(Refusal::OtherSecret)
    }
}

/// A connection whose messages must arrive before a deadline.
pub(super) struct Timed<'a> {
    pub stream: &'a mut TcpStream,
    pub deadline: Instant,
}

impl Timed<'_> {
    /// Sends a greeting.
    pub fn send_greeting(&mut self, greeting: &[u8]) -> Result<(), Refusal> {
        let length = u32::try_from(greeting.len()).unwrap_or(u32::MAX);
        if length > GREETING_BYTES_MAX {
            return Err(Refusal::Fatal(format!(
                "the settings take {length} bytes, and a process tells others at most \
                 {GREETING_BYTES_MAX}: use patterns for the names of files"
            )));
        }
        self.send(&[&MAGIC[..], &length.to_be_bytes(), greeting].concat())
    }

    /// Receives a greeting, and returns it with its bytes.
    pub fn receive_greeting(&mut self) -> Result<(Greeting, Vec<u8>), Refusal> {
        let stranger = || Refusal::Dropped("it is no trendmark process".into());
        let start: [u8; 12] = self.receive()?;
        let (magic, length) = start.split_at(MAGIC.len());
        if magic != MAGIC {
            let is_other_version = magic[..7] == MAGIC[..7];
            let of_other_version = "it is another version of trendmark: start the same everywhere";
            return Err(match is_other_version {
                true => Refusal::Dropped(of_other_version.into()),
                false => stranger(),
            });
        }
        let length = length.iter().fold(0, |length: u32, byte| length << 8 | u32::from(*byte));
        if length > GREETING_BYTES_MAX {
            return Err(stranger());
        }
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes)?;
        match serde_json::from_slice(&bytes) {
            Ok(greeting) => Ok((greeting, bytes)),
            Err(_) => Err(stranger()),
        }
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.stream.set_write_timeout(Some(self.left()?)).map_err(|error| dropped(&error))?;
        self.stream.write_all(bytes).map_err(|error| dropped(&error))
    }

    /// Receives this number of bytes.
    pub fn receive<const BYTES: usize>(&mut self) -> Result<[u8; BYTES], Refusal> {
        let mut bytes = [0; BYTES];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, mut bytes: &mut [u8]) -> Result<(), Refusal> {
        while !bytes.is_empty() {
            self.stream.set_read_timeout(Some(self.left()?)).map_err(|error| dropped(&error))?;
            match self.stream.read(bytes) {
                Ok(0) => return Err(dropped(&ErrorKind::UnexpectedEof.into())),
                Ok(read) => bytes = &mut bytes[read..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(dropped(&error)),
            }
        }
        Ok(())
    }

    /// The time until the deadline, which is never zero.
    fn left(&self) -> Result<Duration, Refusal> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(dropped(&ErrorKind::TimedOut.into())) } else { Ok(left) }
    }
}

/// Describes the failure of a connection.
pub(super) fn dropped(error: &io::Error) -> Refusal {
    Refusal::Dropped(match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => SILENT.into(),
        ErrorKind::UnexpectedEof => "it ends the connection".into(),
        _ => error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn greeting() -> Greeting {
        Greeting {
            version: "1.0.0".into(),
            process: 0,
            processes: 2,
            workers: 1,
            settings: vec![("field".into(), "request_id=rid".into())],
            purpose: Purpose::Data,
            instance: 1,
            challenge: 7,
        }
    }

    #[test]
    fn differences_are_named_with_both_values() {
        let own = greeting();
        let other = Greeting { process: 1, ..greeting() };
        let rid = vec![("field".to_string(), "request_id=id".to_string())];
        let cases = [
            (other.clone(), None),
            (Greeting { challenge: 8, instance: 2, purpose: Purpose::Life, ..other.clone() }, None),
            (
                Greeting { version: "0.9.0".into(), ..other.clone() },
                Some("process 1 is trendmark 0.9.0, and process 0 is trendmark 1.0.0"),
            ),
            (
                Greeting { processes: 3, ..other.clone() },
                Some("process 1 has --processes 3, and process 0 has --processes 2"),
            ),
            (
                Greeting { workers: 4, processes: 3, ..other.clone() },
                Some(
                    "process 1 has --processes 3, --workers 4, and process 0 has --processes 2, \
                     --workers 1",
                ),
            ),
            (
                Greeting { settings: rid, ..other.clone() },
                Some(
                    "process 1 has --field request_id=id, and process 0 has --field request_id=rid",
                ),
            ),
            (
                Greeting { settings: Vec::new(), ..other.clone() },
                Some("process 1 has no --field, and process 0 has --field request_id=rid"),
            ),
        ];
        for (other, expected) in cases {
            let found = own.difference(&other);
            match expected {
                None => assert_eq!(found, None),
                Some(begin) => assert!(found.as_ref().unwrap().starts_with(begin), "{found:?}"),
            }
        }
    }

    #[test]
    fn long_settings_are_compared_by_digest() {
        let long = |end: char| vec![("plays".to_string(), "x".repeat(500) + &end.to_string())];
        let (one, other) = (Greeting::shortened(&long('a')), Greeting::shortened(&long('b')));
        assert!(one != other && one[0].1.len() < VALUE_BYTES_MAX, "{one:?}");
        assert_eq!(one, Greeting::shortened(&long('a')));
    }

    #[test]
    fn a_proof_is_valid_for_one_secret_one_role_and_one_exchange() {
        let exchange = |caller: &[u8], answerer: &[u8]| Exchange {
            caller: caller.to_vec(),
            answerer: answerer.to_vec(),
        };
        let here = exchange(b"one", b"two");
        let proof = here.proof(b"secret", Role::Caller);
        assert_eq!(here.check(b"secret", Role::Caller, proof), Ok(()));
        assert!(here.check(b"Secret", Role::Caller, proof).is_err());
        assert!(here.check(b"", Role::Caller, proof).is_err());
        assert!(here.check(b"secret", Role::Answerer, proof).is_err());
        for other in [exchange(b"two", b"one"), exchange(b"onet", b"wo")] {
            assert!(other.check(b"secret", Role::Caller, proof).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_and_nothing_is_believed_of_their_length(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
            begins in any::<bool>(),
        ) {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            let magic: &[u8] = if begins { &MAGIC } else { &[] };
            sender.write_all(&[magic, &bytes].concat()).unwrap();
            drop(sender);
            let deadline = Instant::now() + Duration::from_secs(10);
            let refused = Timed { stream: &mut stream, deadline }.receive_greeting();
            prop_assert!(matches!(refused, Err(Refusal::Dropped(_))));
        }
    }
}
