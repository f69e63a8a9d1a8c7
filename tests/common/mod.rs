//! The oracle, which computes the expected results of a log from the definition, event by event;
//! and the tools for tests of the whole program: random logs, files, processes, contents of stores.
//!
//! The oracle shares nothing with the engine except the types of its input and output, [`Epoch`]
//! and the oracles of the queries.

#![allow(dead_code, reason = "every test binary uses another part")]

pub mod adversary;
pub mod checked;
pub mod contents;
pub mod files;
pub mod fixture;
pub mod http;
pub mod kills;
pub mod link;
#[cfg(feature = "parquet")]
pub mod members;
pub mod program;
pub mod random;
#[cfg(feature = "kafka")]
pub mod reading;
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

/// The numbers of events by epoch and kind: (accepted, late, future). Late and future events far
/// from the watermark of their partition have no epoch.
pub type Fates = BTreeMap<(Option<Epoch>, Kind), (u64, u64, u64)>;

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
    expect_prefix(definition, log, |_| usize::MAX)
}

/// Like [`expect`], with watermarks as far ahead as records that are not honest may move them: by a
/// maximum leap and a maximum future more than the honest stamps, K events early.
pub fn expect_hasty(definition: Definition, log: &Log) -> Expected {
    let Definition { max_leap_ms, max_future_ms, leap_support, .. } = definition;
    let latest_ms = |events: &[Event], at: usize| {
        let near = &events[..events.len().min(at + leap_support)];
        near.iter().map(Event::stamp_ms).max().map(|stamp| stamp + max_leap_ms + max_future_ms)
    };
    expect_with(definition, log, |_| usize::MAX, latest_ms)
}

/// Like [`expect`], but only the first events of each partition count, `read` of it. The others are
/// known: whether a stamp is plausible depends on the events that follow it.
pub fn expect_prefix(
    definition: Definition,
    log: &Log,
    read: impl Fn(&PartitionName) -> usize,
) -> Expected {
    expect_with(definition, log, read, |_, _| None)
}

/// Decides on every event, with the time `hasty_ms` where it is later than the latest event time of
/// the partition.
fn expect_with(
    definition: Definition,
    log: &Log,
    read: impl Fn(&PartitionName) -> usize,
    hasty_ms: impl Fn(&[Event], usize) -> Option<i64>,
) -> Expected {
    let mut expected = Expected::default();
    for (partition, events) in log {
        let plausible = plausible(definition, events);
        let mut latest_ms: Option<i64> = None;
        let mut fates_of_events = Vec::new();
        let judged = events.iter().zip(plausible).take(read(partition));
        for (at, (event, is_plausible)) in judged.enumerate() {
            let epoch = Epoch(event.event_time_ms.div_euclid(definition.epoch_length_ms));
            let near = near_epoch(definition, latest_ms, epoch);
            let stamp_ms = event.record_time_ms.unwrap_or(event.event_time_ms);
            let is_after = event.event_time_ms >= definition.until_ms;
            if !is_plausible
                || is_after
                || event.event_time_ms > stamp_ms + definition.max_future_ms
            {
                expected.fates.entry((near, partition.kind)).or_default().2 += 1;
                fates_of_events.push(None);
                continue;
            }
            if event.event_time_ms < definition.from_ms {
                expected.fates.entry((near, partition.kind)).or_default().1 += 1;
                fates_of_events.push(Some(Vec::new()));
                continue;
            }
            latest_ms = latest_ms.max(Some(event.event_time_ms)).max(hasty_ms(events, at));
            let watermark_ms = latest_ms.unwrap() - definition.max_delay_ms;
            let has_closed = |epoch: i64| {
                let end_ms =
                    (epoch + definition.join_window_epochs + 1) * definition.epoch_length_ms;
                watermark_ms >= end_ms
            };
            let first = match partition.kind {
                Kind::Impression => epoch.0,
                Kind::Play | Kind::Denial => epoch.0 - definition.join_window_epochs,
            };
            let open = (first..=epoch.0).filter(|epoch| !has_closed(*epoch)).map(Epoch);
            let open: Vec<Epoch> = open.collect();
            if open.is_empty() {
                let near = near_epoch(definition, latest_ms, epoch);
                expected.fates.entry((near, partition.kind)).or_default().1 += 1;
            } else {
                expected.fates.entry((Some(epoch), partition.kind)).or_default().0 += 1;
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

/// The epoch of a rejected event, if it is near the last one that its partition has closed.
fn near_epoch(definition: Definition, latest_ms: Option<i64>, epoch: Epoch) -> Option<Epoch> {
    let watermark_ms = latest_ms? - definition.max_delay_ms;
    let last_closed =
        watermark_ms.div_euclid(definition.epoch_length_ms) - definition.join_window_epochs - 1;
    ((epoch.0 - last_closed).abs() <= 1_000).then_some(epoch)
}

/// Whether the stamp of each event of a partition is plausible, if the log is read to its end.
pub fn plausible(definition: Definition, events: &[Event]) -> Vec<bool> {
    let (leap_ms, support) = (definition.max_leap_ms, definition.leap_support);
    let stamp = |event: &Event| event.record_time_ms.unwrap_or(event.event_time_ms);
    let span = 16 * support as u64;
    // The events of the current block, and the supported time.
    let mut block: Vec<&Event> = Vec::new();
    let mut supported_ms: Option<i64> = None;
    let mut verdicts = Vec::new();
    for (at, event) in events.iter().enumerate() {
        if block.first().is_some_and(|first| event.offset >= first.offset + span) {
            block.clear();
        }
        let is_near = supported_ms.is_some_and(|at_ms| stamp(event) <= at_ms + leap_ms);
        let following: Vec<&Event> = events[at..]
            .iter()
            .take(support)
            .take_while(|follower| follower.offset < event.offset + span)
            .collect();
        let is_near_it = |follower: &&&Event| stamp(follower) >= stamp(event) - leap_ms;
        let supporters = following.iter().filter(is_near_it).count();
        verdicts.push(is_near || 2 * supporters >= following.len());
        block.push(event);
        if block.len() == support {
            let mut stamps: Vec<i64> = block.iter().map(|event| stamp(event)).collect();
            stamps.sort_unstable();
            supported_ms = supported_ms.max(Some(stamps[support.div_ceil(2) - 1]));
            block.clear();
        }
    }
    verdicts
}

fn contribute(
    epochs: &mut BTreeMap<Epoch, EpochLog>,
    shown: Epoch,
    kind: Kind,
    event: &Event,
    epoch: Epoch,
) {
    let (impressions, plays, denials) = Default::default();
    let empty = || EpochLog { epoch: shown, impressions, plays, denials };
    let log = epochs.entry(shown).or_insert_with(empty);
    match kind {
        Kind::Impression => log.impressions.push((event.request, event.video)),
        Kind::Play => log.plays.push((event.request, event.video, epoch)),
        Kind::Denial => log.denials.push((event.request, epoch)),
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
