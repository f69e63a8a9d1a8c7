//! Tests with Avro records from `apache-avro`, which shares no code with the decoder.

use super::*;
use crate::event::{RequestId, VideoId};
use apache_avro::Schema;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use proptest::prelude::*;

const UUID: &str = "0123abcd-4567-89ab-cdef-0123456789ab";
const TIME_MS: i64 = 1_767_225_600_123;

fn schema(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"Play","namespace":"t","fields":[{fields}]}}"#)
}

/// A schema with a field of each name and type.
fn schema_of(types: [&str; 4]) -> String {
    let names = ["request_id", "video_id", "event_time", "record_time"];
    let fields = names.iter().zip(types);
    let fields = fields.map(|(name, kind)| format!(r#"{{"name":"{name}","type":{kind}}}"#));
    schema(&fields.collect::<Vec<_>>().join(","))
}

fn decoder(schema: &str) -> AvroDecoder {
    AvroDecoder::new(&FieldNames::default(), schema, &[]).unwrap()
}

fn written(schema: &str, values: Vec<(&str, Value)>) -> Vec<u8> {
    let values = values.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    let schema = Schema::parse_str(schema).unwrap();
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    writer.write_value_to_vec(Value::Record(values)).unwrap()
}

/// Writes and decodes a record of these types and values.
fn decode(types: [&str; 4], values: [Value; 4]) -> Result<Event, String> {
    let schema = schema_of(types);
    let names = ["request_id", "video_id", "event_time", "record_time"];
    let record = written(&schema, names.into_iter().zip(values).collect());
    decoder(&schema).decode(&record, 7).map_err(|error| error.to_string())
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

const PLAIN: [&str; 4] = [r#""string""#, r#""long""#, r#""long""#, r#"["null","long"]"#];

fn with(at: usize, kind: &str, value: Value) -> Result<Event, String> {
    let (mut types, null) = (PLAIN, Value::Union(0, Box::new(Value::Null)));
    let mut values = [text(UUID), Value::Long(123), Value::Long(TIME_MS), null];
    types[at] = kind;
    values[at] = value;
    decode(types, values)
}

fn check(found: Result<Event, String>, expected: &str) {
    assert_eq!(found.unwrap_err(), expected);
}

#[test]
fn a_valid_record_is_an_event() {
    let record_time = Value::Union(1, Box::new(Value::Long(TIME_MS + 1)));
    let event = Event {
        offset: 7,
        request: RequestId::parse(UUID).unwrap(),
        video: VideoId(123),
        event_time_ms: TIME_MS,
        record_time_ms: Some(TIME_MS + 1),
    };
    assert_eq!(with(3, PLAIN[3], record_time), Ok(event));
    let null = Value::Union(0, Box::new(Value::Null));
    let event = Event { record_time_ms: None, ..event };
    assert_eq!(with(3, PLAIN[3], null), Ok(event));
}

#[test]
fn a_request_id_is_a_string_or_a_uuid() {
    let uuid = uuid_bits();
    let same = RequestId::parse(UUID).unwrap();
    let fixed = r#"{"type":"fixed","name":"Id","size":16}"#;
    let request = |kind, value| with(0, kind, value).map(|event| event.request);
    assert_eq!(request(fixed, Value::Fixed(16, uuid.to_vec())), Ok(same));
    assert_eq!(request(r#""bytes""#, Value::Bytes(uuid.to_vec())), Ok(same));
    let logical = r#"{"type":"string","logicalType":"uuid"}"#;
    assert_eq!(request(logical, text(UUID)), Ok(same));
    let other = RequestId::parse("r").unwrap();
    assert_eq!(request(r#""string""#, text("r")), Ok(other));
    check(with(0, r#""string""#, text("")), "`request_id` is empty");
    check(with(0, r#""bytes""#, Value::Bytes(vec![])), "`request_id` is empty");
    let expected = "`request_id` is 3 bytes, expected a string or the 16 bytes of a UUID";
    check(with(0, r#""bytes""#, Value::Bytes(vec![1, 2, 0xff])), expected);
    assert_eq!(request(r#""bytes""#, Value::Bytes(b"r".to_vec())), Ok(other));
    let digits = b"0123456789abcdef";
    let digits_text = RequestId::parse("0123456789abcdef").unwrap();
    assert_eq!(request(r#""bytes""#, Value::Bytes(digits.to_vec())), Ok(digits_text));
    let digits_uuid = RequestId::from_u128(u128::from_be_bytes(*digits));
    assert_eq!(request(fixed, Value::Fixed(16, digits.to_vec())), Ok(digits_uuid));
    let expected = "`request_id` is an integer, expected a string or the 16 bytes of a UUID";
    check(with(0, r#""int""#, Value::Int(3)), expected);
}

fn uuid_bits() -> [u8; 16] {
    crate::event::uuid_bits(UUID.as_bytes()).unwrap().to_be_bytes()
}

#[test]
fn a_video_id_is_not_negative() {
    let video = |kind, value| with(1, kind, value).map(|event| event.video.0);
    assert_eq!(video(r#""int""#, Value::Int(5)), Ok(5));
    assert_eq!(video(r#""long""#, Value::Long(i64::MAX)), Ok(i64::MAX as u64));
    assert_eq!(video(r#""string""#, text("18446744073709551615")), Ok(u64::MAX));
    let expected = "expected an unsigned 64-bit integer, as a number or a string";
    let wrong = |kind, value, found: &str| {
        check(with(1, kind, value), &format!("`video_id` is {found}, {expected}"));
    };
    wrong(r#""long""#, Value::Long(-1), "a negative integer");
    wrong(r#""string""#, text("-1"), "a string");
    wrong(r#""string""#, text("18446744073709551616"), "a string");
    wrong(r#""string""#, text(""), "a string");
    wrong(r#""double""#, Value::Double(1.0), "a floating-point number");
    wrong(r#""boolean""#, Value::Boolean(true), "a boolean");
    let stamp = r#"{"type":"long","logicalType":"timestamp-millis"}"#;
    wrong(stamp, Value::TimestampMillis(1), "a timestamp");
}

#[test]
fn a_time_is_milliseconds_a_timestamp_or_a_text() {
    let logical = |name: &str| format!(r#"{{"type":"long","logicalType":"{name}"}}"#);
    let time = |kind: &str, value| with(2, kind, value).map(|event| event.event_time_ms);
    let millis = Value::TimestampMillis(TIME_MS);
    assert_eq!(time(&logical("timestamp-millis"), millis), Ok(TIME_MS));
    let micros = |time| Value::TimestampMicros(time);
    assert_eq!(time(&logical("timestamp-micros"), micros(TIME_MS * 1_000 + 999)), Ok(TIME_MS));
    assert_eq!(time(&logical("timestamp-micros"), micros(-1)), Ok(-1));
    assert_eq!(time(r#""string""#, text("2026-01-01T00:00:00.123Z")), Ok(TIME_MS));
    assert_eq!(time(r#""long""#, Value::Long(-1)), Ok(-1));
    let out = "`event_time` is out of range, expected a time from 0001-01-01 to 9999-12-30";
    check(with(2, r#""long""#, Value::Long(i64::MAX)), out);
    let local = with(2, &logical("local-timestamp-millis"), Value::LocalTimestampMillis(1));
    assert!(local.unwrap_err().starts_with("`event_time` is a local time, which has no zone"));
}

#[test]
fn fields_in_any_order_beside_others_of_every_shape() {
    let schema = schema(
        r#"{"name":"a","type":{"type":"array","items":["null","string"]}},
        {"name":"event_time","type":"long"},
        {"name":"m","type":{"type":"map","values":{"type":"record","name":"In","fields":[
            {"name":"f","type":"float"},{"name":"d","type":"double"},{"name":"b","type":"boolean"},
            {"name":"e","type":{"type":"enum","name":"E","symbols":["X","Y"]}},
            {"name":"next","type":["null","In"]}]}}},
        {"name":"request_id","type":"string"},{"name":"e","type":"E"},
        {"name":"video_id","type":"int"},
        {"name":"n","type":{"type":"array","items":"null"}}"#,
    );
    let inner = |next| {
        Value::Record(vec![
            ("f".into(), Value::Float(1.0)),
            ("d".into(), Value::Double(2.0)),
            ("b".into(), Value::Boolean(true)),
            ("e".into(), Value::Enum(1, "Y".into())),
            ("next".into(), next),
        ])
    };
    let nested = inner(Value::Union(1, Box::new(inner(Value::Union(0, Box::new(Value::Null))))));
    let some = Value::Union(1, Box::new(text("x")));
    let record = written(
        &schema,
        vec![
            ("a", Value::Array(vec![some, Value::Union(0, Box::new(Value::Null))])),
            ("event_time", Value::Long(TIME_MS)),
            ("m", Value::Map([("k".to_string(), nested)].into())),
            ("request_id", text("r")),
            ("e", Value::Enum(0, "X".into())),
            ("video_id", Value::Int(9)),
            ("n", Value::Array(vec![Value::Null, Value::Null])),
        ],
    );
    let event = decoder(&schema).decode(&record, 0).unwrap();
    assert_eq!((event.video.0, event.event_time_ms, event.record_time_ms), (9, TIME_MS, None));
    for length in 0..record.len() {
        let error = decoder(&schema).decode(&record[..length], 0).unwrap_err().to_string();
        assert!(error.starts_with("invalid Avro for its schema: "), "{length}: {error}");
    }
    let longer = [&record[..], &[0]].concat();
    let error = decoder(&schema).decode(&longer, 0).unwrap_err().to_string();
    assert_eq!(error, "invalid Avro for its schema: trailing bytes");
}

#[test]
fn referenced_schemas_are_found() {
    let main = schema_of([r#""other.Id""#, PLAIN[1], PLAIN[2], PLAIN[3]]);
    let other = r#"{"type":"fixed","name":"Id","namespace":"other","size":16}"#.to_string();
    let references = [("other.Id".to_string(), other)];
    let decoder = AvroDecoder::new(&FieldNames::default(), &main, &references).unwrap();
    let record = [&uuid_bits()[..], &[2, 2, 0]].concat();
    assert_eq!(decoder.decode(&record, 0).unwrap().request, RequestId::parse(UUID).unwrap());
    assert!(AvroDecoder::new(&FieldNames::default(), &main, &[]).is_err());
    for wrong in ["", "{}", r#""long""#, r#"{"type":"record"}"#] {
        assert!(AvroDecoder::new(&FieldNames::default(), wrong, &[]).is_err(), "{wrong}");
    }
}

#[test]
fn a_missing_field_is_reported() {
    let schema = schema(r#"{"name":"request_id","type":"string"}"#);
    let record = written(&schema, vec![("request_id", text("r"))]);
    let error = decoder(&schema).decode(&record, 0).unwrap_err();
    assert_eq!(error, DecodeError::Missing("video_id".into()));
}

#[test]
fn a_claimed_length_allocates_nothing() {
    let list = schema(r#"{"name":"next","type":["null","t.Play"]}"#);
    let deep = vec![2; 10_000_000];
    let error = decoder(&list).decode(&deep, 0).unwrap_err().to_string();
    assert_eq!(error, "invalid Avro for its schema: nested too deeply");
    let nulls = schema(r#"{"name":"n","type":{"type":"array","items":"null"}}"#);
    let many = [&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01][..], &[0]].concat();
    let error = decoder(&nulls).decode(&many, 0).unwrap_err();
    assert_eq!(error, DecodeError::Missing("request_id".into()));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = decoder(&schema_of(PLAIN)).decode(&bytes, 0);
    }

    #[test]
    fn records_written_by_apache_avro_are_read(
        id in "[a-z]{1,40}", video in 0..i64::MAX, time_ms in 0..2_000_000_000_000_i64,
    ) {
        let record_time = Value::Union(1, Box::new(Value::Long(time_ms)));
        let values = [text(&id), Value::Long(video), Value::Long(time_ms), record_time];
        let event = decode(PLAIN, values).unwrap();
        prop_assert_eq!(event.request, RequestId::parse(&id).unwrap());
        prop_assert_eq!(event.video.0, video as u64);
        prop_assert_eq!((event.event_time_ms, event.record_time_ms), (time_ms, Some(time_ms)));
    }
}
