//! Tests that a record of a known shape is what serde_json says, and which shapes are learned.

use super::super::strict;
use super::*;
use crate::decode::{FieldNames, JsonDecoder};
use crate::fixtures::cases;
use proptest::prelude::*;

const RECORD: &str = concat!(
    r#"{"request_id":"0123abcd-4567-89ab-cdef-0123456789ab","video_id":123,"#,
    r#""event_time":1767225600000,"record_time":1767225601000}"#
);

/// Decodes a record as one of the shape of another. `None` if it has a different shape.
fn read_like(first: &str, record: &str) -> Option<Event> {
    let mut decoder = JsonDecoder::new(&FieldNames::default());
    decoder.decode(first.as_bytes(), 0).unwrap();
    let at_end = |rest: &[u8]| rest.is_empty().then_some(0);
    decoder.shapes.read(record.as_bytes(), 7, at_end).map(|(event, _)| event)
}

fn strictly(record: &[u8], offset: u64) -> Result<Event, crate::decode::DecodeError> {
    let fields = FieldNames::default();
    strict::decode(&fields, &fields.tree(), record, offset)
}

#[test]
fn other_digits_and_ids_are_the_same_shape() {
    let other = concat!(
        r#"{"request_id":"FFFFFFFF-4567-89AB-cdef-0123456789ab","video_id":0,"#,
        r#""event_time":18,"record_time":1767225601000}"#
    );
    assert_eq!(read_like(RECORD, other), Some(strictly(other.as_bytes(), 7).unwrap()));
    // Other orders, white space, and fields that are not wanted.
    let id = r#""request_id": "0123abcd-4567-89ab-cdef-0123456789ab""#;
    for (first, other) in [
        (r#"{"video_id": 1, "a": [1, "é"], "event_time": 2, ID } "#, ("1,", "77,")),
        (r#"{"event_time":1,"record_time":null,ID,"video_id":18446744073709551615}"#, ("1,", "2,")),
        (r#"{"event_time":12,"record_time":null,ID,"video_id":1}"#, ("2,", "3,")),
    ] {
        let first = first.replace("ID", id);
        let other = first.replacen(other.0, other.1, 1);
        let expected = strictly(other.as_bytes(), 7).unwrap();
        // Bytes are compared in words, and few may follow the last number.
        let is_compared = !other.ends_with(":1}");
        assert_eq!(read_like(&first, &other), is_compared.then_some(expected), "{other}");
    }
    for (first, other) in [
        ("2026-01-01T00:00:00Z", "2026-01-01T23:59:59Z"),
        ("2026-01-01 12:00:00.5+01:00", "2026-01-01 00:29:01.9+01:00"),
        ("1969-12-31T23:59:59.9995z", "1969-12-31T00:00:00.1239z"),
    ] {
        let at = |time: &str| RECORD.replace("1767225601000", &format!("\"{time}\""));
        let (first, other) = (at(first), at(other));
        let expected = strictly(other.as_bytes(), 7).unwrap();
        assert_eq!(read_like(&first, &other), Some(expected), "{other}");
        for (from, to) in [
            ("T", "t"),
            (":59", ":60"),
            ("T23", "T24"),
            ("9Z", "Z"),
            ("Z", ""),
            ("-01-01", "-01-02"),
        ] {
            let other = other.replace(from, to);
            let found = read_like(&first, &other).map(Ok);
            assert!(found.is_none_or(|found| found == strictly(other.as_bytes(), 7)), "{other}");
        }
    }
    let spaced = RECORD.replace(':', ": ").replace(',', ", ");
    let other = spaced.replace("123,", "4567,");
    assert_eq!(read_like(&spaced, &other), Some(strictly(other.as_bytes(), 7).unwrap()));
}

#[test]
fn anything_else_is_another_shape() {
    for (from, to) in [
        ("123,", "0123,"),
        ("123,", "-123,"),
        ("123,", "1.5,"),
        ("123,", "12e3,"),
        ("123,", ","),
        ("123,", "18446744073709551616,"),
        ("123,", "\"123\","),
        ("123,", "123 ,"),
        ("1767225600000", "253402128000001"),
        ("1767225600000", "null"),
        ("1767225601000", "null"),
        ("1767225601000", "01767225601000"),
        ("0123abcd-", "0123abcg-"),
        ("0123abcd-", "0123abcd_"),
        ("0123abcd-", "\\u0030123abc-"),
        ("video_id", "video_ie"),
        ("event_time", "event_tim\\u0065"),
        ("{", " {"),
        ("}", "} "),
        ("}", ""),
        ("}", "}}"),
        ("}", ",\"x\":1}"),
    ] {
        let record = RECORD.replacen(from, to, 1);
        assert_ne!(record, RECORD);
        assert_eq!(read_like(RECORD, &record), None, "{record}");
    }
}

#[test]
fn shapes_of_other_values_are_not_learned() {
    for record in [
        RECORD.replace("0123abcd-", "x"),
        RECORD.replace("123,", "\"123\","),
        RECORD.replace("1767225600000", "-1"),
        RECORD.replace('}', &format!(",\"x\":\"{}\"}}", "x".repeat(RECORD_BYTES_MAX))),
    ] {
        assert_eq!(read_like(&record, &record), None, "{record}");
    }
}

/// Decodes records in turn, and returns how many were of the known shape.
fn known(decoder: &mut JsonDecoder, records: &[&str], turns: u32) -> u32 {
    (0..turns * records.len() as u32)
        .filter(|turn| {
            let record = records[*turn as usize % records.len()].as_bytes();
            let same = decoder.shapes.same;
            decoder.decode(record, 0).unwrap();
            decoder.shapes.same == same + 1
        })
        .count() as u32
}

#[test]
fn a_new_shape_is_learned_when_few_records_have_the_old_one() {
    let mut decoder = JsonDecoder::new(&FieldNames::default());
    let other = RECORD.replace(',', ", ");
    assert_eq!(known(&mut decoder, &[RECORD], 10_000), 9_999);
    assert_eq!(known(&mut decoder, &[&other], 10_000), 10_000 - OTHERS - 2);
    // One of ten is not enough to give a shape up.
    let mixed: Vec<_> = (0..10).map(|n| if n == 0 { RECORD } else { &other[..] }).collect();
    assert_eq!(known(&mut decoder, &mixed, 10_000), 90_000);
}

#[test]
fn records_that_always_differ_are_rarely_compared() {
    let mut decoder = JsonDecoder::new(&FieldNames::default());
    let mut compared = 0;
    for number in 0..1_000_000 {
        compared += u32::from(decoder.shapes.shape.is_some());
        let record = RECORD.replace('}', &format!(",\"x\":{number}}}"));
        decoder.decode(record.as_bytes(), 0).unwrap();
    }
    assert!(compared < 12 * (OTHERS + 1), "{compared}");
}

/// A record whose shape is learned, with white space, and fields that are not wanted.
fn record() -> impl Strategy<Value = String> {
    let names = ["request_id", "video_id", "event_time", "record_time"];
    let space = || proptest::sample::select(vec!["", "", " ", "  ", "\t", "\r"]);
    let extra = proptest::sample::select(vec![
        None,
        None,
        Some(r#""x":[1,{"video_id":2}]"#),
        Some(r#""x":"\u00e9é\"","#),
        Some(r#""a long name of a field that is not wanted":null"#),
    ]);
    let numbers = (any::<u64>(), 0..2_000_000_000_000_i64, 0..100_i64);
    (Just(names).prop_shuffle(), any::<u128>(), numbers, space(), space(), extra, 0..6_usize)
        .prop_map(|(names, id, (video, time_ms, delay_ms), before, after, extra, cut)| {
            let value = |name: &str| match name {
                "request_id" => format!("\"{}\"", RequestId::from_u128(id)),
                "video_id" => (video >> (video % 64)).to_string(),
                "event_time" => time_ms.to_string(),
                _ if cut == 5 => {
                    let fraction = [".0", ".25", ".123", ".987654321", ""][video as usize % 5];
                    let zone = ["Z", "z", "+01:00", "-00:00", "-23:59"][time_ms as usize % 5];
                    format!("\"2026-01-31T12:{:02}:00{fraction}{zone}\"", delay_ms % 60)
                }
                _ => (time_ms + delay_ms).to_string(),
            };
            let pair = |name: &str| format!("{before}\"{name}\":{after}{}", value(name));
            let mut pairs: Vec<_> = names.into_iter().map(pair).collect();
            if let Some(extra) = extra {
                pairs.insert(cut % 5, extra.trim_end_matches(',').to_string());
            }
            format!("{{{}{after}}}{before}", pairs.join(","))
        })
}

proptest! {
    #![proptest_config(cases(4_000))]

    #[test]
    fn a_number_is_read_whatever_length_the_last_one_had(
        number in "0|0[0-9]{1,3}|[1-9][0-9]{0,21}", length in 1..21_usize,
        after in "[,}x. ]|[0-9a]{0,12}",
    ) {
        let text = format!("{number}{after}");
        let end = text.bytes().take_while(u8::is_ascii_digit).count();
        let is_canonical = end == 1 || !text.starts_with('0');
        let expected = text[..end].parse().ok().filter(|_| is_canonical);
        let (before, field, kind) = (Text::new(b""), Field::Video, Kind::Number);
        let mut part = Part { before, field, kind, length, advance: length };
        for _ in 0..2 {
            let found = part.number(text.as_bytes());
            prop_assert_eq!(found, expected.map(|number: u64| (number, &text.as_bytes()[end..])));
        }
    }

    #[test]
    fn records_after_one_of_their_shape_are_what_serde_json_says(
        record in record(),
        changes in proptest::collection::vec(
            (0..6_u8, any::<proptest::sample::Index>(), any::<u8>(), any::<u64>()), 1..6,
        ),
    ) {
        let mut decoder = JsonDecoder::new(&FieldNames::default());
        decoder.decode(record.as_bytes(), 0).unwrap();
        for (offset, (how, place, byte, number)) in (1..).zip(changes) {
            let mut bytes = record.clone().into_bytes();
            let at = place.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, byte),
                3 => bytes.truncate(at),
                4 => {
                    // Other digits for all there are.
                    for (digit, at) in bytes.iter_mut().filter(|b| b.is_ascii_digit()).zip(0..) {
                        *digit = b'0' + (number.rotate_left(at) % 10) as u8;
                    }
                }
                _ => bytes[at] = b"0123456789abcdefABCDEF-\"\\, .e"[number as usize % 29],
            }
            let expected = strictly(&bytes, offset);
            prop_assert_eq!(decoder.decode(&bytes, offset), expected.clone());
            // As a line, it is the same or left to others.
            for ending in [&b"\n"[..], b"\r\n"] {
                let line = [&bytes[..], ending, b"{\"request_id\":"].concat();
                if let Some((event, length)) = decoder.decode_line(&line, offset) {
                    let record = &line[..length - 1];
                    let record = record.strip_suffix(b"\r").unwrap_or(record);
                    prop_assert_eq!(strictly(record, offset), Ok(event));
                    prop_assert!(line[length - 1] == b'\n' && !record.contains(&b'\n'));
                }
            }
        }
    }
}
