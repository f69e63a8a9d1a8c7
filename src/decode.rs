//! Decodes JSON records into events.
