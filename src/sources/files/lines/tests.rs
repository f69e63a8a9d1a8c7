//! Tests of lines that hold several objects, against an oracle that splits whole texts.

use super::super::objects::holds_several;
use super::super::split::{LINE_BYTES_MAX, Splitter};
use super::super::tests::{folder, line, offsets_and_videos, open, poll, read, reasons};
use crate::decode::{FieldNames, JsonDecoder};
use crate::fixtures::cases;
use crate::sources::{Batch, Polled};
use proptest::prelude::*;
use std::fs;

/// Returns the lines of these videos without anything between them.
fn objects(videos: std::ops::Range<u64>) -> String {
    videos.map(line).collect()
}

#[test]
fn objects_without_newlines_are_records_and_offsets_count_them() {
    let text = format!("{}\n\n{}\n{} {}", objects(0..3), line(4), line(5), line(6));
    for content in [text.clone(), text.clone() + "\n", text.replace("\n", "\r\n")] {
        let folder = folder(&[("a.jsonl", content.as_bytes())]);
        for records_max in [1, 2, 3, 100] {
            for offset in 0..=7 {
                let batch = read(&folder, "a.jsonl", offset, records_max);
                let places = [0, 1, 2, 4, 5, 6].into_iter().filter(|&at| at >= offset);
                let expected: Vec<_> = places.map(|at| (at, at)).collect();
                assert_eq!((offsets_and_videos(&batch), batch.next_offset), (expected, 7));
            }
        }
        assert!(open(&folder, "a.jsonl", false, 8).is_err());
    }
}

#[test]
fn damage_in_a_line_costs_the_rest_of_the_line() {
    let text = format!("{}{{\"x\":}}{}{}x{}\n{}", line(0), line(2), line(3), line(4), line(5));
    let folder = folder(&[("a.jsonl", text.as_bytes())]);
    let batch = read(&folder, "a.jsonl", 0, 9);
    assert_eq!(offsets_and_videos(&batch), [(0, 0), (2, 2), (4, 5)]);
    let found: Vec<_> =
        batch.malformed.iter().map(|one| (one.offset, one.location.as_str())).collect();
    assert_eq!(found, [(1, "line 1, object 2"), (3, "line 1, object 4")]);
    assert!(batch.malformed[1].reason.starts_with("not JSON: trailing characters"));
}

#[test]
fn a_line_of_objects_may_be_longer_than_an_object_may_be() {
    let count = 3 * LINE_BYTES_MAX as u64 / line(0).len() as u64;
    let long = format!("{{\"x\":\"{}\"}}", "}{".repeat(LINE_BYTES_MAX / 2));
    let text = objects(0..count) + &long + &objects(0..2) + "\n" + &line(7);
    let folder = folder(&[("a.jsonl", text.as_bytes())]);
    let batch = read(&folder, "a.jsonl", 0, 1_000);
    let expected = (0..count).map(|at| (at, at)).chain([(count + 1, 0), (count + 2, 1)]);
    let expected: Vec<_> = expected.chain([(count + 3, 7)]).collect();
    assert!(offsets_and_videos(&batch) == expected);
    let reason = format!("object is longer than {LINE_BYTES_MAX} bytes");
    assert_eq!(reasons(&batch), [(count, reason)]);
    assert_eq!(batch.malformed[0].location, format!("line 1, object {}", count + 1));
    for offset in [1, count - 1, count, count + 1, count + 2, count + 3, count + 4] {
        let batch = read(&folder, "a.jsonl", offset, 1_000);
        let from = expected.partition_point(|&(at, _)| at < offset);
        assert!(offsets_and_videos(&batch) == expected[from..], "from {offset}");
    }
}

#[test]
fn the_buffer_stays_small_for_a_line_of_any_length() {
    let text = objects(0..10).repeat(100_000);
    let mut splitter = Splitter::default();
    let (mut bytes, mut count) = (text.as_bytes(), 0);
    while splitter.fill(&mut bytes).unwrap() > 0 {
        while splitter.next_line().is_some() {
            count += 1;
        }
    }
    while splitter.next_whole_object().is_some() {
        count += 1;
    }
    assert_eq!((count, splitter.has_partial_line()), (999_999, true));
    assert!(splitter.capacity_bytes() <= 2 * LINE_BYTES_MAX);
}

#[test]
fn a_followed_line_gives_all_objects_but_the_last() {
    let folder = folder(&[("a.jsonl", objects(0..3).as_bytes())]);
    let mut reader = open(&folder, "a.jsonl", true, 0).unwrap();
    let (polled, batch) = poll(&mut reader);
    assert_eq!((polled, offsets_and_videos(&batch)), (Polled::AtEnd, vec![(0, 0), (1, 1)]));
    append(&folder, &(line(3) + &line(4)[..9]));
    assert_eq!(offsets_and_videos(&poll(&mut reader).1), [(2, 2), (3, 3)]);
    append(&folder, &(line(4)[9..].to_string() + "\n" + &line(5) + "\n"));
    assert_eq!(offsets_and_videos(&poll(&mut reader).1), [(4, 4), (5, 5)]);
}

#[test]
fn a_last_object_that_was_read_without_a_newline_is_not_read_again() {
    for more in ["\n".to_string(), line(3) + "\n", line(3) + &line(4) + "\n"] {
        let folder = folder(&[("a.jsonl", objects(0..3).as_bytes())]);
        assert_eq!(read(&folder, "a.jsonl", 0, 9).next_offset, 3);
        let mut reader = open(&folder, "a.jsonl", true, 3).unwrap();
        assert_eq!(poll(&mut reader).0, Polled::AtEnd);
        append(&folder, &(more.clone() + &line(9) + "\n"));
        let added = more.matches("request_id").count() as u64;
        let expected = (3..3 + added).map(|at| (at, at)).chain([(3 + added, 9)]);
        assert_eq!(offsets_and_videos(&poll(&mut reader).1), expected.collect::<Vec<_>>());
    }
}

fn append(folder: &tempfile::TempDir, text: &str) {
    super::super::tests::append(folder, "a.jsonl", text);
}

/// Returns the line of an event, which has the same shape as that of any other.
fn like_line(video_id: u64) -> String {
    let request_id = format!("0123abcd-4567-89ab-cdef-{video_id:012x}");
    format!(r#"{{"request_id":"{request_id}","video_id":{video_id},"event_time":1767225600000}}"#)
}

#[test]
fn a_line_like_those_before_it_ends_where_they_do() {
    let text = (0..4).map(like_line).collect::<Vec<_>>();
    for between in ["\n", "\r\n", "\n\n", " \n", "\n \r\n"] {
        let several = format!("{}{}", text[2], text[3]);
        let content = [&text[0], &text[1], &several, &text[1], "x", &text[0]].join(between);
        let folder = folder(&[("a.jsonl", content.as_bytes())]);
        let (events, malformed, end) = records_slowly(content.as_bytes());
        let batch = read(&folder, "a.jsonl", 0, 100);
        assert_eq!((offsets_and_videos(&batch), batch.next_offset), (events, end), "{between:?}");
        assert_eq!(batch.malformed[0].offset, malformed[0]);
    }
}

/// A file of lines and of objects without newlines, some damaged.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        3 => (0..9_u64).prop_map(line),
        1 => (0..9_u64).prop_map(like_line),
        4 => (0..9_u64).prop_map(|video_id| like_line(video_id) + "\n"),
        1 => (0..9_u64).prop_map(|video_id| like_line(video_id) + "\r\n"),
        3 => Just("\n".to_string()),
        2 => proptest::sample::select(vec![
            " ", "\r\n", "{}", "{", "}", "}{", "\"", "\\", "x", ",", "{\"a\":\"}{\"}", "\u{feff}",
            "{\"a\":{\"b\":[{},{}]}}", "[", "1", "null",
        ]).prop_map(String::from),
    ];
    proptest::collection::vec(token, 0..24).prop_map(|tokens| tokens.concat().into_bytes())
}

/// Returns the offsets and videos of the events of a file, the offsets of its malformed records,
/// and the number of its records.
fn records_slowly(content: &[u8]) -> (Vec<(u64, u64)>, Vec<u64>, u64) {
    let (mut events, mut malformed, mut offset) = (Vec::new(), Vec::new(), 0);
    let mut lines: Vec<_> = content.split(|&byte| byte == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    for line in lines {
        let mut rest = line;
        loop {
            let part = first_part_slowly(rest);
            let mut text = part.strip_suffix(b"\r").unwrap_or(part);
            if offset == 0 {
                text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
            }
            if !text.is_empty() {
                // A decoder of its own for each record, as it remembers what records are like.
                match JsonDecoder::new(&FieldNames::default()).decode(text, offset) {
                    Ok(event) => events.push((offset, event.video.0)),
                    Err(_) => malformed.push(offset),
                }
            }
            offset += 1;
            rest = &rest[part.len()..];
            if rest.is_empty() {
                break;
            }
        }
    }
    (events, malformed, offset)
}

/// Returns the shortest beginning that an object follows, and that is an object by its braces.
fn first_part_slowly(line: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| b" \t\r\xef\xbb\xbf".contains(byte);
    let (mut depth, mut is_in_text, mut is_escaped, mut has_ended) = (0, false, false, false);
    for (at, &byte) in line.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_in_text => is_escaped = true,
            b'"' if depth > 0 => is_in_text = !is_in_text,
            _ if is_in_text => {}
            b'{' if has_ended => return &line[..at],
            b'{' => depth += 1,
            b'}' if depth > 0 => {
                depth -= 1;
                has_ended = depth == 0;
            }
            b' ' | b'\t' | b'\r' if depth == 0 => {}
            byte if depth == 0 && !has_ended && is_space(&byte) => {}
            _ if depth == 0 => return line,
            _ => {}
        }
    }
    line
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn records_are_those_of_the_oracle_from_any_offset_and_in_any_steps(
        content in content(), records_max in 1..9_usize, from: proptest::sample::Index,
    ) {
        let (events, malformed, end) = records_slowly(&content);
        let folder = folder(&[("a.jsonl", &content)]);
        for offset in [0, from.index(end as usize + 1) as u64] {
            let batch = read(&folder, "a.jsonl", offset, records_max);
            let expected: Vec<_> = events.iter().copied().filter(|one| one.0 >= offset).collect();
            prop_assert_eq!(offsets_and_videos(&batch), expected);
            let found: Vec<_> = batch.malformed.iter().map(|one| one.offset).collect();
            let expected: Vec<_> = malformed.iter().copied().filter(|&one| one >= offset).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(batch.next_offset, end);
        }
    }

    #[test]
    fn a_file_that_grows_while_it_is_followed_gives_the_same_records(
        content in content(),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..5),
        restart: bool,
    ) {
        let content = [&content[..], b"\n"].concat();
        let (events, malformed, end) = records_slowly(&content);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(content.len())).collect();
        cuts.sort_unstable();
        let folder = folder(&[("a.jsonl", b"")]);
        let mut reader = open(&folder, "a.jsonl", true, 0).unwrap();
        let mut all = Batch::default();
        for cut in cuts.into_iter().chain([content.len()]) {
            fs::write(folder.path().join("a.jsonl"), &content[..cut]).unwrap();
            if restart {
                reader = open(&folder, "a.jsonl", true, all.next_offset).unwrap();
            }
            while reader.poll(&mut all, 3).unwrap() == Polled::More {}
        }
        prop_assert_eq!(offsets_and_videos(&all), events);
        let found: Vec<_> = all.malformed.iter().map(|one| one.offset).collect();
        prop_assert_eq!((found, all.next_offset), (malformed, end));
    }

    #[test]
    fn a_line_that_holds_several_objects_is_no_record(content in content()) {
        let mut decoder = JsonDecoder::new(&FieldNames::default());
        for line in content.split(|&byte| byte == b'\n') {
            prop_assert!(!(holds_several(line) && decoder.decode(line, 1).is_ok()));
            prop_assert_eq!(holds_several(line), first_part_slowly(line).len() < line.len());
        }
    }
}
