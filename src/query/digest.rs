//! Digests of sets of rows and showings, to test whether two sets are equal.
//!
//! The digest of a set is the sum of the hashes of its members, wrapping at 2⁶⁴. It does not depend
//! on their order, and adding or removing a member changes it by the member's hash, so it is
//! maintained incrementally and never recomputed. Two different sets have the same digest by
//! accident once in 2⁶⁴ cases; it does not protect against members that are made to collide.
//!
//! The digest of an epoch is over the rows of all queries and over the showings: which request saw
//! and played which video. Rows alone would not tell whether a log still has the same events, as
//! many queries only count requests.

use super::Row;
use crate::event::{RequestId, Touch, VideoId};
use crate::time::Epoch;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The digest of a set of rows and showings, or a change of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest(pub u64);

/// Digests by epoch, each over the rows of all queries and the showings of the epoch.
pub type Digests = BTreeMap<Epoch, Digest>;

impl Digest {
    /// Returns the digest of one row of the query with this seed: a hash of its epoch and its
    /// cells. Digests are stored, so the hash must never change.
    pub fn of(seed: u64, row: &Row) -> Digest {
        let hash = fold(seed, row.epoch.0.cast_unsigned());
        Digest(row.key.iter().chain(&row.values).fold(hash, |hash, cell| fold(hash, *cell)))
    }

    /// Returns the digest of a showing with this touch. `seed` is that of its request, from
    /// [`seed_of_request`]. Digests are stored, so the hash must never change.
    ///
    /// It is zero unless an event of the epoch itself belongs to the showing. A play or a denial of
    /// a later epoch, without an impression, is in the digest of that epoch, which is open as long
    /// as this one.
    #[inline]
    pub fn of_showing(seed: u64, video: VideoId, touch: Touch) -> Digest {
        match touch.is_of_epoch() {
            false => Digest::default(),
            true => Digest(fold(fold(seed, video.0), u64::from(touch.0))),
        }
    }

    /// Returns the digest of the union of two disjoint sets, or of a set after a change.
    pub fn merge(self, other: Digest) -> Digest {
        Digest(self.0.wrapping_add(other.0))
    }

    /// Applies the addition (a positive difference) or the removal of a row.
    pub fn apply(&mut self, row: Digest, diff: isize) {
        *self = if diff > 0 { self.merge(row) } else { self.remove(row) };
    }

    /// Returns the digest of a set without the rows of a subset.
    pub fn remove(self, other: Digest) -> Digest {
        Digest(self.0.wrapping_sub(other.0))
    }
}

/// Returns the seed of a query, which distinguishes its rows from those of other queries.
pub fn seed(query: &str) -> u64 {
    query.bytes().fold(0, |hash, byte| fold(hash, u64::from(byte)))
}

/// Returns the seed of a request, which distinguishes its showings in an epoch from all others, and
/// from rows.
#[inline]
pub fn seed_of_request(epoch: Epoch, RequestId(words): RequestId) -> u64 {
    // No query has this seed: names are of letters.
    let seed = fold(u64::MAX, epoch.0.cast_unsigned());
    fold(fold(seed, words[0]), words[1])
}

/// Applies changes to digests, and removes the digests of empty sets.
pub fn merge(digests: &mut Digests, changes: &Digests) {
    for (epoch, change) in changes {
        let digest = digests.entry(*epoch).or_default();
        *digest = digest.merge(*change);
        if *digest == Digest::default() {
            digests.remove(epoch);
        }
    }
}

/// Mixes a word into a hash with both halves of a product, as wyhash does.
#[inline]
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
    fn every_cell_and_the_query_change_the_digest() {
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
    fn a_row_added_and_removed_in_a_publication_is_not_written() {
        let (one, other) = (Digest::of(seed("q"), &row(1, &[2, 3, 4], &[5, 6])), Digest(7));
        assert_eq!(other.merge(one).remove(one), other);
        let mut digests = Digests::from([(Epoch(1), one)]);
        merge(&mut digests, &Digests::from([(Epoch(1), Digest::default().remove(one))]));
        assert_eq!(digests, Digests::new());
    }

    #[test]
    fn every_part_of_a_showing_changes_the_digest() {
        let requests = [[0, 0], [1, 0], [0, 1]].map(RequestId);
        let touches = [1, 3, 6, 7, 9, 11, 14, 15, 24].map(Touch);
        let mut distinct = std::collections::BTreeSet::new();
        for (epoch, request) in [0, 1].iter().flat_map(|epoch| requests.map(|one| (epoch, one))) {
            let seed = seed_of_request(Epoch(*epoch), request);
            for video in [0, 1, u64::MAX].map(VideoId) {
                distinct.extend(touches.map(|touch| Digest::of_showing(seed, video, touch).0));
                for touch in [Touch::NONE, Touch::PLAYED, Touch::DENIED, Touch(10)] {
                    assert_eq!(Digest::of_showing(seed, video, touch), Digest::default());
                }
            }
        }
        assert_eq!(distinct.len(), 2 * 3 * 3 * touches.len());
    }

    #[test]
    fn the_hash_never_changes() {
        let digest = Digest::of(seed("trends"), &row(983_568, &[42], &[3, 17]));
        assert_eq!(digest, Digest(5_367_929_819_140_348_475));
        let seed = seed_of_request(Epoch(983_568), RequestId([1, 2]));
        assert_eq!(
            Digest::of_showing(seed, VideoId(42), Touch(3)),
            Digest(17_239_766_495_390_109_910)
        );
    }
}
