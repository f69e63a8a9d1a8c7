//! A log that is read again from a file that holds another log too: only up to where it was read.

use crate::log::{LogFile, Loss};
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

    fn loss(&self) -> Option<Loss> {
        // What is missing later is of the other log.
        self.reader.loss().filter(|loss| loss.offset < self.end_offset)
    }

    fn relocate(&mut self, file: Option<&LogFile>) -> Result<(), SourceError> {
        self.reader.relocate(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::files::tests::{folder, lines, open};

    #[test]
    fn what_the_other_log_lacks_is_missing_here_too_as_far_as_this_one_goes() {
        for (end_offset, is_missing) in [(100, true), (50, false), (2, false)] {
            let folder = folder(&[("i.jsonl", lines(0..50).as_bytes())]);
            let reader = open(&folder, "i.jsonl", true, 0).unwrap();
            let mut reader = BoundedReader::new(reader, 0, end_offset, None);
            reader.poll(&mut Batch::default(), 50).unwrap();
            std::fs::write(folder.path().join("i.jsonl"), "another log").unwrap();
            for _ in 0..3 {
                reader.poll(&mut Batch::default(), 50).unwrap();
            }
            reader.relocate(None).unwrap();
            assert_eq!(reader.loss().is_some(), is_missing, "{end_offset}");
        }
    }
}
