//! The oracle, which computes the expected results of a log from the definition, event by event;
//! and the tools for tests of the whole program: random logs, files, processes, contents of stores.
//!
//! The oracle shares nothing with the engine except the types of its input and output, [`Epoch`]
//! and the oracles of the queries.

#![allow(dead_code, reason = "every test binary uses another part")]

pub mod contents;
pub mod files;
pub mod fixture;
pub mod kills;
pub mod program;
pub mod random;
#[cfg(feature = "schema-registry")]
pub mod registry;
#[cfg(feature = "kafka")]
pub mod store_topics;
#[cfg(feature = "kafka")]
pub mod topics;
pub mod workspace;

use std::collections::{BTreeMap, BTreeSet};
use trendmark::dataflows;
use trendmark::event::{Event, Kind, RequestId, VideoId};
use trendmark::log::PartitionName;
use trendmark::query::{AcceptedLog, EpochLog, QueryInstance, Row};
use trendmark::time::{Definition, Epoch};

/// The queries of a run with `--query all`.
pub fn queries() -> Vec<QueryInstance> {
    let all = std::iter::once(&dataflows::LEDGER).chain(dataflows::ALL);
    all.map(|query| QueryInstance::new(query)).collect()
}

/// The partitions of a log, each in its order.
pub type Log = Vec<(PartitionName, Vec<Event>)>;

/// The numbers of events by epoch and kind: (accepted, late, future).
pub type Fates = BTreeMap<(Epoch, Kind), (u64, u64, u64)>;

/// The expected results of a log.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Expected {
    pub accepted: AcceptedLog,
    pub fates: Fates,
    /// The watermark of each partition, in milliseconds; none before the first event that is not
    /// future.
    pub watermarks_ms: BTreeMap<PartitionName, Option<i64>>,
    /// The fate of each event of each partition: `Some` of the epochs in which it counts, empty if
    /// it is late; `None` if it is future.
    pub events: BTreeMap<PartitionName, Vec<Option<Vec<Epoch>>>>,
}

impl Expected {
    /// The rows of a query.
    pub fn rows(&self, instance: &QueryInstance) -> BTreeSet<Row> {
        (instance.query.oracle)(&self.accepted, &instance.parameters)
    }
}

/// Decides on every event of every partition by the definition alone.
pub fn expect(definition: Definition, log: &Log) -> Expected {
    let mut expected = Expected::default();
    for (partition, events) in log {
        let mut latest_ms: Option<i64> = None;
        let mut fates_of_events = Vec::new();
        for event in events {
            let epoch = Epoch(event.event_time_ms.div_euclid(definition.epoch_length_ms));
            let fates = expected.fates.entry((epoch, partition.kind)).or_default();
            let limit_ms = event.record_time_ms.map(|at| at + definition.max_future_ms);
            if limit_ms.is_some_and(|limit_ms| event.event_time_ms > limit_ms) {
                fates.2 += 1;
                fates_of_events.push(None);
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
            let open = (first..=epoch.0).filter(|epoch| !has_closed(*epoch)).map(Epoch);
            let open: Vec<Epoch> = open.collect();
            match open.is_empty() {
                true => fates.1 += 1,
                false => fates.0 += 1,
            }
            for shown in &open {
                contribute(&mut expected.accepted.epochs, *shown, partition.kind, event, epoch);
            }
            fates_of_events.push(Some(open));
        }
        let watermark_ms = latest_ms.map(|latest_ms| latest_ms - definition.max_delay_ms);
        expected.watermarks_ms.insert(partition.clone(), watermark_ms);
        expected.events.insert(partition.clone(), fates_of_events);
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

/// An event without a record time.
pub fn event(offset: u64, request: u64, video: u64, event_time_ms: i64) -> Event {
    Event {
        offset,
        request: RequestId::from_u128(u128::from(request)),
        video: VideoId(video),
        event_time_ms,
        record_time_ms: None,
    }
}
