//! The showings of an epoch: which request saw and played which video.
//!
//! Impressions and plays of an epoch form one collection, (request, video), whose difference is a
//! [`Touch`]: a set of bits that adds by *or*. Duplicate events therefore change nothing, and the
//! join of plays with impressions is the accumulated touch of a showing. The collection is kept
//! once, and all queries of the epoch read it:
//!
//! - [`Showings::changes`] emits the showings whose touch changed, publication by publication.
//! - [`Showings::by_request`] does the same for all showings of a request together.
//!
//! Rows are not visible within a publication, and *or* does not depend on order. So the state that
//! a reader needs is that after a publication, and its touches need neither be sorted nor be kept
//! apart by time: [`table`] is the layout that this allows. `reference.rs` computes the same with
//! differential's own operators; tests compare them.
//!
//! [`Touch`]: crate::event::Touch

mod by_request;
pub mod changes;
mod keep;
pub mod members;
mod reference;
pub mod sums;
pub mod table;
#[cfg(test)]
mod tests;
pub mod touches;

pub use changes::{Change, Changes, Known};

use crate::event::RequestId;
use crate::time::{Epoch, Round};
use by_request::RequestReaders;
use differential_dataflow::VecCollection;
use differential_dataflow::difference::Semigroup;
use members::MembersOfEpoch;
use std::cell::Cell;
use std::hash::Hash;
use std::rc::Rc;
use sums::PendingSums;
use table::{BlockPool, Expected};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::DistributorPact;
use touches::{Pool, ToOwner, Touches};

/// How the showings of an epoch are kept. The results are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// In a [`table`].
    #[default]
    Table,
    /// In an arrangement of differential dataflow: the plain way, slower, for tests.
    Reference,
}

/// Memory that the epochs of a worker pass on to each other.
#[derive(Clone, Default)]
pub struct Memory {
    /// The buffers of touches.
    pub buffers: Pool,
    blocks: BlockPool,
    /// What an epoch is expected to have.
    expected: Rc<Cell<Expected>>,
}

/// The showings of one epoch, as they change.
pub struct Showings<'scope> {
    epoch: Epoch,
    changes: Changes<'scope>,
    readers: RequestReaders,
    waiting: PendingSums,
    size: Rc<Cell<StateSize>>,
}

/// How large the state of an epoch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateSize {
    /// The number of showings, with plays of requests that nothing was shown to.
    pub showings: u64,
    /// The number of showings of requests that something was shown to.
    pub of_shown: u64,
    /// The bytes that they take, whatever is in them.
    pub bytes: u64,
}

impl StateSize {
    /// Returns the size of two states together.
    #[must_use]
    pub fn plus(self, other: StateSize) -> StateSize {
        StateSize {
            showings: self.showings + other.showings,
            of_shown: self.of_shown + other.of_shown,
            bytes: self.bytes + other.bytes,
        }
    }
}

impl<'scope> Showings<'scope> {
    /// Keeps touches by request, on the worker that owns the request. Every container must hold
    /// touches of one owner and one round, as those of [`touches::Lanes`] do. `waiting` counts the
    /// sums that queries hold until a publication is over. The members of the sets are left as
    /// `members` tells, if anybody wants them.
    pub fn keep(
        epoch: Epoch,
        touches: Stream<'scope, Round, Touches>,
        layout: Layout,
        memory: &Memory,
        waiting: PendingSums,
        members: Option<MembersOfEpoch>,
    ) -> Showings<'scope> {
        let to_owner = DistributorPact(|_workers| ToOwner);
        let (readers, size) = (RequestReaders::default(), Rc::default());
        let keep = match layout {
            Layout::Table => keep::keep,
            Layout::Reference => reference::keep,
        };
        let changes = keep(touches, to_owner, memory, readers.clone(), Rc::clone(&size), members);
        Showings { epoch, changes: Changes::new(changes, waiting.clone()), readers, waiting, size }
    }

    /// Returns the epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns the size of the state on this worker, which follows the changes.
    pub fn size(&self) -> Rc<Cell<StateSize>> {
        Rc::clone(&self.size)
    }

    /// Returns the showings whose touch changed.
    pub fn changes(&self) -> &Changes<'scope> {
        &self.changes
    }

    /// For every request that changed, emits updates computed from all its showings before and
    /// after. Updates of a publication with the same data on the same worker are added up. A
    /// request with more than `videos_max` showings is [`Known::Crowded`]; it is not told again
    /// when more come. A request that is denied has no showings from then on.
    pub fn by_request<D, R>(
        &self,
        videos_max: usize,
        logic: impl FnMut(RequestId, Known<'_>, Known<'_>, &mut dyn FnMut(D, R)) + 'static,
    ) -> VecCollection<'scope, Round, D, R>
    where
        D: Clone + Eq + Hash + 'static,
        R: Semigroup + 'static,
    {
        by_request::by_request(&self.changes, &self.readers, &self.waiting, videos_max, logic)
    }
}
