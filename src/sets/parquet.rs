//! Members as Parquet: one row for each showing, sorted by request and video. One that is `denied`
//! is in no set any more, and is in files of changes only.

mod lookup;
mod requests;

pub(super) use lookup::find;

use crate::showings::members::{Member, OfRequest};
use parquet::basic::{Compression, LogicalType, Repetition, Type as PhysicalType, ZstdLevel};
use parquet::data_type::{BoolType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};
use requests::RequestColumn;
use std::io::{self, Write};
use std::sync::Arc;

/// The most rows of a row group.
const GROUP_ROWS: usize = 1 << 20;
/// The most requests of a row group, so that its dictionary of requests takes a megabyte.
const GROUP_REQUESTS: usize = 1 << 16;
/// The level of Zstandard.
const LEVEL: i32 = 1;

/// Writes members, and returns the number of rows.
///
/// # Errors
/// When the output does not take them.
pub(super) fn write<'a>(
    members: impl Iterator<Item = OfRequest<'a>>,
    metadata: Vec<(&str, String)>,
    output: impl Write + Send,
) -> io::Result<u64> {
    let mut writer = MembersWriter::new(metadata, output).map_err(as_io)?;
    for (request, videos, members) in members {
        let videos = videos.iter().map(|video| video.0.cast_signed());
        writer.write(request, videos, members).map_err(as_io)?;
    }
    writer.finish().map_err(as_io)
}

/// Returns the error of the output if that is the cause.
fn as_io(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(cause) => match cause.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(cause) => io::Error::other(cause),
        },
        other => io::Error::other(other),
    }
}

struct MembersWriter<W: Write + Send> {
    output: SerializedFileWriter<W>,
    rows: u64,
    /// The columns of the current row group.
    requests: RequestColumn,
    videos: Vec<i64>,
    members: Vec<Member>,
}

impl<W: Write + Send> MembersWriter<W> {
    fn new(metadata: Vec<(&str, String)>, output: W) -> Result<MembersWriter<W>, ParquetError> {
        let properties = Arc::new(properties(metadata)?);
        Ok(MembersWriter {
            output: SerializedFileWriter::new(output, schema()?, properties)?,
            rows: 0,
            requests: RequestColumn::default(),
            videos: Vec::new(),
            members: Vec::new(),
        })
    }

    /// Adds a request. Its rows are in one row group, unless they are very many.
    fn write(
        &mut self,
        request: u128,
        videos: impl Iterator<Item = i64>,
        members: &[Member],
    ) -> Result<(), ParquetError> {
        self.requests.push(request, members.len());
        self.videos.extend(videos);
        self.members.extend_from_slice(members);
        let is_full = self.videos.len() >= GROUP_ROWS || self.requests.requests() == GROUP_REQUESTS;
        if is_full { self.end_group() } else { Ok(()) }
    }

    fn end_group(&mut self) -> Result<(), ParquetError> {
        self.rows += self.videos.len() as u64;
        let flags = |is: fn(Member) -> bool| -> Vec<bool> {
            self.members.iter().map(|member| is(*member)).collect()
        };
        let shown = flags(|member| member != Member::Removed);
        let played = flags(|member| member == Member::Played);
        let denied = flags(|member| member == Member::Removed);
        let descriptor = self.output.schema_descr().column(0);
        let mut group = self.output.next_row_group()?;
        std::mem::take(&mut self.requests).append_to(&mut group, descriptor)?;
        write_column::<Int64Type, W>(&mut group, &self.videos)?;
        write_column::<BoolType, W>(&mut group, &shown)?;
        write_column::<BoolType, W>(&mut group, &played)?;
        write_column::<BoolType, W>(&mut group, &denied)?;
        group.close()?;
        self.videos.clear();
        self.members.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<u64, ParquetError> {
        if !self.videos.is_empty() {
            self.end_group()?;
        }
        self.output.close()?;
        Ok(self.rows)
    }
}

/// Writes the next column of a row group.
fn write_column<D: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[D::T],
) -> Result<(), ParquetError> {
    let missing = || ParquetError::General("the schema has too few columns".to_owned());
    let mut column = group.next_column()?.ok_or_else(missing)?;
    column.typed::<D>().write_batch(values, None, None)?;
    column.close()
}

fn schema() -> Result<TypePtr, ParquetError> {
    let column = |name, physical, length, logical: Option<LogicalType>| {
        let column = Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::REQUIRED)
            .with_length(length)
            .with_logical_type(logical)
            .build();
        column.map(Arc::new)
    };
    let unsigned = LogicalType::integer(64, false);
    let fields = vec![
        column("request_id", PhysicalType::FIXED_LEN_BYTE_ARRAY, 16, Some(LogicalType::Uuid))?,
        column("video_id", PhysicalType::INT64, -1, Some(unsigned))?,
        column("shown", PhysicalType::BOOLEAN, -1, None)?,
        column("played", PhysicalType::BOOLEAN, -1, None)?,
        column("denied", PhysicalType::BOOLEAN, -1, None)?,
    ];
    Ok(Arc::new(Type::group_type_builder("members").with_fields(fields).build()?))
}

fn properties(metadata: Vec<(&str, String)>) -> Result<WriterProperties, ParquetError> {
    let metadata = metadata.into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value));
    Ok(WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(LEVEL)?))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        // No version, so that the same members are the same bytes for as long as can be.
        .set_created_by("trendmark".to_owned())
        .set_key_value_metadata(Some(metadata.collect()))
        .build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{RequestId, Touch, VideoId};
    use crate::showings::members::Members;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;
    use proptest::collection::vec;
    use proptest::prelude::*;

    type Rows = Vec<(u128, u64, Member)>;

    fn written(rows: &Rows) -> Vec<u8> {
        let members = Members::of(rows.iter().map(|(request, video, member)| {
            let touch = match member {
                Member::Shown => Touch::SHOWN,
                Member::Played => Touch::SHOWN.or(Touch::PLAYED),
                Member::Removed => Touch::SHOWN.or(Touch::DENIED),
            };
            (RequestId::from_u128(*request), VideoId(*video), touch)
        }));
        let mut bytes = Vec::new();
        let metadata = vec![("trendmark.epoch", "7".to_owned())];
        assert_eq!(write(members.requests(), metadata, &mut bytes).unwrap(), rows.len() as u64);
        bytes
    }

    fn read(bytes: Vec<u8>) -> (Rows, usize) {
        let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
        let groups = reader.metadata().num_row_groups();
        let member = |row: parquet::record::Row| {
            let fields: Vec<Field> =
                row.get_column_iter().map(|(_, field)| field.clone()).collect();
            match &fields[..] {
                [
                    Field::Bytes(request),
                    Field::ULong(video),
                    Field::Bool(shown),
                    Field::Bool(played),
                    Field::Bool(denied),
                ] => {
                    let request = u128::from_be_bytes(request.data().try_into().unwrap());
                    let member = match (shown, played, denied) {
                        (true, played, false) => Member::shown(*played),
                        (false, false, true) => Member::Removed,
                        other => panic!("{other:?}"),
                    };
                    (request, *video, member)
                }
                other => panic!("{other:?}"),
            }
        };
        let rows = reader.get_row_iter(None).unwrap().map(|row| member(row.unwrap()));
        (rows.collect(), groups)
    }

    fn member() -> impl Strategy<Value = Member> {
        prop::sample::select(vec![Member::Shown, Member::Played, Member::Removed])
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            rows in vec((0..9u128, any::<u64>(), member()), 0..200),
            shift in 0..125u32,
        ) {
            let rows: std::collections::BTreeMap<_, _> = rows
                .into_iter()
                .map(|(request, video, member)| ((request << shift, video), member))
                .collect();
            let rows: Rows = rows.into_iter().map(|((r, v), member)| (r, v, member)).collect();
            prop_assert_eq!(read(written(&rows)).0, rows);
        }
    }

    #[test]
    fn row_groups_end_after_so_many_requests_or_rows() {
        for (requests, videos, groups) in
            [(1, 1, 1), (GROUP_REQUESTS, 1, 1), (GROUP_REQUESTS + 1, 2, 2), (2, GROUP_ROWS, 2)]
        {
            let of_request = |request| {
                let member = |video| Member::shown(video % 3 == 0);
                (0..videos as u64).map(move |video| (request as u128, video, member(video)))
            };
            let rows: Rows = (0..requests).flat_map(of_request).collect();
            let (found, found_groups) = read(written(&rows));
            assert!(found == rows, "{requests} requests with {videos} videos");
            assert_eq!(found_groups, groups);
        }
    }
}
