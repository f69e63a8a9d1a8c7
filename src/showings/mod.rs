//! The shared arrangement of an epoch: the touch of every showing, by request.
//!
//! Impressions and plays of an epoch form one collection, request → video, whose difference is a
//! [`Touch`]: a set of bits that adds by *or*. Duplicate events therefore change nothing, and the
//! join of plays with impressions is the accumulated touch of a showing. The collection is arranged
//! once, and all queries of the epoch read it:
//!
//! - [`Showings::changes`] emits the showings whose touch changed, as rounds complete.
//! - [`Showings::by_request`] does the same for all showings of a request together.
//!
//! Timestamps are rounds, which are totally ordered. A reader needs the state before a round and
//! the state after it, never an older one, so the arrangement stores no times for past rounds.
//! [`run`] is the layout that this allows. Nor are rows visible within a publication, so its
//! touches are gathered into large portions before they are arranged (`gather`), and its rounds
//! that complete together are treated as one, the last of them.
//!
//! [`Touch`]: crate::event::Touch

pub mod batch;
pub mod changes;
mod filter;
mod gather;
pub mod run;
pub mod sums;
pub mod touches;

pub use changes::{Change, Changes, Known};

use crate::event::RequestId;
use crate::time::{Epoch, Round};
use batch::{ShowingsBatcher, ShowingsSpine};
use changes::Arrangement;
use differential_dataflow::VecCollection;
use differential_dataflow::difference::Semigroup;
use differential_dataflow::operators::arrange::arrangement::arrange_core;
use gather::gather;
use std::cell::Cell;
use std::hash::Hash;
use std::rc::Rc;
use sums::PendingSums;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use touches::{Pool, ToOwner, Touches};

/// The showings of one epoch, as they change.
pub struct Showings<'scope> {
    epoch: Epoch,
    arrangement: Arrangement<'scope>,
    changes: Changes<'scope>,
    waiting: PendingSums,
    count: Rc<Cell<u64>>,
}

impl<'scope> Showings<'scope> {
    /// Arranges touches by request, on the worker that owns the request. Every container must hold
    /// touches of one owner and one round, as those of [`touches::Lanes`] do. Touches are arranged
    /// once `gather_bytes` bytes have been gathered, or when their publication is over. Their
    /// buffers return to `pool`. `waiting` counts the sums that queries hold until a publication is
    /// over.
    pub fn arrange(
        epoch: Epoch,
        touches: Stream<'scope, Round, Touches>,
        gather_bytes: usize,
        pool: Pool,
        waiting: PendingSums,
    ) -> Showings<'scope> {
        let to_owner = DistributorPact(|_workers| ToOwner);
        let words_min = gather_bytes / size_of::<u64>();
        let touches = gather(touches, to_owner, words_min, pool.clone());
        let arrangement = arrange_core::<_, _, _, ShowingsSpine>(
            touches,
            Pipeline,
            "Showings",
            |_logger, _operator| ShowingsBatcher::new(pool),
        );
        let count = Rc::default();
        let changes = Changes::of(&arrangement, waiting.clone(), Rc::clone(&count));
        Showings { epoch, arrangement, changes, waiting, count }
    }

    /// Returns the epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns the number of showings on this worker, which follows the changes.
    pub fn count(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.count)
    }

    /// Returns the showings whose touch changed.
    pub fn changes(&self) -> &Changes<'scope> {
        &self.changes
    }

    /// For every request that changed in a round, emits updates computed from all its showings
    /// before and after the round. Updates of a publication with the same data on the same worker
    /// are added up. A request with more than `videos_max` showings is [`Known::Crowded`]; it is
    /// not told again when more come.
    pub fn by_request<D, R>(
        &self,
        videos_max: usize,
        logic: impl FnMut(RequestId, Known<'_>, Known<'_>, &mut dyn FnMut(D, R)) + 'static,
    ) -> VecCollection<'scope, Round, D, R>
    where
        D: Clone + Eq + Hash + 'static,
        R: Semigroup + 'static,
    {
        changes::by_request(&self.arrangement, &self.waiting, videos_max, logic)
    }
}
