//! What stores do not have yet: titles, and how complete an epoch is. The rest of the API asks here
//! only, and gets nothing.

use super::table::Cell;
use crate::event::VideoId;
use crate::stores::Snapshot;
use crate::time::Epoch;

/// The title of a video.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Title {
    /// The video.
    pub video: VideoId,
    /// Its name.
    pub title: String,
    /// Its genre.
    pub genre: Option<String>,
    /// When it was launched, in milliseconds.
    pub launched_at_ms: Option<i64>,
}

/// The titles of a publication.
#[derive(Clone, Debug, Default)]
pub struct Titles {
    titles: Vec<Title>,
}

impl Titles {
    /// The titles of a snapshot.
    pub fn of(_snapshot: &dyn Snapshot) -> Titles {
        Titles::default()
    }

    /// The title of a video.
    pub fn find(&self, video: VideoId) -> Option<&Title> {
        self.titles.iter().find(|title| title.video == video)
    }

    /// All titles, by video.
    pub fn all(&self) -> &[Title] {
        &self.titles
    }

    /// All genres, sorted.
    pub fn genres(&self) -> Vec<String> {
        let genres: std::collections::BTreeSet<_> =
            self.titles.iter().filter_map(|title| title.genre.clone()).collect();
        genres.into_iter().collect()
    }
}

/// How complete the input of an epoch is: the object `completeness` of the API, or nothing.
pub fn completeness(_snapshot: &dyn Snapshot, _epoch: Epoch) -> Cell {
    Cell::Null
}
