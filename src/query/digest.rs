//! A digest of rows: a sum that tells whether two sets of rows are the same.
//!
//! The digest of a set is the sum of the hashes of its rows, wrapping at 2⁶⁴. It does not depend on
//! their order, and a row that comes or goes moves it by its own hash, so it is kept as rows change
//! and never recomputed. Two sets that differ by accident have the same digest once in 2⁶⁴; it does
//! not defend against rows that are made to collide.

use super::Row;
use crate::time::Epoch;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The digest of a set of rows, or the change of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest(pub u64);

/// Digests by epoch, each over the rows of all queries.
pub type Digests = BTreeMap<Epoch, Digest>;

impl Digest {
    /// The digest of one row of the query with this seed: a hash of its epoch and its cells. It is
    /// stored, so it never changes.
    pub fn of(seed: u64, row: &Row) -> Digest {
        let hash = fold(seed, row.epoch.0.cast_unsigned());
        Digest(row.key.iter().chain(&row.values).fold(hash, |hash, cell| fold(hash, *cell)))
    }

    /// The digest of two sets that share no row, or of a set and a change of it.
    pub fn merge(self, other: Digest) -> Digest {
        Digest(self.0.wrapping_add(other.0))
    }

    /// Follows a row that comes (a positive difference) or goes.
    pub fn follow(&mut self, row: Digest, diff: isize) {
        *self = if diff > 0 { self.merge(row) } else { self.remove(row) };
    }

    /// The digest of a set without the rows of another.
    pub fn remove(self, other: Digest) -> Digest {
        Digest(self.0.wrapping_sub(other.0))
    }
}

/// What tells the rows of a query from those of others in a digest.
pub fn seed(query: &str) -> u64 {
    query.bytes().fold(0, |hash, byte| fold(hash, u64::from(byte)))
}

/// Merges changes of digests into digests. Those of no rows are left out.
pub fn merge(digests: &mut Digests, changes: &Digests) {
    for (epoch, change) in changes {
        let digest = digests.entry(*epoch).or_default();
        *digest = digest.merge(*change);
        if *digest == Digest::default() {
            digests.remove(epoch);
        }
    }
}

/// Mixes a word into a hash: the two halves of a product, as wyhash does it.
fn fold(hash: u64, word: u64) -> u64 {
    let product =
        u128::from(hash ^ 0x9e37_79b9_7f4a_7c15) * u128::from(word ^ 0xd1b5_4a32_d192_ed03);
    (product >> 64) as u64 ^ product as u64 ^ hash.rotate_left(23)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(epoch: i64, key: &[u64], values: &[u64]) -> Row {
        Row { epoch: Epoch(epoch), key: key.into(), values: values.into() }
    }

    #[test]
    fn every_cell_and_the_query_move_the_digest() {
        let rows = [
            row(0, &[0, 0, 0], &[0, 0]),
            row(1, &[0, 0, 0], &[0, 0]),
            row(0, &[1, 0, 0], &[0, 0]),
            row(0, &[0, 1, 0], &[0, 0]),
            row(0, &[0, 0, 1], &[0, 0]),
            row(0, &[0, 0, 0], &[1, 0]),
            row(0, &[0, 0, 0], &[0, 1]),
            row(0, &[0], &[0, 0]),
        ];
        let digests =
            rows.iter().flat_map(|row| [Digest::of(seed("a"), row), Digest::of(seed("b"), row)]);
        let distinct: std::collections::BTreeSet<u64> = digests.map(|digest| digest.0).collect();
        assert_eq!(distinct.len(), 2 * rows.len());
    }

    #[test]
    fn rows_that_come_and_go_leave_no_trace() {
        let (one, other) = (Digest::of(seed("q"), &row(1, &[2, 3, 4], &[5, 6])), Digest(7));
        assert_eq!(other.merge(one).remove(one), other);
        let mut digests = Digests::from([(Epoch(1), one)]);
        merge(&mut digests, &Digests::from([(Epoch(1), Digest::default().remove(one))]));
        assert_eq!(digests, Digests::new());
    }

    #[test]
    fn it_is_the_same_in_every_version() {
        let digest = Digest::of(seed("trends"), &row(983_568, &[42], &[3, 17]));
        assert_eq!(digest, Digest(5_367_929_819_140_348_475));
    }
}
