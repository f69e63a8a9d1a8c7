//! The files of titles that patterns name, read again when they change.
//!
//! A file that has gone or cannot be read any more keeps the titles that it had.

use super::file::{self, FileError};
use super::follow::TitlesError;
use super::records::Reading;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The files of titles of a job.
#[derive(Debug, Default)]
pub struct TitleFiles {
    patterns: Vec<String>,
    files: BTreeMap<PathBuf, Known>,
    /// The files that people were warned of, as they cannot be read.
    warned: BTreeSet<PathBuf>,
}

/// A file as it was read last.
#[derive(Debug)]
struct Known {
    state: FileState,
    reading: Reading,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileState {
    bytes: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    inode: u64,
}

impl FileState {
    fn of(metadata: &Metadata) -> FileState {
        FileState {
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            inode: std::os::unix::fs::MetadataExt::ino(metadata),
        }
    }
}

impl TitleFiles {
    /// Reads the files of these patterns for the first time.
    ///
    /// # Errors
    /// When there is no file, or one cannot be read.
    pub(super) fn read(patterns: Vec<String>) -> Result<TitleFiles, TitlesError> {
        for pattern in &patterns {
            if found(pattern)?.is_empty() {
                return Err(TitlesError::Nothing(pattern.clone()));
            }
        }
        let mut files = TitleFiles { patterns, ..TitleFiles::default() };
        match files.look()?.into_iter().next() {
            Some((path, error)) => Err(TitlesError::File(path, error)),
            None => Ok(files),
        }
    }

    /// Whether a file is among those of patterns.
    pub fn are_in(patterns: &[String], file: &Path) -> bool {
        let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let files = patterns.iter().filter_map(|pattern| found(pattern).ok()).flatten();
        let file = canonical(file);
        files.into_iter().any(|path| canonical(&path) == file)
    }

    /// What the files have, by path.
    pub(super) fn readings(&self) -> impl Iterator<Item = &Reading> {
        self.files.values().map(|known| &known.reading)
    }

    /// Reads the files that have changed. Warns once of each that cannot be read.
    ///
    /// # Errors
    /// When a pattern is invalid.
    pub(super) fn again(&mut self) -> Result<(), TitlesError> {
        for (path, error) in self.look()? {
            if self.warned.insert(path.clone()) {
                let path = path.display();
                tracing::warn!(
                    "titles: cannot read `{path}`: {error}; its titles stay as they are"
                );
            }
        }
        Ok(())
    }

    /// Reads new and changed files. Returns those that cannot be read.
    fn look(&mut self) -> Result<Vec<(PathBuf, FileError)>, TitlesError> {
        let mut unread = Vec::new();
        let mut all = BTreeSet::new();
        for pattern in &self.patterns {
            all.extend(found(pattern)?);
        }
        all.extend(self.files.keys().cloned());
        for path in all {
            if let Err(error) = self.look_at(path.clone()) {
                unread.push((path, error));
            }
        }
        Ok(unread)
    }

    fn look_at(&mut self, path: PathBuf) -> Result<(), FileError> {
        let state = FileState::of(&std::fs::metadata(&path)?);
        if self.files.get(&path).is_some_and(|known| known.state == state) {
            return Ok(());
        }
        let reading = file::read(&path)?;
        let source = &reading.source;
        if let Some(first) = &source.first_malformed {
            let (malformed, place) = (source.malformed, &source.place);
            tracing::warn!(
                "titles: {malformed} records of `{place}` are no titles; first: {first}"
            );
        }
        self.warned.remove(&path);
        self.files.insert(path, Known { state, reading });
        Ok(())
    }
}

/// Returns the files of a pattern: of a plain path, the path, if it is there.
fn found(pattern: &str) -> Result<Vec<PathBuf>, TitlesError> {
    let path = PathBuf::from(pattern);
    if path.is_file() {
        return Ok(vec![path]);
    }
    let invalid =
        |error: glob::PatternError| TitlesError::Pattern(pattern.into(), error.to_string());
    let paths = glob::glob(pattern).map_err(invalid)?;
    // What is no file of titles by its name is named by no pattern, only by itself.
    let paths = paths.filter_map(Result::ok);
    Ok(paths.filter(|path| path.is_file() && file::has_format(path)).collect())
}
