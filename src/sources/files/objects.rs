//! Finds the objects in a line that holds several, as `{…}{…}{…}`.
//!
//! A line is split where, outside of all objects, the brace that closes one object is followed by
//! one that opens the next, with nothing but white space between. Only that counts: a line is split
//! at the same places however much of it is known, and a line of valid JSON never is. Text that is
//! damaged stays in one piece up to the end of its line.

use memchr::{memchr_iter, memchr2, memchr3};

/// A search for the end of the object that a text begins with. It can be continued as the text
/// grows.
#[derive(Clone, Debug, Default)]
pub(super) struct ObjectScan {
    place: Place,
    /// The number of open braces.
    depth: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Before the first object.
    #[default]
    Start,
    /// In an object.
    Object,
    /// In a string of an object.
    Text,
    /// After a backslash in a string.
    Escape,
    /// After the object.
    End,
    /// After anything that is not an object: the rest of the line belongs to it.
    Other,
}

impl ObjectScan {
    /// Continues with the next bytes of the line. Returns the index of the brace that opens the
    /// next object, if it is among them.
    pub(super) fn next_object(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            at += match self.place {
                Place::Start | Place::End if is_space(rest[0]) => 1,
                // A byte order mark.
                Place::Start if matches!(rest[0], 0xef | 0xbb | 0xbf) => 1,
                Place::End if rest[0] == b'{' => return Some(at),
                Place::Start if rest[0] == b'{' => self.enter(),
                Place::Start | Place::End => {
                    self.place = Place::Other;
                    return None;
                }
                Place::Object => self.read_object(rest),
                Place::Text => self.read_text(rest),
                Place::Escape => {
                    self.place = Place::Text;
                    1
                }
                Place::Other => return None,
            }
        }
        None
    }

    fn enter(&mut self) -> usize {
        (self.place, self.depth) = (Place::Object, 1);
        1
    }

    /// Reads up to and including the next quote or brace. Returns the number of bytes.
    fn read_object(&mut self, rest: &[u8]) -> usize {
        let Some(length) = memchr3(b'"', b'{', b'}', rest) else { return rest.len() };
        match rest[length] {
            b'"' => self.place = Place::Text,
            b'{' => self.depth += 1,
            _ => {
                self.depth -= 1;
                if self.depth == 0 {
                    self.place = Place::End;
                }
            }
        }
        length + 1
    }

    /// Reads up to and including the next quote or backslash. Returns the number of bytes.
    fn read_text(&mut self, rest: &[u8]) -> usize {
        let Some(length) = memchr2(b'"', b'\\', rest) else { return rest.len() };
        self.place = if rest[length] == b'"' { Place::Object } else { Place::Escape };
        length + 1
    }
}

/// Whether a line, or the part of it that is known, holds more than one object.
pub(super) fn holds_several(line: &[u8]) -> bool {
    // Most lines have no such place even in strings, and are searched faster for one.
    let opens_next = |end: usize| line[end + 1..].trim_ascii_start().first() == Some(&b'{');
    memchr_iter(b'}', line).any(opens_next) && ObjectScan::default().next_object(line).is_some()
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns the parts of a line.
    fn parts(line: &[u8]) -> Vec<&[u8]> {
        let mut parts = Vec::new();
        let mut rest = line;
        while let Some(next) = ObjectScan::default().next_object(rest) {
            parts.push(&rest[..next]);
            rest = &rest[next..];
        }
        parts.push(rest);
        parts
    }

    #[test]
    fn a_line_is_split_between_objects_and_nowhere_else() {
        for (line, expected) in [
            ("", vec![""]),
            ("{}", vec!["{}"]),
            ("{}{}", vec!["{}", "{}"]),
            (" {} \t{}\r", vec![" {} \t", "{}\r"]),
            ("\u{feff}{}{}", vec!["\u{feff}{}", "{}"]),
            (
                r#"{"a":"}{","b":"\"}{\\"}{"c":{"d":{}}}"#,
                vec![r#"{"a":"}{","b":"\"}{\\"}"#, r#"{"c":{"d":{}}}"#],
            ),
            (r#"{"a":[{},{}]}{}"#, vec![r#"{"a":[{},{}]}"#, "{}"]),
            ("{},{}", vec!["{},{}"]),
            ("{}x{}", vec!["{}x{}"]),
            ("[{}{}]", vec!["[{}{}]"]),
            ("{}{}x{}", vec!["{}", "{}x{}"]),
            (r#"{}{"a}{}{}"#, vec!["{}", r#"{"a}{}{}"#]),
            ("{{}{}", vec!["{{}{}"]),
            ("{}}{}", vec!["{}}{}"]),
        ] {
            let expected: Vec<_> = expected.iter().map(|part| part.as_bytes()).collect();
            assert_eq!(parts(line.as_bytes()), expected, "{line}");
            assert_eq!(holds_several(line.as_bytes()), expected.len() > 1, "{line}");
        }
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        let token = proptest::sample::select(vec![
            "{", "}", "}{", "} {", "\"", "\\", "\\\"", "[", "]", ",", " ", "a", ":", "{}",
            "\u{feff}",
        ]);
        proptest::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat().into_bytes())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn a_scan_in_steps_finds_what_a_scan_at_once_finds(
            text in text(), steps in proptest::collection::vec(1..9_usize, 1..40),
        ) {
            let expected = ObjectScan::default().next_object(&text);
            let (mut scan, mut at, mut found) = (ObjectScan::default(), 0, None);
            for step in steps.into_iter().chain([text.len()]) {
                let end = (at + step).min(text.len());
                found = found.or(scan.next_object(&text[at..end]).map(|next| at + next));
                if found.is_some() {
                    break;
                }
                at = end;
            }
            prop_assert_eq!(found, expected);
            prop_assert_eq!(holds_several(&text), expected.is_some());
        }

        /// serde_json reads a sequence of objects; its stream ends at the same places.
        #[test]
        fn objects_are_those_that_serde_json_finds(
            values in proptest::collection::vec("[a-c{}\"\\\\ ]{0,6}", 0..6),
            space in "[ \t\r]{0,2}",
        ) {
            let object = |text: &String| serde_json::json!({ "k": { text.as_str(): [text] } });
            let objects = values.iter().map(|text| object(text).to_string() + &space);
            let objects: Vec<_> = objects.collect();
            let line = objects.concat();
            let stream = serde_json::Deserializer::from_str(&line).into_iter::<serde_json::Value>();
            prop_assert_eq!(stream.map(Result::unwrap).count(), objects.len());
            let expected: Vec<_> = objects.iter().map(|object| object.as_bytes()).collect();
            if !objects.is_empty() {
                prop_assert_eq!(parts(line.as_bytes()), expected);
            }
        }
    }
}
