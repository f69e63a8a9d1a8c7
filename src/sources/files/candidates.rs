//! The files in which a log is looked for that is not where it was.

use super::beginning;
use super::discover::Folders;
use super::names::{FileFormat, may_hold_log};
use super::stat::Stat;
use crate::event::Kind;
use crate::log::Beginning;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

/// A file that may hold a log which is not where it was.
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    pub(super) stat: Stat,
    is_taken: bool,
}

/// The files that hold known logs, as far as a discovery has found them.
pub(super) type Taken = BTreeSet<(Kind, String)>;

/// The files in the folders of a log that hold no known log, the longest first.
pub(super) struct Candidates {
    files: Vec<Candidate>,
    by_identity: HashMap<(u64, u64), usize>,
    /// By whether logs are Parquet: how the files begin.
    beginnings: HashMap<bool, Vec<Option<Vec<u8>>>>,
    /// By the number of bytes and whether logs are Parquet: the files by their digests.
    digests: HashMap<(u64, bool), HashMap<String, Vec<usize>>>,
}

impl Candidates {
    /// Finds the files whose names have a known ending, but perhaps not at the end, as
    /// `i.jsonl.old`.
    pub(super) fn find(
        folders: &Folders,
        kind: Kind,
        taken: &Taken,
        avoided: &[PathBuf],
    ) -> Candidates {
        let folders = folders.iter().filter(|(of, _)| *of == kind);
        let entries = folders.filter_map(|(_, folder)| folder.read_dir().ok()).flatten().flatten();
        let candidates = entries.filter_map(|entry| {
            if !may_hold_log(entry.file_name().to_str()?)
                || !entry.file_type().is_ok_and(|entry| entry.is_file())
            {
                return None;
            }
            let path = entry.path();
            if taken.contains(&(kind, path.to_str()?.to_owned())) || avoided.contains(&path) {
                return None;
            }
            let stat = Stat::of(&path).ok()??;
            Some(Candidate { path, stat, is_taken: false })
        });
        let mut files: Vec<Candidate> = candidates.collect();
        files.sort_by(|one, two| {
            let order = |file: &Candidate| Reverse(file.stat.length);
            (order(one), &one.path).cmp(&(order(two), &two.path))
        });
        let identities = files.iter().enumerate();
        let by_identity =
            identities.filter_map(|(number, file)| Some((file.stat.identity?, number))).collect();
        let (beginnings, digests) = (HashMap::new(), HashMap::new());
        Candidates { files, by_identity, beginnings, digests }
    }

    /// Returns a file by its number, unless it was taken.
    pub(super) fn get(&self, number: usize) -> Option<&Candidate> {
        self.files.get(number).filter(|file| !file.is_taken)
    }

    /// Notes that a file holds a log.
    pub(super) fn take(&mut self, number: usize) {
        self.files[number].is_taken = true;
    }

    /// Returns the file with this identity.
    pub(super) fn of_identity(&self, identity: Option<(u64, u64)>) -> Option<usize> {
        let number = *self.by_identity.get(&identity?)?;
        self.get(number).map(|_| number)
    }

    /// Returns the files that begin as a log does, the longest first.
    pub(super) fn beginning_as(&mut self, wanted: &Beginning, format: FileFormat) -> Vec<usize> {
        let is_parquet = format == FileFormat::Parquet;
        let read = |file: &Candidate| beginning::read(&file.path, format.at(&file.path)).ok();
        let beginnings = self.beginnings.entry(is_parquet);
        let beginnings = beginnings.or_insert_with(|| self.files.iter().map(read).collect());
        let by_digest = self.digests.entry((wanted.bytes, is_parquet)).or_insert_with(|| {
            let mut by_digest = HashMap::<String, Vec<usize>>::new();
            for (number, begins) in beginnings.iter().enumerate() {
                if let Some(digest) = begins.as_ref().and_then(|begins| digest(begins, wanted)) {
                    by_digest.entry(digest).or_default().push(number);
                }
            }
            by_digest
        });
        let numbers = by_digest.get(&wanted.digest).cloned().unwrap_or_default();
        numbers.into_iter().filter(|number| !self.files[*number].is_taken).collect()
    }
}

/// Returns the digest of as many first bytes as the digest of a log covers.
fn digest(begins: &[u8], log: &Beginning) -> Option<String> {
    begins.get(..usize::try_from(log.bytes).ok()?).map(|begins| beginning::of(begins).digest)
}
