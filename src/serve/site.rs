//! What all requests share: the job, where its publications are read, and what was answered lately.

use super::budget::Budget;
use super::cache::Cache;
use super::events::Encoded;
use super::feed::Feed;
use super::measured::Committed;
use super::rates::Rates;
use super::snapshots::Snapshots;
use super::token::Token;
use crate::engine::Counters;
use crate::query::QueryInstance;
use crate::time::Definition;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the server tells of its job.
#[derive(Clone, Debug)]
pub struct JobFacts {
    /// When the job was started, by the clock of its host, in milliseconds since 1970.
    pub started_at_ms: i64,
    /// The definition.
    pub definition: Definition,
    /// The store: `sqlite PATH` or `kafka:TOPIC`.
    pub store: String,
    /// The queries.
    pub queries: Vec<QueryInstance>,
    /// The number of workers of each process.
    pub workers: usize,
    /// The number of processes.
    pub processes: usize,
    /// The folder of `--sets`, if it is given.
    pub sets: Option<PathBuf>,
    /// The number of this process.
    pub process: usize,
    /// Within which time rows must be committed, for the job to be ready.
    pub ready_within: Duration,
    /// The most memory of this process, in bytes.
    pub state_max: u64,
}

/// What all requests share.
pub struct Site {
    /// The job.
    pub job: Arc<JobFacts>,
    /// Where publications are read.
    pub snapshots: Arc<Snapshots>,
    /// The publications.
    pub feed: Arc<Feed>,
    /// The counters of this process.
    pub counters: Arc<Counters>,
    /// The bytes that were read lately.
    pub bytes: Mutex<Rates>,
    /// The memory that answers and events may take.
    pub budget: Budget,
    /// A random number, which tells this server from those of other jobs.
    pub number: u64,
    /// What was answered lately.
    pub cache: Cache,
    /// The events that were sent lately.
    pub encoded: Encoded,
    /// What `/metrics` has told of what is committed.
    pub committed: Committed,
    /// What clients must know, if anything.
    pub token: Option<Token>,
}

impl Site {
    /// Drops the answers and events that are kept, as there is no memory for others.
    pub fn give_way(&self) {
        self.cache.clear();
        self.encoded.clear();
    }
}
