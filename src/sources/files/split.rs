//! Splits bytes into lines, in a buffer that is bounded whatever the bytes are.

use crate::sources::SAMPLE_BYTES_MAX;
use std::io::{self, ErrorKind, Read};

/// The longest line that is read, in bytes, without its newline.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// How much is read at once, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// Lines, as they come out of bytes. It holds at most a line of the greatest length and one read.
#[derive(Default)]
pub(super) struct Splitter {
    buffer: Vec<u8>,
    /// The part of the buffer that holds bytes.
    start: usize,
    end: usize,
    /// Where to go on looking for a newline.
    scanned: usize,
    /// The beginning of a line that is too long.
    beginning: Vec<u8>,
    /// How many bytes of a line that is too long are gone; 0 when no such line is being read.
    dropped_bytes: u64,
}

/// A line, without its newline.
pub(super) struct Line<'a> {
    /// Its text, or the beginning of it if it is too long.
    pub(super) text: &'a [u8],
    /// Whether it is longer than [`LINE_BYTES_MAX`].
    pub(super) is_long: bool,
}

impl Splitter {
    /// Reads on, and says how many bytes there were: 0 at the end.
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

    /// The next line that has its newline.
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

    /// What follows the last newline, if there is anything.
    pub(super) fn take_rest(&mut self) -> Option<Line<'_>> {
        let line = self.start..self.end;
        self.start = self.end;
        self.scanned = self.end;
        if self.dropped_bytes > 0 {
            return Some(self.long_line(line));
        }
        (!line.is_empty()).then(|| Line { text: &self.buffer[line], is_long: false })
    }

    /// Whether anything follows the last newline.
    pub(super) fn has_rest(&self) -> bool {
        self.start < self.end || self.dropped_bytes > 0
    }

    /// How many bytes were read but not handed out or dropped.
    pub(super) fn held_bytes(&self) -> u64 {
        (self.end - self.start) as u64
    }

    /// How large the buffer is.
    #[cfg(test)]
    pub(super) fn capacity_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// Frees the buffer if it is empty, as nothing may come for a long time.
    pub(super) fn release(&mut self) {
        if self.start == self.end {
            *self = Splitter {
                beginning: std::mem::take(&mut self.beginning),
                dropped_bytes: self.dropped_bytes,
                ..Splitter::default()
            };
        }
    }

    /// Moves what is held to the front, and grows the buffer if that fills it.
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

    /// Keeps the beginning of a line that is known to be too long.
    fn keep_beginning(&mut self, start: usize) {
        self.beginning.clear();
        self.beginning.extend_from_slice(&self.buffer[start..start + SAMPLE_BYTES_MAX]);
    }
}
