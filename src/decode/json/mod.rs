//! Records that are JSON objects. A hand-written scanner (`scan`) knows the common shape and gives
//! up on anything else; then serde_json (`strict`) decides, and says what is wrong. The scanner
//! accepts nothing that serde_json would not accept as the same event.

mod scan;
mod strict;
#[cfg(test)]
mod tests;

use super::{DecodeError, FieldNames};
use crate::event::Event;
use scan::Scanner;

/// Decodes the records of one partition that are JSON.
pub struct JsonDecoder {
    fields: FieldNames,
    scanner: Scanner,
}

impl JsonDecoder {
    /// A decoder of records with fields of these names.
    pub fn new(fields: &FieldNames) -> JsonDecoder {
        JsonDecoder { fields: fields.clone(), scanner: Scanner::new(fields) }
    }

    /// The event in a record, which stands at `offset` in its partition.
    ///
    /// # Errors
    /// When the record is no event.
    #[inline]
    pub fn decode(&mut self, record: &[u8], offset: u64) -> Result<Event, DecodeError> {
        match self.scanner.scan(record, offset) {
            Some(event) => Ok(event),
            None => strict::decode(&self.fields, record, offset),
        }
    }
}
