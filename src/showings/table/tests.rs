//! The table equals a map, whatever arrives and in whatever order.

use super::super::changes::Known;
use super::super::touches::{Lanes, Pool};
use super::requests::tag;
use super::*;
use crate::event::VideoId;
use crate::time::Round;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

type Showings = BTreeMap<(RequestId, VideoId), Touch>;

/// Buffers of touches, as they arrive from another worker.
fn buffers(touches: &[(RequestId, VideoId, Touch)]) -> Vec<Vec<u64>> {
    let pool = Pool::default();
    let mut lanes = Lanes::new(1, pool.clone());
    let round = Round::from_word(7);
    let mut sent = Vec::new();
    for (request, video, touch) in touches {
        sent.extend(lanes.push(round, *request, *video, *touch));
    }
    sent.extend(lanes.drain());
    sent.into_iter().map(|touches| touches.into_owned(&pool)).collect()
}

/// A table and the map that it must equal.
struct Compared {
    table: Table,
    map: Showings,
    /// The map when the log was last taken.
    before: Showings,
}

impl Compared {
    fn new(logs: bool) -> Compared {
        let table = Table::new(Expected::default(), BlockPool::default(), logs);
        Compared { table, map: Showings::new(), before: Showings::new() }
    }

    /// Applies touches to both. Every change must be one of the map.
    fn apply(&mut self, touches: &[(RequestId, VideoId, Touch)]) {
        let mut changes = Vec::new();
        for words in buffers(touches) {
            self.table.apply(&words, &mut changes, |_| {});
        }
        let mut expected = Vec::new();
        for (request, video, touch) in touches {
            let showing = self.map.entry((*request, *video)).or_default();
            let (before, after) = (*showing, showing.or(*touch));
            *showing = after;
            if before != after {
                expected.push((*request, *video, before, after));
            }
        }
        let changes = changes.iter().map(|one| (one.request, one.video, one.before, one.after));
        // One buffer after another, and within each in order.
        assert_eq!(changes.collect::<Vec<_>>(), expected);
    }

    /// Compares the showings of all requests of the map.
    fn check(&self) {
        let Table { key, directory, requests, strays, videos, .. } = &self.table;
        let requests_of_map: BTreeSet<_> = self.map.keys().map(|(request, _)| *request).collect();
        for request in requests_of_map {
            let mut found = Vec::new();
            let mut visit = |Showing { video, touch }| found.push((videos.id(video), touch));
            let is_it = |number| requests.id(number) == request;
            match directory.find(tag(*key, request), is_it) {
                Some(number) => requests.visit(number, visit),
                None => strays.visit(request, &mut visit),
            }
            found.sort_unstable();
            assert_eq!(found, Self::of(&self.map, request));
        }
    }

    fn of(showings: &Showings, request: RequestId) -> Vec<(VideoId, Touch)> {
        let all = (request, VideoId(0))..=(request, VideoId(u64::MAX));
        showings.range(all).map(|((_, video), touch)| (*video, *touch)).collect()
    }

    /// Compares all requests that changed since the last call.
    fn check_changed(&mut self, videos_max: usize) {
        let mut expected = BTreeMap::new();
        for ((request, video), touch) in &self.map {
            if self.before.get(&(*request, *video)) != Some(touch) {
                let [before, after] = [&self.before, &self.map].map(|one| Self::of(one, *request));
                if before.len() <= videos_max {
                    let after = (after.len() <= videos_max).then_some(after);
                    expected.insert(*request, (before, after));
                }
            }
        }
        let mut visited = BTreeMap::new();
        self.table.visit_changed(videos_max, |request, changed| {
            let (before, after) = changed.within(videos_max).unwrap();
            let Known::Showings(before) = before else { panic!("it has too many before") };
            let after = match after {
                Known::Showings(after) => Some(after.to_vec()),
                Known::Crowded => None,
            };
            assert_eq!(visited.insert(request, (before.to_vec(), after)), None);
        });
        assert_eq!(visited, expected);
        self.before.clone_from(&self.map);
    }
}

fn touches(requests: u64, videos: u64) -> impl Strategy<Value = Vec<(RequestId, VideoId, Touch)>> {
    let touch = prop::sample::select(vec![Touch::SHOWN, Touch::PLAYED, Touch::PLAYED_IN_EPOCH]);
    let one = (0..requests, 0..videos, touch).prop_map(|(request, video, touch)| {
        // The ids of requests differ in one word only, or in none but the lowest bits.
        let request = RequestId([request % 3, ((request / 3) << 60) | request]);
        (request, VideoId(video.wrapping_sub(2)), touch)
    });
    vec(one, 0..600)
}

fn portions() -> impl Strategy<Value = Vec<Vec<(RequestId, VideoId, Touch)>>> {
    let few = vec(touches(5, 200), 0..4);
    let many = vec(touches(300, 4), 0..4);
    prop_oneof![few, many]
}

/// Miri is some hundred times slower.
const CASES: u32 = if cfg!(miri) { 4 } else { 200 };
const CROWD: u64 = if cfg!(miri) { 200 } else { 5_000 };

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, ..Default::default() })]

    #[test]
    fn a_table_equals_a_map(portions in portions(), logs: bool) {
        let mut compared = Compared::new(logs);
        for touches in portions {
            compared.apply(&touches);
            compared.check();
        }
    }

    #[test]
    fn changed_requests_are_told_with_all_that_they_have(
        portions in portions(),
        videos_max in 0..60usize,
    ) {
        let mut compared = Compared::new(true);
        for touches in portions {
            compared.apply(&touches);
            compared.check_changed(videos_max);
        }
    }
}

/// Each kind of input that makes one part of the table large.
#[test]
fn crowds_of_any_kind_are_kept() {
    let request = |id: u64| RequestId([id, id.wrapping_mul(0x9e37_79b9_7f4a_7c15)]);
    let cases: [Vec<_>; 4] = [
        (0..CROWD).map(|id| (request(7), VideoId(id), Touch::SHOWN)).collect(),
        (0..CROWD).map(|id| (request(7), VideoId(id), Touch::PLAYED)).collect(),
        (0..CROWD).map(|id| (request(id), VideoId(3), Touch::PLAYED)).collect(),
        (0..CROWD).map(|id| (request(id), VideoId(3), Touch::SHOWN)).collect(),
    ];
    let mut compared = Compared::new(false);
    for touches in &cases {
        compared.apply(touches);
        compared.check();
    }
    // And in the other order, so that strays are recalled.
    let mut compared = Compared::new(true);
    for touches in cases.iter().rev() {
        compared.apply(touches);
        compared.check();
        compared.check_changed(1_000);
    }
}

#[test]
#[cfg_attr(miri, ignore = "it needs many showings")]
fn a_showing_takes_few_bytes() {
    let request = |id: u64| RequestId([id, id.wrapping_mul(0x9e37_79b9_7f4a_7c15)]);
    let expected = Expected { requests: 20_000, strays: 20_000 };
    let mut table = Table::new(expected, BlockPool::default(), false);
    let mut changes = Vec::new();
    // Twenty videos of each request, of which one is played in this epoch, and a play of another.
    for id in 0..20_000 {
        let shown = (0..20).map(|at| (request(id), VideoId(id % 500 * 20 + at), Touch::SHOWN));
        let played = [request(id), request(id + 1_000_000)];
        let played = played.map(|request| (request, VideoId(id % 500 * 20), Touch::PLAYED));
        for words in buffers(&shown.chain(played).collect::<Vec<_>>()) {
            table.apply(&words, &mut changes, Vec::clear);
        }
    }
    let StateSize { showings, of_shown, bytes } = table.size();
    assert_eq!((showings, of_shown), (420_000, 400_000));
    let showings = of_shown;
    assert!(bytes <= 10 * showings, "{} bytes a showing", bytes as f64 / showings as f64);
}
