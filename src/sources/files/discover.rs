//! Finds the files given by name, folder or pattern.

use super::{FileFormat, io_error, needs_parquet};
use crate::event::Kind;
use crate::features::Feature;
use crate::log::PartitionName;
use crate::sources::{Discovered, SourceError};
use glob::{MatchOptions, Pattern};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Finds the files that exist at each call.
#[derive(Clone, Debug)]
pub(super) struct Finder {
    paths: Vec<(Kind, String)>,
    follow: bool,
    has_found: bool,
}

impl Finder {
    pub(super) fn new(paths: Vec<(Kind, String)>, follow: bool) -> Finder {
        Finder { paths, follow, has_found: false }
    }

    /// Returns the files that exist now, ordered by kind and name. A missing path is an error only
    /// at the first call.
    pub(super) fn find(&mut self) -> Result<Vec<Discovered>, SourceError> {
        let mut found = BTreeMap::new();
        for (kind, path) in &self.paths {
            for file in self.expand(path)? {
                // The file was removed after it was found: ignore it.
                let Ok((true_path, size_bytes)) = inspect(&file) else { continue };
                let Some(name) = true_path.to_str() else {
                    tracing::warn!(file = %file.display(), "skipped: the file name is not UTF-8");
                    continue;
                };
                if FileFormat::of(&file) == Some(FileFormat::Parquet)
                    && !Feature::Parquet.is_built_in()
                {
                    return Err(needs_parquet(name).into());
                }
                found.insert(PartitionName { kind: *kind, name: name.into() }, size_bytes);
            }
        }
        self.has_found = true;
        let discovered = found.into_iter().map(|(name, size_bytes)| Discovered {
            name,
            size_bytes,
            end_offset: None,
        });
        Ok(discovered.collect())
    }

    /// Whether a file is or would be found, if it exists or is created.
    pub(super) fn would_find(&self, file: &Path) -> bool {
        let Some(file) = true_path(file) else { return false };
        let is_in = |folder: &Path| {
            folder.canonicalize().is_ok_and(|folder| file.parent() == Some(&folder))
        };
        self.paths.iter().any(|(_, argument)| {
            let path = Path::new(argument);
            let name = || path.file_name().and_then(|name| Pattern::new(name.to_str()?).ok());
            let is_log = !is_hidden(&file) && FileFormat::of(&file).is_some();
            match path.metadata() {
                Ok(metadata) if metadata.is_dir() => is_log && is_in(path),
                Ok(_) => path.canonicalize().is_ok_and(|path| path == file),
                Err(_) => {
                    let matches = name()
                        .zip(file.file_name())
                        .is_some_and(|(name, file)| name.matches_path(Path::new(file)));
                    is_log && matches && parents(path).any(|folder| is_in(&folder))
                }
            }
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
                let what = "it is neither a file nor a folder, so it cannot be read twice";
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

/// Returns the folders that the folder part of a pattern matches now.
fn parents(pattern: &Path) -> impl Iterator<Item = PathBuf> {
    let folder = pattern.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let paths = folder.to_str().and_then(|folder| glob::glob(folder).ok());
    paths.into_iter().flatten().flatten()
}

/// Returns the canonical path that a file has, or would have in its existing folder.
fn true_path(file: &Path) -> Option<PathBuf> {
    file.canonicalize().ok().or_else(|| {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).canonicalize().ok()?;
        Some(folder.join(file.file_name()?))
    })
}

/// Returns the canonical path of a file and its size in bytes.
fn inspect(file: &Path) -> std::io::Result<(PathBuf, u64)> {
    Ok((file.canonicalize()?, file.metadata()?.len()))
}
