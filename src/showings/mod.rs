//! The shared arrangement of an epoch: what is known of every showing, by request.
//!
//! Impressions and plays of an epoch are one collection, request → video, whose difference is a
//! [`Touch`]: a set of bits that adds by *or*. Events that arrive twice vanish in it, and the join
//! of plays with impressions is what accumulates at a showing. It is arranged once, and all queries
//! of the epoch read it:
//!
//! - [`Showings::changes`] tells, as rounds become complete, which showings became known better.
//! - [`Showings::by_request`] tells the same for all showings of a request together.
//!
//! Timestamps are rounds, which are totally ordered. Nobody asks for the past: a reader wants what
//! was known before a round and what is known after it, so the arrangement keeps no times at all
//! once a round is past. [`run`] is the layout that this allows. Nobody sees rows within a
//! publication either, so its touches are gathered into large portions before they are arranged
//! (`gather`), and rounds of it that become complete together count as one, the last of them.
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

use crate::time::{Epoch, Round};
use batch::{ShowingsBatcher, ShowingsSpine};
use changes::Arrangement;
use differential_dataflow::VecCollection;
use differential_dataflow::difference::Semigroup;
use differential_dataflow::operators::arrange::arrangement::arrange_core;
use gather::gather;
use std::hash::Hash;
use sums::PendingSums;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use touches::{Pool, ToOwner, Touches};

/// The showings of one epoch, as they become known.
pub struct Showings<'scope> {
    epoch: Epoch,
    arrangement: Arrangement<'scope>,
    changes: Changes<'scope>,
    waiting: PendingSums,
}

impl<'scope> Showings<'scope> {
    /// Arranges touches by request; all touches of a request meet on the worker that keeps it.
    /// Every container must hold touches of one owner and one round, as [`touches::Lanes`] gives
    /// them. Touches are arranged when so many bytes of them have come together, or when their
    /// publication is over. Their buffers go to the pool. The sums that queries hold until a
    /// publication is over are counted as waiting.
    pub fn arrange(
        epoch: Epoch,
        touches: Stream<'scope, Round, Touches>,
        gather_bytes: usize,
        pool: Pool,
        waiting: PendingSums,
    ) -> Showings<'scope> {
        let to_owner = DistributorPact(|_workers| ToOwner);
        let words_together = gather_bytes / size_of::<u64>();
        let touches = gather(touches, to_owner, words_together, pool.clone());
        let arrangement = arrange_core::<_, _, _, ShowingsSpine>(
            touches,
            Pipeline,
            "Showings",
            |_logger, _operator| ShowingsBatcher::new(pool),
        );
        let changes = Changes::of(&arrangement, waiting.clone());
        Showings { epoch, arrangement, changes, waiting }
    }

    /// The epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The showings that rounds told something new of.
    pub fn changes(&self) -> &Changes<'scope> {
        &self.changes
    }

    /// For every request that a round told something new of, updates from what was known of all
    /// its showings before and after the round, in the order of videos. Updates of a publication
    /// with the same data on the same worker are added up.
    pub fn by_request<D, R>(
        &self,
        logic: impl FnMut(&Known, &Known, &mut dyn FnMut(D, R)) + 'static,
    ) -> VecCollection<'scope, Round, D, R>
    where
        D: Clone + Eq + Hash + 'static,
        R: Semigroup + 'static,
    {
        changes::by_request(&self.arrangement, &self.waiting, logic)
    }
}
