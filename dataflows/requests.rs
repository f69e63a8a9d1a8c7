//! Which request ids does `trends` count? The sets of plays and impressions themselves.
//!
//! Definition: `impressions(v, e)` = the request ids with an accepted impression of video v in
//! epoch e; `plays(v, e)` = the subset with an accepted play of v in `e ..= e + H`. Requests that
//! are denied in e are in neither, see `--denied`.
//! Row: `(video, epoch, request) → (shown, played)`, one per member of `impressions(v, e)`, so
//! `shown` is always 1 and `played` says whether it is in `plays(v, e)` too.
//! State: none of its own. Cost: one row per member, and another when it is played.
//! Reader: audits of the counts in `trends`, and joins of the requests with other logs.

use crate::event::{RequestId, Touch, VideoId};
use crate::query::{
    AcceptedLog, Build, Column, ColumnType, EpochLog, EpochRows, Parameters, Query, Role, Row,
    Value, no_history,
};
use crate::showings::Showings;
use crate::time::Epoch;
use std::collections::BTreeSet;

/// The query.
pub static QUERY: Query = Query {
    name: "requests",
    about: "the request ids behind every count in trends",
    version: 1,
    role: Role::Set,
    key: &[
        Column::new("video_id", ColumnType::Video, "id of a video"),
        Column::new("request_id", ColumnType::Request, "id of a page or row"),
    ],
    values: &[
        Column::new("shown", ColumnType::Flag, "1: in impressions"),
        Column::new("played", ColumnType::Flag, "1: in plays"),
    ],
    parameters: &[],
    build: Build::Epoch(build),
    reads: &[],
    history_epochs: no_history,
    oracle,
    batch_sql: "
        WITH played AS (SELECT DISTINCT video_id, epoch, request_id FROM plays)
        SELECT shown.video_id, shown.request_id, shown.epoch, true AS shown,
               bool_or(played.epoch IS NOT NULL) AS played
        FROM impressions AS shown LEFT JOIN played
          ON played.request_id = shown.request_id AND played.video_id = shown.video_id
         AND played.epoch BETWEEN shown.epoch AND shown.epoch + $H
        GROUP BY ALL",
};

fn build<'scope>(showings: &Showings<'scope>, _: &Parameters) -> EpochRows<'scope> {
    let epoch = showings.epoch();
    showings.changes().flat_map(move |change| {
        let row_of = |touch| member(epoch, change.video, change.request, touch);
        let (before, after) = (row_of(change.before), row_of(change.after));
        let changed = before != after;
        let updates = [(before, -1), (after, 1)];
        updates
            .into_iter()
            .filter_map(move |(row, diff)| row.filter(|_| changed).map(|row| (row, diff)))
    })
}

/// Returns the row of a showing, if it is in `impressions(v, e)`.
fn member(epoch: Epoch, video: VideoId, request: RequestId, touch: Touch) -> Option<Row> {
    touch.is_shown().then(|| row(epoch, video, request, touch.is_converted()))
}

fn row(epoch: Epoch, video: VideoId, request: RequestId, played: bool) -> Row {
    QUERY.row(
        epoch,
        [Value::Video(video), Value::Request(request)],
        [Value::Flag(true), Value::Flag(played)],
    )
}

fn oracle(log: &AcceptedLog, _: &Parameters) -> BTreeSet<Row> {
    log.each_epoch(rows)
}

fn rows(log: &EpochLog) -> Vec<Row> {
    let played: BTreeSet<_> =
        log.plays.iter().map(|(request, video, _)| (request, video)).collect();
    let rows = log.impressions.iter().map(|(request, video)| {
        row(log.epoch, *video, *request, played.contains(&(request, video)))
    });
    rows.collect()
}
