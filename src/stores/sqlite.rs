//! SQLite, one file.
