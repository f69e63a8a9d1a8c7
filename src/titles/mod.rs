//! Titles: what people call a video, its genre and when it was launched.
//!
//! `--titles` names files, or compacted topics, that hold a table of them. The table is kept in the
//! store, in the transactions of the publications, and is joined by those who read: so a title is
//! always the present one, for old rows too, and can change no count.
//!
//! - [`records`]: what a record of a title is.
//! - [`file`](mod@file): a file: JSON Lines, CSV or Parquet. [`files`]: those of patterns.
//! - [`topic`]: a topic in Kafka.
//! - [`follow`]: all of them, and the thread that reads them again when they change.

pub mod file;
pub mod files;
pub mod follow;
pub mod records;
#[cfg_attr(not(feature = "kafka"), path = "topic_missing.rs")]
pub mod topic;

pub use files::TitleFiles;
pub use follow::{JobTitles, TitlePlaces, TitleUpdate, TitlesError};

use crate::event::VideoId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The longest title or genre, in bytes of UTF-8.
pub const TEXT_BYTES_MAX: usize = 1_024;
/// The most titles of a file or partition, where more are malformed; and of a job, which leaves the
/// others out.
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
    /// What was read of each file, and of each partition of a topic.
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
    /// The file, or the partition, as `kafka:TOPIC/NUMBER`.
    pub place: String,
    /// The number of its records that are titles, or take one back.
    pub titles: u64,
    /// The number of its other records.
    pub malformed: u64,
    /// Where the first of those is, and what is wrong with it.
    pub first_malformed: Option<String>,
    /// Of a partition: the offset after the last record that was read.
    pub next_offset: Option<u64>,
}
