//! Files that are copies of logs which are still in their own files, perhaps in the making.

use super::beginning::{self, open_regular, read_at};
use super::discover::Found;
use super::input::Input;
use super::names::{Compression, FileFormat};
use super::stat::Stat;
use crate::event::Kind;
use crate::log::{LogFile, PartitionName};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// The number of bytes that are compared with an original in a discovery of a job that follows its
/// logs, so that a discovery is short.
const COMPARED_MAX: u64 = 64 << 20;
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
    /// It is another log than the one in this file, although it begins as that does.
    Alike(String),
    /// It is a copy.
    Copy,
}

/// The copies that were found.
#[derive(Clone, Debug)]
pub(super) struct Copies {
    follow: bool,
    copies: BTreeMap<(Kind, String), Copy>,
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
        Copies { follow, copies: BTreeMap::new() }
    }

    /// Forgets the copies that are not among these files.
    pub(super) fn retain<'a>(&mut self, files: impl Iterator<Item = &'a Found>) {
        let files: BTreeSet<(Kind, &str)> =
            files.map(|file| (file.kind, file.path.as_str())).collect();
        self.copies.retain(|(kind, path), _| files.contains(&(*kind, path.as_str())));
    }

    /// The copies, in words for people.
    pub(super) fn in_words(&self) -> Vec<String> {
        let words = |((_, path), copy): (&(Kind, String), &Copy)| {
            format!("`{path}` (a copy of `{}`)", copy.original)
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
    /// the originals, as far as it was compared. `is_told` if people learn of it otherwise.
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
            let same = held.as_ref().filter(|copy| copy.original == original.file.path);
            let from = same.map_or(0, |copy| copy.same_bytes);
            let is_steady = held.as_ref().is_some_and(|copy| copy.seen == *seen);
            let compared = self.compare(file, is_steady, &original, from);
            let Some((same_bytes, is_compared)) = compared else {
                verdict = Verdict::Alike(original.file.path.clone());
                continue;
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

    /// Compares a file with an original, from an offset on. Returns the number of bytes that are
    /// known to be the same, and whether those are all; `None` if the file is no copy.
    fn compare(
        &self,
        file: &Found,
        is_steady: bool,
        original: &Original<'_>,
        from: u64,
    ) -> Option<(u64, bool)> {
        let (path, original_path) = (Path::new(&file.path), Path::new(&original.file.path));
        let most = if self.follow { COMPARED_MAX } else { u64::MAX };
        let is_plain = |path| FileFormat::compression(path) == Compression::None;
        let compared = if is_plain(path) && is_plain(original_path) {
            compare_plain(path, original, from, most)
        } else if self.follow && !is_steady {
            // It may be in the making: it is read once it has not changed between two discoveries.
            return Some((from, false));
        } else {
            compare_compressed(path, original, most)
        };
        match compared {
            Ok(compared) => compared,
            // Nobody can tell now.
            Err(_) => Some((from, false)),
        }
    }
}

impl Copy {
    /// Tells of a copy that was seen in many discoveries.
    fn tell(&mut self, path: &str) {
        self.discoveries = self.discoveries.saturating_add(1);
        if self.discoveries == TOLD_AFTER {
            tracing::warn!("`{path}` is not read: it is a copy of `{}`", self.original);
        }
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

/// Compares a plain file with a plain original from an offset on, at most so many bytes.
fn compare_plain(
    path: &Path,
    original: &Original<'_>,
    from: u64,
    most: u64,
) -> io::Result<Option<(u64, bool)>> {
    let original_path = Path::new(&original.file.path);
    let (copy, other) = (open_regular(path)?, open_regular(original_path)?);
    let (length, other_length) = (copy.metadata()?.len(), other.metadata()?.len());
    if length > other_length {
        // If the original has changed since it was seen, it may have been cut just now.
        let is_unchanged = Stat::of(original_path)? == Some(original.seen);
        return Ok((!is_unchanged).then_some((from, false)));
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
            return Ok(None);
        }
        at += both as u64;
    }
    Ok(Some((at, at >= length)))
}

/// Compares what two files hold, of which one is compressed, at most so many bytes: more are taken
/// to be the same. Damaged data ends where the damage is.
fn compare_compressed(
    path: &Path,
    original: &Original<'_>,
    most: u64,
) -> io::Result<Option<(u64, bool)>> {
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
            return Ok(None);
        }
        at += both as u64;
        if count > other_count {
            let is_unchanged = Stat::of(original_path)? == Some(original.seen);
            return Ok((!is_unchanged).then_some((at, false)));
        }
        if count < BUFFER_BYTES {
            break;
        }
    }
    Ok(Some((at, true)))
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
