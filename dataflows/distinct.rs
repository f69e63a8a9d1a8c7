//! How many distinct events of each kind does an epoch have? The dataflow's part of the ledger.
//!
//! Definition: the number of pairs (request, video) with an accepted event of the kind whose event
//! time lies in the epoch. A play without an impression counts too.
//! Row: `(kind, epoch) → distinct_events`, one per kind with at least one event.
//! State: two rows per open epoch. Cost: two bit tests per change.
//! Reader: the ledger of every job, so this query is always on.

use crate::event::{Kind, Touch};
use crate::query::{
    AcceptedLog, Build, Column, ColumnType, EpochLog, EpochRows, Parameters, Query, Role, Row,
    Value, no_history,
};
use crate::showings::Showings;
use crate::time::Epoch;
use differential_dataflow::operators::CountTotal;
use std::collections::BTreeSet;

/// The query.
pub static QUERY: Query = Query {
    name: "distinct",
    about: "distinct events of each kind in each epoch, for the ledger",
    version: 1,
    role: Role::Ledger,
    key: &[Column::new("kind", ColumnType::Kind, "impression or play")],
    values: &[Column::new("distinct_events", ColumnType::Count, "events")],
    parameters: &[],
    build: Build::Epoch(build),
    reads: &[],
    history_epochs: no_history,
    oracle,
    batch_sql: "
        SELECT 'impression' AS kind, epoch, count(*) AS distinct_events
        FROM (SELECT DISTINCT video_id, epoch, request_id FROM impressions) GROUP BY epoch
        UNION ALL
        SELECT 'play' AS kind, epoch, count(*) AS distinct_events
        FROM (SELECT DISTINCT video_id, epoch, request_id FROM plays) GROUP BY epoch",
};

fn build<'scope>(showings: &Showings<'scope>, _: &Parameters) -> EpochRows<'scope> {
    let epoch = showings.epoch();
    showings
        .changes()
        .accumulate(|change| {
            ((), (change.gain(Touch::is_shown), change.gain(Touch::is_played_here)))
        })
        .count_total()
        .flat_map(move |((), (impressions, plays))| {
            let counts = [(Kind::Impression, impressions), (Kind::Play, plays)];
            let counted = counts.into_iter().filter(|(_, events)| *events > 0);
            counted.map(move |(kind, events)| row(epoch, kind, events.unsigned_abs() as u64))
        })
}

fn row(epoch: Epoch, kind: Kind, events: u64) -> Row {
    QUERY.row(epoch, [Value::Kind(kind)], [Value::Count(events)])
}

fn oracle(log: &AcceptedLog, _: &Parameters) -> BTreeSet<Row> {
    log.each_epoch(rows)
}

fn rows(log: &EpochLog) -> Vec<Row> {
    let shown: BTreeSet<_> = log.impressions.iter().collect();
    let played: BTreeSet<_> =
        log.plays.iter().filter(|(_, _, epoch)| *epoch == log.epoch).collect();
    let counts = [(Kind::Impression, shown.len()), (Kind::Play, played.len())];
    let counted = counts.into_iter().filter(|(_, events)| *events > 0);
    counted.map(|(kind, events)| row(log.epoch, kind, events as u64)).collect()
}
