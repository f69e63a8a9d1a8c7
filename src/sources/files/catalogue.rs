//! Which log is in which file: decided in every discovery, in the first process. The rules are in
//! the documentation of [the module above](super).

mod arrivals;
mod neighbours;

use super::beginning;
use super::candidates::{Candidates, Taken};
use super::copies::Copies;
use super::discover::{Folders, Found, Sibling};
use super::heads::{Head, Heads};
use super::names::{Compression, FileFormat, first_path};
use super::stat::{Stat, is_absence};
use crate::event::Kind;
use crate::log::{LogFile, PartitionName, PartitionProgress};
use crate::sources::{Discovered, Moved};
use neighbours::{Earlier, Unread};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// In how many discoveries a log must be found nowhere before it counts as gone: a folder that is
/// listed while files are renamed in it may lack some.
const MISSING_MAX: u32 = 2;
/// How often a log that must be read again is looked for at the start, and the time in between.
const ATTEMPTS: u32 = 4;
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(50);

/// How much earlier than the last commit of an earlier job its last discovery may have been.
const COMMITTED_AFTER: Duration = Duration::from_secs(2);

/// The logs that are known, and their files.
#[derive(Clone, Debug)]
pub(super) struct Catalogue {
    follow: bool,
    /// The files that must not be opened, see [`super::FileSource::avoiding`].
    avoided: Vec<PathBuf>,
    is_first: bool,
    logs: BTreeMap<PartitionName, Log>,
    heads: Heads,
    copies: Copies,
    earlier: Vec<Earlier>,
    unread: Unread,
    moved: Vec<Moved>,
    /// What the store says of earlier jobs; `None` if no job has been resumed.
    resumed: Option<Resumed>,
}

/// What is known of earlier jobs.
#[derive(Clone, Debug, Default)]
struct Resumed {
    /// The paths where they found logs first.
    paths: BTreeSet<(Kind, PathBuf)>,
    /// A time at which they knew of all files.
    known_until: Option<SystemTime>,
}

/// A known log.
#[derive(Clone, Debug)]
struct Log {
    file: LogFile,
    format: FileFormat,
    /// The file as this process last saw it.
    seen: Option<Stat>,
    /// Whether that file was seen to begin as is known by now.
    is_checked: bool,
    state: State,
    /// Its first bytes, as far as this process has seen them.
    head: Head,
    /// The offset up to which it was read, if open epochs need it again at the start.
    needed: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// An earlier job has read it.
    Stored,
    /// It is in its file.
    Here,
    /// It was not found in this many discoveries.
    Missing(u32),
    /// No file holds it.
    Gone,
    /// The file of another log that begins as it did holds it too: it is read again from there.
    Shared,
}

/// Whether a log is in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Same,
    /// Another file has its path, and holds it too.
    OtherFile,
    Displaced,
}

impl Log {
    fn is_of_lines(&self) -> bool {
        self.format != FileFormat::Parquet
    }

    /// Returns the first bytes of a file if it holds this log.
    fn held_by(&self, path: &Path, stat: &Stat) -> io::Result<Option<Vec<u8>>> {
        if self.is_short(path, stat)
            || (FileFormat::of(path) == Some(FileFormat::Parquet)) == self.is_of_lines()
        {
            return Ok(None);
        }
        let begins = match beginning::read(path, self.format.at(path)) {
            Err(error) if is_absence(&error) => return Ok(None),
            begins => begins?,
        };
        Ok(beginning::is_of(&self.file.beginning, &begins).then_some(begins))
    }

    /// Whether a file has fewer bytes than were read.
    fn is_short(&self, path: &Path, stat: &Stat) -> bool {
        let is_plain = |path: &Path| FileFormat::compression(path) == Compression::None;
        is_plain(path) && is_plain(Path::new(&self.file.path)) && stat.length < self.file.read_bytes
    }

    /// Whether its file is there, and cannot be read.
    fn cannot_be_read(&self) -> bool {
        let path = Path::new(&self.file.path);
        let begins = beginning::read(path, self.format.at(path));
        begins.is_err_and(|error| !is_absence(&error))
    }

    /// Notes the file that holds it.
    fn settle(&mut self, path: &str, stat: Stat, begins: &[u8]) {
        path.clone_into(&mut self.file.path);
        if begins.len() as u64 > self.file.beginning.bytes {
            self.file.beginning = beginning::of(begins);
        }
        self.head.grow(begins);
        (self.seen, self.is_checked, self.state) = (Some(stat), true, State::Here);
    }

    /// Checks whether it is where it was. A file that cannot be read now has not moved.
    fn place(&mut self) -> Place {
        let path = self.file.path.clone();
        let stat = match Stat::of(Path::new(&path)) {
            Ok(Some(stat)) => stat,
            Ok(None) => return Place::Displaced,
            Err(_) => return Place::Same,
        };
        // How far it was read becomes known only with a commit.
        let is_known = self.seen == Some(stat) && self.state == State::Here;
        if is_known && self.is_checked && !self.is_short(Path::new(&path), &stat) {
            return Place::Same;
        }
        let is_other = self.seen.is_some_and(|seen| seen.identity != stat.identity);
        match self.held_by(Path::new(&path), &stat) {
            Ok(Some(_)) if is_other => Place::OtherFile,
            Ok(Some(begins)) => {
                self.settle(&path, stat, &begins);
                Place::Same
            }
            Ok(None) => Place::Displaced,
            Err(_) => Place::Same,
        }
    }
}

impl Catalogue {
    pub(super) fn new(follow: bool) -> Catalogue {
        Catalogue {
            follow,
            avoided: Vec::new(),
            is_first: true,
            logs: BTreeMap::new(),
            heads: Heads::default(),
            copies: Copies::new(follow),
            earlier: Vec::new(),
            unread: Unread::default(),
            moved: Vec::new(),
            resumed: None,
        }
    }

    pub(super) fn avoid(&mut self, paths: Vec<PathBuf>) {
        self.avoided = paths;
    }

    /// Adds the logs that earlier jobs have read, the last of which has committed at a time.
    pub(super) fn resume(
        &mut self,
        partitions: &[PartitionProgress],
        committed: Option<SystemTime>,
    ) {
        let mut paths = BTreeSet::new();
        for at in partitions {
            let Some(format) = FileFormat::of_partition(&at.partition) else { continue };
            let Some(file) = at.file.clone() else { continue };
            let needed = (at.replay_offset < at.next_offset).then_some(at.next_offset);
            self.heads.add_unseen(&at.partition, &file.beginning);
            paths.insert((at.partition.kind, first_path(&at.partition)));
            let (state, head) = (State::Stored, Head::default());
            let (seen, is_checked) = (None, false);
            let log = Log { file, format, seen, is_checked, state, head, needed };
            self.logs.insert(at.partition.clone(), log);
        }
        let known_until = committed.and_then(|time| time.checked_sub(COMMITTED_AFTER));
        self.resumed = Some(Resumed { paths, known_until });
    }

    /// Notes how far logs have been read, as of a commit.
    pub(super) fn committed(&mut self, partitions: &[PartitionProgress]) {
        for at in partitions {
            if let (Some(log), Some(file)) = (self.logs.get_mut(&at.partition), &at.file) {
                log.file.read_bytes = log.file.read_bytes.max(file.read_bytes);
                let known = &log.file.beginning;
                if file.beginning.bytes >= known.bytes && file.beginning != *known {
                    // The reader knows better, and the file may not begin so any more.
                    self.heads.add_unseen(&at.partition, &file.beginning);
                    log.file.beginning = file.beginning.clone();
                    log.is_checked = false;
                }
            }
        }
    }

    pub(super) fn take_moved(&mut self) -> Vec<Moved> {
        std::mem::take(&mut self.moved)
    }

    /// The files that hold known logs.
    pub(super) fn held(&self) -> BTreeSet<&Path> {
        let here = self.logs.values().filter(|log| log.state == State::Here);
        here.map(|log| Path::new(&log.file.path)).collect()
    }

    /// The files that the arguments stand for and that are not read although their names are those
    /// of logs, in words for people.
    pub(super) fn left_out(&self) -> Vec<String> {
        self.copies.in_words().into_iter().chain(self.unread.given_in_words()).collect()
    }

    /// Returns the partitions whose logs are in files now, given the files that the arguments stand
    /// for, and those beside them.
    pub(super) fn identify(
        &mut self,
        found: Vec<Found>,
        siblings: Vec<Sibling>,
        folders: &Folders,
    ) -> Vec<Discovered> {
        let paths: Taken = found.iter().map(|file| (file.kind, file.path.clone())).collect();
        let mut taken = Taken::new();
        let mut displaced = self.displaced(&paths, folders, &mut taken);
        let attempts = if self.is_first { ATTEMPTS } else { 1 };
        for attempt in 1..=attempts {
            displaced = self.find_displaced(displaced, folders, &mut taken);
            let is_urgent = displaced.iter().any(|(name, _)| self.logs[name].needed.is_some());
            if !is_urgent || attempt == attempts {
                break;
            }
            std::thread::sleep(ATTEMPT_INTERVAL);
        }
        if self.is_first {
            displaced.retain(|(name, _)| !self.share(name));
        }
        self.miss(displaced, &mut taken);
        self.add_new(found, siblings, &taken);
        self.is_first = false;
        let is_there = |log: &Log| matches!(log.state, State::Here | State::Shared);
        let there = self.logs.iter().filter(|(_, log)| is_there(log));
        let discovered = there.map(|(name, log)| Discovered {
            name: name.clone(),
            size_bytes: log.seen.map_or(0, |seen| seen.length),
            end_offset: log.needed.filter(|_| log.state == State::Shared),
            file: Some(log.file.clone()),
        });
        discovered.collect()
    }

    /// Returns the logs that are not where they were.
    fn displaced(
        &mut self,
        found: &Taken,
        folders: &Folders,
        taken: &mut Taken,
    ) -> Vec<(PartitionName, Place)> {
        let owners = self.owners();
        let mut displaced = Vec::new();
        for (name, log) in &mut self.logs {
            let is_settled = matches!(log.state, State::Gone | State::Shared);
            if is_settled || !is_concerned(name, log, found, folders) {
                continue;
            }
            let at = (name.kind, log.file.path.clone());
            if log.state == State::Stored
                && log.needed.is_none()
                && self.follow
                && !found.contains(&at)
                && log.cannot_be_read()
            {
                // Nobody gave this file, and nothing of it must be read: it may wait.
                continue;
            }
            if owners.get(&at).is_some_and(|owner| owner != name) {
                displaced.push((name.clone(), Place::Displaced));
                continue;
            }
            let before = (log.state, log.seen);
            let head = log.head.clone();
            let place = log.place();
            self.heads.update(name, &head, &log.head);
            match place {
                Place::Same => {
                    log.state = State::Here;
                    // Its reader may have seen that it was cut or away, and waits to be told.
                    if before.0 != State::Stored && before != (log.state, log.seen) {
                        let file = Some(log.file.clone());
                        self.moved.push(Moved { partition: name.clone(), file });
                    }
                    taken.insert(at);
                }
                place => displaced.push((name.clone(), place)),
            }
        }
        displaced
    }

    /// Returns which log a path belongs to, if several were there: the one that was found there
    /// last.
    fn owners(&self) -> BTreeMap<(Kind, String), PartitionName> {
        let mut there: Vec<_> =
            self.logs.iter().filter(|(_, log)| is_there_or_missing(log)).collect();
        there.sort_by_key(|(name, log)| (log.state == State::Here, name.name.len(), *name));
        let owned =
            there.into_iter().map(|(name, log)| ((name.kind, log.file.path.clone()), name.clone()));
        owned.collect()
    }

    /// Looks for logs that are not where they were, and returns those that were not found.
    fn find_displaced(
        &mut self,
        displaced: Vec<(PartitionName, Place)>,
        folders: &Folders,
        taken: &mut Taken,
    ) -> Vec<(PartitionName, Place)> {
        let mut left = Vec::new();
        let kinds: BTreeSet<Kind> = displaced.iter().map(|(name, _)| name.kind).collect();
        for kind in kinds {
            let of_kind = displaced.iter().filter(|(name, _)| name.kind == kind);
            let mut candidates = Candidates::find(folders, kind, taken, &self.avoided);
            let mut rest = Vec::new();
            for (name, place) in of_kind {
                let identity = self.logs[name].seen.and_then(|seen| seen.identity);
                let number = candidates.of_identity(identity);
                if !number.is_some_and(|at| self.take(name, &mut candidates, at, taken)) {
                    rest.push((name, place));
                }
            }
            for (name, place) in rest {
                let is_found = *place == Place::Displaced
                    && self.logs[name].file.beginning.bytes > 0
                    && self.take_first(name, &mut candidates, taken);
                if !is_found {
                    left.push((name.clone(), *place));
                }
            }
        }
        left
    }

    /// Takes the first candidate that holds a log.
    fn take_first(
        &mut self,
        name: &PartitionName,
        candidates: &mut Candidates,
        taken: &mut Taken,
    ) -> bool {
        let log = &self.logs[name];
        let fitting = candidates.beginning_as(&log.file.beginning, log.format);
        if fitting.len() > 1 {
            tracing::info!("several files begin as {name} did; the longest that holds it counts");
        }
        fitting.into_iter().any(|at| self.take(name, candidates, at, taken))
    }

    /// Takes a candidate if it holds a log. Returns whether it does.
    fn take(
        &mut self,
        name: &PartitionName,
        candidates: &mut Candidates,
        number: usize,
        taken: &mut Taken,
    ) -> bool {
        let (Some(log), Some(file)) = (self.logs.get_mut(name), candidates.get(number)) else {
            return false;
        };
        let (Some(path), Ok(Some(begins))) =
            (file.path.to_str(), log.held_by(&file.path, &file.stat))
        else {
            return false;
        };
        let is_assigned = log.state != State::Stored;
        tracing::info!("{name} is in {path} now");
        let head = log.head.clone();
        log.settle(path, file.stat, &begins);
        self.heads.update(name, &head, &log.head);
        if is_assigned {
            self.moved.push(Moved { partition: name.clone(), file: Some(log.file.clone()) });
        }
        taken.insert((name.kind, path.to_owned()));
        candidates.take(number);
        true
    }

    /// Looks for a log that open epochs need again, and that no file holds alone, in the files of
    /// others: two logs may have become the same, as far as one goes. Returns whether one holds it.
    fn share(&mut self, name: &PartitionName) -> bool {
        let log = &self.logs[name];
        let known = &log.file.beginning;
        let may_hold = |other: &Log| match other.head.begins_as(known) {
            Some(begins_so) => begins_so,
            None => other.file.beginning.bytes > known.bytes || other.file.beginning == *known,
        };
        let others = self.logs.iter().filter(|(other, of)| {
            other.kind == name.kind && of.state == State::Here && may_hold(of)
        });
        let holds = |other: &Log| {
            let seen = other.seen?;
            let is_held = matches!(log.held_by(Path::new(&other.file.path), &seen), Ok(Some(_)));
            is_held.then(|| (other.file.path.clone(), seen))
        };
        if log.needed.is_none() || known.bytes == 0 {
            return false;
        }
        let Some((path, seen)) = others.map(|(_, other)| other).find_map(holds) else {
            return false;
        };
        tracing::warn!(
            "{name} is gone, and is read again from {path}, another log that begins as it did"
        );
        let Some(log) = self.logs.get_mut(name) else { return false };
        (log.file.path, log.seen, log.state) = (path, Some(seen), State::Shared);
        true
    }

    /// Handles the logs that were looked for in vain.
    fn miss(&mut self, displaced: Vec<(PartitionName, Place)>, taken: &mut Taken) {
        for (name, place) in displaced {
            let Some(log) = self.logs.get_mut(&name) else { continue };
            if place == Place::OtherFile {
                // The path counts: the file that was there before is gone.
                log.seen = None;
                if log.place() == Place::Same {
                    taken.insert((name.kind, log.file.path.clone()));
                    let file = Some(log.file.clone());
                    self.moved.push(Moved { partition: name, file });
                }
                continue;
            }
            log.state = match log.state {
                State::Stored => State::Gone,
                State::Missing(times) if times + 1 >= MISSING_MAX => {
                    self.moved.push(Moved { partition: name, file: None });
                    State::Gone
                }
                State::Missing(times) => State::Missing(times + 1),
                _ => State::Missing(1),
            };
        }
    }
}

/// Whether a log may be in a file of its own.
fn is_there_or_missing(log: &Log) -> bool {
    !matches!(log.state, State::Gone | State::Shared)
}

/// Whether the arguments concern a log that an earlier job has read: they stand for its file, or it
/// was moved within their folders, or it must be read again.
fn is_concerned(name: &PartitionName, log: &Log, found: &Taken, folders: &Folders) -> bool {
    if log.state != State::Stored || found.contains(&(name.kind, log.file.path.clone())) {
        return true;
    }
    let path = Path::new(&log.file.path);
    let is_in_folder =
        path.parent().is_some_and(|folder| folders.contains(&(name.kind, folder.to_owned())));
    let has_moved = first_path(name) != path || !path.exists();
    is_in_folder && (log.needed.is_some() || has_moved)
}

#[cfg(test)]
mod tests;
