//! The folder of sets: names, appearance and removal of files. Another kind of place, such as an
//! object store, would replace this file.
//!
//! A file has three names in turn, where `G` is the generation of its job. While it is written,
//! `.G-RANDOM.writing`. When it is complete on the disk, `.G-NAME.unpublished`; readers of
//! `*.parquet` see neither. When the store lists it, `NAME`, which has the digest of its bytes.
//!
//! Only names of these forms are ever removed, and nothing that another job may need: no file of a
//! publication that the store does not have, and no hidden file of the job before, which may live.

use super::{SetFile, SetsError};
use crate::time::{Epoch, Publication, Through};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
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

/// What was done at a start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// The number of files that got their name.
    pub published: usize,
    /// The number of files that no publication names, which were removed.
    pub removed: usize,
}

/// A file with a name of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ours {
    Published {
        version: Publication,
    },
    /// The name that it is to get.
    Unpublished {
        generation: u64,
        name: String,
    },
    Writing {
        generation: u64,
    },
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
        let owner = match fs::read_to_string(&marker) {
            Ok(owner) => owner.trim_end().to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed("read", &marker)(error)),
        };
        if owner == store {
            return Ok(());
        }
        if !owner.is_empty() {
            let (folder, store) = (self.path.clone(), store.to_owned());
            return Err(SetsError::OtherStore { folder, owner, store, marker });
        }
        let written = File::create(&marker).and_then(|mut file| {
            writeln!(file, "{store}")?;
            file.sync_all()
        });
        written.map_err(failed("write", &marker))?;
        sync(&self.path)?;
        match std::path::absolute(&self.path).ok().as_deref().and_then(Path::parent) {
            Some(parent) => sync(parent),
            None => Ok(()),
        }
    }

    /// Mends what a crash has left, for a job of a generation whose store is at a publication:
    /// files that the store lists get their names, and files that it does not list are removed.
    /// Files of final epochs may be missing: somebody has removed what is old.
    ///
    /// # Errors
    /// When a listed file of an open epoch is missing, a file is of a publication that the store
    /// does not have, or the folder cannot be written.
    pub fn mend(
        &self,
        listed: &BTreeSet<SetFile>,
        publication: Publication,
        final_through: Through,
        generation: u64,
    ) -> Result<Mended, SetsError> {
        let found = self.all_files()?;
        let is_later =
            |ours: &Ours| matches!(ours, Ours::Published { version } if *version > publication);
        if let Some((path, _)) = found.iter().find(|(_, ours)| is_later(ours)) {
            return Err(SetsError::Later { path: path.clone(), publication });
        }
        let mut mended = Mended::default();
        for file in listed {
            if has_bytes(&self.published(file), file.bytes) {
                continue;
            }
            let is_it = |(path, ours): &&(PathBuf, Ours)| {
                let is_named =
                    matches!(ours, Ours::Unpublished { name, .. } if *name == file.name());
                is_named
                    && has_bytes(path, file.bytes)
                    && path.parent() == Some(&self.epoch(file.epoch))
            };
            match found.iter().find(is_it) {
                Some((path, _)) => {
                    self.rename(path, file)?;
                    mended.published += 1;
                }
                None if final_through.contains(file.epoch) => {}
                None => return Err(SetsError::Missing { path: self.published(file) }),
            }
        }
        let names: BTreeSet<PathBuf> = listed.iter().map(|file| self.published(file)).collect();
        for (path, ours) in found {
            let is_left = match ours {
                Ours::Published { .. } => !names.contains(&path),
                Ours::Unpublished { generation: of, .. } | Ours::Writing { generation: of } => {
                    of + 1 < generation
                }
            };
            if is_left && remove(&path)? {
                mended.removed += 1;
            }
        }
        Ok(mended)
    }

    /// Returns all files with names of ours.
    fn all_files(&self) -> Result<Vec<(PathBuf, Ours)>, SetsError> {
        let mut files = Vec::new();
        for folder in entries(&self.path)? {
            let is_epoch = file_name(&folder).strip_prefix("epoch=").is_some_and(|epoch| {
                epoch.parse::<i64>().is_ok_and(|number| number.to_string() == epoch)
            });
            if is_epoch && folder.is_dir() {
                let ours = entries(&folder)?.into_iter().filter_map(|path| {
                    let ours = Ours::of_name(file_name(&path))?;
                    Some((path, ours))
                });
                files.extend(ours);
            }
        }
        Ok(files)
    }

    /// Creates a file that is to be written by a job of a generation.
    ///
    /// # Errors
    /// When it cannot be created, above all because the folder is gone.
    pub fn create(&self, epoch: Epoch, generation: u64) -> Result<(File, PathBuf), SetsError> {
        let folder = self.epoch(epoch);
        match fs::create_dir(&folder) {
            Ok(()) => sync(&self.path)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
            Err(error) => return Err(failed("create the folder", &folder)(error)),
        }
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|error| failed("name a file in", &folder)(io::Error::other(error)))?;
        let random = u64::from_le_bytes(random);
        let path = folder.join(format!(".{generation}-{random:016x}{WRITING}"));
        let file = File::create_new(&path).map_err(failed("create", &path))?;
        Ok((file, path))
    }

    /// Notes that a file is complete, after which it can be published, also by another process or
    /// after a crash.
    ///
    /// # Errors
    /// When it cannot be renamed, or the disk does not take it.
    pub fn complete(
        &self,
        written: &Path,
        file: &SetFile,
        generation: u64,
    ) -> Result<(), SetsError> {
        let unpublished = self.unpublished(file, generation);
        fs::rename(written, &unpublished).map_err(failed("rename a file to", &unpublished))?;
        sync(&self.epoch(file.epoch))
    }

    /// Checks that the folder and complete files are there, as they are about to be listed.
    ///
    /// # Errors
    /// When one is not.
    pub fn check(&self, files: &[SetFile], generation: u64) -> Result<(), SetsError> {
        let marker = self.path.join(MARKER);
        marker.metadata().map_err(failed("find", &marker))?;
        let is_missing =
            |file: &&SetFile| !has_bytes(&self.unpublished(file, generation), file.bytes);
        match files.iter().find(is_missing) {
            Some(file) => Err(SetsError::NotShared { path: self.unpublished(file, generation) }),
            None => Ok(()),
        }
    }

    /// Lets a complete file appear.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn publish(&self, file: &SetFile, generation: u64) -> Result<(), SetsError> {
        self.rename(&self.unpublished(file, generation), file)
    }

    fn rename(&self, from: &Path, file: &SetFile) -> Result<(), SetsError> {
        let published = self.published(file);
        fs::rename(from, &published).map_err(failed("rename a file to", &published))
    }

    /// Removes a file that is no longer listed.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, file: &SetFile) -> Result<(), SetsError> {
        remove(&self.published(file)).map(drop)
    }

    fn epoch(&self, epoch: Epoch) -> PathBuf {
        self.path.join(format!("epoch={epoch}"))
    }

    pub(super) fn published(&self, file: &SetFile) -> PathBuf {
        self.epoch(file.epoch).join(file.name())
    }

    fn unpublished(&self, file: &SetFile, generation: u64) -> PathBuf {
        self.epoch(file.epoch).join(format!(".{generation}-{}{UNPUBLISHED}", file.name()))
    }
}

impl Ours {
    /// What a name says, if it has one of our forms.
    fn of_name(name: &str) -> Option<Ours> {
        let Some(hidden) = name.strip_prefix('.') else {
            return version_of(name).map(|version| Ours::Published { version });
        };
        let (generation, rest) = hidden.split_once('-')?;
        let generation: u64 = generation.parse().ok()?;
        if let Some(name) = rest.strip_suffix(UNPUBLISHED) {
            version_of(name)?;
            return Some(Ours::Unpublished { generation, name: name.to_owned() });
        }
        let random = rest.strip_suffix(WRITING)?;
        let is_random = random.len() == 16 && u64::from_str_radix(random, 16).is_ok();
        is_random.then_some(Ours::Writing { generation })
    }
}

/// The version in the name of a file, if it is one that [`SetFile::name`] gives.
fn version_of(name: &str) -> Option<Publication> {
    let parts: Vec<&str> = name.strip_suffix(".parquet")?.split('-').collect();
    let [version, part, digest] = parts[..] else { return None };
    let version = Publication(version.parse().ok()?);
    let file = SetFile {
        epoch: Epoch(0),
        version,
        part: part.parse().ok()?,
        rows: 0,
        bytes: 0,
        digest: u128::from_str_radix(digest, 16).ok()?,
    };
    (file.name() == name && version > Publication::REPLAY).then_some(version)
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
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

/// Waits until the disk has the entries of a folder.
fn sync(folder: &Path) -> Result<(), SetsError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(failed("sync the folder", folder))
}

/// Removes a file. Returns whether it was there.
fn remove(path: &Path) -> Result<bool, SetsError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("remove", path)(error)),
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

    /// The generation of the job, and that of the job before.
    const NOW: u64 = 5;
    const BEFORE: u64 = 4;

    fn file(version: u64) -> SetFile {
        SetFile {
            epoch: Epoch(7),
            version: Publication(version),
            part: 0,
            rows: 1,
            bytes: 10 * version,
            digest: 0xab,
        }
    }

    fn write(folder: &Folder, file: &SetFile, generation: u64) {
        let (_, path) = folder.create(file.epoch, generation).unwrap();
        fs::write(&path, vec![1; file.bytes as usize]).unwrap();
        folder.complete(&path, file, generation).unwrap();
    }

    fn names(path: &Path) -> BTreeSet<String> {
        let paths = entries(&path.join("epoch=7")).unwrap();
        paths.iter().map(|path| file_name(path).to_owned()).collect()
    }

    fn claimed(temporary: &tempfile::TempDir) -> Folder {
        let folder = Folder::new(temporary.path().join("sets"));
        folder.claim("trends.db").unwrap();
        folder
    }

    #[test]
    fn a_start_mends_what_a_crash_has_left_and_touches_nothing_else() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = claimed(&temporary);
        let [listed, committed, replaced, uncommitted] = [1, 2, 3, 4].map(file);
        for one in [&listed, &committed, &replaced] {
            write(&folder, one, BEFORE - 1);
        }
        write(&folder, &uncommitted, BEFORE - 1);
        write(&folder, &uncommitted, BEFORE);
        folder.publish(&listed, BEFORE - 1).unwrap();
        folder.publish(&replaced, BEFORE - 1).unwrap();
        folder.create(Epoch(7), BEFORE - 1).unwrap();
        folder.create(Epoch(7), BEFORE).unwrap();
        let foreign = ["notes.txt", "1-0-ab.parquet", "0-0-.parquet", "data.parquet", ".x.writing"];
        for name in foreign {
            fs::write(folder.epoch(Epoch(7)).join(name), "x").unwrap();
        }
        let all = BTreeSet::from([listed.clone(), committed.clone()]);
        let mend = || folder.mend(&all, Publication(3), Through::Nothing, NOW).unwrap();
        assert_eq!(mend(), Mended { published: 1, removed: 3 });
        // What the job before has not committed stays: it may live, and does not know that it is
        // fenced.
        let (hidden, rest): (BTreeSet<_>, BTreeSet<_>) =
            names(&folder.path).into_iter().partition(|name| name.starts_with(".4-"));
        assert_eq!(hidden.len(), 2);
        let mut expected = BTreeSet::from(foreign.map(str::to_owned));
        expected.extend([listed.name(), committed.name()]);
        assert_eq!(rest, expected);
        assert_eq!(mend(), Mended::default());
    }

    #[test]
    fn files_of_later_publications_are_those_of_another_store_or_job() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = claimed(&temporary);
        write(&folder, &file(4), BEFORE);
        folder.publish(&file(4), BEFORE).unwrap();
        // A store that was made anew, or restored, or a job that was fenced while it began.
        let refused = folder.mend(&BTreeSet::new(), Publication(3), Through::Nothing, NOW);
        assert!(matches!(refused, Err(SetsError::Later { .. })));
        assert_eq!(names(&folder.path), BTreeSet::from([file(4).name()]));
    }

    #[test]
    fn a_listed_file_of_an_open_epoch_that_is_missing_or_cut_is_an_error() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = claimed(&temporary);
        let listed = file(1);
        let all = BTreeSet::from([listed.clone()]);
        let mend = |final_through| folder.mend(&all, Publication(1), final_through, NOW);
        assert!(matches!(mend(Through::Nothing), Err(SetsError::Missing { .. })));
        assert_eq!(mend(Through::Epoch(Epoch(7))).unwrap(), Mended::default());
        write(&folder, &listed, NOW);
        folder.check(std::slice::from_ref(&listed), NOW).unwrap();
        fs::write(folder.unpublished(&listed, NOW), "cut").unwrap();
        assert!(matches!(mend(Through::Nothing), Err(SetsError::Missing { .. })));
        let checked = folder.check(std::slice::from_ref(&listed), NOW);
        assert!(matches!(checked, Err(SetsError::NotShared { .. })));
    }

    #[test]
    fn a_folder_belongs_to_one_store_and_is_not_made_anew() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::new(temporary.path().join("sets"));
        fs::create_dir(&folder.path).unwrap();
        // As a crash may leave it.
        fs::write(folder.path.join(MARKER), "").unwrap();
        folder.claim("one.db").unwrap();
        folder.claim("one.db").unwrap();
        let refused = folder.claim("two.db").unwrap_err().to_string();
        assert!(refused.contains("belongs to the store `one.db`"), "{refused}");
        folder.check(&[], NOW).unwrap();
        fs::rename(&folder.path, temporary.path().join("away")).unwrap();
        assert!(folder.check(&[], NOW).is_err());
        assert!(folder.create(Epoch(7), NOW).is_err());
        assert!(!folder.path.exists());
    }
}
