//! The files in which a log is looked for that is not where it was.

use super::discover::Folders;
use super::stat::Stat;
use crate::event::Kind;
use crate::log::Beginning;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The endings of the files that hold logs.
const ENDINGS: [&str; 3] = [".jsonl", ".ndjson", ".parquet"];

/// A file that may hold a log which is not where it was.
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    pub(super) stat: Stat,
    /// Its digests, by the number of bytes that they cover.
    pub(super) digests: BTreeMap<u64, Option<Beginning>>,
}

/// The files that hold known logs, as far as a discovery has found them.
pub(super) type Taken = BTreeSet<(Kind, String)>;

/// Returns the files in the folders of a log that hold no known log. Their names have a known
/// ending, but perhaps not at the end, as `i.jsonl.1`.
pub(super) fn candidates(
    folders: &Folders,
    kind: Kind,
    taken: &Taken,
    avoided: &[PathBuf],
) -> Vec<Candidate> {
    let folders = folders.iter().filter(|(of, _)| *of == kind);
    let entries = folders.filter_map(|(_, folder)| folder.read_dir().ok()).flatten().flatten();
    let candidates = entries.filter_map(|entry| {
        let path = entry.path();
        let name = entry.file_name().to_str()?.to_ascii_lowercase();
        let is_log = ENDINGS.iter().any(|ending| name.contains(ending)) && !name.starts_with('.');
        if !is_log || !entry.file_type().is_ok_and(|entry| entry.is_file()) {
            return None;
        }
        let stat = Stat::of(&path).ok()??;
        let is_taken = taken.contains(&(kind, path.to_str()?.to_owned()));
        (!is_taken && !avoided.contains(&path)).then(|| Candidate {
            path,
            stat,
            digests: BTreeMap::new(),
        })
    });
    candidates.collect()
}
