//! What stores know besides rows: titles of videos, and how much of an epoch has arrived.

use super::table::Cell;
use crate::completeness::Completeness;
use crate::event::{Kind, VideoId};
use crate::stores::{Snapshot, StoreError};
use crate::time::Epoch;
use crate::titles::{Title, TitleTable};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The titles of a publication.
#[derive(Clone, Debug, Default)]
pub struct Titles {
    titles: BTreeMap<VideoId, Title>,
}

impl Titles {
    /// The titles of a snapshot.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn of(snapshot: &dyn Snapshot) -> Result<Titles, StoreError> {
        let TitleTable { titles, .. } = snapshot.titles()?;
        Ok(Titles { titles })
    }

    /// The title of a video.
    pub fn find(&self, video: VideoId) -> Option<&Title> {
        self.titles.get(&video)
    }

    /// All titles, by video.
    pub fn all(&self) -> impl Iterator<Item = (VideoId, &Title)> {
        self.titles.iter().map(|(video, title)| (*video, title))
    }

    /// All genres, sorted.
    pub fn genres(&self) -> Vec<String> {
        let genres: BTreeSet<_> =
            self.titles.values().filter_map(|title| title.genre.clone()).collect();
        genres.into_iter().collect()
    }
}

/// How much of each epoch has arrived.
pub struct Arrived(Vec<Completeness>);

impl Arrived {
    /// That of a snapshot.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn of(snapshot: &dyn Snapshot) -> Result<Arrived, StoreError> {
        Ok(Arrived(snapshot.completeness()?))
    }

    /// The object `completeness` of an epoch, or nothing.
    pub fn of_epoch(&self, epoch: Epoch) -> Cell {
        let of = |kind: Kind| {
            let row = self.0.iter().find(|row| row.epoch == epoch && row.kind == kind);
            row.map_or(Value::Null, |row| {
                json!({
                    "seen": row.seen,
                    "unread": row.unread,
                    "share": row.share,
                    "share_low": row.share_low,
                    "share_high": row.share_high,
                    "unknown": row.unknown,
                })
            })
        };
        let (impressions, plays) = (of(Kind::Impression), of(Kind::Play));
        match impressions.is_null() && plays.is_null() {
            true => Cell::Null,
            false => Cell::Nested(json!({ "impressions": impressions, "plays": plays })),
        }
    }
}
