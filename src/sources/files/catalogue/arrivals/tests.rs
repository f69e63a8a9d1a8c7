//! Files that are too large to be compared to their ends in a discovery.

use crate::sources::Source;
use crate::sources::files::catalogue::tests::Follower;
use crate::sources::files::tests::{folder, gzip, line, lines, source};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// More lines than are compared, and few of them.
fn large() -> String {
    let padding = " ".repeat(1 << 20);
    (0..70).map(|video| line(video) + &padding + "\n").collect()
}

fn age(path: &Path) {
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    fs::File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
}

#[test]
fn compressed_logs_that_begin_alike_for_long_are_both_read_once_they_are_complete() {
    let large = large();
    let mut follower = Follower::new(&[]);
    let one = gzip(large.as_bytes());
    let other = gzip((large + &lines(100..110)).as_bytes());
    fs::write(follower.path("a.jsonl.gz"), one).unwrap();
    follower.discover();
    fs::write(follower.path("b.jsonl.gz"), other).unwrap();
    for _ in 0..3 {
        follower.discover();
    }
    // It was written just now, and nobody can tell.
    assert_eq!(follower.readers.len(), 1);
    let told = follower.source.left_out();
    assert!(told.len() == 1 && told[0].ends_with("a.jsonl.gz`, so far)"), "{told:?}");
    age(&follower.path("b.jsonl.gz"));
    for _ in 0..3 {
        follower.discover();
    }
    assert_eq!(follower.readers.len(), 2);
    assert_eq!(follower.source.left_out(), [""; 0]);
}

#[test]
fn without_following_no_more_is_compared_before_the_job_begins() {
    let large = large().into_bytes();
    let compressed = gzip(&large);
    let folder = folder(&[("a.jsonl", &large), ("b.jsonl", &large), ("c.jsonl.gz", &compressed)]);
    let mut source = source(&folder, &[""], false);
    assert_eq!(source.discover().unwrap().len(), 3);
    assert_eq!(source.left_out(), [""; 0]);
}

#[test]
fn plain_copies_that_are_followed_are_compared_to_their_ends_in_several_discoveries() {
    let large = large();
    let (copy, other) = (large.clone(), large.clone() + &line(1) + "\n");
    let mut follower = Follower::new(&[("a.jsonl", &(large + &lines(100..110)))]);
    follower.discover();
    fs::write(follower.path("b.jsonl"), copy).unwrap();
    fs::write(follower.path("c.jsonl"), other).unwrap();
    follower.discover();
    assert_eq!(follower.readers.len(), 1);
    assert!(follower.source.left_out().iter().all(|told| told.ends_with("so far)")));
    follower.discover();
    assert_eq!(follower.readers.len(), 2);
    let told = follower.source.left_out();
    assert!(told.len() == 1 && told[0].contains("b.jsonl` (a copy of `"), "{told:?}");
}
