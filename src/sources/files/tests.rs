//! Tests of finding files and reading lines; arbitrary bytes must not cause a panic.

use super::*;
use crate::features::Feature;
use crate::log::PartitionName;
use crate::sources::{Batch, Malformed, Polled};
use proptest::prelude::*;
use std::fs::{self, OpenOptions};
use std::io::Write;
use tempfile::TempDir;

/// Returns the line of an event with this video id.
pub(super) fn line(video_id: u64) -> String {
    format!(r#"{{"request_id":"request {video_id}","video_id":{video_id},"event_time":0}}"#)
}

pub(super) fn lines(video_ids: impl IntoIterator<Item = u64>) -> String {
    video_ids.into_iter().map(|video_id| line(video_id) + "\n").collect()
}

/// Creates a folder with these files.
pub(super) fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

pub(super) fn source(folder: &TempDir, arguments: &[&str], follow: bool) -> FileSource {
    let path = |name: &&str| folder.path().join(name).to_str().unwrap().to_string();
    let paths = arguments.iter().map(|name| (Kind::Impression, path(name)));
    FileSource::new(paths.collect(), LogFields::default(), follow)
}

fn partition(folder: &TempDir, name: &str) -> Discovered {
    let name = folder.path().join(name).to_str().unwrap().to_string();
    let name = PartitionName { kind: Kind::Impression, name };
    Discovered { name, size_bytes: 0, end_offset: None, file: None }
}

/// Returns the names of the files that a source finds.
fn found(source: &mut FileSource) -> Result<Vec<String>, SourceError> {
    let name = |found: Discovered| found.name.name.rsplit_once('/').unwrap().1.to_string();
    Ok(source.discover()?.into_iter().map(name).collect())
}

/// Opens a file that was not discovered.
pub(super) fn open(
    folder: &TempDir,
    name: &str,
    follow: bool,
    offset: u64,
) -> Result<Box<dyn PartitionReader>, SourceError> {
    source(folder, &[], follow).open(&partition(folder, name), Some(offset))
}

/// Opens an impressions file whose fields have these paths.
#[cfg(feature = "parquet")]
pub(super) fn open_with(
    folder: &TempDir,
    name: &str,
    fields: LogFields,
) -> Box<dyn PartitionReader> {
    FileSource::new(vec![], fields, false).open(&partition(folder, name), None).unwrap()
}

/// Reads a file from an offset to its end, at most `records_max` records per poll.
pub(super) fn read(folder: &TempDir, name: &str, offset: u64, records_max: usize) -> Batch {
    let mut reader = open(folder, name, false, offset).unwrap();
    let mut batch = Batch::default();
    while reader.poll(&mut batch, records_max).unwrap() == Polled::More {}
    assert_eq!(reader.poll(&mut batch, records_max).unwrap(), Polled::Exhausted);
    batch
}

/// Returns the offsets and video ids of a batch.
pub(super) fn offsets_and_videos(batch: &Batch) -> Vec<(u64, u64)> {
    batch.events.iter().map(|event| (event.offset, event.video.0)).collect()
}

pub(super) fn reasons(batch: &Batch) -> Vec<(u64, String)> {
    let reason = |malformed: &Malformed| (malformed.offset, malformed.reason.clone());
    batch.malformed.iter().map(reason).collect()
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstandard(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

#[test]
fn a_folder_stands_for_its_files_of_known_formats() {
    let names = [
        "b.jsonl",
        "a.ndjson.gz",
        "c.parquet",
        "d.jsonl.zst",
        "x.txt",
        ".h.jsonl",
        "t.jsonl.tmp",
        "e.gz",
    ];
    let folder = folder(&names.map(|name| (name, &b""[..])));
    fs::create_dir(folder.path().join("inner.jsonl")).unwrap();
    let found = found(&mut source(&folder, &[""], false));
    if Feature::Parquet.is_built_in() {
        assert_eq!(found.unwrap(), ["a.ndjson.gz", "b.jsonl", "c.parquet", "d.jsonl.zst"]);
    } else {
        assert!(matches!(found, Err(SourceError::MissingFeature(_))));
    }
}

#[test]
fn a_pattern_stands_for_the_files_that_match_it() {
    let folder =
        folder(&[("a1.jsonl", b"12"), ("a2.jsonl", b""), ("a3.txt", b""), ("b.jsonl", b"")]);
    let mut source = source(&folder, &["a*"], false);
    assert_eq!(found(&mut source).unwrap(), ["a1.jsonl", "a2.jsonl"]);
    assert_eq!(source.discover().unwrap()[0].size_bytes, 2);
}

#[test]
fn a_file_given_twice_is_read_once_per_kind() {
    let folder = folder(&[("a.jsonl", b"")]);
    assert_eq!(
        found(&mut source(&folder, &["a.jsonl", "", "*.jsonl", "./a.jsonl"], false)).unwrap().len(),
        1
    );
    let path = folder.path().join("a.jsonl").to_str().unwrap().to_string();
    let kinds = [Kind::Denial, Kind::Play, Kind::Impression];
    let paths = kinds.map(|kind| (kind, path.clone())).into();
    let kinds = FileSource::new(paths, LogFields::default(), false).discover().unwrap();
    assert_eq!(kinds.iter().map(|found| found.name.kind).collect::<Vec<_>>(), Kind::ALL);
}

#[test]
fn a_path_that_does_not_exist_is_an_error_only_the_first_time() {
    let folder = folder(&[("a.jsonl", b"{")]);
    for argument in ["b.jsonl", "b*.jsonl", "no/folder"] {
        let result = found(&mut source(&folder, &[argument], false));
        assert!(matches!(result, Err(SourceError::NotFound(_))), "{argument}");
    }
    let mut source = source(&folder, &["a.jsonl"], true);
    assert_eq!(found(&mut source).unwrap(), ["a.jsonl"]);
    fs::remove_file(folder.path().join("a.jsonl")).unwrap();
    assert!(found(&mut source).unwrap().is_empty());
}

#[test]
fn a_file_of_an_unknown_format_is_an_error_if_it_is_named() {
    let folder = folder(&[("a.txt", b"")]);
    let result = found(&mut source(&folder, &["a.txt"], false));
    assert!(matches!(result, Err(SourceError::UnknownFormat(_))));
}

#[test]
fn an_invalid_pattern_is_an_error() {
    let folder = folder(&[]);
    let result = found(&mut source(&folder, &["a[.jsonl"], false));
    assert!(matches!(result, Err(SourceError::Pattern { .. })), "{result:?}");
}

#[test]
fn new_files_are_found_while_following() {
    let folder = folder(&[]);
    let mut source = source(&folder, &["", "x*.jsonl"], true);
    assert!(found(&mut source).unwrap().is_empty());
    // Nothing can be said of an empty file.
    fs::write(folder.path().join("x1.jsonl"), "").unwrap();
    assert!(found(&mut source).unwrap().is_empty());
    append(&folder, "x1.jsonl", "{");
    assert_eq!(found(&mut source).unwrap(), ["x1.jsonl"]);
}

#[test]
fn offsets_count_all_lines_including_empty_and_malformed_ones() {
    let text = format!("\u{feff}{}\r\n\n\r\n{{}}\n{}", line(1), line(2));
    let folder = folder(&[("a.jsonl", text.as_bytes())]);
    for records_max in [1, 2, 100] {
        let batch = read(&folder, "a.jsonl", 0, records_max);
        assert_eq!(offsets_and_videos(&batch), [(0, 1), (4, 2)]);
        assert_eq!(reasons(&batch), [(3, "missing field `request_id`".to_string())]);
        assert_eq!(batch.malformed[0].location, "line 4");
        assert_eq!(batch.malformed[0].sample, "{}");
        assert_eq!((batch.next_offset, batch.bytes), (5, text.len() as u64));
    }
}

#[test]
fn reading_resumes_at_any_offset_in_every_format() {
    let text = lines(0..5) + &line(5);
    let files = [
        ("a.jsonl", text.clone().into_bytes()),
        ("a.jsonl.gz", gzip(text.as_bytes())),
        ("a.jsonl.zst", zstandard(text.as_bytes())),
    ];
    for (name, content) in files {
        let folder = folder(&[(name, &content)]);
        for offset in 0..=6 {
            let batch = read(&folder, name, offset, 2);
            let expected: Vec<_> = (offset..6).map(|at| (at, at)).collect();
            assert_eq!((offsets_and_videos(&batch), batch.next_offset), (expected, 6), "{name}");
        }
        let result = open(&folder, name, false, 7).err();
        assert!(matches!(result, Some(SourceError::Shrunk { end: 6, offset: 7, .. })), "{name}");
    }
}

#[test]
fn concatenated_members_and_frames_are_read() {
    let (first, second) = (lines(0..3), lines(3..6));
    for (name, content) in [
        ("a.jsonl.gz", [gzip(first.as_bytes()), gzip(second.as_bytes())].concat()),
        ("a.jsonl.zst", [zstandard(first.as_bytes()), zstandard(second.as_bytes())].concat()),
    ] {
        let folder = folder(&[(name, &content)]);
        let batch = read(&folder, name, 0, 100);
        assert_eq!(batch.events.len(), 6, "{name}");
        assert_eq!(batch.bytes, content.len() as u64, "{name}");
    }
}

#[test]
fn truncated_compressed_data_gives_the_records_before_the_cut_and_one_malformed_record() {
    let text = lines(0..50_000);
    for (name, content) in
        [("a.jsonl.gz", gzip(text.as_bytes())), ("a.jsonl.zst", zstandard(text.as_bytes()))]
    {
        let folder = folder(&[(name, &content[..content.len() * 2 / 3])]);
        let batch = read(&folder, name, 0, 1000);
        let count = batch.events.len() as u64;
        assert!(count > 10_000, "{name}: {count}");
        assert_eq!((batch.malformed.len(), batch.malformed[0].offset), (1, count), "{name}");
        assert!(batch.malformed[0].reason.contains("damaged or cut off"));
        assert_eq!(batch.next_offset, count + 1);
        for (offset, left) in [(count - 1, (1, 1)), (count, (0, 1)), (count + 1, (0, 0))] {
            let batch = read(&folder, name, offset, 1000);
            assert_eq!((batch.events.len(), batch.malformed.len()), left, "{name}");
            assert_eq!(batch.next_offset, count + 1);
        }
        let result = open(&folder, name, false, count + 2).err();
        assert!(matches!(result, Some(SourceError::Shrunk { .. })), "{name}");
    }
}

#[test]
fn a_line_of_the_greatest_length_is_read_and_a_longer_one_is_malformed() {
    let padded = |bytes: usize| {
        let line = line(1);
        line.clone() + &" ".repeat(bytes - line.len()) + "\n"
    };
    let text = padded(LINE_BYTES_MAX)
        + &padded(LINE_BYTES_MAX + 1)
        + &lines([2])
        + &padded(LINE_BYTES_MAX + 1);
    let folder = folder(&[("a.jsonl", text.trim_end_matches('\n').as_bytes())]);
    let batch = read(&folder, "a.jsonl", 0, 100);
    assert_eq!(offsets_and_videos(&batch), [(0, 1), (2, 2)]);
    let reason = "line is longer than 1048576 bytes".to_string();
    assert_eq!(reasons(&batch), [(1, reason.clone()), (3, reason)]);
    assert_eq!(batch.next_offset, 4);
}

#[test]
fn a_line_of_100_megabytes_is_skipped_in_a_buffer_that_stays_small() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(lines([0]).as_bytes()).unwrap();
    for _ in 0..100 {
        encoder.write_all(&[b'x'; 1_000_000]).unwrap();
    }
    encoder.write_all(format!("\n{}", lines([2])).as_bytes()).unwrap();
    let content = encoder.finish().unwrap();
    let folder = folder(&[("a.jsonl.gz", &content)]);
    let batch = read(&folder, "a.jsonl.gz", 0, 100);
    assert_eq!(offsets_and_videos(&batch), [(0, 0), (2, 2)]);
    assert_eq!(batch.malformed[0].sample, "x".repeat(256));

    let mut splitter = split::Splitter::default();
    let mut decoder = flate2::read::GzDecoder::new(&content[..]);
    while splitter.fill(&mut decoder).unwrap() > 0 {
        while splitter.next_line().is_some() {}
        assert!(splitter.capacity_bytes() <= 2 * LINE_BYTES_MAX);
    }
}

#[test]
fn invalid_utf8_is_malformed() {
    let folder = folder(&[("a.jsonl", b"{\"a\":\"\xff\"}\n")]);
    let reason = "invalid UTF-8 after 6 bytes".to_string();
    assert_eq!(reasons(&read(&folder, "a.jsonl", 0, 9)), [(0, reason)]);
}

/// Polls until the end is reached.
pub(super) fn poll(reader: &mut Box<dyn PartitionReader>) -> (Polled, Batch) {
    let mut batch = Batch::default();
    loop {
        let polled = reader.poll(&mut batch, 1000).unwrap();
        if polled != Polled::More {
            return (polled, batch);
        }
    }
}

pub(super) fn append(folder: &TempDir, name: &str, text: &str) {
    let mut file = OpenOptions::new().append(true).open(folder.path().join(name)).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_followed_file_is_read_as_it_grows_and_a_partial_line_waits() {
    let (beginning, end) = (line(1)[..20].to_string(), line(1)[20..].to_string());
    let folder = folder(&[("a.jsonl", (lines([0]) + &beginning).as_bytes())]);
    let mut reader = open(&folder, "a.jsonl", true, 0).unwrap();
    let (polled, batch) = poll(&mut reader);
    assert_eq!(
        (polled, offsets_and_videos(&batch), batch.next_offset),
        (Polled::AtEnd, vec![(0, 0)], 1)
    );
    append(&folder, "a.jsonl", &end);
    let (polled, batch) = poll(&mut reader);
    assert_eq!((polled, batch.events.len(), batch.malformed.len()), (Polled::AtEnd, 0, 0));
    append(&folder, "a.jsonl", &format!("\n{}", lines([2])));
    let (polled, batch) = poll(&mut reader);
    assert_eq!((polled, offsets_and_videos(&batch)), (Polled::AtEnd, vec![(1, 1), (2, 2)]));
}

#[test]
fn a_last_line_that_was_read_without_its_newline_is_not_read_again() {
    let folder = folder(&[("a.jsonl", line(0).as_bytes())]);
    assert_eq!(read(&folder, "a.jsonl", 0, 9).next_offset, 1);
    let mut reader = open(&folder, "a.jsonl", true, 1).unwrap();
    assert_eq!(poll(&mut reader).0, Polled::AtEnd);
    append(&folder, "a.jsonl", &format!("\n{}", lines([1])));
    assert_eq!(offsets_and_videos(&poll(&mut reader).1), [(1, 1)]);
}

#[test]
fn a_file_that_is_gone_is_an_error_without_following() {
    let folder = folder(&[]);
    for name in names() {
        let is_error =
            || matches!(open(&folder, name, false, 0).err(), Some(SourceError::Io { .. }));
        assert!(is_error(), "{name}");
        fs::create_dir(folder.path().join(name)).unwrap();
        assert!(is_error(), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn a_link_to_a_folder_above_it_is_not_followed_again() {
    let folder = folder(&[("a.jsonl", b"1"), ("b.jsonl", b"2")]);
    std::os::unix::fs::symlink(".", folder.path().join("a=1")).unwrap();
    std::os::unix::fs::symlink(".", folder.path().join("a=2")).unwrap();
    let mut source = source(&folder, &[""], true);
    assert_eq!(found(&mut source).unwrap(), ["a.jsonl", "b.jsonl"]);
    assert_eq!(source.finder.folders().len(), 1);
}

#[test]
fn only_files_that_have_the_name_of_a_rotated_log_are_told_of() {
    let rotated = ["i.jsonl-2026", "i.jsonl.1", "i.jsonl.2", "i.jsonl_2026-01-31T10:00Z"];
    let others = ["i.jsonl.bz2", "i.jsonl.dead", "i.jsonl.old", "i.jsonl2"];
    let names = ["i.jsonl"].into_iter().chain(rotated).chain(others);
    let folder = folder(&names.map(|name| (name, name.as_bytes())).collect::<Vec<_>>());
    let mut source = source(&folder, &["i.jsonl"], true);
    source.discover().unwrap();
    let path = |name: &str| folder.path().canonicalize().unwrap().join(name);
    let words = |name| format!("`{}` (rotated before the job began)", path(name).display());
    let mut left_out = source.catalogue.beside_in_words();
    left_out.sort();
    assert_eq!(left_out, rotated.map(words));
}

/// A file name of each format that this program reads.
fn names() -> Vec<&'static str> {
    let mut names = vec!["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet"];
    names.truncate(if Feature::Parquet.is_built_in() { 4 } else { 3 });
    names
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, name in proptest::sample::select(names())) {
        let magic: &[u8] = match name {
            "a.jsonl.gz" => &[0x1f, 0x8b, 8],
            "a.jsonl.zst" => &[0x28, 0xb5, 0x2f, 0xfd],
            _ => b"PAR1",
        };
        let footer = [&(bytes.len() as u32).to_le_bytes(), &b"PAR1"[..]].concat();
        let folder = folder(&[(name, &bytes)]);
        read(&folder, name, 0, 10);
        fs::write(folder.path().join(name), [magic, &bytes, &footer].concat()).unwrap();
        read(&folder, name, 0, 10);
    }

    #[test]
    fn reading_in_pieces_of_any_size_gives_the_same_events(
        cuts in proptest::collection::vec(1..4_usize, 1..9),
        flip: proptest::sample::Index,
        byte: u8,
    ) {
        let mut bytes = lines(0..8).into_bytes();
        let place = flip.index(bytes.len());
        bytes[place] = byte;
        let folder = folder(&[("a.jsonl", &bytes)]);
        let whole = read(&folder, "a.jsonl", 0, 1000);
        let mut pieces = Batch::default();
        for records_max in cuts {
            let mut reader = open(&folder, "a.jsonl", false, pieces.next_offset).unwrap();
            reader.poll(&mut pieces, records_max).unwrap();
        }
        let mut reader = open(&folder, "a.jsonl", false, pieces.next_offset).unwrap();
        while reader.poll(&mut pieces, 1000).unwrap() == Polled::More {}
        prop_assert_eq!(pieces.events, whole.events);
        prop_assert_eq!(pieces.malformed, whole.malformed);
    }
}
