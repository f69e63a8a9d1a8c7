//! A client of a schema registry that speaks Confluent's protocol: schemas by their ids.
//!
//! A schema never changes, so that each is asked for once. A thread asks: nobody who needs a
//! schema stands still. A registry that does not answer is asked again for as long as it takes.

mod http;

use crate::kafka::{RegistryError, RegistrySettings};
use http::{Failure, Http};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a registry that does not answer is left alone.
const PAUSE: Duration = Duration::from_secs(1);
/// How long until an id that is unknown is asked for again: one registry may know later than
/// another what was registered.
const SECOND_LOOK: Duration = Duration::from_millis(500);
/// How long an id stays unknown.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);
/// The most unknown ids that are kept: what is no message may have any.
const UNKNOWN_MAX: usize = 10_000;
/// How often the same trouble is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// A schema, with the texts of all that it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// `AVRO`, `PROTOBUF` or `JSON`.
    pub format: String,
    /// The schema.
    pub text: String,
    /// What it refers to, by name.
    pub references: Vec<(String, String)>,
}

/// What is known of an id.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// Its schema.
    Known(Arc<Schema>),
    /// There is none.
    Unknown,
    /// Nothing yet: look again.
    Waiting,
    /// The registry does not let this program in.
    Refused(RegistryError),
}

/// A registry, shared by all that read.
pub struct Registry {
    known: Arc<Mutex<BTreeMap<u32, State>>>,
    /// Wakes the thread, which ends when this is dropped.
    wake: Mutex<Sender<()>>,
}

enum State {
    /// Asked for, and how many times it was unknown.
    Wanted {
        unknown: u32,
    },
    Unknown {
        since: Instant,
    },
    Done(Lookup),
}

impl Registry {
    /// A client, which asks for nothing yet.
    ///
    /// # Errors
    /// When the user and the password cannot be looked up.
    pub fn new(settings: &RegistrySettings) -> Result<Registry, RegistryError> {
        let http = Http::new(settings)?;
        let known = Arc::default();
        let (wake, woken) = channel();
        let asking =
            Asking { http, url: settings.url.clone(), known: Arc::clone(&known), logged: None };
        std::thread::spawn(move || asking.run(&woken));
        Ok(Registry { known, wake: Mutex::new(wake) })
    }

    /// What is known of an id. The first time, it is asked for.
    pub fn look(&self, id: u32) -> Lookup {
        let mut known = lock(&self.known);
        match known.get(&id) {
            Some(State::Done(lookup)) => return lookup.clone(),
            Some(State::Wanted { .. }) => return Lookup::Waiting,
            Some(State::Unknown { since }) if since.elapsed() < UNKNOWN_FOR => {
                return Lookup::Unknown;
            }
            _ => {}
        }
        if known.len() >= UNKNOWN_MAX {
            known.retain(|_, state| !matches!(state, State::Unknown { .. }));
        }
        known.insert(id, State::Wanted { unknown: 0 });
        // It fails when the thread has ended, which it does not while this is here.
        let _ = lock(&self.wake).send(());
        Lookup::Waiting
    }
}

/// The thread that asks.
struct Asking {
    http: Http,
    url: String,
    known: Arc<Mutex<BTreeMap<u32, State>>>,
    logged: Option<Instant>,
}

impl Asking {
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
            pause = self.ask();
        }
    }

    /// Asks for all that is wanted. Returns how long to wait before those that are still wanted.
    fn ask(&mut self) -> Option<Duration> {
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
                    pause = pause.max(Some(SECOND_LOOK));
                    State::Wanted { unknown: unknown + 1 }
                }
                Err(Failure::Refused(status)) => {
                    let url = self.url.clone();
                    State::Done(Lookup::Refused(RegistryError::Refused { url, status }))
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
