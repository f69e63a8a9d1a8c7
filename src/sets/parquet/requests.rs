//! The column of requests: a dictionary, and one run for each request.
//!
//! The rows of a request follow each other, so the column is known request by request. The encoder
//! of the library would hash each row, which takes more time than all else that is written. The
//! encoding is that of the [format]: `PLAIN` for the dictionary, `RLE_DICTIONARY` for the page.
//!
//! [format]: https://parquet.apache.org/docs/file-format/data-pages/encodings/

use super::LEVEL;
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, SerializedRowGroupWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use std::io::Write;

/// The requests of a row group, sorted.
#[derive(Default)]
pub(super) struct RequestColumn {
    /// The UUIDs, 16 bytes each.
    dictionary: Vec<u8>,
    /// The number of rows of each request.
    counts: Vec<u32>,
    rows: usize,
}

impl RequestColumn {
    /// Adds the rows of a request.
    pub fn push(&mut self, request: u128, rows: usize) {
        self.dictionary.extend_from_slice(&request.to_be_bytes());
        self.counts.push(u32::try_from(rows).expect("a request has fewer than 2^32 videos"));
        self.rows += rows;
    }

    /// The number of requests.
    pub fn requests(&self) -> usize {
        self.counts.len()
    }

    /// Writes the column as the next one of a row group.
    pub fn append_to<W: Write + Send>(
        self,
        group: &mut SerializedRowGroupWriter<'_, W>,
        descriptor: ColumnDescPtr,
    ) -> Result<(), ParquetError> {
        let bounds = [self.dictionary.first_chunk::<16>(), self.dictionary.last_chunk::<16>()];
        let [least, greatest] = bounds.map(|bytes| {
            bytes.map(|bytes| FixedLenByteArray::from(ByteArray::from(bytes.to_vec())))
        });
        let (requests, rows) = (self.counts.len(), self.rows);
        let dictionary = Page::DictionaryPage {
            buf: compress(&self.dictionary)?,
            num_values: number(requests)?,
            encoding: Encoding::PLAIN,
            is_sorted: true,
        };
        let indices = encode_runs(&self.counts);
        let data = Page::DataPage {
            buf: compress(&indices)?,
            num_values: number(rows)?,
            encoding: Encoding::RLE_DICTIONARY,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let mut written = TrackedWrite::new(Vec::new());
        let mut pages = SerializedPageWriter::new(&mut written);
        let dictionary =
            pages.write_page(CompressedPage::new(dictionary, self.dictionary.len()))?;
        let data = pages.write_page(CompressedPage::new(data, indices.len()))?;
        let sizes = [&dictionary, &data];
        let uncompressed: usize = sizes.iter().map(|page| page.uncompressed_size).sum();
        let compressed: usize = sizes.iter().map(|page| page.compressed_size).sum();
        debug_assert_eq!(data.page_type, PageType::DATA_PAGE);
        let statistics = Statistics::fixed_len_byte_array(least, greatest, None, Some(0), false);
        let metadata = ColumnChunkMetaData::builder(descriptor)
            .set_encodings([Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY].into())
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(LEVEL)?))
            .set_num_values(number(rows)?.into())
            .set_total_uncompressed_size(as_signed(uncompressed)?)
            .set_total_compressed_size(as_signed(compressed)?)
            .set_dictionary_page_offset(Some(as_signed(dictionary.offset)?))
            .set_data_page_offset(as_signed(data.offset)?)
            .set_statistics(statistics)
            .build()?;
        let close = ColumnCloseResult {
            bytes_written: compressed as u64,
            rows_written: rows as u64,
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        group.append_column(&Bytes::from(written.into_inner()?), close)
    }
}

/// Encodes the index of the request of each row: its width in bits, then runs of equal indices,
/// each as twice its length (as a variable-length integer) and the index.
fn encode_runs(counts: &[u32]) -> Vec<u8> {
    let last = counts.len().saturating_sub(1);
    let bits = usize::BITS - last.leading_zeros();
    let width = bits.div_ceil(8) as usize;
    let mut encoded = Vec::with_capacity(1 + counts.len() * (1 + width));
    encoded.push(bits as u8);
    for (index, count) in counts.iter().enumerate() {
        let mut header = u64::from(*count) << 1;
        while header >= 0x80 {
            encoded.push(header as u8 | 0x80);
            header >>= 7;
        }
        encoded.push(header as u8);
        encoded.extend_from_slice(&index.to_le_bytes()[..width]);
    }
    encoded
}

fn compress(bytes: &[u8]) -> Result<Bytes, ParquetError> {
    let compressed = zstd::bulk::compress(bytes, LEVEL);
    compressed.map(Bytes::from).map_err(|error| ParquetError::External(error.into()))
}

fn number(count: usize) -> Result<u32, ParquetError> {
    u32::try_from(count).map_err(|error| ParquetError::External(error.into()))
}

fn as_signed<N: TryInto<i64, Error = std::num::TryFromIntError>>(
    size: N,
) -> Result<i64, ParquetError> {
    size.try_into().map_err(|error| ParquetError::External(error.into()))
}
