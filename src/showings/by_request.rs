//! Collections derived from all showings of a request together.
//!
//! Only the operator that keeps the showings can say what else a request has, before it takes in
//! later touches. So those who read by request leave their logic with it. It calls them from time
//! to time within a publication, and what they add up is emitted when the publication is over.

use super::changes::{Changes, Known};
use super::sums::{HashedSums, HeldSums, LastRounds, PendingSums, add};
use super::table::Changed;
use crate::event::RequestId;
use crate::time::Round;
use differential_dataflow::difference::Semigroup;
use differential_dataflow::{AsCollection, VecCollection};
use std::cell::RefCell;
use std::hash::Hash;
use std::rc::Rc;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

/// Those who read by request, in the dataflow of an epoch.
#[derive(Clone, Default)]
pub(super) struct RequestReaders(Rc<RefCell<Vec<RequestReader>>>);

/// What is done with a request: the round, and its showings before and after.
type Logic = dyn FnMut(Round, RequestId, Known<'_>, Known<'_>);

struct RequestReader {
    videos_max: usize,
    logic: Box<Logic>,
}

impl RequestReaders {
    /// The most showings that any of them wants to see of a request, or `None` if there is nobody.
    pub(super) fn videos_max(&self) -> Option<usize> {
        self.0.borrow().iter().map(|reader| reader.videos_max).max()
    }

    /// Tells of a request that has changed in a publication with this last round.
    pub(super) fn read(&self, round: Round, request: RequestId, changed: &Changed) {
        for reader in self.0.borrow_mut().iter_mut() {
            if let Some((before, after)) = changed.within(reader.videos_max) {
                (reader.logic)(round, request, before, after);
            }
        }
    }
}

/// For every request that changed, emits updates computed from all its showings before and after.
/// Updates of a publication with the same data on the same worker are added up.
pub(super) fn by_request<'scope, D, R>(
    changes: &Changes<'scope>,
    readers: &RequestReaders,
    waiting: &PendingSums,
    videos_max: usize,
    mut logic: impl FnMut(RequestId, Known<'_>, Known<'_>, &mut dyn FnMut(D, R)) + 'static,
) -> VecCollection<'scope, Round, D, R>
where
    D: Clone + Eq + Hash + 'static,
    R: Semigroup + 'static,
{
    let held = Rc::new(RefCell::new(HeldSums::<HashedSums<D, R>>::new(waiting)));
    let read = Rc::clone(&held);
    readers.0.borrow_mut().push(RequestReader {
        videos_max,
        logic: Box::new(move |round, request, before, after| {
            read.borrow_mut().update(round, |sums| {
                logic(request, before, after, &mut |data, diff| add(sums, data, diff));
            });
        }),
    });
    let mut last_rounds = LastRounds::default();
    let updates = changes.stream().clone().unary_frontier(Pipeline, "ByRequest", move |_, _| {
        move |(input, frontier), output| {
            // Every request that was told of has a change in the same round.
            input.for_each(|capability, _| {
                let Some(round) = capability.least().copied() else { return };
                last_rounds.keep(round, || capability.delayed(&round, 0));
            });
            last_rounds.emit(&mut held.borrow_mut(), frontier, output);
        }
    });
    updates.as_collection()
}
