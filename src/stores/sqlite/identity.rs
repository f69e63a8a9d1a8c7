//! Whether the files of a store are still those that the job has open.
//!
//! A file that is deleted or replaced stays open, and everything that is committed into it is lost
//! when the job ends. A file with a second name (a hard link) is worse: the WAL belongs to one of
//! the names, and a program that opens the other one sees a database without its latest pages, and
//! damages it when it writes.
//!
//! The database itself is never opened here: closing a second handle would release the locks that
//! SQLite holds on it (see "How To Corrupt An SQLite Database File", section 2.2).

use super::wal::Wal;
use crate::stores::StoreError;
use crate::time::Publication;
use std::path::{Path, PathBuf};

/// The files of a store, as they were when it was opened.
#[derive(Debug)]
pub(super) struct StoreFiles {
    files: [(PathBuf, Option<FileId>); 2],
    has_warned: bool,
}

/// A file, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    number: u64,
    /// The number of its names.
    links: u64,
}

impl StoreFiles {
    /// Notes the files of a store that was opened. Its WAL exists by then.
    pub fn of(store: &Path, wal: &Wal) -> StoreFiles {
        let files = [store, &wal.path].map(|path| (path.to_owned(), FileId::at(path)));
        StoreFiles { files, has_warned: false }
    }

    /// Checks that the files are still there.
    ///
    /// # Errors
    /// When one was deleted, moved or replaced: what was committed into it is lost.
    pub fn check(&mut self, last: Publication) -> Result<(), StoreError> {
        for (path, opened) in &self.files {
            let Some(opened) = opened else { continue };
            let what = match FileId::at(path) {
                None => "deleted or moved away",
                Some(found) if !found.is_same(opened) => "replaced by another file",
                Some(_) => continue,
            };
            return Err(StoreError::FileLost { path: path.clone(), what, last });
        }
        let (store, _) = &self.files[0];
        if !self.has_warned && FileId::at(store).is_some_and(|file| file.links > 1) {
            self.has_warned = true;
            tracing::warn!(
                "`{}` has got a second name (a hard link): programs that open it by that name see \
                 old data and can damage the store; the next start refuses it",
                store.display()
            );
        }
        Ok(())
    }
}

/// Refuses a store that has several names.
///
/// # Errors
/// When the file has hard links.
pub(super) fn refuse_links(store: &Path) -> Result<(), StoreError> {
    match FileId::at(store) {
        // The names of a folder are those of its subfolders.
        Some(FileId { links, .. }) if links > 1 && !store.is_dir() => {
            Err(StoreError::HardLinked { path: store.to_owned(), links })
        }
        _ => Ok(()),
    }
}

impl FileId {
    #[cfg(unix)]
    fn at(path: &Path) -> Option<FileId> {
        use std::os::unix::fs::MetadataExt;
        let file = std::fs::metadata(path).ok()?;
        Some(FileId { device: file.dev(), number: file.ino(), links: file.nlink() })
    }

    #[cfg(not(unix))]
    fn at(_path: &Path) -> Option<FileId> {
        None
    }

    fn is_same(&self, other: &FileId) -> bool {
        (self.device, self.number) == (other.device, other.number)
    }
}
