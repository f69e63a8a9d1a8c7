//! What the rows of a repeated log must add up to, counted from the records by the definition.

use crate::part::Record;
use serde::Serialize;
use std::collections::BTreeMap;
use trendmark::event::Kind;
use trendmark::time::{Definition, Epoch};

/// Sums over all rows of a store.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Sums {
    /// Different impressions: `impressions` of `trends`, and rows of `requests`.
    pub impressions: u64,
    /// Impressions that were played in their join window: `plays` of `trends` and of `requests`.
    pub plays: u64,
    /// Different plays, with or without an impression, as the ledger has them.
    pub distinct_plays: u64,
    /// Pairs of a played and another video of a request: `requests` of `choices`.
    pub choices: u64,
}

impl Sums {
    fn add(&mut self, other: Sums) {
        self.impressions += other.impressions;
        self.plays += other.plays;
        self.distinct_plays += other.distinct_plays;
        self.choices += other.choices;
    }
}

/// A record of one repetition, in the order in which showings are together.
type Sorted = ([u64; 2], u32, bool, i64);

/// Counts what the rows add up to. A repetition has other requests than the others, so they are
/// counted one by one; two whose times are equally far into an epoch have equal sums.
pub fn sums<'a>(
    records: impl Iterator<Item = &'a Record>,
    definition: &Definition,
    start_ms: i64,
    period_ms: i64,
    repetitions: u64,
) -> Sums {
    let mut sorted: Vec<Sorted> = records
        .map(|record| {
            let time_ms = i64::from(record.event_ms) + i64::from(record.wraps) * period_ms;
            (record.request, record.video, record.kind == Kind::Play as u16, start_ms + time_ms)
        })
        .collect();
    sorted.sort_unstable();
    let mut known: BTreeMap<i64, Sums> = BTreeMap::new();
    let mut sums = Sums::default();
    for repetition in 0..repetitions as i64 {
        let shift_ms = repetition * period_ms;
        let phase_ms = shift_ms.rem_euclid(definition.epoch_length_ms);
        let once = known.entry(phase_ms).or_insert_with(|| once(&sorted, definition, shift_ms));
        sums.add(*once);
    }
    sums
}

/// The sums of one repetition, whose times are later by `shift_ms`.
fn once(sorted: &[Sorted], definition: &Definition, shift_ms: i64) -> Sums {
    let mut sums = Sums::default();
    // The videos of a request, by epoch, with whether each was played in the join window.
    let mut shown: Vec<(Epoch, bool)> = Vec::new();
    for request in sorted.chunk_by(|one, next| one.0 == next.0) {
        shown.clear();
        for showing in request.chunk_by(|one, next| one.1 == next.1) {
            let split = showing.partition_point(|(_, _, is_play, _)| !is_play);
            let (impressions, plays) = showing.split_at(split);
            let played = epochs(plays, definition, shift_ms);
            sums.distinct_plays += played.len() as u64;
            for epoch in epochs(impressions, definition, shift_ms) {
                let last = epoch.plus(definition.join_window_epochs);
                shown.push((epoch, played.iter().any(|play| (epoch..=last).contains(play))));
            }
        }
        shown.sort_unstable();
        for videos in shown.chunk_by(|one, next| one.0 == next.0) {
            let played = videos.iter().filter(|(_, is_played)| *is_played).count() as u64;
            sums.impressions += videos.len() as u64;
            sums.plays += played;
            sums.choices += played * (videos.len() as u64 - played);
        }
    }
    sums
}

/// The different epochs of events that are sorted by time.
fn epochs(sorted: &[Sorted], definition: &Definition, shift_ms: i64) -> Vec<Epoch> {
    let epoch = |(_, _, _, time_ms): &Sorted| definition.epoch(time_ms + shift_ms);
    let mut epochs: Vec<Epoch> = sorted.iter().map(epoch).collect();
    epochs.dedup();
    epochs
}
