//! The settings of a job.

use super::memory;
use super::sets::SetsSettings;
use crate::query::{Build, QueryInstance, Role};
use crate::showings::Layout;
use crate::time::Definition;
use std::time::Duration;

/// The settings of a job: the definition, the queries, and limits. The same in every process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The definition of epochs and of when they close.
    pub definition: Definition,
    /// The queries, in the order of their numbers in the store.
    pub queries: Vec<QueryInstance>,
    /// The interval between publications.
    pub publish_interval: Duration,
    /// The maximum time that events wait for their round to fill.
    pub tick: Duration,
    /// The maximum number of events of a topic in a round of one worker.
    pub round_events: usize,
    /// The maximum number of bytes of a topic in a round of one worker.
    pub round_bytes: u64,
    /// The maximum number of incomplete rounds of one worker.
    pub rounds_in_flight: usize,
    /// How the showings of an epoch are kept.
    pub layout: Layout,
    /// The maximum number of changed rows, and sums not yet turned into rows, that wait on a worker
    /// for the next publication. A sum counts on every worker that contributes to it.
    pub rows_waiting_max: usize,
    /// The maximum memory of a process, in bytes. Partitions wait for the slowest one from four
    /// fifths of it, and at the limit the job ends.
    pub state_max: u64,
    /// How far a partition's watermark may be ahead of the slowest one, in milliseconds.
    pub alignment_ms: i64,
    /// Whether to continue at the end of the logs.
    pub follow: bool,
    /// The time without new records at the end of a partition after which it is idle.
    pub idle_timeout: Duration,
    /// The interval between polls at the end of a partition.
    pub poll_interval: Duration,
    /// The publication that the store must be at for the job to begin without a replay: the epochs
    /// that have begun become final as the store has them.
    pub accept_loss: Option<u64>,
    /// The share of the records of a log that may be malformed, from 0 to 1; if there is none, not
    /// all may be.
    pub malformed_max: Option<f64>,
    /// Whether the store needs the rebuilt rows of its main table after a replay, see
    /// [`crate::stores::Store::restore`].
    pub restores_rows: bool,
    /// How long a worker may not get on before the process ends; for ever if it is zero.
    pub watchdog: Duration,
    /// Where the sets are written as files, if they are. The queries then have
    /// [`crate::sets::FILES`].
    pub sets: Option<SetsSettings>,
}

impl Settings {
    /// Returns the default settings for these queries.
    pub fn new(definition: Definition, queries: Vec<QueryInstance>) -> Settings {
        Settings {
            definition,
            queries,
            publish_interval: Duration::from_secs(1),
            tick: Duration::from_millis(100),
            round_events: 100_000,
            round_bytes: 64 << 20,
            rounds_in_flight: 16,
            layout: Layout::default(),
            rows_waiting_max: 1 << 20,
            state_max: Settings::default_state_max(),
            alignment_ms: definition.epoch_length_ms,
            follow: false,
            idle_timeout: Duration::from_secs(10),
            poll_interval: Duration::from_millis(10),
            accept_loss: None,
            malformed_max: None,
            restores_rows: false,
            watchdog: Duration::from_secs(60),
            sets: None,
        }
    }

    /// Three quarters of the memory of the machine or the control group, in bytes.
    pub fn default_state_max() -> u64 {
        memory::available().map_or(u64::MAX, |bytes| bytes / 4 * 3)
    }

    /// Describes the definition and the queries as text.
    pub(super) fn job_description(&self) -> String {
        let shown = self.queries.iter().filter(|one| one.query.role != Role::Ledger);
        let queries: Vec<_> = shown.map(ToString::to_string).collect();
        format!("{}, queries {}", self.definition, queries.join(", "))
    }

    /// Returns the queries across epochs, with their numbers.
    pub(super) fn across_epochs(&self) -> impl Iterator<Item = (usize, &QueryInstance)> {
        let is_across = |one: &QueryInstance| matches!(one.query.build, Build::Tables(_));
        self.queries.iter().enumerate().filter(move |(_, one)| is_across(one))
    }

    /// Whether a query across epochs reads the rows of this query.
    pub(super) fn is_read_across_epochs(&self, number: usize) -> bool {
        let name = self.queries[number].query.name;
        self.across_epochs().any(|(_, one)| one.query.reads.iter().any(|read| read.name == name))
    }

    /// Whether the rows of a query are needed after a replay.
    pub(super) fn needs_replayed_rows(&self, number: usize) -> bool {
        let is_main = self.queries[number].query.role == Role::Main;
        self.restores_rows && is_main || self.is_read_across_epochs(number)
    }

    /// The number of epochs before the first open one that the queries across epochs depend on.
    pub(super) fn history_epochs(&self) -> i64 {
        self.across_epochs().map(|(_, one)| one.history_epochs()).max().unwrap_or(0)
    }
}
