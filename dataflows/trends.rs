//! How often was each video shown in each epoch, and how often did that lead to a play?
//!
//! Definition: `impressions` = the number of request ids with an accepted impression of the video
//! in epoch e; `plays` = the number of these with an accepted play of it in `e ..= e + H`. Requests
//! that are denied in e are in neither, see `--denied`.
//! Row: `(video, epoch) → (plays, impressions)`, one per video and epoch with an impression.
//! State: one row per video and open epoch. Cost: a hash lookup per change, and a few per row.
//! Reader: analysts, and the row "Trending Now".

use crate::event::{Touch, VideoId};
use crate::query::{
    AcceptedLog, Build, Column, ColumnType, EpochLog, EpochRows, Parameters, Query, Role, Row,
    Value, no_history,
};
use crate::showings::Showings;
use crate::time::Epoch;
use differential_dataflow::operators::CountTotal;
use std::collections::{BTreeMap, BTreeSet};

/// The query.
pub static QUERY: Query = Query {
    name: "trends",
    about: "plays and impressions of each video in each epoch",
    version: 1,
    role: Role::Main,
    key: &[Column::new("video_id", ColumnType::Video, "id of a video")],
    values: &[
        Column::new("plays", ColumnType::Count, "request ids"),
        Column::new("impressions", ColumnType::Count, "request ids"),
    ],
    parameters: &[],
    build: Build::Epoch(build),
    reads: &[],
    history_epochs: no_history,
    oracle,
    batch_sql: "
        WITH played AS (SELECT DISTINCT video_id, epoch, request_id FROM plays),
             known AS (
                 SELECT shown.video_id, shown.epoch, shown.request_id,
                        bool_or(played.epoch IS NOT NULL) AS played
                 FROM impressions AS shown LEFT JOIN played
                   ON played.request_id = shown.request_id AND played.video_id = shown.video_id
                  AND played.epoch BETWEEN shown.epoch AND shown.epoch + $H
                 GROUP BY ALL)
        SELECT video_id, epoch, count(*) FILTER (played) AS plays, count(*) AS impressions
        FROM known GROUP BY ALL",
};

fn build<'scope>(showings: &Showings<'scope>, _: &Parameters) -> EpochRows<'scope> {
    let epoch = showings.epoch();
    showings
        .changes()
        .accumulate_by_video(|change| {
            (change.gain(Touch::is_converted), change.gain(Touch::is_shown))
        })
        .count_total()
        .map(move |(video, (plays, impressions))| {
            row(epoch, video, plays.unsigned_abs() as u64, impressions.unsigned_abs() as u64)
        })
}

fn row(epoch: Epoch, video: VideoId, plays: u64, impressions: u64) -> Row {
    QUERY.row(epoch, [Value::Video(video)], [Value::Count(plays), Value::Count(impressions)])
}

/// Returns the video, epoch, plays and impressions of a row of `trends`.
pub(super) fn counts(row: &Row) -> (VideoId, Epoch, u64, u64) {
    match QUERY.values_of(row)[..] {
        [Value::Video(video), Value::Count(plays), Value::Count(impressions)] => {
            (video, row.epoch, plays, impressions)
        }
        _ => unreachable!("rows of trends are checked"),
    }
}

fn oracle(log: &AcceptedLog, _: &Parameters) -> BTreeSet<Row> {
    log.each_epoch(rows)
}

fn rows(log: &EpochLog) -> Vec<Row> {
    let played: BTreeSet<_> =
        log.plays.iter().map(|(request, video, _)| (request, video)).collect();
    let mut shown: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (request, video) in &log.impressions {
        shown.entry(video).or_default().insert(request);
    }
    let rows = shown.into_iter().map(|(video, requests)| {
        let plays = requests.iter().filter(|request| played.contains(&(**request, video))).count();
        row(log.epoch, *video, plays as u64, requests.len() as u64)
    });
    rows.collect()
}
