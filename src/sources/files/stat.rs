//! What is known of files without reading them.

use super::input::identity;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How long a file that may still be written may be without a change.
const RECENT_MAX: Duration = Duration::from_secs(10);

/// What is known of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// What tells it from the other files, see [`identity`].
    pub(super) identity: Option<(u64, u64)>,
    /// Its length in bytes.
    pub(super) length: u64,
    pub(super) modified: Option<SystemTime>,
}

impl Stat {
    /// Returns what is known of a regular file; `None` if there is none.
    pub(super) fn of(path: &Path) -> io::Result<Option<Stat>> {
        match path.metadata() {
            Ok(file) if file.is_file() => Ok(Some(Stat {
                identity: identity(&file),
                length: file.len(),
                modified: file.modified().ok(),
            })),
            Ok(_) => Ok(None),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the file changed some seconds ago at most, so that a writer may still be at it.
    pub(super) fn is_recent(&self) -> bool {
        let age = self.modified.and_then(|modified| modified.elapsed().ok());
        age.is_some_and(|age| age < RECENT_MAX)
    }
}

/// Whether an error says that there is no file.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
