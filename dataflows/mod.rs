//! The queries.
