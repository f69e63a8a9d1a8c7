//! Where a record is in a file of lines.

/// The place of a record.
#[derive(Clone, Copy, Default)]
pub(super) struct Position {
    /// The number of the record, from 0: its offset.
    pub number: u64,
    /// The number of records before it that did not end their line.
    pub objects: u64,
    /// The number of records before it in its line.
    pub in_line: u64,
}

impl Position {
    /// Moves on to the next record.
    #[inline]
    pub fn advance(&mut self, ends_line: bool) {
        self.number += 1;
        if ends_line {
            self.in_line = 0;
        } else {
            self.objects += 1;
            self.in_line += 1;
        }
    }
}
