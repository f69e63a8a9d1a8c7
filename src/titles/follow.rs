//! Reads the files of titles, and again when they change.
//!
//! The titles of a job are those of all its files together; of a video that several name, the last
//! file counts. What is told is the difference from the titles that were told before, or that the
//! store has. A file that has gone or cannot be read any more keeps the titles that it had.

use super::file::{self, FileError, Titles};
use super::{TitleChange, TitleSource, TitleTable};
use crate::event::VideoId;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// What has changed, and what all files have now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TitleUpdate {
    /// The titles that changed, at most one for each video.
    pub changes: Vec<TitleChange>,
    /// What was read of each file.
    pub sources: Vec<TitleSource>,
}

/// Why titles cannot be read at the start of a job.
#[derive(Debug, thiserror::Error)]
pub enum TitlesError {
    /// A pattern is invalid.
    #[error("--titles `{0}` is no pattern: {1}")]
    Pattern(String, String),
    /// There is no such file.
    #[error("--titles `{0}`: there is no such file; give a file of titles, or a pattern")]
    Nothing(String),
    /// A file cannot be read.
    #[error("cannot read the titles in `{0}`: {1}")]
    File(PathBuf, FileError),
}

impl TitlesError {
    /// Whether the arguments are the cause, so that the same command fails again. A file that is
    /// not there may come.
    pub fn is_usage(&self) -> bool {
        !matches!(self, TitlesError::Nothing(_) | TitlesError::File(_, FileError::Io(_)))
    }
}

/// The files of titles of a job.
#[derive(Debug)]
pub struct TitleFiles {
    patterns: Vec<String>,
    files: BTreeMap<PathBuf, Known>,
    /// What was told.
    told: TitleTable,
    /// The files that people were warned of, as they cannot be read.
    warned: BTreeSet<PathBuf>,
}

/// A file as it was read last.
#[derive(Debug)]
struct Known {
    state: FileState,
    titles: Titles,
    source: TitleSource,
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
    pub fn read(patterns: Vec<String>) -> Result<TitleFiles, TitlesError> {
        for pattern in &patterns {
            if found(pattern)?.is_empty() {
                return Err(TitlesError::Nothing(pattern.clone()));
            }
        }
        let (told, warned) = (TitleTable::default(), BTreeSet::new());
        let mut files = TitleFiles { patterns, files: BTreeMap::new(), told, warned };
        match files.look()?.into_iter().next() {
            Some((path, error)) => Err(TitlesError::File(path, error)),
            None => Ok(files),
        }
    }

    /// Returns what is not as a store has it, which has these titles.
    pub fn since(&mut self, told: TitleTable) -> Option<TitleUpdate> {
        self.told = told;
        self.update()
    }

    /// Whether a file is among those of patterns.
    pub fn are_in(patterns: &[String], file: &Path) -> bool {
        let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let files = patterns.iter().filter_map(|pattern| found(pattern).ok()).flatten();
        let file = canonical(file);
        files.into_iter().any(|path| canonical(&path) == file)
    }

    /// Reads the files that have changed. Returns what has changed since the last update.
    ///
    /// # Errors
    /// When a pattern is invalid.
    pub fn again(&mut self) -> Result<Option<TitleUpdate>, TitlesError> {
        for (path, error) in self.look()? {
            if self.warned.insert(path.clone()) {
                let path = path.display();
                tracing::warn!(
                    "titles: cannot read `{path}`: {error}; its titles stay as they are"
                );
            }
        }
        Ok(self.update())
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
        let (titles, source) = file::read(&path)?;
        if let Some(first) = &source.first_malformed {
            let (malformed, place) = (source.malformed, &source.place);
            tracing::warn!(
                "titles: {malformed} records of `{place}` are no titles; first: {first}"
            );
        }
        self.warned.remove(&path);
        self.files.insert(path, Known { state, titles, source });
        Ok(())
    }

    /// Returns the difference of the titles of all files from those that were told.
    fn update(&mut self) -> Option<TitleUpdate> {
        let sources: Vec<_> = self.files.values().map(|file| file.source.clone()).collect();
        let mut now: BTreeMap<VideoId, _> = BTreeMap::new();
        for file in self.files.values() {
            now.extend(file.titles.iter().map(|(video, title)| (*video, title)));
        }
        let told = &self.told.titles;
        let gone = told.keys().filter(|video| !now.contains_key(video));
        let mut changes: Vec<_> =
            gone.map(|video| TitleChange { video: *video, title: None }).collect();
        let new = now.into_iter().filter(|(video, title)| told.get(video) != Some(*title));
        changes.extend(new.map(|(video, title)| TitleChange { video, title: Some(title.clone()) }));
        if changes.is_empty() && sources == self.told.sources {
            return None;
        }
        let update = TitleUpdate { changes, sources };
        self.told.apply(&update);
        Some(update)
    }

    /// Follows the files on a thread of its own, which calls `notify` for each update.
    pub fn follow(mut self, notify: impl Fn() + Send + 'static) -> Followed {
        let (updates, received) = sync_channel(1);
        let (stop, stopped) = sync_channel::<()>(1);
        let thread = thread::spawn(move || {
            while goes_on(&stopped) {
                match self.again() {
                    Ok(None) => {}
                    Ok(Some(update)) => {
                        if !send(&updates, update, &stopped) {
                            return;
                        }
                        notify();
                    }
                    Err(error) => tracing::warn!("{error}"),
                }
            }
        });
        Followed { updates: received, stop: Some(stop), thread: Some(thread) }
    }
}

/// Sends an update once the one before was taken. Returns false if nobody wants it any more.
fn send(updates: &SyncSender<TitleUpdate>, update: TitleUpdate, stopped: &Receiver<()>) -> bool {
    let mut update = update;
    loop {
        match updates.try_send(update) {
            Ok(()) => return true,
            Err(TrySendError::Disconnected(_)) => return false,
            Err(TrySendError::Full(back)) => update = back,
        }
        if !goes_on(stopped) {
            return false;
        }
    }
}

/// Waits for the next look. Returns false if there is none.
fn goes_on(stopped: &Receiver<()>) -> bool {
    matches!(stopped.recv_timeout(LOOK_INTERVAL), Err(RecvTimeoutError::Timeout))
}

/// The files of titles, followed by a thread, which ends when this is dropped.
#[derive(Debug)]
pub struct Followed {
    updates: Receiver<TitleUpdate>,
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Followed {
    /// Returns the next update, if there is one.
    pub fn take(&self) -> Option<TitleUpdate> {
        self.updates.try_recv().ok()
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn names(update: Option<TitleUpdate>) -> Vec<(u64, Option<String>)> {
        let changes = update.map(|update| update.changes).unwrap_or_default();
        let name = |change: TitleChange| (change.video.0, change.title.map(|title| title.title));
        changes.into_iter().map(name).collect()
    }

    fn named(video: u64, title: &str) -> (u64, Option<String>) {
        (video, Some(title.to_owned()))
    }

    #[test]
    fn what_changes_in_the_files_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, titles: &[(u64, &str)]| {
            let lines = titles
                .iter()
                .map(|(video, title)| format!("{{\"video_id\":{video},\"title\":\"{title}\"}}\n"));
            fs::write(path("new"), lines.collect::<String>()).unwrap();
            fs::rename(path("new"), path(name)).unwrap();
        };
        write("a.jsonl", &[(1, "one"), (2, "two"), (3, "three")]);
        let pattern = path("*.jsonl").to_str().unwrap().to_owned();
        let mut files = TitleFiles::read(vec![pattern.clone()]).unwrap();
        let all = [named(1, "one"), named(2, "two"), named(3, "three")];
        assert_eq!(names(files.since(TitleTable::default())), all);
        assert_eq!(files.again().unwrap(), None);
        write("b.jsonl", &[(2, "deux"), (4, "quatre")]);
        assert_eq!(names(files.again().unwrap()), [named(2, "deux"), named(4, "quatre")]);
        write("a.jsonl", &[(1, "uno"), (2, "dos")]);
        assert_eq!(names(files.again().unwrap()), [(3, None), named(1, "uno")]);
        write("b.jsonl", &[(4, "four")]);
        assert_eq!(names(files.again().unwrap()), [named(2, "dos"), named(4, "four")]);
        // A file that has gone keeps its titles.
        fs::remove_file(path("b.jsonl")).unwrap();
        assert_eq!(files.again().unwrap(), None);
        // Another job knows from the store what was told, and that file is gone for it.
        let mut next = TitleFiles::read(vec![pattern]).unwrap();
        assert_eq!(names(next.since(files.told)), [(4, None)]);
    }

    #[test]
    fn at_the_start_every_file_must_be_readable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        let begin = |pattern: &str| TitleFiles::read(vec![pattern.into()]).unwrap_err().to_string();
        assert!(begin(path.to_str().unwrap()).contains("there is no such file"));
        assert!(begin("a[").contains("is no pattern"));
        fs::write(&path, "id\n").unwrap();
        assert!(begin(path.to_str().unwrap()).contains("no column `video_id`"));
    }
}
