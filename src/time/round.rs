//! The timestamps of the dataflows: rounds, and the publications that they belong to.
//!
//! A *publication* is what the store commits; publications are numbered by the store, over all the
//! jobs that had it. A *round* is a small batch of events on one worker; its number is that of its
//! publication in the upper bits and a tick in the lower. Rounds of different workers need not
//! correspond: only the borders of publications do, and no worker enters a publication before
//! worker 0 has begun it.
//!
//! Both are types of their own, and timestamps of timely and differential, totally ordered.

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

/// The number of a round: the timestamp of the dataflows of epochs.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Round(u64);

impl Publication {
    /// The publication in which a job rebuilds the state that its store reflects. Nothing of it is
    /// committed. The store numbers what it commits from 1.
    pub const REPLAY: Publication = Publication(0);

    /// The publication after this one.
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
    /// The first round of a publication. Ticks are counted from 1, so that no round is 0, the
    /// least timestamp, at which every dataflow starts.
    pub fn first(publication: Publication) -> Round {
        Round::at(publication, 0)
    }

    /// A round of a publication, counted from its first.
    pub fn at(publication: Publication, position: u32) -> Round {
        Round((publication.0 << TICK_BITS) | (u64::from(position) + 1))
    }

    /// The last round of a publication.
    #[inline]
    pub fn last(publication: Publication) -> Round {
        Round((publication.0 << TICK_BITS) | TICK_MAX)
    }

    /// The publication that the round belongs to.
    #[inline]
    pub fn publication(self) -> Publication {
        Publication(self.0 >> TICK_BITS)
    }

    /// The round after this one, if the publication has one.
    pub fn next(self) -> Option<Round> {
        (self != Round::last(self.publication())).then_some(Round(self.0 + 1))
    }

    /// By how many rounds it is later than another one of the same publication, which may be
    /// earlier by none.
    pub fn ahead_of(self, other: Round) -> u64 {
        self.0.saturating_sub(other.0)
    }

    /// The round as a word.
    #[inline]
    pub fn to_word(self) -> u64 {
        self.0
    }

    /// The round that [`Round::to_word`] made this word of.
    #[inline]
    pub fn from_word(word: u64) -> Round {
        Round(word)
    }
}

/// Makes a number a timestamp: totally ordered, from 0 on, and never advanced by an operator.
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
