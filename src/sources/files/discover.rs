//! Finds the files given by name, folder or pattern.

use super::names::{FileFormat, is_rotated};
use super::stat::is_absence;
use super::{io_error, needs_parquet};
use crate::event::Kind;
use crate::features::Feature;
use crate::sources::SourceError;
use glob::{MatchOptions, Pattern};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The number of files that are named when files were left out.
const NAMED_MAX: usize = 5;

/// The folders in which the logs of a kind may be, without symbolic links.
pub(super) type Folders = BTreeSet<(Kind, PathBuf)>;

/// A file that the arguments stand for.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) kind: Kind,
    /// Its path without symbolic links, or that of the link if only the link has a known format.
    pub(super) path: String,
}

/// A file beside a followed file that was given itself, with a name that rotating programs give.
#[derive(Clone, Debug)]
pub(super) struct Sibling {
    pub(super) file: Found,
    /// The path of the file that was given, without symbolic links.
    pub(super) of: String,
}

/// Finds the files that exist at each call.
#[derive(Clone, Debug)]
pub(super) struct Finder {
    paths: Vec<(Kind, String)>,
    follow: bool,
    has_found: bool,
    /// The name of each file by its path without symbolic links: the first that it was found under.
    names: BTreeMap<(Kind, PathBuf), String>,
    /// The folders of the files and patterns, as of the last call.
    folders: Folders,
    /// The files beside those that were given, as of the last call.
    siblings: Vec<Sibling>,
    /// What the last call found and left out: the paths without symbolic links, and as they were
    /// found.
    left_out: BTreeMap<PathBuf, PathBuf>,
    /// What the call before left out, and what people were told of.
    left_out_before: BTreeMap<PathBuf, PathBuf>,
    told: Option<BTreeSet<PathBuf>>,
}

/// What an argument stands for.
#[derive(Default)]
struct Expanded {
    files: Vec<PathBuf>,
    left_out: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    /// The files beside a followed file that may have had its name before.
    siblings: Vec<PathBuf>,
}

impl Finder {
    pub(super) fn new(paths: Vec<(Kind, String)>, follow: bool) -> Finder {
        Finder {
            paths,
            follow,
            has_found: false,
            names: BTreeMap::new(),
            folders: Folders::new(),
            siblings: Vec::new(),
            left_out: BTreeMap::new(),
            left_out_before: BTreeMap::new(),
            told: None,
        }
    }

    /// The folders of the files and patterns.
    pub(super) fn folders(&self) -> Folders {
        self.folders.clone()
    }

    /// The files beside those that were given, except files that the arguments stand for.
    pub(super) fn siblings(&self) -> Vec<Sibling> {
        self.siblings.clone()
    }

    /// Returns the files that exist now, ordered by kind and name. A missing path is an error only
    /// at the first call.
    pub(super) fn find(&mut self) -> Result<Vec<Found>, SourceError> {
        let (mut found, mut beside) = (BTreeMap::new(), Vec::new());
        let mut true_folders = TrueFolders::default();
        self.folders = Folders::new();
        self.left_out_before = std::mem::take(&mut self.left_out);
        for (kind, path) in self.paths.clone() {
            let Expanded { files, left_out, folders, siblings } = self.expand(&path)?;
            for path in left_out.into_iter().filter(|path| !is_hidden(path) && !is_marker(path)) {
                let target = path.canonicalize().unwrap_or_else(|_| path.clone());
                self.left_out.insert(target, path);
            }
            let folders = folders.iter().filter_map(|folder| folder.canonicalize().ok());
            self.folders.extend(folders.map(|folder| (kind, folder)));
            for file in files {
                // The file was removed after it was found: ignore it.
                let Ok(inspected) = true_folders.inspect(&file) else { continue };
                let folder = inspected.target.parent().map(|folder| (kind, folder.to_owned()));
                if let Some(folder) = folder.filter(|folder| !self.folders.contains(folder)) {
                    self.folders.insert(folder);
                }
                let Some(name) = inspected.path.to_str() else {
                    self.left_out.insert(inspected.path, file);
                    continue;
                };
                if FileFormat::of(&file) == Some(FileFormat::Parquet)
                    && !Feature::Parquet.is_built_in()
                {
                    return Err(needs_parquet(name).into());
                }
                found.insert((kind, name.to_owned()), inspected.target);
            }
            let of = true_folders.inspect(Path::new(&path)).map(|inspected| inspected.path);
            let of = of.ok().or_else(|| in_true_folder(Path::new(&path)));
            let inspected = siblings.iter().flat_map(|file| true_folders.inspect(file));
            beside.extend(inspected.filter_map(|inspected| {
                let path = inspected.target.to_str()?.to_owned();
                let of = of.as_ref()?.to_str()?.to_owned();
                Some(Sibling { file: Found { kind, path }, of })
            }));
        }
        let is_given = |sibling: &Sibling| {
            Kind::ALL.iter().any(|kind| found.contains_key(&(*kind, sibling.file.path.clone())))
        };
        beside.retain(|sibling| !is_given(sibling));
        self.siblings = beside;
        self.has_found = true;
        Ok(self.deduplicated(found))
    }

    fn deduplicated(&mut self, found: BTreeMap<(Kind, String), PathBuf>) -> Vec<Found> {
        let mut paths = BTreeSet::new();
        for ((kind, name), target) in found {
            paths.insert((kind, self.names.entry((kind, target)).or_insert(name).clone()));
        }
        paths.into_iter().map(|(kind, path)| Found { kind, path }).collect()
    }

    /// Returns what was left out, except files that hold a log, in words for people.
    pub(super) fn left_out(&self, held: &BTreeSet<&Path>) -> Vec<String> {
        let left_out = self.left_out.iter().filter(|(target, _)| !held.contains(target.as_path()));
        left_out.map(|(_, path)| in_words(path)).collect()
    }

    /// Logs what was left out since the first call.
    pub(super) fn tell_left_out(&mut self, held: &BTreeSet<&Path>) {
        let Some(told) = &mut self.told else {
            // What is there at the start is told by the job.
            self.told = Some(self.left_out.keys().cloned().collect());
            return;
        };
        for (target, path) in &self.left_out {
            // A file that is being renamed may be seen where it is no more.
            let is_lasting = self.left_out_before.contains_key(target);
            if is_lasting && !held.contains(target.as_path()) && told.insert(target.clone()) {
                tracing::warn!("found, but not read: {}", in_words(path));
            }
        }
    }

    /// Whether any argument stands for logs of a kind.
    pub(super) fn finds(&self, kind: Kind) -> bool {
        self.paths.iter().any(|(of, _)| *of == kind)
    }

    /// Whether `find` returns this file, or would return it if it were created.
    pub(super) fn would_find(&self, kind: Kind, file: &Path) -> bool {
        let target = file.canonicalize();
        let is_target = |path: &Path| {
            target
                .as_ref()
                .is_ok_and(|target| path.canonicalize().is_ok_and(|path| path == *target))
        };
        self.paths.iter().filter(|(of, _)| *of == kind).any(|(_, argument)| {
            // Errors are reported when the sources are read.
            let existing = self.expand(argument).unwrap_or_default().files;
            existing.iter().any(|path| is_target(path))
                || would_match(argument, file)
                || self.follow && would_be_beside(Path::new(argument), file)
        })
    }

    /// Returns what an argument stands for: a file, folder or pattern.
    fn expand(&self, argument: &str) -> Result<Expanded, SourceError> {
        let path = Path::new(argument);
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => self.in_folder(path),
            Ok(metadata) if metadata.is_file() => match FileFormat::of(path) {
                Some(_) => Ok(self.named_file(path, true)),
                None => Err(SourceError::UnknownFormat(path.into())),
            },
            // It was a file once.
            Ok(_) if self.has_found => Ok(self.named_file(path, false)),
            Ok(_) => {
                let what = "neither a file nor a folder, so a restart could not read it again";
                Err(io_error(path, std::io::Error::new(ErrorKind::InvalidInput, what)))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => self.matches(argument),
            Err(error) => Err(io_error(path, error)),
        }
    }

    /// Returns a file that was given itself, and those beside it.
    fn named_file(&self, path: &Path, is_there: bool) -> Expanded {
        Expanded {
            files: is_there.then(|| path.to_owned()).into_iter().collect(),
            left_out: Vec::new(),
            folders: vec![folder_of(path).to_owned()],
            siblings: if self.follow { rotated(path) } else { Vec::new() },
        }
    }

    /// Returns the files in a folder and its subfolders `KEY=VALUE`.
    fn in_folder(&self, folder: &Path) -> Result<Expanded, SourceError> {
        let mut found = Expanded::default();
        add_folder(folder, self.has_found, &mut found)?;
        if found.files.is_empty() && !self.follow && !self.has_found {
            let left_out = found.left_out.iter().filter(|path| !is_hidden(path));
            let left_out: Vec<String> = left_out.map(|path| in_words(path)).collect();
            let (folder, left_out) = (folder.to_owned(), some_of(&left_out));
            return Err(SourceError::NothingToRead { folder, left_out });
        }
        Ok(found)
    }

    /// Returns the files that match a pattern. A path that does not exist may be a pattern.
    fn matches(&self, argument: &str) -> Result<Expanded, SourceError> {
        let is_literal = Pattern::escape(argument) == argument;
        let mut found = Expanded::default();
        if is_literal {
            found = self.named_file(Path::new(argument), false);
        } else {
            found.folders.extend(folders(Path::new(argument)));
            let options =
                MatchOptions { require_literal_leading_dot: true, ..MatchOptions::default() };
            let paths = glob::glob_with(argument, options).map_err(|error| {
                SourceError::Pattern { pattern: argument.into(), reason: error.to_string() }
            })?;
            for path in paths {
                let path = path.map_err(|error| io_error(argument, error.into()))?;
                if is_wanted(&path) {
                    found.files.push(path);
                } else {
                    found.left_out.push(path);
                }
            }
        }
        // A followed file may be absent for a moment, while it is rotated.
        let is_awaited = self.follow
            && (!is_literal
                || FileFormat::of(Path::new(argument)).is_some()
                    && folder_of(Path::new(argument)).is_dir());
        if found.files.is_empty() && !self.has_found && !is_awaited {
            return Err(SourceError::NotFound(argument.into()));
        }
        Ok(found)
    }
}

/// Returns the files beside a file whose names say that they may have had its name before.
fn rotated(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().and_then(|name| name.to_str());
    let (Some(name), Ok(entries)) = (name, folder_of(path).read_dir()) else { return Vec::new() };
    let rotated = entries.flatten().filter(|entry| {
        let other = entry.file_name();
        other.to_str().is_some_and(|other| is_rotated(name, other))
            && FileFormat::of(Path::new(&other)).is_some()
            && entry.file_type().is_ok_and(|entry| entry.is_file())
    });
    rotated.map(|entry| entry.path()).collect()
}

/// Whether a file would be one beside a file that was given.
fn would_be_beside(given: &Path, file: &Path) -> bool {
    let names = given.file_name().zip(file.file_name());
    let names = names.and_then(|(given, file)| Some((given.to_str()?, file.to_str()?)));
    let true_folder = |path: &Path| folder_of(path).canonicalize().ok();
    names.is_some_and(|(given, file)| is_rotated(given, file))
        && true_folder(given).is_some_and(|folder| true_folder(file) == Some(folder))
}

/// Adds the files in a folder that are not hidden and have a known format, and those of subfolders
/// `KEY=VALUE`, as Hive, Spark and others name the parts of a table. A folder that was removed
/// meanwhile is empty, and with `is_lenient` one that cannot be read is left out.
fn add_folder(folder: &Path, is_lenient: bool, found: &mut Expanded) -> Result<(), SourceError> {
    add_folder_once(folder, is_lenient, found, &mut BTreeSet::new())
}

/// Does so, except for folders that were `visited`: a link may lead to a folder above it.
fn add_folder_once(
    folder: &Path,
    is_lenient: bool,
    found: &mut Expanded,
    visited: &mut BTreeSet<PathBuf>,
) -> Result<(), SourceError> {
    let read = || {
        let target = folder.canonicalize()?;
        let entries: std::io::Result<Vec<_>> = folder.read_dir()?.collect();
        Ok((target, entries?))
    };
    let (target, entries) = match read() {
        Ok(read) => read,
        Err(error) if is_absence(&error) => return Ok(()),
        Err(_) if is_lenient => {
            found.left_out.push(folder.to_owned());
            return Ok(());
        }
        Err(error) => return Err(io_error(folder, error)),
    };
    if !visited.insert(target) {
        return Ok(());
    }
    found.folders.push(folder.to_owned());
    for entry in entries {
        let path = entry.path();
        if is_wanted(&path) {
            found.files.push(path);
        } else if path.is_dir() && !is_hidden(&path) && is_part(&path) {
            add_folder_once(&path, is_lenient, found, visited)?;
        } else {
            found.left_out.push(path);
        }
    }
    Ok(())
}

/// Whether a folder is named `KEY=VALUE`, as a part of a table.
fn is_part(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name.as_encoded_bytes().contains(&b'='))
}

/// Says in words that a file or folder is not read.
fn in_words(path: &Path) -> String {
    let reason = if path.is_dir() && is_part(path) {
        " (a folder that cannot be read)"
    } else if path.is_dir() {
        " (a folder not named KEY=VALUE)"
    } else if path.exists() && !path.is_file() {
        " (not a regular file)"
    } else if path.to_str().is_none() {
        " (its name is not UTF-8)"
    } else {
        ""
    };
    format!("`{}`{reason}", path.display())
}

/// Returns the first of these words, and how many more there are.
pub fn some_of(words: &[String]) -> String {
    match words.len() {
        0 => "nothing".into(),
        count if count <= NAMED_MAX => words.join(", "),
        count => format!("{} and {} more", words[..NAMED_MAX].join(", "), count - NAMED_MAX),
    }
}

/// Whether to read a file that was found in a folder or by a pattern. `.tmp` is not a known format.
fn is_wanted(path: &Path) -> bool {
    !is_hidden(path) && FileFormat::of(path).is_some() && path.is_file()
}

/// Whether a file is no log by its name: a file in the making, or a mark such as `_SUCCESS`.
fn is_marker(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.as_encoded_bytes());
    name.is_some_and(|name| name.starts_with(b"_") || name.ends_with(b".tmp"))
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
        let mut folders = Expanded::default();
        // Errors are reported when the sources are read.
        let _ = add_folder(argument, true, &mut folders);
        return folders.folders.iter().any(|folder| is_in(folder));
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
}

/// The paths of folders without symbolic links, each looked up once.
#[derive(Default)]
struct TrueFolders(HashMap<PathBuf, PathBuf>);

impl TrueFolders {
    fn inspect(&mut self, file: &Path) -> std::io::Result<Inspected> {
        let folder = folder_of(file);
        let true_folder = match self.0.get(folder) {
            Some(known) => known,
            None => self.0.entry(folder.to_owned()).or_insert(folder.canonicalize()?),
        };
        let path = true_folder.join(file.file_name().ok_or(ErrorKind::NotFound)?);
        if !file.symlink_metadata()?.is_symlink() {
            return Ok(Inspected { target: path.clone(), path });
        }
        let target = file.canonicalize()?;
        // The name must have a known format: a link may have one where its target has none.
        let path = if FileFormat::of(&target).is_some() { target.clone() } else { path };
        Ok(Inspected { path, target })
    }
}
