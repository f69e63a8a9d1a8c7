//! Which request ids make up the numbers: the sets of plays and impressions themselves.
//!
//! Definition: `impressions(v, e)` = the request ids with an accepted impression of video v in
//! epoch e; `plays(v, e)` = those of them with an accepted play of it in `e ..= e + H`.
//! Row: `(video, epoch, request) → (shown, played)`, one per member of `impressions(v, e)`, so
//! `shown` is always 1 and `played` says whether it is in `plays(v, e)` too.
//! State: none of its own. Cost: a row a member, and another when it is played.
//! Reader: whoever audits a number of `trends`, or joins the requests with other logs.

use crate::event::{RequestId, Touch, VideoId};
use crate::query::{Column, ColumnType, EpochLog, Query, Row, Rows};
use crate::showings::Showings;
use std::collections::BTreeSet;

/// The query.
pub static QUERY: Query = Query {
    name: "requests",
    about: "the request ids behind every number of trends",
    version: 1,
    key: &[
        Column::new("video_id", ColumnType::Video, "id of a video"),
        Column::new("request_id", ColumnType::Request, "id of a page or row"),
    ],
    values: &[
        Column::new("shown", ColumnType::Flag, "1: in impressions"),
        Column::new("played", ColumnType::Flag, "1: in plays"),
    ],
    build,
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

fn build<'scope>(showings: &Showings<'scope>) -> Rows<'scope> {
    showings.changes().flat_map(|change| {
        let row_of = |touch| member(change.video, change.request, touch);
        let (before, after) = (row_of(change.before), row_of(change.after));
        let changed = before != after;
        let updates = [(before, -1), (after, 1)];
        updates
            .into_iter()
            .filter_map(move |(row, diff)| row.filter(|_| changed).map(|row| (row, diff)))
    })
}

/// The row of a showing, if it is in `impressions(v, e)`.
fn member(video: VideoId, request: RequestId, touch: Touch) -> Option<Row> {
    touch.is_shown().then(|| row(video, request, touch.is_converted()))
}

fn row(VideoId(video): VideoId, RequestId([high, low]): RequestId, played: bool) -> Row {
    Row { key: [video, high, low], values: [1, u64::from(played)], ..Row::default() }
}

fn oracle(log: &EpochLog) -> BTreeSet<Row> {
    let played: BTreeSet<_> =
        log.plays.iter().map(|(request, video, _)| (request, video)).collect();
    let rows = log.impressions.iter().map(|(request, video)| {
        let played = played.contains(&(request, video));
        Row { epoch: log.epoch.0, ..row(*video, *request, played) }
    });
    rows.collect()
}
