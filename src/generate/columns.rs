//! One partition of a log as Parquet: one row per record, in row groups small enough that many
//! files can be written at once.

use super::arrival::{Arrival, Damage, GroundTruth};
use crate::event::Kind;
use arrow_array::builder::{Int64Builder, StringBuilder, UInt64Builder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use std::fs::File;
use std::sync::Arc;

/// The number of rows that are encoded together.
const BATCH_ROWS: usize = 8_192;
/// The number of rows of a row group. With it, writing 16 files at once took 90 to 180 MB.
const GROUP_ROWS: usize = 131_072;

/// Writes a partition as Parquet.
pub struct ParquetWriter {
    output: ArrowWriter<File>,
    schema: Arc<Schema>,
    requests: StringBuilder,
    /// `None` in a log without videos.
    videos: Option<UInt64Builder>,
    event_times: Int64Builder,
    record_times: Int64Builder,
    rows: usize,
}

impl ParquetWriter {
    /// Creates a writer for an open, empty file of the log of a kind.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn new(file: File, kind: Kind) -> Result<ParquetWriter, ParquetError> {
        let mut fields = vec![
            Field::new("request_id", DataType::Utf8, true),
            Field::new("video_id", DataType::UInt64, true),
            Field::new("event_time", DataType::Int64, true),
            Field::new("record_time", DataType::Int64, true),
        ];
        fields.retain(|field| kind.has_video() || field.name() != "video_id");
        let schema = Arc::new(Schema::new(fields));
        let output = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties()?))?;
        Ok(ParquetWriter {
            output,
            schema,
            requests: StringBuilder::with_capacity(BATCH_ROWS, 36 * BATCH_ROWS),
            videos: kind.has_video().then(|| UInt64Builder::with_capacity(BATCH_ROWS)),
            event_times: Int64Builder::with_capacity(BATCH_ROWS),
            record_times: Int64Builder::with_capacity(BATCH_ROWS),
            rows: 0,
        })
    }

    /// Writes one record as one row.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&mut self, arrival: &Arrival) -> Result<(), ParquetError> {
        self.append(arrival);
        self.rows += 1;
        if self.rows == BATCH_ROWS { self.encode() } else { Ok(()) }
    }

    fn append(&mut self, arrival: &Arrival) {
        let damage = match arrival.truth {
            GroundTruth::Malformed(damage) => Some(damage),
            _ => None,
        };
        match damage {
            Some(Damage::NotJson) => self.requests.append_null(),
            Some(Damage::EmptyRequest) => self.requests.append_value(""),
            _ => self.requests.append_value(arrival.request.written().as_str()),
        }
        let has_video = !matches!(damage, Some(Damage::NoVideo | Damage::TextVideo));
        if let Some(videos) = &mut self.videos {
            videos.append_option(has_video.then_some(arrival.video.0));
        }
        let has_time = damage != Some(Damage::CutOff);
        self.event_times.append_option(has_time.then_some(arrival.event_time_ms));
        self.record_times.append_value(arrival.arrival_ms);
    }

    fn encode(&mut self) -> Result<(), ParquetError> {
        self.rows = 0;
        let mut columns: Vec<ArrayRef> = vec![Arc::new(self.requests.finish())];
        if let Some(videos) = &mut self.videos {
            columns.push(Arc::new(videos.finish()));
        }
        columns.push(Arc::new(self.event_times.finish()));
        columns.push(Arc::new(self.record_times.finish()));
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        self.output.write(&batch)
    }

    /// Encodes the remaining rows, writes the footer, and returns the file size in bytes.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(mut self) -> Result<u64, ParquetError> {
        if self.rows > 0 {
            self.encode()?;
        }
        self.output.finish()?;
        Ok(self.output.bytes_written() as u64)
    }
}

/// Request ids rarely repeat within a dictionary's reach; consecutive times differ little.
fn properties() -> Result<WriterProperties, ParquetError> {
    let column = |name: &str| ColumnPath::from(name);
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_column_dictionary_enabled(column("request_id"), false);
    for name in ["event_time", "record_time"] {
        properties = properties
            .set_column_dictionary_enabled(column(name), false)
            .set_column_encoding(column(name), Encoding::DELTA_BINARY_PACKED);
    }
    Ok(properties.build())
}

#[cfg(test)]
mod tests;
