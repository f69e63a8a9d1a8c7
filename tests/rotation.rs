//! Files that change identity while a job follows them: renamed, replaced, cut, copied, compressed
//! and removed, while the job runs and while it does not. Every line is counted once, or the job
//! says what was lost.

mod common;

use common::event;
use common::files::{gzip, line};
use common::program::{Running, wait_until};
use common::workspace::{Workspace, counted, lines, rename, stop, wait};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fs;
use std::time::{Duration, Instant};

/// What the job of most tests reads.
const INPUT: [&str; 2] = ["--impressions", "i*.jsonl"];

/// `copytruncate` of logrotate.
fn copy_and_cut(place: &Workspace, from: &str, to: &str) {
    fs::copy(place.path(from), place.path(to)).unwrap();
    fs::OpenOptions::new().write(true).open(place.path(from)).unwrap().set_len(0).unwrap();
}

fn partitions(place: &Workspace) -> Vec<String> {
    let folder = format!("{}/", place.partition("."));
    let names = place.select("partition FROM partitions");
    names.into_iter().map(|name| name.replace(&folder, "")).collect()
}

#[test]
fn a_file_that_is_renamed_and_made_anew_is_read_to_its_end_and_the_new_one_from_its_start() {
    for input in [["--impressions", "i*.jsonl"], ["--impressions", "i.jsonl"]] {
        let place = Workspace::new();
        place.write("i.jsonl", lines(0..5));
        let mut job = place.follow(&input);
        wait(&mut job, &place, 5);
        // The writer goes on for a while in the renamed file.
        rename(&place, "i.jsonl", "i-1.jsonl");
        place.append("i-1.jsonl", lines(5..7));
        place.append("i.jsonl", lines(7..8));
        wait(&mut job, &place, 8);
        place.append("i-1.jsonl", lines(8..9));
        wait(&mut job, &place, 9);
        stop(job);
        let mut job = place.follow(&input);
        place.append("i.jsonl", lines(9..12));
        wait(&mut job, &place, 12);
        stop(job);
        assert_eq!(counted(&place), (12, 12), "{input:?}");
        assert_eq!(partitions(&place), ["i.jsonl", "i.jsonl#2"]);
    }
}

#[test]
fn a_file_that_is_replaced_by_a_longer_one_is_another_log() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..5));
    let mut job = place.follow(&["--impressions", "i.jsonl"]);
    wait(&mut job, &place, 5);
    place.write("new", lines(100..108));
    rename(&place, "i.jsonl", "i.jsonl.1");
    rename(&place, "new", "i.jsonl");
    wait(&mut job, &place, 13);
    stop(job);
    assert_eq!(counted(&place), (13, 13));
}

#[test]
fn a_file_that_is_copied_and_cut_goes_on_in_the_copy() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..500));
    let mut job = place.follow(&INPUT);
    wait(&mut job, &place, 500);
    job.suspend();
    place.append("i.jsonl", lines(500..900));
    copy_and_cut(&place, "i.jsonl", "i-1.jsonl");
    place.append("i.jsonl", lines(900..1_000));
    job.resume();
    wait(&mut job, &place, 1_000);
    // Again, and the job does not run.
    stop(job);
    place.append("i.jsonl", lines(1_000..1_100));
    rename(&place, "i-1.jsonl", "i-2.jsonl");
    copy_and_cut(&place, "i.jsonl", "i-1.jsonl");
    place.append("i.jsonl", lines(1_100..1_200));
    let mut job = place.follow(&INPUT);
    wait(&mut job, &place, 1_200);
    stop(job);
    assert_eq!(counted(&place), (1_200, 1_200));
    assert_eq!(partitions(&place), ["i.jsonl", "i.jsonl#2", "i.jsonl#3"]);
}

#[test]
fn a_compressed_copy_is_the_log_that_it_was_made_of() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..300));
    let input = ["--impressions", "i*.jsonl", "i*.jsonl.gz"];
    let mut job = place.follow(&input);
    wait(&mut job, &place, 300);
    // The copy is there before the original is removed.
    rename(&place, "i.jsonl", "i-1.jsonl");
    place.write("i-1.jsonl.gz", gzip(lines(0..300).as_bytes()));
    place.append("i.jsonl", lines(300..400));
    wait(&mut job, &place, 400);
    fs::remove_file(place.path("i-1.jsonl")).unwrap();
    place.append("i.jsonl", lines(400..450));
    wait(&mut job, &place, 450);
    stop(job);
    // Open epochs need both again.
    let mut job = place.follow(&input);
    place.append("i.jsonl", lines(450..500));
    wait(&mut job, &place, 500);
    stop(job);
    assert_eq!(counted(&place), (500, 500));
    assert_eq!(partitions(&place), ["i.jsonl", "i.jsonl#2"]);
}

#[test]
fn a_log_that_was_cut_without_a_copy_is_lost_from_a_stated_offset_and_the_job_goes_on() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..500));
    let mut job = place.follow(&INPUT);
    wait(&mut job, &place, 500);
    fs::write(place.path("i.jsonl"), lines(1_000..1_010)).unwrap();
    wait(&mut job, &place, 510);
    let said = "i.jsonl was cut or written anew after offset 500, and no copy of it was found";
    wait_until("the loss is told", || job.stderr().contains(said));
    stop(job);
    assert_eq!(counted(&place), (510, 510));
}

#[test]
fn a_log_that_was_removed_and_comes_back_is_read_on() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..50));
    let follow = ["--follow", "--publish-interval", "20ms", "--idle-timeout", "100ms"];
    let arguments = [&INPUT[..], &follow].concat();
    let mut job = Running::start(place.command(&arguments).env("RUST_LOG", "info"));
    wait(&mut job, &place, 50);
    fs::remove_file(place.path("i.jsonl")).unwrap();
    job.wait_until_said("i.jsonl is gone from its folders");
    // Another log shows that the job goes on.
    place.append("i-2.jsonl", lines(100..110));
    wait(&mut job, &place, 60);
    place.write("new", lines(0..70));
    rename(&place, "new", "i.jsonl");
    wait(&mut job, &place, 80);
    place.append("i.jsonl", lines(70..75));
    wait(&mut job, &place, 85);
    stop(job);
    assert_eq!(counted(&place), (85, 85));
}

#[test]
fn a_log_whose_copy_comes_before_its_loss_is_committed_is_read_on() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..200));
    let slow = ["--follow", "--publish-interval", "4s", "--idle-timeout", "100ms"];
    let mut job = Running::start(&mut place.command(&[&INPUT[..], &slow].concat()));
    wait(&mut job, &place, 200);
    fs::write(place.path("i.jsonl"), lines(1_000..1_010)).unwrap();
    job.wait_until_said("no copy of it was found");
    assert_eq!(place.select("lost FROM partitions"), [""], "nothing is committed yet");
    place.write(".copy", lines(0..260));
    rename(&place, ".copy", "i-1.jsonl");
    wait(&mut job, &place, 270);
    stop(job);
    assert_eq!(counted(&place), (270, 270));
    assert_eq!(place.select("count(lost) FROM partitions"), ["0"]);
}

#[test]
fn a_log_that_must_be_read_again_and_is_lost_can_be_given_up() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..500));
    let mut job = place.follow(&INPUT);
    wait(&mut job, &place, 500);
    stop(job);
    let before = place.select("video_id, epoch, plays, impressions FROM trends");
    let publication = place.number("publications FROM job");
    fs::remove_file(place.path("i.jsonl")).unwrap();
    place.write("i-new.jsonl", lines(500..510));
    let flag = format!("--accept-loss {publication}");
    let lost = Running::start(&mut place.command(&INPUT)).finish();
    let offsets = "was read up to offset 500, and must be read again from offset 0";
    lost.failed(1, &[offsets, "it was removed, replaced or cut", &flag]);
    // Another number has no effect, so that the flag does no harm where it stays.
    let other = (publication + 1).to_string();
    let other = [&INPUT[..], &["--accept-loss", &other]].concat();
    place.run(&other).failed(1, &["has no effect", offsets]);
    let publication = publication.to_string();
    let given_up = [&INPUT[..], &["--accept-loss", &publication]].concat();
    let mut job = place.follow(&given_up);
    // They belong to epochs that were given up.
    job.wait_until("the new events are late", || {
        place.number("coalesce(sum(late_events), 0) FROM ledger") == 10
    });
    stop(job);
    let mut job = place.follow(&given_up);
    let later = line(&event(0, 1, 1, 1_000_000_000));
    place.append("i-new.jsonl", later);
    job.wait_until("a later event counts", || counted(&place).0 == 501);
    let stderr = stop(job);
    assert!(stderr.contains("has no effect"), "{stderr}");
    let after = place.select("video_id, epoch, plays, impressions FROM trends WHERE epoch < 100");
    assert_eq!(after, before);
    assert_eq!(place.select("min(final) FROM trends WHERE epoch < 100"), ["1"]);
}

#[test]
fn a_log_whose_epochs_are_final_may_be_removed() {
    for is_removed_after_the_stop in [false, true] {
        let place = Workspace::new();
        place.write("i-1.jsonl", lines(0..50));
        let mut job = place.follow(&INPUT);
        wait(&mut job, &place, 50);
        if !is_removed_after_the_stop {
            fs::remove_file(place.path("i-1.jsonl")).unwrap();
        }
        place.append("i-2.jsonl", line(&event(0, 1, 1, 1_000_000_000)));
        job.wait_until("the first epoch is final", || {
            place.number("coalesce(min(final), 0) FROM trends WHERE epoch = 0") == 1
        });
        wait(&mut job, &place, 51);
        stop(job);
        if is_removed_after_the_stop {
            fs::remove_file(place.path("i-1.jsonl")).unwrap();
        }
        let mut job = place.follow(&INPUT);
        place.append("i-2.jsonl", line(&event(1, 2, 2, 1_000_001_000)));
        wait(&mut job, &place, 52);
        stop(job);
        assert_eq!(counted(&place), (52, 52));
    }
}

#[test]
fn a_log_is_found_in_its_copy_when_its_file_goes() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..300));
    place.write("i-copy.jsonl", lines(0..300));
    let mut job = place.follow(&INPUT);
    wait(&mut job, &place, 300);
    let told = stop(job);
    assert!(told.contains("` (a copy of `"), "{told}");
    assert_eq!(counted(&place), (300, 300));
    let read = partitions(&place).remove(0);
    fs::remove_file(place.path(&read)).unwrap();
    let left = if read == "i.jsonl" { "i-copy.jsonl" } else { "i.jsonl" };
    let mut job = place.follow(&INPUT);
    place.append(left, lines(300..310));
    wait(&mut job, &place, 310);
    stop(job);
    assert_eq!(counted(&place), (310, 310));
}

#[test]
fn a_log_that_has_become_a_part_of_another_is_read_again_from_there() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..300));
    let mut job = place.follow(&INPUT);
    wait(&mut job, &place, 300);
    // It is longer, and so no copy.
    place.write(".i-2", lines(0..310));
    rename(&place, ".i-2", "i-2.jsonl");
    wait(&mut job, &place, 610);
    stop(job);
    fs::remove_file(place.path("i.jsonl")).unwrap();
    for round in 1..3 {
        let mut job = place.follow(&INPUT);
        job.wait_until_said("another log that begins as it did");
        place.append("i-2.jsonl", lines(300 + round * 10..310 + round * 10));
        wait(&mut job, &place, 610 + round as i64 * 10);
        stop(job);
    }
    assert_eq!(counted(&place), (330, 630));
}

#[test]
fn a_given_file_that_was_rotated_twice_while_no_job_ran_is_read_from_all_its_files() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..50));
    let old = place.write("i.jsonl.1", lines(500..510));
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    fs::File::options().write(true).open(old).unwrap().set_modified(long_ago).unwrap();
    let input = ["--impressions", "i.jsonl"];
    let mut job = place.follow(&input);
    job.wait_until_said("i.jsonl.1` (rotated before the job began)");
    wait(&mut job, &place, 50);
    stop(job);
    rename(&place, "i.jsonl.1", "i.jsonl.3");
    rename(&place, "i.jsonl", "i.jsonl.2");
    place.write("i.jsonl.1", lines(50..60));
    place.write("i.jsonl", lines(60..70));
    let mut job = place.follow(&input);
    wait(&mut job, &place, 70);
    let told = stop(job);
    assert!(told.contains("i.jsonl.3` (rotated before") && !told.contains("i.jsonl.1`"), "{told}");
    assert_eq!(counted(&place), (70, 70));
}

/// Files that are written and rotated at random, with what was written to them.
struct Rotation {
    place: Workspace,
    random: ChaCha8Rng,
    /// The number of lines that were written.
    written: u64,
    /// The number of files that were rotated.
    rotated: u64,
    /// Everything that was done, for a failure.
    done: Vec<String>,
}

impl Rotation {
    fn write(&mut self, name: &str) {
        let count = self.random.random_range(1..40);
        self.place.append(name, lines(self.written..self.written + count));
        self.written += count;
    }

    /// Waits until a job has committed all that was written.
    fn wait(&self, job: &mut Running, seed: u64) {
        let (written, started) = (self.written as i64, Instant::now());
        while self.place.events_committed() < written && !job.has_ended() {
            let told = || format!("seed {seed}: {written} {:?}\n{}", self.done, job.stderr());
            assert!(started.elapsed() < Duration::from_secs(20), "{}", told());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn note(&mut self, what: &str) {
        self.done.push(format!("{what} at {}", self.written));
    }

    /// The last rotated file, if it is not compressed or removed.
    fn last(&self) -> Option<String> {
        let name = format!("i-{}.jsonl", self.rotated);
        self.place.path(&name).exists().then_some(name)
    }

    /// Does the next thing that writers and rotating programs do.
    fn step(&mut self) {
        let last = self.last();
        let next = format!("i-{}.jsonl", self.rotated + 1);
        let is_there = self.place.path("i.jsonl").exists();
        match (self.random.random_range(0..10), last) {
            (0 | 1, _) if is_there => {
                self.note("rename");
                rename(&self.place, "i.jsonl", &next);
                self.rotated += 1;
            }
            (2 | 3, _) if is_there => {
                self.note("copy and cut");
                copy_and_cut(&self.place, "i.jsonl", &next);
                self.rotated += 1;
            }
            (4, Some(last)) => {
                self.note("write to the renamed file");
                self.write(&last);
            }
            (5, Some(last)) => {
                self.note("compress");
                let bytes = gzip(&fs::read(self.place.path(&last)).unwrap());
                self.place.write(&format!(".{last}.gz"), bytes);
                rename(&self.place, &format!(".{last}.gz"), &format!("{last}.gz"));
                fs::remove_file(self.place.path(&last)).unwrap();
            }
            _ => self.write("i.jsonl"),
        }
    }
}

#[test]
fn every_line_is_counted_once_however_files_are_rotated_and_jobs_are_killed() {
    for seed in 0..seeds() {
        check_rotation(seed);
    }
}

fn seeds() -> u64 {
    std::env::var("TRENDMARK_TEST_ROTATIONS").map_or(4, |seeds| seeds.parse().unwrap())
}

fn check_rotation(seed: u64) {
    let random = ChaCha8Rng::seed_from_u64(seed);
    let (place, done) = (Workspace::new(), Vec::new());
    let mut files = Rotation { place, random, written: 0, rotated: 0, done };
    files.write("i.jsonl");
    let input = ["--impressions", "i*.jsonl", "i*.jsonl.gz"];
    for _ in 0..4 {
        let mut job = files.place.follow(&input);
        for _ in 0..files.random.random_range(1..12) {
            files.step();
            std::thread::sleep(Duration::from_millis(files.random.random_range(0..200)));
        }
        if files.random.random_bool(0.5) {
            // A kill would let a reader that waits for ever begin anew.
            files.wait(&mut job, seed);
        }
        job.kill();
        job.finish();
        files.note("kill");
        for _ in 0..files.random.random_range(0..4) {
            files.step();
        }
    }
    files.write("i.jsonl");
    let (place, written) = (&files.place, files.written as i64);
    let mut job = place.follow(&input);
    files.wait(&mut job, seed);
    let told = stop(job);
    assert_eq!(counted(place), (written, written), "seed {seed}: {:?}\n{told}", files.done);
    assert!(!told.contains("lost"), "seed {seed}: {:?}\n{told}", files.done);
}
