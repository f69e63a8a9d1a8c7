//! The videos of an epoch on a worker, numbered from 1 in the order of arrival, so that a showing
//! takes four bytes. Numbers never leave the worker: they depend on the order of arrival.

use super::hardware::prefetch;
use super::key::Key;
use crate::event::VideoId;

/// Numbers are less than this: a showing has 29 bits for its video, and three for its touch.
const NUMBERS: usize = 1 << 29;

/// The numbered videos.
pub struct Videos {
    key: Key,
    /// A hash table of numbers, 0 where empty. Its length is a power of two.
    slots: Vec<u32>,
    /// The videos by number. Number 0 is none.
    ids: Vec<VideoId>,
}

impl Videos {
    /// Creates an empty table.
    pub fn new(key: Key) -> Videos {
        Videos { key, slots: vec![0; 1 << 8], ids: vec![VideoId(0)] }
    }

    #[inline(always)]
    fn position(&self, video: VideoId) -> usize {
        self.key.of_video(video) as usize & (self.slots.len() - 1)
    }

    /// Asks the processor to load the place of a video.
    #[inline(always)]
    pub fn prefetch(&self, video: VideoId) {
        prefetch(&self.slots, self.position(video));
    }

    /// Returns what is likely its number, for [`Videos::number`]. Asks the processor to load the
    /// video with it.
    #[inline(always)]
    pub fn hint(&self, video: VideoId) -> u32 {
        let number = self.slots[self.position(video)];
        prefetch(&self.ids, number as usize);
        number
    }

    /// Returns the number of a video, which is new if need be.
    #[inline(always)]
    pub fn number(&mut self, video: VideoId, hint: u32) -> u32 {
        // A new table has video 0 at number 0, which is none.
        if hint != 0 && self.ids[hint as usize] == video { hint } else { self.find_or_add(video) }
    }

    fn find_or_add(&mut self, video: VideoId) -> u32 {
        let mut position = self.position(video);
        loop {
            match self.slots[position] {
                0 => return self.add(video),
                number if self.ids[number as usize] == video => return number,
                _ => position = (position + 1) & (self.slots.len() - 1),
            }
        }
    }

    #[cold]
    fn add(&mut self, video: VideoId) -> u32 {
        assert!(self.ids.len() < NUMBERS, "an epoch has fewer than 2^29 videos on a worker");
        if self.ids.len() * 2 > self.slots.len() {
            self.slots = vec![0; self.slots.len() * 2];
            (1..self.ids.len()).for_each(|number| self.place(number));
        }
        self.ids.push(video);
        self.place(self.ids.len() - 1);
        (self.ids.len() - 1) as u32
    }

    fn place(&mut self, number: usize) {
        let mut position = self.position(self.ids[number]);
        while self.slots[position] != 0 {
            position = (position + 1) & (self.slots.len() - 1);
        }
        self.slots[position] = number as u32;
    }

    /// Returns the video with a number.
    #[inline(always)]
    pub fn id(&self, number: u32) -> VideoId {
        self.ids[number as usize]
    }

    /// Returns the rank of each number in the order of ids, and the ids in that order.
    pub fn ranked(&self) -> (Vec<u32>, Vec<VideoId>) {
        let mut numbers: Vec<u32> = (1..self.ids.len() as u32).collect();
        numbers.sort_unstable_by_key(|number| self.id(*number));
        let mut ranks = vec![0; self.ids.len()];
        for (rank, number) in (0..).zip(&numbers) {
            ranks[*number as usize] = rank;
        }
        (ranks, numbers.into_iter().map(|number| self.id(number)).collect())
    }

    /// The bytes of the table.
    pub fn bytes(&self) -> usize {
        self.slots.len() * size_of::<u32>() + self.ids.capacity() * size_of::<VideoId>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_video_keeps_its_number() {
        let mut videos = Videos::new(Key::random());
        let count = if cfg!(miri) { 300 } else { 5_000 };
        let ids: Vec<_> =
            (0..count).map(|id: u32| VideoId(u64::from(id).wrapping_mul(u64::MAX / 7))).collect();
        let numbers: Vec<_> = ids.iter().map(|id| videos.number(*id, videos.hint(*id))).collect();
        assert!(numbers.iter().copied().eq(1..=count));
        for (id, number) in ids.iter().zip(numbers) {
            videos.prefetch(*id);
            assert_eq!(videos.number(*id, videos.hint(*id)), number);
            assert_eq!(videos.number(*id, 0), number);
            assert_eq!(videos.number(*id, 1), number);
            assert_eq!(videos.id(number), *id);
        }
    }
}
