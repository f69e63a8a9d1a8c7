//! Which requests have more videos than a person can have seen?
//!
//! Definition: a request is in `crowded(e)` if it has accepted impressions in epoch e, or accepted
//! plays in `e ..= e + H`, of more than `videos_max` videos. Requests that are denied in e are not,
//! see `--denied`.
//! Row: `(request, epoch) → crowded`, always 1, one per member.
//! State: none of its own. Cost: a request that changes has its videos counted up to the limit.
//! Reader: people who look for crawlers and broken clients, and who want to know what `choices`
//! leaves out.

use crate::event::RequestId;
use crate::query::{
    AcceptedLog, Build, Column, ColumnType, DefaultFrom, EpochLog, EpochRows, Parameter,
    ParameterUnit, Parameters, Query, Role, Row, Value, no_history,
};
use crate::showings::{Known, Showings};
use crate::time::Epoch;
use std::collections::{BTreeMap, BTreeSet};

/// How many videos a person can have seen.
pub(super) const VIDEOS_MAX: Parameter = Parameter {
    name: "videos_max",
    about: "number of videos of a request in an epoch above which it is crowded",
    unit: ParameterUnit::Count,
    default: 1_000,
    default_from: DefaultFrom::Nothing,
    min: 1,
    max: 100_000,
};

/// The query.
pub static QUERY: Query = Query {
    name: "crowded",
    about: "requests with more videos than a person can have seen",
    version: 1,
    role: Role::Set,
    key: &[Column::new("request_id", ColumnType::Request, "id of a page or row")],
    values: &[Column::new("crowded", ColumnType::Flag, "1: more videos than the limit")],
    parameters: &[VIDEOS_MAX],
    build: Build::Epoch(build),
    reads: &[],
    history_epochs: no_history,
    oracle,
    batch_sql: "
        SELECT request_id, epoch, true AS crowded
        FROM (SELECT request_id, video_id, epoch FROM impressions
              UNION ALL
              SELECT request_id, video_id, epoch - unnest(range($H + 1)) FROM plays)
        GROUP BY ALL HAVING count(DISTINCT video_id) > $videos_max",
};

fn build<'scope>(showings: &Showings<'scope>, parameters: &Parameters) -> EpochRows<'scope> {
    let epoch = showings.epoch();
    showings
        .by_request(videos_max(parameters), |request, before, after, update| {
            let is_crowded = |known| isize::from(known == Known::Crowded);
            // A crowded request that is denied is one no more.
            update(request, is_crowded(after) - is_crowded(before));
        })
        .map(move |request| row(epoch, request))
}

/// The value of [`VIDEOS_MAX`].
pub(super) fn videos_max(parameters: &Parameters) -> usize {
    usize::try_from(parameters.get("videos_max")).unwrap_or(usize::MAX)
}

fn row(epoch: Epoch, request: RequestId) -> Row {
    QUERY.row(epoch, [Value::Request(request)], [Value::Flag(true)])
}

fn oracle(log: &AcceptedLog, parameters: &Parameters) -> BTreeSet<Row> {
    log.each_epoch(|epoch| rows(epoch, videos_max(parameters)))
}

fn rows(log: &EpochLog, videos_max: usize) -> Vec<Row> {
    crowded(log, videos_max).into_iter().map(|request| row(log.epoch, request)).collect()
}

/// The crowded requests of an epoch, for oracles.
pub(super) fn crowded(log: &EpochLog, videos_max: usize) -> BTreeSet<RequestId> {
    let mut videos: BTreeMap<RequestId, BTreeSet<_>> = BTreeMap::new();
    let plays = log.plays.iter().map(|(request, video, _)| (*request, *video));
    for (request, video) in log.impressions.iter().copied().chain(plays) {
        videos.entry(request).or_default().insert(video);
    }
    videos.retain(|_, videos| videos.len() > videos_max);
    videos.into_keys().collect()
}
