//! Tests with Protobuf messages from `prost-reflect`, which shares no code with the decoder.

use super::*;
use crate::event::RequestId;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use proptest::prelude::*;
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

/// Returns the message type at `indexes`, and a decoder of it.
fn both(text: &str, indexes: &[usize]) -> (MessageDescriptor, ProtobufDecoder) {
    let schema = ProtobufSchema::new(text, &[]).unwrap();
    let decoder = ProtobufDecoder::new(&FieldNames::default(), &schema, indexes).unwrap();
    (schema.message(indexes).unwrap(), decoder)
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
    let file = protox::file::File::from_source("elsewhere/event.proto", &text).unwrap();
    let bytes = file.file_descriptor_proto().encode_to_vec();
    let (kind, decoder) = both(&BASE64.encode(bytes), &[0]);
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
    assert!(ProtobufSchema::new(text, &[]).is_err());
    assert!(ProtobufSchema::new("message {", &[]).is_err());
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

proptest! {
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
}
