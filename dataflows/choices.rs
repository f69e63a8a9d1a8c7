//! When two videos were shown together and one of them was played, which one was it?
//!
//! Definition: a request chose `winner` over `loser` in epoch e if it is in `plays(winner, e)` and
//! in `impressions(loser, e)` but not in `plays(loser, e)`.
//! Row: `(winner, loser, epoch) → requests`, the number of these requests, if there are any.
//! State: one row per pair and open epoch. Cost: a request with s videos, of which p were played,
//! has p (s - p) pairs, which are recomputed whenever the request changes.
//! Reader: training of pairwise rankings (Bradley-Terry), independent of a video's exposure.

use crate::event::VideoId;
use crate::query::{
    AcceptedLog, Build, Column, ColumnType, EpochLog, EpochRows, Parameters, Query, Role, Row,
    Value, no_history,
};
use crate::showings::{Known, Showings};
use crate::time::Epoch;
use differential_dataflow::operators::CountTotal;
use std::collections::{BTreeMap, BTreeSet};

/// The query.
pub static QUERY: Query = Query {
    name: "choices",
    about: "how often a video was played instead of another shown with it",
    version: 1,
    role: Role::Table,
    key: &[
        Column::new("winner_id", ColumnType::Video, "id of the played video"),
        Column::new("loser_id", ColumnType::Video, "id of the video shown but not played"),
    ],
    values: &[Column::new("requests", ColumnType::Count, "request ids")],
    parameters: &[],
    build: Build::Epoch(build),
    reads: &[],
    history_epochs: no_history,
    oracle,
    batch_sql: "
        WITH played AS (SELECT DISTINCT video_id, epoch, request_id FROM plays),
             known AS MATERIALIZED (
                 SELECT shown.video_id, shown.epoch, shown.request_id,
                        bool_or(played.epoch IS NOT NULL) AS played
                 FROM impressions AS shown LEFT JOIN played
                   ON played.request_id = shown.request_id AND played.video_id = shown.video_id
                  AND played.epoch BETWEEN shown.epoch AND shown.epoch + $H
                 GROUP BY ALL)
        SELECT winner.video_id AS winner_id, loser.video_id AS loser_id, winner.epoch AS epoch,
               count(*) AS requests
        FROM known AS winner JOIN known AS loser USING (request_id, epoch)
        WHERE winner.played AND NOT loser.played
        GROUP BY ALL",
};

fn build<'scope>(showings: &Showings<'scope>, _: &Parameters) -> EpochRows<'scope> {
    let epoch = showings.epoch();
    showings
        .by_request(|before, after, update| {
            for_each_pair(before, |pair| update(pair, -1));
            for_each_pair(after, |pair| update(pair, 1isize));
        })
        .count_total()
        .map(move |((winner, loser), requests)| {
            row(epoch, winner, loser, requests.unsigned_abs() as u64)
        })
}

fn row(epoch: Epoch, winner: VideoId, loser: VideoId, requests: u64) -> Row {
    QUERY.row(epoch, [Value::Video(winner), Value::Video(loser)], [Value::Count(requests)])
}

fn for_each_pair(known: &Known, mut logic: impl FnMut((VideoId, VideoId))) {
    for (winner, _) in known.iter().filter(|(_, touch)| touch.is_converted()) {
        for (loser, touch) in known {
            if touch.is_shown() && !touch.is_converted() {
                logic((*winner, *loser));
            }
        }
    }
}

fn oracle(log: &AcceptedLog, _: &Parameters) -> BTreeSet<Row> {
    log.each_epoch(rows)
}

fn rows(log: &EpochLog) -> Vec<Row> {
    let played: BTreeSet<_> =
        log.plays.iter().map(|(request, video, _)| (request, video)).collect();
    let shown: BTreeSet<_> =
        log.impressions.iter().map(|(request, video)| (request, video)).collect();
    let mut requests: BTreeMap<_, u64> = BTreeMap::new();
    for &(request, winner) in shown.intersection(&played) {
        for &(_, loser) in shown.iter().filter(|(other, _)| *other == request) {
            if !played.contains(&(request, loser)) {
                *requests.entry((*winner, *loser)).or_default() += 1;
            }
        }
    }
    let rows = requests
        .into_iter()
        .map(|((winner, loser), requests)| row(log.epoch, winner, loser, requests));
    rows.collect()
}
