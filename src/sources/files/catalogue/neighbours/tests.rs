//! Files beside one that was given itself, with a name that rotating programs give.

use crate::sources::Source;
use crate::sources::files::catalogue::tests::{Follower, given};
use crate::sources::files::tests::{append, gzip, lines};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

fn age(path: &Path) {
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    fs::File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
}

fn read_often(follower: &mut Follower) -> Vec<(String, Vec<u64>)> {
    let mut read: Vec<_> = (0..4).flat_map(|_| follower.read()).collect();
    read.sort();
    read
}

#[test]
fn files_of_which_nothing_can_be_read_are_no_logs_until_something_can() {
    let mut follower = Follower::of("i.jsonl", &[("i.jsonl", &lines(0..2))]);
    let whole = gzip(lines(7..9).as_bytes());
    let useless = [
        ("i.jsonl.9.gz", b"this is not gzip".to_vec()),
        ("i.jsonl.8.gz", whole[..5].to_vec()),
        ("i.jsonl.7.gz", gzip(b"")),
        ("i.jsonl.6", Vec::new()),
        ("i.jsonl.5.zst", vec![0; 100]),
    ];
    let write = |follower: &Follower| {
        for (name, bytes) in &useless {
            fs::write(follower.path(name), bytes).unwrap();
            age(&follower.path(name));
        }
    };
    write(&follower);
    assert_eq!(read_often(&mut follower), [given("i.jsonl", 0..2)]);
    // Now they are made while the job runs.
    for (name, _) in &useless {
        fs::remove_file(follower.path(name)).unwrap();
    }
    assert_eq!(read_often(&mut follower), []);
    write(&follower);
    assert_eq!(read_often(&mut follower), []);
    assert_eq!(follower.readers.len(), 1);
    assert_eq!(follower.source.left_out(), [""; 0]);
    fs::write(follower.path("i.jsonl.8.gz"), whole).unwrap();
    assert_eq!(read_often(&mut follower), [given("i.jsonl.8.gz", 7..9)]);
}

#[test]
fn a_rotated_file_with_only_the_first_record_of_all_files_hides_none_of_them() {
    let header = lines([99]);
    let mut follower = Follower::of("i.jsonl", &[("i.jsonl", &lines([1])), ("i.jsonl.1", &header)]);
    assert_eq!(follower.read(), [given("i.jsonl", [1])]);
    // It is rotated three times between two discoveries.
    fs::rename(follower.path("i.jsonl.1"), follower.path("i.jsonl.4")).unwrap();
    fs::rename(follower.path("i.jsonl"), follower.path("i.jsonl.3")).unwrap();
    let [second, third] = [10, 20].map(|first| header.clone() + &lines(first..first + 2));
    fs::write(follower.path("i.jsonl.2.gz"), gzip(second.as_bytes())).unwrap();
    fs::write(follower.path("i.jsonl.1"), third).unwrap();
    fs::write(follower.path("i.jsonl"), &header).unwrap();
    let expected = [
        given("i.jsonl#2", [99]),
        given("i.jsonl.1", [99, 20, 21]),
        given("i.jsonl.2.gz", [99, 10, 11]),
    ];
    assert_eq!(read_often(&mut follower), expected);
}

#[test]
fn a_file_that_was_rotated_before_is_not_read_whatever_becomes_of_it() {
    let old: Vec<String> = [0..2, 300..500, 500..700].map(lines).into();
    for (number, old) in old.iter().enumerate() {
        let mut follower =
            Follower::of("i.jsonl", &[("i.jsonl", &lines([1000])), ("i.jsonl.1", old)]);
        assert_eq!(follower.read(), [given("i.jsonl", [1000])]);
        fs::rename(follower.path("i.jsonl.1"), follower.path("i.jsonl.2")).unwrap();
        assert_eq!(read_often(&mut follower), []);
        let compressed = gzip(old.as_bytes());
        for length in [compressed.len() / 2, compressed.len()] {
            fs::write(follower.path("i.jsonl.2.gz"), &compressed[..length]).unwrap();
            assert_eq!(read_often(&mut follower), [], "{number} {length}");
        }
        fs::remove_file(follower.path("i.jsonl.2")).unwrap();
        fs::rename(follower.path("i.jsonl.2.gz"), follower.path("i.jsonl.3.gz")).unwrap();
        assert_eq!(read_often(&mut follower), []);
        assert_eq!(follower.readers.len(), 1);
    }
}

#[test]
fn a_number_before_the_ending_is_a_rotation_only_of_a_log_that_is_known() {
    let mut follower = Follower::of("i.jsonl", &[("i.jsonl", &lines(0..2))]);
    assert_eq!(follower.read(), [given("i.jsonl", 0..2)]);
    // Another writer makes parts.
    fs::write(follower.path("i.1.jsonl"), lines(50..60)).unwrap();
    assert_eq!(read_often(&mut follower), []);
    append(&follower.folder, "i.jsonl", &lines(2..4));
    fs::rename(follower.path("i.jsonl"), follower.path("i.2.jsonl")).unwrap();
    fs::write(follower.path("i.jsonl"), lines(4..6)).unwrap();
    fs::write(follower.path("i-2026013110.jsonl"), lines(6..8)).unwrap();
    let expected =
        [given("i-2026013110.jsonl", 6..8), given("i.jsonl", 2..4), given("i.jsonl#2", 4..6)];
    assert_eq!(read_often(&mut follower), expected);
}

#[test]
fn a_file_that_was_given_twice_has_each_neighbour_once() {
    let mut follower = Follower::of("i.jsonl", &[("i.jsonl", &lines(0..2))]);
    follower.source =
        crate::sources::files::tests::source(&follower.folder, &["i.jsonl", "./i.jsonl"], true);
    assert_eq!(follower.read(), [given("i.jsonl", 0..2)]);
    fs::write(follower.path("i.jsonl.1"), lines(2..4)).unwrap();
    assert_eq!(read_often(&mut follower), [given("i.jsonl.1", 2..4)]);
}
