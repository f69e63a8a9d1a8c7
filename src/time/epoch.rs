//! Epochs, ranges of epochs, and [`Through`]: the last epoch that is closed or final.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A window of event time. Epoch 0 starts at 1970-01-01T00:00Z; earlier ones are negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub i64);

impl Epoch {
    /// Returns the epoch that is `epochs` later, or earlier if negative.
    pub fn plus(self, epochs: i64) -> Epoch {
        Epoch(self.0.saturating_add(epochs))
    }
}

impl fmt::Display for Epoch {
    /// Writes the number.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// An inclusive range of epochs; empty if the last precedes the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochRange {
    /// The first epoch.
    pub first: Epoch,
    /// The last epoch.
    pub last: Epoch,
}

impl EpochRange {
    /// All epochs.
    pub const ALL: EpochRange = EpochRange { first: Epoch(i64::MIN), last: Epoch(i64::MAX) };

    /// The range of a single epoch.
    pub fn only(epoch: Epoch) -> EpochRange {
        EpochRange { first: epoch, last: epoch }
    }

    /// Whether the range is empty.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.last < self.first
    }

    /// Whether an epoch lies in the range.
    pub fn contains(self, epoch: Epoch) -> bool {
        (self.first..=self.last).contains(&epoch)
    }

    /// Returns the epochs in rising order.
    #[inline]
    pub fn iter(self) -> impl DoubleEndedIterator<Item = Epoch> + Clone {
        (self.first.0..=self.last.0).map(Epoch)
    }
}

/// The epochs that are closed, or final. They close in order, so the last one identifies them all.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Through {
    /// No epoch.
    #[default]
    Nothing,
    /// This epoch and all earlier ones.
    Epoch(Epoch),
    /// All epochs: no more events will follow.
    Everything,
}

impl Through {
    /// Whether an epoch is included.
    #[inline]
    pub fn contains(self, epoch: Epoch) -> bool {
        match self {
            Through::Nothing => false,
            Through::Epoch(last) => epoch <= last,
            Through::Everything => true,
        }
    }

    /// Returns the part of a range that is not included.
    #[inline]
    pub fn remainder(self, range: EpochRange) -> EpochRange {
        match self {
            Through::Nothing => range,
            Through::Epoch(last) => EpochRange { first: range.first.max(last.plus(1)), ..range },
            Through::Everything => EpochRange { first: range.last.plus(1), ..range },
        }
    }

    /// Returns the last epoch included, or `None` for `Nothing` and `Everything`.
    pub fn last(self) -> Option<Epoch> {
        match self {
            Through::Epoch(last) => Some(last),
            Through::Nothing | Through::Everything => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: i64, last: i64) -> EpochRange {
        EpochRange { first: Epoch(first), last: Epoch(last) }
    }

    #[test]
    fn through_is_ordered_by_the_epochs_it_contains() {
        let rising = [
            Through::Nothing,
            Through::Epoch(Epoch(-3)),
            Through::Epoch(Epoch(7)),
            Through::Everything,
        ];
        assert!(rising.is_sorted());
        let closed = rising.map(|through| through.contains(Epoch(-3)));
        assert_eq!(closed, [false, true, true, true]);
    }

    #[test]
    fn the_remainder_of_a_range_is_what_is_not_closed() {
        let open = |through: Through| through.remainder(range(2, 5)).iter().collect::<Vec<_>>();
        assert_eq!(open(Through::Nothing), [2, 3, 4, 5].map(Epoch));
        assert_eq!(open(Through::Epoch(Epoch(1))), [2, 3, 4, 5].map(Epoch));
        assert_eq!(open(Through::Epoch(Epoch(3))), [4, 5].map(Epoch));
        assert_eq!(open(Through::Epoch(Epoch(5))), []);
        assert_eq!(open(Through::Epoch(Epoch(9))), []);
        assert_eq!(open(Through::Everything), []);
        assert!(Through::Everything.remainder(range(2, 5)).is_empty());
    }
}
