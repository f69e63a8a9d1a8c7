//! The lock that keeps two jobs from writing the same store: a file beside it, `<store>.lock`, with
//! the process id of its owner.
//!
//! The operating system holds the lock, and releases it however the process ends. If the process is
//! killed, the file stays behind, but has no effect without the lock.

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

impl StoreLock {
    /// Acquires the lock of a store, which need not exist yet. With `take_over`, a job that holds
    /// the lock loses it: the lock file is replaced.
    ///
    /// # Errors
    /// When another job holds the lock, or the folder of the store is missing or not writable.
    pub fn acquire(store: &Path, take_over: bool) -> Result<StoreLock, StoreError> {
        let mut name = store.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        let failed = |error| StoreError::Io { action: "lock", path: path.clone(), error };
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let mut file = options.open(&path).map_err(failed)?;
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => {
                    write_owner(&mut file).map_err(failed)?;
                    return Ok(StoreLock { path, file });
                }
                // The previous owner has just ended, and removed the file that was opened here.
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) if take_over => {
                    std::fs::remove_file(&path).map_err(failed)?;
                }
                Err(TryLockError::WouldBlock) => return Err(locked(store, file)),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
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

fn locked(store: &Path, mut file: File) -> StoreError {
    let mut owner = String::new();
    let reason = match file.read_to_string(&mut owner) {
        Ok(_) if !owner.trim().is_empty() => {
            format!("another job holds it, process {}", owner.trim())
        }
        _ => "another job holds it".to_owned(),
    };
    StoreError::Locked { path: store.to_owned(), reason }
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
