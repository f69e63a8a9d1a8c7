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

/// A field of every type, in which nothing but the bytes matters.
#[test]
fn what_registries_accept_is_read() {
    let typed = |namespace: &str, field: &str| {
        format!(
            r#"{{"type":"record","name":"Imp","namespace":"{namespace}","fields":[
            {{"name":"request_id","type":"string"}},{{"name":"video_id","type":"long"}},
            {{"name":"event_time","type":"long"}}{field}]}}"#
        )
    };
    let record = [&[2, b'a', 14], &[0x02][..]].concat();
    for (namespace, field, bytes) in [
        ("abc-123.tables", "", &[][..]),
        ("com.2024.x", "", &[]),
        ("com.x.Events$", "", &[]),
        ("", r#",{"name":"r","type":"string","default":null}"#, &[2, b'x']),
        ("", r#",{"name":"r","type":"int","default":"0"}"#, &[10]),
        ("", r#",{"name":"r","type":["null","long"],"default":""}"#, &[0]),
        ("", r#",{"name":"1-a$","type":{"type":{"type":"int"}}}"#, &[10]),
        ("", r#",{"name":"e","type":{"type":"enum","name":"é","symbols":["a-b",""]}}"#, &[2]),
        ("", r#",{"name":"u","type":["string",{"type":"string","x":1}]}"#, &[2, 2, b'y']),
        (
            "a",
            r#",{"name":"e","type":{"type":"fixed","name":"b.F","size":1}},
            {"name":"f","type":"b.F"},{"name":"again","type":["null","Imp"]}"#,
            &[1, 2, 0],
        ),
        (
            "a",
            r#",{"name":"e","type":{"type":"fixed","namespace":"","name":"F","size":1}},
            {"name":"f","type":"F"}"#,
            &[1, 2],
        ),
        ("a", r#",{"name":"t","type":"long","aliases":5,"order":"up","doc":{}}"#, &[4]),
        ("a", r#",{"name":"t","type":{"type":"string","logicalType":"timestamp-millis"}}"#, &[0]),
    ] {
        let decoder = decoder(&typed(namespace, field));
        let event = decoder.decode(&[&record[..], bytes].concat(), 0);
        let event = event.unwrap_or_else(|error| panic!("{namespace} {field}: {error}"));
        assert_eq!((event.video.0, event.event_time_ms), (7, 1), "{namespace} {field}");
    }
}

#[test]
fn what_is_no_schema_of_records_is_refused_with_the_reason() {
    let refused = |schema: &str, reason: &str| {
        let error = AvroDecoder::new(&FieldNames::default(), schema, &[]).err();
        let error = error.unwrap_or_else(|| panic!("{schema} is accepted"));
        assert!(error.contains(reason), "{schema}: {error}");
    };
    refused("no schema", "it is not JSON");
    refused(r#""string""#, "neither a record nor a union");
    refused(r#"["null","string"]"#, "neither a record nor a union");
    refused("5", "a type is 5");
    refused("{}", "a type has no `type`");
    refused(r#"{"type":"record","name":"R"}"#, "record has no `fields`");
    refused(r#"{"type":"record","fields":[]}"#, "has no name");
    refused(&schema(r#"{"name":"a","type":"B"}"#), "its type `t.B` is not defined");
    refused(&schema(r#"{"name":"a"}"#), "field `a` has no type");
    refused(&schema(r#"{"name":"a","type":{"type":"array"}}"#), "array has no `items`");
    let deep = format!("{}5{}", r#"{"type":"#.repeat(200), "}".repeat(200));
    refused(&deep, "it is not JSON: recursion limit exceeded");
}

/// Confluent's way of several types of events in a topic.
#[test]
fn a_union_of_records_is_read_by_its_branch() {
    let record = |name: &str, fields: &str| {
        let text = schema(fields).replace("\"Play\"", &format!("\"{name}\""));
        (format!("t.{name}"), text)
    };
    let plain = r#"{"name":"request_id","type":"string"},{"name":"video_id","type":"long"},
        {"name":"event_time","type":"long"}"#;
    let references = [record("A", plain), record("B", r#"{"name":"x","type":"int"}"#)];
    let schema = r#"["null","t.B","t.A"]"#;
    let decoder = AvroDecoder::new(&FieldNames::default(), schema, &references).unwrap();
    let event = decoder.decode(&[4, 2, b'a', 14, 2], 0).unwrap();
    assert_eq!((event.video.0, event.event_time_ms), (7, 1));
    let missing = DecodeError::Missing("request_id".into());
    assert_eq!(decoder.decode(&[2, 2], 0), Err(missing));
    let told = |record: &[u8]| decoder.decode(record, 0).unwrap_err().to_string();
    assert!(told(&[0]).starts_with("`request_id` is null, expected"));
    assert!(told(&[6]).ends_with("invalid branch of a union"));
}

fn at(request_id: &str, video_id: &str) -> FieldNames {
    let path = |text: &str| text.parse().unwrap();
    let (request_id, video_id) = (path(request_id), Some(path(video_id)));
    FieldNames { request_id, video_id, ..FieldNames::default() }
}

#[test]
fn fields_inside_others_are_found_by_their_paths() {
    let schema = schema(
        r#"{"name":"event_time","type":"long"},{"name":"payload","type":["null",{"type":"record",
        "name":"P","fields":[{"name":"id","type":["string","null"]},{"name":"n","type":"int"},
        {"name":"inside","type":["null","P"]}]}]},{"name":"last","type":"P"}"#,
    );
    let decoder =
        |request_id, video_id| AvroDecoder::new(&at(request_id, video_id), &schema, &[]).unwrap();
    // event_time 1, payload { id "a", n 7, inside { id null, n 8, inside null } },
    // last { id "b", n 9, inside null }
    let record = [2, 2, 0, 2, b'a', 14, 2, 2, 16, 0, 0, 2, b'b', 18, 0];
    for (request_id, video_id, found) in [
        ("payload.id", "payload.n", (Some("a"), 7)),
        ("payload.id", "payload.inside.n", (Some("a"), 8)),
        ("last.id", "payload.inside.n", (Some("b"), 8)),
        ("payload.inside.id", "last.n", (None, 9)),
    ] {
        let event = decoder(request_id, video_id).decode(&record, 0);
        match (found.0, event) {
            (Some(id), Ok(event)) => {
                assert_eq!(event.request, RequestId::parse(id).unwrap(), "{request_id}");
                assert_eq!(event.video.0, found.1, "{video_id}");
            }
            (None, Err(error)) => assert!(error.to_string().contains("is null"), "{error}"),
            (_, event) => panic!("{request_id}: {event:?}"),
        }
    }
    let without = [2, 0, 0, 2, b'b', 18, 0];
    let error = decoder("payload.id", "last.n").decode(&without, 0).unwrap_err().to_string();
    assert!(error.starts_with("`payload.id` is null"), "{error}");
    let error = decoder("payload.x.id", "last.n").decode(&record, 0).unwrap_err();
    assert_eq!(error, DecodeError::Missing("payload.x.id".into()));
}

#[test]
fn a_decimal_without_fraction_is_an_integer() {
    let decimal = |scale| format!(r#"{{"type":"bytes","logicalType":"decimal","scale":{scale}}}"#);
    let decode = |kind: &str, bytes: &[u8]| {
        let schema = schema_of([PLAIN[0], kind, PLAIN[2], PLAIN[3]]);
        let record = [&[2, b'a'][..], bytes, &[2, 0]].concat();
        decoder(&schema).decode(&record, 0).map(|event| event.video.0)
    };
    assert_eq!(decode(&decimal(0), &[2, 7]), Ok(7));
    assert_eq!(decode(&decimal(0), &[0]), Ok(0));
    let largest = [&[18, 0][..], &[0xff; 8]].concat();
    assert_eq!(decode(&decimal(0), &largest), Ok(u64::MAX));
    let told = |kind: &str, bytes: &[u8]| decode(kind, bytes).unwrap_err().to_string();
    assert!(told(&decimal(0), &[2, 0xff]).contains("a negative integer"));
    assert!(told(&decimal(0), &[&[40, 1][..], &[0; 19]].concat()).contains("more than 64 bits"));
    assert!(told(&decimal(2), &[2, 7]).contains("a decimal with a fraction"));
    let fixed = r#"{"type":"fixed","name":"D","size":3,"logicalType":"decimal"}"#;
    assert_eq!(decode(fixed, &[0, 1, 0]), Ok(256));
}

/// Each of the nested records has two of the one before, and none takes a byte.
#[test]
fn the_work_for_a_record_is_bounded_by_its_length() {
    let mut inner = r#"{"type":"record","name":"E0","fields":[]}"#.to_string();
    for level in 1..28 {
        let before = level - 1;
        inner = format!(
            r#"{{"type":"record","name":"E{level}","fields":[{{"name":"a","type":{inner}}},
            {{"name":"b","type":"E{before}"}}]}}"#
        );
    }
    let schema = schema(&format!(r#"{{"name":"x","type":{inner}}}"#));
    let started = std::time::Instant::now();
    let error = decoder(&schema).decode(&[], 0).unwrap_err().to_string();
    assert!(error.ends_with("it has too many values for its length"), "{error}");
    assert!(started.elapsed().as_secs() < 1, "{:?}", started.elapsed());
}

proptest! {
    #![proptest_config(crate::fixtures::cases(256))]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = decoder(&schema_of(PLAIN)).decode(&bytes, 0);
    }

    #[test]
    fn no_schema_makes_it_panic(schema in "[\\[\\]{}:,\"a-e.]{0,60}", rest in schemas()) {
        for schema in [schema, rest] {
            if let Ok(decoder) = AvroDecoder::new(&FieldNames::default(), &schema, &[]) {
                let _ = decoder.decode(&[0; 40], 0);
            }
        }
    }

    #[test]
    fn records_written_by_apache_avro_are_read(
        id in "[a-z]{1,40}", video in 0..i64::MAX, time_ms in 0..2_000_000_000_000_i64,
        before in values(), after in values(),
    ) {
        let fields = [
            ("x", before.0, before.1),
            ("request_id", PLAIN[0].into(), text(&id)),
            ("video_id", PLAIN[1].into(), Value::Long(video)),
            ("y", after.0, after.1),
            ("event_time", PLAIN[2].into(), Value::Long(time_ms)),
        ];
        let types = fields.iter().map(|(name, kind, _)| {
            format!(r#"{{"name":"{name}","type":{}}}"#, numbered(kind, name))
        });
        let inside = schema(&types.collect::<Vec<_>>().join(",")).replace("Play", "Inside");
        let schema = schema(&format!(r#"{{"name":"p","type":["null",{inside}]}}"#));
        let inside = fields.into_iter().map(|(name, _, value)| (name.to_string(), value));
        let inside = Value::Union(1, Box::new(Value::Record(inside.collect())));
        let record = written(&schema, vec![("p", inside)]);
        let event_time = "p.event_time".parse().unwrap();
        let names = FieldNames { event_time, ..at("p.request_id", "p.video_id") };
        let decoder = AvroDecoder::new(&names, &schema, &[]).unwrap();
        let event = decoder.decode(&record, 0).unwrap();
        prop_assert_eq!(event.request, RequestId::parse(&id).unwrap());
        prop_assert_eq!((event.video.0, event.event_time_ms), (video as u64, time_ms));
        for length in 0..record.len() {
            prop_assert!(decoder.decode(&record[..length], 0).is_err(), "{}", length);
        }
    }
}

/// Gives the named types of a schema names of their own: each has `NAME` and a number.
fn numbered(schema: &str, prefix: &str) -> String {
    let mut parts = schema.split("NAME");
    let first = parts.next().unwrap().to_string();
    let numbered = parts.enumerate().map(|(number, part)| format!("{prefix}{number}{part}"));
    numbered.fold(first, |text, part| text + &part)
}

/// Types with a value of each.
fn values() -> impl Strategy<Value = (String, Value)> {
    let simple = prop_oneof![
        Just((r#""null""#.to_string(), Value::Null)),
        any::<bool>().prop_map(|truth| (r#""boolean""#.to_string(), Value::Boolean(truth))),
        any::<i32>().prop_map(|number| (r#""int""#.to_string(), Value::Int(number))),
        any::<i64>().prop_map(|number| (r#""long""#.to_string(), Value::Long(number))),
        Just((r#""double""#.to_string(), Value::Double(1.5))),
        ".{0,8}".prop_map(|text| (r#""string""#.to_string(), Value::String(text))),
        proptest::collection::vec(any::<u8>(), 0..9)
            .prop_map(|bytes| (r#""bytes""#.to_string(), Value::Bytes(bytes))),
        any::<[u8; 3]>().prop_map(|bytes| (
            r#"{"type":"fixed","name":"NAME","size":3}"#.to_string(),
            Value::Fixed(3, bytes.to_vec())
        )),
        Just((
            r#"{"type":"enum","name":"NAME","symbols":["A","B"]}"#.to_string(),
            Value::Enum(1, "B".into())
        )),
    ];
    simple.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), 0..4_usize).prop_map(|((kind, value), count)| (
                format!(r#"{{"type":"array","items":{kind}}}"#),
                Value::Array(vec![value; count])
            )),
            inner.clone().prop_map(|(kind, value)| (
                format!(r#"{{"type":"map","values":{kind}}}"#),
                Value::Map([("k".to_string(), value)].into())
            )),
            proptest::collection::vec(inner, 0..3).prop_map(|fields| {
                let types = fields
                    .iter()
                    .enumerate()
                    .map(|(at, (kind, _))| format!(r#"{{"name":"f{at}","type":{kind}}}"#));
                let types = types.collect::<Vec<_>>().join(",");
                let values = fields.into_iter().enumerate();
                let values = values.map(|(at, (_, value))| (format!("f{at}"), value));
                let kind = format!(r#"{{"type":"record","name":"NAME","fields":[{types}]}}"#);
                (kind, Value::Record(values.collect()))
            }),
        ]
    })
}

fn schemas() -> impl Strategy<Value = String> {
    values().prop_map(|(kind, _)| schema(&format!(r#"{{"name":"x","type":{kind}}}"#)))
}
