//! Holds touches back until many have come together, or their publication is over.
//!
//! A play is looked up in each epoch whose impressions it may follow. A round brings few plays to
//! each of these epochs, and each look-up of few among many misses the cache: in what is known, in
//! its filter, and in the sums that the changes go to. Looked up together, many plays go through
//! all of these in order. As nobody sees rows before a publication is over, only their number
//! decides when touches are arranged, and the publication's end.
//!
//! What is held keeps no round from becoming complete: it waits in the last round of its
//! publication, for which it holds the capability.

use super::touches::{self, Pool, Touches};
use crate::rounds;
use std::collections::BTreeMap;
use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::ParallelizationContract;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

/// Touches of a publication that wait.
struct Held {
    /// Allows to pass them on in the last round of the publication.
    capability: Capability<u64>,
    buffers: Vec<Vec<u64>>,
    words: usize,
}

impl Held {
    /// Adds a buffer of touches. It is copied if it fits into the one before, so that half of the
    /// room in all buffers is used, however small they come.
    fn add(&mut self, words: Vec<u64>, pool: &Pool) {
        self.words += words.len();
        let last = self.buffers.last_mut();
        if last.is_some_and(|last| touches::append(last, &words)) {
            pool.give_back(words);
        } else {
            self.buffers.push(words);
        }
    }
}

/// Passes touches on in portions of at least so many words, or what there is of a publication when
/// it is over. Each portion is in some round of the publication of its touches.
pub(super) fn gather<'scope>(
    stream: Stream<'scope, u64, Touches>,
    pact: impl ParallelizationContract<u64, Touches>,
    words_together: usize,
    pool: Pool,
) -> Stream<'scope, u64, Touches> {
    let mut publications: BTreeMap<u64, Held> = BTreeMap::new();
    stream.unary_frontier::<NoopBuilder<Touches>, _, _, _>(pact, "Gather", move |_, _| {
        move |(input, frontier), output| {
            let mut pass_on = |capability: &Capability<u64>, buffers: Vec<Vec<u64>>| {
                let mut session = output.session_with_builder(capability);
                for words in buffers {
                    session.give_container(&mut Touches::in_round(words, *capability.time()));
                }
            };
            input.for_each(|capability, touches| {
                let Some(capability) = capability.retain_least(0) else { return };
                let publication = rounds::publication(*capability.time());
                let held = publications.entry(publication).or_insert_with(|| Held {
                    capability: capability.delayed(&rounds::last(publication)),
                    buffers: Vec::new(),
                    words: 0,
                });
                held.add(std::mem::take(touches).into_owned(&pool), &pool);
                if held.words >= words_together
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
    use super::super::touches::stretches;
    use super::*;
    use crate::event::{RequestId, Touch, VideoId};
    use crate::showings::touches::Lanes;
    use std::cell::RefCell;
    use std::rc::Rc;
    use timely::dataflow::InputHandle;
    use timely::dataflow::channels::pact::Pipeline;
    use timely::dataflow::operators::{Input, Probe};

    /// A container of touches of one round: of these requests, one video each.
    fn touches(round: u64, requests: std::ops::Range<u64>) -> Touches {
        let mut lanes = Lanes::new(1, Pool::default());
        for request in requests {
            let full = lanes.push(round, RequestId([request, 0]), VideoId(7), Touch::SHOWN);
            assert!(full.is_none());
        }
        lanes.drain().next().unwrap()
    }

    /// A container that was passed on: the round that it says, how many containers had come before
    /// in the step of the same number, and its requests.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct PassedOn {
        after: usize,
        round: u64,
        requests: Vec<u64>,
    }

    /// Sends touches, each container in its round, and returns what is passed on once all rounds
    /// before have become complete.
    fn gathered(words_together: usize, sent: &[(u64, std::ops::Range<u64>)]) -> Vec<PassedOn> {
        let sent = sent.to_vec();
        timely::execute_directly(move |worker| {
            let (passed_on, step) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(0)));
            let (seen, after) = (Rc::clone(&passed_on), Rc::clone(&step));
            let mut input = InputHandle::<u64, NoopBuilder<Touches>>::new_with_builder();
            let probe = worker.dataflow::<u64, _, _>(|scope| {
                let stream = scope.input_from(&mut input);
                let gathered = gather(stream, Pipeline, words_together, Pool::default());
                let output =
                    gathered.unary::<NoopBuilder<Touches>, _, _, _>(Pipeline, "", |_, _| {
                        move |input, _| {
                            input.for_each(|capability, container| {
                                let words = container.words();
                                assert_eq!(capability.least().copied(), touches::round(words));
                                let requests = stretches(words).map(|(_, it)| it.request.0[0]);
                                let (after, round) = (*after.borrow(), words[0]);
                                let requests = requests.collect();
                                seen.borrow_mut().push(PassedOn { after, round, requests });
                            });
                        }
                    });
                output.probe().0
            });
            for (round, requests) in sent {
                input.advance_to(round);
                // What is held keeps no round from becoming complete.
                worker.step_while(|| probe.less_than(&round));
                input.send_batch(&mut touches(round, requests));
                *step.borrow_mut() += 1;
                (0..9).for_each(|_| drop(worker.step()));
            }
            drop(input);
            worker.step_while(|| !probe.done());
            passed_on.take()
        })
    }

    fn passed_on(after: usize, round: u64, requests: impl Iterator<Item = u64>) -> PassedOn {
        PassedOn { after, round, requests: requests.collect() }
    }

    #[test]
    fn few_touches_wait_until_their_publication_is_over() {
        let (one, other) = (rounds::first(5), rounds::first(6));
        let sent =
            [(one, 0..3), (one + 1, 3..5), (one + 7, 2..3), (other, 5..6), (other + 1, 6..8)];
        let expected = [
            passed_on(3, rounds::last(5), (0..5).chain(2..3)),
            passed_on(5, rounds::last(6), 5..8),
        ];
        assert_eq!(gathered(1000, &sent), expected);
    }

    #[test]
    fn many_touches_wait_for_nothing() {
        let first = rounds::first(5);
        let sent = [(first, 0..9), (first + 1, 9..20), (first + 2, 20..21), (first + 3, 21..50)];
        // Of four words each, and one more for the round of a container.
        let expected = [passed_on(2, first + 1, 0..20), passed_on(4, first + 3, 20..50)];
        assert_eq!(gathered(70, &sent), expected);
        let at_once: Vec<_> = sent.iter().enumerate().collect();
        let at_once = at_once
            .into_iter()
            .map(|(step, (round, requests))| passed_on(step + 1, *round, requests.clone()));
        assert_eq!(gathered(0, &sent), at_once.collect::<Vec<_>>());
    }

    #[test]
    fn containers_are_joined_as_far_as_there_is_room_in_one() {
        let first = rounds::first(5);
        let sent = (0..5).map(|round| (first + round, round * 900..(round + 1) * 900));
        let passed_on = gathered(usize::MAX, &sent.collect::<Vec<_>>());
        let lengths: Vec<_> = passed_on.iter().map(|container| container.requests.len()).collect();
        assert_eq!(lengths, [1800, 1800, 900]);
        let requests = passed_on.into_iter().flat_map(|container| container.requests);
        assert!(requests.eq(0..4500));
    }
}
