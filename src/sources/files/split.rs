//! Splits bytes into records: lines, and the objects in a line that holds several. The buffer is
//! bounded for any input.
//!
//! A line of at most [`LINE_BYTES_MAX`] bytes is returned as it is; whoever cannot decode it asks
//! for its objects ([`Splitter::split_line`]). A longer one is returned object by object.

use super::objects::ObjectScan;
use crate::sources::SAMPLE_BYTES_MAX;
use std::io::{self, ErrorKind, Read};

/// The maximum length of a record in bytes: of an object, or of a line without its newline.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// The number of bytes by which a full buffer grows.
const READ_BYTES: usize = 256 * 1024;

/// Splits bytes into records. Buffers at most one line of the maximum length and one read.
#[derive(Default)]
pub(super) struct Splitter {
    buffer: Vec<u8>,
    /// `start..end` is the part of the buffer that holds unread bytes.
    start: usize,
    end: usize,
    /// The position at which the search for a newline resumes.
    scanned: usize,
    /// The beginning of a record that is too long.
    beginning: Vec<u8>,
    /// The number of bytes dropped of a record that is too long; 0 if no such one is being read.
    dropped_bytes: u64,
    /// Whether the current line is returned object by object.
    is_split: bool,
    /// The search for the end of the object at `start`, and the position at which it resumes: it
    /// has not begun if that is before `start`.
    objects: ObjectScan,
    objects_scanned: usize,
}

/// A line, without its newline, or an object of a line.
pub(super) struct Line<'a> {
    /// The text, or its beginning if it is too long.
    pub(super) text: &'a [u8],
    /// Whether it is longer than [`LINE_BYTES_MAX`].
    pub(super) is_long: bool,
    /// Whether the line ends with it.
    pub(super) ends_line: bool,
}

impl Splitter {
    /// Reads once from `input`, and returns the number of bytes, 0 at the end.
    pub(super) fn fill(&mut self, input: &mut impl Read) -> io::Result<usize> {
        self.make_room();
        loop {
            match input.read(&mut self.buffer[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the bytes that begin with the next line, which may have no end yet; none while the
    /// objects of a line are returned one by one.
    #[inline]
    pub(super) fn lines(&self) -> &[u8] {
        if self.is_split || self.dropped_bytes > 0 {
            return &[];
        }
        &self.buffer[self.start..self.end]
    }

    /// Skips whole lines of [`Splitter::lines`], of so many bytes.
    #[inline]
    pub(super) fn skip(&mut self, bytes: usize) {
        self.start += bytes;
        self.scanned = self.scanned.max(self.start);
    }

    /// Returns the next line that ends in a newline, or the next object of a line that is split or
    /// too long.
    #[inline]
    pub(super) fn next_line(&mut self) -> Option<Line<'_>> {
        let Some(length) = memchr::memchr(b'\n', &self.buffer[self.scanned..self.end]) else {
            self.scanned = self.end;
            if self.end - self.start > LINE_BYTES_MAX || self.dropped_bytes > 0 {
                return self.next_whole_object();
            }
            return None;
        };
        let newline = self.scanned + length;
        if self.is_split || newline - self.start > LINE_BYTES_MAX || self.dropped_bytes > 0 {
            return Some(self.next_part(newline));
        }
        let line = self.start..newline;
        self.start = newline + 1;
        self.scanned = self.start;
        Some(Line { text: &self.buffer[line], is_long: false, ends_line: true })
    }

    /// Gives the last line back, whose length this is, so that its objects are returned one by one.
    #[cold]
    pub(super) fn split_line(&mut self, length: usize) {
        let newline = self.start - 1;
        self.start = newline - length;
        self.scanned = newline;
        self.is_split = true;
        self.restart_scan();
    }

    /// Returns the next object of a line whose newline is not there yet. It is not the last one,
    /// which may go on.
    #[cold]
    pub(super) fn next_whole_object(&mut self) -> Option<Line<'_>> {
        match self.find_object(self.end) {
            Some(next) => Some(self.object(next)),
            None => {
                if self.end - self.start > LINE_BYTES_MAX || self.dropped_bytes > 0 {
                    self.drop_beginning();
                }
                None
            }
        }
    }

    /// Returns the next object of a line, or the rest of the line.
    #[cold]
    fn next_part(&mut self, newline: usize) -> Line<'_> {
        self.scanned = newline;
        if let Some(next) = self.find_object(newline) {
            return self.object(next);
        }
        let rest = self.start..newline;
        self.start = newline + 1;
        self.scanned = self.start;
        self.is_split = false;
        self.record(rest, true)
    }

    /// Returns the position before `end` at which the next object begins.
    fn find_object(&mut self, end: usize) -> Option<usize> {
        if self.objects_scanned < self.start {
            self.restart_scan();
        }
        let found = self.objects.next_object(&self.buffer[self.objects_scanned..end]);
        let position = found.map(|length| self.objects_scanned + length);
        self.objects_scanned = position.unwrap_or(end);
        position
    }

    /// Returns the object that ends where the next one begins.
    fn object(&mut self, next: usize) -> Line<'_> {
        let object = self.start..next;
        self.start = next;
        self.restart_scan();
        self.record(object, false)
    }

    fn restart_scan(&mut self) {
        self.objects = ObjectScan::default();
        self.objects_scanned = self.start;
    }

    /// Returns the rest after the last newline, if there is any.
    pub(super) fn take_partial_line(&mut self) -> Option<Line<'_>> {
        let line = self.start..self.end;
        self.start = self.end;
        self.scanned = self.end;
        self.restart_scan();
        (self.dropped_bytes > 0 || !line.is_empty()).then(|| self.record(line, true))
    }

    /// Whether there is a rest after the last newline.
    pub(super) fn has_partial_line(&self) -> bool {
        self.start < self.end || self.dropped_bytes > 0
    }

    /// The number of bytes that were read, but not returned or dropped.
    pub(super) fn held_bytes(&self) -> u64 {
        (self.end - self.start) as u64
    }

    /// The capacity of the buffer, in bytes.
    #[cfg(test)]
    pub(super) fn capacity_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// Frees the buffer if it is empty, as there may be no more input for a long time.
    pub(super) fn release(&mut self) {
        if self.start == self.end {
            *self = Splitter {
                beginning: std::mem::take(&mut self.beginning),
                dropped_bytes: self.dropped_bytes,
                // Only a record that is too long is searched on.
                objects: match self.dropped_bytes {
                    0 => ObjectScan::default(),
                    _ => std::mem::take(&mut self.objects),
                },
                ..Splitter::default()
            };
        }
    }

    /// Moves the held bytes to the front, and grows the buffer if they fill it.
    fn make_room(&mut self) {
        if self.objects_scanned < self.start {
            self.restart_scan();
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.objects_scanned -= self.start;
        self.scanned -= self.start;
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            self.buffer.resize(self.end + READ_BYTES, 0);
        }
    }

    #[cold]
    fn drop_beginning(&mut self) {
        if self.dropped_bytes == 0 {
            self.keep_beginning(self.start);
        }
        self.dropped_bytes += self.held_bytes();
        self.start = self.end;
    }

    /// Returns the record at a place in the buffer, of which a beginning may have been dropped.
    fn record(&mut self, place: std::ops::Range<usize>, ends_line: bool) -> Line<'_> {
        if self.dropped_bytes == 0 && place.len() <= LINE_BYTES_MAX {
            return Line { text: &self.buffer[place], is_long: false, ends_line };
        }
        if self.dropped_bytes == 0 {
            self.keep_beginning(place.start);
        }
        self.dropped_bytes = 0;
        Line { text: &self.beginning, is_long: true, ends_line }
    }

    /// Saves the beginning of a record that is too long.
    fn keep_beginning(&mut self, start: usize) {
        self.beginning.clear();
        self.beginning.extend_from_slice(&self.buffer[start..start + SAMPLE_BYTES_MAX]);
    }
}
