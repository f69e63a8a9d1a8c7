//! Tests with Protobuf messages from `prost-reflect`, which shares no code with the decoder.

use super::*;
use crate::event::RequestId;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use proptest::prelude::*;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use protox::prost_reflect::prost::Message;
use protox::prost_reflect::{DynamicMessage, MessageDescriptor, Value};

const TIME_MS: i64 = 1_767_225_600_123;

fn schema(types: [&str; 4], more: &str) -> String {
    let [request, video, event_time, record_time] = types;
    format!(
        "syntax = \"proto3\"; import \"google/protobuf/timestamp.proto\"; package t;
         message Play {{ {request} request_id = 1; {video} video_id = 200;
         {event_time} event_time = 3;
         {record_time} record_time = 4; {more} }}"
    )
}

/// Returns the message type at `indexes`, compiled by protox, and a decoder of it.
fn both(text: &str, indexes: &[usize]) -> (MessageDescriptor, ProtobufDecoder) {
    let schema = ProtobufSchema::new(text, &[]).unwrap();
    let decoder = ProtobufDecoder::new(&FieldNames::default(), &schema, indexes).unwrap();
    (compiled(text, schema.name_of(indexes).unwrap()), decoder)
}

/// Returns a message type, compiled by protox.
fn compiled(text: &str, name: &str) -> MessageDescriptor {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Root(text.into()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.open_file("root.proto").unwrap();
    compiler.descriptor_pool().get_message_by_name(name).unwrap()
}

/// A file in memory.
struct Root(String);

impl FileResolver for Root {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            "root.proto" => File::from_source(name, &self.0),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

fn written(kind: &MessageDescriptor, values: &[(&str, Value)]) -> Vec<u8> {
    let mut message = DynamicMessage::new(kind.clone());
    for (name, value) in values {
        message.set_field_by_name(name, value.clone());
    }
    message.encode_to_vec()
}

/// Confluent's Python client registers a schema as a serialized file descriptor in Base64, and
/// registries that do not parse it return it in this form.
#[test]
fn a_schema_may_be_a_serialized_description() {
    let text = schema(PLAIN, "");
    let file = File::from_source("elsewhere/event.proto", &text).unwrap();
    let bytes = BASE64.encode(file.file_descriptor_proto().encode_to_vec());
    let schema = ProtobufSchema::new(&bytes, &[]).unwrap();
    let decoder = ProtobufDecoder::new(&FieldNames::default(), &schema, &[0]).unwrap();
    let kind = compiled(&text, "t.Play");
    let values = [("request_id", Value::String("r".into())), ("video_id", Value::U64(7))];
    let message = written(&kind, &[&values[..], &[("event_time", Value::I64(TIME_MS))]].concat());
    assert_eq!(decoder.decode(&message, 5).unwrap().video.0, 7);
}

const PLAIN: [&str; 4] = ["string", "uint64", "int64", "int64"];

/// Writes and decodes a message with one field of another type and value.
fn with(at: usize, kind: &str, value: Value) -> Result<Event, String> {
    let names = ["request_id", "video_id", "event_time", "record_time"];
    let (mut types, text) = (PLAIN, Value::String("r".into()));
    let mut values = [text, Value::U64(7), Value::I64(TIME_MS), Value::I64(TIME_MS)];
    types[at] = kind;
    values[at] = value;
    let (kind, decoder) = both(&schema(types, ""), &[0]);
    let values: Vec<_> = names.into_iter().zip(values).collect();
    decoder.decode(&written(&kind, &values), 5).map_err(|error| error.to_string())
}

#[test]
fn a_valid_message_is_an_event() {
    let event = with(0, "string", Value::String("r".into())).unwrap();
    assert_eq!((event.request, event.offset), (RequestId::parse("r").unwrap(), 5));
    assert_eq!((event.video.0, event.event_time_ms), (7, TIME_MS));
    assert_eq!(event.record_time_ms, Some(TIME_MS));
    let uuid = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128;
    let bytes = Value::Bytes(uuid.to_be_bytes().to_vec().into());
    assert_eq!(with(0, "bytes", bytes).unwrap().request, RequestId::from_u128(uuid));
}

#[test]
fn a_video_id_is_of_any_kind_of_integer() {
    let video = |kind, value| with(1, kind, value).map(|event| event.video.0);
    assert_eq!(video("uint64", Value::U64(u64::MAX)), Ok(u64::MAX));
    assert_eq!(video("fixed64", Value::U64(u64::MAX)), Ok(u64::MAX));
    assert_eq!(video("int64", Value::I64(i64::MAX)), Ok(i64::MAX as u64));
    assert_eq!(video("sint64", Value::I64(4)), Ok(4));
    assert_eq!(video("sfixed64", Value::I64(4)), Ok(4));
    assert_eq!(video("uint32", Value::U32(u32::MAX)), Ok(u32::MAX.into()));
    assert_eq!(video("fixed32", Value::U32(u32::MAX)), Ok(u32::MAX.into()));
    assert_eq!(video("string", Value::String("42".into())), Ok(42));
    for kind in ["int64", "sint64", "sfixed64"] {
        let error = video(kind, Value::I64(-4)).unwrap_err();
        assert!(error.starts_with("`video_id` is a negative integer, expected"), "{error}");
    }
    for kind in ["int32", "sint32", "sfixed32"] {
        assert_eq!(video(kind, Value::I32(4)), Ok(4));
        assert!(video(kind, Value::I32(-4)).unwrap_err().contains("a negative integer"));
    }
    let error = video("repeated uint64", Value::List(vec![Value::U64(1)])).unwrap_err();
    assert!(error.starts_with("`video_id` is a list, expected"), "{error}");
    let error = video("bool", Value::Bool(true)).unwrap_err();
    assert!(error.starts_with("`video_id` is a boolean, expected"), "{error}");
}

#[test]
fn a_time_is_milliseconds_a_timestamp_or_a_text() {
    let time = |kind, value| with(2, kind, value).map(|event| event.event_time_ms);
    let kind = "google.protobuf.Timestamp";
    let stamp = |seconds: i64, nanos: i32| {
        let (play, _) = both(&schema([PLAIN[0], PLAIN[1], kind, PLAIN[3]], ""), &[0]);
        let field = play.get_field_by_name("event_time").unwrap();
        let mut stamp = DynamicMessage::new(field.kind().as_message().unwrap().clone());
        stamp.set_field_by_name("seconds", Value::I64(seconds));
        stamp.set_field_by_name("nanos", Value::I32(nanos));
        time(kind, Value::Message(stamp))
    };
    assert_eq!(stamp(TIME_MS / 1_000, 123_999_999), Ok(TIME_MS));
    assert_eq!(stamp(-1, 999_000_000), Ok(-1));
    assert!(stamp(i64::MAX, 0).unwrap_err().contains("out of range"));
    assert_eq!(time("string", Value::String("1970-01-01T00:00:00Z".into())), Ok(0));
    assert_eq!(time("sfixed64", Value::I64(-5)), Ok(-5));
    assert!(time("double", Value::F64(1.0)).unwrap_err().contains("a floating-point number"));
}

#[test]
fn a_missing_field_is_reported_or_has_its_default() {
    let (kind, decoder) = both(&schema(PLAIN, ""), &[0]);
    let decode = |values: &[(&str, Value)]| decoder.decode(&written(&kind, values), 0);
    let id = ("request_id", Value::String("r".into()));
    let time = ("event_time", Value::I64(1));
    assert_eq!(decode(std::slice::from_ref(&time)), Err(DecodeError::EmptyId("request_id".into())));
    let missing = DecodeError::Missing("event_time".into());
    assert_eq!(decode(std::slice::from_ref(&id)), Err(missing));
    let event = decode(&[id.clone(), time.clone()]).unwrap();
    assert_eq!((event.video.0, event.record_time_ms), (0, None));
    let (kind, decoder) = both(&schema(["string", "optional uint64", "int64", "int64"], ""), &[0]);
    let message = written(&kind, &[id, time]);
    assert_eq!(decoder.decode(&message, 0), Err(DecodeError::Missing("video_id".into())));
}

#[test]
fn nested_types_are_found_by_their_indexes() {
    let text = "syntax = \"proto3\";
        message A { message X { string x = 1; }
          message B { string request_id = 1; uint64 video_id = 2; int64 event_time = 3; } }
        message C { string request_id = 3; uint64 video_id = 2; int64 event_time = 1;
          map<string, A.B> others = 4; repeated sint32 packed = 5; }";
    let id = Value::String("r".into());
    let values = [("request_id", id), ("video_id", Value::U64(8)), ("event_time", Value::I64(9))];
    for (at, name) in [(&[0, 1][..], "A.B"), (&[1], "C")] {
        let (kind, decoder) = both(text, at);
        assert_eq!(kind.full_name(), name);
        let event = decoder.decode(&written(&kind, &values), 0).unwrap();
        assert_eq!((event.video.0, event.event_time_ms), (8, 9));
    }
    let schema = ProtobufSchema::new(text, &[]).unwrap();
    for at in [&[2][..], &[0, 2], &[0, 0, 0], &[]] {
        assert!(ProtobufDecoder::new(&FieldNames::default(), &schema, at).is_err(), "{at:?}");
    }
}

#[test]
fn the_indexes_of_a_message_type_are_read() {
    assert_eq!(split_indexes(&[0, 9]), Ok((vec![0], &[9][..])));
    assert_eq!(split_indexes(&[2, 2, 9]), Ok((vec![1], &[9][..])));
    assert_eq!(split_indexes(&[4, 0, 2]), Ok((vec![0, 1], &[][..])));
    for wrong in [&[][..], &[2], &[1], &[4, 2], &[2, 1], &[0xfe, 0xff, 0xff, 0x01]] {
        assert!(split_indexes(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn imported_schemas_are_found() {
    let text =
        "syntax = \"proto3\"; import \"other/when.proto\"; message P { string request_id = 1;
        uint64 video_id = 2; int64 event_time = 3; w.When when = 4; }";
    let other = "syntax = \"proto3\"; package w; message When { int64 a = 1; }";
    let references = [("other/when.proto".to_string(), other.to_string())];
    assert!(ProtobufSchema::new(text, &references).is_ok());
    // The import is of no wanted field.
    assert!(ProtobufSchema::new(text, &[]).is_ok());
    assert!(ProtobufSchema::new(text, &[("other/when.proto".into(), "when".into())]).is_err());
}

#[test]
fn the_last_of_repeated_fields_wins_and_garbage_is_reported() {
    let (kind, decoder) = both(&schema(PLAIN, ""), &[0]);
    let id = ("request_id", Value::String("r".into()));
    let message = written(&kind, &[id, ("event_time", Value::I64(1))]);
    let later = written(&kind, &[("event_time", Value::I64(2))]);
    let twice = [message.clone(), later].concat();
    assert_eq!(decoder.decode(&twice, 0).unwrap().event_time_ms, 2);
    let told = |message: &[u8]| decoder.decode(message, 0).unwrap_err().to_string();
    assert_eq!(told(&message[..2]), "invalid Protobuf for its schema: unexpected end of data");
    assert_eq!(told(&[0x0a, 1, 0xff]), "invalid Protobuf for its schema: a string is not UTF-8");
    let wrong = "invalid Protobuf for its schema: the wire type does not match the field's type";
    assert_eq!(told(&[0x08, 1]), wrong);
    assert_eq!(told(&[0x00, 1]), "invalid Protobuf for its schema: invalid field number");
    let deep = vec![0x4b; 1_000_000];
    assert_eq!(told(&deep), "invalid Protobuf for its schema: nested too deeply");
    let group = [&[0x4b, 0x50, 1, 0x4c][..], &message].concat();
    assert!(decoder.decode(&group, 0).is_ok());
}

/// Each text, and the beginning of what is wrong with it.
#[test]
fn what_is_no_source_is_refused_with_the_reason() {
    for (text, reason) in [
        ("no schema", "`no` in place of a definition"),
        ("message {", "`{` in place of the name of a message"),
        ("message A", "it ends before `{`"),
        ("message A { string", "it ends before the name of a field"),
        ("message A { string a = 0; }", "the number of the field `a` is not valid"),
        ("message A { string a = 536870912; }", "the number of the field `a` is not valid"),
        ("message A { string a = 1 }", "`}` in place of `;`"),
        ("message A { string a = 1; ", "it ends before a field"),
        ("/* message", "a comment does not end"),
        ("import \"a", "a string does not end"),
        (&"message A {".repeat(100_000), "messages are nested too deeply"),
        (&"message A { optional group A = 1 {".repeat(100_000), "messages are nested too deeply"),
    ] {
        let error = ProtobufSchema::new(text, &[]).err().unwrap();
        assert!(error.starts_with(reason), "{}: {error}", &text[..text.len().min(80)]);
    }
}

/// Everything that a source can have, as protox reads it too.
const EVERYTHING: &str = r#"// A comment
/* and ; another } */ syntax = "proto2" ; package a.b ; import public "x;y.proto";
import weak 'z.proto'; option java_package = "a;b\"}"; option (o).x = { a: "}" b { c: 1 } };
message M { /* ; */ option deprecated = true; reserved 2, 15, 9 to 11; reserved "foo", "bar";
  extensions 100 to 199; extensions 500 to max [verification = UNVERIFIED];
  required string s = 1 [default = "];", (x.y) = { z: [1, 2] }]; optional .a.b.E e = 0x3;
  repeated int32 r = 017 [packed = true]; map<string, M.N> m = 5; map < int32 , bytes > k = 6;
  optional group G = 7 { optional int64 inner = 1; message H { } } oneof choice { option o = 1;
    string c1 = 8; group C2 = 20 { optional bool b = 1; } a.b.M c3 = 21; }
  message N { repeated N n = 1; enum V { X = 0; } optional V v = 2; 
    extend M { optional int32 z = 120; } }
  enum F { option allow_alias = true; A = 0; B = 0 [deprecated = true]; C = -1; }
  optional sint64 message = 30; optional sfixed32 enum = 31; optional fixed64 oneof = 32; ; }
enum E { Q = 1; } extend M { optional string ext = 111; repeated group Ext = 112 { } }
service S { option x = 1; rpc A (M) returns (stream M) {
    option idempotency_level = NO_SIDE_EFFECTS; }
  rpc B(stream .a.b.M) returns (M); } ; message Last { optional bytes z = 1; }"#;

/// Two readers of the same declarations: of the source, and of the description that protox makes.
#[track_caller]
fn check_source(text: &str) {
    let file = File::from_source("root.proto", text).unwrap();
    let described = declared::described(&file.file_descriptor_proto().encode_to_vec()).unwrap();
    assert_eq!(source::parse(text).unwrap(), described, "{text}");
}

#[test]
fn a_source_declares_what_protox_reads_in_it() {
    check_source(EVERYTHING);
    check_source(&schema(PLAIN, "optional string o = 9; oneof x { int32 y = 8; } reserved 10;"));
    check_source("");
    check_source("syntax = \"proto2\"; message A { optional .A.B c = 1; message B {} }");
}

/// `EDITION` stands for what differs: the options of the file, and of the field.
fn edition(file: &str, field: &str) -> String {
    format!(
        r#"edition = "2023"; package com.x; import option "google/protobuf/go_features.proto";
        {file} import "google/protobuf/timestamp.proto";
        export message Play {{ reserved foo, bar; string request_id = 1;
        uint64 video_id = 2 {field}; google.protobuf.Timestamp event_time = 3;
        int64 record_time = 4; Inside inside = 5 [features.message_encoding = DELIMITED];
        local message Inside {{ string id = 1; }} }}"#
    )
}

#[test]
fn a_schema_of_an_edition_is_read() {
    let message = [&[0x0a, 1, b'a', 0x10, 7, 0x1a, 2, 0x08, 9][..]].concat();
    let read = |text: &str, fields: &FieldNames, message: &[u8]| {
        let schema = ProtobufSchema::new(text, &[]).unwrap();
        let event = ProtobufDecoder::new(fields, &schema, &[0]).unwrap().decode(message, 0);
        event.map(|event| (event.request, event.video.0, event.event_time_ms))
    };
    let plain = FieldNames::default();
    let id = |text: &str| RequestId::parse(text).unwrap();
    assert_eq!(read(&edition("", ""), &plain, &message), Ok((id("a"), 7, 9_000)));
    // A field tells whether it is present, unless a feature says otherwise.
    let without = [&message[..3], &message[5..]].concat();
    let missing = Err(DecodeError::Missing("video_id".into()));
    let implicit = "[features.field_presence = IMPLICIT]";
    let of_file = "option features.field_presence = IMPLICIT;";
    let explicit = "[deprecated = true, features.field_presence = EXPLICIT]";
    assert_eq!(read(&edition("", ""), &plain, &without), missing);
    assert_eq!(read(&edition("", implicit), &plain, &without), Ok((id("a"), 0, 9_000)));
    assert_eq!(read(&edition(of_file, ""), &plain, &without), Ok((id("a"), 0, 9_000)));
    assert_eq!(read(&edition(of_file, explicit), &plain, &without), missing);
    // A message between the ends of a group.
    let group = [&message[..], &[0x2b, 0x0a, 1, b'g', 0x2c]].concat();
    let inside = FieldNames { request_id: "inside.id".parse().unwrap(), ..plain };
    assert_eq!(read(&edition("", ""), &inside, &group), Ok((id("g"), 7, 9_000)));
}

/// Confluent's clients and registry know these imports, and do not hand them out.
#[test]
fn known_imports_need_not_be_given() {
    for (import, field) in [
        ("confluent/meta.proto", "string q = 9 [(confluent.field_meta).doc = \"x\"];"),
        ("confluent/type/decimal.proto", "confluent.type.Decimal p = 9;"),
        ("google/type/date.proto", "google.type.Date d = 9;"),
        ("google/api/annotations.proto", "string q = 9 [(google.api.field_behavior) = REQUIRED];"),
    ] {
        let text = format!("{} import \"{import}\";", schema(PLAIN, field));
        let schema = ProtobufSchema::new(&text, &[]).unwrap();
        let decoder = ProtobufDecoder::new(&FieldNames::default(), &schema, &[0]).unwrap();
        let message = [0x0a, 1, b'a', 0xc0, 0x0c, 7, 0x18, 9];
        assert_eq!(decoder.decode(&message, 0).unwrap().video.0, 7, "{import}");
    }
    let text = schema([PLAIN[0], "confluent.type.Decimal", PLAIN[2], PLAIN[3]], "");
    let schema = ProtobufSchema::new(&text, &[]).unwrap();
    let decoder = ProtobufDecoder::new(&FieldNames::default(), &schema, &[0]).unwrap();
    let error = decoder.decode(&[0x0a, 1, b'a', 0xc2, 0x0c, 0, 0x18, 9], 0).unwrap_err();
    let expected = "`video_id` is of a type that its schema does not define, expected";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn a_wrapped_value_is_read_and_may_be_absent() {
    let wrapper = |name: &str| format!("google.protobuf.{name}Value");
    let read = |at: usize, kind: &str, field: &[u8]| {
        let kind = wrapper(kind);
        let mut types = PLAIN;
        types[at] = &kind;
        let plain: [&[u8]; 3] = [&[0x0a, 1, b'r'], &[0xc0, 0x0c, 7], &[0x18, 9]];
        let rest = (0..3).filter(|other| *other != at).flat_map(|at| plain[at].to_vec());
        let message = [field, &rest.collect::<Vec<u8>>()].concat();
        // Wrappers need no import to be known.
        let schema = ProtobufSchema::new(&schema(types, ""), &[]).unwrap();
        let decoder = ProtobufDecoder::new(&FieldNames::default(), &schema, &[0]).unwrap();
        decoder.decode(&message, 0)
    };
    assert_eq!(
        read(0, "String", &[0x0a, 3, 0x0a, 1, b'a']).unwrap().request,
        RequestId::parse("a").unwrap()
    );
    assert_eq!(read(0, "String", &[0x0a, 0]), Err(DecodeError::EmptyId("request_id".into())));
    assert_eq!(read(0, "String", &[]), Err(DecodeError::Missing("request_id".into())));
    for kind in ["UInt64", "Int64", "UInt32", "Int32"] {
        assert_eq!(read(1, kind, &[0xc2, 0x0c, 2, 0x08, 8]).unwrap().video.0, 8);
        assert_eq!(read(1, kind, &[0xc2, 0x0c, 0]).unwrap().video.0, 0);
        assert_eq!(read(1, kind, &[]), Err(DecodeError::Missing("video_id".into())));
        assert_eq!(read(3, kind, &[0x22, 2, 0x08, 8]).unwrap().record_time_ms, Some(8));
        assert_eq!(read(3, kind, &[]).unwrap().record_time_ms, None);
    }
    let error = read(1, "Double", &[0xc2, 0x0c, 0]).unwrap_err().to_string();
    assert!(error.starts_with("`video_id` is a floating-point number"), "{error}");
}

#[test]
fn fields_inside_others_are_found_by_their_paths() {
    let text = "syntax = \"proto3\"; package t; message Play { Inside p = 1; int64 event_time = 3;
        repeated Inside list = 5; message Inside { string id = 1; uint64 n = 2; Inside more = 4;
        optional uint64 o = 6; } }";
    let schema = ProtobufSchema::new(text, &[]).unwrap();
    let read = |request_id: &str, video_id: &str, message: &[u8]| {
        let path = |text: &str| text.parse().unwrap();
        let (request_id, video_id) = (path(request_id), Some(path(video_id)));
        let fields = FieldNames { request_id, video_id, ..FieldNames::default() };
        let event = ProtobufDecoder::new(&fields, &schema, &[0]).unwrap().decode(message, 0);
        event.map(|event| event.video.0).map_err(|error| error.to_string())
    };
    // p { id "a" more { id "b" n 8 } } event_time 9, and again p { n 5 }, which is merged.
    let message =
        [0x0a, 10, 0x0a, 1, b'a', 0x22, 5, 0x0a, 1, b'b', 0x10, 8, 0x18, 9, 0x0a, 2, 0x10, 5];
    assert_eq!(read("p.id", "p.more.n", &message), Ok(8));
    assert_eq!(read("p.more.id", "p.n", &message), Ok(5));
    assert_eq!(read("p.more.id", "p.n", &message[..14]), Ok(0));
    assert_eq!(read("p.id", "p.o", &message), Err("missing field `p.o`".into()));
    assert_eq!(
        read("p.id", "p.more.more.n", &message),
        Err("missing field `p.more.more.n`".into())
    );
    assert_eq!(read("list.id", "p.n", &message), Err("missing field `list.id`".into()));
}

proptest! {
    #![proptest_config(crate::fixtures::cases(256))]

    #[test]
    fn bytes_are_decoded_as_prost_does_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        static BOTH: std::sync::OnceLock<(MessageDescriptor, ProtobufDecoder)> =
            std::sync::OnceLock::new();
        let (kind, decoder) = BOTH.get_or_init(|| both(&schema(PLAIN, ""), &[0]));
        if let Ok(event) = decoder.decode(&bytes, 0) {
            let message = DynamicMessage::decode(kind.clone(), &bytes[..]).unwrap();
            let video = message.get_field_by_name("video_id").unwrap();
            prop_assert_eq!(video.as_u64(), Some(event.video.0));
        }
    }

    /// Parts of a source in any order, and cut anywhere.
    #[test]
    fn no_source_makes_it_panic(
        places in proptest::collection::vec((0..EVERYTHING.len(), 0..40_usize), 0..12),
        other in "[ -~]{0,40}",
    ) {
        let part = |(at, length): (usize, usize)| {
            &EVERYTHING[at..EVERYTHING.len().min(at + length)]
        };
        let text: String = places.into_iter().map(part).collect();
        for text in [format!("message A {{ {text}"), text + &other] {
            let _ = ProtobufSchema::new(&text, &[]);
        }
    }

    #[test]
    fn no_description_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = declared::described(&bytes);
        let _ = split_indexes(&bytes);
    }
}
