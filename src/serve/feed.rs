//! What the server knows of the commits of the job: the latest publication, and the rows that the
//! last ones have changed.
//!
//! The thread of the store only puts publications into a queue. A thread of the server takes them
//! out. If it does not keep up, what is in the queue is dropped beyond a bound: the copy in memory
//! is then filled anew, and clients are told to read anew.

use super::head::Head;
use super::rates::Rates;
use super::ring::{Entry, Ring};
use super::snapshots::Snapshots;
use crate::engine::Observer;
use crate::panics::survive;
use crate::query::Role;
use crate::stores::description::Description;
use crate::stores::{Changeset, Progress};
use crate::time::{Epoch, Publication, clock_ms, rfc3339};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// The most changed rows that wait in the queue.
const QUEUE_ROWS_MAX: usize = 1 << 20;
/// The most publications that wait in the queue.
const QUEUE_LENGTH_MAX: usize = 4_096;
/// The pause before the feed begins anew after a panic.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// The publications of a job, for those who ask and those who follow.
pub struct Feed {
    queue: Mutex<Queue>,
    /// Signals that there is something in the queue.
    filled: Condvar,
    ring: Mutex<Ring>,
    state: watch::Sender<State>,
    rates: Mutex<Rates>,
    description: Description,
    snapshots: Arc<Snapshots>,
}

/// Where the job is.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The latest publication, once there is a store.
    pub head: Option<Arc<Head>>,
    /// Whether the job has ended.
    pub is_over: bool,
}

/// What the thread of the store has put in.
#[derive(Default)]
struct Queue {
    /// The progress after all publications so far; `None` before the store is open.
    progress: Option<Progress>,
    /// When the last of them was committed, in milliseconds since 1970.
    committed_ms: Option<i64>,
    changes: VecDeque<Changeset>,
    rows: usize,
    /// Whether publications were dropped.
    is_lossy: bool,
    /// Whether nothing more will follow.
    is_over: bool,
}

/// What the thread of the server takes out.
struct Batch {
    progress: Progress,
    committed_ms: Option<i64>,
    changes: Vec<Changeset>,
    is_lossy: bool,
}

impl Feed {
    /// The feed of a job with this description, before it has its store.
    pub fn new(description: Description, snapshots: Arc<Snapshots>) -> Feed {
        Feed {
            queue: Mutex::default(),
            filled: Condvar::new(),
            ring: Mutex::default(),
            state: watch::Sender::new(State::default()),
            rates: Mutex::default(),
            description,
            snapshots,
        }
    }

    /// Where the job is.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Returns a receiver of where the job is.
    pub fn follow(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// The rows that the last publications have changed.
    pub fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The events committed per second lately.
    pub fn events_per_second(&self) -> f64 {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner).per_second()
    }

    /// The definition and the queries of the job.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Ends [`Feed::run`], and all streams.
    pub fn end(&self) {
        self.queue().is_over = true;
        self.filled.notify_all();
        self.state.send_modify(|state| state.is_over = true);
        self.snapshots.close();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.queue().is_over
    }

    /// Takes what was put in, waiting for it. `None` when nothing more will follow.
    fn take(&self, at: Option<Publication>) -> Option<Batch> {
        let mut queue = self.queue();
        loop {
            let Queue { progress, changes, is_lossy, is_over, .. } = &*queue;
            if *is_over {
                return None;
            }
            match progress {
                Some(progress) if at.is_none() || *is_lossy || !changes.is_empty() => {
                    let (progress, is_lossy) = (progress.clone(), *is_lossy);
                    (queue.rows, queue.is_lossy) = (0, false);
                    let committed_ms = queue.committed_ms;
                    let changes = std::mem::take(&mut queue.changes).into();
                    return Some(Batch { progress, committed_ms, changes, is_lossy });
                }
                _ => {
                    let waited = self.filled.wait(queue);
                    queue = waited.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Takes publications out of the queue until the job ends. The loop of a thread. A bug must not
    /// end the job: after a panic it begins anew, and reads the store again.
    pub fn run(&self) {
        while survive("the feed of the HTTP server", || self.follow_commits()).is_none() {
            std::thread::sleep(RESTART_PAUSE);
        }
    }

    fn follow_commits(&self) {
        let mut at = None;
        let mut latest = None;
        while let Some(batch) = self.take(at) {
            let Batch { progress, committed_ms, changes, is_lossy } = batch;
            if at.is_none() || is_lossy {
                let first = changes.first().map(|one| Publication(one.publication.0 - 1));
                let before = first.unwrap_or(progress.publication);
                self.snapshots.fill(before, || self.is_over());
                self.ring().begin(before, at.is_none());
                latest = self.latest().max(latest);
            }
            self.snapshots.apply(&changes);
            let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
            for one in &changes {
                let events = one.ledger.iter().map(|(_, counts)| counts.total()).sum();
                rates.add(events);
            }
            drop(rates);
            latest = changes.iter().filter_map(|one| self.latest_in(one)).max().max(latest);
            let entries = changes.into_iter().map(|one| Entry::new(one, &self.description));
            let entries: Vec<Entry> = entries.collect();
            let mut ring = self.ring();
            entries.into_iter().for_each(|entry| ring.push(entry));
            drop(ring);
            at = Some(progress.publication);
            let published_at = committed_ms.map(rfc3339);
            let head = Head::of(&progress, &self.description.definition, latest);
            let head = Head { published_at, ..head };
            self.state.send_modify(|state| state.head = Some(Arc::new(head)));
        }
    }

    /// The latest epoch that has rows of the main table.
    fn latest(&self) -> Option<Epoch> {
        let latest = self.snapshots.read(|snapshot| {
            let main = snapshot.description().with_role(Role::Main).next();
            Ok(main.map(|(_, query)| snapshot.latest(query)).transpose()?.flatten())
        });
        latest.ok().flatten()
    }

    fn latest_in(&self, changes: &Changeset) -> Option<Epoch> {
        let (main, _) = self.description.with_role(Role::Main).next()?;
        let rows = changes.rows.iter().filter(|one| one.query == main && !one.deleted);
        rows.map(|one| one.row.epoch).max()
    }
}

impl Observer for Feed {
    fn opened(&self, progress: &Progress) {
        self.queue().progress = Some(progress.clone());
        self.filled.notify_all();
    }

    fn committed(&self, changes: Changeset) {
        if survive("the queue of the HTTP server", || self.put(changes)).is_none() {
            self.queue().is_lossy = true;
        }
    }

    fn closing(&self) {
        self.snapshots.close();
    }
}

impl Feed {
    fn put(&self, changes: Changeset) {
        let mut queue = self.queue();
        if let Some(progress) = &mut queue.progress {
            progress.apply(&changes);
        }
        queue.committed_ms = Some(clock_ms());
        queue.rows += changes.rows.len();
        queue.changes.push_back(changes);
        let is_full = queue.rows > QUEUE_ROWS_MAX || queue.changes.len() > QUEUE_LENGTH_MAX;
        // One publication alone may have more rows: they are in memory in any case.
        if is_full && queue.changes.len() > 1 {
            queue.changes.clear();
            (queue.rows, queue.is_lossy) = (0, true);
        }
        drop(queue);
        self.filled.notify_all();
    }
}
