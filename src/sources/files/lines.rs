//! Reads a file of JSON lines.

use super::input::{Growth, Input};
use super::split::{LINE_BYTES_MAX, Line, Splitter};
use super::{Compression, io_error};
use crate::decode::{FieldNames, JsonDecoder};
use crate::log::PartitionName;
use crate::sources::{Batch, Lag, Malformed, PartitionReader, Polled, SourceError, sample};

/// The maximum number of bytes that a poll reads, as a limit for overlong lines.
const POLL_BYTES_MAX: usize = 16 << 20;

/// Opens a file of lines at line `offset`, counted from 0.
pub(super) fn open(
    partition: &PartitionName,
    fields: &FieldNames,
    compression: Compression,
    follow: bool,
    offset: u64,
) -> Result<Box<dyn PartitionReader>, SourceError> {
    let input = Input::open((&partition.name).into(), compression)
        .map_err(|error| io_error(&partition.name, error))?;
    let mut reader = LinesReader {
        partition: partition.clone(),
        follow: follow && compression == Compression::None,
        input,
        splitter: Splitter::default(),
        decoder: JsonDecoder::new(fields),
        next_line: 0,
        reported_bytes: 0,
        is_partial_line_read: false,
        is_exhausted: false,
    };
    if offset > 0 {
        reader.skip_to(offset)?;
        reader.reported_bytes = reader.consumed_bytes();
    }
    Ok(Box::new(reader))
}

struct LinesReader {
    partition: PartitionName,
    follow: bool,
    input: Input,
    splitter: Splitter,
    decoder: JsonDecoder,
    /// The number of the next line, from 0.
    next_line: u64,
    /// The number of bytes of the file that have been reported or skipped.
    reported_bytes: u64,
    /// Whether the next line of the splitter was already read without its newline, as the last line
    /// of a file that was not followed.
    is_partial_line_read: bool,
    is_exhausted: bool,
}

impl PartitionReader for LinesReader {
    fn poll(&mut self, batch: &mut Batch, records_max: usize) -> Result<Polled, SourceError> {
        let polled = self.read(batch, records_max.max(1) as u64);
        batch.next_offset = self.next_line;
        let bytes = self.consumed_bytes();
        batch.bytes += bytes - self.reported_bytes;
        self.reported_bytes = bytes;
        polled
    }

    fn lag(&self) -> Lag {
        let size = std::fs::metadata(&self.partition.name).map_or(0, |file| file.len());
        let bytes = if self.is_exhausted { 0 } else { size.saturating_sub(self.consumed_bytes()) };
        Lag::of_bytes(bytes)
    }
}

impl LinesReader {
    fn read(&mut self, batch: &mut Batch, lines_max: u64) -> Result<Polled, SourceError> {
        let end_line = self.next_line.saturating_add(lines_max);
        let mut bytes_left = POLL_BYTES_MAX;
        while !self.is_exhausted {
            self.take_lines(batch, end_line);
            if self.next_line >= end_line || bytes_left == 0 {
                return Ok(Polled::More);
            }
            match self.splitter.fill(&mut self.input) {
                Ok(0) if !self.follow => self.finish(batch),
                Ok(0) => return self.check_growth(),
                Ok(count) => bytes_left = bytes_left.saturating_sub(count),
                Err(error) if self.input.is_damage(&error) => self.report_damage(batch, &error),
                Err(error) => return Err(io_error(&self.partition.name, error)),
            }
        }
        Ok(Polled::Exhausted)
    }

    /// Decodes the lines in the splitter, up to but not including `end_line`.
    fn take_lines(&mut self, batch: &mut Batch, end_line: u64) {
        while self.next_line < end_line {
            let Some(line) = self.splitter.next_line() else { return };
            if self.is_partial_line_read {
                self.is_partial_line_read = false;
                continue;
            }
            take(&mut self.decoder, batch, self.next_line, &line);
            self.next_line += 1;
        }
    }

    /// Decodes the last line, which has no newline.
    fn finish(&mut self, batch: &mut Batch) {
        self.is_exhausted = true;
        if let Some(line) = self.splitter.take_partial_line() {
            take(&mut self.decoder, batch, self.next_line, &line);
            self.next_line += 1;
        }
    }

    /// Reports the damaged rest of the file as one malformed record.
    fn report_damage(&mut self, batch: &mut Batch, error: &std::io::Error) {
        self.is_exhausted = true;
        let rest = self.splitter.take_partial_line().map_or(&b""[..], |line| line.text);
        let reason = format!("the compressed data is damaged or cut off here: {error}");
        batch.malformed.push(malformed(self.next_line, reason, rest));
        self.next_line += 1;
    }

    /// Checks whether a followed file has grown after its end was reached.
    fn check_growth(&mut self) -> Result<Polled, SourceError> {
        self.splitter.release();
        let Input::Plain(plain) = &mut self.input else { return Ok(Polled::Exhausted) };
        let failed = |error| io_error(&self.partition.name, error);
        match plain.growth().map_err(failed)? {
            Growth::None => Ok(Polled::AtEnd),
            Growth::More => Ok(Polled::More),
            Growth::Shrunk => {
                let end = plain.count_lines().map_err(failed)?;
                Err(self.shrunk(end, self.next_line))
            }
        }
    }

    /// Skips the lines before `offset`.
    fn skip_to(&mut self, offset: u64) -> Result<(), SourceError> {
        while self.next_line < offset {
            if self.splitter.next_line().is_some() {
                self.next_line += 1;
                continue;
            }
            match self.splitter.fill(&mut self.input) {
                Ok(0) => return self.skip_rest(offset, self.splitter.has_partial_line()),
                Ok(_) => {}
                Err(error) if self.input.is_damage(&error) => {
                    self.is_exhausted = true;
                    return self.skip_rest(offset, true);
                }
                Err(error) => return Err(io_error(&self.partition.name, error)),
            }
        }
        Ok(())
    }

    /// Skips the rest after the last newline, which counts as a line if `has_partial_line`.
    fn skip_rest(&mut self, offset: u64, has_partial_line: bool) -> Result<(), SourceError> {
        let end = self.next_line + u64::from(has_partial_line);
        if end < offset {
            return Err(self.shrunk(end, offset));
        }
        self.next_line = offset;
        if self.follow {
            self.is_partial_line_read = true;
        } else {
            self.splitter.take_partial_line();
        }
        Ok(())
    }

    fn shrunk(&self, end: u64, offset: u64) -> SourceError {
        SourceError::Shrunk { partition: self.partition.clone(), end, offset }
    }

    /// The number of bytes of the file that have been returned or dropped.
    fn consumed_bytes(&self) -> u64 {
        match self.input {
            Input::Plain(_) => self.input.position() - self.splitter.held_bytes(),
            Input::Compressed { .. } => self.input.position(),
        }
    }
}

/// Decodes a line into a batch.
#[inline]
fn take(decoder: &mut JsonDecoder, batch: &mut Batch, number: u64, line: &Line<'_>) {
    if line.is_long {
        let reason = format!("line is longer than {LINE_BYTES_MAX} bytes");
        batch.malformed.push(malformed(number, reason, line.text));
        return;
    }
    let text = line.text.strip_suffix(b"\r").unwrap_or(line.text);
    let text = if number == 0 { without_byte_order_mark(text) } else { text };
    if text.is_empty() {
        return;
    }
    match decoder.decode(text, number) {
        Ok(event) => batch.events.push(event),
        Err(error) => batch.malformed.push(malformed(number, error.to_string(), text)),
    }
}

fn without_byte_order_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

#[cold]
fn malformed(number: u64, reason: String, text: &[u8]) -> Malformed {
    Malformed {
        offset: number,
        location: format!("line {}", number + 1),
        reason,
        sample: sample(text),
    }
}
