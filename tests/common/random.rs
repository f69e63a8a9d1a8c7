//! Random logs, with every kind of disorder that the definition covers.

use super::{Log, event};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use trendmark::event::{Event, Kind, VideoId};
use trendmark::log::PartitionName;
use trendmark::time::Definition;

const MINUTE_MS: i64 = 60_000;

/// The value of a strategy for a seed: always the same.
pub fn from_seed<S: Strategy>(strategy: &S, seed: u8) -> S::Value {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng);
    strategy.new_tree(&mut runner).unwrap().current()
}

/// Definitions with small numbers, so that many events lie at the edges.
pub fn definitions() -> impl Strategy<Value = Definition> {
    // Half of the definitions trust every stamp: a single event supports it.
    definitions_with(prop_oneof![2 => Just(1usize), 1 => 2..6usize, 1 => 6..40usize])
}

/// Such definitions, with this support of a leap.
pub fn definitions_with(
    support: impl Strategy<Value = usize>,
) -> impl Strategy<Value = Definition> {
    let numbers = (1..40i64, 0..5i64, 0..30i64, 0..30i64, 0..60i64, support);
    // One definition in five bounds the event times.
    let bounds = prop_oneof![
        4 => Just((None, None)),
        1 => (option::of(-20..60i64), option::of(60..400i64)),
    ];
    let all = Definition::default();
    (numbers, bounds).prop_map(move |(numbers, (from, until))| {
        let (length, window, delay, future, leap, leap_support) = numbers;
        Definition {
            epoch_length_ms: length * MINUTE_MS,
            join_window_epochs: window,
            max_delay_ms: delay * MINUTE_MS,
            max_future_ms: future * MINUTE_MS,
            max_leap_ms: leap * MINUTE_MS,
            leap_support,
            from_ms: from.map_or(all.from_ms, |minute| minute * MINUTE_MS),
            until_ms: until.map_or(all.until_ms, |minute| minute * MINUTE_MS),
        }
    })
}

/// Events whose times mostly rise, at and near full minutes, with jumps back and days ahead.
pub fn events() -> impl Strategy<Value = Vec<Event>> {
    let step = prop_oneof![
        20 => 0..3i64,
        4 => -20..20i64,
        1 => -300..300i64,
        1 => 0..4000i64,
    ];
    let edge_ms = prop_oneof![3 => Just(0), 1 => -1..=1i64, 1 => -MINUTE_MS..MINUTE_MS];
    let record = prop_oneof![2 => Just(None), 1 => (-40..40i64).prop_map(Some)];
    let one = (step, edge_ms, record, 0..12u64, 0..5u64, any::<bool>());
    vec(one, 0..120).prop_map(|steps| {
        let mut minute = 0;
        let mut events = Vec::new();
        for (step, edge_ms, record, request, video, again) in steps {
            let at_ms = (minute + step) * MINUTE_MS + edge_ms;
            minute = minute.max(minute + step.min(600));
            for _ in 0..if again { 2 } else { 1 } {
                let offset = events.len() as u64;
                let mut event = event(offset, request, video, at_ms);
                event.record_time_ms = record.map(|minutes| at_ms - minutes * MINUTE_MS);
                events.push(event);
            }
        }
        events
    })
}

/// An event as one of a kind: a denial has no video.
fn as_kind(kind: Kind, event: Event) -> Event {
    match kind.has_video() {
        true => event,
        false => Event { video: VideoId(0), ..event },
    }
}

/// Logs of up to four partitions, each of any kind.
pub fn logs() -> impl Strategy<Value = Log> {
    let kinds = prop_oneof![
        2 => Just(Kind::Impression),
        2 => Just(Kind::Play),
        1 => Just(Kind::Denial),
    ];
    let partition = (kinds, events());
    vec(partition, 0..5).prop_map(|partitions| {
        let named = partitions.into_iter().enumerate().map(|(number, (kind, events))| {
            let events = events.into_iter().map(|event| as_kind(kind, event)).collect();
            (PartitionName { kind, name: format!("partition {number}") }, events)
        });
        named.collect()
    })
}
