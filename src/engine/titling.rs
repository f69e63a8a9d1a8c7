//! The leader's part in titles: they are read by a thread, and committed with the next publication.

use super::{EngineError, Settings};
use crate::stores::StoreReader;
use crate::titles::follow::Followed;
use crate::titles::{TitleFiles, TitleUpdate};

/// The titles of a job.
#[derive(Debug, Default)]
pub(super) struct Titling {
    /// What is to be committed.
    update: Option<TitleUpdate>,
    /// The files, where they are followed.
    followed: Option<Followed>,
}

impl Titling {
    /// Reads the files of titles for the first time, so that the first publication has them.
    ///
    /// # Errors
    /// When a file cannot be read, or the store cannot.
    pub fn begin(settings: &Settings, store: &dyn StoreReader) -> Result<Titling, EngineError> {
        if settings.titles.is_empty() {
            return Ok(Titling::default());
        }
        let mut files = TitleFiles::new(settings.titles.clone(), store.titles()?);
        let update = files.begin()?;
        let leader = std::thread::current();
        let followed = settings.follow.then(|| files.follow(move || leader.unpark()));
        Ok(Titling { update, followed })
    }

    /// Whether something is to be committed.
    pub fn has_update(&self) -> bool {
        self.update.is_some()
    }

    /// Looks whether the files have changed. Returns whether there is something new to commit.
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
