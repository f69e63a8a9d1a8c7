//! Judges the events of a partition in the order of its log: their stamps, and the watermark.

use super::{Ahead, Missing, Reading, Trust, Watermark};
use crate::log::{BlockStart, Decision};
use crate::time::Definition;

/// The judge of one partition's events.
#[derive(Clone, Debug)]
pub struct Judge {
    watermark: Watermark,
    trust: Trust,
    block: BlockStart,
}

impl Judge {
    /// Returns the judge of a partition that is read from the start of a block, with the decisions
    /// on its events that were made before.
    pub fn resume(definition: &Definition, block: BlockStart, decisions: Vec<Decision>) -> Judge {
        Judge {
            watermark: Watermark::new(*definition, block.watermark_ms),
            trust: Trust::new(definition, block.supported_ms, decisions),
            block,
        }
    }

    /// Judges the first of these events.
    ///
    /// # Errors
    /// If more must be known first. Then nothing has changed.
    #[inline]
    pub fn read(&mut self, ahead: &Ahead<'_>) -> Result<Reading, Missing> {
        let is_plausible = self.trust.is_plausible(ahead)?;
        let event = &ahead.events[0];
        if self.trust.begins_block_at(event.offset) {
            self.block = self.next_block(event.offset);
        }
        self.trust.pass(event);
        Ok(self.watermark.read(event, is_plausible))
    }

    /// The watermark, in milliseconds.
    pub fn watermark_ms(&self) -> Option<i64> {
        self.watermark.at_ms()
    }

    /// The start of the block of the event that was judged last.
    pub fn block(&self) -> BlockStart {
        self.block
    }

    /// The start of the block of the next event, which is not before `next_offset`.
    pub fn next_block(&self, next_offset: u64) -> BlockStart {
        if !self.trust.begins_block_at(next_offset) {
            return self.block;
        }
        BlockStart {
            offset: next_offset,
            watermark_ms: self.watermark.at_ms(),
            supported_ms: self.trust.supported_ms(),
        }
    }

    /// The decisions so far.
    pub fn decisions(&self) -> &[Decision] {
        self.trust.decisions()
    }

    /// Forgets the decisions on events before an offset.
    pub fn forget_before(&mut self, offset: u64) {
        self.trust.forget_before(offset);
    }
}
