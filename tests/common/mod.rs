//! The oracle: what a log must come to, computed from its definition, one event after another; and
//! what tests of the whole program need: random logs, files, processes and the contents of stores.
//!
//! The oracle shares nothing with the engine but the types of its input and output, [`Epoch`] and
//! the oracles of the queries.

#![allow(dead_code, reason = "every test binary uses another part")]

pub mod contents;
pub mod files;
pub mod fixture;
pub mod kills;
pub mod place;
pub mod program;
pub mod random;
pub mod registry;
pub mod topics;

use std::collections::{BTreeMap, BTreeSet};
use trendmark::dataflows;
use trendmark::event::{Event, Kind, RequestId, VideoId};
use trendmark::query::{EpochLog, Query, Row};
use trendmark::sources::PartitionName;
use trendmark::time::{Definition, Epoch};

/// The queries of a run with `--query all`.
pub fn queries() -> Vec<&'static Query> {
    std::iter::once(&dataflows::distinct::QUERY).chain(dataflows::ALL).collect()
}

/// The partitions of a log, each in its order.
pub type Log = Vec<(PartitionName, Vec<Event>)>;

/// What became of the events of an epoch and kind: (accepted, late, future).
pub type Fates = BTreeMap<(Epoch, Kind), (u64, u64, u64)>;

/// What a log comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Expected {
    pub epochs: BTreeMap<Epoch, EpochLog>,
    pub fates: Fates,
}

impl Expected {
    /// The rows of a query.
    pub fn rows(&self, query: &Query) -> BTreeSet<Row> {
        self.epochs.values().flat_map(|log| (query.oracle)(log)).collect()
    }
}

/// Judges every event of every partition by the definition alone.
pub fn expect(definition: Definition, log: &Log) -> Expected {
    let mut expected = Expected::default();
    for (partition, events) in log {
        let mut latest_ms: Option<i64> = None;
        for event in events {
            let epoch = Epoch(event.event_time_ms.div_euclid(definition.epoch_length_ms));
            let fates = expected.fates.entry((epoch, partition.kind)).or_default();
            let limit_ms = event.record_time_ms.map(|at| at + definition.max_future_ms);
            if limit_ms.is_some_and(|limit_ms| event.event_time_ms > limit_ms) {
                fates.2 += 1;
                continue;
            }
            latest_ms = latest_ms.max(Some(event.event_time_ms));
            let watermark_ms = latest_ms.unwrap() - definition.max_delay_ms;
            let has_closed = |epoch: i64| {
                let end_ms =
                    (epoch + definition.join_window_epochs + 1) * definition.epoch_length_ms;
                watermark_ms >= end_ms
            };
            let first = match partition.kind {
                Kind::Impression => epoch.0,
                Kind::Play => epoch.0 - definition.join_window_epochs,
            };
            let open: Vec<i64> = (first..=epoch.0).filter(|epoch| !has_closed(*epoch)).collect();
            if open.is_empty() {
                fates.1 += 1;
                continue;
            }
            fates.0 += 1;
            for shown in open.into_iter().map(Epoch) {
                contribute(&mut expected.epochs, shown, partition.kind, event, epoch);
            }
        }
    }
    expected
}

fn contribute(
    epochs: &mut BTreeMap<Epoch, EpochLog>,
    shown: Epoch,
    kind: Kind,
    event: &Event,
    epoch: Epoch,
) {
    let empty = || EpochLog { epoch: shown, impressions: vec![], plays: vec![] };
    let log = epochs.entry(shown).or_insert_with(empty);
    match kind {
        Kind::Impression => log.impressions.push((event.request, event.video)),
        Kind::Play => log.plays.push((event.request, event.video, epoch)),
    }
}

/// An event without a timestamp of its record.
pub fn event(offset: u64, request: u64, video: u64, event_time_ms: i64) -> Event {
    Event {
        offset,
        request: RequestId::from_u128(u128::from(request)),
        video: VideoId(video),
        event_time_ms,
        record_time_ms: None,
    }
}
