//! The programs that rotate and split logs in practice, under a job that follows them. A test is
//! skipped, and says so, where its program is not installed; `.ci/run` fails then.

mod common;

use common::program::Running;
use common::workspace::{Workspace, lines};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Returns the path of a program, also of those for administrators.
fn program(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&folders).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        // Not by `eprintln`, whose output is hidden when a test succeeds.
        let skipped = format!("LEFT OUT: a test of tests/writers.rs needs {name}\n");
        std::io::stderr().write_all(skipped.as_bytes()).unwrap();
    }
    found
}

/// Settings of `logrotate` that leave nothing out and write nothing twice.
const SETTINGS: [&str; 6] = [
    "create",
    "create\ncompress",
    "create\ncompress\ndelaycompress\ndateext\ndateformat -%Y%m%d-%s",
    "copytruncate",
    "copytruncate\ncompress",
    "create\ncompress\nextension .jsonl\ndateext\ndateformat -%Y%m%d%H-%s",
];

/// Rotates a file while a job follows it, and while none does.
fn check_logrotate(logrotate: &PathBuf, settings: &str, input: &[&str], is_slow: bool) {
    let place = Workspace::new();
    let file = place.text("i.jsonl");
    let settings = format!("\"{file}\" {{\n{settings}\nrotate 99\nmissingok\n}}\n");
    place.write("rotate.conf", settings.as_bytes());
    let (mut written, mut job) = (0, None::<Running>);
    for round in 0..6_u64 {
        place.append("i.jsonl", lines(written..written + 40));
        written += 40;
        if round % 3 == 0 {
            let mut started = place.follow(input);
            started.wait_until("it is read", || place.events_committed() == written as i64);
            job = Some(started);
        }
        if is_slow {
            std::thread::sleep(Duration::from_millis(300));
        }
        if round == 2 {
            let mut running = job.take().unwrap();
            running.wait_until("it is read", || place.events_committed() == written as i64);
            running.interrupt();
            running.finish().succeeded();
        }
        // Dates in names tell seconds apart.
        if settings.contains("dateext") {
            std::thread::sleep(Duration::from_millis(1_100));
        }
        let mut command = Command::new(logrotate);
        command
            .args(["--force", "--state"])
            .arg(place.path("state"))
            .arg(place.path("rotate.conf"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{settings}: {output:?}");
    }
    let mut job = job.unwrap();
    place.append("i.jsonl", lines(written..written + 40));
    written += 40;
    job.wait_until("all is read", || place.events_committed() >= written as i64);
    job.interrupt();
    let told = job.finish().succeeded();
    let distinct = place.number("sum(impressions) FROM trends");
    let counted = (distinct, place.events_committed());
    assert_eq!(counted, (written as i64, written as i64), "{settings} {input:?}: {told:#?}");
    assert!(!told.stderr.contains("lost"), "{settings} {input:?}: {told:#?}");
}

#[test]
fn logrotate_loses_and_repeats_nothing() {
    let Some(logrotate) = program("logrotate") else { return };
    for settings in SETTINGS {
        // Most of the time is spent waiting.
        std::thread::scope(|scope| {
            for input in [["--impressions", "i*"], ["--impressions", "i.jsonl"]] {
                // Those with a time in their names wait for its next second.
                let pauses = [false, true]
                    .into_iter()
                    .filter(|is_slow| !(*is_slow && settings.contains("dateext")));
                for is_slow in pauses {
                    let logrotate = &logrotate;
                    scope.spawn(move || check_logrotate(logrotate, settings, &input, is_slow));
                }
            }
        });
    }
}

#[test]
fn what_split_writes_is_read_once() {
    let Some(split) = program("split") else { return };
    let place = Workspace::new();
    place.write("whole", lines(0..20_000));
    let mut job = place.follow(&["--impressions", "part-*"]);
    let mut command = Command::new(split);
    command.current_dir(place.path("."));
    command.args(["--lines", "1700", "--numeric-suffixes", "--additional-suffix", ".jsonl"]);
    assert!(command.args(["whole", "part-"]).status().unwrap().success());
    job.wait_until("all is read", || place.events_committed() >= 20_000);
    job.interrupt();
    job.finish().succeeded();
    assert_eq!(place.number("sum(impressions) FROM trends"), 20_000);
    assert_eq!(place.events_committed(), 20_000);
    assert_eq!(place.number("count(*) FROM partitions"), 12);
}
