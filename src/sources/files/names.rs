//! What the names of files say: the format of their logs, and which names rotating programs give.
//!
//! A rotated file has what its program adds after the ending, as `i.jsonl.1`, `i.jsonl-20260131`
//! and `i.jsonl.2.gz`: a number, or a date and time (`logrotate`'s `dateext` in any format of
//! digits and signs). Before it only a time tells it from another log, as in
//! `i-2026013110.jsonl.gz`: `i.1.jsonl` may as well be a part of a log that is written in parts.

use crate::log::PartitionName;
use std::path::{Path, PathBuf};

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileFormat {
    Lines(Compression),
    Parquet,
}

/// The compression of a file of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstandard,
}

/// The endings of the files that hold logs.
const LINES: [&str; 2] = [".jsonl", ".ndjson"];
const PARQUET: &str = ".parquet";

impl FileFormat {
    /// Returns the format for the name of a file, if it is known.
    pub(super) fn of(path: &Path) -> Option<FileFormat> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let (end, is_parquet) = ending(&name)?;
        // Compressed before or after it was rotated.
        let (rest, before) = match name[end..].strip_prefix(".gz") {
            Some(rest) => (rest, Compression::Gzip),
            None => match name[end..].strip_prefix(".zst") {
                Some(rest) => (rest, Compression::Zstandard),
                None => (&name[end..], Compression::None),
            },
        };
        let (rest, after) = without_compression(rest);
        let compression = match (before, after) {
            (one, Compression::None) | (Compression::None, one) => one,
            _ => return None,
        };
        match is_parquet {
            _ if !rest.is_empty() && !is_rotation(rest) => None,
            true => (compression == Compression::None).then_some(FileFormat::Parquet),
            false => Some(FileFormat::Lines(compression)),
        }
    }

    /// Returns the compression for the name of a file, also of one without a known format.
    pub(super) fn compression(path: &Path) -> Compression {
        match FileFormat::of(path) {
            Some(FileFormat::Lines(compression)) => compression,
            Some(FileFormat::Parquet) => Compression::None,
            None => {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                without_compression(&name.to_ascii_lowercase()).1
            }
        }
    }

    /// Returns the format of a partition.
    pub(super) fn of_partition(name: &PartitionName) -> Option<FileFormat> {
        FileFormat::of(&first_path(name))
    }

    /// Returns the format of a log of this format in another file, which may be compressed.
    pub(super) fn at(self, path: &Path) -> FileFormat {
        match self {
            FileFormat::Parquet => FileFormat::Parquet,
            FileFormat::Lines(_) => FileFormat::Lines(FileFormat::compression(path)),
        }
    }
}

/// Returns the path where a partition was found first: its name without the number after `#`.
pub(super) fn first_path(name: &PartitionName) -> PathBuf {
    let name = &name.name;
    let path = name.rsplit_once('#').filter(|(_, number)| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    path.map_or(name.as_str(), |(path, _)| path).into()
}

/// Whether a file may hold a log by its name. The ending may be followed by anything, as in
/// `i.jsonl.old`.
pub(super) fn may_hold_log(name: &str) -> bool {
    !name.starts_with('.') && ending(&name.to_ascii_lowercase()).is_some()
}

/// Whether a file has a name that rotating programs give to a file of this name.
pub(super) fn is_rotated(name: &str, other: &str) -> bool {
    let other = other.strip_suffix(".gz").or_else(|| other.strip_suffix(".zst")).unwrap_or(other);
    if let Some(rest) = other.strip_prefix(name) {
        return is_rotation(rest);
    }
    // The ending stays at the end. Only a time tells it from the name of another log.
    let Some((end, is_parquet)) = ending(&name.to_ascii_lowercase()) else { return false };
    let endings = if is_parquet { &[PARQUET][..] } else { &LINES };
    let length =
        endings.iter().filter(|ending| name[..end].to_ascii_lowercase().ends_with(**ending));
    let length = length.map(|ending| ending.len()).next().unwrap_or_default();
    let (stem, kept) = name.split_at(end - length);
    let added = other.strip_prefix(stem).and_then(|rest| rest.strip_suffix(kept));
    added.is_some_and(|added| is_rotation(added) && is_time(added))
}

/// Whether digits between signs begin with a date, the year first, or are seconds since 1970.
fn is_time(added: &str) -> bool {
    let digits: String = added.chars().filter(char::is_ascii_digit).collect();
    let number = |digits: Option<&str>| digits.and_then(|digits| digits.parse::<u32>().ok());
    let [year, month, day] = [0..4, 4..6, 6..8].map(|at| number(digits.get(at)));
    let is_date = matches!((year, month, day), (Some(1970..=2199), Some(1..=12), Some(1..=31)));
    is_date || digits.len() == 10 && digits.starts_with(['1', '2'])
}

/// Returns where the last known ending in a name in lower case ends, and whether it is that of
/// Parquet.
fn ending(name: &str) -> Option<(usize, bool)> {
    let ends = |ending: &str| name.rfind(ending).map(|at| at + ending.len());
    let lines = LINES.iter().filter_map(|ending| ends(ending)).max();
    let parquet = ends(PARQUET);
    lines.max(parquet).map(|end| (end, parquet == Some(end)))
}

/// Whether this is what rotating programs add to names: a number or a time, as `-20260131T10`.
fn is_rotation(added: &str) -> bool {
    added.starts_with(['.', '-', '_'])
        && added.contains(|char: char| char.is_ascii_digit())
        && added.chars().all(|char| char.is_ascii_digit() || ".-_:+TtZz".contains(char))
}

fn without_compression(name: &str) -> (&str, Compression) {
    match (name.strip_suffix(".gz"), name.strip_suffix(".zst")) {
        (Some(name), _) => (name, Compression::Gzip),
        (_, Some(name)) => (name, Compression::Zstandard),
        _ => (name, Compression::None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_format_also_of_rotated_files() {
        let names = [
            ("i.jsonl i.NDJSON i.jsonl.1 i.jsonl-20260131 i.jsonl-2026013110 i.1.jsonl", "l"),
            ("i.ndjson-1764252000 i.jsonl-20260131-17 i.jsonl_2026-01-31T10:00Z", "l"),
            ("i-1.jsonl.2026-01-31_10-00-00", "l"),
            ("i.jsonl.gz i.jsonl.2.GZ i.jsonl-20260131.gz i.jsonl.gz.1 i-20260131.jsonl.gz", "gz"),
            ("i.jsonl.zst i.jsonl.1.zst i.ndjson.zst-20260131", "zst"),
            ("i.parquet i.PARQUET i.parquet.1 a.jsonl.parquet", "parquet"),
            ("i.json i.jsonl.bz2 i.jsonl.old i.jsonl2 i.jsonl.1~ i.jsonl.tmp i.gz", "-"),
            ("i.parquet.gz i.jsonl.gz.gz i.jsonl.1.2x i.jsonl. i.jsonl.- i.jsonl.gz.1.gz", "-"),
            ("jsonl.1 i.1", "-"),
        ];
        for (names, expected) in names {
            for name in names.split(' ') {
                let format = match FileFormat::of(Path::new(name)) {
                    Some(FileFormat::Lines(Compression::None)) => "l",
                    Some(FileFormat::Lines(Compression::Gzip)) => "gz",
                    Some(FileFormat::Lines(Compression::Zstandard)) => "zst",
                    Some(FileFormat::Parquet) => "parquet",
                    None => "-",
                };
                assert_eq!(format, expected, "{name}");
            }
        }
    }

    #[test]
    fn rotated_files_are_told_from_other_logs_by_their_names() {
        let rotated = "i.jsonl.1 i.jsonl.2.gz i.jsonl-20260131 i.jsonl-2026013110.zst \
                       i-20260131.jsonl i-2026-01-31T10-00-00.000.jsonl.gz i.20260131.jsonl.gz \
                       i-1764252000.jsonl i-20260131-1764252000.jsonl";
        for name in rotated.split_whitespace() {
            assert!(is_rotated("i.jsonl", name), "{name}");
        }
        let others = "i.jsonl i.jsonl.gz i-2.jsonl i2.jsonl i.jsonl.old i.jsonl2 j.jsonl.1 \
                      i.json i-x.jsonl i.1.ndjson j-20260131.jsonl i.1.jsonl i.2.jsonl.gz \
                      i-00000001.jsonl i.0000000017.jsonl i-20261301.jsonl";
        for name in others.split_whitespace() {
            assert!(!is_rotated("i.jsonl", name), "{name}");
        }
    }
}
