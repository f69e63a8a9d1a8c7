//! Honest logs, and the same logs with records among them that are not honest.

use super::random::definitions_with;
use super::{Log, event};
use proptest::collection::vec;
use proptest::prelude::*;
use trendmark::event::{Event, Kind};
use trendmark::log::PartitionName;
use trendmark::time::Definition;

const MINUTE_MS: i64 = 60_000;

/// Honest requests and videos have smaller ids, the others larger ones.
pub const HONEST_MAX: u64 = 1_000;

/// A log, and the same log under attack.
#[derive(Clone, Debug)]
pub struct Campaign {
    pub definition: Definition,
    pub honest: Log,
    pub attacked: Log,
}

/// The steps from which an honest event is made: of the time, of its stamp (in thousandths of half
/// a leap), of its event time before the stamp, its request and its video.
type Honest = (i64, i64, Option<i64>, u64, u64);

fn honest() -> impl Strategy<Value = Honest> {
    let step = prop_oneof![30 => 0..3i64, 3 => 0..60i64, 1 => 0..20_000i64];
    (step, -1_000..=1_000i64, proptest::option::of(0..40i64), 0..8u64, 0..4u64)
}

/// What a record that is not honest claims: its stamp and event time relative to the honest time
/// around it, in minutes.
fn claim() -> impl Strategy<Value = (i64, i64, bool)> {
    let ahead = prop_oneof![
        3 => -100..100i64,
        3 => 0..5_000i64,
        1 => Just(4_000_000_000i64),
        1 => -1_000_000..0i64,
    ];
    (ahead.clone(), ahead, any::<bool>())
}

fn honest_events(definition: &Definition, steps: Vec<Honest>) -> Vec<Event> {
    let mut now_ms = 0;
    let events = steps.into_iter().map(|(step, off, before, request, video)| {
        now_ms += step * MINUTE_MS;
        let stamp_ms = now_ms + off * definition.max_leap_ms / 2_000;
        let mut event = event(0, request, video, stamp_ms - before.unwrap_or(0) * MINUTE_MS);
        event.record_time_ms = before.map(|_| stamp_ms);
        event
    });
    events.collect()
}

/// Mixes claims into honest events: at most a third of every K records, and of the last ones.
fn mix(support: usize, honest: &[Event], claims: Vec<(bool, (i64, i64, bool))>) -> Vec<Event> {
    let (mut mixed, mut are_honest): (Vec<Event>, Vec<bool>) = Default::default();
    let mut honest = honest.iter();
    for (number, (is_claim, (stamp, time, has_record_time))) in claims.into_iter().enumerate() {
        let recent = are_honest.iter().rev().take(support - 1).filter(|is_honest| !**is_honest);
        if is_claim && 3 * (recent.count() + 1) <= support {
            let near_ms = honest.as_slice().first().map_or(0, Event::stamp_ms);
            let id = HONEST_MAX + number as u64 % 5;
            let mut event = event(0, id, id, near_ms + time * MINUTE_MS);
            event.record_time_ms = has_record_time.then_some(near_ms + stamp * MINUTE_MS);
            mixed.push(event);
            are_honest.push(false);
        } else if let Some(event) = honest.next() {
            mixed.push(*event);
            are_honest.push(true);
        }
    }
    mixed.extend(honest);
    without_last_claims(support, mixed)
}

/// Drops claims near the end, so that they are at most a third of the last records too, however
/// many.
fn without_last_claims(support: usize, mixed: Vec<Event>) -> Vec<Event> {
    let (mut kept, mut claims) = (Vec::new(), 0);
    for event in mixed.into_iter().rev() {
        let is_claim = event.video.0 >= HONEST_MAX;
        if is_claim && kept.len() < support && 3 * (claims + 1) > kept.len() + 1 {
            continue;
        }
        claims += usize::from(is_claim);
        kept.push(event);
    }
    kept.reverse();
    kept
}

/// A log of up to three partitions, and the same log under attack. The offsets of the honest events
/// are the same in both.
pub fn campaigns() -> impl Strategy<Value = Campaign> {
    let partition = (any::<bool>(), vec(honest(), 0..150), vec((any::<bool>(), claim()), 0..200));
    // A third of the support is at least one record.
    (definitions_with(3..30usize), vec(partition, 1..4)).prop_map(|(definition, partitions)| {
        let (mut honest, mut attacked) = (Log::new(), Log::new());
        for (number, (is_play, steps, claims)) in partitions.into_iter().enumerate() {
            let kind = if is_play { Kind::Play } else { Kind::Impression };
            let name = PartitionName { kind, name: format!("partition {number}") };
            let events = honest_events(&definition, steps);
            let mut mixed = mix(definition.leap_support, &events, claims);
            mixed.iter_mut().zip(0..).for_each(|(event, offset)| event.offset = offset);
            let is_honest = |event: &&Event| event.video.0 < HONEST_MAX;
            let alone = mixed.iter().filter(is_honest).copied().collect();
            honest.push((name.clone(), alone));
            attacked.push((name, mixed));
        }
        Campaign { definition, honest, attacked }
    })
}
