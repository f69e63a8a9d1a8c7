//! How many records per second are decoded from JSON, Avro and Protobuf, on one thread?
//!
//! `cargo bench --bench decode -- [--records N] [--repeat N]`. All three must give the same events
//! before they are timed.

mod common;

use apache_avro::types::Value as AvroValue;
use apache_avro::writer::datum::GenericDatumWriter;
use common::parameter;
use protox::prost_reflect::prost::Message;
use protox::prost_reflect::{DynamicMessage, MessageDescriptor, Value};
use std::fmt::Debug;
use std::hint::black_box;
use std::time::Instant;
use trendmark::decode::avro::AvroDecoder;
use trendmark::decode::protobuf::{ProtobufDecoder, ProtobufSchema};
use trendmark::decode::{FieldNames, JsonDecoder};
use trendmark::event::Event;

const AVRO: &str = r#"{"type":"record","name":"Event","fields":[
    {"name":"request_id","type":"string"}, {"name":"video_id","type":"long"},
    {"name":"event_time","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"record_time","type":["null","long"]},
    {"name":"client","type":["null","string"]}]}"#;
const PROTOBUF: &str = r#"syntax = "proto3"; message Event { string request_id = 1;
    uint64 video_id = 2; int64 event_time = 3; int64 record_time = 4; string client = 5; }"#;

/// The number of different records, few enough for the caches of a processor.
const DIFFERENT: u64 = 1_000;
const TIME_MS: i64 = 1_767_225_600_000;
const CLIENT: &str = "browser";

/// The request id, the video id and the time of a record.
fn values(number: u64) -> (String, i64, i64) {
    let request = format!("0123abcd-4567-89ab-cdef-{number:012x}");
    (request, (number * 7919) as i64, TIME_MS + number as i64)
}

fn json(number: u64) -> Vec<u8> {
    let (request, video, time) = values(number);
    let object = serde_json::json!({
        "request_id": request, "video_id": video, "event_time": time, "record_time": time,
        "client": CLIENT,
    });
    object.to_string().into_bytes()
}

/// Makes a record of the number, of the texts of its ids, and of its times.
type Make = fn(u64, &str, &str) -> String;

/// Records that are not alike, or not of the common kind, by what is special about them.
const SPECIAL: [(&str, Make); 7] = [
    ("white space", |_, ids, times| {
        format!("{{{ids},{times}}}").replace(':', ": ").replace(',', ", ")
    }),
    ("an extra field that varies", |number, ids, times| {
        format!(r#"{{{ids},"client":"{}",{times}}}"#, ["android", "console"][number as usize % 2])
    }),
    ("two orders of fields in turn", |number, ids, times| match number % 2 {
        0 => format!("{{{ids},{times}}}"),
        _ => format!("{{{times},{ids}}}"),
    }),
    ("an extra field with escapes", |number, ids, times| {
        format!(r#"{{{ids},"title":"\"{number}\"\n",{times}}}"#)
    }),
    ("an escape in a name, so left to serde_json", |_, ids, times| {
        format!("{{{ids},{times}}}").replace("request_id", r"request\u005fid")
    }),
    ("times in RFC 3339", |number, ids, _| {
        let time = format!("2026-01-01T00:00:{:02}.{:03}Z", number % 60, number % 1_000);
        format!(r#"{{{ids},"event_time":"{time}","record_time":"{time}"}}"#)
    }),
    ("ids that are not UUIDs", |_, ids, times| format!("{{{ids},{times}}}").replace('-', "_")),
];

fn special(make: Make, number: u64) -> Vec<u8> {
    let (request, video, time) = values(number);
    let ids = format!(r#""request_id":"{request}","video_id":{video}"#);
    let times = format!(r#""event_time":{time},"record_time":{time}"#);
    make(number, &ids, &times).into_bytes()
}

fn avro(number: u64) -> Vec<u8> {
    let (request, video, time) = values(number);
    let some = |value| AvroValue::Union(1, Box::new(value));
    let record = AvroValue::Record(vec![
        ("request_id".into(), AvroValue::String(request)),
        ("video_id".into(), AvroValue::Long(video)),
        ("event_time".into(), AvroValue::TimestampMillis(time)),
        ("record_time".into(), some(AvroValue::Long(time))),
        ("client".into(), some(AvroValue::String(CLIENT.into()))),
    ]);
    let schema = apache_avro::Schema::parse_str(AVRO).unwrap();
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    writer.write_value_to_vec(record).unwrap()
}

/// The compiled message type `Event`.
fn protobuf_event() -> MessageDescriptor {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("event.proto"), PROTOBUF).unwrap();
    let mut compiler = protox::Compiler::new([folder.path()]).unwrap();
    compiler.open_file("event.proto").unwrap();
    compiler.descriptor_pool().get_message_by_name("Event").unwrap()
}

fn protobuf(event: &MessageDescriptor, number: u64) -> Vec<u8> {
    let (request, video, time) = values(number);
    let mut message = DynamicMessage::new(event.clone());
    message.set_field_by_name("request_id", Value::String(request));
    message.set_field_by_name("video_id", Value::U64(video as u64));
    message.set_field_by_name("event_time", Value::I64(time));
    message.set_field_by_name("record_time", Value::I64(time));
    message.set_field_by_name("client", Value::String(CLIENT.into()));
    message.encode_to_vec()
}

fn report<E: Debug>(
    name: &str,
    records: &[Vec<u8>],
    expected: &[Event],
    mut decode: impl FnMut(&[u8], u64) -> Result<Event, E>,
) {
    for (offset, record) in records.iter().enumerate() {
        assert_eq!(decode(record, offset as u64).unwrap(), expected[offset], "{name} differs");
    }
    let count = parameter("--records", 5_000_000, 1_000);
    let start = Instant::now();
    for (offset, record) in records.iter().cycle().take(count).enumerate() {
        let _ = black_box(decode(black_box(record), offset as u64));
    }
    let elapsed = start.elapsed().as_nanos() as f64 / count as f64;
    println!(
        "{name}: {elapsed:.1} ns a record, {:.1} M records/s, {} bytes per record",
        1e3 / elapsed,
        records[0].len()
    );
}

fn expected_of(decoder: &mut JsonDecoder, records: &[Vec<u8>]) -> Vec<Event> {
    let records = (0..).zip(records);
    records.map(|(offset, json)| decoder.decode(json, offset).unwrap()).collect()
}

fn main() {
    let fields = FieldNames::default();
    let mut from_json = JsonDecoder::new(&fields);
    let from_avro = AvroDecoder::new(&fields, AVRO, &[]).unwrap();
    let schema = ProtobufSchema::new(PROTOBUF, &[]).unwrap();
    let from_protobuf = ProtobufDecoder::new(&fields, &schema, &[0]).unwrap();

    let jsons: Vec<_> = (0..DIFFERENT).map(json).collect();
    let avros: Vec<_> = (0..DIFFERENT).map(avro).collect();
    let event = protobuf_event();
    let protobufs: Vec<_> = (0..DIFFERENT).map(|number| protobuf(&event, number)).collect();
    let expected = expected_of(&mut from_json, &jsons);

    for _ in 0..parameter("--repeat", 3, 1) {
        report("JSON", &jsons, &expected, |record, offset| from_json.decode(record, offset));
        for (what, make) in SPECIAL {
            let records: Vec<_> = (0..DIFFERENT).map(|number| special(make, number)).collect();
            let expected = expected_of(&mut JsonDecoder::new(&fields), &records);
            let mut decoder = JsonDecoder::new(&fields);
            let name = format!("JSON, {what}");
            report(&name, &records, &expected, |record, offset| decoder.decode(record, offset));
        }
        report("Avro", &avros, &expected, |record, offset| from_avro.decode(record, offset));
        report("Protobuf", &protobufs, &expected, |record, offset| {
            from_protobuf.decode(record, offset)
        });
    }
}
