//! Reads a file of JSON lines.
//!
//! The offset of a record is the number of records before it: lines, empty ones included, and the
//! objects of a line that holds several. How many a line has follows from its bytes alone.

use super::input::{Growth, Input};
use super::objects::holds_several;
use super::split::{LINE_BYTES_MAX, Line, Splitter};
use super::{Compression, io_error};
use crate::decode::{FieldNames, JsonDecoder};
use crate::log::PartitionName;
use crate::sources::{Batch, Lag, Malformed, PartitionReader, Polled, SourceError, sample};
use std::io;

/// The maximum number of bytes that a poll reads, as a limit for overlong records.
const POLL_BYTES_MAX: usize = 16 << 20;

/// Opens a file of lines at record `offset`, counted from 0.
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
        next: Position::default(),
        damage: None,
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
    next: Position,
    /// The damage to be reported after the records before it.
    damage: Option<io::Error>,
    /// The number of bytes of the file that have been reported or skipped.
    reported_bytes: u64,
    /// Whether the next record of the splitter was already read without its newline, as the last
    /// one of a file that was not followed.
    is_partial_line_read: bool,
    is_exhausted: bool,
}

/// The place of a record.
#[derive(Clone, Copy, Default)]
struct Position {
    /// The number of the record, from 0: its offset.
    number: u64,
    /// The number of records before it that did not end their line.
    objects: u64,
    /// The number of records before it in its line.
    in_line: u64,
}

impl Position {
    /// Moves on to the next record.
    #[inline]
    fn advance(&mut self, ends_line: bool) {
        self.number += 1;
        if ends_line {
            self.in_line = 0;
        } else {
            self.objects += 1;
            self.in_line += 1;
        }
    }
}

impl PartitionReader for LinesReader {
    fn poll(&mut self, batch: &mut Batch, records_max: usize) -> Result<Polled, SourceError> {
        let polled = self.read(batch, records_max.max(1) as u64);
        batch.next_offset = self.next.number;
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
    fn read(&mut self, batch: &mut Batch, records_max: u64) -> Result<Polled, SourceError> {
        let end = self.next.number.saturating_add(records_max);
        let mut bytes_left = POLL_BYTES_MAX;
        while !self.is_exhausted {
            self.take_records(batch, end, Splitter::next_line);
            if self.next.number >= end || bytes_left == 0 {
                return Ok(Polled::More);
            }
            match self.fill() {
                Ok(0) if self.take_whole_objects(batch, end) => {}
                Ok(0) if !self.follow => self.finish(batch),
                Ok(0) => return self.check_growth(),
                Ok(count) => bytes_left = bytes_left.saturating_sub(count),
                Err(error) if !self.input.is_damage(&error) => {
                    return Err(io_error(&self.partition.name, error));
                }
                Err(error) if self.take_whole_objects(batch, end) => self.damage = Some(error),
                Err(error) => self.report_damage(batch, &error),
            }
        }
        Ok(Polled::Exhausted)
    }

    /// Reads once, or returns the damage that was found before.
    fn fill(&mut self) -> io::Result<usize> {
        match self.damage.take() {
            Some(damage) => Err(damage),
            None => self.splitter.fill(&mut self.input),
        }
    }

    /// Decodes the records that `next` returns, up to but not including the one with number `end`.
    #[inline]
    fn take_records(
        &mut self,
        batch: &mut Batch,
        end: u64,
        next: impl for<'a> Fn(&'a mut Splitter) -> Option<Line<'a>>,
    ) {
        while self.next.number < end {
            let Some(line) = next(&mut self.splitter) else { return };
            let several = match self.is_partial_line_read {
                true => !line.is_long && holds_several(line.text),
                false => !take(&mut self.decoder, batch, self.next, &line),
            };
            if several {
                let length = line.text.len();
                self.splitter.split_line(length);
            } else if self.is_partial_line_read {
                self.is_partial_line_read = false;
            } else {
                self.next.advance(line.ends_line);
            }
        }
    }

    /// Decodes the objects in the splitter that are followed by another in the same line, which has
    /// no newline. Returns whether there were any.
    fn take_whole_objects(&mut self, batch: &mut Batch, end: u64) -> bool {
        let bytes_before = self.splitter.held_bytes();
        self.take_records(batch, end, Splitter::next_whole_object);
        self.splitter.held_bytes() < bytes_before
    }

    /// Decodes the last line, which has no newline.
    fn finish(&mut self, batch: &mut Batch) {
        self.is_exhausted = true;
        if let Some(line) = self.splitter.take_partial_line() {
            take(&mut self.decoder, batch, self.next, &line);
            self.next.advance(true);
        }
    }

    /// Reports the damaged rest of the file as one malformed record.
    fn report_damage(&mut self, batch: &mut Batch, error: &io::Error) {
        self.is_exhausted = true;
        let rest = self.splitter.take_partial_line().map_or(&b""[..], |line| line.text);
        let reason = format!("the compressed data is damaged or cut off here: {error}");
        batch.malformed.push(malformed(self.next, reason, rest));
        self.next.advance(true);
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
                Err(self.shrunk(end, self.next.number))
            }
        }
    }

    /// Skips the records before `offset`.
    fn skip_to(&mut self, offset: u64) -> Result<(), SourceError> {
        while self.next.number < offset {
            if self.skip_records(offset, Splitter::next_line) {
                continue;
            }
            match self.fill() {
                Ok(0) if self.skip_records(offset, Splitter::next_whole_object) => {}
                Ok(0) => return self.skip_rest(offset, self.splitter.has_partial_line()),
                Ok(_) => {}
                Err(error) if !self.input.is_damage(&error) => {
                    return Err(io_error(&self.partition.name, error));
                }
                Err(error) if self.skip_records(offset, Splitter::next_whole_object) => {
                    self.damage = Some(error);
                }
                Err(_) => {
                    self.is_exhausted = true;
                    return self.skip_rest(offset, true);
                }
            }
        }
        Ok(())
    }

    /// Skips the records that `next` returns, up to `offset`. Returns whether there were any.
    #[inline]
    fn skip_records(
        &mut self,
        offset: u64,
        next: impl for<'a> Fn(&'a mut Splitter) -> Option<Line<'a>>,
    ) -> bool {
        let before = self.next.number;
        while self.next.number < offset {
            let Some(line) = next(&mut self.splitter) else { break };
            if !line.is_long && holds_several(line.text) {
                let length = line.text.len();
                self.splitter.split_line(length);
            } else {
                self.next.advance(line.ends_line);
            }
        }
        self.next.number > before
    }

    /// Skips the rest after the last newline, which counts as a record if `has_partial_line`.
    fn skip_rest(&mut self, offset: u64, has_partial_line: bool) -> Result<(), SourceError> {
        let end = self.next.number + u64::from(has_partial_line);
        if end < offset {
            return Err(self.shrunk(end, offset));
        }
        self.next.number = offset;
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

/// Decodes a record into a batch. Returns false if it is several objects, which it leaves.
#[inline]
fn take(decoder: &mut JsonDecoder, batch: &mut Batch, place: Position, line: &Line<'_>) -> bool {
    if line.is_long {
        let what = if line.ends_line && place.in_line == 0 { "line" } else { "object" };
        let reason = format!("{what} is longer than {LINE_BYTES_MAX} bytes");
        batch.malformed.push(malformed(place, reason, line.text));
        return true;
    }
    let text = line.text.strip_suffix(b"\r").unwrap_or(line.text);
    let text = if place.number == 0 { without_byte_order_mark(text) } else { text };
    if text.is_empty() {
        return true;
    }
    match decoder.decode(text, place.number) {
        Ok(event) => batch.events.push(event),
        Err(_) if holds_several(line.text) => return false,
        Err(error) => batch.malformed.push(malformed(place, error.to_string(), text)),
    }
    true
}

fn without_byte_order_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

#[cold]
fn malformed(place: Position, reason: String, text: &[u8]) -> Malformed {
    let line = place.number - place.objects + 1;
    let location = match place.in_line {
        0 => format!("line {line}"),
        before => format!("line {line}, object {}", before + 1),
    };
    Malformed { offset: place.number, records: 1, location, reason, sample: sample(text) }
}

#[cfg(test)]
mod tests;
