//! Finds the files given by name, folder or pattern.

use super::{FileFormat, io_error, needs_parquet};
use crate::event::Kind;
use crate::features::Feature;
use crate::log::PartitionName;
use crate::sources::{Discovered, SourceError};
use glob::{MatchOptions, Pattern};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Finds the files that exist at each call.
#[derive(Clone, Debug)]
pub(super) struct Finder {
    paths: Vec<(Kind, String)>,
    follow: bool,
    has_found: bool,
    /// The name of each file by its path without symbolic links: the first that it was found under.
    names: BTreeMap<(Kind, PathBuf), String>,
    /// Files that were skipped, with a warning, because their names are not UTF-8.
    skipped: BTreeSet<PathBuf>,
}

impl Finder {
    pub(super) fn new(paths: Vec<(Kind, String)>, follow: bool) -> Finder {
        let (names, skipped) = (BTreeMap::new(), BTreeSet::new());
        Finder { paths, follow, has_found: false, names, skipped }
    }

    /// Returns the files that exist now, ordered by kind and name. A missing path is an error only
    /// at the first call.
    pub(super) fn find(&mut self) -> Result<Vec<Discovered>, SourceError> {
        let mut found = BTreeMap::new();
        for (kind, path) in self.paths.clone() {
            for file in self.expand(&path)? {
                // The file was removed after it was found: ignore it.
                let Ok(inspected) = inspect(&file) else { continue };
                let Some(name) = inspected.path.to_str() else {
                    if self.skipped.insert(inspected.path) {
                        let file = file.display();
                        tracing::warn!(%file, "skipped: the file name is not UTF-8");
                    }
                    continue;
                };
                if FileFormat::of(&file) == Some(FileFormat::Parquet)
                    && !Feature::Parquet.is_built_in()
                {
                    return Err(needs_parquet(name).into());
                }
                found.insert((kind, name.to_owned()), (inspected.target, inspected.size_bytes));
            }
        }
        self.has_found = true;
        Ok(self.deduplicated(found))
    }

    fn deduplicated(&mut self, found: BTreeMap<(Kind, String), (PathBuf, u64)>) -> Vec<Discovered> {
        let mut discovered = BTreeMap::new();
        for ((kind, name), (target, size_bytes)) in found {
            let name = self.names.entry((kind, target)).or_insert(name).clone();
            discovered.insert(PartitionName { kind, name }, size_bytes);
        }
        discovered
            .into_iter()
            .map(|(name, size_bytes)| Discovered { name, size_bytes, end_offset: None })
            .collect()
    }

    /// Whether `find` returns this file, or would return it if it were created.
    pub(super) fn would_find(&self, file: &Path) -> bool {
        let target = file.canonicalize();
        let is_target = |path: &Path| {
            target
                .as_ref()
                .is_ok_and(|target| path.canonicalize().is_ok_and(|path| path == *target))
        };
        self.paths.iter().any(|(_, argument)| {
            // Errors are reported when the sources are read.
            let existing = self.expand(argument).unwrap_or_default();
            existing.iter().any(|path| is_target(path)) || would_match(argument, file)
        })
    }

    /// Returns the files for an argument: a file, folder or pattern.
    fn expand(&self, argument: &str) -> Result<Vec<PathBuf>, SourceError> {
        let path = Path::new(argument);
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => files_in(path),
            Ok(metadata) if metadata.is_file() => match FileFormat::of(path) {
                Some(_) => Ok(vec![path.into()]),
                None => Err(SourceError::UnknownFormat(path.into())),
            },
            Ok(_) => {
                let what = "neither a file nor a folder, so a restart could not read it again";
                Err(io_error(path, std::io::Error::new(ErrorKind::InvalidInput, what)))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => self.matches(argument),
            Err(error) => Err(io_error(path, error)),
        }
    }

    /// Returns the files that match a pattern. A path that does not exist may be a pattern.
    fn matches(&self, argument: &str) -> Result<Vec<PathBuf>, SourceError> {
        let is_literal = Pattern::escape(argument) == argument;
        let mut files = Vec::new();
        if !is_literal {
            let options =
                MatchOptions { require_literal_leading_dot: true, ..MatchOptions::default() };
            let paths = glob::glob_with(argument, options).map_err(|error| {
                SourceError::Pattern { pattern: argument.into(), reason: error.to_string() }
            })?;
            for path in paths {
                let path = path.map_err(|error| io_error(argument, error.into()))?;
                if is_wanted(&path) {
                    files.push(path);
                }
            }
        }
        let may_be_empty = self.has_found || (self.follow && !is_literal);
        if files.is_empty() && !may_be_empty {
            return Err(SourceError::NotFound(argument.into()));
        }
        Ok(files)
    }
}

/// Returns the files in a folder that are not hidden and have a known format.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let mut files = Vec::new();
    for entry in folder.read_dir().map_err(|error| io_error(folder, error))? {
        let path = entry.map_err(|error| io_error(folder, error))?.path();
        if is_wanted(&path) {
            files.push(path);
        }
    }
    Ok(files)
}

/// Whether to read a file that was found in a folder or by a pattern. `.tmp` is not a known format.
fn is_wanted(path: &Path) -> bool {
    !is_hidden(path) && FileFormat::of(path).is_some() && path.is_file()
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Whether an argument stands for a file that may not exist yet.
fn would_match(argument: &str, file: &Path) -> bool {
    let (argument, Some(file)) = (Path::new(argument), in_true_folder(file)) else { return false };
    let is_in =
        |folder: &Path| folder.canonicalize().is_ok_and(|folder| file.parent() == Some(&folder));
    if is_hidden(&file) || FileFormat::of(&file).is_none() {
        return false;
    }
    if argument.is_dir() {
        return is_in(argument);
    }
    let pattern = argument.file_name().and_then(|name| Pattern::new(name.to_str()?).ok());
    let names = pattern.zip(file.file_name());
    names.is_some_and(|(pattern, name)| pattern.matches_path(Path::new(name)))
        && folders(argument).any(|folder| is_in(&folder))
}

/// Returns the folders that the folder part of a pattern matches now.
fn folders(pattern: &Path) -> impl Iterator<Item = PathBuf> {
    let paths = folder_of(pattern).to_str().and_then(|folder| glob::glob(folder).ok());
    paths.into_iter().flatten().flatten()
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns the path of a file with the canonical path of its folder.
fn in_true_folder(file: &Path) -> Option<PathBuf> {
    Some(folder_of(file).canonicalize().ok()?.join(file.file_name()?))
}

/// A file that exists.
struct Inspected {
    /// Its path without symbolic links, or that of the link if only the link has a known format.
    path: PathBuf,
    /// Its path without symbolic links.
    target: PathBuf,
    size_bytes: u64,
}

fn inspect(file: &Path) -> std::io::Result<Inspected> {
    let target = file.canonicalize()?;
    // The name must have a known format: a link may have one where its target has none.
    let path = match FileFormat::of(&target) {
        Some(_) => target.clone(),
        None => in_true_folder(file).ok_or(ErrorKind::NotFound)?,
    };
    Ok(Inspected { path, target, size_bytes: file.metadata()?.len() })
}
