//! Where the fields of a record are: a path for each field, and paths of its own for each log.

use crate::event::Kind;
use std::fmt;
use std::str::FromStr;

/// The path of a field in a record: the names of nested fields, from the outermost, with dots
/// between them. `\.` is a dot in a name, and `\\` a backslash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldPath {
    text: String,
    names: Vec<String>,
}

impl FieldPath {
    /// Returns the path as it is written; every path is written in one way only.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the names, from the outermost; at least one, and none is empty.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether the other path is this one, or leads to a field inside it.
    fn contains(&self, other: &FieldPath) -> bool {
        other.names.starts_with(&self.names)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl FromStr for FieldPath {
    type Err = FieldPathError;

    fn from_str(text: &str) -> Result<FieldPath, FieldPathError> {
        let mut names = vec![String::new()];
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            let letter = match letter {
                '.' => {
                    names.push(String::new());
                    continue;
                }
                '\\' => match letters.next() {
                    Some(escaped @ ('.' | '\\')) => escaped,
                    _ => return Err(FieldPathError::Backslash),
                },
                letter => letter,
            };
            if let Some(name) = names.last_mut() {
                name.push(letter);
            }
        }
        if names.iter().any(String::is_empty) {
            return Err(FieldPathError::EmptyName);
        }
        Ok(FieldPath { text: text.into(), names })
    }
}

/// Why a text is not the path of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldPathError {
    /// A name is empty.
    #[error(
        "every name between the dots of a path must have a character (`\\.` is a dot in a name)"
    )]
    EmptyName,
    /// A backslash escapes nothing.
    #[error("a backslash in a path must stand before a dot or a backslash")]
    Backslash,
}

/// The paths of the fields of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldNames {
    /// The field of the request id.
    pub request_id: FieldPath,
    /// The field of the video id; none where events are of a request alone.
    pub video_id: Option<FieldPath>,
    /// The field of the event time.
    pub event_time: FieldPath,
    /// The field of the record's own time, which may be null or absent.
    pub record_time: FieldPath,
}

/// The names of the four fields, in the order in which they are checked.
pub const FIELDS: [&str; 4] = ["request_id", "video_id", "event_time", "record_time"];

impl Default for FieldNames {
    /// `request_id`, `video_id`, `event_time` and `record_time`.
    fn default() -> Self {
        let [request_id, video_id, event_time, record_time] =
            FIELDS.map(|name| FieldPath { text: name.into(), names: vec![name.into()] });
        FieldNames { request_id, video_id: Some(video_id), event_time, record_time }
    }
}

impl FieldNames {
    /// Returns the default paths of the fields in the log of a kind.
    pub fn of_kind(kind: Kind) -> FieldNames {
        let FieldNames { request_id, video_id, event_time, record_time } = FieldNames::default();
        let video_id = video_id.filter(|_| kind.has_video());
        FieldNames { request_id, video_id, event_time, record_time }
    }

    /// Returns the paths, in the order of [`FIELDS`].
    pub fn all(&self) -> [Option<&FieldPath>; 4] {
        let FieldNames { request_id, video_id, event_time, record_time } = self;
        [Some(request_id), video_id.as_ref(), Some(event_time), Some(record_time)]
    }

    /// Returns the paths as they are written, in the order of [`FIELDS`]; empty for a field that
    /// there is not.
    pub fn texts(&self) -> [&str; 4] {
        self.all().map(|path| path.map_or("", FieldPath::text))
    }

    /// Sets the path of a field by its name. Returns whether there is such a field.
    pub fn set(&mut self, field: &str, path: FieldPath) -> bool {
        match field {
            "request_id" => self.request_id = path,
            "video_id" if self.video_id.is_some() => self.video_id = Some(path),
            "event_time" => self.event_time = path,
            "record_time" => self.record_time = path,
            _ => return false,
        }
        true
    }

    /// Returns two of [`FIELDS`] that cannot both have a value, if there are such: they have the
    /// same path, or the second lies inside the first.
    pub fn conflict(&self) -> Option<(&'static str, &'static str)> {
        let all = self.all();
        let pairs =
            (0..all.len()).flat_map(|outer| (0..all.len()).map(move |inner| (outer, inner)));
        let is_inside = |outer: usize, inner: usize| match (all[outer], all[inner]) {
            (Some(one), Some(other)) => one.contains(other),
            _ => false,
        };
        let mut conflicts =
            pairs.filter(|&(outer, inner)| outer != inner && is_inside(outer, inner));
        conflicts.next().map(|(outer, inner)| (FIELDS[outer], FIELDS[inner]))
    }

    /// Returns the paths as a tree, in which a record can be read in any order.
    pub(crate) fn tree(&self) -> FieldTree {
        let mut tree = FieldTree::default();
        for (field, path) in self.all().into_iter().enumerate() {
            if let Some(path) = path {
                tree.insert(path.names(), field);
            }
        }
        tree
    }
}

/// The paths of the fields of all logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFields {
    /// Those of impressions.
    pub impressions: FieldNames,
    /// Those of plays.
    pub plays: FieldNames,
    /// Those of denials.
    pub denials: FieldNames,
}

impl Default for LogFields {
    fn default() -> LogFields {
        let [impressions, plays, denials] = Kind::ALL.map(FieldNames::of_kind);
        LogFields { impressions, plays, denials }
    }
}

impl LogFields {
    /// Returns the paths in the log of this kind.
    pub fn of(&self, kind: Kind) -> &FieldNames {
        match kind {
            Kind::Impression => &self.impressions,
            Kind::Play => &self.plays,
            Kind::Denial => &self.denials,
        }
    }

    /// Returns the paths in the log of this kind, to change them.
    pub fn of_mut(&mut self, kind: Kind) -> &mut FieldNames {
        match kind {
            Kind::Impression => &mut self.impressions,
            Kind::Play => &mut self.plays,
            Kind::Denial => &mut self.denials,
        }
    }
}

impl fmt::Display for LogFields {
    /// Writes all paths of all logs. Equal texts mean equal paths.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for kind in Kind::ALL {
            let paths = FIELDS.iter().zip(self.of(kind).all());
            for (field, path) in paths.filter_map(|(field, path)| Some((field, path?))) {
                write!(formatter, "{separator}{}.{field}={:?}", kind.topic(), path.text())?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

/// Fields by their paths: what is wanted of an object, by the names of its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldTree {
    /// The wanted field, as an index of [`FIELDS`], if its path ends here.
    pub(crate) field: Option<usize>,
    /// The wanted fields inside; at most four, as there are four fields.
    pub(crate) inside: Vec<(String, FieldTree)>,
}

impl FieldTree {
    fn insert(&mut self, names: &[String], field: usize) {
        let Some((first, rest)) = names.split_first() else {
            self.field = Some(field);
            return;
        };
        let place = self.place(first).unwrap_or_else(|| {
            self.inside.push((first.clone(), FieldTree::default()));
            self.inside.len() - 1
        });
        self.inside[place].1.insert(rest, field);
    }

    /// Returns the place in `inside` of the field with this name, if anything of it is wanted.
    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        self.inside.iter().position(|(inside, _)| inside == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_is_names_with_dots_between_them() {
        for (text, names) in [
            ("rid", vec!["rid"]),
            ("payload.request_id", vec!["payload", "request_id"]),
            (r"a\.b.c", vec!["a.b", "c"]),
            (r"a\\.b", vec![r"a\", "b"]),
            (r"a\\\.b", vec![r"a\.b"]),
            ("é. b =", vec!["é", " b ="]),
        ] {
            let path: FieldPath = text.parse().unwrap();
            assert_eq!(path.names(), names, "{text}");
            assert_eq!(path.to_string(), text);
        }
    }

    #[test]
    fn a_path_with_an_empty_name_or_a_stray_backslash_is_refused() {
        for text in ["", ".", "a.", ".a", "a..b", r"\..", r"a.\\."] {
            assert_eq!(text.parse::<FieldPath>(), Err(FieldPathError::EmptyName), "{text}");
        }
        for text in [r"\", r"a\", r"\a", r"a.\", r"\\\", r"a\b.c"] {
            assert_eq!(text.parse::<FieldPath>(), Err(FieldPathError::Backslash), "{text}");
        }
    }

    #[test]
    fn fields_conflict_if_one_is_or_contains_the_other() {
        for (request_id, video_id, conflict) in [
            ("a", "b", None),
            ("a.b", "a.c", None),
            ("a", "ab", None),
            (r"a\.b", "a.b", None),
            ("a", "a", Some(("request_id", "video_id"))),
            ("a.b", "a", Some(("video_id", "request_id"))),
            ("event_time.x", "b", Some(("event_time", "request_id"))),
            ("record_time", "b", Some(("request_id", "record_time"))),
        ] {
            let mut fields = FieldNames::default();
            fields.set("request_id", request_id.parse().unwrap());
            fields.set("video_id", video_id.parse().unwrap());
            assert_eq!(fields.conflict(), conflict, "{request_id} {video_id}");
        }
    }

    #[test]
    fn a_tree_shares_what_paths_have_in_common() {
        let mut fields = FieldNames::default();
        fields.set("request_id", "a.b.c".parse().unwrap());
        fields.set("video_id", "a.d".parse().unwrap());
        let tree = fields.tree();
        let names: Vec<_> = tree.inside.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "event_time", "record_time"]);
        let inside = &tree.inside[tree.place("a").unwrap()].1;
        assert_eq!(inside.inside[inside.place("d").unwrap()].1.field, Some(1));
        let deeper = &inside.inside[inside.place("b").unwrap()].1;
        assert_eq!((deeper.field, deeper.inside[0].1.field), (None, Some(0)));
    }

    proptest! {
        #[test]
        fn every_list_of_names_has_a_path(
            names in proptest::collection::vec("[.\\\\a-c é]{1,5}", 1..5),
        ) {
            let escape = |name: &String| name.replace('\\', r"\\").replace('.', r"\.");
            let text = names.iter().map(escape).collect::<Vec<_>>().join(".");
            let path: FieldPath = text.parse().unwrap();
            prop_assert_eq!(path.names(), names);
        }

        #[test]
        fn no_text_makes_a_path_panic(text: String, ends in "[.\\\\]{0,4}") {
            let text = text + &ends;
            if let Ok(path) = text.parse::<FieldPath>() {
                prop_assert!(path.names().iter().all(|name| !name.is_empty()));
            }
        }
    }
}
