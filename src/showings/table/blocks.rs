//! Arrays of cache lines that grow by blocks. The blocks return to a pool when their epoch is over.

use super::hardware::prefetch;
use bytemuck::{Pod, Zeroable};
use std::cell::RefCell;
use std::rc::Rc;

/// A cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Line(pub [u32; 16]);

/// The binary logarithm of the number of lines in a block: 256 KiB.
const BLOCK_BITS: u32 = 12;
const BLOCK_LINES: usize = 1 << BLOCK_BITS;

/// Emptied blocks, shared by the epochs of a worker. An epoch that closes gives its memory to those
/// that open, so that the system need not clear pages anew.
#[derive(Clone, Default)]
pub struct BlockPool(Rc<RefCell<Pooled>>);

type Block = Box<[Line; BLOCK_LINES]>;

#[derive(Default)]
struct Pooled {
    empty: Vec<Block>,
    /// The number of blocks that epochs use.
    used: usize,
}

impl BlockPool {
    /// Takes a block with any content.
    fn take(&self) -> Block {
        let mut pooled = self.0.borrow_mut();
        pooled.used += 1;
        pooled.empty.pop().unwrap_or_else(bytemuck::zeroed_box)
    }

    /// Takes blocks back. It keeps as many as are used, so that a peak does not last for ever.
    fn give_back(&self, blocks: impl Iterator<Item = Block>) {
        let mut pooled = self.0.borrow_mut();
        for block in blocks {
            pooled.used -= 1;
            pooled.empty.push(block);
        }
        let kept = pooled.used.max(1);
        pooled.empty.truncate(kept);
    }
}

/// Lines, numbered from 0 in the order in which they were added.
pub struct Lines {
    blocks: Vec<Block>,
    /// The number of lines.
    len: usize,
    pool: BlockPool,
}

impl Lines {
    /// Creates an empty array.
    pub fn new(pool: BlockPool) -> Lines {
        Lines { blocks: Vec::new(), len: 0, pool }
    }

    /// The number of lines.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Adds consecutive lines, and returns the index of the first. `N` is a power of two, and the
    /// same for all lines of an array, so that they never straddle two blocks.
    pub fn push<const N: usize>(&mut self, lines: [Line; N]) -> usize {
        let index = self.len;
        if index.is_multiple_of(BLOCK_LINES) {
            self.blocks.push(self.pool.take());
        }
        self.len += N;
        *self.at_mut(index) = lines;
        index
    }

    /// Returns consecutive lines that were added together.
    #[inline(always)]
    pub fn at<const N: usize>(&self, index: usize) -> &[Line; N] {
        let (together, _) = self.blocks[index >> BLOCK_BITS].as_chunks::<N>();
        &together[(index & (BLOCK_LINES - 1)) / N]
    }

    /// As [`Lines::at`].
    #[inline(always)]
    pub fn at_mut<const N: usize>(&mut self, index: usize) -> &mut [Line; N] {
        let (together, _) = self.blocks[index >> BLOCK_BITS].as_chunks_mut::<N>();
        &mut together[(index & (BLOCK_LINES - 1)) / N]
    }

    /// Asks the processor to load the `N` lines at an index, which must exist.
    #[inline(always)]
    pub fn prefetch<const N: usize>(&self, index: usize) {
        let block = &self.blocks[index >> BLOCK_BITS];
        for line in 0..N {
            prefetch(&block[..], (index & (BLOCK_LINES - 1)) + line);
        }
    }

    /// The bytes of all lines.
    pub fn bytes(&self) -> usize {
        self.len() * size_of::<Line>()
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.pool.give_back(self.blocks.drain(..));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_index_and_blocks_are_used_again() {
        let pool = BlockPool::default();
        for epoch in 0..3 {
            let mut lines = Lines::new(pool.clone());
            let count = 5 * BLOCK_LINES as u32 / 2;
            for value in (0..count).step_by(2) {
                let index = lines.push([Line([value; 16]), Line([value + 1; 16])]);
                assert_eq!(index, value as usize);
            }
            lines.at_mut::<2>(4_098)[1].0[3] = 7;
            assert_eq!(lines.at::<2>(4_098)[1].0[2..4], [4_099, 7]);
            assert_eq!((lines.len(), lines.bytes()), (count as usize, count as usize * 64));
            assert_eq!(lines.at::<2>(count as usize - 2)[1], Line([count - 1; 16]));
            let pooled = pool.0.borrow();
            assert_eq!((pooled.empty.len(), pooled.used), (0, 3), "{epoch}");
        }
        // As many are kept as are used: when none is, one.
        assert_eq!(pool.0.borrow().empty.len(), 1);
    }
}
