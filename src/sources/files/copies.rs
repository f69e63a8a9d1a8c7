//! Files that are copies of logs which are still in their own files, perhaps in the making.

use super::beginning::{self, open_regular, read_at};
use super::discover::Found;
use super::input::Input;
use super::names::{Compression, FileFormat};
use super::stat::{Stat, is_absence};
use crate::event::Kind;
use crate::log::{LogFile, PartitionName};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// The number of bytes of a file that are compared with an original in a discovery.
const COMPARED_MAX: u64 = 64 << 20;
/// The number of bytes that are compared in a discovery, so that it is short.
const COMPARED_IN_ALL_MAX: u64 = 512 << 20;
/// The number of bytes that are compared at a time.
const BUFFER_BYTES: usize = 1 << 16;
/// The most originals with which the content of a file is compared in a discovery.
const ORIGINALS_MAX: usize = 4;
/// The number of discoveries after which a file that remains a copy is told of.
const TOLD_AFTER: u32 = 20;

/// A known log in its file.
pub(super) struct Original<'a> {
    pub(super) name: &'a PartitionName,
    pub(super) file: &'a LogFile,
    pub(super) format: FileFormat,
    /// The file as it was seen in this discovery.
    pub(super) seen: Stat,
}

/// What a file is, next to the logs that are known.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It begins as no other.
    Other,
    /// It is read as another log than one that begins alike.
    Alike(Alike),
    /// It is a copy, or nobody can tell yet.
    Copy,
}

/// Another log that begins as a file does.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Alike {
    /// The file of that log.
    pub(super) other: String,
    /// Whether the two were seen to differ; otherwise they are too large to be compared.
    pub(super) is_compared: bool,
}

/// What a comparison of a file with an original has shown.
#[derive(Debug, PartialEq, Eq)]
enum Compared {
    /// All of the file is the beginning of the original. The number of bytes.
    Same(u64),
    /// So many bytes are the same, and nobody can tell more now.
    SoFar(u64),
    /// They differ.
    Differs,
    /// They cannot be compared to the end.
    Never,
}

/// The copies that were found.
#[derive(Clone, Debug)]
pub(super) struct Copies {
    follow: bool,
    copies: BTreeMap<(Kind, String), Copy>,
    /// The number of bytes that may still be compared in this discovery.
    left_bytes: u64,
}

#[derive(Clone, Debug)]
struct Copy {
    log: PartitionName,
    original: String,
    /// The copy as it was when it was last looked at.
    seen: Stat,
    /// The number of bytes that were compared, and are the same.
    same_bytes: u64,
    /// Whether it was compared to its end since it changed last.
    is_compared: bool,
    discoveries: u32,
}

impl Copies {
    pub(super) fn new(follow: bool) -> Copies {
        Copies { follow, copies: BTreeMap::new(), left_bytes: COMPARED_IN_ALL_MAX }
    }

    /// Begins a discovery, and forgets the copies that are not among these files.
    pub(super) fn begin<'a>(&mut self, files: impl Iterator<Item = &'a Found>) {
        let files: BTreeSet<(Kind, &str)> =
            files.map(|file| (file.kind, file.path.as_str())).collect();
        self.left_bytes = COMPARED_IN_ALL_MAX;
        self.copies.retain(|(kind, path), _| files.contains(&(*kind, path.as_str())));
    }

    /// The copies, in words for people.
    pub(super) fn in_words(&self) -> Vec<String> {
        let words = |((_, path), copy): (&(Kind, String), &Copy)| match copy.is_compared {
            true => format!("`{path}` (a copy of `{}`)", copy.original),
            false => format!("`{path}` (the same as `{}`, so far)", copy.original),
        };
        self.copies.iter().map(words).collect()
    }

    /// Returns the log of which a file was found to be a whole copy, and the file of that log, if
    /// the copy has not changed since.
    pub(super) fn settled(&mut self, file: &Found, seen: &Stat) -> Option<(&PartitionName, &str)> {
        let copy = self.copies.get_mut(&(file.kind, file.path.clone()))?;
        if !copy.is_compared || copy.seen != *seen {
            return None;
        }
        copy.tell(&file.path);
        Some((&copy.log, &copy.original))
    }

    /// Judges a file with these first bytes: it is a copy if its content is the beginning of one of
    /// the originals, and is not read before that is known. `is_told` if people learn of it
    /// otherwise.
    pub(super) fn judge<'a>(
        &mut self,
        file: &Found,
        (seen, begins): (&Stat, &[u8]),
        originals: impl Iterator<Item = Original<'a>>,
        is_told: bool,
    ) -> Verdict {
        let key = (file.kind, file.path.clone());
        let held = self.copies.remove(&key);
        let is_of = |original: &Original<'_>| begins_alike(file, begins, original).unwrap_or(false);
        let mut verdict = Verdict::Other;
        for original in originals.filter(is_of).take(ORIGINALS_MAX) {
            let (same_bytes, is_compared) = match self.compare(file, seen, held.as_ref(), &original)
            {
                Compared::Same(bytes) => (bytes, true),
                Compared::SoFar(bytes) => (bytes, false),
                compared => {
                    let is_compared = compared == Compared::Differs;
                    let other = original.file.path.clone();
                    verdict = Verdict::Alike(Alike { other, is_compared });
                    continue;
                }
            };
            let told = if is_told { TOLD_AFTER } else { 0 };
            let mut copy = Copy {
                log: original.name.clone(),
                original: original.file.path.clone(),
                seen: *seen,
                same_bytes,
                is_compared,
                discoveries: held.as_ref().map_or(told, |copy| copy.discoveries),
            };
            copy.tell(&file.path);
            self.copies.insert(key, copy);
            return Verdict::Copy;
        }
        verdict
    }

    /// Compares a file with an original, on from where they were compared before.
    fn compare(
        &mut self,
        file: &Found,
        seen: &Stat,
        held: Option<&Copy>,
        original: &Original<'_>,
    ) -> Compared {
        let (path, original_path) = (Path::new(&file.path), Path::new(&original.file.path));
        let before = held.filter(|copy| copy.original == original.file.path);
        let most = COMPARED_MAX.min(self.left_bytes);
        let is_plain = |path| FileFormat::compression(path) == Compression::None;
        let is_steady = held.is_some_and(|copy| copy.seen == *seen);
        let from = before.filter(|copy| is_steady || copy.may_be_appended_to(seen));
        let from = from.map_or(0, |copy| copy.same_bytes);
        let compared = if is_plain(path) && is_plain(original_path) {
            compare_plain(path, original, (from, most))
        } else if self.follow && !is_steady {
            // It may be in the making: it is read once it has not changed between two discoveries.
            return Compared::SoFar(0);
        } else if from >= COMPARED_MAX {
            Ok((Compared::SoFar(from), 0))
        } else {
            compare_compressed(path, original, most)
        };
        let compared = compared.map(|(compared, bytes)| {
            self.left_bytes = self.left_bytes.saturating_sub(bytes);
            compared
        });
        match compared {
            // Compressed files are not compared further, once they are complete.
            Ok(Compared::SoFar(bytes))
                if self.follow
                    && (is_plain(path) && is_plain(original_path)
                        || bytes < COMPARED_MAX
                        || seen.is_recent()) =>
            {
                Compared::SoFar(bytes)
            }
            Ok(Compared::SoFar(_)) => Compared::Never,
            Ok(compared) => compared,
            // One of them is being renamed.
            Err(error) if self.follow && is_absence(&error) => Compared::SoFar(from),
            Err(_) => Compared::Never,
        }
    }
}

impl Copy {
    /// Tells of a copy that was seen in many discoveries.
    fn tell(&mut self, path: &str) {
        if !self.is_compared {
            return;
        }
        self.discoveries = self.discoveries.saturating_add(1);
        if self.discoveries == TOLD_AFTER {
            tracing::warn!("`{path}` is not read: it is a copy of `{}`", self.original);
        }
    }

    /// Whether the file may be as it was, with more after it.
    fn may_be_appended_to(&self, seen: &Stat) -> bool {
        self.seen.identity == seen.identity && self.seen.length <= seen.length
    }
}

/// Whether a file with these first bytes begins as an original, as far as both go.
fn begins_alike(file: &Found, begins: &[u8], original: &Original<'_>) -> io::Result<bool> {
    let known = &original.file.beginning;
    let is_parquet = |format| format == FileFormat::Parquet;
    let format = FileFormat::of(Path::new(&file.path));
    if file.path == original.file.path
        || begins.is_empty()
        || known.bytes == 0
        || format.is_none_or(|format| is_parquet(format) != is_parquet(original.format))
    {
        return Ok(false);
    }
    if begins.len() as u64 >= known.bytes {
        return Ok(beginning::is_of(known, begins));
    }
    let path = Path::new(&original.file.path);
    Ok(beginning::read(path, original.format.at(path))?.starts_with(begins))
}

/// Compares a plain file with a plain original from an offset on, at most so many bytes. Returns
/// how many were compared, too.
fn compare_plain(
    path: &Path,
    original: &Original<'_>,
    (from, most): (u64, u64),
) -> io::Result<(Compared, u64)> {
    let original_path = Path::new(&original.file.path);
    let (copy, other) = (open_regular(path)?, open_regular(original_path)?);
    let (length, other_length) = (copy.metadata()?.len(), other.metadata()?.len());
    if length > other_length {
        return Ok((longer_than(original, from)?, 0));
    }
    let mut buffers = [vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]];
    let (mut at, end) = (from, length.min(from.saturating_add(most)));
    while at < end {
        let [one, two] = &mut buffers;
        let count = read_at(&copy, one, at)?;
        let other_count = read_at(&other, &mut two[..count], at)?;
        let both = count.min(other_count);
        if both == 0 {
            break;
        }
        if one[..both] != two[..both] {
            return Ok((Compared::Differs, at - from));
        }
        at += both as u64;
    }
    let compared = if at >= length { Compared::Same(at) } else { Compared::SoFar(at) };
    Ok((compared, at - from))
}

/// Compares what two files hold, of which one is compressed, at most so many bytes. Returns how
/// many were compared, too. Damaged data ends where the damage is.
fn compare_compressed(
    path: &Path,
    original: &Original<'_>,
    most: u64,
) -> io::Result<(Compared, u64)> {
    let original_path = Path::new(&original.file.path);
    let open = |path: &Path| Input::open(path, FileFormat::compression(path), false);
    let (mut copy, mut other) = (open(path)?, open(original_path)?);
    let mut buffers = [vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]];
    let mut at = 0;
    while at < most {
        let [one, two] = &mut buffers;
        let count = fill(&mut copy, one)?;
        let other_count = fill(&mut other, two)?;
        let both = count.min(other_count);
        if one[..both] != two[..both] {
            return Ok((Compared::Differs, at));
        }
        at += both as u64;
        if count > other_count {
            return Ok((longer_than(original, at)?, at));
        }
        if count < BUFFER_BYTES {
            return Ok((Compared::Same(at), at));
        }
    }
    Ok((Compared::SoFar(at), at))
}

/// What a file is that is the same for so many bytes, and longer than the original. If that has
/// changed since it was seen, it may have been cut just now.
fn longer_than(original: &Original<'_>, same_bytes: u64) -> io::Result<Compared> {
    Ok(match Stat::of(Path::new(&original.file.path))? {
        now if now == Some(original.seen) => Compared::Differs,
        _ => Compared::SoFar(same_bytes),
    })
}

/// Fills a buffer, except at the end of what can be read.
fn fill(input: &mut Input, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match input.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if input.is_damage(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Judges a file next to a log whose file is at this path now.
    fn judge(original: &Path, follow: bool) -> Verdict {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy.jsonl");
        std::fs::write(&path, "{}\n").unwrap();
        let seen = Stat::of(&path).unwrap().unwrap();
        let file = Found { kind: Kind::Play, path: path.to_str().unwrap().into() };
        let name = PartitionName { kind: Kind::Play, name: original.to_str().unwrap().into() };
        let beginning = beginning::of(b"{}\n");
        let log = LogFile { path: name.name.clone(), read_bytes: 3, beginning };
        let format = FileFormat::Lines(Compression::None);
        let original = Original { name: &name, file: &log, format, seen };
        Copies::new(follow).judge(&file, (&seen, b"{}\n"), std::iter::once(original), false)
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_cannot_be_compared_is_no_copy() {
        let folder = tempfile::tempdir().unwrap();
        let (link, gone) = (folder.path().join("link.jsonl"), folder.path().join("gone.jsonl"));
        std::os::unix::fs::symlink(&link, &link).unwrap();
        let read = |other: &Path| {
            Verdict::Alike(Alike { other: other.to_str().unwrap().into(), is_compared: false })
        };
        assert_eq!(judge(&link, false), read(&link));
        assert_eq!(judge(&gone, false), read(&gone));
        assert_eq!(judge(&link, true), read(&link));
        // It is being renamed, or was removed: the next discovery tells.
        assert_eq!(judge(&gone, true), Verdict::Copy);
    }
}
