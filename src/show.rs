//! Prints a table of a store.
