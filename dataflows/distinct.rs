//! How many distinct events of each kind does an epoch have? The dataflow's part of the ledger.
//!
//! Definition: the number of pairs (request, video) with an accepted event of the kind whose event
//! time lies in the epoch, or of requests where the kind is denial. A play without an impression
//! counts too. `denied_events` is the number of those whose request is denied in the epoch.
//! Row: `(kind, epoch) → (distinct_events, denied_events)`, one per kind with at least one event.
//! State: three rows per open epoch. Cost: a few bit tests per change.
//! Reader: the ledger of every job, so this query is always on.

use crate::event::{Kind, Touch};
use crate::query::{
    AcceptedLog, Build, Column, ColumnType, EpochLog, EpochRows, Parameters, Query, Role, Row,
    Value, no_history,
};
use crate::showings::{Change, Showings};
use crate::time::Epoch;
use differential_dataflow::difference::{IsZero, Monoid, Semigroup};
use differential_dataflow::operators::CountTotal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The query.
pub static QUERY: Query = Query {
    name: "distinct",
    about: "distinct events of each kind in each epoch, for the ledger",
    version: 2,
    role: Role::Ledger,
    key: &[Column::new("kind", ColumnType::Kind, "impression, play or denial")],
    values: &[
        Column::new("distinct_events", ColumnType::Count, "events"),
        Column::new("denied_events", ColumnType::Count, "distinct events of denied requests"),
    ],
    parameters: &[],
    build: Build::Epoch(build),
    reads: &[],
    history_epochs: no_history,
    oracle,
    batch_sql: "
        SELECT 'impression' AS kind, epoch, count(*) AS distinct_events, 0 AS denied_events
        FROM (SELECT DISTINCT video_id, epoch, request_id FROM impressions) GROUP BY epoch
        UNION ALL
        SELECT 'play' AS kind, epoch, count(*) AS distinct_events, 0 AS denied_events
        FROM (SELECT DISTINCT video_id, epoch, request_id FROM plays) GROUP BY epoch",
};

/// The distinct events of each kind, and those of denied requests among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Counts([isize; 5]);

impl IsZero for Counts {
    fn is_zero(&self) -> bool {
        self.0 == [0; 5]
    }
}

impl Semigroup for Counts {
    fn plus_equals(&mut self, other: &Counts) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, more)| *sum += more);
    }
}

impl Monoid for Counts {
    fn zero() -> Counts {
        Counts::default()
    }
}

impl Counts {
    fn of(touch: Touch) -> Counts {
        let (shown, played) = (touch.has_impression(), touch.is_played_here());
        let denied = touch.is_denied();
        let counts = [shown, played, touch.is_denied_here(), shown && denied, played && denied];
        Counts(counts.map(isize::from))
    }

    fn gain(change: &Change) -> Counts {
        let (Counts(mut gain), Counts(before)) =
            (Counts::of(change.after), Counts::of(change.before));
        gain.iter_mut().zip(before).for_each(|(gain, before)| *gain -= before);
        Counts(gain)
    }

    fn rows(self, epoch: Epoch) -> impl Iterator<Item = Row> {
        let [impressions, plays, denials, denied_impressions, denied_plays] =
            self.0.map(|count| count.unsigned_abs() as u64);
        let counts = [
            (Kind::Impression, impressions, denied_impressions),
            (Kind::Play, plays, denied_plays),
            (Kind::Denial, denials, 0),
        ];
        let counted = counts.into_iter().filter(|(_, events, _)| *events > 0);
        counted.map(move |(kind, events, denied)| row(epoch, kind, events, denied))
    }
}

fn build<'scope>(showings: &Showings<'scope>, _: &Parameters) -> EpochRows<'scope> {
    let epoch = showings.epoch();
    let gains = showings.changes().accumulate(|change| ((), Counts::gain(change)));
    gains.count_total().flat_map(move |((), counts)| counts.rows(epoch))
}

fn row(epoch: Epoch, kind: Kind, events: u64, denied: u64) -> Row {
    QUERY.row(epoch, [Value::Kind(kind)], [Value::Count(events), Value::Count(denied)])
}

fn oracle(log: &AcceptedLog, _: &Parameters) -> BTreeSet<Row> {
    log.epochs.values().flat_map(rows).collect()
}

fn rows(log: &EpochLog) -> Vec<Row> {
    let shown: BTreeSet<_> = log.impressions.iter().collect();
    let played: BTreeSet<_> =
        log.plays.iter().filter(|(_, _, epoch)| *epoch == log.epoch).collect();
    let denials: BTreeSet<_> =
        log.denials.iter().filter(|(_, epoch)| *epoch == log.epoch).collect();
    let denied_impressions = shown.iter().filter(|(request, _)| log.is_denied(*request)).count();
    let denied_plays = played.iter().filter(|(request, ..)| log.is_denied(*request)).count();
    let counts = [
        (Kind::Impression, shown.len(), denied_impressions),
        (Kind::Play, played.len(), denied_plays),
        (Kind::Denial, denials.len(), 0),
    ];
    let counted = counts.into_iter().filter(|(_, events, _)| *events > 0);
    let row = |(kind, events, denied)| row(log.epoch, kind, events as u64, denied as u64);
    counted.map(row).collect()
}
