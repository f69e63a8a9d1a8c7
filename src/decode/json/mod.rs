//! JSON records. Most records of a log differ only in their values, so they are compared with the
//! *shape* of one that was read before (`shape`). A hand-written scanner (`scan`) reads the others,
//! and gives up on anything uncommon. Then serde_json (`strict`) decides, and reports the error.
//! Neither the shape nor the scanner accepts anything that serde_json would not accept as the same
//! event.

mod scan;
mod shape;
mod strict;
#[cfg(test)]
mod tests;

use super::{DecodeError, FieldNames, FieldTree};
use crate::event::Event;
use scan::Scanner;
use shape::Shapes;

/// Decodes the JSON records of one partition.
pub struct JsonDecoder {
    fields: FieldNames,
    tree: FieldTree,
    scanner: Scanner,
    shapes: Shapes,
}

impl JsonDecoder {
    /// Creates a decoder of records with these field names.
    pub fn new(fields: &FieldNames) -> JsonDecoder {
        JsonDecoder {
            fields: fields.clone(),
            tree: fields.tree(),
            scanner: Scanner::new(fields),
            shapes: Shapes::default(),
        }
    }

    /// Returns the event in a record, which is at `offset` in its partition.
    ///
    /// # Errors
    /// If the record is not an event.
    #[inline]
    pub fn decode(&mut self, record: &[u8], offset: u64) -> Result<Event, DecodeError> {
        let at_end = |rest: &[u8]| rest.is_empty().then_some(0);
        match self.shapes.read(record, offset, at_end) {
            Some((event, _)) => Ok(event),
            None => self.decode_other(record, offset),
        }
    }

    /// Returns the event in the line that `lines` begin with, and the length of the line with its
    /// newline, if the line is like those before it. Any other is for
    /// [`JsonDecoder::decode_other`].
    #[inline]
    pub(crate) fn decode_line(&mut self, lines: &[u8], offset: u64) -> Option<(Event, usize)> {
        self.shapes.read(lines, offset, |rest| match rest {
            [b'\n', ..] => Some(1),
            [b'\r', b'\n', ..] => Some(2),
            _ => None,
        })
    }

    /// Returns the event in a record that is not like those before it.
    ///
    /// # Errors
    /// If the record is not an event.
    #[inline]
    pub(crate) fn decode_other(
        &mut self,
        record: &[u8],
        offset: u64,
    ) -> Result<Event, DecodeError> {
        let Some(event) = self.scanner.scan(record, offset) else {
            return strict::decode(&self.fields, &self.tree, record, offset);
        };
        if self.shapes.is_wanted()
            && let Some(places) = self.scanner.places(record)
        {
            self.shapes.learn(record, &places);
        }
        Ok(event)
    }
}
