//! When two videos were shown together and one of them was played, which one was it?
//!
//! Definition: a request chose `winner` over `loser` in epoch e if it is in `plays(winner, e)` and
//! in `impressions(loser, e)` but not in `plays(loser, e)`. A request that touched more than
//! `videos_max` videos in e, by impressions or plays, chose none: no person sees so many. Nor did
//! one that is denied in e, see `--denied`.
//! Row: `(winner, loser, epoch) → requests`, the number of these requests, if there are any.
//! State: one row per pair and open epoch. Cost: a request with s videos, of which p were played,
//! has p (s - p) pairs. A video that changes changes at most 2 s of them.
//! Reader: training of pairwise rankings (Bradley-Terry), independent of a video's exposure.

use super::crowded::{self, videos_max};
use crate::event::{Touch, VideoId};
use crate::query::{
    AcceptedLog, Build, Column, ColumnType, EpochLog, EpochRows, Parameter, Parameters, Query,
    Role, Row, Value, no_history,
};
use crate::showings::Showings;
use crate::time::Epoch;
use differential_dataflow::operators::CountTotal;
use std::collections::{BTreeMap, BTreeSet};

/// The query.
pub static QUERY: Query = Query {
    name: "choices",
    about: "how often a video was played instead of another shown with it",
    version: 2,
    role: Role::Table,
    key: &[
        Column::new("winner_id", ColumnType::Video, "id of the played video"),
        Column::new("loser_id", ColumnType::Video, "id of the video shown but not played"),
    ],
    values: &[Column::new("requests", ColumnType::Count, "request ids")],
    parameters: &[Parameter {
        about: "number of videos of a request in an epoch above which it has no pairs",
        ..crowded::VIDEOS_MAX
    }],
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
                 GROUP BY ALL),
             touching AS (
                 SELECT request_id, video_id, epoch FROM impressions
                 UNION ALL
                 SELECT request_id, video_id, epoch - unnest(range($H + 1)) FROM plays),
             crowded AS (
                 SELECT request_id, epoch FROM touching
                 WHERE request_id IN (
                     SELECT request_id FROM touching GROUP BY ALL HAVING count(*) > $videos_max)
                 GROUP BY ALL HAVING count(DISTINCT video_id) > $videos_max)
        SELECT winner.video_id AS winner_id, loser.video_id AS loser_id, winner.epoch AS epoch,
               count(*) AS requests
        FROM known AS winner JOIN known AS loser USING (request_id, epoch)
        WHERE winner.played AND NOT loser.played
          AND (request_id, epoch) NOT IN (FROM crowded)
        GROUP BY ALL",
};

fn build<'scope>(showings: &Showings<'scope>, parameters: &Parameters) -> EpochRows<'scope> {
    let epoch = showings.epoch();
    let mut videos = Vec::new();
    showings
        .by_request(videos_max(parameters), move |_, before, after, update| {
            videos.clear();
            videos.extend(joined(before.unless_crowded(), after.unless_crowded()));
            for_each_changed_pair(&videos, update);
        })
        .count_total()
        .map(move |((winner, loser), requests)| {
            row(epoch, winner, loser, requests.unsigned_abs() as u64)
        })
}

fn row(epoch: Epoch, winner: VideoId, loser: VideoId, requests: u64) -> Row {
    QUERY.row(epoch, [Value::Video(winner), Value::Video(loser)], [Value::Count(requests)])
}

/// A video of a request, with its touches before and after.
type Video = (VideoId, Touch, Touch);

/// Joins the showings of a request before and after; both are sorted by video.
fn joined<'a>(
    before: &'a [(VideoId, Touch)],
    after: &'a [(VideoId, Touch)],
) -> impl Iterator<Item = Video> + 'a {
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    std::iter::from_fn(move || {
        let next = [before.peek(), after.peek()].into_iter().flatten().map(|(video, _)| *video);
        let video = next.min()?;
        let was = before.next_if(|(other, _)| *other == video).map_or(Touch::NONE, |one| one.1);
        let is = after.next_if(|(other, _)| *other == video).map_or(Touch::NONE, |one| one.1);
        Some((video, was, is))
    })
}

/// Calls `update` with the change of every pair of videos of which one has changed.
fn for_each_changed_pair(videos: &[Video], update: &mut dyn FnMut((VideoId, VideoId), isize)) {
    let changed = |(_, was, is): &Video| was != is;
    for (at, one) in videos.iter().enumerate().filter(|(_, one)| changed(one)) {
        for (position, other) in videos.iter().enumerate() {
            // A pair of which both have changed comes when the first one does.
            if position == at || position < at && changed(other) {
                continue;
            }
            for (winner, loser) in [(one, other), (other, one)] {
                let gain = isize::from(is_choice(winner.2, loser.2))
                    - isize::from(is_choice(winner.1, loser.1));
                if gain != 0 {
                    update((winner.0, loser.0), gain);
                }
            }
        }
    }
}

fn is_choice(winner: Touch, loser: Touch) -> bool {
    winner.is_converted() && loser.is_shown() && !loser.is_converted()
}

fn oracle(log: &AcceptedLog, parameters: &Parameters) -> BTreeSet<Row> {
    log.each_epoch(|epoch| rows(epoch, videos_max(parameters)))
}

fn rows(log: &EpochLog, videos_max: usize) -> Vec<Row> {
    let crowded = crowded::crowded(log, videos_max);
    let played: BTreeSet<_> =
        log.plays.iter().map(|(request, video, _)| (request, video)).collect();
    let shown: BTreeSet<_> =
        log.impressions.iter().map(|(request, video)| (request, video)).collect();
    let mut requests: BTreeMap<_, u64> = BTreeMap::new();
    for &(request, winner) in shown.intersection(&played).filter(|(one, _)| !crowded.contains(*one))
    {
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
