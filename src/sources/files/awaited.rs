//! A partition whose file was not there when it was to be opened: it was renamed, replaced or
//! removed after it was found.

use super::FileSource;
use crate::log::{LogFile, Loss, LossCause};
use crate::sources::{Batch, Discovered, Lag, PartitionReader, Polled, SourceError, Wait};
use std::time::{Duration, Instant};

/// The time between two looks for the file.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// A reader that waits for the file of its partition.
pub(super) struct AwaitedReader {
    source: FileSource,
    partition: Discovered,
    /// The offset at which reading begins.
    offset: u64,
    /// When the file was looked for last.
    looked_at: Instant,
    /// The reader, once the file was found.
    reader: Option<Box<dyn PartitionReader>>,
    is_ended: bool,
}

impl AwaitedReader {
    pub(super) fn new(source: FileSource, partition: Discovered, offset: u64) -> AwaitedReader {
        let looked_at = Instant::now();
        AwaitedReader { source, partition, offset, looked_at, reader: None, is_ended: false }
    }

    /// Looks for the file, as it may be back at its path before anybody saw that it was away.
    fn look(&mut self) -> Result<(), SourceError> {
        self.looked_at = Instant::now();
        self.reader = self.source.try_open(&self.partition, self.offset)?;
        Ok(())
    }

    fn warn(&self) {
        tracing::warn!(
            "{} was removed or replaced before it could be read: nothing of it is read from \
             offset {} on",
            self.partition.name,
            self.offset
        );
    }
}

impl PartitionReader for AwaitedReader {
    fn poll(&mut self, batch: &mut Batch, records_max: usize) -> Result<Polled, SourceError> {
        let is_awaited = self.reader.is_none() && !self.is_ended;
        if is_awaited && self.looked_at.elapsed() >= LOOK_INTERVAL {
            self.look()?;
        }
        match &mut self.reader {
            Some(reader) => reader.poll(batch, records_max),
            None => {
                batch.next_offset = self.offset;
                Ok(if self.is_ended { Polled::Exhausted } else { Polled::More })
            }
        }
    }

    fn lag(&self) -> Lag {
        self.reader.as_ref().map(|reader| reader.lag()).unwrap_or_default()
    }

    fn waits_for(&self) -> Option<Wait> {
        match &self.reader {
            Some(reader) => reader.waits_for(),
            None => (!self.is_ended).then_some(Wait::File),
        }
    }

    fn file(&self) -> Option<LogFile> {
        match &self.reader {
            Some(reader) => reader.file(),
            None => self.partition.file.clone(),
        }
    }

    fn loss(&self) -> Option<Loss> {
        match &self.reader {
            Some(reader) => reader.loss(),
            None => {
                self.is_ended.then_some(Loss { offset: self.offset, cause: LossCause::Removed })
            }
        }
    }

    fn relocate(&mut self, file: Option<&LogFile>) -> Result<(), SourceError> {
        match (&mut self.reader, file) {
            (Some(reader), file) => return reader.relocate(file),
            (None, Some(file)) => {
                self.partition.file = Some(file.clone());
                self.is_ended = false;
                self.look()?;
            }
            (None, None) => {
                self.is_ended = true;
                self.warn();
            }
        }
        Ok(())
    }
}
