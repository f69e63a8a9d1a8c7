//! What a job computes and how it goes about it.

use crate::query::{Build, QueryInstance, Role};
use crate::time::Definition;
use std::time::Duration;

/// What to compute and how to go about it. The same in every process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is computed.
    pub definition: Definition,
    /// The queries, in the order in which the store knows them.
    pub queries: Vec<QueryInstance>,
    /// How often to publish.
    pub publish_interval: Duration,
    /// The longest that events wait for their round to fill.
    pub tick: Duration,
    /// The most events of a topic in a round of one worker.
    pub round_events: usize,
    /// The most bytes of a topic in a round of one worker.
    pub round_bytes: u64,
    /// The most rounds of a worker that may be under way.
    pub rounds_in_flight: usize,
    /// How many bytes of what came for an open epoch are arranged together on a worker. Fewer wait
    /// until their publication is over.
    pub gather_bytes: usize,
    /// The most changed rows, and sums that are to become rows, that may wait on a worker for the
    /// next publication. A sum waits on every worker that has a part in it.
    pub rows_waiting_max: usize,
    /// How far the watermark of a partition may run ahead of the slowest, in milliseconds.
    pub alignment_ms: i64,
    /// Whether to go on when everything is read.
    pub follow: bool,
    /// How long nothing must come, after the end of a partition was seen, for it to be idle.
    pub idle_timeout: Duration,
    /// How often to look for more at the end of a partition.
    pub poll_interval: Duration,
    /// Whether the store wants the rows of its main table back after a replay, see
    /// [`crate::stores::Store::restore`].
    pub restores_rows: bool,
}

impl Settings {
    /// The defaults, for these queries.
    pub fn new(definition: Definition, queries: Vec<QueryInstance>) -> Settings {
        Settings {
            definition,
            queries,
            publish_interval: Duration::from_secs(1),
            tick: Duration::from_millis(100),
            round_events: 100_000,
            round_bytes: 64 << 20,
            rounds_in_flight: 16,
            gather_bytes: 2 << 20,
            rows_waiting_max: 1 << 20,
            alignment_ms: definition.epoch_length_ms,
            follow: false,
            idle_timeout: Duration::from_secs(10),
            poll_interval: Duration::from_millis(10),
            restores_rows: false,
        }
    }

    /// What is computed, in words: two jobs that say the same give the same rows.
    pub(super) fn job(&self) -> String {
        let queries: Vec<_> = self.queries.iter().map(ToString::to_string).collect();
        format!("{}, queries {}", self.definition, queries.join(", "))
    }

    /// The queries across epochs, with their numbers.
    pub(super) fn across_epochs(&self) -> impl Iterator<Item = (usize, &QueryInstance)> {
        let is_across = |one: &QueryInstance| matches!(one.query.build, Build::Tables(_));
        self.queries.iter().enumerate().filter(move |(_, one)| is_across(one))
    }

    /// Whether a query across epochs reads the rows of this query.
    pub(super) fn is_read(&self, number: usize) -> bool {
        let name = self.queries[number].query.name;
        self.across_epochs().any(|(_, one)| one.query.reads.iter().any(|read| read.name == name))
    }

    /// Whether the rows of a query are wanted that a replay rebuilds.
    pub(super) fn is_replayed(&self, number: usize) -> bool {
        let is_main = self.queries[number].query.role == Role::Main;
        self.restores_rows && is_main || self.is_read(number)
    }

    /// How many epochs before the first open one the queries across epochs depend on.
    pub(super) fn history_epochs(&self) -> i64 {
        self.across_epochs().map(|(_, one)| one.history_epochs()).max().unwrap_or(0)
    }
}
