//! The folder of sets: names, appearance and removal of files. Another kind of place, such as an
//! object store, would replace this file.
//!
//! A file has three names in turn. While it is written, a random one. When it is complete on the
//! disk, `.NAME.unpublished`; readers of `*.parquet` see neither. When the store lists it, `NAME`,
//! which has the digest of its bytes. Only names of these forms are ever removed.

use super::{SetFile, SetsError};
use crate::time::{Epoch, Publication};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The file that names the store of a folder.
const MARKER: &str = ".trendmark-store";
const WRITING: &str = ".writing";
const UNPUBLISHED: &str = ".unpublished";

/// The folder of sets, in this process.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

/// What was found at a start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// The number of files that got their name.
    pub published: usize,
    /// The number of files that no publication names, which were removed.
    pub removed: usize,
}

impl Folder {
    /// The folder at a path. Nothing is done yet.
    pub fn new(path: PathBuf) -> Folder {
        Folder { path }
    }

    /// Creates the folder if need be, and marks it as that of a store.
    ///
    /// # Errors
    /// When it cannot be written, or belongs to another store.
    pub fn claim(&self, store: &str) -> Result<(), SetsError> {
        fs::create_dir_all(&self.path).map_err(failed("create the folder", &self.path))?;
        let marker = self.path.join(MARKER);
        match fs::read_to_string(&marker) {
            Ok(owner) if owner.trim_end() == store => Ok(()),
            Ok(owner) => Err(SetsError::OtherStore {
                folder: self.path.clone(),
                owner: owner.trim_end().to_owned(),
                store: store.to_owned(),
                marker,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::write(&marker, format!("{store}\n")).map_err(failed("write", &marker))
            }
            Err(error) => Err(failed("read", &marker)(error)),
        }
    }

    /// Mends what a crash has left: files that the store lists get their names, and files that it
    /// does not list are removed.
    ///
    /// # Errors
    /// When a listed file is missing, or the folder cannot be written.
    pub fn mend(&self, listed: &BTreeSet<SetFile>) -> Result<Mended, SetsError> {
        let mut mended = Mended::default();
        for file in listed {
            if !has_bytes(&self.published(file), file.bytes) {
                let unpublished = self.unpublished(file);
                if !has_bytes(&unpublished, file.bytes) {
                    return Err(SetsError::Missing { path: self.published(file) });
                }
                self.publish(file)?;
                mended.published += 1;
            }
        }
        let names: BTreeSet<PathBuf> = listed.iter().map(|file| self.published(file)).collect();
        for path in self.all_files()? {
            if !names.contains(&path) {
                remove(&path)?;
                mended.removed += 1;
            }
        }
        Ok(mended)
    }

    /// Returns all files with names of ours.
    fn all_files(&self) -> Result<Vec<PathBuf>, SetsError> {
        let mut files = Vec::new();
        for folder in entries(&self.path)? {
            let is_epoch = folder.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
                name.strip_prefix("epoch=").is_some_and(|epoch| epoch.parse::<i64>().is_ok())
            });
            if is_epoch && folder.is_dir() {
                let ours = entries(&folder)?.into_iter().filter(|path| {
                    path.file_name().and_then(|name| name.to_str()).is_some_and(is_ours)
                });
                files.extend(ours);
            }
        }
        Ok(files)
    }

    /// Creates a file that is to be written.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(&self, epoch: Epoch) -> Result<(File, PathBuf), SetsError> {
        let folder = self.epoch(epoch);
        fs::create_dir_all(&folder).map_err(failed("create the folder", &folder))?;
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|error| failed("name a file in", &folder)(io::Error::other(error)))?;
        let path = folder.join(format!(".{:016x}{WRITING}", u64::from_le_bytes(random)));
        let file = File::create_new(&path).map_err(failed("create", &path))?;
        Ok((file, path))
    }

    /// Notes that a file is complete, after which it can be published, also by another process or
    /// after a crash.
    ///
    /// # Errors
    /// When it cannot be renamed, or the disk does not take it.
    pub fn complete(&self, written: &Path, file: &SetFile) -> Result<(), SetsError> {
        let unpublished = self.unpublished(file);
        fs::rename(written, &unpublished).map_err(failed("rename a file to", &unpublished))?;
        let folder = self.epoch(file.epoch);
        let synced = File::open(&folder).and_then(|folder| folder.sync_all());
        synced.map_err(failed("sync the folder", &folder))
    }

    /// Checks that complete files are there, as they are about to be listed.
    ///
    /// # Errors
    /// When one is not.
    pub fn check(&self, files: &[SetFile]) -> Result<(), SetsError> {
        let is_missing = |file: &&SetFile| !has_bytes(&self.unpublished(file), file.bytes);
        match files.iter().find(is_missing) {
            Some(file) => Err(SetsError::NotShared { path: self.unpublished(file) }),
            None => Ok(()),
        }
    }

    /// Lets a complete file appear.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn publish(&self, file: &SetFile) -> Result<(), SetsError> {
        let published = self.published(file);
        fs::rename(self.unpublished(file), &published)
            .map_err(failed("rename a file to", &published))
    }

    /// Removes a file that is no longer listed.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, file: &SetFile) -> Result<(), SetsError> {
        remove(&self.published(file))
    }

    fn epoch(&self, epoch: Epoch) -> PathBuf {
        self.path.join(format!("epoch={epoch}"))
    }

    fn published(&self, file: &SetFile) -> PathBuf {
        self.epoch(file.epoch).join(name(file))
    }

    fn unpublished(&self, file: &SetFile) -> PathBuf {
        self.epoch(file.epoch).join(format!(".{}{UNPUBLISHED}", name(file)))
    }
}

/// The name of a file in the folder of its epoch.
fn name(SetFile { version, part, digest, .. }: &SetFile) -> String {
    format!("{version}-{part}-{digest:032x}.parquet")
}

/// Whether a name has a form that [`Folder`] gives.
fn is_ours(name: &str) -> bool {
    let is_hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_published = |name: &str| {
        let Some(name) = name.strip_suffix(".parquet") else { return false };
        let parts: Vec<&str> = name.split('-').collect();
        matches!(parts[..], [version, part, digest]
            if version.parse().is_ok_and(|version| Publication(version) > Publication::REPLAY)
                && part.parse::<u64>().is_ok()
                && digest.len() == 32
                && is_hexadecimal(digest))
    };
    match name.strip_prefix('.') {
        None => is_published(name),
        Some(hidden) => {
            hidden.strip_suffix(UNPUBLISHED).is_some_and(is_published)
                || hidden
                    .strip_suffix(WRITING)
                    .is_some_and(|random| random.len() == 16 && is_hexadecimal(random))
        }
    }
}

fn has_bytes(path: &Path, bytes: u64) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == bytes)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, SetsError> {
    let entries = fs::read_dir(folder).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()
    });
    entries.map_err(failed("read the folder", folder))
}

/// Removes a file; that it is gone is no error.
fn remove(path: &Path) -> Result<(), SetsError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Returns a function that wraps an I/O error.
pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SetsError {
    let path = path.to_path_buf();
    move |error| SetsError::Io { action, path, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: u64, bytes: u64) -> SetFile {
        SetFile {
            epoch: Epoch(7),
            version: Publication(version),
            part: 0,
            rows: 1,
            bytes,
            digest: 0xab,
        }
    }

    fn write(folder: &Folder, file: &SetFile) {
        let (_, path) = folder.create(file.epoch).unwrap();
        fs::write(&path, vec![1; file.bytes as usize]).unwrap();
        folder.complete(&path, file).unwrap();
    }

    fn names(path: &Path) -> BTreeSet<String> {
        let names = entries(&path.join("epoch=7")).unwrap().into_iter();
        names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_start_mends_what_a_crash_has_left_and_touches_nothing_else() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::new(temporary.path().join("sets"));
        folder.claim("trends.db").unwrap();
        let [listed, committed, replaced, uncommitted] =
            [1, 2, 3, 4].map(|version| file(version, 10 * version));
        for one in [&listed, &committed, &replaced, &uncommitted] {
            write(&folder, one);
        }
        folder.publish(&listed).unwrap();
        folder.publish(&replaced).unwrap();
        folder.create(Epoch(7)).unwrap();
        let foreign = ["notes.txt", "1-0-ab.parquet", "0-0-.parquet", "data.parquet", ".x.writing"];
        for name in foreign {
            fs::write(folder.epoch(Epoch(7)).join(name), "x").unwrap();
        }
        let all = BTreeSet::from([listed.clone(), committed.clone()]);
        let mended = folder.mend(&all).unwrap();
        assert_eq!(mended, Mended { published: 1, removed: 3 });
        let mut expected = BTreeSet::from(foreign.map(str::to_owned));
        expected.extend([name(&listed), name(&committed)]);
        assert_eq!(names(&folder.path), expected);
        assert_eq!(folder.mend(&all).unwrap(), Mended::default());
    }

    #[test]
    fn a_listed_file_that_is_missing_or_cut_is_an_error() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::new(temporary.path().into());
        folder.claim("trends.db").unwrap();
        let listed = file(1, 10);
        let all = BTreeSet::from([listed.clone()]);
        assert!(matches!(folder.mend(&all), Err(SetsError::Missing { .. })));
        write(&folder, &listed);
        folder.check(std::slice::from_ref(&listed)).unwrap();
        fs::write(folder.unpublished(&listed), "cut").unwrap();
        assert!(matches!(folder.mend(&all), Err(SetsError::Missing { .. })));
        let checked = folder.check(std::slice::from_ref(&listed));
        assert!(matches!(checked, Err(SetsError::NotShared { .. })));
    }

    #[test]
    fn a_folder_belongs_to_one_store() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::new(temporary.path().into());
        folder.claim("one.db").unwrap();
        folder.claim("one.db").unwrap();
        let refused = folder.claim("two.db").unwrap_err().to_string();
        assert!(refused.contains("belongs to the store `one.db`"), "{refused}");
    }
}
