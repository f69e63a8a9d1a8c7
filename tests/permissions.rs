//! Files that a job which follows its logs may not read: they end it neither while it runs nor when
//! it starts.

#![cfg(unix)]

mod common;

use common::event;
use common::files::{gzip, line};
use common::program::Running;
use common::workspace::{Workspace, counted, lines, rename, stop, wait};
use std::fs;
use std::time::Duration;

/// Lets a job run without the rights of an administrator, who may read everything.
fn without_rights(place: &Workspace, command: &mut std::process::Command) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65_534;
    let folder = place.path(".");
    if fs::metadata(&folder).unwrap().uid() == 0 {
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        // The test looks for it, and must not make it first.
        place.append("s.db", "");
        std::os::unix::fs::chown(place.path("s.db"), Some(NOBODY), Some(NOBODY)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
}

fn allow(place: &Workspace, name: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_file_that_cannot_be_read_ends_no_job_that_follows_others() {
    for input in ["i.jsonl", "i.jsonl*"] {
        let place = Workspace::new();
        place.write("i.jsonl", lines(0..50));
        if input == "i.jsonl" {
            place.write("i.jsonl.1", lines(500..510));
            allow(&place, "i.jsonl.1", 0);
        }
        let mut command = place.command(&["--impressions", input, "--follow"]);
        command.args(["--publish-interval", "20ms", "--idle-timeout", "100ms"]);
        without_rights(&place, &mut command);
        let mut job = Running::start(&mut command);
        wait(&mut job, &place, 50);
        // Programs that run as root compress so.
        place.write(".new", gzip(lines(60..70).as_bytes()));
        allow(&place, ".new", 0);
        rename(&place, ".new", "i.jsonl.2.gz");
        std::thread::sleep(Duration::from_millis(1_200));
        place.append("i.jsonl", lines(50..60));
        wait(&mut job, &place, 60);
        allow(&place, "i.jsonl.2.gz", 0o644);
        wait(&mut job, &place, 70);
        let told = stop(job);
        assert_eq!(told.contains("i.jsonl.1` ("), input == "i.jsonl", "{told}");
        assert_eq!(counted(&place), (70, 70));
    }
}

#[test]
fn a_rotated_log_that_need_not_be_read_again_and_cannot_be_ends_no_job() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..50));
    let start = || {
        let mut command = place.command(&["--impressions", "i.jsonl", "--follow"]);
        command.args(["--publish-interval", "20ms", "--idle-timeout", "100ms"]);
        without_rights(&place, &mut command);
        Running::start(&mut command)
    };
    let mut job = start();
    wait(&mut job, &place, 50);
    rename(&place, "i.jsonl", "i.jsonl.1");
    place.write("i.jsonl", line(&event(0, 1, 1, 1_000_000_000)));
    job.wait_until("the first epoch is final", || {
        place.number("coalesce(min(final), 0) FROM trends WHERE epoch = 0") == 1
    });
    wait(&mut job, &place, 51);
    stop(job);
    allow(&place, "i.jsonl.1", 0);
    let mut job = start();
    place.append("i.jsonl", line(&event(1, 2, 2, 1_000_001_000)));
    wait(&mut job, &place, 52);
    stop(job);
    assert_eq!(counted(&place), (52, 52));
}
