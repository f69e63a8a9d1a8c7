//! Splits bytes into lines. The buffer is bounded for any input.

use crate::sources::SAMPLE_BYTES_MAX;
use std::io::{self, ErrorKind, Read};

/// The maximum length of a line in bytes, without its newline.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// The number of bytes by which a full buffer grows.
const READ_BYTES: usize = 256 * 1024;

/// Splits bytes into lines. Buffers at most one line of the maximum length and one read.
#[derive(Default)]
pub(super) struct Splitter {
    buffer: Vec<u8>,
    /// `start..end` is the part of the buffer that holds unread bytes.
    start: usize,
    end: usize,
    /// The position at which the search for a newline resumes.
    scanned: usize,
    /// The beginning of a line that is too long.
    beginning: Vec<u8>,
    /// The number of bytes dropped of a line that is too long; 0 if no such line is being read.
    dropped_bytes: u64,
}

/// A line, without its newline.
pub(super) struct Line<'a> {
    /// The text, or its beginning if it is too long.
    pub(super) text: &'a [u8],
    /// Whether it is longer than [`LINE_BYTES_MAX`].
    pub(super) is_long: bool,
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

    /// Returns the next line that ends in a newline.
    #[inline]
    pub(super) fn next_line(&mut self) -> Option<Line<'_>> {
        let Some(length) = memchr::memchr(b'\n', &self.buffer[self.scanned..self.end]) else {
            self.scanned = self.end;
            if self.end - self.start > LINE_BYTES_MAX || self.dropped_bytes > 0 {
                self.drop_beginning();
            }
            return None;
        };
        let newline = self.scanned + length;
        let line = self.start..newline;
        self.start = newline + 1;
        self.scanned = self.start;
        if line.len() > LINE_BYTES_MAX || self.dropped_bytes > 0 {
            return Some(self.long_line(line));
        }
        Some(Line { text: &self.buffer[line], is_long: false })
    }

    /// Returns the rest after the last newline, if there is any.
    pub(super) fn take_partial_line(&mut self) -> Option<Line<'_>> {
        let line = self.start..self.end;
        self.start = self.end;
        self.scanned = self.end;
        if self.dropped_bytes > 0 {
            return Some(self.long_line(line));
        }
        (!line.is_empty()).then(|| Line { text: &self.buffer[line], is_long: false })
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
                ..Splitter::default()
            };
        }
    }

    /// Moves the held bytes to the front, and grows the buffer if they fill it.
    fn make_room(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
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

    #[cold]
    fn long_line(&mut self, line: std::ops::Range<usize>) -> Line<'_> {
        if self.dropped_bytes == 0 {
            self.keep_beginning(line.start);
        }
        self.dropped_bytes = 0;
        Line { text: &self.beginning, is_long: true }
    }

    /// Saves the beginning of a line that is too long.
    fn keep_beginning(&mut self, start: usize) {
        self.beginning.clear();
        self.beginning.extend_from_slice(&self.buffer[start..start + SAMPLE_BYTES_MAX]);
    }
}
