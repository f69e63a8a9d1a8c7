//! Keyed hashes: nobody can choose ids that share a place in a table, since nobody knows the key.

use crate::event::{RequestId, VideoId};
use std::hash::{BuildHasher, RandomState};

/// A secret of one table. What depends on it never leaves the table.
#[derive(Clone, Copy)]
pub struct Key([u64; 2]);

impl Key {
    /// Draws a key at random.
    pub fn random() -> Key {
        Key([0, 1].map(|word: u64| RandomState::new().hash_one(word)))
    }

    /// Returns the hash of a request.
    #[inline(always)]
    pub fn of_request(self, RequestId([high, low]): RequestId) -> u64 {
        fold(high ^ self.0[0], low ^ self.0[1])
    }

    /// Returns the hash of a video.
    #[inline(always)]
    pub fn of_video(self, VideoId(id): VideoId) -> u64 {
        fold(id ^ self.0[0], self.0[1] | 1)
    }
}

/// Both halves of a product, as in wyhash.
#[inline(always)]
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    (product >> 64) as u64 ^ product as u64
}
