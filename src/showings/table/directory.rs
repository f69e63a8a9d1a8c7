//! From the tag of a request to its number: buckets of one cache line.
//!
//! A tag is 32 bits of a keyed hash. Requests are placed by their tags, in the order of tags, so
//! that the table grows in one sweep that reads nothing else. A tag only proposes a number: its
//! owner compares the id.

use super::blocks::Line;
use super::hardware;
use super::hardware::prefetch;

/// Eight entries, `tag * 2³² + number`; 0 if empty.
#[repr(C, align(64))]
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
struct Bucket([u64; 8]);

/// The bits of [`hardware::equal`] for the tags of a bucket; the others are for its numbers.
const TAGS: u32 = if cfg!(target_endian = "little") { 0xaaaa } else { 0x5555 };

impl Bucket {
    /// A bit for each half of an entry that is this word.
    #[inline(always)]
    fn halves(&self, word: u32) -> u32 {
        hardware::equal(bytemuck::cast_ref::<Bucket, Line>(self), !0, word)
    }

    /// The numbers with a tag, or 0 if the tag is that of empty entries.
    #[inline(always)]
    fn numbers(&self, tag: u32) -> impl Iterator<Item = u32> {
        let mut found = self.halves(tag) & TAGS;
        std::iter::from_fn(move || {
            let entry = (found != 0).then_some(found.trailing_zeros() as usize / 2 % 8)?;
            found &= found - 1;
            Some(self.0[entry] as u32)
        })
    }

    /// The first empty entry.
    #[inline(always)]
    fn empty(&self) -> Option<usize> {
        // No number is 0.
        let empty = self.halves(0) & !TAGS;
        (empty != 0).then_some(empty.trailing_zeros() as usize / 2 % 8)
    }
}

/// The numbers of requests, by tag. Numbers are not 0.
pub struct Directory {
    buckets: Box<[Bucket]>,
    entries: usize,
}

/// Of eight entries of a bucket, this many are used at most, on average.
const LOAD_MAX: (usize, usize) = (24, 5);

impl Directory {
    /// Creates an empty directory with room for `expected` entries.
    pub fn new(expected: usize) -> Directory {
        let buckets = expected * LOAD_MAX.1 / LOAD_MAX.0 + 4;
        Directory { buckets: bytemuck::zeroed_slice_box(buckets), entries: 0 }
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// The bytes of the table.
    pub fn bytes(&self) -> usize {
        self.buckets.len() * size_of::<Bucket>()
    }

    #[inline(always)]
    fn position(&self, tag: u32) -> usize {
        ((u64::from(tag) * self.buckets.len() as u64) >> 32) as usize
    }

    /// Asks the processor to load the bucket of a tag.
    #[inline(always)]
    pub fn prefetch(&self, tag: u32) {
        prefetch(&self.buckets, self.position(tag));
    }

    /// Returns a number with this tag, if the first bucket that it belongs to has one, or else 0.
    #[inline(always)]
    pub fn hint(&self, tag: u32) -> u32 {
        self.buckets[self.position(tag)].numbers(tag).next().unwrap_or(0)
    }

    /// Returns the number with this tag that `is_it` accepts.
    pub fn find(&self, tag: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut position = self.position(tag);
        loop {
            let bucket = &self.buckets[position];
            let found = bucket.numbers(tag).find(|number| *number != 0 && is_it(*number));
            if found.is_some() || bucket.empty().is_some() {
                return found;
            }
            position = self.after(position);
        }
    }

    /// Adds a number, which must not be 0.
    pub fn insert(&mut self, tag: u32, number: u32) {
        if (self.entries + 1) * LOAD_MAX.1 > self.buckets.len() * LOAD_MAX.0 {
            let larger = bytemuck::zeroed_slice_box(self.buckets.len() * 2);
            for Bucket(entries) in std::mem::replace(&mut self.buckets, larger) {
                entries.into_iter().filter(|entry| *entry != 0).for_each(|entry| self.put(entry));
            }
        }
        self.entries += 1;
        self.put(u64::from(tag) << 32 | u64::from(number));
    }

    fn put(&mut self, entry: u64) {
        let mut position = self.position((entry >> 32) as u32);
        loop {
            let bucket = &mut self.buckets[position];
            if let Some(empty) = bucket.empty() {
                bucket.0[empty] = entry;
                return;
            }
            position = self.after(position);
        }
    }

    fn after(&self, position: usize) -> usize {
        if position + 1 == self.buckets.len() { 0 } else { position + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Miri is some hundred times slower.
    const CASES: u32 = if cfg!(miri) { 4 } else { 256 };

    proptest! {
        #![proptest_config(ProptestConfig { cases: CASES, ..Default::default() })]

        #[test]
        fn it_finds_what_a_list_finds(
            tags in proptest::collection::vec((0..40u32, any::<bool>()), 0..400),
            expected in 0..100usize,
        ) {
            let mut directory = Directory::new(expected);
            let mut list = Vec::new();
            for (number, (tag, is_high)) in (1..).zip(tags) {
                // Few tags, at both ends: buckets overflow, and the last into the first.
                let tag = if is_high { !tag } else { tag };
                directory.insert(tag, number);
                list.push((tag, number));
                prop_assert!(list.iter().filter(|one| one.0 == tag).count() > 0);
                let hint = directory.hint(tag);
                prop_assert!(hint == 0 || list.contains(&(tag, hint)));
            }
            prop_assert_eq!(directory.len(), list.len());
            for (tag, number) in &list {
                prop_assert_eq!(directory.find(*tag, |one| one == *number), Some(*number));
                let mut proposed = Vec::new();
                directory.find(*tag, |one| { proposed.push(one); false });
                proposed.sort_unstable();
                let all = list.iter().filter(|one| one.0 == *tag).map(|one| one.1);
                prop_assert_eq!(proposed, all.collect::<Vec<_>>());
            }
            prop_assert_eq!(directory.find(1_000, |_| true), None);
        }
    }
}
