//! A log as files, one per partition: `impressions-00.jsonl`, `plays-00.jsonl` and so on; with bots
//! also `denials-00.jsonl`.

use super::arrival::Arrival;
#[cfg(feature = "parquet")]
use super::columns::ParquetWriter;
use super::json::JsonWriter;
use super::lines::{TITLES_FILE, TRUTH_FILE};
use crate::event::Kind;
use crate::features::{Feature, MissingFeature};
#[cfg(feature = "parquet")]
use parquet::errors::ParquetError;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The file format of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// JSON Lines: one object per line
    Jsonl,
    /// Apache Parquet
    Parquet,
}

impl LogFormat {
    /// Both formats.
    pub const ALL: [LogFormat; 2] = [LogFormat::Jsonl, LogFormat::Parquet];

    /// The file name extension.
    pub fn extension(self) -> &'static str {
        match self {
            LogFormat::Jsonl => "jsonl",
            LogFormat::Parquet => "parquet",
        }
    }
}

/// Why a log cannot be written. Every message says what failed, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The folder holds a log, and the new one would mix with it.
    #[error("`{0}` is part of an earlier log; give another folder, or --force to replace that log")]
    Occupied(PathBuf),
    /// The file of the truth is there.
    #[error("`{0}` exists; give another file to --truth, or --force to replace it")]
    TruthExists(PathBuf),
    /// The folder cannot be created, read or cleared.
    #[error("folder `{path}` cannot be used: {error}; give a writable folder")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system error.
        error: io::Error,
    },
    /// A file cannot be written.
    #[error(
        "cannot write `{path}`: {error}; the log is incomplete: free some space or give another \
         folder, and generate the log again (--force replaces the incomplete one)"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// The system error.
        error: io::Error,
    },
    /// The program was built without the feature that the format needs.
    #[error(transparent)]
    MissingFeature(#[from] MissingFeature),
    /// The Parquet writer failed, usually because the file cannot be written.
    #[cfg(feature = "parquet")]
    #[error(
        "cannot write `{path}`: {error}; the log is incomplete: free some space or give another \
         folder, and generate the log again (--force replaces the incomplete one)"
    )]
    Parquet {
        /// The file.
        path: PathBuf,
        /// The error of the Parquet writer.
        error: ParquetError,
    },
}

impl WriteError {
    fn folder(path: &Path) -> impl FnOnce(io::Error) -> WriteError {
        move |error| WriteError::Folder { path: path.to_path_buf(), error }
    }

    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> WriteError {
        move |error| WriteError::Io { path: path.to_path_buf(), error }
    }

    #[cfg(feature = "parquet")]
    fn parquet(path: &Path) -> impl FnOnce(ParquetError) -> WriteError {
        move |error| WriteError::Parquet { path: path.to_path_buf(), error }
    }
}

/// Writes each arrival to the file of its kind and partition.
pub struct LogWriter {
    /// The partitions of each kind, at its discriminant; none of denials, unless there are bots.
    logs: [Vec<PartitionWriter>; Kind::COUNT],
}

impl LogWriter {
    /// Creates the folder if it is missing, and an empty file for each partition of these
    /// kinds.
    ///
    /// With `force`, the files of an earlier log are removed first: all files whose names this
    /// writer could have given, for any number of partitions, and those of titles and of the truth.
    /// A reader of the folder would take them for part of the new log.
    ///
    /// # Errors
    /// When the folder holds a log and `force` is not set, or when it cannot be written.
    pub fn create(
        folder: &Path,
        format: LogFormat,
        kinds: &[Kind],
        partitions: u32,
        force: bool,
    ) -> Result<LogWriter, WriteError> {
        if format == LogFormat::Parquet {
            Feature::Parquet.require("--format parquet")?;
        }
        fs::create_dir_all(folder).map_err(WriteError::folder(folder))?;
        for path in earlier_log(folder)? {
            if !force {
                return Err(WriteError::Occupied(path));
            }
            fs::remove_file(&path).map_err(WriteError::folder(folder))?;
        }
        let mut logs = [const { Vec::new() }; Kind::COUNT];
        for kind in kinds {
            for partition in 0..partitions {
                let path = folder.join(file_name(*kind, partition, partitions, format));
                logs[*kind as usize].push(PartitionWriter::create(path, *kind, format)?);
            }
        }
        Ok(LogWriter { logs })
    }

    /// Writes one record, which may stay in a buffer.
    ///
    /// # Errors
    /// When the file of its partition cannot be written.
    ///
    /// # Panics
    /// When the writer was created without its kind, or with too few partitions for it.
    #[inline]
    pub fn write(&mut self, arrival: &Arrival) -> Result<(), WriteError> {
        self.logs[arrival.kind as usize][arrival.partition as usize].write(arrival)
    }

    /// Flushes all complete lines to the files, for readers that follow them. Parquet files are
    /// left alone, as they cannot be read before they are finished.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        self.logs.iter_mut().flatten().try_for_each(PartitionWriter::flush)
    }

    /// Completes all files and returns their total size in bytes.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn finish(self) -> Result<u64, WriteError> {
        self.logs.into_iter().flatten().map(PartitionWriter::finish).sum()
    }
}

/// The name of a partition's file. All numbers are padded to the same width, at least two digits.
fn file_name(kind: Kind, partition: u32, partitions: u32, format: LogFormat) -> String {
    let digits = partitions.saturating_sub(1).to_string().len().max(2);
    format!("{}-{partition:0digits$}.{}", kind.topic(), format.extension())
}

/// The files in a folder whose names a log could have given, sorted.
fn earlier_log(folder: &Path) -> Result<Vec<PathBuf>, WriteError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(WriteError::folder(folder))? {
        let path = entry.map_err(WriteError::folder(folder))?.path();
        let is_beside =
            [TITLES_FILE, TRUTH_FILE].map(OsStr::new).map(Some).contains(&path.file_name());
        if is_beside || is_partition_file(&path) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn is_partition_file(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    let (kind, number) = path
        .file_stem()
        .and_then(OsStr::to_str)
        .and_then(|stem| stem.split_once('-'))
        .unwrap_or_default();
    LogFormat::ALL.iter().any(|format| Some(format.extension()) == extension)
        && Kind::of_topic(kind).is_some()
        && !number.is_empty()
        && number.bytes().all(|digit| digit.is_ascii_digit())
}

/// The file of one partition.
struct PartitionWriter {
    path: PathBuf,
    output: Output,
}

enum Output {
    Json(JsonWriter),
    #[cfg(feature = "parquet")]
    Parquet(Box<ParquetWriter>),
}

impl PartitionWriter {
    #[cfg_attr(not(feature = "parquet"), expect(unused_variables))]
    fn create(path: PathBuf, kind: Kind, format: LogFormat) -> Result<PartitionWriter, WriteError> {
        let file = File::create(&path).map_err(WriteError::io(&path))?;
        let output = match format {
            LogFormat::Jsonl => Output::Json(JsonWriter::new(file)),
            #[cfg(not(feature = "parquet"))]
            LogFormat::Parquet => return Err(Feature::Parquet.missing("--format parquet").into()),
            #[cfg(feature = "parquet")]
            LogFormat::Parquet => {
                let writer = ParquetWriter::new(file, kind).map_err(WriteError::parquet(&path))?;
                Output::Parquet(Box::new(writer))
            }
        };
        Ok(PartitionWriter { path, output })
    }

    #[inline]
    fn write(&mut self, arrival: &Arrival) -> Result<(), WriteError> {
        match &mut self.output {
            Output::Json(writer) => writer.write(arrival).map_err(WriteError::io(&self.path)),
            #[cfg(feature = "parquet")]
            Output::Parquet(writer) => {
                writer.write(arrival).map_err(WriteError::parquet(&self.path))
            }
        }
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        match &mut self.output {
            Output::Json(writer) => writer.flush().map_err(WriteError::io(&self.path)),
            #[cfg(feature = "parquet")]
            Output::Parquet(_) => Ok(()),
        }
    }

    fn finish(mut self) -> Result<u64, WriteError> {
        self.flush()?;
        match self.output {
            Output::Json(writer) => Ok(writer.bytes()),
            #[cfg(feature = "parquet")]
            Output::Parquet(writer) => writer.finish().map_err(WriteError::parquet(&self.path)),
        }
    }
}
