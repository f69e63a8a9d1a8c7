//! The leader's part in titles: they are read by a thread, and committed with the next publication.

use crate::stores::{StoreError, StoreReader};
use crate::titles::follow::Followed;
use crate::titles::{JobTitles, TitleUpdate};

/// The titles of a job.
#[derive(Debug, Default)]
pub(super) struct Titling {
    /// What is to be committed.
    update: Option<TitleUpdate>,
    /// The places, where they are followed.
    followed: Option<Followed>,
}

impl Titling {
    /// Compares the titles with the store, so that the first publication has what differs.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn begin(
        titles: Option<JobTitles>,
        follow: bool,
        store: &dyn StoreReader,
    ) -> Result<Titling, StoreError> {
        let Some(mut titles) = titles else { return Ok(Titling::default()) };
        let update = titles.since(store.titles()?);
        let leader = std::thread::current();
        let followed = follow.then(|| titles.follow(move || leader.unpark()));
        Ok(Titling { update, followed })
    }

    /// Whether something is to be committed.
    pub fn has_update(&self) -> bool {
        self.update.is_some()
    }

    /// Looks whether the titles have changed. Returns whether there is something new to commit.
    pub fn look(&mut self) -> bool {
        if self.update.is_none()
            && let Some(followed) = &self.followed
        {
            self.update = followed.take();
            return self.update.is_some();
        }
        false
    }

    /// Takes what is to be committed.
    pub fn take(&mut self) -> Option<TitleUpdate> {
        self.update.take()
    }
}
