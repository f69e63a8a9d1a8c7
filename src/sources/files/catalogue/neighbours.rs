//! Files beside one that was given itself, with a name that rotating programs give. Nobody gave
//! them, so none of them may end a job or spoil its store: one of which nothing can be read is left
//! alone and named, and looked at again.

use super::Catalogue;
use crate::event::Kind;
use crate::sources::files::beginning;
use crate::sources::files::discover::{Found, Sibling, some_of};
use crate::sources::files::names::{Compression, FileFormat};
use crate::sources::files::stat::Stat;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The number of discoveries after which a file that remains unread is told of.
const TOLD_AFTER: u32 = 20;

/// A file beside one that was given, which had its name before any job began.
#[derive(Clone, Debug)]
pub(super) struct Earlier {
    file: Found,
    seen: Stat,
    /// Its first bytes, if they could be read.
    begins: Option<Vec<u8>>,
}

impl Earlier {
    /// Whether a file is this one under another name, or its compressed copy, perhaps one that is
    /// not complete.
    fn is_in(&self, file: &Found, stat: &Stat, (begins, is_damaged): (&[u8], bool)) -> bool {
        if self.file.kind != file.kind {
            return false;
        }
        let has_grown = self.is_same_file(file, stat) && stat.length >= self.seen.length;
        let Some(known) = &self.begins else {
            // A file that is removed may leave its number to a new one.
            return has_grown
                && (self.file.path == file.path || self.seen.modified == stat.modified);
        };
        let is_compressed =
            |file: &Found| FileFormat::compression(Path::new(&file.path)) != Compression::None;
        let is_copied =
            is_compressed(file) || is_compressed(&self.file) || stat.length == self.seen.length;
        has_grown && begins.starts_with(known)
            || is_copied && begins == known
            || is_damaged && known.starts_with(begins)
    }

    fn is_same_file(&self, file: &Found, stat: &Stat) -> bool {
        match (self.seen.identity, stat.identity) {
            (Some(one), Some(other)) => one == other,
            _ => self.file.path == file.path,
        }
    }

    /// Notes how it is now, if a file is this one.
    fn update(&mut self, file: &Found, stat: &Stat, begins: &[u8]) {
        if self.is_same_file(file, stat) {
            (self.file, self.seen) = (file.clone(), *stat);
            self.begins = Some(begins.to_owned());
        }
    }
}

/// The files that are not read because they cannot be, as of a discovery.
#[derive(Clone, Debug, Default)]
pub(super) struct Unread {
    files: BTreeMap<(Kind, String), Reason>,
    before: BTreeMap<(Kind, String), Reason>,
}

#[derive(Clone, Debug)]
struct Reason {
    reason: String,
    /// The file that was given, if this one lies beside it.
    beside: Option<String>,
    discoveries: u32,
}

impl Unread {
    /// Begins a discovery.
    pub(super) fn begin(&mut self) {
        self.before = std::mem::take(&mut self.files);
    }

    /// Adds a file that was given, or that lies beside one that was.
    pub(super) fn add(&mut self, file: &Found, beside: Option<String>, reason: String) {
        let key = (file.kind, file.path.clone());
        let before = self.before.get(&key).map_or(0, |before| before.discoveries);
        let discoveries = before.saturating_add(1);
        self.files.insert(key, Reason { reason, beside, discoveries });
    }

    /// The files that were given, in words for people.
    pub(super) fn given_in_words(&self) -> Vec<String> {
        let given = self.files.iter().filter(|(_, unread)| unread.beside.is_none());
        given.map(|((_, path), unread)| format!("`{path}` ({})", unread.reason)).collect()
    }
}

impl Catalogue {
    /// Adds the logs in files beside those that were given, if they are new.
    pub(super) fn add_neighbours(&mut self, siblings: &[Sibling]) {
        let mut seen = BTreeSet::new();
        for sibling in siblings {
            let file = &sibling.file;
            let path = Path::new(&file.path);
            let Some(format) = FileFormat::of(path) else { continue };
            let Ok(Some(stat)) = Stat::of(path) else { continue };
            if !seen.insert((file.kind, &file.path)) || self.is_settled_copy(file, &stat) {
                continue;
            }
            let begins = beginning::read_to_damage(path, format);
            let is_empty = begins.as_ref().is_ok_and(|(begins, _)| begins.is_empty());
            if self.is_first && !is_empty && !self.is_missed(sibling, &stat) {
                let begins = begins.ok().map(|(begins, _)| begins);
                self.earlier.push(Earlier { file: file.clone(), seen: stat, begins });
                continue;
            }
            let beside = Some(sibling.of.clone());
            match begins {
                Err(error) => self.unread.add(file, beside, format!("cannot be read: {error}")),
                Ok(_) if is_empty => {
                    let reason = match stat.length {
                        0 => "empty",
                        _ => "nothing in it can be read",
                    };
                    self.unread.add(file, beside, reason.into());
                }
                Ok((begins, is_damaged)) => {
                    let is = |one: &&mut Earlier| one.is_in(file, &stat, (&begins, is_damaged));
                    match self.earlier.iter_mut().find(is) {
                        Some(earlier) => earlier.update(file, &stat, &begins),
                        None => {
                            self.add_log(file, stat, &begins);
                        }
                    }
                }
            }
        }
    }

    /// Whether a file that is there at the start came while no job ran: the file beside it was read
    /// by an earlier job, and it was written after that.
    fn is_missed(&self, sibling: &Sibling, stat: &Stat) -> bool {
        let Some(resumed) = &self.resumed else { return false };
        let times = stat.modified.zip(resumed.known_until);
        resumed.paths.contains(&(sibling.file.kind, PathBuf::from(&sibling.of)))
            && times.is_some_and(|(written, known)| written >= known)
    }

    /// Says which files are not read: those beside the files that were given at the start, and
    /// later those that remain unread for some time.
    pub(super) fn tell_unread(&self) {
        if self.is_first {
            let words = self.beside_in_words();
            if !words.is_empty() {
                tracing::warn!("not read, beside the files that were given: {}", some_of(&words));
            }
            return;
        }
        let lasting = self.unread.files.iter().filter(|(_, file)| file.discoveries == TOLD_AFTER);
        for ((_, path), Reason { reason, beside, .. }) in lasting {
            match beside {
                Some(of) => tracing::warn!("not read, beside `{of}`: `{path}` ({reason})"),
                None => tracing::warn!("given, but not read: `{path}` ({reason})"),
            }
        }
    }

    /// The files beside those that were given which are not read, in words for people.
    pub(in crate::sources::files) fn beside_in_words(&self) -> Vec<String> {
        let held = self.held();
        let earlier = self.earlier.iter().map(|earlier| &earlier.file.path);
        let earlier = earlier.filter(|path| !held.contains(Path::new(path)));
        let earlier = earlier.map(|path| format!("`{path}` (rotated before the job began)"));
        let unread = self.unread.files.iter().filter(|(_, unread)| unread.beside.is_some());
        let unread = unread.map(|((_, path), unread)| format!("`{path}` ({})", unread.reason));
        earlier.chain(unread).collect()
    }
}

#[cfg(test)]
mod tests;
