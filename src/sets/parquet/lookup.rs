//! Looks one showing up in a file.

use super::as_io;
use crate::showings::members::Member;
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{BoolType, DataType, FixedLenByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::file::statistics::Statistics;
use std::fs::File;
use std::io;
use std::ops::Range;

/// The rows that are read at a time.
const BATCH_ROWS: usize = 8_192;

/// Returns what a showing is, or `None` if the file does not have it.
///
/// # Errors
/// When the file cannot be read.
pub(in crate::sets) fn find(file: File, request: u128, video: u64) -> io::Result<Option<Member>> {
    let read = || {
        let reader = SerializedFileReader::new(file)?;
        let mut found = None;
        for number in 0..reader.num_row_groups() {
            if may_have(reader.metadata().row_group(number), request) {
                let group = reader.get_row_group(number)?;
                found = found.max(find_in(group.as_ref(), request, video)?);
            }
        }
        Ok(found)
    };
    read().map_err(as_io)
}

/// Whether the bounds of a row group include a request.
fn may_have(group: &RowGroupMetaData, request: u128) -> bool {
    let request = request.to_be_bytes();
    let Some(Statistics::FixedLenByteArray(bounds)) = group.column(0).statistics() else {
        return true;
    };
    let is_above = bounds.min_bytes_opt().is_some_and(|least| least > &request[..]);
    let is_below = bounds.max_bytes_opt().is_some_and(|most| most < &request[..]);
    !is_above && !is_below
}

fn find_in(
    group: &dyn RowGroupReader,
    request: u128,
    video: u64,
) -> Result<Option<Member>, ParquetError> {
    let rows = rows_of(group, request)?;
    if rows.is_empty() {
        return Ok(None);
    }
    let videos = column::<Int64Type>(group, 1, rows.clone())?;
    let played = column::<BoolType>(group, 3, rows.clone())?;
    let denied = column::<BoolType>(group, 4, rows)?;
    let flags = played.iter().zip(denied);
    let its = videos.iter().zip(flags).filter(|(one, _)| **one == video.cast_signed());
    let member = |(_, (played, denied)): (_, (&bool, bool))| match denied {
        true => Member::Removed,
        false => Member::shown(*played),
    };
    Ok(its.map(member).max())
}

/// The rows of a request, which follow each other.
fn rows_of(group: &dyn RowGroupReader, request: u128) -> Result<Range<usize>, ParquetError> {
    let request = request.to_be_bytes();
    let mut reader: ColumnReaderImpl<FixedLenByteArrayType> = typed(group, 0)?;
    let (mut before, mut rows) = (0, 0..0);
    let mut batch = Vec::new();
    loop {
        batch.clear();
        let (read, _, _) = reader.read_records(BATCH_ROWS, None, None, &mut batch)?;
        if read == 0 {
            return Ok(rows);
        }
        for (at, value) in batch.iter().enumerate() {
            if value.data() == &request[..] {
                let at = before + at;
                rows = if rows.is_empty() { at..at + 1 } else { rows.start..at + 1 };
            }
        }
        before += read;
    }
}

/// Some values of a column.
fn column<D: DataType>(
    group: &dyn RowGroupReader,
    number: usize,
    rows: Range<usize>,
) -> Result<Vec<D::T>, ParquetError> {
    let mut reader: ColumnReaderImpl<D> = typed(group, number)?;
    let mut values = Vec::new();
    reader.skip_records(rows.start)?;
    while values.len() < rows.len() {
        let (read, _, _) =
            reader.read_records(rows.len() - values.len(), None, None, &mut values)?;
        if read == 0 {
            return Err(ParquetError::General("a column is too short".to_owned()));
        }
    }
    Ok(values)
}

fn typed<D: DataType>(
    group: &dyn RowGroupReader,
    number: usize,
) -> Result<ColumnReaderImpl<D>, ParquetError> {
    let wrong = || ParquetError::General("a column has another type".to_owned());
    D::get_column_reader(group.get_column_reader(number)?).ok_or_else(wrong)
}
