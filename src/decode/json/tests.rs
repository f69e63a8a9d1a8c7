//! Tests of which records are accepted, and that the scanner agrees with serde_json.

use super::*;
use crate::event::{RequestId, VideoId};
use crate::fixtures::cases;
use crate::time::{EVENT_TIME_MAX_MS, EVENT_TIME_MIN_MS};
use proptest::collection::vec;
use proptest::prelude::*;

const UUID: &str = "0123abcd-4567-89ab-cdef-0123456789ab";
const COMMON: &str = concat!(
    r#"{"request_id":"0123abcd-4567-89ab-cdef-0123456789ab","video_id":123,"#,
    r#""event_time":1767225600000,"record_time":1767225601000}"#
);

fn decode(record: &str) -> Result<Event, String> {
    let mut decoder = JsonDecoder::new(&FieldNames::default());
    decoder.decode(record.as_bytes(), 7).map_err(|error| error.to_string())
}

fn scans(record: &str) -> bool {
    Scanner::new(&FieldNames::default()).scan(record.as_bytes(), 7).is_some()
}

/// Decodes a record at offset 3 without the scanner.
fn strictly(fields: &FieldNames, record: &[u8]) -> Result<Event, DecodeError> {
    strict::decode(fields, &fields.tree(), record, 3)
}

/// Decodes a record with this value of `event_time`.
fn at(event_time: &str) -> Result<i64, String> {
    decode(&format!(r#"{{"request_id":"r","video_id":1,"event_time":{event_time}}}"#))
        .map(|event| event.event_time_ms)
}

fn showing(video_id: &str) -> Result<u64, String> {
    decode(&format!(r#"{{"request_id":"r","video_id":{video_id},"event_time":0}}"#))
        .map(|event| event.video.0)
}

fn requested(request_id: &str) -> Result<RequestId, String> {
    decode(&format!(r#"{{"request_id":{request_id},"video_id":1,"event_time":0}}"#))
        .map(|event| event.request)
}

fn check(found: Result<impl std::fmt::Debug, String>, expected: &str) {
    assert_eq!(found.unwrap_err(), expected);
}

#[test]
fn a_record_of_the_common_shape_is_an_event() {
    let event = Event {
        offset: 7,
        request: RequestId::parse(UUID).unwrap(),
        video: VideoId(123),
        event_time_ms: 1_767_225_600_000,
        record_time_ms: Some(1_767_225_601_000),
    };
    assert_eq!(decode(COMMON), Ok(event));
    assert!(scans(COMMON));
}

#[test]
fn lines_of_common_shapes_take_the_fast_path() {
    for record in [
        r#" { "video_id" : 0 , "request_id" : "é" , "event_time" : -1 } "#,
        r#"{"event_time":"2026-01-01T00:00:00Z","record_time":null,"video_id":1,"request_id":"r"}"#,
        r#"{"a":{"b":[1, {} ,[ ],"\ud800\n"], "c" : {"video_id":2}},"d":"\"}{",
            "request_id":"r","video_id":1,"event_time":0}"#,
        r#"{"a":-0.5e+7,"b":true,"c":"x","request_id":"r","video_id":1,"event_time":0,"d":null}"#,
    ] {
        assert!(scans(record), "{record}");
        assert!(decode(record).is_ok(), "{record}");
    }
}

#[test]
fn fields_can_have_other_names() {
    let fields = FieldNames { request_id: "page \"id\"".parse().unwrap(), ..FieldNames::default() };
    let record = br#"{"page \"id\"":"r","request_id":7,"video_id":1,"event_time":0}"#;
    let event = JsonDecoder::new(&fields).decode(record, 0).unwrap();
    assert_eq!(event.request, RequestId::parse("r").unwrap());
}

#[test]
fn fields_can_be_inside_other_fields() {
    let mut fields = FieldNames::default();
    for (field, path) in [("request_id", "a.r"), ("video_id", "a.b.v"), ("event_time", r"a\.t")] {
        fields.set(field, path.parse().unwrap());
    }
    let decode = |record: &str| {
        let event = JsonDecoder::new(&fields).decode(record.as_bytes(), 0);
        event.map(|event| event.video.0).map_err(|error| error.to_string())
    };
    for record in [
        r#"{"a":{"r":"r","b":{"v":7}},"a.t":0}"#,
        r#"{"a.t":0,"r":1,"v":2,"a":{"x":{"r":[]},"b":{"v":7,"r":3},"r":"r"},"b":{"v":4}}"#,
        r#"{"a.t":0,"record_time":null,"a":{"\u0062":{"v":7},"r":"r"}}"#,
    ] {
        assert_eq!(decode(record), Ok(7), "{record}");
    }
    for (record, expected) in [
        (r#"{"a":{"r":"r","b":{"x":7}},"a.t":0}"#, "missing field `a.b.v`"),
        (r#"{"a":{"r":"r","b":null},"a.t":0}"#, "missing field `a.b.v`"),
        (r#"{"a":[{"r":"r"}],"a.t":0}"#, "missing field `a.r`"),
        (r#"{"a":{"r":"r","b":{"v":7}},"a":{"t":0}}"#, "duplicate field `a`"),
        (r#"{"a":{"r":"r","r":"r"}}"#, "duplicate field `a.r`"),
        (
            r#"{"a":{"r":{},"b":{"v":7}},"a.t":0}"#,
            "`a.r` is an object, expected a string or the \
          16 bytes of a UUID",
        ),
    ] {
        check(decode(record), expected);
    }
}

#[test]
fn whole_numbers_are_read_exactly_however_they_are_written() {
    for (text, expected) in [
        ("1.0", 1),
        ("-0", 0),
        ("-0.0e-7", 0),
        ("0e999999999999999999999", 0),
        ("1.50e1", 15),
        ("1200e-2", 12),
        ("0.001e3", 1),
        ("1.8446744073709551615e19", u64::MAX),
        ("1844674407370955161500.0e-2", u64::MAX),
        ("9007199254740993.000", 9_007_199_254_740_993),
        ("\"18446744073709551615\"", u64::MAX),
        ("\"007\"", 7),
    ] {
        assert_eq!(showing(text), Ok(expected), "{text}");
    }
    assert_eq!(at("1.7e12"), Ok(1_700_000_000_000));
    assert_eq!(at("-1e3"), Ok(-1_000));
    assert_eq!(at("\"1767225600000\""), Ok(1_767_225_600_000));
    assert_eq!(at("\"-1\""), Ok(-1));
    for text in ["1e30", "-1e30", "\"99999999999999999999\"", "\"-99999999999999999999\""] {
        assert!(at(text).unwrap_err().contains("out of range"), "{text}");
    }
}

#[test]
fn a_string_that_is_not_unicode_is_refused_at_its_column() {
    let record = "{\n \"request_id\":\"\\ud800\",\"video_id\":1,\"event_time\":0}";
    check(decode(record), "not JSON: unexpected end of hex escape at column 22");
}

#[test]
fn unknown_fields_of_any_shape_are_ignored() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let record = format!(r#"{{"deep":{deep},"o":{{"video_id":[]}},{}"#, &COMMON[1..]);
    assert_eq!(decode(&record), decode(COMMON));
}

#[test]
fn a_deeply_nested_value_of_a_required_field_has_the_wrong_type() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    check(
        showing(&deep),
        "`video_id` is an array, expected an unsigned 64-bit integer, as a number or a string",
    );
}

#[test]
fn escapes_in_names_and_values_are_decoded() {
    let record = r#"{"request\u005fid":"\u0072","video_id":1,"event_time":0}"#;
    assert_eq!(decode(record).unwrap().request, RequestId::parse("r").unwrap());
}

#[test]
fn a_video_id_is_any_unsigned_64_bit_integer() {
    assert_eq!(showing("0"), Ok(0));
    assert_eq!(showing("12345678"), Ok(12_345_678));
    assert_eq!(showing("18446744073709551615"), Ok(u64::MAX));
    let expected = "expected an unsigned 64-bit integer, as a number or a string";
    check(showing("\"one\""), &format!("`video_id` is a string, {expected}"));
    for text in ["\"\"", "\"1.0\"", "\"+1\"", "\"-1\"", "\"18446744073709551616\""] {
        check(showing(text), &format!("`video_id` is a string, {expected}"));
    }
    check(showing("-1"), &format!("`video_id` is a negative integer, {expected}"));
    check(showing("null"), &format!("`video_id` is null, {expected}"));
    for text in ["0.5", "1e-1", "1e-99999999999999999999"] {
        check(showing(text), &format!("`video_id` is a number with a fraction, {expected}"));
    }
    for text in ["18446744073709551616", "1e20", "1e99999999999999999999"] {
        let found = "an integer of more than 64 bits";
        check(showing(text), &format!("`video_id` is {found}, {expected}"));
    }
    check(showing("01"), "not JSON: invalid number at column 31");
}

#[test]
fn a_request_id_has_1_to_256_bytes() {
    assert!(requested(&format!("{:?}", "x".repeat(256))).is_ok());
    check(requested("\"\""), "`request_id` is empty");
    let long = format!("{:?}", "x".repeat(257));
    check(requested(&long), "`request_id` is 257 bytes long, expected at most 256");
    check(
        requested("7"),
        "`request_id` is an integer, expected a string or the 16 bytes of a UUID",
    );
}

#[test]
fn an_event_time_is_integer_milliseconds_or_rfc_3339() {
    assert_eq!(at("-1"), Ok(-1));
    assert_eq!(at("\"1970-01-01T00:00:00.0019Z\""), Ok(1));
    assert_eq!(at("\"1969-12-31T23:59:59.9985Z\""), Ok(-2));
    assert_eq!(at("\"1970-01-01T01:00:00+01:00\""), Ok(0));
    check(
        at("\"2026-01-01T00:00:00\""),
        "`event_time` has no zone; append `Z` or an offset such as `+01:00`",
    );
    check(at("\"noon\""), "`event_time` is not a time in RFC 3339, such as `2026-01-01T00:00:00Z`");
    assert!(at("1.5").unwrap_err().starts_with("`event_time` is a number with a fraction"));
}

#[test]
fn an_event_time_lies_within_the_years_1_to_9999() {
    for (limit_ms, outside_ms) in
        [(EVENT_TIME_MIN_MS, EVENT_TIME_MIN_MS - 1), (EVENT_TIME_MAX_MS, EVENT_TIME_MAX_MS + 1)]
    {
        assert_eq!(at(&limit_ms.to_string()), Ok(limit_ms));
        let expected =
            "`event_time` is out of range, expected a time from 0001-01-01 to 9999-12-30";
        check(at(&outside_ms.to_string()), expected);
    }
    assert!(at("18446744073709551615").unwrap_err().contains("out of range"));
    for (time, unit) in
        [("1767225600000000", "microseconds"), ("\"1767225600000000000\"", "nanoseconds")]
    {
        let expected = format!("`event_time` looks like {unit} since 1970, expected milliseconds");
        check(at(time), &expected);
    }
    assert!(at("-9223372036854775808").unwrap_err().contains("out of range"));
}

#[test]
fn a_record_time_may_be_null_or_absent_but_not_wrong() {
    let with = |time: &str| decode(&COMMON.replace("1767225601000", time));
    assert_eq!(with("null").unwrap().record_time_ms, None);
    check(
        with("true"),
        "`record_time` is a boolean, expected a timestamp, integer milliseconds or a string in \
         RFC 3339",
    );
}

#[test]
fn a_malformed_record_is_reported_precisely() {
    for (record, expected) in [
        ("", "not JSON: EOF while parsing a value at column 0"),
        ("[1]", "not a JSON object"),
        ("{}", "missing field `request_id`"),
        (r#"{"request_id":"r","event_time":0}"#, "missing field `video_id`"),
        (r#"{"video_id":1,"video_id":1}"#, "duplicate field `video_id`"),
        ("{\"a\":1} x", "not JSON: trailing characters at column 9"),
    ] {
        check(decode(record), expected);
    }
}

#[test]
fn every_byte_at_every_place_ends_a_plain_text_or_does_not() {
    for place in 0..20 {
        for byte in 0..=255 {
            let mut text = [b'x'; 20];
            text[place] = byte;
            let is_plain = matches!(byte, 0x20..0x80) && byte != b'"' && byte != b'\\';
            assert_eq!(scan::plain_bytes(&text), if is_plain { 20 } else { place }, "{byte}");
        }
    }
}

#[test]
fn invalid_utf8_is_refused_wherever_it_is() {
    let mut decoder = JsonDecoder::new(&FieldNames::default());
    let record = b"{\"x\":\"\xff\",\"request_id\":\"r\",\"video_id\":1,\"event_time\":0}";
    assert_eq!(decoder.decode(record, 0), Err(DecodeError::NotUtf8(6)));
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<u64>().prop_map(|number| number.to_string()),
        4 => (0..2_000_000_000_000_i64).prop_map(|number| number.to_string()),
        4 => any::<u128>().prop_map(|bits| format!("\"{}\"", RequestId::from_u128(bits))),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => any::<f64>().prop_map(|number| format!("{number:e}")),
        1 => any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        1 => proptest::sample::select(vec![
            "null", "true", "false", "-0", "0", "00", "0.5", "1e5", "[1,{}]", r#"{"video_id":1}"#,
            r#""\u0041""#, r#""2026-01-01T00:00:00Z""#, r#""2026-01-01T00:00:00""#, "\"\"",
            "18446744073709551616", "253402128000001", "{",
            "[1,]", "{\"a\":}", "[[],[{}],{\"a\":[0]}]",
            r#"{"a":"\n\u00e9\ud800","b" : [ 1e5 , true,{}] }"#, r#""\x""#, r#""\u12g4""#, "{,}",
            "{\"a\" 1}", "[1 2]", "{\"a\":1,}", "[\"\\",
        ]).prop_map(String::from),
    ]
}

fn record() -> impl Strategy<Value = Vec<u8>> {
    let names = ["request_id", "video_id", "event_time", "record_time"];
    let extra = proptest::sample::select(vec![
        "request_id",
        "video_id",
        "record_time",
        "video_i",
        "video_id2",
        "\\u0076ideo_id",
        "x",
        "",
    ]);
    let space = || proptest::sample::select(vec!["", "", "", " ", "\t", "\r ", "\u{a0}"]);
    (
        Just(names).prop_shuffle(),
        vec(value(), 4),
        vec((extra, value()), 0..3),
        vec(space(), 3),
        proptest::bool::ANY,
    )
        .prop_map(|(names, values, extra, space, honest)| {
            let honest_value = |name: &str, value: String| match name {
                _ if !honest => value,
                "request_id" => format!("\"{UUID}\""),
                "video_id" => "77".into(),
                _ => "1767225601000".into(),
            };
            let wanted = names.iter().zip(values);
            let mut pairs: Vec<String> = wanted
                .map(|(name, value)| (*name, honest_value(name, value)))
                .chain(extra)
                .map(|(name, value)| format!("{}\"{name}\"{}:{value}", space[0], space[1]))
                .collect();
            let rotation = pairs.len() / 2;
            pairs.rotate_left(rotation);
            format!("{}{{{}{}}}", space[2], pairs.join(","), space[0]).into_bytes()
        })
}

/// Replaces, deletes or duplicates a byte, truncates the record, or leaves it as it is.
fn mutate(mut record: Vec<u8>, how: u8, place: proptest::sample::Index, byte: u8) -> Vec<u8> {
    let at = place.index(record.len());
    match how {
        0 => record[at] = byte,
        1 => drop(record.remove(at)),
        2 => record.insert(at, record[at]),
        3 => record.truncate(at),
        _ => {}
    }
    record
}

proptest! {
    #![proptest_config(cases(4_000))]

    #[test]
    fn the_fast_path_agrees_with_serde_json(
        records in vec((record(), 0..8_u8, any::<proptest::sample::Index>(), any::<u8>()), 3),
    ) {
        let fields = FieldNames::default();
        // One scanner for several records, so that its guesses are sometimes wrong.
        let mut scanner = Scanner::new(&fields);
        for (record, how, place, byte) in records {
            let record = mutate(record, how, place, byte);
            if let Some(event) = scanner.scan(&record, 3) {
                let text = String::from_utf8_lossy(&record);
                prop_assert_eq!(strictly(&fields, &record), Ok(event), "{}", text);
            }
        }
    }

    #[test]
    fn every_byte_at_every_position_of_the_common_shape_is_checked_as_by_the_strict_decoder(
        place: proptest::sample::Index, byte: u8, how in 0..4_u8,
    ) {
        let fields = FieldNames::default();
        let record = mutate(COMMON.as_bytes().to_vec(), how, place, byte);
        if let Some(event) = Scanner::new(&fields).scan(&record, 3) {
            prop_assert_eq!(strictly(&fields, &record), Ok(event));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = JsonDecoder::new(&FieldNames::default()).decode(&bytes, 0);
    }
}
