//! Tests that a Parquet log holds the events of its model.

use super::super::tests::{Parsed, arguments, arrivals, parsed, small};
use super::super::{GenerateArguments, LogFormat, Model, World, generate};
use crate::event::{Kind, RequestId, VideoId};
use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs;
use std::path::Path;

#[test]
fn parquet_rows_equal_the_generated_events() {
    let model = Model { malformed_rate: 0.02, partitions: 1, ..small(20_000) };
    let folder = tempfile::tempdir().unwrap();
    let parquet =
        GenerateArguments { format: LogFormat::Parquet, ..arguments(folder.path(), model.clone()) };
    let summary = generate(&parquet).unwrap();
    let found = [Kind::Impression, Kind::Play].map(|kind| {
        let path = folder.path().join(format!("{}-00.parquet", kind.topic()));
        read_parquet(&path)
    });
    let events = |kind| {
        let of_kind = arrivals(&model).into_iter().filter(move |arrival| arrival.kind == kind);
        of_kind.map(|arrival| arrival.event(0).map(parsed)).collect::<Vec<_>>()
    };
    assert_eq!(found, [events(Kind::Impression), events(Kind::Play)]);
    assert!(summary.malformed > 300);
}

#[test]
fn a_parquet_log_of_denials_has_no_column_of_videos() {
    let world = World { bot_rate: 0.3, ..World::default() };
    let model = Model { partitions: 1, world, ..small(5_000) };
    let folder = tempfile::tempdir().unwrap();
    let parquet =
        GenerateArguments { format: LogFormat::Parquet, ..arguments(folder.path(), model.clone()) };
    generate(&parquet).unwrap();
    let file = fs::File::open(folder.path().join("denials-00.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let mut rows = Vec::new();
    for batch in reader.map(Result::unwrap) {
        let schema = batch.schema();
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["request_id", "event_time", "record_time"]);
        let requests = batch.column(0).as_string::<i32>();
        let [event_times, record_times] =
            [1, 2].map(|column| batch.column(column).as_primitive::<Int64Type>().values().to_vec());
        rows.extend((0..batch.num_rows()).map(|row| {
            let request = RequestId::parse(requests.value(row)).unwrap();
            (request, VideoId(0), event_times[row], Some(record_times[row]))
        }));
    }
    let denials = arrivals(&model).into_iter().filter(|arrival| arrival.kind == Kind::Denial);
    let expected: Vec<Parsed> =
        denials.filter_map(|arrival| arrival.event(0).map(parsed)).collect();
    assert!(expected.len() > 50);
    assert_eq!(rows, expected);
}

/// The events of a file, row by row; `None` for a malformed row.
fn read_parquet(path: &Path) -> Vec<Option<Parsed>> {
    let file = fs::File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let mut rows = Vec::new();
    for batch in reader.map(Result::unwrap) {
        let requests = batch.column(0).as_string::<i32>();
        let videos = batch.column(1).as_primitive::<UInt64Type>();
        let event_times = batch.column(2).as_primitive::<Int64Type>();
        let record_times = batch.column(3).as_primitive::<Int64Type>();
        rows.extend((0..batch.num_rows()).map(|row| {
            let whole = (0..4).all(|column| batch.column(column).is_valid(row));
            let request = RequestId::parse(requests.value(row)).filter(|_| whole)?;
            let record_time_ms = Some(record_times.value(row));
            Some((request, VideoId(videos.value(row)), event_times.value(row), record_time_ms))
        }));
    }
    rows
}
