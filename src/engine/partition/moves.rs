//! A partition whose log moves to another file, ends, or is lost.

use super::{Activity, End, Partition, Quiet};
use crate::log::{LogFile, Loss};
use crate::sources::{Batch, Discovered, Lag, PartitionReader, Polled, Source, SourceError};
use std::time::Instant;

/// The reader of a log that has ended.
struct EndedReader {
    file: Option<LogFile>,
}

impl PartitionReader for EndedReader {
    fn poll(&mut self, _batch: &mut Batch, _records_max: usize) -> Result<Polled, SourceError> {
        Ok(Polled::Exhausted)
    }

    fn lag(&self) -> Lag {
        Lag::default()
    }

    fn file(&self) -> Option<LogFile> {
        self.file.clone()
    }
}

impl Partition {
    /// Notes what is missing of it, and returns whether that is new. A reader tells people of
    /// everything but damage, which comes as a malformed record.
    pub(super) fn note_loss(&mut self) -> bool {
        let Some(loss) = self.reader.loss() else { return false };
        let is_new = loss.clone().note_in(&mut self.lost);
        if is_new && loss.is_damage() {
            tracing::warn!("{} {loss}", self.name);
        }
        is_new
    }

    /// Goes on in the file that holds it now, or ends if there is none. One whose reader has ended
    /// begins again where it ended. Returns whether it has lost something.
    pub(in crate::engine) fn relocate(
        &mut self,
        source: &dyn Source,
        file: Option<&LogFile>,
    ) -> Result<bool, SourceError> {
        match file {
            Some(file) if self.reader_has_ended() && self.may_go_on_in(source, file) => {
                self.reopen(source, file)?;
            }
            file => self.reader.relocate(file)?,
        }
        Ok(self.note_loss())
    }

    /// Whether its reader gives nothing more. Events that it has read may still wait.
    fn reader_has_ended(&self) -> bool {
        self.end == End::Exhausted || self.reader.loss().is_some_and(|loss| !loss.outlives_file())
    }

    /// Whether more than its reader has given may be in a file, or follow there.
    fn may_go_on_in(&self, source: &dyn Source, file: &LogFile) -> bool {
        let mut losses = self.lost.iter().cloned().chain(self.reader.loss());
        losses.any(|loss| !loss.outlives_file()) || source.may_go_on(file)
    }

    /// Closes the log of a partition that is exhausted.
    pub(in crate::engine) fn end(&mut self) {
        self.reader = Box::new(EndedReader { file: self.reader.file() });
        self.batch = Batch { next_offset: self.batch.next_offset, ..Batch::default() };
        self.next = 0;
    }

    /// Goes on where its reader ended, in the file that holds its log now, like a partition that is
    /// new.
    fn reopen(&mut self, source: &dyn Source, file: &LogFile) -> Result<(), SourceError> {
        let (name, file) = (self.name.clone(), Some(file.clone()));
        let partition = Discovered { name, size_bytes: 0, end_offset: None, file };
        self.reader = match source.open(&partition, Some(self.batch.next_offset)) {
            Ok(reader) => reader,
            // It has less than was read: it is not the log any more, as the next commit tells.
            Err(SourceError::Shrunk { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        (self.end, self.activity) = (End::NotSeen, Activity::Starting);
        self.lost = self.lost.take().filter(Loss::outlives_file);
        self.quiet = Quiet {
            found_at_start: false,
            accepted_at: None,
            moved_at: Instant::now(),
            first_end_at: None,
        };
        Ok(())
    }
}
