//! Reads a file of JSON lines.
//!
//! The offset of a record is the number of records before it: lines, empty ones included, and the
//! objects of a line that holds several. How many a line has follows from its bytes alone.

mod position;

use super::input::{Growth, Input};
use super::objects::holds_several;
use super::split::{LINE_BYTES_MAX, Line, Splitter};
use super::{Compression, FileFormat, Opening, io_error};
use crate::decode::{FieldNames, JsonDecoder};
use crate::log::{Beginning, LogFile, Loss, LossCause, PartitionName};
use crate::sources::{Batch, Lag, Malformed, PartitionReader, Polled, SourceError, Wait, sample};
use position::Position;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The maximum number of bytes that a poll reads, as a limit for overlong records.
const POLL_BYTES_MAX: usize = 16 << 20;

/// Opens a file of lines at record `offset`, counted from 0.
pub(super) fn open(
    opening: &Opening<'_>,
    fields: &FieldNames,
    compression: Compression,
    follow: bool,
    offset: u64,
) -> Result<Box<dyn PartitionReader>, SourceError> {
    let partition = opening.partition;
    let follow = follow && compression == Compression::None;
    let failed = |error| io_error(&opening.path, error);
    let input = Input::open(&opening.path, compression, follow).map_err(failed)?;
    let begins = match &input {
        Input::Plain(plain) => opening.check(plain.begins()),
        Input::Compressed { .. } => opening.read_beginning(FileFormat::Lines(compression)),
    };
    let begins = begins.map_err(failed)?;
    let mut reader = LinesReader {
        partition: partition.clone(),
        path: opening.path.clone(),
        beginning: begins,
        follow,
        input,
        splitter: Splitter::default(),
        decoder: JsonDecoder::new(fields),
        next: Position::default(),
        damage: None,
        loss: None,
        reported_bytes: 0,
        is_partial_line_read: false,
        is_exhausted: false,
        location: Location::Known,
    };
    if offset > 0 {
        reader.skip_to(offset)?;
        reader.reported_bytes = reader.consumed_bytes();
    }
    Ok(Box::new(reader))
}

struct LinesReader {
    partition: PartitionName,
    /// The last known path of the file.
    path: PathBuf,
    /// How the log began when it was opened.
    beginning: Beginning,
    follow: bool,
    input: Input,
    splitter: Splitter,
    decoder: JsonDecoder,
    next: Position,
    /// The damage to be reported after the records before it.
    damage: Option<io::Error>,
    /// What is, or may be, missing of the log.
    loss: Option<Loss>,
    /// The number of bytes of the file that have been reported or skipped.
    reported_bytes: u64,
    /// Whether the next record of the splitter was already read without its newline, as the last
    /// one of a file that was not followed.
    is_partial_line_read: bool,
    is_exhausted: bool,
    location: Location,
}

/// What is known of the file that holds a followed log.
#[derive(Debug, PartialEq, Eq)]
enum Location {
    /// The open file holds it.
    Known,
    /// The open file holds it, and the log goes on in this one.
    ContinuesIn(PathBuf),
    /// The open file holds it, and no other does.
    Gone,
    /// The open file was cut or written anew, as was seen at this time. Where the rest of the log
    /// is will be told.
    Lost(Instant),
}

/// The longest time that a reader waits to be told where its log is.
const TOLD_WITHIN: Duration = Duration::from_secs(30);

impl PartitionReader for LinesReader {
    fn poll(&mut self, batch: &mut Batch, records_max: usize) -> Result<Polled, SourceError> {
        let polled = self.read(batch, records_max.max(1) as u64);
        batch.next_offset = self.next.number;
        let bytes = self.consumed_bytes();
        batch.bytes += bytes.saturating_sub(self.reported_bytes);
        self.reported_bytes = bytes;
        polled
    }

    fn lag(&self) -> Lag {
        let size = std::fs::metadata(&self.path).map_or(0, |file| file.len());
        let bytes = if self.is_exhausted { 0 } else { size.saturating_sub(self.consumed_bytes()) };
        Lag::of_bytes(bytes)
    }

    fn waits_for(&self) -> Option<Wait> {
        let is_lost = matches!(self.location, Location::Lost(_)) && !self.is_exhausted;
        is_lost.then_some(Wait::File)
    }

    fn file(&self) -> Option<LogFile> {
        let (read_bytes, beginning) = match &self.input {
            Input::Plain(plain) => (self.input.position(), plain.beginning()),
            Input::Compressed { .. } => (0, &self.beginning),
        };
        let path = self.path.to_str()?.to_owned();
        Some(LogFile { path, read_bytes, beginning: beginning.clone() })
    }

    fn loss(&self) -> Option<Loss> {
        self.loss.clone()
    }

    fn relocate(&mut self, file: Option<&LogFile>) -> Result<(), SourceError> {
        let Some(file) = file else { return self.end_without_file() };
        let path = PathBuf::from(&file.path);
        let Input::Plain(plain) = &mut self.input else {
            self.path = path;
            return Ok(());
        };
        let is_at = match plain.is_at(&path) {
            Ok(is_at) => is_at,
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(io_error(&path, error)),
        };
        if !matches!(self.location, Location::Lost(_)) {
            self.location = match is_at {
                true => Location::Known,
                false => Location::ContinuesIn(path.clone()),
            };
            self.path = path;
            return Ok(());
        }
        self.continue_in(path)
    }
}

impl LinesReader {
    /// Goes on in another file that holds the log, at the same place.
    fn continue_in(&mut self, path: PathBuf) -> Result<(), SourceError> {
        let Input::Plain(plain) = &mut self.input else { return Ok(()) };
        let compression = FileFormat::compression(&path);
        let continued = match compression {
            Compression::None => plain.continue_in(&path),
            // A compressed copy of a file that was read to its end has nothing more.
            _ if !matches!(self.location, Location::Lost(_)) => {
                self.is_exhausted = true;
                return Ok(());
            }
            _ => Input::open(&path, compression, false).map(|input| {
                self.input = input;
                true
            }),
        };
        let is_there = match continued {
            Ok(is_there) => is_there,
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(io_error(&path, error)),
        };
        if !is_there {
            // It has been moved again, or is not what it was: that will be found.
            self.location = Location::Lost(Instant::now());
            return Ok(());
        }
        tracing::info!("{} goes on in {}", self.partition, path.display());
        (self.path, self.location) = (path, Location::Known);
        if compression != Compression::None {
            self.follow = false;
            self.splitter = Splitter::default();
            self.is_partial_line_read = false;
            let next = std::mem::take(&mut self.next);
            match self.skip_to(next.number) {
                Err(SourceError::Shrunk { .. }) => {
                    self.next = next;
                    self.location = Location::Lost(Instant::now());
                    return self.end_without_file();
                }
                skipped => skipped?,
            }
            self.reported_bytes = self.consumed_bytes();
        }
        Ok(())
    }

    /// Ends a log whose file is gone: at once if the open file does not hold it any more, and
    /// otherwise at its end.
    fn end_without_file(&mut self) -> Result<(), SourceError> {
        if !matches!(self.location, Location::Lost(_)) {
            tracing::info!("{} is gone from its folders; it is read to its end", self.partition);
            self.location = Location::Gone;
            return Ok(());
        }
        self.is_exhausted = true;
        self.loss = Some(Loss { offset: self.next.number, cause: LossCause::Cut });
        tracing::warn!(
            "{} was cut or written anew after offset {}, and no copy of it was found: what \
             followed in it, if anything, is lost",
            self.partition,
            self.next.number
        );
        Ok(())
    }

    fn read(&mut self, batch: &mut Batch, records_max: u64) -> Result<Polled, SourceError> {
        if let Location::Lost(since) = self.location
            && !self.is_exhausted
        {
            if since.elapsed() < TOLD_WITHIN {
                return Ok(Polled::More);
            }
            self.end_without_file()?;
        }
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
                    return Err(io_error(&self.path, error));
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
            self.take_like_lines(batch, end);
            if self.next.number == end {
                return;
            }
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

    /// Decodes the lines that are like those before them, up to one that is not. Such a line is not
    /// looked for first: it ends where its last value does.
    #[inline]
    fn take_like_lines(&mut self, batch: &mut Batch, end: u64) {
        if self.is_partial_line_read || self.next.in_line > 0 {
            return;
        }
        let lines = self.splitter.lines();
        let (mut number, mut taken) = (self.next.number, 0);
        while number < end
            && let Some((event, length)) = self.decoder.decode_line(&lines[taken..], number)
        {
            batch.events.push(event);
            taken += length;
            number += 1;
        }
        self.next.number = number;
        self.splitter.skip(taken);
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
        let record = malformed(self.next, reason, rest);
        self.loss = Some(record.as_damage());
        batch.malformed.push(record);
        self.next.advance(true);
    }

    /// Checks whether a followed file has grown after its end was reached.
    fn check_growth(&mut self) -> Result<Polled, SourceError> {
        self.splitter.release();
        let Input::Plain(plain) = &mut self.input else { return Ok(Polled::Exhausted) };
        let failed = |error| io_error(&self.path, error);
        match (plain.growth().map_err(failed)?, &self.location) {
            (Growth::More, _) => Ok(Polled::More),
            (Growth::Replaced, _) => {
                let lost = Location::Lost(Instant::now());
                match std::mem::replace(&mut self.location, lost) {
                    // It was told already where the log goes on.
                    Location::ContinuesIn(path) => self.continue_in(path)?,
                    Location::Gone => self.end_without_file()?,
                    _ => {}
                }
                Ok(if self.is_exhausted { Polled::Exhausted } else { Polled::More })
            }
            (Growth::None, Location::ContinuesIn(path)) => {
                let path = path.clone();
                self.continue_in(path)?;
                Ok(Polled::More)
            }
            (Growth::None, Location::Gone) if plain.is_deleted().map_err(failed)? => {
                self.is_exhausted = true;
                Ok(Polled::Exhausted)
            }
            (Growth::None, _) => Ok(Polled::AtEnd),
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
                    return Err(io_error(&self.path, error));
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
    match decoder.decode_other(text, place.number) {
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
