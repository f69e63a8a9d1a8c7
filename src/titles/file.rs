//! The records of a file of titles: JSON Lines (also .gz and .zst), CSV with a header, or Parquet.
//!
//! What a record is, [`records`](super::records) tells.

use super::records::{Reading, not_json, of_json, of_parts, time_of_text, video_of_text};
use serde_json::Value;
use std::cell::Cell;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

/// The longest line, in bytes.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Why a file of titles cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system returned an error.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The name has an unknown ending.
    #[error("its name must end in .jsonl, .ndjson (also with .gz or .zst), .csv or .parquet")]
    Format,
    /// The header of a CSV file lacks a column.
    #[error("its header has no column `{0}`")]
    Column(&'static str),
    /// The Parquet file is damaged, or lacks a column.
    #[error("it is no Parquet file of titles: {0}")]
    Parquet(String),
    /// The build has no Parquet.
    #[error(transparent)]
    MissingFeature(#[from] crate::features::MissingFeature),
}

/// The format of a file, by the end of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Lines,
    Gzip,
    Zstandard,
    Table,
    Parquet,
}

impl Format {
    const ENDINGS: [(&str, Format); 8] = [
        (".jsonl", Format::Lines),
        (".ndjson", Format::Lines),
        (".jsonl.gz", Format::Gzip),
        (".ndjson.gz", Format::Gzip),
        (".jsonl.zst", Format::Zstandard),
        (".ndjson.zst", Format::Zstandard),
        (".csv", Format::Table),
        (".parquet", Format::Parquet),
    ];

    fn of(path: &Path) -> Option<Format> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let mut endings = Format::ENDINGS.into_iter();
        endings.find(|(ending, _)| name.ends_with(ending)).map(|(_, format)| format)
    }
}

/// Whether the name of a file says that it can be one of titles.
pub fn has_format(path: &Path) -> bool {
    Format::of(path).is_some()
}

/// Reads a file: its titles, and what was wrong with it.
///
/// # Errors
/// When it cannot be read at all.
pub fn read(path: &Path) -> Result<Reading, FileError> {
    let mut reading = Reading::new(path.display().to_string());
    let file = || File::open(path);
    match Format::of(path).ok_or(FileError::Format)? {
        Format::Lines => lines(&mut reading, file()?)?,
        Format::Gzip => lines(&mut reading, flate2::read::MultiGzDecoder::new(file()?))?,
        Format::Zstandard => lines(&mut reading, zstd::Decoder::new(file()?)?)?,
        Format::Table => table(&mut reading, file()?)?,
        Format::Parquet => parquet(&mut reading, file()?)?,
    }
    Ok(reading)
}

fn lines(reading: &mut Reading, file: impl Read) -> std::io::Result<()> {
    let mut file = BufReader::new(file);
    let mut line = Vec::new();
    for number in 1u64.. {
        line.clear();
        let length = file.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if length == 0 {
            break;
        }
        if length as u64 == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
            file.skip_until(b'\n')?;
            let problem = Err(format!("longer than {LINE_BYTES_MAX} bytes"));
            reading.add(|| format!("line {number}"), problem);
            continue;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
        let record = serde_json::from_slice(text).map_err(|error| not_json(&error));
        reading.add(|| format!("line {number}"), record.and_then(|value: Value| of_json(&value)));
    }
    Ok(())
}

/// Counts the bytes since the last row, and fails if there are too many: of a row whose quotes do
/// not end, the reader would keep the rest of the file.
struct Bounded<R> {
    file: R,
    since_row: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.since_row.get() >= LINE_BYTES_MAX {
            let what = format!("a row is longer than {LINE_BYTES_MAX} bytes");
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, what));
        }
        let length = self.file.read(buffer)?;
        self.since_row.set(self.since_row.get() + length as u64);
        Ok(length)
    }
}

fn table(reading: &mut Reading, file: impl Read) -> Result<(), FileError> {
    let since_row = Rc::new(Cell::new(0));
    let file = Bounded { file, since_row: Rc::clone(&since_row) };
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
    let as_io = |error: csv::Error| match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => std::io::Error::other(format!("{other:?}")),
    };
    let header = reader.headers().map_err(as_io)?.clone();
    let place = |name: &str| header.iter().position(|column| column.trim() == name);
    let video = place("video_id").ok_or(FileError::Column("video_id"))?;
    let title = place("title").ok_or(FileError::Column("title"))?;
    let (genre, launched) = (place("genre"), place("launched_at"));
    for row in reader.records() {
        since_row.set(0);
        let row = match row {
            Ok(row) => row,
            Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => {
                let line = error.position().map_or(0, csv::Position::line);
                reading.add(|| format!("line {line}"), Err("not UTF-8".into()));
                continue;
            }
            Err(error) => return Err(as_io(error).into()),
        };
        let text = |column: Option<usize>| column.and_then(|column| row.get(column));
        let given = |column| text(column).filter(|text| !text.is_empty());
        let line = row.position().map_or(0, csv::Position::line);
        let record = (|| {
            let video = video_of_text(text(Some(video)).ok_or("missing `video_id`")?)?;
            let title = given(Some(title)).ok_or("`title` is empty")?;
            let launched_at_ms = given(launched).map(time_of_text).transpose()?;
            of_parts(video, title, given(genre), launched_at_ms)
        })();
        reading.add(|| format!("line {line}"), record);
    }
    Ok(())
}

/// Reads the columns of titles; columns of other names may have any type.
#[cfg(feature = "parquet")]
fn parquet(reading: &mut Reading, file: File) -> Result<(), FileError> {
    use parquet::basic::{LogicalType, TimeUnit};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::schema::types::Type;
    let failed = |error: parquet::errors::ParquetError| error.to_string();
    let read = || -> Result<Result<(), FileError>, String> {
        let reader = SerializedFileReader::new(file).map_err(failed)?;
        let schema = reader.metadata().file_metadata().schema();
        let named = |name: &str| schema.get_fields().iter().find(|field| field.name() == name);
        for wanted in ["video_id", "title"] {
            if named(wanted).is_none() {
                return Ok(Err(FileError::Column(wanted)));
            }
        }
        // The reader of rows does not know this unit, and gives whole numbers.
        let in_nanoseconds = named("launched_at").is_some_and(|field| {
            let logical = field.get_basic_info().logical_type_ref();
            matches!(logical, Some(LogicalType::Timestamp(of)) if of.unit == TimeUnit::NANOS)
        });
        let fields = ["video_id", "title", "genre", "launched_at"].into_iter().filter_map(named);
        let wanted = Type::group_type_builder(schema.name()).with_fields(fields.cloned().collect());
        let wanted = wanted.build().map_err(failed)?;
        for (number, row) in reader.get_row_iter(Some(wanted)).map_err(failed)?.enumerate() {
            let row = row.map_err(failed)?;
            let json = |(name, field): (&String, _)| match json_of(field) {
                Value::Number(time) if in_nanoseconds && name == "launched_at" => {
                    let time_ns = time.as_i64().unwrap_or_default();
                    (name.clone(), Value::from(time_ns.div_euclid(1_000_000)))
                }
                value => (name.clone(), value),
            };
            let record = of_json(&Value::Object(row.get_column_iter().map(json).collect()));
            reading.add(|| format!("row {}", number + 1), record);
        }
        Ok(Ok(()))
    };
    crate::panics::catch_panic(read).unwrap_or_else(|reason| Err(FileError::Parquet(reason)))
}

#[cfg(not(feature = "parquet"))]
fn parquet(_: &mut Reading, _: File) -> Result<(), FileError> {
    Ok(crate::features::Feature::Parquet.require("a .parquet file of --titles")?)
}

/// A field of a Parquet row as the JSON that means the same.
#[cfg(feature = "parquet")]
fn json_of(field: &parquet::record::Field) -> Value {
    use parquet::record::Field;
    const DAY_MS: i64 = 86_400_000;
    match field {
        Field::Null => Value::Null,
        Field::Str(text) => Value::from(text.as_str()),
        Field::ULong(number) => Value::from(*number),
        Field::UInt(number) => Value::from(*number),
        Field::Long(number) => Value::from(*number),
        Field::Int(number) => Value::from(*number),
        Field::TimestampMillis(time_ms) => Value::from(*time_ms),
        Field::TimestampMicros(time_us) => Value::from(time_us.div_euclid(1_000)),
        Field::Date(day) => Value::from(i64::from(*day) * DAY_MS),
        // A type that no field of a title has.
        _ => Value::Bool(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::VideoId;
    use crate::titles::{TEXT_BYTES_MAX, Title, TitleSource, records::Titles};
    use std::fs;

    fn read_text(name: &str, text: &str) -> (Titles, TitleSource) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let Reading { titles, source } = read(&path).unwrap();
        (titles, source)
    }

    fn title(title: &str, genre: Option<&str>, launched_at_ms: Option<i64>) -> Title {
        Title { title: title.into(), genre: genre.map(str::to_owned), launched_at_ms }
    }

    #[test]
    fn lines_and_tables_are_read_alike_and_the_last_record_of_a_video_counts() {
        let lines = "{\"video_id\":7,\"title\":\"Old\"}\n\n\
                     {\"title\":\"New, and \\\"quoted\\\"\",\"video_id\":\"7\",\"genre\":\"Drama\",\
                     \"launched_at\":\"2026-01-01\",\"more\":[1]}\n\
                     {\"video_id\":18446744073709551615,\"title\":\"Ω\",\"launched_at\":1000}\n\
                     {\"video_id\":8,\"title\":\"gone\"}\n{\"video_id\":8,\"title\":null}\n";
        let table = "video_id,genre,title,launched_at,more\n7,,Old,,\n\
                     7,Drama,\"New, and \"\"quoted\"\"\",2026-01-01T00:00:00Z,x\n\
                     18446744073709551615,,Ω,1000\n";
        let expected = Titles::from([
            (VideoId(7), title("New, and \"quoted\"", Some("Drama"), Some(1_767_225_600_000))),
            (VideoId(u64::MAX), title("Ω", None, Some(1_000))),
        ]);
        for (name, text) in [("t.jsonl", lines), ("t.CSV", table)] {
            let (titles, source) = read_text(name, text);
            assert_eq!((titles, source.first_malformed), (expected.clone(), None), "{name}");
        }
    }

    #[test]
    fn what_is_no_title_is_counted_and_the_first_is_told() {
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        for (line, problem) in [
            ("nothing".to_owned(), "line 2: not JSON: expected ident at column 2"),
            ("[]".to_owned(), "line 2: not a JSON object"),
            ("{\"title\":\"t\"}".to_owned(), "line 2: missing `video_id`"),
            ("{\"video_id\":-1,\"title\":\"t\"}".to_owned(), "line 2: `video_id` is"),
            ("{\"video_id\":1}".to_owned(), "line 2: missing `title`"),
            ("{\"video_id\":1,\"title\":\" \"}".to_owned(), "line 2: `title` is empty"),
            (format!("{{\"video_id\":1,\"title\":\"{long}\"}}"), "line 2: `title` is longer"),
            ("{\"video_id\":1,\"title\":\"t\",\"genre\":1}".to_owned(), "line 2: `genre`"),
            (
                "{\"video_id\":1,\"title\":\"t\",\"launched_at\":\"soon\"}".to_owned(),
                "line 2: `launched_at`",
            ),
        ] {
            let good = "{\"video_id\":3,\"title\":\"three\"}\n";
            let (titles, source) = read_text("t.ndjson", &format!("{good}{line}\n{good}"));
            assert_eq!((titles.len(), source.titles, source.malformed), (1, 2, 1), "{line}");
            let first = source.first_malformed.unwrap();
            assert!(first.starts_with(problem), "{first}");
        }
    }

    #[test]
    fn a_file_of_another_kind_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let told = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            read(&path).unwrap_err().to_string()
        };
        assert!(told("t.txt", "").contains("must end in .jsonl"));
        assert!(told("t.csv", "id,title\n").contains("no column `video_id`"));
        assert!(told("t.csv", "video_id,name\n").contains("no column `title`"));
        let endless = format!("video_id,title\n1,one\n2,\"{}", "x".repeat(3 << 20));
        assert!(told("t.csv", &endless).contains("a row is longer than 1048576 bytes"));
        #[cfg(feature = "parquet")]
        assert!(told("t.parquet", "PAR1").contains("no Parquet file"));
    }
}
