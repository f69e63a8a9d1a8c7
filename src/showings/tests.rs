//! Both layouts give the same changes and sums, publication by publication.

use super::members::{
    Coverage, EpochMembers, Member, Members, MembersOfEpoch, MembersQueue, OfRequest,
};
use super::touches::Lanes;
use super::*;
use crate::event::{Touch, VideoId};
use crate::time::Publication;
use proptest::collection::vec;
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use timely::container::NoopBuilder;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::{Concatenate, Input, Inspect, Probe};

/// Touches in a round of a publication. Denials have a video too, which they do not tell.
type Sent = (u32, u32, Vec<(u64, u64, Touch)>);

/// The touches before and after of showings.
type Changed = BTreeMap<(RequestId, VideoId), (Touch, Touch)>;

/// What was emitted in a round: the touches before and after of each showing that changed, the
/// number of showings of each video, and the number of videos of each request.
#[derive(Clone, Debug, Default, PartialEq)]
struct Emitted {
    touches: Changed,
    by_video: BTreeMap<VideoId, isize>,
    by_touch: BTreeMap<Touch, isize>,
    by_request: BTreeMap<RequestId, isize>,
}

type AllEmitted = BTreeMap<Round, Emitted>;

/// The members that were left, by publication.
type Left = BTreeMap<u64, Vec<EpochMembers>>;

/// The last publication of a test, in which the epoch closes.
const LAST: u64 = 4;

/// Sends touches from two sources, of which one may be ahead of the other, and returns what the
/// layout emits, the sums that wait at the end of each round, and the members that are left. All
/// members are gathered in the publication `gather`.
fn emitted(layout: Layout, sent: [Vec<Sent>; 2], gather: u64) -> (AllEmitted, usize, Left) {
    timely::execute_directly(move |worker| {
        let (memory, waiting) = (Memory::default(), PendingSums::default());
        let queue = MembersQueue::default();
        let members = MembersOfEpoch::new(Epoch(0), queue.clone());
        members.gather(Publication(gather));
        let emitted: Rc<RefCell<AllEmitted>> = Rc::default();
        let mut inputs =
            [0, 1].map(|_| InputHandle::<Round, NoopBuilder<Touches>>::new_with_builder());
        let probe = worker.dataflow::<Round, _, _>(|scope| {
            let streams = inputs.each_mut().map(|input| scope.input_from(input));
            let touches = scope.concatenate(streams);
            let (waiting, members) = (waiting.clone(), Some(members.clone()));
            let showings = Showings::keep(Epoch(0), touches, layout, &memory, waiting, members);
            observe(&showings, &emitted)
        });
        let mut lanes = Lanes::new(1, memory.buffers.clone());
        let mut waited = 0;
        let [ahead, behind] = &sent;
        // One source is always a whole publication ahead.
        for (input, sent) in inputs.iter_mut().zip([ahead, behind]) {
            for (publication, position, touches) in sent {
                let round = Round::at(Publication(u64::from(*publication)), *position);
                input.advance_to(round);
                for (request, video, touch) in touches {
                    let (request, video) = (RequestId([*request, 0]), VideoId(*video));
                    let full = match touch.is_denied() {
                        true => lanes.deny(round, request, *touch),
                        false => lanes.push(round, request, video, *touch),
                    };
                    if let Some(mut full) = full {
                        input.send_batch(&mut full);
                    }
                }
                for mut touches in lanes.drain() {
                    input.send_batch(&mut touches);
                }
                for _ in 0..5 {
                    worker.step();
                }
                waited = waited.max(waiting.sums());
            }
        }
        members.close(Publication(LAST));
        drop(inputs);
        worker.step_while(|| !probe.done());
        assert_eq!(waiting.sums(), 0);
        let left = (0..=LAST).map(|one| (one, queue.take(Publication(one)))).collect();
        (emitted.take(), waited, left)
    })
}

/// Records everything that is derived from showings.
fn observe(
    showings: &Showings<'_>,
    emitted: &Rc<RefCell<AllEmitted>>,
) -> timely::dataflow::ProbeHandle<Round> {
    let probe = timely::dataflow::ProbeHandle::new();
    let into = Rc::clone(emitted);
    let visited = showings.changes().visit(move |round, changes| {
        let mut emitted = into.borrow_mut();
        let Emitted { touches, .. } = emitted.entry(round).or_default();
        for Change { request, video, before, after, .. } in changes {
            // A showing may change repeatedly in a publication, step by step.
            let of_showing = touches.entry((*request, *video)).or_insert((*before, *before));
            assert_eq!(of_showing.1, *before);
            of_showing.1 = *after;
        }
    });
    visited.probe_with(&probe);
    macro_rules! record {
        ($collection:expr, $field:ident) => {
            let into = Rc::clone(emitted);
            let recorded = $collection.inner.inspect(move |(data, round, diff)| {
                let mut emitted = into.borrow_mut();
                *emitted.entry(*round).or_default().$field.entry(*data).or_default() += diff;
            });
            recorded.probe_with(&probe);
        };
    }
    let changes = showings.changes();
    record!(changes.accumulate_by_video(|change| change.gain(Touch::is_shown)), by_video);
    record!(changes.accumulate(|change| (change.after, 1isize)), by_touch);
    let by_request = showings.by_request(5, |request, before, after, update| {
        let count = |known: Known<'_>| known.unless_crowded().len() as isize;
        update(request, count(after) - count(before));
    });
    record!(by_request, by_request);
    probe
}

fn sent() -> impl Strategy<Value = Vec<Sent>> {
    let touch = prop_oneof![
        9 => prop::sample::select(vec![Touch::SHOWN, Touch::PLAYED, Touch::PLAYED_IN_EPOCH]),
        1 => prop::sample::select(vec![Touch::DENIED, Touch::DENIED_IN_EPOCH]),
    ];
    // Video 0 is for denials.
    let touches = vec((0..9u64, 1..10u64, touch), 0..40);
    vec((0..4u32, 0..3u32, touches), 0..8).prop_map(|mut sent| {
        sent.sort_by_key(|(publication, position, _)| (*publication, *position));
        sent
    })
}

/// The showings of all requests, and their denials as showings of video 0.
type Map = BTreeMap<(RequestId, VideoId), Touch>;

/// Returns the showings of a request, each with the bit of its denial if there is one.
fn of_request(map: &Map, request: RequestId) -> Map {
    let denied = map.get(&(request, VideoId(0))).map_or(Touch::NONE, |_| Touch::DENIED);
    let showings = map.range((request, VideoId(0))..=(request, VideoId(u64::MAX)));
    showings.map(|(showing, touch)| (*showing, touch.or(denied))).collect()
}

/// The effect of touches alone: a map that is changed publication by publication.
fn expected(sent: &[Vec<Sent>; 2]) -> BTreeMap<Round, Changed> {
    let mut map = Map::new();
    let mut expected: BTreeMap<Round, BTreeMap<_, (Touch, Touch)>> = BTreeMap::new();
    let mut all: Vec<_> = sent.iter().flatten().collect();
    all.sort_by_key(|(publication, ..)| *publication);
    for (publication, _, touches) in all {
        let last = Round::last(Publication(u64::from(*publication)));
        for (request, video, touch) in touches {
            let request = RequestId([*request, 0]);
            let video = VideoId(if touch.is_denied() { 0 } else { *video });
            let before = of_request(&map, request);
            let touched = map.entry((request, video)).or_default();
            *touched = touched.or(*touch);
            for (showing, after) in of_request(&map, request) {
                let before = before.get(&showing).copied().unwrap_or_default();
                if before != after {
                    let changed = expected.entry(last).or_default();
                    changed.entry(showing).or_insert((before, before)).1 = after;
                }
            }
        }
    }
    expected
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..Default::default() })]

    #[test]
    fn both_layouts_emit_what_a_map_says_in_the_last_round_of_each_publication(
        sent in [sent(), sent()],
    ) {
        let [(table, ..), (reference, ..)] =
            [Layout::Table, Layout::Reference].map(|layout| emitted(layout, sent.clone(), 0));
        let touches = |emitted: &AllEmitted| -> BTreeMap<_, _> {
            emitted.iter().map(|(round, one)| (*round, one.touches.clone())).collect()
        };
        prop_assert_eq!(touches(&table), expected(&sent));
        prop_assert_eq!(touches(&reference), expected(&sent));
        for (round, emitted) in &table {
            prop_assert_eq!(&emitted.by_video, &reference[round].by_video);
            let nonzero = |one: &Emitted| -> BTreeMap<_, _> {
                let sums = one.by_request.iter().map(|(request, sum)| (*request, *sum));
                sums.filter(|(_, sum)| *sum != 0).collect()
            };
            prop_assert_eq!(nonzero(emitted), nonzero(&reference[round]));
        }
    }
}

type Rows = BTreeMap<(u128, VideoId), Member>;

fn rows(members: &Members) -> Rows {
    let of_request = |(request, videos, members): OfRequest<'_>| {
        let showings = videos.iter().zip(members);
        showings.map(|(video, member)| ((request, *video), *member)).collect::<Vec<_>>()
    };
    members.requests().flat_map(of_request).collect()
}

/// The members after a publication.
fn members_after(sent: &[Vec<Sent>; 2], publication: u64) -> Rows {
    let before = |one: &Vec<Sent>| -> Vec<Sent> {
        one.iter().filter(|(of, ..)| u64::from(*of) <= publication).cloned().collect()
    };
    let mut touched: BTreeMap<_, Touch> = BTreeMap::new();
    for changed in expected(&[before(&sent[0]), before(&sent[1])]).into_values() {
        touched.extend(changed.into_iter().map(|(showing, (_, after))| (showing, after)));
    }
    let members =
        Members::of(touched.into_iter().map(|((request, video), touch)| (request, video, touch)));
    let mut rows = rows(&members);
    rows.retain(|_, member| *member != Member::Removed);
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..Default::default() })]

    #[test]
    fn both_layouts_leave_the_members_that_change_and_all_when_asked_and_at_the_end(
        sent in [sent(), sent()],
        gather in 0..=LAST,
    ) {
        for layout in [Layout::Table, Layout::Reference] {
            let (_, _, left) = emitted(layout, sent.clone(), gather);
            prop_assert_eq!(&left[&0], &[]);
            let mut known = members_after(&sent, 0);
            for publication in 1..=LAST {
                let expected = members_after(&sent, publication);
                let is_last = publication == LAST;
                for EpochMembers { coverage, members, .. } in &left[&publication] {
                    prop_assert!(!members.is_empty() || *coverage != Coverage::Changed);
                    prop_assert_eq!(*coverage == Coverage::Final, is_last);
                    prop_assert_eq!(
                        *coverage == Coverage::Worker,
                        publication == gather && !is_last
                    );
                    let rows = rows(members);
                    match coverage {
                        Coverage::Changed => {
                            let has_changed = |(row, member)| known.get(row) != Some(member);
                            prop_assert!(rows.iter().all(has_changed));
                        }
                        Coverage::Worker | Coverage::Final => {
                            prop_assert_eq!(&rows, &expected);
                            known.clear();
                        }
                    }
                    known.extend(rows);
                    known.retain(|_, member| *member != Member::Removed);
                }
                prop_assert_eq!(&known, &expected);
                if publication == gather || is_last {
                    let nothing = left[&publication].iter().all(|one| one.members.is_empty());
                    prop_assert_eq!(nothing, expected.is_empty());
                }
            }
        }
    }
}

#[test]
fn sums_wait_for_the_end_of_their_publication_but_not_those_of_the_replay() {
    let touches = vec![(1, 1, Touch::SHOWN), (2, 2, Touch::SHOWN), (3, 2, Touch::SHOWN)];
    let of = |publication| {
        let end = vec![(publication, 1, vec![])];
        [vec![(publication, 0, touches.clone()), (publication, 1, vec![])], end]
    };
    // Two videos and one touch. Requests are told of when the publication is over.
    assert_eq!(emitted(Layout::Table, of(3), 0).1, 3);
    assert_eq!(emitted(Layout::Table, of(0), 0).1, 0);
}
