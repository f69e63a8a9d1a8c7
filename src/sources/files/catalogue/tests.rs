//! Files that are renamed, replaced, cut, copied or removed between discoveries.

use crate::event::Kind;
use crate::log::{PartitionName, PartitionProgress};
use crate::sources::files::FileSource;
use crate::sources::files::tests::{append, folder, gzip, lines, source};
use crate::sources::{Batch, PartitionReader, Polled, Source};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Reads what is there, and returns the videos.
fn videos(reader: &mut dyn PartitionReader) -> Vec<u64> {
    let mut batch = Batch::default();
    while reader.poll(&mut batch, 1000).unwrap() == Polled::More {
        if std::mem::take(&mut batch.bytes) == 0 {
            break;
        }
    }
    batch.events.iter().map(|event| event.video.0).collect()
}

/// Follows a folder as a job does: with a reader for each partition.
pub(super) struct Follower {
    pub(super) folder: TempDir,
    pub(super) source: FileSource,
    pub(super) readers: BTreeMap<String, Box<dyn PartitionReader>>,
}

impl Follower {
    pub(super) fn new(files: &[(&str, &str)]) -> Follower {
        Follower::of("", files)
    }

    /// Follows what an argument in the folder stands for.
    pub(super) fn of(argument: &str, files: &[(&str, &str)]) -> Follower {
        let files: Vec<(&str, &[u8])> =
            files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
        let folder = folder(&files);
        let source = source(&folder, &[argument], true);
        Follower { folder, source, readers: BTreeMap::new() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Looks for files, and reads what is there. Returns the videos of each partition that gave
    /// any.
    pub(super) fn read(&mut self) -> Vec<(String, Vec<u64>)> {
        self.discover();
        self.poll()
    }

    /// Looks for files.
    pub(super) fn discover(&mut self) {
        let discovered = self.source.discover().unwrap();
        for moved in self.source.take_moved() {
            if let Some(reader) = self.readers.get_mut(&moved.partition.name) {
                reader.relocate(moved.file.as_ref()).unwrap();
            }
        }
        for partition in discovered {
            let opened = || self.source.open(&partition, None).unwrap();
            self.readers.entry(partition.name.name.clone()).or_insert_with(opened);
        }
    }

    /// Reads what is there, and commits it.
    fn poll(&mut self) -> Vec<(String, Vec<u64>)> {
        let read = self.poll_uncommitted();
        self.commit();
        read
    }

    /// Reads what is there.
    fn poll_uncommitted(&mut self) -> Vec<(String, Vec<u64>)> {
        let read = self.readers.iter_mut().map(|(name, reader)| {
            let name = name.rsplit_once('/').unwrap().1.to_string();
            (name, videos(reader.as_mut()))
        });
        read.filter(|(_, videos)| !videos.is_empty()).collect()
    }

    /// Reports what was read as committed.
    fn commit(&mut self) {
        let progress = self.readers.iter().map(|(name, reader)| {
            let partition = PartitionName { kind: Kind::Impression, name: name.clone() };
            PartitionProgress {
                file: reader.file(),
                lost: reader.loss(),
                ..PartitionProgress::read_to(partition, 0)
            }
        });
        self.source.committed(&progress.collect::<Vec<_>>());
    }
}

pub(super) fn given(name: &str, videos: impl IntoIterator<Item = u64>) -> (String, Vec<u64>) {
    (name.to_string(), videos.into_iter().collect())
}

#[test]
fn a_file_that_is_cut_or_replaced_by_another_log_ends_and_the_other_is_a_new_partition() {
    for content in [lines(100..101), lines(100..120), lines(0..2)] {
        let mut follower = Follower::new(&[("a.jsonl", &lines(0..9))]);
        assert_eq!(follower.read(), [given("a.jsonl", 0..9)]);
        fs::write(follower.path("a.jsonl"), &content).unwrap();
        let new = content.lines().count();
        let read: Vec<_> = (0..4).flat_map(|_| follower.read()).collect();
        assert_eq!(read.len(), 1, "{read:?}");
        assert_eq!((read[0].0.as_str(), read[0].1.len()), ("a.jsonl#2", new), "{read:?}");
    }
}

#[test]
fn a_file_that_is_replaced_by_a_longer_copy_of_itself_goes_on_there() {
    let mut follower = Follower::new(&[("a.jsonl", &lines(0..3)), ("b.tmp", &lines(0..5))]);
    assert_eq!(follower.read(), [given("a.jsonl", 0..3)]);
    fs::rename(follower.path("b.tmp"), follower.path("a.jsonl")).unwrap();
    let read: Vec<_> = (0..2).flat_map(|_| follower.read()).collect();
    assert_eq!(read, [given("a.jsonl", 3..5)]);
    append(&follower.folder, "a.jsonl", &lines(5..6));
    assert_eq!(follower.read(), [given("a.jsonl", 5..6)]);
}

#[test]
fn files_that_begin_alike_are_told_apart_and_copies_are_not_read() {
    // More than 4 KiB are the same.
    let same = lines(0..100);
    let (one, other) = (same.clone() + &lines([200]), same.clone() + &lines([300]));
    let mut follower = Follower::new(&[("a.jsonl", &one), ("b.jsonl", &other)]);
    let read = follower.read();
    assert_eq!(read.iter().map(|(_, videos)| videos.len()).collect::<Vec<_>>(), [101, 101]);
    // A copy in the making, then a whole one, then one that goes on otherwise.
    fs::write(follower.path("c.jsonl"), &same[..2000]).unwrap();
    assert_eq!(follower.read(), []);
    fs::write(follower.path("c.jsonl"), &one).unwrap();
    assert_eq!(follower.read(), []);
    assert_eq!(follower.source.left_out().len(), 1);
    append(&follower.folder, "a.jsonl", &lines([201]));
    assert_eq!(follower.read(), [given("a.jsonl", [201])]);
    append(&follower.folder, "c.jsonl", &lines([202]));
    assert_eq!(follower.read(), [given("c.jsonl", (0..100).chain([200, 202]))]);
    assert_eq!(follower.source.left_out(), [""; 0]);
}

#[cfg(unix)]
#[test]
fn a_followed_file_that_becomes_a_fifo_or_a_folder_or_vanishes_ends() {
    use std::process::Command;
    let mut follower = Follower::new(&[("a.jsonl", &lines(0..3)), ("b.jsonl", &lines(3..5))]);
    assert_eq!(follower.read().len(), 2);
    fs::remove_file(follower.path("a.jsonl")).unwrap();
    assert!(Command::new("mkfifo").arg(follower.path("a.jsonl")).status().unwrap().success());
    fs::remove_file(follower.path("b.jsonl")).unwrap();
    fs::create_dir(follower.path("b.jsonl")).unwrap();
    fs::create_dir(follower.path("no_file.jsonl")).unwrap();
    assert_eq!((0..4).flat_map(|_| follower.read()).collect::<Vec<_>>(), []);
    for reader in follower.readers.values_mut() {
        assert_eq!(reader.poll(&mut Batch::default(), 9).unwrap(), Polled::Exhausted);
    }
}

#[test]
fn a_file_that_vanishes_or_changes_before_it_is_opened_is_waited_for() {
    for is_renamed in [true, false] {
        let mut follower = Follower::new(&[("a.jsonl", &lines(0..3))]);
        let found = follower.source.discover().unwrap();
        let to = if is_renamed { follower.path("a.jsonl.1") } else { follower.path("away") };
        fs::rename(follower.path("a.jsonl"), to).unwrap();
        fs::write(follower.path("a.jsonl"), lines(10..12)).unwrap();
        let reader = follower.source.open(&found[0], None).unwrap();
        follower.readers.insert(found[0].name.name.clone(), reader);
        let mut read: Vec<_> = (0..4).flat_map(|_| follower.read()).collect();
        read.sort();
        let new = given("a.jsonl#2", 10..12);
        let expected = if is_renamed { vec![given("a.jsonl", 0..3), new] } else { vec![new] };
        assert_eq!(read, expected);
    }
}

#[test]
fn a_reader_that_is_told_of_a_copy_before_it_sees_the_cut_goes_on_there() {
    let mut follower = Follower::new(&[("a.jsonl", &lines(0..9))]);
    assert_eq!(follower.read(), [given("a.jsonl", 0..9)]);
    append(&follower.folder, "a.jsonl", &lines(9..12));
    fs::copy(follower.path("a.jsonl"), follower.path("a.jsonl.1")).unwrap();
    fs::write(follower.path("a.jsonl"), lines(20..22)).unwrap();
    let mut read: Vec<_> = (0..3).flat_map(|_| follower.read()).collect();
    read.sort();
    assert_eq!(read, [given("a.jsonl", 9..12), given("a.jsonl#2", 20..22)]);
}

#[test]
fn a_file_that_is_written_anew_with_the_same_content_is_read_on_in_its_place() {
    // What is there while the reader, and then the discovery, looks at the file.
    for (seen, found) in [(1, 9), (0, 9), (1, 1), (0, 0), (1, 12)] {
        for later in [9, 12] {
            let mut follower = Follower::new(&[("a.jsonl", &lines(0..9))]);
            assert_eq!(follower.read(), [given("a.jsonl", 0..9)]);
            fs::write(follower.path("a.jsonl"), lines(0..seen)).unwrap();
            assert_eq!(follower.poll(), []);
            fs::write(follower.path("a.jsonl"), lines(0..found)).unwrap();
            follower.discover();
            fs::write(follower.path("a.jsonl"), lines(0..later.max(found))).unwrap();
            let mut read: Vec<_> = (0..2).flat_map(|_| follower.read()).collect();
            append(&follower.folder, "a.jsonl", &lines(12..15));
            read.extend((0..2).flat_map(|_| follower.read()));
            // What a discovery finds shorter than what was read is another log.
            let name = if found == 1 { "a.jsonl#2" } else { "a.jsonl" };
            assert!(read.iter().all(|(read, _)| read == name), "{seen} {found} {later}: {read:?}");
            let videos: Vec<u64> = read.into_iter().flat_map(|(_, videos)| videos).collect();
            let first = if found == 1 { 0 } else { 9 };
            let expected: Vec<u64> = (first..later.max(found)).chain(12..15).collect();
            assert_eq!(videos, expected, "{seen} {found} {later}");
        }
    }
}

#[test]
fn a_file_that_is_shorter_than_what_was_read_since_is_another_log() {
    let mut follower = Follower::new(&[("a.jsonl", &lines(0..100))]);
    follower.discover();
    // It begins the same for more than 4 KiB.
    // What was read is committed only after the discovery that saw the cut.
    assert_eq!(follower.poll_uncommitted(), [given("a.jsonl", 0..100)]);
    fs::write(follower.path("a.jsonl"), lines(0..90)).unwrap();
    follower.discover();
    let read: Vec<_> = (0..5).flat_map(|_| follower.read()).collect();
    assert_eq!(read, [given("a.jsonl#2", 0..90)]);
}

#[test]
fn a_file_that_is_away_while_it_is_opened_is_read_when_it_is_back() {
    let mut follower = Follower::new(&[("a.jsonl", &lines(0..3))]);
    let found = follower.source.discover().unwrap();
    fs::rename(follower.path("a.jsonl"), follower.path("away")).unwrap();
    let reader = follower.source.open(&found[0], None).unwrap();
    follower.readers.insert(found[0].name.name.clone(), reader);
    assert_eq!(follower.poll(), []);
    fs::rename(follower.path("away"), follower.path("a.jsonl")).unwrap();
    let started = Instant::now();
    let mut read = follower.read();
    while read.is_empty() && started.elapsed() < Duration::from_secs(9) {
        std::thread::sleep(Duration::from_millis(50));
        read = follower.read();
    }
    assert_eq!(read, [given("a.jsonl", 0..3)]);
}

#[test]
fn a_compressed_copy_in_the_making_is_no_log_until_it_can_be_read() {
    let compressed = gzip(lines(0..9).as_bytes());
    let mut follower = Follower::new(&[("a.jsonl", &lines(0..9))]);
    assert_eq!(follower.read(), [given("a.jsonl", 0..9)]);
    for length in [5, 12, compressed.len()] {
        fs::write(follower.path("a-1.jsonl.gz"), &compressed[..length]).unwrap();
        assert_eq!(follower.read(), [], "{length}");
    }
    fs::remove_file(follower.path("a.jsonl")).unwrap();
    assert_eq!((0..3).flat_map(|_| follower.read()).collect::<Vec<_>>(), []);
    assert_eq!(follower.readers.len(), 1);
    // One that stays so is damaged.
    fs::write(follower.path("b.jsonl.gz"), &compressed[..5]).unwrap();
    assert_eq!(follower.source.discover().unwrap().len(), 1);
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(60);
    let file = fs::OpenOptions::new().write(true).open(follower.path("b.jsonl.gz")).unwrap();
    file.set_modified(long_ago).unwrap();
    assert_eq!(follower.source.discover().unwrap().len(), 2);
}

#[test]
fn a_file_that_begins_as_was_known_but_not_as_was_read_is_another_log() {
    let mut follower = Follower::new(&[("a.jsonl", &lines(0..1))]);
    assert_eq!(follower.read(), [given("a.jsonl", 0..1)]);
    append(&follower.folder, "a.jsonl", &lines(1..100));
    assert_eq!(follower.poll_uncommitted(), [given("a.jsonl", 1..100)]);
    // What was read is committed only after the discovery that saw the change.
    fs::write(follower.path("a.jsonl"), lines((0..1).chain(500..700))).unwrap();
    follower.discover();
    let read: Vec<_> = (0..5).flat_map(|_| follower.read()).collect();
    assert_eq!(read, [given("a.jsonl#2", (0..1).chain(500..700))]);
}

/// Returns the names of the files that are read, and of those that are copies.
fn read_and_copied(source: &mut FileSource) -> (Vec<String>, Vec<String>) {
    let name = |path: &str| path.rsplit_once('/').unwrap().1.to_owned();
    let read = source.discover().unwrap().into_iter().map(|found| name(&found.name.name));
    let copied = source.left_out().into_iter().map(|words| {
        assert!(words.contains("` (a copy of `"), "{words}");
        name(words.split('`').nth(1).unwrap())
    });
    (read.collect(), copied.collect())
}

#[test]
fn of_copies_that_are_there_at_the_start_the_longest_is_read_and_the_others_are_named() {
    // More than 4 KiB are the same.
    let (same, other) = (lines(0..100), lines((0..100).chain([300])));
    let files = [
        ("part.jsonl", lines(0..100).as_bytes()[..3000].to_vec()),
        ("a.jsonl", same.clone().into_bytes()),
        ("equal.jsonl", same.clone().into_bytes()),
        ("longer.jsonl", lines(0..101).into_bytes()),
        ("other.jsonl", other.clone().into_bytes()),
        ("other_line.jsonl", lines(7..8).into_bytes()),
        ("packed.jsonl.gz", gzip(same.as_bytes())),
        ("packed_part.jsonl.gz", gzip(same.as_bytes())[..300].to_vec()),
        ("packed_unlike.jsonl.gz", gzip(lines((0..100).chain([400])).as_bytes())),
    ];
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, text)| (*name, &text[..])).collect();
    let folder = folder(&files);
    let read = ["longer.jsonl", "other.jsonl", "other_line.jsonl", "packed_unlike.jsonl.gz"];
    let copied =
        ["a.jsonl", "equal.jsonl", "packed.jsonl.gz", "packed_part.jsonl.gz", "part.jsonl"];
    for follow in [false, true] {
        let mut source = source(&folder, &[""], follow);
        if follow {
            // A compressed file may be in the making: it is read a discovery later.
            source.discover().unwrap();
        }
        for _ in 0..2 {
            let expected = (read.map(String::from).to_vec(), copied.map(String::from).to_vec());
            assert_eq!(read_and_copied(&mut source), expected, "{follow}");
        }
    }
}

#[test]
fn a_copy_in_the_making_at_the_start_is_where_the_log_goes_on_after_the_cut() {
    let mut follower =
        Follower::new(&[("a.jsonl", &lines(0..50)), ("a-1.jsonl", &lines(0..50)[..1000])]);
    assert_eq!(follower.read(), [given("a.jsonl", 0..50)]);
    append(&follower.folder, "a.jsonl", &lines(50..60));
    fs::copy(follower.path("a.jsonl"), follower.path("a-1.jsonl")).unwrap();
    fs::write(follower.path("a.jsonl"), lines(60..62)).unwrap();
    let mut read: Vec<_> = (0..3).flat_map(|_| follower.read()).collect();
    read.sort();
    assert_eq!(read, [given("a.jsonl", 50..60), given("a.jsonl#2", 60..62)]);
}

#[test]
fn rotated_files_that_a_pattern_or_folder_stands_for_are_read() {
    for argument in ["", "i*", "i.jsonl*"] {
        let mut follower = Follower::of(
            argument,
            &[("i.jsonl", &lines(0..2)), ("i.jsonl.1", &lines(2..4)), ("i.jsonl.old", "x")],
        );
        let first = [given("i.jsonl", 0..2), given("i.jsonl.1", 2..4)];
        assert_eq!(follower.read(), first, "{argument}");
        fs::rename(follower.path("i.jsonl.1"), follower.path("i.jsonl.2")).unwrap();
        fs::rename(follower.path("i.jsonl"), follower.path("i.jsonl.1")).unwrap();
        fs::write(follower.path("i.jsonl"), lines(4..6)).unwrap();
        fs::write(follower.path("i.jsonl-20260131.gz"), gzip(lines(6..8).as_bytes())).unwrap();
        let mut read: Vec<_> = (0..3).flat_map(|_| follower.read()).collect();
        read.sort();
        assert_eq!(read, [given("i.jsonl#2", 4..6), given("i.jsonl-20260131.gz", 6..8)]);
    }
}

#[test]
fn a_given_file_that_is_rotated_twice_between_discoveries_loses_nothing() {
    let mut follower = Follower::of(
        "i.jsonl",
        &[("i.jsonl", &lines(0..2)), ("i.jsonl.1", &lines(50..52)), ("i.jsonl.2", &lines(60..62))],
    );
    assert_eq!(follower.read(), [given("i.jsonl", 0..2)]);
    // What was rotated before is not read, and is named.
    assert_eq!(follower.source.catalogue.beside_in_words().len(), 2);
    for round in 1..4_u64 {
        for (number, compressed) in [(3, false), (2, false), (1, true)] {
            let from = follower.path(&format!("i.jsonl.{number}"));
            let to = follower.path(&format!("i.jsonl.{}", number + 1));
            let Ok(text) = fs::read(&from) else { continue };
            fs::rename(from, &to).unwrap();
            if compressed && round == 2 {
                fs::write(follower.path("i.jsonl.2.gz"), gzip(&text)).unwrap();
                fs::remove_file(to).unwrap();
            }
        }
        fs::rename(follower.path("i.jsonl"), follower.path("i.jsonl.1")).unwrap();
        fs::write(follower.path("i.jsonl"), lines(round * 10..round * 10 + 2)).unwrap();
        if round == 2 {
            append(&follower.folder, "i.jsonl.1", &lines([19]));
        }
    }
    let mut videos: Vec<u64> =
        (0..4).flat_map(|_| follower.read()).flat_map(|(_, videos)| videos).collect();
    videos.sort_unstable();
    assert_eq!(videos, [10, 11, 19, 20, 21, 30, 31]);
    assert_eq!((0..3).flat_map(|_| follower.read()).collect::<Vec<_>>(), []);
}
