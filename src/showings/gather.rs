//! Holds touches back until there are many, or until their publication is over.
//!
//! A play is looked up in each epoch whose impressions it may follow. A round has few plays for
//! each of these epochs, and looking up few among many misses the cache each time: in the
//! arrangement, in its filters, and in the sums that the changes are added to. Many plays together
//! access all of these in order. Rows are not visible before their publication is over, so touches
//! need not be arranged until there are many, or the publication ends.
//!
//! Held touches do not keep a round from completing: they wait in the last round of their
//! publication, with the capability for it.

use super::touches::{self, Pool, Touches};
use crate::time::{Publication, Round};
use std::collections::BTreeMap;
use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::ParallelizationContract;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

/// The held touches of a publication.
struct HeldTouches {
    /// The capability to pass them on in the last round of the publication.
    capability: Capability<Round>,
    buffers: Vec<Vec<u64>>,
    words: usize,
}

impl HeldTouches {
    /// Adds a buffer of touches. It is copied into the previous buffer if it fits, so that half of
    /// the capacity of all buffers is used, however small they arrive.
    fn add(&mut self, words: Vec<u64>, pool: &Pool) {
        self.words += words.len();
        let last = self.buffers.last_mut();
        if last.is_some_and(|last| touches::append(last, &words)) {
            pool.recycle(words);
        } else {
            self.buffers.push(words);
        }
    }
}

/// Passes touches on in portions of at least `words_min` words, and the rest of a publication
/// when it is over. Each portion is in some round of the publication of its touches.
pub(super) fn gather<'scope>(
    stream: Stream<'scope, Round, Touches>,
    pact: impl ParallelizationContract<Round, Touches>,
    words_min: usize,
    pool: Pool,
) -> Stream<'scope, Round, Touches> {
    let mut publications: BTreeMap<Publication, HeldTouches> = BTreeMap::new();
    stream.unary_frontier::<NoopBuilder<Touches>, _, _, _>(pact, "GatherTouches", move |_, _| {
        move |(input, frontier), output| {
            let mut pass_on = |capability: &Capability<Round>, buffers: Vec<Vec<u64>>| {
                let mut session = output.session_with_builder(capability);
                for words in buffers {
                    session.give_container(&mut Touches::in_round(words, *capability.time()));
                }
            };
            input.for_each(|capability, touches| {
                let Some(capability) = capability.retain_least(0) else { return };
                let publication = capability.time().publication();
                let held = publications.entry(publication).or_insert_with(|| HeldTouches {
                    capability: capability.delayed(&Round::last(publication)),
                    buffers: Vec::new(),
                    words: 0,
                });
                held.add(std::mem::take(touches).into_owned(&pool), &pool);
                if held.words >= words_min
                    && let Some(held) = publications.remove(&publication)
                {
                    pass_on(&capability, held.buffers);
                }
            });
            while let Some(entry) = publications.first_entry()
                && !frontier.less_equal(entry.get().capability.time())
            {
                let held = entry.remove();
                pass_on(&held.capability, held.buffers);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::touches::{Lanes, request_groups};
    use super::*;
    use crate::event::{RequestId, Touch, VideoId};
    use std::cell::{Cell, RefCell};
    use std::ops::Range;
    use std::rc::Rc;
    use timely::dataflow::InputHandle;
    use timely::dataflow::channels::pact::Pipeline;
    use timely::dataflow::operators::{Input, Probe};

    /// A container of touches of one round, with one video for each of these requests.
    fn touches(round: Round, requests: Range<u64>) -> Touches {
        let mut lanes = Lanes::new(1, Pool::default());
        for request in requests {
            let full = lanes.push(round, RequestId([request, 0]), VideoId(7), Touch::SHOWN);
            assert!(full.is_none());
        }
        lanes.drain().next().unwrap()
    }

    /// A container that was passed on: the number of containers sent before, its round and its
    /// requests.
    type PassedOn = (usize, Round, Vec<u64>);

    /// Records the containers that are passed on, with the number of containers sent before.
    fn record<'scope>(
        stream: Stream<'scope, Round, Touches>,
        sent: Rc<Cell<usize>>,
        passed_on: Rc<RefCell<Vec<PassedOn>>>,
    ) -> Stream<'scope, Round, Touches> {
        stream.unary::<NoopBuilder<Touches>, _, _, _>(Pipeline, "Record", |_, _| {
            move |input, _| {
                input.for_each(|capability, container| {
                    let words = container.words();
                    let requests = request_groups(words).map(|(_, group)| group.request.0[0]);
                    let round = touches::round(words).unwrap();
                    assert_eq!(capability.least(), Some(&round));
                    passed_on.borrow_mut().push((sent.get(), round, requests.collect()));
                });
            }
        })
    }

    /// Sends containers of touches, each in its round, and returns those that are passed on.
    fn gathered(words_min: usize, containers: &[(Round, Range<u64>)]) -> Vec<PassedOn> {
        let containers = containers.to_vec();
        timely::execute_directly(move |worker| {
            let (sent, passed_on) = (Rc::new(Cell::new(0)), Rc::default());
            let mut input = InputHandle::<Round, NoopBuilder<Touches>>::new_with_builder();
            let probe = worker.dataflow::<Round, _, _>(|scope| {
                let stream = scope.input_from(&mut input);
                let gathered = gather(stream, Pipeline, words_min, Pool::default());
                record(gathered, Rc::clone(&sent), Rc::clone(&passed_on)).probe().0
            });
            for (round, requests) in containers {
                input.advance_to(round);
                // Held touches do not keep a round from completing.
                worker.step_while(|| probe.less_than(&round));
                input.send_batch(&mut touches(round, requests));
                sent.set(sent.get() + 1);
                for _ in 0..9 {
                    worker.step();
                }
            }
            drop(input);
            worker.step_while(|| !probe.done());
            passed_on.take()
        })
    }

    #[test]
    fn few_touches_wait_for_the_end_of_their_publication() {
        let [one, other] = [5, 6].map(Publication);
        let sent = [
            (Round::at(one, 0), 0..3),
            (Round::at(one, 1), 3..5),
            (Round::at(one, 7), 2..3),
            (Round::at(other, 0), 5..6),
            (Round::at(other, 1), 6..8),
        ];
        let expected =
            [(3, Round::last(one), vec![0, 1, 2, 3, 4, 2]), (5, Round::last(other), vec![5, 6, 7])];
        assert_eq!(gathered(1000, &sent), expected);
    }

    #[test]
    fn many_touches_wait_for_nothing() {
        let round = |position| Round::at(Publication(5), position);
        let sent = [(round(0), 0..9), (round(1), 9..20), (round(2), 20..21), (round(3), 21..50)];
        // Each touch has four words, and each container one more for its round.
        let expected =
            [(2, round(1), (0..20).collect()), (4, round(3), (20..50).collect::<Vec<_>>())];
        assert_eq!(gathered(70, &sent), expected);
    }

    #[test]
    fn with_a_minimum_of_zero_no_touch_waits() {
        let [first, last] = [Round::first, Round::last].map(|round| round(Publication(5)));
        let sent = [(first, 0..1), (last, 1..3)];
        let expected = [(1, first, vec![0]), (2, last, vec![1, 2])];
        assert_eq!(gathered(0, &sent), expected);
    }

    #[test]
    fn small_containers_are_joined_up_to_the_maximum_size() {
        let sent = (0..5u32).map(|position| {
            let first = u64::from(position) * 900;
            (Round::at(Publication(5), position), first..first + 900)
        });
        let passed_on = gathered(usize::MAX, &sent.collect::<Vec<_>>());
        let lengths: Vec<_> = passed_on.iter().map(|(_, _, requests)| requests.len()).collect();
        assert_eq!(lengths, [1800, 1800, 900]);
        let requests = passed_on.into_iter().flat_map(|(_, _, requests)| requests);
        assert!(requests.eq(0..4500));
    }
}
