//! The operator that keeps the showings of an epoch in a [`Table`].
//!
//! A publication's touches are applied as they arrive, whatever their order. Those of a later
//! publication wait until it is over, so that the changes of different publications stay separate.

use super::by_request::RequestReaders;
use super::changes::Change;
use super::members::{Coverage, MembersOfEpoch};
use super::table::Table;
use super::touches::{Touches, are_denials};
use super::{Memory, StateSize};
use crate::time::{Publication, Round};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::ParallelizationContract;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

/// The most changes in a message.
const MESSAGE_CHANGES: usize = 1024;
/// The most changes between two checks whether a message is full.
const MESSAGE_MARGIN: usize = 16;

/// How many changes are gathered before those are told who read by request.
const LOGGED_MAX: usize = 16 << 10;

/// The touches of a publication that are not applied.
struct Waiting {
    /// The capability for the last round of the publication.
    capability: Capability<Round>,
    buffers: Vec<Vec<u64>>,
}

/// Returns the changes of showings. `size` follows the state.
pub(super) fn keep<'scope>(
    touches: Stream<'scope, Round, Touches>,
    pact: impl ParallelizationContract<Round, Touches>,
    memory: &Memory,
    readers: RequestReaders,
    size: Rc<Cell<StateSize>>,
    members: Option<MembersOfEpoch>,
) -> Stream<'scope, Round, Rc<Vec<Change>>> {
    let memory = memory.clone();
    touches.unary_frontier::<NoopBuilder<Rc<Vec<Change>>>, _, _, _>(
        pact,
        "Showings",
        |capability, _| {
            let mut held = members.is_some().then_some(capability);
            let mut publications: BTreeMap<Publication, Waiting> = BTreeMap::new();
            let mut keeper: Option<Keeper> = None;
            move |(input, frontier), output| {
                input.for_each(|capability, touches| {
                    let Some(capability) = capability.retain_least(0) else { return };
                    let publication = capability.time().publication();
                    let waiting = publications.entry(publication).or_insert_with(|| Waiting {
                        capability: capability.delayed(&Round::last(publication)),
                        buffers: Vec::new(),
                    });
                    waiting.buffers.push(std::mem::take(touches).into_owned(&memory.buffers));
                });
                if let (Some(held), Some(of)) = (&held, &members)
                    && let Some(publication) = of.gather_in()
                {
                    publications.entry(publication).or_insert_with(|| Waiting {
                        capability: held.delayed(&Round::last(publication)),
                        buffers: Vec::new(),
                    });
                }
                while let Some(mut entry) = publications.first_entry()
                    && !frontier.less_than(&Round::first(*entry.key()))
                {
                    let keeper = keeper
                        .get_or_insert_with(|| Keeper::new(&memory, &readers, &size, &members));
                    let Waiting { capability, buffers } = entry.get_mut();
                    let last = *capability.time();
                    let mut session = output.session_with_builder(&*capability);
                    keeper.apply(last, buffers, |changes| {
                        session.give_container(&mut Rc::new(changes));
                    });
                    if frontier.less_equal(&last) {
                        break;
                    }
                    keeper.tell(last);
                    keeper.leave(last.publication());
                    drop(session);
                    entry.remove();
                }
                if let Some(of) = &members {
                    let all =
                        || keeper.as_mut().map_or_else(Default::default, |k| k.table.all_members());
                    of.follow(&mut held, &frontier.frontier().to_owned(), all);
                }
            }
        },
    )
}

/// A table with those who follow it.
struct Keeper {
    table: Table,
    memory: Memory,
    readers: RequestReaders,
    size: Rc<Cell<StateSize>>,
    members: Option<MembersOfEpoch>,
}

impl Keeper {
    fn new(
        memory: &Memory,
        readers: &RequestReaders,
        size: &Rc<Cell<StateSize>>,
        members: &Option<MembersOfEpoch>,
    ) -> Keeper {
        let has_readers = readers.videos_max().is_some();
        Keeper {
            table: Table::new(memory.expected.get(), memory.blocks.clone(), has_readers),
            memory: memory.clone(),
            readers: readers.clone(),
            size: Rc::clone(size),
            members: members.clone(),
        }
    }

    /// Applies touches of the publication with this last round, and sends what changes.
    fn apply(
        &mut self,
        last: Round,
        buffers: &mut Vec<Vec<u64>>,
        mut send: impl FnMut(Vec<Change>),
    ) {
        let is_replay = last.publication() == Publication::REPLAY;
        self.table.log_members(self.members.is_some() && !is_replay);
        let mut changes = Vec::with_capacity(MESSAGE_CHANGES);
        for words in buffers.drain(..) {
            let mut flush = |changes: &mut Vec<Change>| {
                if changes.len() > MESSAGE_CHANGES - MESSAGE_MARGIN {
                    send(std::mem::replace(changes, Vec::with_capacity(MESSAGE_CHANGES)));
                }
            };
            match are_denials(&words) {
                false => self.table.apply(&words, &mut changes, flush),
                true => {
                    self.table.deny(&words, &mut changes);
                    flush(&mut changes);
                }
            }
            self.memory.buffers.recycle(words);
            if self.table.logged() >= LOGGED_MAX {
                self.tell(last);
            }
        }
        if !changes.is_empty() {
            send(changes);
        }
        self.size.set(self.table.size());
        self.memory.expected.set(self.table.expected(self.memory.expected.get()));
    }

    /// Tells those who read by request what has changed.
    fn tell(&mut self, last: Round) {
        let Some(videos_max) = self.readers.videos_max() else { return };
        self.table.visit_changed(videos_max, |request, changed| {
            self.readers.read(last, request, changed);
        });
    }

    /// Leaves the members of the sets, after a publication.
    fn leave(&mut self, publication: Publication) {
        let Some(of) = &self.members else { return };
        let Some(coverage) = of.due_after(publication) else { return };
        let members = match coverage {
            Coverage::Changed => self.table.take_changed_members(),
            Coverage::Worker | Coverage::Final => self.table.all_members(),
        };
        of.leave(publication, coverage, members);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let expected = &self.memory.expected;
        expected.set(self.table.expected_next(expected.get()));
    }
}
