//! Reads a Parquet file, batch by batch.
//!
//! Every reader decodes the file from its first row and drops the rows before its start offset, so
//! that damage always loses the same rows: those from the damaged batch to the end. The library
//! could skip pages, but it skips a page by one row count in its header and reads it by another. If
//! they differ, rows would change their numbers.

mod columns;
mod delta;
mod footer;
mod known;
mod pages;
mod thrift;
mod values;

use super::{Opening, beginning, io_error};
use crate::decode::{FieldNames, FieldTree};
use crate::log::{LogFile, Loss};
use crate::panics::catch_panic;
use crate::sources::{Batch, Lag, Malformed, PartitionReader, Polled, SourceError};
use arrow_array::RecordBatch;
use columns::{BLOCK_ROWS, Block, Columns, Plan, Texts};
use pages::Groups;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, RowSelection, RowSelector,
};
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use parquet::file::metadata::ParquetMetaData;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

/// The number of rows that are decoded at once.
const BATCH_ROWS: usize = 8192;
/// The maximum number of rows of a file: a footer that says more is damaged.
const ROWS_MAX: u64 = 1 << 40;

/// Opens a Parquet file at row `offset`, counted from 0.
pub(super) fn open(
    opening: &Opening<'_>,
    fields: &FieldNames,
    offset: u64,
) -> Result<Box<dyn PartitionReader>, SourceError> {
    let (partition, path) = (opening.partition, &opening.path);
    let failed = |error| io_error(path, error);
    let file = beginning::open_regular(path).map_err(failed)?;
    let size_bytes = file.metadata().map_err(failed)?.len();
    let begins = beginning::read_plain(&file).and_then(|bytes| opening.check(&bytes));
    let log_file = LogFile {
        path: path.to_str().unwrap_or_default().to_owned(),
        read_bytes: size_bytes,
        beginning: begins.map_err(failed)?,
    };
    let mut reader = ParquetReader {
        log_file,
        file,
        size_bytes,
        plan: Plan::new(fields),
        state: State::Ended(None),
        loss: None,
        next_row: offset,
        first_row: offset,
        rows: 1,
    };
    reader.start()?;
    if offset > reader.rows {
        let partition = partition.clone();
        return Err(SourceError::Shrunk { partition, end: reader.rows, offset });
    }
    Ok(Box::new(reader))
}

struct ParquetReader {
    log_file: LogFile,
    file: File,
    size_bytes: u64,
    plan: Plan,
    state: State,
    /// What is missing of the log.
    loss: Option<Loss>,
    /// The number of the next row, from 0.
    next_row: u64,
    /// The row at which reading started. An earlier reader has reported malformed rows before it.
    first_row: u64,
    /// The number of rows; 1, the malformed one, if it is not known.
    rows: u64,
}

enum State {
    Reading {
        reader: ParquetRecordBatchReader,
        /// What is known of the texts of the file.
        texts: Box<Texts>,
        /// The decoded rows, and the number of the first.
        decoded: Option<(RecordBatch, u64)>,
        /// The number of the row after the decoded ones.
        end: u64,
    },
    /// No more rows, but possibly a malformed record to report.
    Ended(Option<Malformed>),
}

impl PartitionReader for ParquetReader {
    fn poll(&mut self, batch: &mut Batch, records_max: usize) -> Result<Polled, SourceError> {
        let bytes_before = self.consumed_bytes();
        let end = self.next_row.saturating_add(records_max.max(1) as u64);
        while self.next_row < end && self.take_rows(batch, end)? {}
        if let State::Ended(malformed) = &mut self.state
            && let Some(malformed) = malformed.take()
        {
            self.next_row = malformed.offset + malformed.records;
            batch.malformed.push(malformed);
        }
        batch.next_offset = self.next_row;
        batch.bytes += self.consumed_bytes().saturating_sub(bytes_before);
        Ok(if matches!(self.state, State::Ended(_)) { Polled::Exhausted } else { Polled::More })
    }

    fn lag(&self) -> Lag {
        match self.state {
            State::Reading { .. } => {
                Lag::of_bytes(self.size_bytes.saturating_sub(self.consumed_bytes()))
            }
            State::Ended(_) => Lag::default(),
        }
    }

    fn file(&self) -> Option<LogFile> {
        Some(self.log_file.clone())
    }

    fn loss(&self) -> Option<Loss> {
        self.loss.clone()
    }

    fn relocate(&mut self, file: Option<&LogFile>) -> Result<(), SourceError> {
        if let Some(file) = file {
            self.log_file.path.clone_from(&file.path);
        }
        Ok(())
    }
}

impl ParquetReader {
    /// Reads the footer, and prepares to read rows.
    fn start(&mut self) -> Result<(), SourceError> {
        let known = catch_panic(|| {
            let metadata = load(&self.file, self.plan.tree())?;
            rows(metadata.metadata()).map(|rows| (metadata, rows))
        });
        let (metadata, rows) = match known {
            Ok(known) => known,
            Err(reason) => return self.fail_as_damaged(0, "file", reason),
        };
        self.rows = rows.max(1);
        match catch_panic(|| prepare(&self.file, &self.plan, &metadata, rows)) {
            Ok(reader) => {
                self.rows = rows;
                if self.first_row < rows {
                    let texts = Box::new(Texts::new(&self.plan, metadata.metadata()));
                    self.state = State::Reading { reader, texts, decoded: None, end: 0 };
                }
                Ok(())
            }
            Err(reason) => self.fail(0, "file", reason),
        }
    }

    /// Appends the decoded rows before `end_row` to the batch, or decodes more. Rows before
    /// `next_row` are dropped. Returns whether to call it again.
    fn take_rows(&mut self, batch: &mut Batch, end_row: u64) -> Result<bool, SourceError> {
        let State::Reading { reader, texts, decoded, end } = &mut self.state else {
            return Ok(false);
        };
        if let Some((rows, start)) = decoded
            && self.next_row < *end
            && let Some(columns) = Columns::of(&self.plan, rows)
        {
            let numbers = self.next_row..end_row.min(*end);
            self.next_row = numbers.end;
            take(&columns, texts, *start, numbers, batch);
            return Ok(true);
        }
        *decoded = None;
        let start = *end;
        if start >= self.rows {
            self.state = State::Ended(None);
            return Ok(false);
        }
        let reason = match catch_panic(|| reader.next().transpose().map_err(|e| e.to_string())) {
            Ok(Some(rows)) if texts.begin(&self.plan, &rows) => {
                *end = start + rows.num_rows() as u64;
                *decoded = Some((rows, start));
                return Ok(true);
            }
            Ok(Some(_)) => {
                "the columns of the rows from here on are not those of the schema".into()
            }
            Ok(None) => format!("the file ends here, but should have {} rows", self.rows),
            Err(reason) => format!("the rows from here to the end cannot be read: {reason}"),
        };
        self.fail_as_damaged(start, "row", reason)?;
        Ok(false)
    }

    /// Ends the file at a row, as its rest cannot be read.
    fn fail_as_damaged(&mut self, row: u64, what: &str, reason: String) -> Result<(), SourceError> {
        self.fail(row, what, reason)?;
        if let State::Ended(Some(malformed)) = &self.state {
            self.loss = Some(malformed.as_damage());
        }
        Ok(())
    }

    /// Ends the file at a row: that row and all after it are malformed. Returns an error if the
    /// file cannot be read.
    fn fail(&mut self, row: u64, what: &str, reason: String) -> Result<(), SourceError> {
        check_readable(&self.file).map_err(|error| io_error(&self.log_file.path, error))?;
        let row = row.max(self.first_row);
        let mut malformed = malformed_row(row, reason);
        malformed.records = self.rows.saturating_sub(row);
        if what == "file" {
            malformed.location = what.into();
        } else if malformed.records > 1 {
            malformed.location = format!("rows {} to {}", row + 1, self.rows);
        }
        self.state = State::Ended((malformed.records > 0).then_some(malformed));
        Ok(())
    }

    /// The share of the bytes of the file for the rows before `next_row`, in proportion.
    fn consumed_bytes(&self) -> u64 {
        let (size, rows) = (u128::from(self.size_bytes), u128::from(self.rows.max(1)));
        let rows_before = u128::from(self.next_row.min(self.rows));
        (size * rows_before / rows) as u64
    }
}

/// Appends the rows with these numbers to the batch. `start` is the number of the row at index 0.
fn take(
    columns: &Columns<'_>,
    texts: &mut Texts,
    start: u64,
    numbers: Range<u64>,
    batch: &mut Batch,
) {
    batch.events.reserve((numbers.end - numbers.start) as usize);
    let mut block = Block::new();
    for first in numbers.clone().step_by(BLOCK_ROWS) {
        let count = (numbers.end - first).min(BLOCK_ROWS as u64);
        let place = ((first - start) as usize, first);
        let events = &mut batch.events;
        if columns.append(texts, &mut block, place, count as usize, events).is_none() {
            take_singly(columns, start, first..first + count, batch);
        }
    }
}

/// The same, row by row.
fn take_singly(columns: &Columns<'_>, start: u64, numbers: Range<u64>, batch: &mut Batch) {
    for number in numbers {
        match columns.event((number - start) as usize, number) {
            Ok(event) => batch.events.push(event),
            Err(error) => batch.malformed.push(malformed_row(number, error.to_string())),
        }
    }
}

/// Reads the footer; if that fails, without what it says about unwanted columns.
fn load(file: &File, wanted: &FieldTree) -> Result<ArrowReaderMetadata, String> {
    footer::check(file)?;
    ArrowReaderMetadata::load(file, ArrowReaderOptions::new()).or_else(|error| {
        footer::without_unwanted(file, wanted)
            .ok_or_else(|| format!("not a Parquet file that can be read: {error}"))
    })
}

/// Returns a reader of all rows.
fn prepare(
    file: &File,
    plan: &Plan,
    as_written: &ArrowReaderMetadata,
    rows: u64,
) -> Result<ParquetRecordBatchReader, String> {
    let columns = plan.choose(as_written.schema(), as_written.parquet_schema())?;
    let options = ArrowReaderOptions::new().with_schema(Arc::new(plan.schema(as_written.schema())));
    let metadata = ArrowReaderMetadata::try_new(Arc::clone(as_written.metadata()), options)
        .map_err(|error| format!("the columns cannot be read: {error}"))?;
    let mask = ProjectionMask::leaves(metadata.parquet_schema(), columns);
    let hint = Some(metadata.schema().fields());
    let levels = parquet_to_arrow_field_levels(metadata.parquet_schema(), mask, hint);
    let file = Arc::new(file.try_clone().map_err(|error| error.to_string())?);
    let rows = rows as usize;
    let groups = Groups { file, metadata: Arc::clone(metadata.metadata()), rows };
    // Without a limit, pages with more rows than the footer says would be read to their end.
    let selected = RowSelection::from(vec![RowSelector::select(rows)]);
    levels
        .and_then(|levels| {
            let batch_rows = BATCH_ROWS.min(rows);
            let selected = Some(selected);
            ParquetRecordBatchReader::try_new_with_row_groups(
                &levels, &groups, batch_rows, selected,
            )
        })
        .map_err(|error| error.to_string())
}

/// Returns the number of rows. The footer contains it twice: in total, and for each row group. The
/// library uses both, so they must agree.
fn rows(metadata: &ParquetMetaData) -> Result<u64, String> {
    let said = metadata.file_metadata().num_rows();
    let mut groups = metadata.row_groups().iter().map(|group| u64::try_from(group.num_rows()).ok());
    let counted = groups.try_fold(0_u64, |counted, rows| counted.checked_add(rows?));
    match u64::try_from(said) {
        Ok(rows) if rows > ROWS_MAX => Err(format!("a damaged footer: {rows} rows")),
        Ok(rows) if counted == Some(rows) => Ok(rows),
        _ => Err(format!("a damaged footer: {said} rows, but its row groups have a different sum")),
    }
}

/// Reads a file and discards the data, to tell disk errors from damaged data, which the library
/// does not distinguish.
fn check_readable(mut file: &File) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    std::io::copy(&mut file, &mut std::io::sink()).map(drop)
}

#[cold]
fn malformed_row(number: u64, reason: String) -> Malformed {
    let location = format!("row {}", number.saturating_add(1));
    Malformed { offset: number, records: 1, location, reason, sample: String::new() }
}

#[cfg(test)]
mod tests;
