//! A log that is read again from a file that holds another log too: only up to where it was read.

use crate::log::LogFile;
use crate::sources::{Batch, Lag, PartitionReader, Polled, SourceError, Wait};

/// A reader that ends at an offset.
pub(super) struct BoundedReader {
    reader: Box<dyn PartitionReader>,
    next_offset: u64,
    end_offset: u64,
    /// The file, with what was read of this log.
    file: Option<LogFile>,
}

impl BoundedReader {
    pub(super) fn new(
        reader: Box<dyn PartitionReader>,
        next_offset: u64,
        end_offset: u64,
        file: Option<LogFile>,
    ) -> BoundedReader {
        BoundedReader { reader, next_offset, end_offset, file }
    }
}

impl PartitionReader for BoundedReader {
    fn poll(&mut self, batch: &mut Batch, records_max: usize) -> Result<Polled, SourceError> {
        let left = self.end_offset.saturating_sub(self.next_offset);
        if left == 0 {
            batch.next_offset = self.next_offset;
            return Ok(Polled::Exhausted);
        }
        let records_max = usize::try_from(left).unwrap_or(usize::MAX).min(records_max.max(1));
        let polled = self.reader.poll(batch, records_max)?;
        self.next_offset = batch.next_offset;
        Ok(if self.next_offset >= self.end_offset { Polled::Exhausted } else { polled })
    }

    fn lag(&self) -> Lag {
        self.reader.lag()
    }

    fn waits_for(&self) -> Option<Wait> {
        self.reader.waits_for()
    }

    fn file(&self) -> Option<LogFile> {
        self.file.clone()
    }

    fn relocate(&mut self, file: Option<&LogFile>) -> Result<(), SourceError> {
        self.reader.relocate(file)
    }
}
