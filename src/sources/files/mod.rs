//! JSON Lines and Parquet files as a source.
//!
//! Each file is one partition. Its name is its absolute path without symbolic links, however its
//! path was typed; only a link to a file without a known format is a name of its own. The offset of
//! a record is its line or row number, from 0. Empty lines are counted, but contain no record. Of a
//! line that holds several objects each counts, so that offsets are line numbers in other files.
//!
//! - `.jsonl` and `.ndjson`, plain or compressed (`.gz`, `.zst`): one record per line, see
//!   [`crate::decode`], or several objects in a line. A record longer than [`LINE_BYTES_MAX`] is
//!   malformed.
//! - `.parquet`: one record per row, in columns named like the fields.
//!
//! A damaged file gives the events before the damage, and then one malformed record.
//!
//! While following, plain files are read as they grow, and new files in folders and patterns are
//! found. A last line without a newline is not read until the newline is written. Compressed and
//! Parquet files are read once, so write them under a temporary name (hidden, or ending in `.tmp`)
//! and rename them.

mod discover;
mod input;
mod lines;
mod objects;
#[cfg(feature = "parquet")]
mod parquet;
mod split;

pub use split::LINE_BYTES_MAX;

use super::{Discovered, PartitionReader, Source, SourceError};
use crate::decode::LogFields;
use crate::event::Kind;
use crate::features::{Feature, MissingFeature};
use discover::Finder;
use std::path::Path;

/// A source of files, folders and patterns.
#[derive(Clone, Debug)]
pub struct FileSource {
    finder: Finder,
    fields: LogFields,
    follow: bool,
}

impl FileSource {
    /// Creates a source of these files, folders (without subfolders) and patterns. With `follow`
    /// it never ends, as files may grow and new ones may be added.
    pub fn new(paths: Vec<(Kind, String)>, fields: LogFields, follow: bool) -> FileSource {
        FileSource { finder: Finder::new(paths, follow), fields, follow }
    }

    /// Whether the source reads a file, or would read it if it were created.
    pub fn would_read(&self, file: &Path) -> bool {
        self.finder.would_find(file)
    }
}

impl Source for FileSource {
    fn discover(&mut self) -> Result<Vec<Discovered>, SourceError> {
        self.finder.find()
    }

    fn open(
        &self,
        partition: &Discovered,
        offset: Option<u64>,
    ) -> Result<Box<dyn PartitionReader>, SourceError> {
        let (partition, offset) = (&partition.name, offset.unwrap_or(0));
        let Some(format) = FileFormat::of(Path::new(&partition.name)) else {
            return Err(SourceError::UnknownFormat(partition.name.clone().into()));
        };
        let fields = self.fields.of(partition.kind);
        match format {
            #[cfg(feature = "parquet")]
            FileFormat::Parquet => parquet::open(partition, fields, offset),
            #[cfg(not(feature = "parquet"))]
            FileFormat::Parquet => Err(needs_parquet(&partition.name).into()),
            FileFormat::Lines(compression) => {
                lines::open(partition, fields, compression, self.follow, offset)
            }
        }
    }
}

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileFormat {
    Lines(Compression),
    Parquet,
}

/// The compression of a file of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Zstandard,
}

impl FileFormat {
    /// Returns the format for the suffix of a file name, if it is known.
    fn of(path: &Path) -> Option<FileFormat> {
        let name = path.file_name()?.to_str()?;
        let (name, compression) = match name.rsplit_once('.')? {
            (_, "parquet") => return Some(FileFormat::Parquet),
            (name, "gz") => (name, Compression::Gzip),
            (name, "zst") => (name, Compression::Zstandard),
            _ => (name, Compression::None),
        };
        let is_lines = name.ends_with(".jsonl") || name.ends_with(".ndjson");
        is_lines.then_some(FileFormat::Lines(compression))
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
