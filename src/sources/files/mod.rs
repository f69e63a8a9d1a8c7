//! JSON Lines and Parquet files as a source.
//!
//! Each file is one partition. The offset of a record is its line or row number, from 0. Empty
//! lines are counted, but contain no record. Of a line that holds several objects each counts, so
//! that offsets are line numbers in other files.
//!
//! - `.jsonl` and `.ndjson`, plain or compressed (`.gz`, `.zst`): one record per line, see
//!   [`crate::decode`], or several objects in a line. A record longer than [`LINE_BYTES_MAX`] is
//!   malformed.
//! - `.parquet`: one record per row, in columns named like the fields.
//!
//! Endings count in any case, also in front of what rotating programs add (`i.jsonl.1`, see
//! `names`). A damaged file gives the events before the damage, and then one
//! malformed record.
//!
//! While following, plain files are read as they grow, and new files in folders and patterns are
//! found. A last line without a newline is not read until the newline is written. Compressed and
//! Parquet files are read once, so write them under a temporary name (hidden, or ending in `.tmp`)
//! and rename them.
//!
//! # Which log is in which file
//!
//! A partition is a log, and a log may move: writers and `logrotate` rename, copy, cut and compress
//! files, while the job runs and while it does not.
//!
//! - *Name.* A partition is named after the path where it was found first: absolute, without
//!   symbolic links (only a link to a file without a known format is a name of its own). The next
//!   log at the same path is `PATH#2`, then `PATH#3`. Names never change.
//! - *Identity.* A log is known by its first 4 KiB, or as many bytes as there were ([`Beginning`]),
//!   uncompressed, so that a compressed copy begins as the log does. The digest and the number of
//!   bytes that were read are committed with the position of the partition ([`LogFile`]), so that
//!   both are always of the same log. A file holds a known log if it begins as the log did, and has
//!   at least the bytes that were read (a compressed file: begins so).
//! - *Where.* The path counts first. Only if the file there is gone or does not hold the log are
//!   the other files of the same folders looked at whose names have a known ending, at the end or
//!   not (`i.jsonl.old`). The longest one that holds the log has it now. While a process runs, the
//!   number of the file (inode) counts before that.
//! - *New.* Any other file that the arguments name is a new log. But a file whose content is also
//!   the beginning of a log that is in its place is a copy of it, perhaps in the making, and is
//!   not read: `copytruncate` and compression make such copies before they cut or remove the
//!   first. Of several files that are new at once, the plain ones and the longest come first. As
//!   soon as the two differ, it is a log of its own. The contents are compared, up to 64 MiB of a
//!   file and 512 MiB in all in each discovery. What is larger is compared in the next ones if both
//!   are plain and followed, and is otherwise read as a log of its own, whose events may be
//!   duplicates: only what was seen to be equal is a copy. A followed compressed file is compared
//!   once it does not change. A followed file is looked at once it has a byte, as nothing can be
//!   said of an empty one; a compressed one of which nothing can be read yet, once that is so for
//!   some seconds; one that comes while the job runs and cannot be read, once it can be.
//! - *Beside.* A file that was given itself and is followed may be rotated more than once between
//!   two discoveries, or while no job runs. So files beside it with a name that rotating programs
//!   give (`names`) are new logs too, except those that had that name before: those that were
//!   there when the first job began, or, at a restart, were last written more than 2 s before the
//!   last commit. Nobody gave these files: one that cannot be read, or has nothing that can be, is
//!   left alone, named, and looked at again.
//! - *Shared.* Two logs may become the same, as far as one goes, when a file is written anew. If
//!   open epochs need one again at a restart, and only the file of the other holds it, it is read
//!   again from there, up to where it was read.
//! - *Who.* The first process decides (`catalogue`), in every discovery, and tells the workers of
//!   each change of a file; a reader that finds its file cut, or cannot find it, waits for that.
//!   Readers keep files open, so a renamed or removed file is read to its end, and a reader
//!   believes no byte before it has seen that the file still begins as before.
//! - *Lost.* A log that no file holds any more has ended. A reader that had not reached its end
//!   says at which offset. If open epochs need the log again at a restart, the job says so and
//!   ends, and `--accept-loss` makes these epochs final as they are.

mod awaited;
mod beginning;
mod bounded;
mod candidates;
mod catalogue;
mod copies;
mod discover;
mod heads;
mod input;
mod lines;
mod names;
mod objects;
#[cfg(feature = "parquet")]
mod parquet;
mod split;
mod stat;

pub use discover::some_of;
pub use split::LINE_BYTES_MAX;

use super::{Discovered, Moved, PartitionReader, Source, SourceError};
use crate::decode::LogFields;
use crate::event::Kind;
use crate::features::{Feature, MissingFeature};
use crate::log::{Beginning, LogFile, PartitionName, PartitionProgress};
use awaited::AwaitedReader;
use bounded::BoundedReader;
use catalogue::Catalogue;
use discover::Finder;
use names::{Compression, FileFormat, first_path};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A source of files, folders and patterns.
#[derive(Clone, Debug)]
pub struct FileSource {
    finder: Finder,
    catalogue: Catalogue,
    fields: LogFields,
    follow: bool,
}

impl FileSource {
    /// Creates a source of these files, folders (with their subfolders `KEY=VALUE`) and patterns.
    /// With `follow` it never ends, as files may grow and new ones may be added.
    pub fn new(paths: Vec<(Kind, String)>, fields: LogFields, follow: bool) -> FileSource {
        let (finder, catalogue) = (Finder::new(paths, follow), Catalogue::new(follow));
        FileSource { finder, catalogue, fields, follow }
    }

    /// Lets the source open none of these files of a store while it looks for logs. If a process
    /// closes any descriptor of an SQLite database, it loses all its locks on it (see "How To
    /// Corrupt An SQLite Database File", section 2.2).
    #[must_use]
    pub fn avoiding(mut self, store: &[PathBuf]) -> FileSource {
        let real = |path: &PathBuf| {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new(".")).canonicalize().ok()?;
            Some(folder.join(path.file_name()?))
        };
        self.catalogue.avoid(store.iter().filter_map(real).collect());
        self
    }

    /// Whether the source reads a file, or would read it if it were created.
    pub fn would_read(&self, file: &Path) -> bool {
        Kind::ALL.into_iter().any(|kind| self.finder.would_find(kind, file))
    }

    /// Opens the file of a partition at an offset, if the file is there and holds its log.
    fn try_open(
        &self,
        partition: &Discovered,
        offset: u64,
    ) -> Result<Option<Box<dyn PartitionReader>>, SourceError> {
        match self.open_now(partition, offset) {
            Err(SourceError::Io { error, .. }) if error.kind() == ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// Opens the file of a partition at an offset.
    fn open_now(
        &self,
        partition: &Discovered,
        offset: u64,
    ) -> Result<Box<dyn PartitionReader>, SourceError> {
        let reader = self.open_whole(partition, offset)?;
        Ok(match partition.end_offset {
            Some(end_offset) => {
                let file = partition.file.clone();
                Box::new(BoundedReader::new(reader, offset, end_offset, file))
            }
            None => reader,
        })
    }

    /// Opens the file of a partition at an offset, to be read to its end.
    fn open_whole(
        &self,
        partition: &Discovered,
        offset: u64,
    ) -> Result<Box<dyn PartitionReader>, SourceError> {
        let (name, fields) = (&partition.name, self.fields.of(partition.name.kind));
        let Some(format) = FileFormat::of_partition(name) else {
            return Err(SourceError::UnknownFormat(name.name.clone().into()));
        };
        let opening = Opening::of(partition);
        match format.at(&opening.path) {
            #[cfg(feature = "parquet")]
            FileFormat::Parquet => parquet::open(&opening, fields, offset),
            #[cfg(not(feature = "parquet"))]
            FileFormat::Parquet => Err(needs_parquet(&name.name).into()),
            FileFormat::Lines(compression) => {
                lines::open(&opening, fields, compression, self.follow, offset)
            }
        }
    }
}

impl Source for FileSource {
    fn resume(&mut self, partitions: &[PartitionProgress], committed: Option<SystemTime>) {
        self.catalogue.resume(partitions, committed);
    }

    fn discover(&mut self) -> Result<Vec<Discovered>, SourceError> {
        let found = self.finder.find()?;
        let (siblings, folders) = (self.finder.siblings(), self.finder.folders());
        let discovered = self.catalogue.identify(found, siblings, &folders);
        self.finder.tell_left_out(&self.catalogue.held());
        Ok(discovered)
    }

    fn take_moved(&mut self) -> Vec<Moved> {
        self.catalogue.take_moved()
    }

    fn left_out(&self) -> Vec<String> {
        let files = self.finder.left_out(&self.catalogue.held());
        files.into_iter().chain(self.catalogue.left_out()).collect()
    }

    fn open(
        &self,
        partition: &Discovered,
        offset: Option<u64>,
    ) -> Result<Box<dyn PartitionReader>, SourceError> {
        let offset = offset.unwrap_or(0);
        if !self.follow {
            // Nothing is looked for again.
            return self.open_now(partition, offset);
        }
        match self.try_open(partition, offset)? {
            Some(reader) => Ok(reader),
            None => Ok(Box::new(AwaitedReader::new(self.clone(), partition.clone(), offset))),
        }
    }

    fn may_have(&self, partition: &PartitionProgress) -> bool {
        let (kind, first) = (partition.partition.kind, first_path(&partition.partition));
        let last = partition.file.as_ref().map(|file| PathBuf::from(&file.path));
        let is_wanted = |path: &Path| {
            // Without its folder, nobody can tell.
            let folder = path.parent().is_some_and(Path::exists);
            self.finder.would_find(kind, path) || !folder && self.finder.finds(kind)
        };
        is_wanted(&first) || last.is_some_and(|last| is_wanted(&last))
    }

    fn may_go_on(&self, file: &LogFile) -> bool {
        let path = Path::new(&file.path);
        let is_parquet = FileFormat::of(path) == Some(FileFormat::Parquet);
        self.follow && !is_parquet && FileFormat::compression(path) == Compression::None
    }

    fn committed(&mut self, partitions: &[PartitionProgress]) {
        self.catalogue.committed(partitions);
    }
}

/// A partition that is to be opened, and its file.
struct Opening<'a> {
    partition: &'a PartitionName,
    path: PathBuf,
    /// How its log begins, if that is known.
    expected: Option<&'a Beginning>,
}

impl Opening<'_> {
    fn of(partition: &Discovered) -> Opening<'_> {
        let file = partition.file.as_ref();
        Opening {
            partition: &partition.name,
            path: file.map_or_else(|| first_path(&partition.name), |file| (&file.path).into()),
            expected: file.map(|file| &file.beginning),
        }
    }

    /// Returns how a log begins that has these first bytes. Another log counts as none.
    fn check(&self, begins: &[u8]) -> io::Result<Beginning> {
        match self.expected.is_none_or(|expected| beginning::is_of(expected, begins)) {
            true => Ok(beginning::of(begins)),
            false => Err(beginning::absent("it begins otherwise than it did")),
        }
    }

    /// Reads how the log in the file begins.
    fn read_beginning(&self, format: FileFormat) -> io::Result<Beginning> {
        beginning::read(&self.path, format).and_then(|begins| self.check(&begins))
    }
}

/// Returns the error that a file needs the feature for Parquet.
fn needs_parquet(path: &str) -> MissingFeature {
    Feature::Parquet.missing(format!("`{path}`"))
}

fn io_error(path: impl AsRef<Path>, error: std::io::Error) -> SourceError {
    SourceError::Io { path: path.as_ref().to_path_buf(), error }
}

#[cfg(test)]
mod tests;
