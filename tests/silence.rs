//! Input that was named and not read, or read and not usable, is said: in an error if nothing was
//! usable, and otherwise in a warning at the start and in the last lines.

mod common;

use common::event;
#[cfg(feature = "parquet")]
use common::files::{Record, encode};
use common::files::{gzip, line};
use common::program::{Finished, Running, trendmark};
use common::workspace::{Workspace, lines};

#[test]
fn a_folder_of_which_nothing_is_read_is_an_error_that_names_what_it_has() {
    let place = Workspace::new();
    for name in ["imp/_SUCCESS", "imp/part-00000.json", "imp/sub/a.jsonl", "imp/.hidden.jsonl"] {
        place.write(name, lines(0..1));
    }
    let said = ["nothing in the folder `imp` can be read", "part-00000.json`", "sub` (a folder"];
    place.run(&["--impressions", "imp"]).failed(1, &said);
    assert!(!place.path("s.db").exists());
    // A followed folder may be empty at the start.
    let mut job = place.follow(&["--impressions", "imp"]);
    place.write("imp/a.jsonl", lines(0..3));
    job.wait_until("a later file is read", || place.events_committed() == 3);
    job.interrupt();
    let finished = job.finish().succeeded();
    assert!(finished.stderr.contains("not read: "), "{finished:#?}");
    assert!(finished.stdout.contains("part-00000.json`"), "{finished:#?}");
}

#[test]
fn parts_of_tables_and_endings_in_any_case_are_read_and_other_files_are_named() {
    let place = Workspace::new();
    place.write("imp/a.JSONL", lines(0..1));
    place.write("imp/dt=2026-01-01/hour=00/part-0.NdJson", lines(1..3));
    place.write("imp/dt=2026-01-02/part-0.jsonl", lines(3..4));
    place.write("imp/dt=2026-01-02/part-1.csv", "");
    place.write("imp/b.json", lines(4..5));
    let finished = place.run(&["--impressions", "imp"]).succeeded();
    assert_eq!(place.events_committed(), 4);
    for text in [&finished.stdout, &finished.stderr] {
        assert!(text.contains("not read: "), "{finished:#?}");
        assert!(text.contains("b.json`") && text.contains("part-1.csv`"), "{finished:#?}");
    }
}

#[test]
fn a_job_that_could_use_nothing_of_a_log_fails_and_commits_the_other() {
    let place = Workspace::new();
    place.write("i.jsonl", "x\n".repeat(50));
    place.write("p.jsonl", lines(0..1));
    let input = ["--impressions", "i.jsonl", "--plays", "p.jsonl"];
    let said = ["all 50 records of the impressions are malformed; first: ", "i.jsonl line 1: "];
    let finished = place.run(&input);
    assert!(finished.stdout.contains("50 malformed records"), "{finished:#?}");
    finished.failed(6, &said);
    assert_eq!(place.select("events FROM ledger"), ["1"]);
    // Nothing is read any more, and the logs are no better.
    let most = format!("malformed; most of them in {}", place.partition("i.jsonl"));
    for _ in 0..2 {
        place.run(&input).failed(6, &["all 50 records of the impressions are malformed", &most]);
    }
    // The other log is usable, and so is this one with an event.
    place.run(&["--plays", "p.jsonl"]).succeeded();
    place.write("more.jsonl", lines(1..2));
    place.run(&["--impressions", "*.jsonl"]).succeeded();
}

/// The end of a file that cannot be read is input that was named and left out.
#[test]
fn a_file_that_is_cut_off_fails_the_job_at_its_end_whenever_it_runs() {
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() * 2 / 3].to_vec();
    let many = lines(10..2_000);
    let files = [
        ("cut.jsonl.gz", cut(gzip(many.as_bytes()))),
        ("cut.jsonl.zst", cut(zstd::encode_all(many.as_bytes(), 1).unwrap())),
        #[cfg(feature = "parquet")]
        ("cut.parquet", cut(encode("parquet", &[Record::Event(event(0, 1, 7, 0))]))),
    ];
    for (name, bytes) in files {
        let place = Workspace::new();
        place.write("in/good.jsonl", lines(0..10));
        place.write(&format!("in/{name}"), bytes);
        let file = place.partition(&format!("in/{name}"));
        let said = format!("impressions {file} cannot be read to its end: ");
        let said = [said.as_str(), "passed these: restore the file, and start with a new store"];
        let input = ["--impressions", "in", "--max-malformed", "90%"];
        for _ in 0..2 {
            let finished = place.run(&input);
            let warning = format!("warning: incomplete input: {}", said[0]);
            assert!(finished.stdout.contains(&warning), "{finished:#?}");
            let place_of = if name.ends_with(".parquet") { "file: " } else { "end: line " };
            assert!(finished.stdout.contains(place_of), "{finished:#?}");
            let is_cut = finished.stdout.contains("cut off here");
            assert!(is_cut || name.ends_with(".parquet"), "{finished:#?}");
            finished.failed(6, &said);
        }
        assert!(status(&place, &[]).contains(&format!("Incomplete    {}", said[0])));
        let told = status(&place, &["--format", "json"]);
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        let lost = |at: &&serde_json::Value| at["lost"].is_string();
        let partitions = told["partitions"].as_array().unwrap();
        let lost: Vec<_> = partitions.iter().filter(lost).collect();
        assert_eq!(lost.len(), 1, "{told}");
        assert_eq!(lost[0]["partition"], *file);
        assert_eq!(place.number("sum(malformed) FROM partitions"), 1);
    }
}

#[test]
fn what_may_be_lost_of_a_log_is_said_in_the_last_lines_and_in_the_status() {
    let place = Workspace::new();
    let told = |finished: Finished, what: &str| {
        let said = format!("{} {what}", place.partition("i.jsonl"));
        assert!(finished.stdout.contains("warning: incomplete input: "), "{finished:#?}");
        assert!(finished.stdout.contains(&said), "{said}\n{finished:#?}");
        let told = status(&place, &[]);
        assert!(told.contains("Incomplete ") && told.contains(&said), "{said}\n{told}");
    };
    // Cut while it is followed.
    place.write("i.jsonl", lines(0..5));
    let mut job = place.follow(&["--impressions", "i.jsonl"]);
    job.wait_until("all is read", || place.events_committed() == 5);
    std::fs::write(place.path("i.jsonl"), lines(100..101)).unwrap();
    job.wait_until("the new log is read", || place.events_committed() == 6);
    job.wait_until_said("no copy of it was found");
    job.interrupt();
    let cut = "was cut or written anew, without a copy, and what followed offset 5, if anything";
    told(job.finish().succeeded(), cut);
    // Given up: nothing of it is read again.
    place.write("i.jsonl", lines(200..201));
    let publication = place.number("publications FROM job").to_string();
    place.run(&["--impressions", "i.jsonl"]).failed(1, &["--accept-loss"]);
    let finished = place.run(&["--impressions", "i.jsonl", "--accept-loss", &publication]);
    // That a file is back does not change.
    let passed = "was not read again from offset 0";
    told(finished.succeeded(), passed);
    let passed = format!("{}#2 {passed}", place.partition("i.jsonl"));
    assert!(status(&place, &[]).contains(&passed), "{}", status(&place, &[]));
}

#[test]
fn a_file_that_cannot_be_read_to_its_end_fails_the_job_although_an_earlier_loss_was_accepted() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..50));
    let mut job = place.follow(&["--impressions", "i.jsonl"]);
    job.wait_until("all is read", || place.events_committed() == 50);
    job.interrupt();
    job.finish().succeeded();
    let whole = gzip(lines(0..5_000).as_bytes());
    place.write("i.jsonl.gz", &whole[..whole.len() / 2]);
    std::fs::remove_file(place.path("i.jsonl")).unwrap();
    let publication = place.number("publications FROM job").to_string();
    let input = ["--impressions", "i.jsonl.gz", "--accept-loss", &publication];
    place.run(&input).failed(6, &["i.jsonl cannot be read to its end: line "]);
    assert!(place.events_committed() > 50);
}

#[test]
fn a_log_that_is_removed_before_it_is_idle_may_be_incomplete_until_it_is_back() {
    let place = Workspace::new();
    place.write("in/i.jsonl", "no event\n");
    let file = place.partition("in/i.jsonl");
    place.write("in/j.jsonl", lines(0..5));
    let mut job = Running::start(place.command(&["--impressions", "in", "--follow"]).args([
        "--publish-interval",
        "20ms",
        "--idle-timeout",
        "1h",
    ]));
    // It holds every epoch open: nothing tells how late its events are.
    job.wait_until("it is read", || place.number("sum(malformed) FROM partitions") == 1);
    job.interrupt();
    job.finish().succeeded();
    std::fs::rename(place.path("in/i.jsonl"), place.path("i.jsonl")).unwrap();
    let said = format!("{file} was removed or replaced, and what followed offset 1, if anything");
    for _ in 0..2 {
        let generation = place.number("generation FROM job");
        let mut job = place.follow(&["--impressions", "in"]);
        job.wait_until("it has the store, and it is known", || {
            place.number("generation FROM job") > generation && status(&place, &[]).contains(&said)
        });
        job.interrupt();
        let finished = job.finish().succeeded();
        assert!(finished.stdout.contains(&said), "{finished:#?}");
    }
    std::fs::rename(place.path("i.jsonl"), place.path("in/i.jsonl")).unwrap();
    place.append("in/i.jsonl", lines(7..8));
    place.run(&["--impressions", "in"]).succeeded();
    assert_eq!(place.events_committed(), 6);
    assert!(!status(&place, &[]).contains("Incomplete"), "{}", status(&place, &[]));
}

fn status(place: &Workspace, arguments: &[&str]) -> String {
    let mut command = trendmark();
    command.current_dir(place.0.path()).args(["status", "--store", "s.db"]);
    Running::start(command.args(arguments)).finish().succeeded().stdout
}

#[test]
fn a_larger_share_of_malformed_records_than_allowed_fails_the_job_at_its_end() {
    let good = line(&event(0, 1, 7, 0));
    for (allowed, code) in [("30%", 0), ("0.2", 6), ("0", 6)] {
        let place = Workspace::new();
        place.write("i.jsonl", format!("x\n{}", good.repeat(3)));
        place.write("job.toml", format!("max-malformed = \"{allowed}\"\n"));
        for flag in [["--config", "job.toml"], ["--max-malformed", allowed]] {
            let arguments = [&["--impressions", "i.jsonl"], &flag[..]].concat();
            let finished = place.run(&arguments);
            assert_eq!(finished.code, Some(code), "{finished:#?}");
            assert_eq!(place.number("sum(impressions) FROM trends"), 1);
            std::fs::remove_file(place.path("s.db")).unwrap();
        }
    }
    let place = Workspace::new();
    place.write("i.jsonl", format!("x\n{good}"));
    // A job that follows has no end.
    let mut job = place.follow(&["--impressions", "i.jsonl", "--max-malformed", "10%"]);
    job.wait_until("all is read", || place.events_committed() == 1);
    job.interrupt();
    let finished = job.finish().succeeded();
    let said = "1 of 2 records of the impressions are malformed";
    assert!(finished.stderr.contains(said), "{finished:#?}");
    assert!(finished.stdout.contains("warning: 1 of 2 records of the impr"), "{finished:#?}");
}

#[cfg(unix)]
#[test]
fn a_folder_is_named_as_it_was_given_and_its_subfolders_may_vanish() {
    let place = Workspace::new();
    place.write("real/dt=1/a.jsonl", lines(0..3));
    place.write("real/b.jsonl", lines(3..5));
    place.write("real/c.json", lines(5..6));
    std::os::unix::fs::symlink("real", place.path("link")).unwrap();
    let mut job = place.follow(&["--impressions", "link"]);
    job.wait_until("all is read", || place.events_committed() == 5);
    job.wait_until_said("found, but not read: `link/c.json`");
    std::fs::remove_dir_all(place.path("real/dt=1")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    place.append("real/b.jsonl", lines(6..8));
    place.write("real/dt=2/a.jsonl", lines(8..9));
    job.wait_until("the job goes on", || place.events_committed() == 8);
    job.interrupt();
    let finished = job.finish().succeeded();
    assert!(finished.stdout.contains("not read: `link/c.json`"), "{finished:#?}");
    assert_eq!(place.number("count(*) FROM partitions"), 3);
}

/// Makes a command run without the rights of the administrator, who can read everything.
#[cfg(unix)]
fn unprivileged(command: &mut std::process::Command, place: &Workspace) {
    use std::os::unix::fs::{MetadataExt, chown};
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65_534;
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        chown(place.path("."), Some(NOBODY), Some(NOBODY)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
}

#[cfg(unix)]
#[test]
fn a_subfolder_that_cannot_be_read_is_an_error_at_the_start_and_named_later() {
    use common::program::Running;
    use std::os::unix::fs::PermissionsExt;
    let place = Workspace::new();
    place.write("imp/b.jsonl", lines(0..5));
    place.write("imp/dt=1/a.jsonl", lines(5..7));
    let set = |mode| {
        let folder = place.path("imp/dt=1");
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let start = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        unprivileged(&mut command, &place);
        Running::start(&mut command)
    };
    set(0o000);
    let said = ["cannot read `imp/dt=1`: Permission denied"];
    start(&["--impressions", "imp"]).finish().failed(1, &said);
    set(0o755);
    let quick = ["--follow", "--publish-interval", "20ms", "--idle-timeout", "100ms"];
    let mut job = start(&[&["--impressions", "imp"], &quick[..]].concat());
    job.wait_until("it has its store", || place.path("s.db").exists());
    job.wait_until("all is read", || place.events_committed() == 7);
    set(0o000);
    job.wait_until_said("not read: `imp/dt=1` (a folder that cannot be read)");
    place.append("imp/b.jsonl", lines(7..9));
    job.wait_until("the job goes on", || place.events_committed() == 9);
    set(0o755);
    place.append("imp/dt=1/a.jsonl", lines(9..10));
    job.wait_until("it is read again", || place.events_committed() == 10);
    job.interrupt();
    job.finish().succeeded();
}

#[test]
fn a_job_whose_new_input_is_all_malformed_fails_although_the_store_has_good_events() {
    let place = Workspace::new();
    place.write("a.jsonl", lines(0..500));
    place.run(&["--impressions", "a.jsonl"]).succeeded();
    place.write("b.jsonl", "x\n".repeat(150));
    let input = ["--impressions", "b.jsonl", "--max-malformed"];
    // Another share of all records of the store is allowed, but of these nothing can be used.
    let said = "all 150 records of the impressions that this job has read are malformed; first: ";
    let finished = place.run(&[&input[..], &["50%"]].concat());
    assert!(finished.stdout.contains(&format!("warning: {said}")), "{finished:#?}");
    finished.failed(6, &[said]);
    // The same command reads nothing more, and says what the store has.
    let finished = place.run(&[&input[..], &["50%"]].concat()).succeeded();
    assert!(!finished.stdout.contains(said), "{finished:#?}");
    place.append("b.jsonl", "x\n");
    place.run(&[&input[..], &["100%"]].concat()).succeeded();
}

#[test]
fn a_damaged_file_is_named_once_and_restored_not_allowed() {
    let place = Workspace::new();
    place.write("i.jsonl.gz", "not compressed at all");
    let input = ["--impressions", "i.jsonl.gz", "p.jsonl"];
    place.write("p.jsonl", "");
    let finished = place.run(&input);
    let error = finished.stderr.lines().find(|line| line.starts_with("error: ")).unwrap();
    assert_eq!(error.matches("i.jsonl.gz").count(), 1, "{error}");
    assert!(error.contains("restore the file, and start with a new store"), "{error}");
    assert!(!error.contains("--max-malformed"), "{error}");
    finished.failed(6, &[]);
    place.append("p.jsonl", "x\n");
    let said = ["restore the file, correct the log", "all 2 records of the impressions are"];
    place.run(&input).failed(6, &said);
}

#[test]
fn what_is_not_read_is_said_as_it_is_at_the_end_of_the_job() {
    let place = Workspace::new();
    // Only the same first record at the start.
    place.write("w1.jsonl", lines(0..1));
    place.write("w2.jsonl", lines(0..1));
    let mut job = place.follow(&["--impressions", "*.jsonl"]);
    job.wait_until_said("w2.jsonl` (a copy of ");
    place.append("w1.jsonl", lines(1..5));
    place.append("w2.jsonl", lines(10..15));
    job.wait_until("both are read", || place.events_committed() == 11);
    job.interrupt();
    let finished = job.finish().succeeded();
    assert!(!finished.stdout.contains("not read: "), "{finished:#?}");
    // A copy that appears while the job runs.
    let mut job = place.follow(&["--impressions", "*.jsonl"]);
    place.append("w2.jsonl", lines(15..16));
    job.wait_until("the job goes on", || place.events_committed() == 12);
    std::fs::copy(place.path("w1.jsonl"), place.path(".copy")).unwrap();
    std::fs::rename(place.path(".copy"), place.path("w3.jsonl")).unwrap();
    job.wait_until_said("w3.jsonl");
    job.interrupt();
    let finished = job.finish().succeeded();
    let said = "warning: found, but not read: `";
    assert!(finished.stdout.contains(said), "{finished:#?}");
    assert!(finished.stdout.contains("w3.jsonl` (a copy of `"), "{finished:#?}");
}

#[test]
fn a_file_that_appears_in_both_logs_is_left_out_and_the_same_command_starts_again() {
    let place = Workspace::new();
    place.write("in/i.jsonl", lines(0..5));
    place.write("in/p.jsonl", lines(0..5));
    let input = ["--impressions", "in/i*", "--plays", "in/*p.jsonl"];
    let said = "in/ip.jsonl` (given with --impressions and with --plays";
    let mut job = place.follow(&input);
    job.wait_until("all is read", || place.events_committed() == 10);
    place.write("in/ip.jsonl", lines(10..20));
    job.wait_until_said(said);
    job.interrupt();
    let finished = job.finish().succeeded();
    assert!(finished.stdout.contains(said), "{finished:#?}");
    // Also with a file that one log may read.
    place.write("in/i2.jsonl", lines(20..22));
    let mut job = place.follow(&input);
    job.wait_until("the other file is read", || place.events_committed() == 12);
    job.interrupt();
    let finished = job.finish().succeeded();
    assert!(finished.stdout.contains(said), "{finished:#?}");
    // A job that has not begun refuses it, and so does one that ends.
    let refused = ["is given with --impressions and with --plays"];
    place.run(&input).failed(2, &refused);
    std::fs::remove_file(place.path("s.db")).unwrap();
    place.run(&[&input[..], &["--follow"]].concat()).failed(2, &refused);
    // A file that was read as one of them cannot be both.
    std::fs::rename(place.path("in/ip.jsonl"), place.path("in/i3.jsonl")).unwrap();
    let mut job = place.follow(&input);
    job.wait_until("all is read", || place.events_committed() == 22);
    job.interrupt();
    job.finish().succeeded();
    let both = ["--follow", "--impressions", "in/i*", "--plays", "in/*3.jsonl", "in/p.jsonl"];
    place.run(&both).failed(2, &refused);
}

#[test]
fn a_log_that_is_no_input_of_this_job_is_not_lost() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..5));
    place.write("p.jsonl", "no event\n");
    place.write("in/a.jsonl", "no event\n");
    let slow = ["--follow", "--publish-interval", "20ms", "--idle-timeout", "1h"];
    let given = ["--impressions", "i.jsonl", "in/a.jsonl", "--plays", "p.jsonl"];
    let mut job = Running::start(&mut place.command(&[&given[..], &slow].concat()));
    job.wait_until("all is read", || place.number("sum(malformed) FROM partitions") == 2);
    job.interrupt();
    job.finish().succeeded();
    let finished = place.run(&["--impressions", "i.jsonl"]).succeeded();
    for told in [&finished.stdout, &finished.stderr, &status(&place, &[])] {
        assert!(!told.contains("lost") && !told.contains("is gone"), "{told}");
    }
    assert_eq!(place.select("count(lost) FROM partitions"), ["0"]);
}
