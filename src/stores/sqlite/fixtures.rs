//! Queries and publications shared by the tests of stores.

use super::SqliteStore;
use crate::acceptance::{Fate, Ledger};
use crate::event::{Kind, RequestId, VideoId};
use crate::log::{PartitionName, PartitionProgress};
use crate::query::{
    AcceptedLog, Build, Column, ColumnType, EpochRows, Parameters, Query, QueryInstance, Role, Row,
    Value, no_history,
};
use crate::showings::Showings;
use crate::stores::{Changeset, Claim, RowChange, Store, StoreError};
use crate::time::{Definition, Epoch, EpochRange, Through};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn build<'scope>(_: &Showings<'scope>, _: &Parameters) -> EpochRows<'scope> {
    unimplemented!("stores never build a query")
}

fn oracle(_: &AcceptedLog, _: &Parameters) -> BTreeSet<Row> {
    unimplemented!("stores never compute a query")
}

/// A query for tests, which is never built or computed.
pub const fn query(
    name: &'static str,
    role: Role,
    key: &'static [Column],
    values: &'static [Column],
) -> Query {
    Query {
        name,
        about: "a query of a test",
        version: 1,
        role,
        key,
        values,
        parameters: &[],
        build: Build::Epoch(build),
        reads: &[],
        history_epochs: no_history,
        oracle,
        batch_sql: "",
    }
}

const VIDEO: Column = Column::new("video_id", ColumnType::Video, "id");

pub static TRENDS: Query = query(
    "trends",
    Role::Main,
    &[VIDEO],
    &[
        Column::new("plays", ColumnType::Count, "requests"),
        Column::new("impressions", ColumnType::Count, "requests"),
    ],
);

pub static REQUESTS: Query = query(
    "requests",
    Role::Set,
    &[Column::new("request_id", ColumnType::Request, "id"), VIDEO],
    &[Column::new("played", ColumnType::Flag, "0 or 1")],
);

pub static DISTINCT: Query = query(
    "distinct",
    Role::Ledger,
    &[Column::new("kind", ColumnType::Kind, "impression or play")],
    &[
        Column::new("distinct_events", ColumnType::Count, "events"),
        Column::new("denied_events", ColumnType::Count, "events"),
    ],
);

/// A table without videos.
pub static KINDS: Query = query(
    "kinds",
    Role::Table,
    &[Column::new("kind", ColumnType::Kind, "impression or play")],
    &[Column::new("events", ColumnType::Count, "events")],
);

/// Instances of queries, with default parameters.
pub fn instances(queries: &[&'static Query]) -> Vec<QueryInstance> {
    queries.iter().copied().map(QueryInstance::new).collect()
}

/// The queries, in the order of the indices that the functions below use.
pub fn queries() -> Vec<QueryInstance> {
    instances(&[&TRENDS, &REQUESTS, &DISTINCT])
}

fn change(query: usize, row: Row) -> RowChange {
    RowChange { query, row, deleted: false }
}

/// A row of `trends`.
pub fn trend(video: u64, epoch: i64, plays: u64, impressions: u64) -> RowChange {
    let values = [plays, impressions].map(Value::Count);
    change(0, TRENDS.row(Epoch(epoch), [Value::Video(VideoId(video))], values))
}

/// A row of `requests`.
pub fn request(request: &str, video: u64, epoch: i64, played: bool) -> RowChange {
    let request = Value::Request(RequestId::parse(request).unwrap());
    let key = [request, Value::Video(VideoId(video))];
    change(1, REQUESTS.row(Epoch(epoch), key, [Value::Flag(played)]))
}

/// A row of `distinct`.
pub fn distinct(kind: Kind, epoch: i64, events: u64) -> RowChange {
    change(
        2,
        DISTINCT.row(Epoch(epoch), [Value::Kind(kind)], [Value::Count(events), Value::Count(0)]),
    )
}

/// Commits publications that a test does not number.
pub trait CommitNext {
    /// Commits the next publication.
    fn commit_next(&mut self, changes: &Changeset) -> Result<(), StoreError>;
}

impl<S: Store> CommitNext for S {
    fn commit_next(&mut self, changes: &Changeset) -> Result<(), StoreError> {
        let publication = self.progress()?.publication.next();
        self.commit(&Changeset { publication, ..changes.clone() })
    }
}

/// All epochs up to this one.
pub fn through(epoch: i64) -> Through {
    Through::Epoch(Epoch(epoch))
}

/// The change that deletes a row.
pub fn deleted(change: RowChange) -> RowChange {
    RowChange { deleted: true, ..change }
}

/// A publication of rows only.
pub fn publication(rows: Vec<RowChange>) -> Changeset {
    Changeset { rows, ..Changeset::default() }
}

/// A ledger with the given number of events of each fate.
pub fn ledger(epoch: i64, kind: Kind, accepted: u64, late: u64, future: u64) -> Ledger {
    let mut ledger = Ledger::default();
    let fate = Fate::Accepted(EpochRange::only(Epoch(epoch)));
    for (fate, events) in [(fate, accepted), (Fate::Late, late), (Fate::Future, future)] {
        ledger.record(Some(Epoch(epoch)), kind, fate, events);
    }
    ledger
}

/// The progress of a partition of `plays`.
pub fn progress(name: &str, next_offset: u64, malformed: u64) -> PartitionProgress {
    let partition = PartitionName { kind: Kind::Play, name: name.to_owned() };
    PartitionProgress {
        watermark_ms: Some(1_767_225_600_500),
        replay_offset: next_offset / 2,
        malformed,
        ..PartitionProgress::read_to(partition, next_offset)
    }
}

/// A folder, and the path of a store in it that is not there yet.
pub fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trends.db");
    (folder, path)
}

/// Opens the store of [`queries`] at a path.
pub fn create(path: &Path) -> SqliteStore {
    SqliteStore::open(path, &Definition::default(), &queries(), &Claim::default()).unwrap()
}
