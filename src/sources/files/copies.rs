//! Files that are copies of logs which are still in their own files, perhaps in the making.

use super::beginning::{self, open_regular, read_at};
use super::discover::Found;
use super::stat::Stat;
use super::{Compression, FileFormat};
use crate::event::Kind;
use crate::log::LogFile;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// The number of bytes that are compared with an original at a time, so that a discovery is short.
const COMPARED_MAX: u64 = 64 << 20;
/// The number of discoveries after which a file that remains a copy is told of.
const TOLD_AFTER: u32 = 20;

/// A known log in its file.
pub(super) struct Original<'a> {
    pub(super) file: &'a LogFile,
    pub(super) format: FileFormat,
    /// The file as it was seen in this discovery.
    pub(super) seen: Stat,
}

/// The copies that were found.
#[derive(Clone, Debug, Default)]
pub(super) struct Copies(BTreeMap<(Kind, String), Copy>);

#[derive(Clone, Debug)]
struct Copy {
    original: String,
    /// The number of bytes that were compared, and are the same.
    same_bytes: u64,
    discoveries: u32,
}

impl Copies {
    /// Forgets the copies that are not among these files.
    pub(super) fn retain(&mut self, files: &[Found]) {
        let is_there = |kind: Kind, path: &str| {
            files.iter().any(|file| file.kind == kind && file.path == path)
        };
        self.0.retain(|(kind, path), _| is_there(*kind, path));
    }

    /// The copies, in words for people.
    pub(super) fn in_words(&self) -> Vec<String> {
        let words = |((_, path), copy): (&(Kind, String), &Copy)| {
            format!("`{path}` (a copy of `{}`)", copy.original)
        };
        self.0.iter().map(words).collect()
    }

    /// Whether a file with these first bytes is a copy of one of the originals: whether its content
    /// is the beginning of the original's, as far as it was compared. Of a compressed file only the
    /// first bytes are compared.
    pub(super) fn is_copy<'a>(
        &mut self,
        file: &Found,
        begins: &[u8],
        mut originals: impl Iterator<Item = Original<'a>>,
    ) -> bool {
        let key = (file.kind, file.path.clone());
        let held = self.0.remove(&key);
        let is_of = |original: &Original<'_>| begins_alike(file, begins, original).unwrap_or(false);
        let mut verdict = None;
        for original in originals.by_ref().filter(is_of) {
            let path = original.file.path.clone();
            let before = held.as_ref().filter(|copy| copy.original == path);
            let same_bytes = before.map_or(0, |copy| copy.same_bytes);
            let compared = compare(Path::new(&file.path), &original, same_bytes);
            if let Some(same_bytes) = compared.unwrap_or(Some(same_bytes)) {
                verdict = Some((path, same_bytes));
                break;
            }
        }
        let Some((original, same_bytes)) = verdict else { return false };
        let discoveries = held.map_or(0, |copy| copy.discoveries) + 1;
        if discoveries == TOLD_AFTER {
            tracing::warn!("`{}` is not read: it is a copy of `{original}`", file.path);
        }
        self.0.insert(key, Copy { original, same_bytes, discoveries });
        true
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

/// Compares a file with an original from an offset on. Returns the number of bytes that are known
/// to be the same; `None` if the file is no copy.
fn compare(path: &Path, original: &Original<'_>, from: u64) -> io::Result<Option<u64>> {
    let original_path = Path::new(&original.file.path);
    let is_plain = |path| FileFormat::compression(path) == Compression::None;
    if !is_plain(path) || !is_plain(original_path) {
        return Ok(Some(from));
    }
    let (copy, other) = (open_regular(path)?, open_regular(original_path)?);
    let (length, other_length) = (copy.metadata()?.len(), other.metadata()?.len());
    if length > other_length {
        // If the original has changed since it was seen, it may have been cut just now.
        let is_unchanged = Stat::of(original_path)? == Some(original.seen);
        return Ok((!is_unchanged).then_some(from));
    }
    let mut buffers = [vec![0; 1 << 16], vec![0; 1 << 16]];
    let (mut at, end) = (from, length.min(from.saturating_add(COMPARED_MAX)));
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
    Ok(Some(at))
}
