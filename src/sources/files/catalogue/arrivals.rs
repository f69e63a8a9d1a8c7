//! Files that hold no known log in its place: new logs, logs that come back, and copies.

use super::{Catalogue, Head, Log, State};
use crate::log::{LogFile, PartitionName};
use crate::sources::Moved;
use crate::sources::files::beginning;
use crate::sources::files::candidates::Taken;
use crate::sources::files::copies::{Alike, Original, Verdict};
use crate::sources::files::discover::{Found, Sibling};
use crate::sources::files::names::{Compression, FileFormat};
use crate::sources::files::stat::Stat;
use std::cmp::Reverse;
use std::path::Path;

/// The most pairs of logs that are named because they begin alike.
const ALIKE_TOLD_MAX: usize = 5;

impl Catalogue {
    /// Adds the logs that are new.
    pub(super) fn add_new(
        &mut self,
        mut found: Vec<Found>,
        mut siblings: Vec<Sibling>,
        taken: &Taken,
    ) {
        let is_new = |file: &Found| !taken.contains(&(file.kind, file.path.clone()));
        found.retain(is_new);
        siblings.retain(|sibling| is_new(&sibling.file));
        self.copies.begin(found.iter().chain(siblings.iter().map(|sibling| &sibling.file)));
        // An original before its copies.
        found.sort_by_cached_key(|file| {
            let path = Path::new(&file.path);
            let stat = Stat::of(path).ok().flatten();
            let length = stat.map_or(0, |stat| stat.length);
            let modified = stat.and_then(|stat| stat.modified);
            let is_compressed = FileFormat::compression(path) != Compression::None;
            (is_compressed, Reverse(length), modified, file.kind, file.path.clone())
        });
        self.unread.begin();
        let mut alike = Vec::new();
        for file in found {
            alike.extend(self.add(&file).map(|other| (file.path, other)));
        }
        self.add_neighbours(&siblings);
        if self.resumed.is_some() {
            tell_alike(&alike);
            self.tell_unread();
        }
    }

    /// Adds the log in a file, if it is a new one. Returns the other log that begins alike.
    fn add(&mut self, file: &Found) -> Option<Alike> {
        let path = Path::new(&file.path);
        let format = FileFormat::of(path)?;
        let stat = Stat::of(path).ok()??;
        if self.follow && stat.length == 0 || self.is_settled_copy(file, &stat) {
            return None;
        }
        let begins = beginning::read(path, format);
        let is_empty = begins.as_ref().is_ok_and(|begins| begins.is_empty());
        if self.follow && is_empty && is_in_the_making(path, &stat) {
            return None;
        }
        match begins {
            // It may be made by another user, who has not given it away yet.
            Err(error) if self.follow && !self.is_first => {
                self.unread.add(file, None, format!("cannot be read now: {error}"));
                None
            }
            // A file that cannot be read is opened all the same, for the error.
            begins => self.add_log(file, stat, &begins.unwrap_or_default()),
        }
    }

    /// Adds the log that begins with these bytes, if it is a new one. Returns the other log that
    /// begins alike.
    pub(super) fn add_log(&mut self, file: &Found, stat: Stat, begins: &[u8]) -> Option<Alike> {
        let format = FileFormat::of(Path::new(&file.path))?;
        let alike = self.heads.alike(file.kind, &file.path, begins);
        if self.returns(file, &stat, begins, &alike) {
            return None;
        }
        let verdict = self.judge(file, &stat, begins, &alike);
        if verdict == Verdict::Copy {
            return None;
        }
        let name = self.fresh_name(file);
        let log_file =
            LogFile { path: file.path.clone(), read_bytes: 0, beginning: beginning::of(begins) };
        let mut head = Head::default();
        head.grow(begins);
        self.heads.update(&name, &Head::default(), &head);
        let (seen, state) = (Some(stat), State::Here);
        let log = Log { file: log_file, format, seen, is_checked: true, state, head, needed: None };
        self.logs.insert(name, log);
        match verdict {
            Verdict::Alike(alike) => Some(alike),
            Verdict::Other | Verdict::Copy => None,
        }
    }

    /// Whether a file holds a log that was gone; then that log is back.
    fn returns(
        &mut self,
        file: &Found,
        stat: &Stat,
        begins: &[u8],
        alike: &[PartitionName],
    ) -> bool {
        let path = Path::new(&file.path);
        for name in alike {
            let Some(log) = self.logs.get_mut(name) else { continue };
            let is_away = matches!(log.state, State::Gone | State::Missing(_));
            if is_away
                && log.file.beginning.bytes > 0
                && beginning::is_of(&log.file.beginning, begins)
                && matches!(log.held_by(path, stat), Ok(Some(_)))
            {
                let head = log.head.clone();
                log.settle(&file.path, *stat, begins);
                self.heads.update(name, &head, &log.head);
                self.moved.push(Moved { partition: name.clone(), file: Some(log.file.clone()) });
                return true;
            }
        }
        false
    }

    /// Whether a file is a copy as it was, of a log that is where it was.
    pub(super) fn is_settled_copy(&mut self, file: &Found, stat: &Stat) -> bool {
        let Some((log, path)) = self.copies.settled(file, stat) else { return false };
        self.logs.get(log).is_some_and(|log| log.state == State::Here && log.file.path == path)
    }

    /// Judges whether a file is a copy of a log that is still in its file, as far as can be told.
    fn judge(
        &mut self,
        file: &Found,
        stat: &Stat,
        begins: &[u8],
        alike: &[PartitionName],
    ) -> Verdict {
        let originals = alike.iter().filter_map(|name| {
            let log = self.logs.get(name)?;
            let seen = log.seen.filter(|_| log.state == State::Here)?;
            Some(Original { name, file: &log.file, format: log.format, seen })
        });
        self.copies.judge(file, (stat, begins), originals, self.is_first)
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

/// Whether a compressed file may still be written: nothing is said of it before.
fn is_in_the_making(path: &Path, stat: &Stat) -> bool {
    FileFormat::compression(path) != Compression::None && stat.is_recent()
}

/// Says which logs begin alike.
fn tell_alike(alike: &[(String, Alike)]) {
    for (path, Alike { other, is_compared }) in alike.iter().take(ALIKE_TOLD_MAX) {
        if *is_compared {
            tracing::warn!(
                "`{path}` begins as `{other}` does, and goes on otherwise: both are read, but if \
                 one is renamed while no job runs, it may be taken for the other"
            );
        } else {
            tracing::warn!(
                "`{path}` begins as `{other}` does, and is too large to be compared to its end: \
                 both are read, and events that both hold are duplicates"
            );
        }
    }
    if let Some(more) = alike.len().checked_sub(ALIKE_TOLD_MAX).filter(|more| *more > 0) {
        tracing::warn!("{more} more files begin as others do");
    }
}

#[cfg(test)]
mod tests;
