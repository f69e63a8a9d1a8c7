//! The timestamps of the dataflows: rounds and publications.
//!
//! A *publication* is the unit of commit. The store numbers publications consecutively across all
//! jobs that have used it. A *round* is a small batch of events on one worker. Its number consists
//! of its publication in the upper bits and a tick in the lower bits. Rounds of different workers
//! need not correspond: only publication boundaries do, and no worker enters a publication before
//! worker 0 has begun it.
//!
//! Both are totally ordered timestamps of timely and differential, each with a type of its own.

use differential_dataflow::lattice::Lattice;
use serde::{Deserialize, Serialize};
use std::fmt;
use timely::order::{PartialOrder, TotalOrder};
use timely::progress::timestamp::{PathSummary, Refines, Timestamp};

const TICK_BITS: u32 = 24;
const TICK_MAX: u64 = (1 << TICK_BITS) - 1;

/// The number of a publication: the timestamp of the table dataflow.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Publication(pub u64);

/// The number of a round: the timestamp of the epoch dataflows.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Round(u64);

impl Publication {
    /// The publication in which a job rebuilds the state that its store reflects. It is never
    /// committed: publications in the store are numbered from 1.
    pub const REPLAY: Publication = Publication(0);

    /// Returns the next publication.
    pub fn next(self) -> Publication {
        Publication(self.0 + 1)
    }
}

impl fmt::Display for Publication {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Round {
    /// Returns the first round of a publication. Ticks are counted from 1, so that no round is 0,
    /// the minimum timestamp, at which every dataflow starts.
    pub fn first(publication: Publication) -> Round {
        Round::at(publication, 0)
    }

    /// Returns the round at a position in a publication, counted from 0.
    pub fn at(publication: Publication, position: u32) -> Round {
        Round((publication.0 << TICK_BITS) | (u64::from(position) + 1))
    }

    /// Returns the last round of a publication.
    #[inline]
    pub fn last(publication: Publication) -> Round {
        Round((publication.0 << TICK_BITS) | TICK_MAX)
    }

    /// Returns the publication that the round belongs to.
    #[inline]
    pub fn publication(self) -> Publication {
        Publication(self.0 >> TICK_BITS)
    }

    /// Returns the next round, or `None` if this is the last of its publication.
    pub fn next(self) -> Option<Round> {
        (self != Round::last(self.publication())).then_some(Round(self.0 + 1))
    }

    /// Returns the number of rounds by which this one is later than another of the same
    /// publication; 0 if it is not later.
    pub fn ahead_of(self, other: Round) -> u64 {
        self.0.saturating_sub(other.0)
    }

    /// Returns the round as a word.
    #[inline]
    pub fn to_word(self) -> u64 {
        self.0
    }

    /// The inverse of [`Round::to_word`].
    #[inline]
    pub fn from_word(word: u64) -> Round {
        Round(word)
    }
}

/// Implements timestamps for a number: totally ordered, starting at 0, and never advanced by an
/// operator.
macro_rules! timestamp {
    ($number:ident) => {
        impl PartialOrder for $number {
            #[inline]
            fn less_equal(&self, other: &Self) -> bool {
                self <= other
            }
            #[inline]
            fn less_than(&self, other: &Self) -> bool {
                self < other
            }
        }

        impl TotalOrder for $number {}

        impl Timestamp for $number {
            type Summary = ();
            fn minimum() -> Self {
                $number(0)
            }
        }

        impl PathSummary<$number> for () {
            #[inline]
            fn results_in(&self, source: &$number) -> Option<$number> {
                Some(*source)
            }
            #[inline]
            fn followed_by(&self, (): &()) -> Option<()> {
                Some(())
            }
        }

        impl Refines<()> for $number {
            fn to_inner((): ()) -> Self {
                Self::minimum()
            }
            fn to_outer(self) {}
            fn summarize((): ()) {}
        }

        impl Lattice for $number {
            #[inline]
            fn join(&self, other: &Self) -> Self {
                *self.max(other)
            }
            #[inline]
            fn meet(&self, other: &Self) -> Self {
                *self.min(other)
            }
        }
    };
}

timestamp!(Publication);
timestamp!(Round);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rounds_of_a_publication_lie_between_those_of_its_neighbours() {
        for publication in [Publication::REPLAY, Publication(1), Publication(41)] {
            let (first, last) = (Round::first(publication), Round::last(publication));
            assert!(Round::minimum() < first && first < last);
            assert!(last < Round::first(publication.next()));
            assert_eq!(first.publication(), publication);
            assert_eq!(last.publication(), publication);
            assert_eq!(first.next().map(|next| next.ahead_of(first)), Some(1));
            assert_eq!(last.next(), None);
        }
    }
}
