//! Titles: what people call a video, its genre and when it was launched.
//!
//! `--titles` names files that hold a table of them. The table is kept in the store, in the
//! transactions of the publications, and is joined by those who read: so a title is always the
//! present one, for old rows too, and can change no count.
//!
//! - [`file`](mod@file): the records of a file: JSON Lines, CSV or Parquet.
//! - [`follow`]: the thread that reads the files, again when they change.

pub mod file;
pub mod follow;

pub use follow::{TitleFiles, TitleUpdate, TitlesError};

use crate::event::VideoId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The longest title or genre, in bytes of UTF-8.
pub const TEXT_BYTES_MAX: usize = 1_024;
/// The most titles of a job. More are malformed.
pub const TITLES_MAX: usize = 5_000_000;

/// What is told of a video.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Title {
    /// Its title.
    pub title: String,
    /// Its genre, if it is known.
    pub genre: Option<String>,
    /// When it was launched, in milliseconds, if that is known.
    pub launched_at_ms: Option<i64>,
}

/// A change of the table: the title of a video, or none any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TitleChange {
    /// The video.
    pub video: VideoId,
    /// Its title from now on.
    pub title: Option<Title>,
}

/// The table as a store has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TitleTable {
    /// The titles.
    pub titles: BTreeMap<VideoId, Title>,
    /// What was read of each file.
    pub sources: Vec<TitleSource>,
}

impl TitleTable {
    /// Applies an update.
    pub fn apply(&mut self, update: &TitleUpdate) {
        for TitleChange { video, title } in &update.changes {
            match title {
                Some(title) => drop(self.titles.insert(*video, title.clone())),
                None => drop(self.titles.remove(video)),
            }
        }
        self.sources.clone_from(&update.sources);
    }
}

/// What was read of a place that `--titles` names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TitleSource {
    /// The file.
    pub place: String,
    /// The number of its records that are titles, or take one back.
    pub titles: u64,
    /// The number of its other records.
    pub malformed: u64,
    /// Where the first of those is, and what is wrong with it.
    pub first_malformed: Option<String>,
}
