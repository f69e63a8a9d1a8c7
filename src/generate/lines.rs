//! A file beside a log, of one JSON object per line: the titles, or the truth.

use super::settings::Model;
use super::titles::titles;
use super::write::WriteError;
use std::fmt::Display;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

/// The name of the file of titles in the folder of a log.
pub const TITLES_FILE: &str = "titles.jsonl";
/// The name of the file of the truth in the folder of a log.
pub const TRUTH_FILE: &str = "truth.jsonl";

/// Writes objects to a file, one per line.
pub struct LineWriter {
    path: PathBuf,
    output: BufWriter<File>,
}

impl LineWriter {
    /// Creates the file, or empties it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(path: PathBuf) -> Result<LineWriter, WriteError> {
        match File::create(&path) {
            Ok(file) => Ok(LineWriter { path, output: BufWriter::new(file) }),
            Err(error) => Err(WriteError::Io { path, error }),
        }
    }

    /// Writes an object that is displayed as one line.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&mut self, object: &impl Display) -> Result<(), WriteError> {
        writeln!(self.output, "{object}").map_err(WriteError::io(&self.path))
    }

    /// Flushes all lines to the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        self.output.flush().map_err(WriteError::io(&self.path))
    }
}

/// Writes the titles of a model's catalogue to a file.
///
/// # Errors
/// When it cannot be written.
pub fn write_titles(path: PathBuf, model: &Model) -> Result<(), WriteError> {
    let mut writer = LineWriter::create(path)?;
    titles(model).try_for_each(|title| writer.write(&title))?;
    writer.flush()
}

#[cfg(test)]
mod tests;
