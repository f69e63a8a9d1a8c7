//! Which log is in which file: decided in every discovery, in the first process. The rules are in
//! the documentation of [the module above](super).

use super::candidates::{Candidate, Taken, candidates};
use super::copies::{Copies, Original};
use super::discover::{Folders, Found};
use super::stat::{Stat, is_absence};
use super::{Compression, FileFormat, beginning, first_path};
use crate::event::Kind;
use crate::log::{LogFile, PartitionName, PartitionProgress};
use crate::sources::{Discovered, Moved};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// In how many discoveries a log must be found nowhere before it counts as gone: a folder that is
/// listed while files are renamed in it may lack some.
const MISSING_MAX: u32 = 2;
/// How often a log that must be read again is looked for at the start, and the time in between.
const ATTEMPTS: u32 = 4;
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(50);

/// How long a compressed file of which nothing can be read yet may be without a change.
const IN_THE_MAKING_MAX: Duration = Duration::from_secs(10);

/// The logs that are known, and their files.
#[derive(Clone, Debug)]
pub(super) struct Catalogue {
    follow: bool,
    /// The files that must not be opened, see [`super::FileSource::avoiding`].
    avoided: Vec<PathBuf>,
    is_first: bool,
    logs: BTreeMap<PartitionName, Log>,
    copies: Copies,
    moved: Vec<Moved>,
}

/// A known log.
#[derive(Clone, Debug)]
struct Log {
    file: LogFile,
    format: FileFormat,
    /// The file as this process last saw it.
    seen: Option<Stat>,
    state: State,
    /// Whether open epochs need it again, at the start.
    is_needed: bool,
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

    /// Notes the file that holds it.
    fn settle(&mut self, path: &str, stat: Stat, begins: &[u8]) {
        path.clone_into(&mut self.file.path);
        if begins.len() as u64 > self.file.beginning.bytes {
            self.file.beginning = beginning::of(begins);
        }
        (self.seen, self.state) = (Some(stat), State::Here);
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
        if is_known && !self.is_short(Path::new(&path), &stat) {
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
        let (logs, copies, moved) = (BTreeMap::new(), Copies::default(), Vec::new());
        Catalogue { follow, avoided: Vec::new(), is_first: true, logs, copies, moved }
    }

    pub(super) fn avoid(&mut self, paths: Vec<PathBuf>) {
        self.avoided = paths;
    }

    /// Adds the logs that earlier jobs have read.
    pub(super) fn resume(&mut self, partitions: &[PartitionProgress]) {
        for at in partitions {
            let Some(format) = FileFormat::of_partition(&at.partition) else { continue };
            let Some(file) = at.file.clone() else { continue };
            let is_needed = at.replay_offset < at.next_offset;
            let log = Log { file, format, seen: None, state: State::Stored, is_needed };
            self.logs.insert(at.partition.clone(), log);
        }
    }

    /// Notes how far logs have been read, as of a commit.
    pub(super) fn committed(&mut self, partitions: &[PartitionProgress]) {
        for at in partitions {
            if let (Some(log), Some(file)) = (self.logs.get_mut(&at.partition), &at.file) {
                log.file.read_bytes = log.file.read_bytes.max(file.read_bytes);
                if file.beginning.bytes > log.file.beginning.bytes {
                    log.file.beginning = file.beginning.clone();
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

    /// The files that are not read because they are copies, in words for people.
    pub(super) fn copies(&self) -> Vec<String> {
        self.copies.in_words()
    }

    /// Returns the partitions whose logs are in files now, given the files that the arguments stand
    /// for.
    pub(super) fn identify(&mut self, found: Vec<Found>, folders: &Folders) -> Vec<Discovered> {
        let paths: Taken = found.iter().map(|file| (file.kind, file.path.clone())).collect();
        let mut taken = Taken::new();
        let mut displaced = self.displaced(&paths, folders, &mut taken);
        let attempts = if self.is_first { ATTEMPTS } else { 1 };
        for attempt in 1..=attempts {
            displaced = self.find_displaced(displaced, folders, &mut taken);
            let is_urgent = displaced.iter().any(|(name, _)| self.logs[name].is_needed);
            if !is_urgent || attempt == attempts {
                break;
            }
            std::thread::sleep(ATTEMPT_INTERVAL);
        }
        self.miss(displaced, &mut taken);
        self.add_new(found, &mut taken);
        self.is_first = false;
        let here = self.logs.iter().filter(|(_, log)| log.state == State::Here);
        let discovered = here.map(|(name, log)| Discovered {
            name: name.clone(),
            size_bytes: log.seen.map_or(0, |seen| seen.length),
            end_offset: None,
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
            if log.state == State::Gone || !is_concerned(name, log, found, folders) {
                continue;
            }
            let at = (name.kind, log.file.path.clone());
            if owners.get(&at).is_some_and(|owner| owner != name) {
                displaced.push((name.clone(), Place::Displaced));
                continue;
            }
            let before = (log.state, log.seen);
            match log.place() {
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
            self.logs.iter().filter(|(_, log)| log.state != State::Gone).collect();
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
            let mut candidates = candidates(folders, kind, taken, &self.avoided);
            let mut rest = Vec::new();
            for (name, place) in of_kind {
                let identity = self.logs[name].seen.and_then(|seen| seen.identity);
                let same =
                    |other: &Candidate| identity.is_some() && other.stat.identity == identity;
                let number = candidates.iter().position(same);
                if !number.is_some_and(|at| self.take(name, &mut candidates, at, taken)) {
                    rest.push((name, place));
                }
            }
            // The longest first.
            candidates.sort_by_key(|other| (u64::MAX - other.stat.length, other.path.clone()));
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
        candidates: &mut Vec<Candidate>,
        taken: &mut Taken,
    ) -> bool {
        let (wanted, format) = (self.logs[name].file.beginning.clone(), self.logs[name].format);
        let begins_so = |other: &mut Candidate| {
            let read = || {
                let begins = beginning::read(&other.path, format.at(&other.path)).ok()?;
                let length = usize::try_from(wanted.bytes).ok()?;
                begins.get(..length).map(beginning::of)
            };
            other.digests.entry(wanted.bytes).or_insert_with(read).as_ref() == Some(&wanted)
        };
        let numbers = 0..candidates.len();
        let fitting: Vec<usize> = numbers.filter(|at| begins_so(&mut candidates[*at])).collect();
        if fitting.len() > 1 {
            tracing::info!("several files begin as {name} did; the longest that holds it counts");
        }
        fitting.into_iter().any(|at| self.take(name, candidates, at, taken))
    }

    /// Takes a candidate if it holds a log. Returns whether it does.
    fn take(
        &mut self,
        name: &PartitionName,
        candidates: &mut Vec<Candidate>,
        number: usize,
        taken: &mut Taken,
    ) -> bool {
        let Some(log) = self.logs.get_mut(name) else { return false };
        let Candidate { path, stat, .. } = &candidates[number];
        let (Some(path), Ok(Some(begins))) = (path.to_str(), log.held_by(path, stat)) else {
            return false;
        };
        let is_assigned = log.state != State::Stored;
        tracing::info!("{name} is in {path} now");
        log.settle(path, *stat, &begins);
        if is_assigned {
            self.moved.push(Moved { partition: name.clone(), file: Some(log.file.clone()) });
        }
        taken.insert((name.kind, path.to_owned()));
        candidates.remove(number);
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

    /// Adds the logs that are new.
    fn add_new(&mut self, found: Vec<Found>, taken: &mut Taken) {
        let is_new = |file: &Found| !taken.contains(&(file.kind, file.path.clone()));
        let new: Vec<Found> = found.into_iter().filter(is_new).collect();
        let mut known: Vec<PartitionName> =
            if new.is_empty() { Vec::new() } else { self.logs.keys().cloned().collect() };
        self.copies.retain(&new);
        for file in new {
            let path = Path::new(&file.path);
            let Some(format) = FileFormat::of(path) else { continue };
            let Ok(Some(stat)) = Stat::of(path) else { continue };
            if self.follow && stat.length == 0 {
                continue;
            }
            let begins = beginning::read(path, format);
            let is_empty = begins.as_ref().is_ok_and(|begins| begins.is_empty());
            if self.follow && is_empty && is_in_the_making(path, &stat) {
                continue;
            }
            // A file that cannot be read is opened all the same, for the error.
            let begins = begins.unwrap_or_default();
            if self.returns(&file, &stat, &begins, &known) || self.is_copy(&file, &begins, &known) {
                continue;
            }
            let name = self.fresh_name(&file);
            let log_file = LogFile {
                path: file.path.clone(),
                read_bytes: 0,
                beginning: beginning::of(&begins),
            };
            let (seen, state) = (Some(stat), State::Here);
            let log = Log { file: log_file, format, seen, state, is_needed: false };
            // Files that are there at the start are all read, even if they are the same.
            if !self.is_first {
                known.push(name.clone());
            }
            self.logs.insert(name, log);
        }
    }

    /// Whether a file holds a log that was gone; then that log is back.
    fn returns(
        &mut self,
        file: &Found,
        stat: &Stat,
        begins: &[u8],
        known: &[PartitionName],
    ) -> bool {
        let path = Path::new(&file.path);
        for name in known.iter().filter(|name| name.kind == file.kind) {
            let Some(log) = self.logs.get_mut(name) else { continue };
            let is_away = matches!(log.state, State::Gone | State::Missing(_));
            if is_away
                && log.file.beginning.bytes > 0
                && beginning::is_of(&log.file.beginning, begins)
                && matches!(log.held_by(path, stat), Ok(Some(_)))
            {
                log.settle(&file.path, *stat, begins);
                self.moved.push(Moved { partition: name.clone(), file: Some(log.file.clone()) });
                return true;
            }
        }
        false
    }

    /// Whether a file is a copy of a known log that is still in its file, as far as can be told.
    fn is_copy(&mut self, file: &Found, begins: &[u8], known: &[PartitionName]) -> bool {
        let originals = known.iter().filter(|name| name.kind == file.kind);
        let originals = originals.filter_map(|name| {
            let log = self.logs.get(name)?;
            let seen = log.seen.filter(|_| log.state == State::Here)?;
            Some(Original { file: &log.file, format: log.format, seen })
        });
        self.copies.is_copy(file, begins, originals)
    }

    fn fresh_name(&self, file: &Found) -> PartitionName {
        let named = |name| PartitionName { kind: file.kind, name };
        let first = named(file.path.clone());
        let others = (2..).map(|number: u64| named(format!("{}#{number}", file.path)));
        let mut names = std::iter::once(first).chain(others);
        let fresh = names.find(|name| !self.logs.contains_key(name));
        fresh.unwrap_or_else(|| unreachable!("there are more numbers than logs"))
    }
}

/// Whether a compressed file of which nothing can be read may still be written. It counts as
/// damaged only some time after the last change.
fn is_in_the_making(path: &Path, stat: &Stat) -> bool {
    let age = stat.modified.and_then(|modified| modified.elapsed().ok());
    FileFormat::compression(path) != Compression::None
        && age.is_some_and(|age| age < IN_THE_MAKING_MAX)
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
    is_in_folder && (log.is_needed || has_moved)
}

#[cfg(test)]
mod tests;
