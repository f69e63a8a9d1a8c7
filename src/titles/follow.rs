//! The titles of all places that a job names, and the thread that follows them.
//!
//! The titles of a job are those of all its places together. Of a video that several name, the last
//! file by path counts, and a topic counts more than files. What is told is the difference from the
//! titles that were told before, or that the store has.

use super::file::FileError;
use super::files::TitleFiles;
use super::records::Reading;
use super::topic::{TitleTopic, TopicError};
use super::{TITLES_MAX, TitleChange, TitleSource, TitleTable};
use crate::event::VideoId;
use crate::kafka::KafkaSettings;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often the places are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// What has changed, and what all places have now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TitleUpdate {
    /// The titles that changed, at most one for each video.
    pub changes: Vec<TitleChange>,
    /// What was read of each file, and of each partition of a topic.
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
    /// A topic cannot be read.
    #[error("cannot read the titles in `kafka:{0}`: {1}")]
    Topic(String, TopicError),
}

impl TitlesError {
    /// Whether the arguments are the cause, so that the same command fails again. A file that is
    /// not there may come, and so may brokers.
    pub fn is_usage(&self) -> bool {
        match self {
            TitlesError::Nothing(_) | TitlesError::File(_, FileError::Io(_)) => false,
            TitlesError::Pattern(..) | TitlesError::File(..) => true,
            TitlesError::Topic(_, error) => error.is_usage(),
        }
    }
}

/// The places of titles that a job names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TitlePlaces {
    /// Files, as paths and patterns.
    pub files: Vec<String>,
    /// Topics.
    pub topics: Vec<String>,
}

impl TitlePlaces {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.topics.is_empty()
    }
}

/// The titles of a job, and where they come from.
#[derive(Debug)]
pub struct JobTitles {
    files: TitleFiles,
    topics: Vec<TitleTopic>,
    /// What was told.
    told: TitleTable,
    /// The number of titles that people were warned of, as it is too large.
    too_many: usize,
}

impl JobTitles {
    /// Reads all places for the first time, topics to their ends. `kafka` must be given if there
    /// are topics.
    ///
    /// # Errors
    /// When there is no such file or topic, or one cannot be read.
    pub fn read(
        places: TitlePlaces,
        kafka: Option<&KafkaSettings>,
    ) -> Result<JobTitles, TitlesError> {
        let files = TitleFiles::read(places.files)?;
        let topic = |topic: String| {
            let settings = kafka.cloned().unwrap_or_default();
            TitleTopic::read(settings, &topic).map_err(|error| TitlesError::Topic(topic, error))
        };
        let topics = places.topics.into_iter().map(topic).collect::<Result<_, _>>()?;
        Ok(JobTitles { files, topics, told: TitleTable::default(), too_many: 0 })
    }

    /// Returns what is not as a store has it, which has these titles.
    pub fn since(&mut self, told: TitleTable) -> Option<TitleUpdate> {
        self.told = told;
        self.update()
    }

    /// Reads what has changed. Returns what has changed since the last update.
    ///
    /// # Errors
    /// When a pattern is invalid.
    pub fn again(&mut self) -> Result<Option<TitleUpdate>, TitlesError> {
        self.files.again()?;
        self.topics.iter_mut().for_each(TitleTopic::again);
        Ok(self.update())
    }

    fn readings(&self) -> impl Iterator<Item = &Reading> {
        self.files.readings().chain(self.topics.iter().flat_map(TitleTopic::readings))
    }

    /// Returns the difference of the titles of all places from those that were told.
    fn update(&mut self) -> Option<TitleUpdate> {
        let mut sources: Vec<_> = self.readings().map(|reading| reading.source.clone()).collect();
        // As stores have them.
        sources.sort_by(|one, other| one.place.cmp(&other.place));
        let mut now: BTreeMap<VideoId, _> = BTreeMap::new();
        for reading in self.readings() {
            now.extend(reading.titles.iter().map(|(video, title)| (*video, title)));
        }
        let too_many = if now.len() > TITLES_MAX { now.len() } else { 0 };
        while now.len() > TITLES_MAX {
            now.pop_last();
        }
        let told = &self.told.titles;
        let gone = told.keys().filter(|video| !now.contains_key(video));
        let mut changes: Vec<_> =
            gone.map(|video| TitleChange { video: *video, title: None }).collect();
        let new = now.into_iter().filter(|(video, title)| told.get(video) != Some(*title));
        changes.extend(new.map(|(video, title)| TitleChange { video, title: Some(title.clone()) }));
        if too_many > 0 && too_many != self.too_many {
            tracing::warn!(
                "titles: there are {too_many} titles, and {TITLES_MAX} is the most: those of the \
                 highest ids are left out"
            );
        }
        self.too_many = too_many;
        if changes.is_empty() && sources == self.told.sources {
            return None;
        }
        let update = TitleUpdate { changes, sources };
        self.told.apply(&update);
        Some(update)
    }

    /// Follows the places on a thread of its own, which calls `notify` for each update.
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

/// The titles of a job, followed by a thread, which ends when this is dropped.
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
        let read = |pattern: &str| {
            let files = vec![pattern.to_owned()];
            JobTitles::read(TitlePlaces { files, ..TitlePlaces::default() }, None)
        };
        let mut files = read(&pattern).unwrap();
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
        let mut next = read(&pattern).unwrap();
        assert_eq!(names(next.since(files.told)), [(4, None)]);
    }

    #[test]
    fn at_the_start_every_file_must_be_readable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        let begin = |pattern: &str| {
            let files = vec![pattern.to_owned()];
            let places = TitlePlaces { files, ..TitlePlaces::default() };
            JobTitles::read(places, None).unwrap_err().to_string()
        };
        assert!(begin(path.to_str().unwrap()).contains("there is no such file"));
        assert!(begin("a[").contains("is no pattern"));
        fs::write(&path, "id\n").unwrap();
        assert!(begin(path.to_str().unwrap()).contains("no column `video_id`"));
    }
}
