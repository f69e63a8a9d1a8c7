//! Queries and publications that tests of stores share.

use crate::event::{Kind, RequestId, VideoId};
use crate::ledger::{Ledger, Verdict};
use crate::query::{Column, ColumnType, EpochLog, Query, Row, Rows};
use crate::showings::Showings;
use crate::sources::PartitionName;
use crate::stores::{PartitionProgress, Publication, RowChange};
use crate::time::Epoch;
use std::collections::BTreeSet;

fn build<'scope>(_: &Showings<'scope>) -> Rows<'scope> {
    unimplemented!("stores never build a query")
}

fn oracle(_: &EpochLog) -> BTreeSet<Row> {
    unimplemented!("stores never compute a query")
}

const VIDEO: Column = Column::new("video_id", ColumnType::Video, "id");

pub static TRENDS: Query = Query {
    name: "trends",
    about: "plays and impressions of a video",
    version: 1,
    key: &[VIDEO],
    values: &[
        Column::new("plays", ColumnType::Count, "requests"),
        Column::new("impressions", ColumnType::Count, "requests"),
    ],
    build,
    oracle,
    batch_sql: "",
};

pub static REQUESTS: Query = Query {
    name: "requests",
    about: "which requests showed a video",
    version: 1,
    key: &[Column::new("request_id", ColumnType::Request, "id"), VIDEO],
    values: &[Column::new("played", ColumnType::Flag, "0 or 1")],
    build,
    oracle,
    batch_sql: "",
};

pub static DISTINCT: Query = Query {
    name: "distinct",
    about: "accepted events without their duplicates",
    version: 1,
    key: &[Column::new("kind", ColumnType::Kind, "impression or play")],
    values: &[Column::new("distinct_events", ColumnType::Count, "events")],
    build,
    oracle,
    batch_sql: "",
};

/// The queries, in the order that the functions below number them.
pub static QUERIES: [&Query; 3] = [&TRENDS, &REQUESTS, &DISTINCT];

fn change(query: usize, epoch: i64, key: [u64; 3], values: [u64; 2]) -> RowChange {
    RowChange { query, row: Row { epoch, key, values }, deleted: false }
}

/// A row of `trends`.
pub fn trend(video: u64, epoch: i64, plays: u64, impressions: u64) -> RowChange {
    change(0, epoch, [video, 0, 0], [plays, impressions])
}

/// A row of `requests`.
pub fn request(request: &str, video: u64, epoch: i64, played: bool) -> RowChange {
    let [high, low] = RequestId::parse(request).unwrap().0;
    change(1, epoch, [high, low, VideoId(video).0], [u64::from(played), 0])
}

/// A row of `distinct`.
pub fn distinct(kind: Kind, epoch: i64, events: u64) -> RowChange {
    change(2, epoch, [kind as u64, 0, 0], [events, 0])
}

/// The change that deletes a row.
pub fn deleted(change: RowChange) -> RowChange {
    RowChange { deleted: true, ..change }
}

/// A publication of rows alone.
pub fn publication(rows: Vec<RowChange>) -> Publication {
    Publication { rows, ..Publication::default() }
}

/// A ledger with so many events of each verdict.
pub fn ledger(epoch: i64, kind: Kind, accepted: u64, late: u64, future: u64) -> Ledger {
    let mut ledger = Ledger::default();
    let verdicts =
        [(Verdict::Accepted, accepted), (Verdict::Late, late), (Verdict::Future, future)];
    for (verdict, events) in verdicts {
        ledger.record(Epoch(epoch), kind, verdict, events);
    }
    ledger
}

/// The progress of a partition of the plays.
pub fn progress(name: &str, next_offset: u64, malformed: u64) -> PartitionProgress {
    PartitionProgress {
        partition: PartitionName { kind: Kind::Play, name: name.to_owned() },
        next_offset,
        watermark_ms: Some(1_767_225_600_500),
        replay_offset: next_offset / 2,
        replay_watermark_ms: None,
        malformed,
        idle: false,
    }
}
