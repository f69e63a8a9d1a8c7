//! A client of a schema registry with Confluent's API: looks up schemas by id.
//!
//! Schemas never change, so each is fetched once. A thread sends the requests, so that lookups
//! never block. Requests to a registry that does not answer are retried indefinitely.

mod http;

use crate::kafka::{RegistryError, RegistrySettings};
use http::{Failure, Http};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The pause before a retry if the registry does not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// The pause before the second request for an unknown id: the instances of a registry may learn of
/// a new schema at different times.
const UNKNOWN_RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How long an unknown id is cached.
const UNKNOWN_TTL: Duration = Duration::from_secs(60);
/// The number of cached ids at which unknown ones are evicted: garbage may contain any id.
const UNKNOWN_MAX: usize = 10_000;
/// The minimum interval between two warnings.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// A schema, with the texts of all schemas that it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// `AVRO`, `PROTOBUF` or `JSON`.
    pub format: String,
    /// The text of the schema.
    pub text: String,
    /// The names and texts of the schemas that it refers to.
    pub references: Vec<(String, String)>,
}

/// The result of looking up an id.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// The schema.
    Known(Arc<Schema>),
    /// The registry has no schema with this id.
    Unknown,
    /// The registry has not answered yet: look again later.
    Waiting,
    /// The registry denies access.
    Denied(RegistryError),
}

/// A client of a registry, shared by all readers.
pub struct Registry {
    known: Arc<Mutex<BTreeMap<u32, State>>>,
    /// Wakes the thread, which stops when this is dropped.
    wake: Mutex<Sender<()>>,
}

enum State {
    /// Requested; `unknown` counts the responses so far that the registry does not have it.
    Wanted {
        unknown: u32,
    },
    Unknown {
        since: Instant,
    },
    Done(Lookup),
}

impl Registry {
    /// Creates a client, which sends no requests yet.
    ///
    /// # Errors
    /// When the credentials are not valid, or their file or variable cannot be read.
    pub fn new(settings: &RegistrySettings) -> Result<Registry, RegistryError> {
        let http = Http::new(settings)?;
        let known = Arc::default();
        let (wake, woken) = channel();
        let asking =
            Fetcher { http, url: settings.url.clone(), known: Arc::clone(&known), logged: None };
        std::thread::spawn(move || asking.run(&woken));
        Ok(Registry { known, wake: Mutex::new(wake) })
    }

    /// Looks up an id without blocking, and requests it if necessary.
    pub fn lookup(&self, id: u32) -> Lookup {
        let mut known = lock(&self.known);
        match known.get(&id) {
            Some(State::Done(lookup)) => return lookup.clone(),
            Some(State::Wanted { .. }) => return Lookup::Waiting,
            Some(State::Unknown { since }) if since.elapsed() < UNKNOWN_TTL => {
                return Lookup::Unknown;
            }
            _ => {}
        }
        if known.len() >= UNKNOWN_MAX {
            known.retain(|_, state| !matches!(state, State::Unknown { .. }));
        }
        known.insert(id, State::Wanted { unknown: 0 });
        // Sending fails only if the thread has stopped, which happens only after `self` is dropped.
        let _ = lock(&self.wake).send(());
        Lookup::Waiting
    }
}

/// The thread that sends the requests.
struct Fetcher {
    http: Http,
    url: String,
    known: Arc<Mutex<BTreeMap<u32, State>>>,
    logged: Option<Instant>,
}

impl Fetcher {
    fn run(mut self, woken: &Receiver<()>) {
        let mut pause = None;
        loop {
            let ended = match pause {
                None => woken.recv().is_err(),
                Some(pause) => woken.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected),
            };
            if ended {
                return;
            }
            pause = self.fetch();
        }
    }

    /// Requests all wanted ids. Returns the pause before a retry if some are still wanted.
    fn fetch(&mut self) -> Option<Duration> {
        let wanted: Vec<(u32, u32)> = lock(&self.known)
            .iter()
            .filter_map(|(id, state)| match state {
                State::Wanted { unknown } => Some((*id, *unknown)),
                _ => None,
            })
            .collect();
        let mut pause: Option<Duration> = None;
        for (id, unknown) in wanted {
            let state = match self.http.schema(id) {
                Ok(schema) => State::Done(Lookup::Known(Arc::new(schema))),
                Err(Failure::Unknown) if unknown > 0 => State::Unknown { since: Instant::now() },
                Err(Failure::Unknown) => {
                    pause = pause.max(Some(UNKNOWN_RETRY_PAUSE));
                    State::Wanted { unknown: unknown + 1 }
                }
                Err(Failure::Denied(status)) => {
                    let url = self.url.clone();
                    State::Done(Lookup::Denied(RegistryError::Refused { url, status }))
                }
                Err(Failure::Unreachable(reason)) => {
                    pause = Some(PAUSE);
                    self.warn(&reason);
                    State::Wanted { unknown }
                }
            };
            lock(&self.known).insert(id, state);
        }
        pause
    }

    fn warn(&mut self, reason: &str) {
        if self.logged.is_none_or(|logged| logged.elapsed() >= LOG_INTERVAL) {
            self.logged = Some(Instant::now());
            tracing::warn!("no schema from the schema registry `{}`: {reason}", self.url);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
