//! The lock that keeps two jobs from writing the same store: a file beside it, `<store>.lock`, with
//! the process id of its owner.
//!
//! The operating system holds the lock, and releases it however the process ends. If the process is
//! killed, the file stays behind, but has no effect without the lock.

use super::wal::beside;
use crate::stores::StoreError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(super) struct StoreLock {
    path: PathBuf,
    file: File,
}

/// A lock that another job holds.
#[derive(Debug)]
pub(super) struct HeldLock {
    path: PathBuf,
    file: File,
    /// The process id of its owner, as far as known.
    pub owner: String,
}

impl StoreLock {
    /// Acquires the lock of a store, which need not exist yet, if no other job holds it.
    ///
    /// # Errors
    /// When the folder of the store is missing or not writable.
    pub fn acquire(store: &Path) -> Result<Result<StoreLock, HeldLock>, StoreError> {
        let path = PathBuf::from(beside(store, ".lock"));
        let failed = |error| StoreError::Io { action: "lock", path: path.clone(), error };
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let mut file = options.open(&path).map_err(failed)?;
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => {
                    write_owner(&mut file).map_err(failed)?;
                    return Ok(Ok(StoreLock { path, file }));
                }
                // The previous owner has just ended, and removed the file that was opened here.
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => {
                    let owner = owner(&mut file);
                    return Ok(Err(HeldLock { path, file, owner }));
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }
}

impl HeldLock {
    /// Takes the lock from its owner, who still has the file open: the file is removed, and the
    /// next one to acquire the lock creates another.
    ///
    /// # Errors
    /// When the folder of the store is not writable.
    pub fn take_away(self) -> Result<(), StoreError> {
        // Another starting job may have replaced it meanwhile.
        if !is_at(&self.file, &self.path) {
            return Ok(());
        }
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::Io { action: "lock", path: self.path, error })
            }
            _ => Ok(()),
        }
    }
}

impl Drop for StoreLock {
    fn drop(&mut self) {
        // After a take-over, the file at the path belongs to the other job.
        if cfg!(unix)
            && is_at(&self.file, &self.path)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %error, "the lock file was not removed");
        }
    }
}

fn write_owner(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

fn owner(file: &mut File) -> String {
    let mut owner = String::new();
    match file.read_to_string(&mut owner) {
        Ok(_) if !owner.trim().is_empty() => format!("process {}", owner.trim()),
        _ => "an unknown process".to_owned(),
    }
}

/// Whether the opened file is still the file at the path.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(opened), Ok(there)) => (opened.dev(), opened.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}
