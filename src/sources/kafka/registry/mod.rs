//! A client of a schema registry with Confluent's API: looks up schemas by id.
//!
//! Schemas never change, so each is fetched once. Threads send the requests, so that lookups never
//! block; a few at a time, and at a limited rate. Requests to a registry that does not answer are
//! retried indefinitely. An id that the registry does not know is asked for again once, as its
//! instances may learn of a new schema at different times, and then counts as unknown for a while.

mod http;

use crate::kafka::{RegistryError, RegistrySettings};
use http::{Failure, Http};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The pause before a retry if the registry does not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// The pause before the second request for an unknown id.
const UNKNOWN_RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How long an unknown id is cached.
const UNKNOWN_TTL: Duration = Duration::from_secs(60);
/// The number of ids that may be asked for or unknown. Garbage may contain any id: while there are
/// so many, more of them wait.
const UNKNOWN_MAX: usize = 50_000;
/// The number of ids that are asked for before the wanted ones are looked at again: new ids come
/// first, so that much garbage does not delay them.
const ROUND_IDS_MAX: usize = 64;
/// The number of requests at the same time.
const THREADS_MAX: usize = 8;
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
    /// The registry has the schema, but it cannot be used, for this reason.
    Unusable(Arc<str>),
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

#[derive(Clone)]
enum State {
    /// To be asked for, not before `due`; the registry has said `unknown` times that it does not
    /// have it.
    Wanted { unknown: u32, due: Instant },
    /// A lookup that is asked for again after a time.
    For(Instant, Lookup),
    /// A lookup that never changes.
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
        let fetcher = Fetcher {
            http,
            url: settings.url.clone(),
            known: Arc::clone(&known),
            logged: Mutex::new(None),
        };
        std::thread::spawn(move || fetcher.run(&woken));
        Ok(Registry { known, wake: Mutex::new(wake) })
    }

    /// Looks up an id without blocking, and requests it if necessary.
    pub fn lookup(&self, id: u32) -> Lookup {
        let mut known = lock(&self.known);
        let now = Instant::now();
        match known.get(&id) {
            Some(State::Done(lookup)) => return lookup.clone(),
            Some(State::For(until, lookup)) if now < *until => return lookup.clone(),
            Some(State::Wanted { .. }) => return Lookup::Waiting,
            _ => {}
        }
        if known.len() >= UNKNOWN_MAX {
            known.retain(|_, state| !matches!(state, State::For(until, _) if now >= *until));
        }
        if known.len() < UNKNOWN_MAX {
            known.insert(id, State::Wanted { unknown: 0, due: now });
            // Sending fails only if the thread has stopped, which happens only after `self` is
            // dropped.
            let _ = lock(&self.wake).send(());
        }
        Lookup::Waiting
    }
}

/// The thread that sends the requests, with the help of others.
struct Fetcher {
    http: Http,
    url: String,
    known: Arc<Mutex<BTreeMap<u32, State>>>,
    logged: Mutex<Option<Instant>>,
}

impl Fetcher {
    fn run(self, woken: &Receiver<()>) {
        loop {
            let (wanted, due) = self.wanted();
            let ended = match due {
                _ if !wanted.is_empty() => {
                    let answers = self.fetch(&wanted);
                    has_ended(woken, if answers { Duration::ZERO } else { PAUSE })
                }
                Some(due) => {
                    let pause = due.saturating_duration_since(Instant::now());
                    woken.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected)
                }
                None => woken.recv().is_err(),
            };
            if ended {
                return;
            }
        }
    }

    /// Returns the ids to ask for now, those that were never asked for first, and when the next is
    /// due.
    fn wanted(&self) -> (Vec<(u32, u32)>, Option<Instant>) {
        let now = Instant::now();
        let (mut wanted, mut next) = (Vec::new(), None::<Instant>);
        for (id, state) in lock(&self.known).iter() {
            match state {
                State::Wanted { unknown, due } if *due <= now => wanted.push((*unknown, *id)),
                State::Wanted { due, .. } => next = Some(next.map_or(*due, |at| at.min(*due))),
                _ => {}
            }
        }
        wanted.sort_unstable();
        wanted.truncate(ROUND_IDS_MAX);
        (wanted, next)
    }

    /// Asks for these ids. Returns whether the registry answers; if not, the rest must wait.
    fn fetch(&self, wanted: &[(u32, u32)]) -> bool {
        let (next, answers) = (AtomicUsize::new(0), AtomicBool::new(true));
        let ask = || {
            while let Some((unknown, id)) = wanted.get(next.fetch_add(1, Ordering::Relaxed))
                && answers.load(Ordering::Relaxed)
            {
                let state = self.ask(*id, *unknown);
                match state {
                    Some(state) => _ = lock(&self.known).insert(*id, state),
                    None => answers.store(false, Ordering::Relaxed),
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..wanted.len().min(THREADS_MAX) {
                scope.spawn(ask);
            }
            ask();
        });
        answers.into_inner()
    }

    /// Asks for an id. Returns `None` if there is no answer.
    fn ask(&self, id: u32, unknown: u32) -> Option<State> {
        Some(match self.http.schema(id) {
            Ok(schema) => State::Done(Lookup::Known(Arc::new(schema))),
            Err(Failure::Denied(error)) => State::Done(Lookup::Denied(error)),
            Err(Failure::Unreachable(reason)) => {
                self.warn(&reason);
                return None;
            }
            Err(Failure::Unknown | Failure::Unusable(_)) if unknown == 0 => {
                State::Wanted { unknown: 1, due: Instant::now() + UNKNOWN_RETRY_PAUSE }
            }
            Err(Failure::Unknown) => State::For(Instant::now() + UNKNOWN_TTL, Lookup::Unknown),
            Err(Failure::Unusable(reason)) => {
                State::For(Instant::now() + UNKNOWN_TTL, Lookup::Unusable(reason.into()))
            }
        })
    }

    fn warn(&self, reason: &str) {
        let mut logged = lock(&self.logged);
        if logged.is_none_or(|logged| logged.elapsed() >= LOG_INTERVAL) {
            *logged = Some(Instant::now());
            tracing::warn!("no schema from the schema registry `{}`: {reason}", self.url);
        }
    }
}

/// Waits for a time. Returns whether the client has ended.
fn has_ended(woken: &Receiver<()>, pause: Duration) -> bool {
    let until = Instant::now() + pause;
    loop {
        match woken.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(()) => {}
            Err(error) => return error == RecvTimeoutError::Disconnected,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
