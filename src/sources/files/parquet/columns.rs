//! The event columns of a Parquet file, and their supported types. What their values mean is the
//! same as in every format: see [`crate::decode::value`].

use super::known::Known;
use super::pages::WIDTH_MAX;
use super::values::{Ids, Times, Videos, is_id, is_time, is_video, readable_type};
use crate::decode::{DecodeError, FieldNames, FieldPath, FieldTree};
use crate::event::{Event, RequestId, VideoId};
use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field, Fields, Schema};
use parquet::basic::{Encoding, Type};
use parquet::file::metadata::ParquetMetaData;
use parquet::schema::types::SchemaDescriptor;

/// The columns to read, and the types to read them as.
pub(super) struct Plan {
    fields: FieldNames,
    tree: FieldTree,
}

impl Plan {
    pub(super) fn new(fields: &FieldNames) -> Plan {
        Plan { fields: fields.clone(), tree: fields.tree() }
    }

    /// Returns the fields as a tree of columns.
    pub(super) fn tree(&self) -> &FieldTree {
        &self.tree
    }

    /// Checks that a file has the event columns, each once and of a supported type, and returns
    /// their indexes among its columns without columns inside.
    pub(super) fn choose(
        &self,
        schema: &Schema,
        columns: &SchemaDescriptor,
    ) -> Result<Vec<usize>, String> {
        let is_possible: [fn(&DataType) -> bool; 4] = [is_id, is_video, is_time, is_record_time];
        let paths = self.fields.all();
        for (at, (path, is_possible)) in paths.iter().zip(is_possible).enumerate() {
            let Some(path) = path else { continue };
            match find(schema.fields(), path)? {
                Some(found) if is_possible(&found) => {}
                Some(found) => {
                    return Err(format!("column `{path}` has the unsupported type {found}"));
                }
                None if paths.len() == at + 1 => {}
                None => return Err(format!("missing column `{path}`")),
            }
        }
        let is_chosen = |column: usize| {
            let column = columns.column(column);
            paths.iter().flatten().any(|path| path.names() == column.path().parts())
        };
        let chosen: Vec<_> =
            (0..columns.num_columns()).filter(|&column| is_chosen(column)).collect();
        for &column in &chosen {
            let column = columns.column(column);
            let width = column.type_length();
            if column.physical_type() == Type::FIXED_LEN_BYTE_ARRAY && width > WIDTH_MAX {
                let name = column.path().string();
                return Err(format!("column `{name}` has values of {width} bytes each"));
            }
        }
        Ok(chosen)
    }

    /// Returns the schema of a file, with the event columns as their [`readable_type`].
    pub(super) fn schema(&self, schema: &Schema) -> Schema {
        let fields = readable_fields(schema.fields(), &self.tree);
        Schema::new_with_metadata(fields, schema.metadata().clone())
    }
}

/// Returns the type to read a column as, if there is such a column; an error if there are several.
fn find(columns: &Fields, path: &FieldPath) -> Result<Option<DataType>, String> {
    let mut columns = columns;
    let mut names = path.names().iter();
    while let Some(name) = names.next() {
        let mut found = columns.iter().filter(|column| column.name() == name);
        let Some(column) = found.next() else { return Ok(None) };
        if found.next().is_some() {
            return Err(format!("duplicate column `{path}`"));
        }
        match column.data_type() {
            found if names.len() == 0 => return Ok(Some(readable_type(found))),
            DataType::Struct(inside) => columns = inside,
            _ => return Ok(None),
        }
    }
    Ok(None)
}

fn readable_fields(columns: &Fields, tree: &FieldTree) -> Fields {
    let columns = columns.iter().map(|column| {
        let Some(place) = tree.place(column.name()) else { return Field::clone(column) };
        let inside = &tree.inside[place].1;
        let data_type = match column.data_type() {
            found if inside.field.is_some() => readable_type(found),
            DataType::Struct(columns) => DataType::Struct(readable_fields(columns, inside)),
            other => other.clone(),
        };
        Field::clone(column).with_data_type(data_type)
    });
    columns.collect()
}

fn is_record_time(data_type: &DataType) -> bool {
    is_time(data_type) || data_type.is_null()
}

/// The event columns of a batch of rows.
pub(super) struct Columns<'a> {
    names: [&'a str; 4],
    request: Column<'a, Ids<'a>>,
    /// None where events are of a request alone.
    video: Option<Column<'a, Videos<'a>>>,
    event_time: Column<'a, Times<'a>>,
    record_time: Option<Column<'a, Times<'a>>>,
}

impl<'a> Columns<'a> {
    /// Returns the columns of rows, or `None` if they do not match the plan.
    pub(super) fn of(plan: &'a Plan, rows: &'a RecordBatch) -> Option<Columns<'a>> {
        let FieldNames { request_id, video_id, event_time, record_time } = &plan.fields;
        Some(Columns {
            names: plan.fields.texts(),
            request: Column::of(rows, request_id, Ids::of)??,
            video: match video_id {
                Some(video_id) => Some(Column::of(rows, video_id, Videos::of)??),
                None => None,
            },
            event_time: Column::of(rows, event_time, Times::of)??,
            record_time: match Column::of(rows, record_time, Times::of) {
                // It is absent, or has the type of nulls.
                None | Some(None) if is_absent(rows, record_time) => None,
                found => Some(found??),
            },
        })
    }

    /// Appends the events of `count` rows, at most [`BLOCK_ROWS`]: those from index `row` of the
    /// batch on, which is row `number` of the file. Returns `None` if one of them may be malformed.
    #[inline]
    pub(super) fn append(
        &self,
        texts: &mut Texts,
        block: &mut Block,
        (row, number): (usize, u64),
        count: usize,
        events: &mut Vec<Event>,
    ) -> Option<()> {
        block.read(self, texts, row, count)?;
        let Block { requests, videos, event_times_ms, record_times_ms } = &*block;
        let values = requests.iter().zip(videos).zip(event_times_ms).zip(record_times_ms);
        let always = self.record_time.as_ref().is_some_and(|column| column.nullable.is_empty());
        events.extend(values.take(count).enumerate().map(
            |(at, (((&request, &video), &event_time_ms), &record_time_ms))| {
                let has_record_time = always
                    || self.record_time.as_ref().is_some_and(|column| column.is_valid(row + at));
                let record_time_ms = has_record_time.then_some(record_time_ms);
                let offset = number + at as u64;
                Event { offset, request, video, event_time_ms, record_time_ms }
            },
        ));
        Some(())
    }

    /// Returns the event at index `row` of the batch, which is row `number` of the file.
    #[inline]
    pub(super) fn event(&self, row: usize, number: u64) -> Result<Event, DecodeError> {
        let [request_id, video_id, event_time, record_time] = self.names;
        let record_time_ms = match &self.record_time {
            Some(column) if column.is_valid(row) => Some(column.values.get(row, record_time)?),
            _ => None,
        };
        Ok(Event {
            offset: number,
            request: self.request.required(row, request_id)?.get(row, request_id)?,
            video: match &self.video {
                Some(video) => video.required(row, video_id)?.get(row, video_id)?,
                None => VideoId::default(),
            },
            event_time_ms: self.event_time.required(row, event_time)?.get(row, event_time)?,
            record_time_ms,
        })
    }
}

/// What is known of the texts of each column.
pub(super) struct Texts {
    requests: Known<RequestId>,
    videos: Known<VideoId>,
    event_times: Known<i64>,
    record_times: Known<i64>,
}

impl Texts {
    /// Prepares to read a file. Only texts of a column with a dictionary repeat.
    pub(super) fn new(plan: &Plan, metadata: &ParquetMetaData) -> Texts {
        let has_dictionary = plan.fields.all().map(|path| {
            let Some(path) = path else { return false };
            let chunks = metadata.row_groups().iter().flat_map(|group| group.columns());
            let mut chunks = chunks.filter(|chunk| chunk.column_path().parts() == path.names());
            chunks.any(|chunk| chunk.encodings().any(is_dictionary))
        });
        let [request, video, event_time, record_time] = has_dictionary;
        Texts {
            requests: Known::new(request),
            videos: Known::new(video),
            event_times: Known::new(event_time),
            record_times: Known::new(record_time),
        }
    }

    /// Prepares for the next batch of rows. Returns false if its columns do not match the plan.
    pub(super) fn begin(&mut self, plan: &Plan, rows: &RecordBatch) -> bool {
        let Some(columns) = Columns::of(plan, rows) else { return false };
        if let Ids::Text(texts) = columns.request.values {
            self.requests.begin(texts);
        }
        if let Some(Column { values: Videos::Text(texts), .. }) = columns.video {
            self.videos.begin(texts);
        }
        if let Times::Text(texts) = columns.event_time.values {
            self.event_times.begin(texts);
        }
        if let Some(Column { values: Times::Text(texts), .. }) = columns.record_time {
            self.record_times.begin(texts);
        }
        true
    }
}

fn is_dictionary(encoding: Encoding) -> bool {
    matches!(encoding, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY)
}

/// The number of rows that are read column by column. If anything is wrong with one of them, all
/// are read row by row.
pub(super) const BLOCK_ROWS: usize = 64;

/// The values of a block of rows.
#[derive(Clone, Copy)]
pub(super) struct Block {
    requests: [RequestId; BLOCK_ROWS],
    videos: [VideoId; BLOCK_ROWS],
    event_times_ms: [i64; BLOCK_ROWS],
    record_times_ms: [i64; BLOCK_ROWS],
}

impl Block {
    pub(super) fn new() -> Block {
        Block {
            requests: [RequestId::default(); BLOCK_ROWS],
            videos: [VideoId::default(); BLOCK_ROWS],
            event_times_ms: [0; BLOCK_ROWS],
            record_times_ms: [0; BLOCK_ROWS],
        }
    }

    /// Reads `count` rows, at most [`BLOCK_ROWS`], from `row` on of the batch. Returns `None` if
    /// one of them may be malformed.
    #[inline]
    fn read(
        &mut self,
        columns: &Columns<'_>,
        texts: &mut Texts,
        row: usize,
        count: usize,
    ) -> Option<()> {
        let Columns { request, video, event_time, record_time, .. } = columns;
        let is_complete = request.is_valid_in(row, count)
            && video.as_ref().is_none_or(|video| video.is_valid_in(row, count))
            && event_time.is_valid_in(row, count);
        if !is_complete {
            return None;
        }
        request.values.fill(&mut texts.requests, row, self.requests.get_mut(..count)?)?;
        if let Some(video) = video {
            video.values.fill(&mut texts.videos, row, self.videos.get_mut(..count)?)?;
        }
        let times_ms = self.event_times_ms.get_mut(..count)?;
        event_time.values.fill(&mut texts.event_times, row, times_ms)?;
        if let Some(record_time) = record_time {
            let times_ms = self.record_times_ms.get_mut(..count)?;
            record_time.values.fill(&mut texts.record_times, row, times_ms)?;
        }
        Some(())
    }
}

fn is_absent(rows: &RecordBatch, path: &FieldPath) -> bool {
    arrays(rows, path)
        .is_none_or(|arrays| arrays.last().is_none_or(|array| array.data_type().is_null()))
}

/// Returns a column and those that it is inside of, from the outermost.
fn arrays<'a>(rows: &'a RecordBatch, path: &FieldPath) -> Option<Vec<&'a dyn Array>> {
    let mut arrays: Vec<&dyn Array> = Vec::new();
    for name in path.names() {
        let array = match arrays.last() {
            None => rows.column_by_name(name)?,
            Some(outer) => outer.as_struct_opt()?.column_by_name(name)?,
        };
        arrays.push(array.as_ref());
    }
    Some(arrays)
}

/// A column that may contain nulls.
struct Column<'a, V> {
    /// The column and those that it is inside of, as far as they contain nulls.
    nullable: Vec<&'a dyn Array>,
    values: V,
}

impl<'a, V> Column<'a, V> {
    /// Returns the column; the inner `None` if it has another type.
    fn of(
        rows: &'a RecordBatch,
        path: &FieldPath,
        values: fn(&'a dyn Array) -> Option<V>,
    ) -> Option<Option<Column<'a, V>>> {
        let mut nullable = arrays(rows, path)?;
        let values = values(*nullable.last()?);
        nullable.retain(|array| array.null_count() > 0);
        Some(values.map(|values| Column { nullable, values }))
    }

    /// Whether the rows from one on, so many, are all valid.
    fn is_valid_in(&self, row: usize, count: usize) -> bool {
        let mut nulls = self.nullable.iter().filter_map(|array| array.nulls());
        nulls.all(|nulls| nulls.slice(row, count).null_count() == 0)
    }

    #[inline]
    fn is_valid(&self, row: usize) -> bool {
        self.nullable.iter().all(|array| array.is_valid(row))
    }

    /// Returns the values, or an error if the one at `row` is null.
    #[inline]
    fn required(&self, row: usize, field: &str) -> Result<&V, DecodeError> {
        if self.is_valid(row) {
            return Ok(&self.values);
        }
        Err(DecodeError::WrongType { field: field.into(), found: "null", expected: "a value" })
    }
}
