//! JSON records. A hand-written scanner (`scan`) handles the common shape and gives up on anything
//! else. Then serde_json (`strict`) decides, and reports the error. The scanner accepts nothing
//! that serde_json would not accept as the same event.

mod scan;
mod strict;
#[cfg(test)]
mod tests;

use super::{DecodeError, FieldNames, FieldTree};
use crate::event::Event;
use scan::Scanner;

/// Decodes the JSON records of one partition.
pub struct JsonDecoder {
    fields: FieldNames,
    tree: FieldTree,
    scanner: Scanner,
}

impl JsonDecoder {
    /// Creates a decoder of records with these field names.
    pub fn new(fields: &FieldNames) -> JsonDecoder {
        JsonDecoder { fields: fields.clone(), tree: fields.tree(), scanner: Scanner::new(fields) }
    }

    /// Returns the event in a record, which is at `offset` in its partition.
    ///
    /// # Errors
    /// If the record is not an event.
    #[inline]
    pub fn decode(&mut self, record: &[u8], offset: u64) -> Result<Event, DecodeError> {
        match self.scanner.scan(record, offset) {
            Some(event) => Ok(event),
            None => strict::decode(&self.fields, &self.tree, record, offset),
        }
    }
}
