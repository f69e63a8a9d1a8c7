//! The pages of a file, each checked before the library decompresses and decodes it.
//!
//! A page says in its header how many bytes and values it has, and the library takes memory for as
//! many as it says. A kilobyte can claim gigabytes, and be right: compressed zeros, dictionaries,
//! and texts that repeat the beginning of the one before. So the pages of the rows that are decoded
//! at once are bounded by [`BATCH_BYTES_MAX`], for each column. Rows that take few bytes are no
//! harm, as they are decoded batch by batch.

use super::BATCH_ROWS;
use super::delta;
use super::thrift::{Cursor, Kind, unzigzag};
use parquet::arrow::arrow_reader::RowGroups;
use parquet::basic::{Encoding, Type};
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::ChunkReader;
use parquet::file::serialized_reader::SerializedPageReader;
use std::collections::VecDeque;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

/// The maximum number of bytes of the pages of a column, decompressed, that are needed for
/// `BATCH_ROWS` rows. So the work for a file is bounded by its rows.
const BATCH_BYTES_MAX: u64 = 256 << 20;
/// The maximum number of bytes of a value of a column with values of one length.
pub(super) const WIDTH_MAX: i32 = 1024;
/// The number of bytes of a length in memory.
const LENGTH_BYTES: u64 = 4;
/// The number of bytes that are read for the header of a page; if it is longer, more are.
const HEADER_BYTES: usize = 512;
/// The maximum number of bytes of the header of a page.
const HEADER_BYTES_MAX: usize = 16 << 20;

/// The row groups of a file.
pub(super) struct Groups {
    pub file: Arc<File>,
    pub metadata: Arc<ParquetMetaData>,
    /// The number of rows.
    pub rows: usize,
}

impl RowGroups for Groups {
    fn num_rows(&self) -> usize {
        self.rows
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>> {
        let (file, metadata) = (Arc::clone(&self.file), Arc::clone(&self.metadata));
        Ok(Box::new(Chunks { file, metadata, column, next_group: 0, window: Arc::default() }))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(self.metadata.row_groups().iter())
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }
}

/// The chunks of a column, one in each row group.
struct Chunks {
    file: Arc<File>,
    metadata: Arc<ParquetMetaData>,
    column: usize,
    next_group: usize,
    window: Arc<Mutex<Window>>,
}

impl Iterator for Chunks {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        let group = self.metadata.row_groups().get(self.next_group)?;
        self.next_group += 1;
        let (file, window) = (&self.file, &self.window);
        let pages = Pages::new(file, group, self.column, window);
        Some(pages.map(|pages| Box::new(pages) as Box<dyn PageReader>))
    }
}

impl PageIterator for Chunks {}

/// The pages of a column that the decoded rows need.
#[derive(Default)]
struct Window {
    /// The row after the last page.
    next_row: u64,
    /// The pages of data whose rows may be decoded together with the next one.
    data: Needed,
    /// The dictionaries of such pages.
    dictionaries: Needed,
}

/// Pages in the order of their last rows.
#[derive(Default)]
struct Needed {
    /// The row after each page, and its number of bytes.
    pages: VecDeque<(u64, u64)>,
    bytes: u64,
}

impl Needed {
    /// Drops the pages that end before a row.
    fn drop_before(&mut self, row: u64) {
        while let Some((end, bytes)) = self.pages.front().copied()
            && end < row
        {
            self.pages.pop_front();
            self.bytes -= bytes;
        }
    }

    fn add(&mut self, end: u64, bytes: u64) {
        // Bounded by `BATCH_BYTES_MAX` and the sizes of pages.
        self.bytes += bytes;
        match self.pages.back_mut() {
            Some(last) if last.0 == end => last.1 += bytes,
            _ => self.pages.push_back((end, bytes)),
        }
    }
}

impl Window {
    /// Adds a page of data, or a dictionary for `rows` rows. Returns whether the pages that may be
    /// needed at once are within the limit.
    fn add(&mut self, rows: u64, bytes: u64, is_dictionary: bool) -> bool {
        let (start, end) = (self.next_row, self.next_row.saturating_add(rows));
        let first_row = start.saturating_sub(BATCH_ROWS as u64);
        self.data.drop_before(first_row);
        self.dictionaries.drop_before(first_row);
        if is_dictionary {
            self.dictionaries.add(end, bytes);
        } else {
            self.data.add(end, bytes);
            self.next_row = end;
        }
        self.data.bytes + self.dictionaries.bytes <= BATCH_BYTES_MAX
    }
}

/// The pages of a chunk. The library reads them, after this has read their headers.
struct Pages {
    inner: SerializedPageReader<File>,
    file: Arc<File>,
    column: Column,
    /// The number of rows of the row group.
    rows: u64,
    /// Where the next header begins, and the number of bytes from there to the end of the chunk.
    offset: u64,
    left: u64,
    window: Arc<Mutex<Window>>,
}

/// What is known of a column.
struct Column {
    name: String,
    physical: Type,
    width: i32,
    definition_max: i16,
}

/// What the header of a page says.
#[derive(Debug, Default)]
struct Header {
    kind: i64,
    bytes: u64,
    compressed_bytes: u64,
    values: u64,
}

impl Header {
    /// The types of pages: see `PageType` of parquet-format.
    const INDEX: i64 = 1;
    const DICTIONARY: i64 = 2;
}

impl Pages {
    fn new(
        file: &Arc<File>,
        group: &RowGroupMetaData,
        column: usize,
        window: &Arc<Mutex<Window>>,
    ) -> Result<Pages> {
        let chunk: &ColumnChunkMetaData = group.column(column);
        let rows = usize::try_from(group.num_rows())?;
        let inner = SerializedPageReader::new(Arc::clone(file), chunk, rows, None)?;
        let (offset, left) = chunk.byte_range();
        let described = chunk.column_descr();
        let column = Column {
            name: described.path().string(),
            physical: described.physical_type(),
            width: described.type_length(),
            definition_max: described.max_def_level(),
        };
        let (file, window) = (Arc::clone(file), Arc::clone(window));
        Ok(Pages { inner, file, column, rows: rows as u64, offset, left, window })
    }

    /// Reads the headers up to the next page that the library returns, and checks what it needs.
    fn check_next(&mut self) -> Result<()> {
        while self.left > 0 {
            let (header, length) = self.header()?;
            let taken = (length as u64).saturating_add(header.compressed_bytes);
            if taken > self.left {
                return Err(self.column.damaged());
            }
            self.offset += taken;
            self.left -= taken;
            if header.kind == Header::INDEX {
                continue;
            }
            let is_dictionary = header.kind == Header::DICTIONARY;
            let rows = if is_dictionary { self.rows } else { header.values };
            return self.reserve(rows, header.bytes, is_dictionary);
        }
        Ok(())
    }

    fn reserve(&self, rows: u64, bytes: u64, is_dictionary: bool) -> Result<()> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        match window.add(rows, bytes, is_dictionary) {
            true => Ok(()),
            false => Err(ParquetError::General(format!(
                "the pages for {BATCH_ROWS} rows of the column `{}` take more than {} MiB",
                self.column.name,
                BATCH_BYTES_MAX >> 20
            ))),
        }
    }

    fn header(&self) -> Result<(Header, usize)> {
        let mut length = HEADER_BYTES;
        loop {
            let is_all = length as u64 >= self.left;
            let taken = if is_all { self.left as usize } else { length };
            let bytes = self.file.get_bytes(self.offset, taken)?;
            match parse(&bytes) {
                Some(parsed) => return Ok(parsed),
                None if is_all || length >= HEADER_BYTES_MAX => return Err(self.column.damaged()),
                None => length *= 8,
            }
        }
    }

    /// Checks a page that is decompressed, before it is decoded.
    fn check(&self, page: &Page) -> Result<()> {
        let (bytes, values) = (page.buffer(), u64::from(page.num_values()));
        if let Page::DictionaryPage { .. } = page {
            let least = values.saturating_mul(self.column.least_bytes());
            return if least <= bytes.len() as u64 { Ok(()) } else { Err(self.column.damaged()) };
        }
        let has_prefixes = match page.encoding() {
            Encoding::DELTA_LENGTH_BYTE_ARRAY => false,
            Encoding::DELTA_BYTE_ARRAY => true,
            _ => return Ok(()),
        };
        // The library decodes all lengths of a page at once.
        self.reserve(0, values.saturating_mul(2 * LENGTH_BYTES), false)?;
        let damaged = || self.column.damaged();
        let lengths = |bytes: &[u8]| delta::read(bytes, values, BATCH_ROWS).ok_or_else(damaged);
        let bytes = &bytes[self.column.values_at(page).ok_or_else(damaged)?..];
        let first = lengths(bytes)?;
        if has_prefixes {
            lengths(&bytes[first.bytes..])?;
            self.reserve(0, first.sum_max, false)?;
        }
        Ok(())
    }
}

impl Column {
    /// The least number of bytes of a value in a dictionary.
    fn least_bytes(&self) -> u64 {
        match self.physical {
            Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 4,
            Type::INT64 | Type::DOUBLE => 8,
            Type::INT96 => 12,
            Type::FIXED_LEN_BYTE_ARRAY => u64::try_from(self.width).unwrap_or(0).max(1),
            Type::BOOLEAN => 1,
        }
    }

    /// Returns where the values of a page begin, after the levels. No column that is read is in a
    /// list, so there are no repetition levels.
    fn values_at(&self, page: &Page) -> Option<usize> {
        let values_at = match page {
            Page::DataPageV2 { def_levels_byte_len, rep_levels_byte_len, .. } => {
                u64::from(*def_levels_byte_len) + u64::from(*rep_levels_byte_len)
            }
            Page::DataPage { .. } if self.definition_max == 0 => 0,
            Page::DataPage { buf, def_level_encoding: Encoding::RLE, .. } => {
                let length = buf.get(..4)?.try_into().ok()?;
                u64::from(u32::from_le_bytes(length)) + 4
            }
            // Their old encoding, which no writer combines with texts in a delta encoding.
            Page::DataPage { .. } | Page::DictionaryPage { .. } => return None,
        };
        usize::try_from(values_at).ok().filter(|values_at| *values_at <= page.buffer().len())
    }

    fn damaged(&self) -> ParquetError {
        ParquetError::General(format!("a page of the column `{}` is damaged", self.name))
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        self.check_next()?;
        let page = self.inner.get_next_page()?;
        page.iter().try_for_each(|page| self.check(page))?;
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.inner.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        // Every row is read: see the head of `parquet.rs`.
        Err(ParquetError::NYI("pages are not skipped".into()))
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.inner.at_record_boundary()
    }
}

/// Reads the header of a page, `PageHeader` of parquet-format. Returns its length too.
fn parse(bytes: &[u8]) -> Option<(Header, usize)> {
    let mut cursor = Cursor::new(bytes);
    let mut header = Header::default();
    let mut last_id = 0;
    while let Some((id, kind)) = cursor.field(&mut last_id)? {
        match (id, kind) {
            (1..=3, kind) if kind != Kind::INTEGER_32 => return None,
            (1, _) => header.kind = unzigzag(cursor.varint()?),
            (2, _) => header.bytes = unsigned(&mut cursor)?,
            (3, _) => header.compressed_bytes = unsigned(&mut cursor)?,
            // Of a page of data, a dictionary, and a page of data of version 2.
            (5 | 7 | 8, Kind::STRUCTURE) => {
                let mut last_id = 0;
                while let Some((id, kind)) = cursor.field(&mut last_id)? {
                    match (id, kind) {
                        (1, Kind::INTEGER_32) => header.values = unsigned(&mut cursor)?,
                        (1, _) => return None,
                        _ => cursor.skip(kind, 0)?,
                    }
                }
            }
            (5 | 7 | 8, _) => return None,
            _ => cursor.skip(kind, 0)?,
        }
    }
    Some((header, cursor.at))
}

fn unsigned(cursor: &mut Cursor<'_>) -> Option<u64> {
    u64::try_from(unzigzag(cursor.varint()?)).ok()
}

#[cfg(test)]
mod tests;
