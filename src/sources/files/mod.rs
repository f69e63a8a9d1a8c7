//! Files as partitions: JSON Lines and Parquet.
//!
//! Each file is one partition. Its name is its path as it was given or found, and the offset of a
//! record is the number of its line or row, from 0. Empty lines count, but hold no record.
//!
//! - `.jsonl` and `.ndjson`, as they are or compressed (`.gz`, `.zst`): a record a line, as
//!   [`crate::decode`] has it. A line longer than [`LINE_BYTES_MAX`] is malformed.
//! - `.parquet`: a record a row, in columns with the names of the fields.
//!
//! A file that is damaged gives the events before the damage, and then one malformed record.
//!
//! While following, plain files are read on as they grow, and new files of folders and patterns
//! are found. A last line that has no newline yet is left until it has. Compressed and Parquet
//! files are read once to their ends, so write them elsewhere (hidden, or with a name that ends in
//! `.tmp`) and rename them.

mod discover;
mod input;
mod lines;
mod parquet;
mod split;

pub use split::LINE_BYTES_MAX;

use super::{Discovered, PartitionReader, Source, SourceError};
use crate::decode::FieldNames;
use crate::event::Kind;
use discover::Finder;
use std::path::Path;

/// Files, folders and patterns of files.
#[derive(Clone, Debug)]
pub struct FileSource {
    finder: Finder,
    fields: FieldNames,
    follow: bool,
}

impl FileSource {
    /// A source of these files, folders (the files in them, not those in their folders) and
    /// patterns. With `follow` it never ends, as files may grow and be added.
    pub fn new(paths: Vec<(Kind, String)>, fields: FieldNames, follow: bool) -> FileSource {
        FileSource { finder: Finder::new(paths, follow), fields, follow }
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
        let fields = &self.fields;
        match format {
            FileFormat::Parquet => parquet::open(partition, fields, offset),
            FileFormat::Lines(compression) => {
                lines::open(partition, fields, compression, self.follow, offset)
            }
        }
    }
}

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileFormat {
    Lines(Compression),
    Parquet,
}

/// How lines are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Zstandard,
}

impl FileFormat {
    /// The format that the end of a file's name stands for.
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

fn io_error(path: impl AsRef<Path>, error: std::io::Error) -> SourceError {
    SourceError::Io { path: path.as_ref().to_path_buf(), error }
}

#[cfg(test)]
mod tests;
