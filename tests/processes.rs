//! The real program as several processes: any number of processes and workers gives the same bytes,
//! and when one process dies the others do not hang.

mod common;

use common::contents::{all, contents};
use common::event;
use common::files::line;
use common::fixture::{Fixture, assert_same};
use common::program::{Running, run_processes, start_processes, trendmark};
use std::path::Path;
use std::time::Duration;
use trendmark::event::Kind;
use trendmark::log::PartitionName;
use trendmark::time::Definition;

/// How soon the other processes of a job must end when one of them is gone.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn any_number_of_processes_and_workers_gives_the_same_bytes_as_the_oracle() {
    const SEEDS: u8 = 8;
    for seed in 0..SEEDS {
        let fixture = Fixture::random(seed);
        // Processes mostly wait for each other at the launch, so all jobs can run at once.
        std::thread::scope(|scope| {
            for (processes, workers) in [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)] {
                let fixture = &fixture;
                scope.spawn(move || {
                    let how = format!("seed {seed}, {processes} processes × {workers} workers");
                    assert_same(&fixture.run(processes, workers), &fixture.expected, &how);
                });
            }
        });
    }
}

#[test]
fn runs_with_different_limits_give_the_same_bytes() {
    const SEEDS: u8 = 12;
    let ways = [
        ["--workers=1", "--round-events=1", "--publish-interval=0s", "--alignment=0s"],
        ["--workers=2", "--round-events=7", "--publish-interval=1ms", "--alignment=1m"],
        ["--workers=3", "--round-events=100", "--publish-interval=10s", "--alignment=366d"],
    ];
    for seed in 100..100 + SEEDS {
        let fixture = Fixture::random(seed);
        for (number, way) in ways.iter().enumerate() {
            let store = fixture.path(&format!("{number}.db"));
            Running::start(fixture.command(&store).args(way)).finish().succeeded();
            let found = contents(&store, &all());
            assert_same(&found, &fixture.expected, &format!("seed {seed}, {way:?}"));
        }
    }
}

/// Impressions in this number of files, one per second of event time.
fn impressions(files: usize) -> Fixture {
    impressions_of(Definition::default(), files)
}

fn impressions_of(definition: Definition, files: usize) -> Fixture {
    let name = |number| PartitionName { kind: Kind::Impression, name: format!("{number}") };
    let events = |file: u64| {
        (0..100).map(|n| event(n, n * 10 + file, n % 7, n as i64 * 1_000)).collect::<Vec<_>>()
    };
    let log = (0..files as u64).map(|file| (name(file), events(file)));
    Fixture::of(definition, &log.collect())
}

/// A job with `--follow` that has committed all events.
fn followed(fixture: &Fixture, processes: usize) -> Vec<Running> {
    let store = fixture.path("followed.db");
    let mut job = start_processes(processes, &fixture.path("hosts"), |_| {
        let mut command = fixture.command(&store);
        command.args(["--follow", "--publish-interval", "20ms", "--idle-timeout", "100ms"]);
        command
    });
    job[0].wait_until("everything is committed", || committed(&store) == 300);
    job
}

fn committed(store: &Path) -> i64 {
    let Ok(connection) = rusqlite::Connection::open(store) else { return 0 };
    let events = "SELECT coalesce(sum(events), 0) FROM ledger";
    connection.query_row(events, [], |row| row.get(0)).unwrap_or(0)
}

#[test]
fn files_days_apart_that_appear_together_in_a_followed_folder_are_all_read() {
    const DAY_MS: i64 = 86_400_000;
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    let staged = folder.path().join("staged");
    std::fs::create_dir(&logs).unwrap();
    std::fs::create_dir(&staged).unwrap();
    for file in 0..10 {
        let at_ms = |n| file as i64 * 3 * DAY_MS + n as i64 * 60_000;
        let events: String = (0..50).map(|n| line(&event(n, n, file, at_ms(n)))).collect();
        std::fs::write(staged.join(format!("{file}.jsonl")), events).unwrap();
    }
    let store = folder.path().join("s.db");
    let mut command = trendmark();
    command.args(["run", "--follow", "--idle-timeout", "100ms", "--publish-interval", "20ms"]);
    command.arg("--impressions").arg(&logs).arg("--store").arg(&store);
    let mut job = Running::start(&mut command);
    job.wait_until("the store exists", || store.exists());
    for file in 0..10 {
        let name = format!("{file}.jsonl");
        std::fs::rename(staged.join(&name), logs.join(&name)).unwrap();
    }
    job.wait_until("everything is committed", || committed(&store) == 500);
    job.interrupt();
    job.finish().succeeded();
}

#[test]
fn when_a_process_is_killed_the_others_end_soon_with_a_message_and_the_store_remains() {
    for killed in 0..3 {
        let fixture = impressions(3);
        let mut job = followed(&fixture, 3);
        let mut gone = job.remove(killed);
        gone.kill();
        assert_eq!(gone.finish().code, None);
        for other in job {
            let finished = other.finish().failed(1, &["error: ", "before the job was over"]);
            assert!(finished.waited < SOON, "{finished:#?}");
        }
        assert_eq!(committed(&fixture.path("followed.db")), 300);
    }
}

#[test]
fn a_frozen_process_is_named_and_ends_the_others() {
    for frozen in 0..2 {
        let fixture = impressions(3);
        let mut job = followed(&fixture, 3);
        let mut stopped = job.remove(frozen);
        stopped.suspend();
        let since = std::time::Instant::now();
        let finished: Vec<_> = job.into_iter().map(Running::finish).collect();
        assert!(since.elapsed() < SOON, "{finished:#?}");
        let name = format!("process {frozen} at ");
        // The others end with the first one that notices.
        assert!(finished.iter().any(|one| one.stderr.contains(&name)), "{finished:#?}");
        for other in finished {
            other.failed(1, &["error: ", "which ends all processes"]);
        }
        stopped.resume();
        let finished = stopped.finish();
        assert_eq!(finished.code, Some(1), "{finished:#?}");
        assert_eq!(committed(&fixture.path("followed.db")), 300);
    }
}

#[test]
fn ctrl_c_in_any_process_ends_all_of_them_with_everything_committed() {
    for interrupted in 0..2 {
        let fixture = impressions(3);
        let job = followed(&fixture, 2);
        job[interrupted].interrupt();
        for process in job {
            let finished = process.finish().succeeded();
            assert!(finished.waited < SOON, "{finished:#?}");
        }
        assert_eq!(committed(&fixture.path("followed.db")), 300);
    }
}

#[test]
fn a_file_that_one_process_cannot_open_ends_all_with_code_1_and_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..200 {
        // Copies would not be opened.
        let events: String =
            (0..10).map(|n| line(&event(n, 10 * number + n, 1, n as i64))).collect();
        std::fs::write(folder.path().join(format!("{number}.jsonl")), events).unwrap();
    }
    let finished = run_processes(2, &folder.path().join("hosts"), |process| {
        let mut command = std::process::Command::new("bash");
        // Half of the files are assigned to process 1, which may open fewer.
        let limit = if process == 0 { 1_000 } else { 80 };
        let script = format!("ulimit -n {limit}; exec {} \"$@\"", env!("CARGO_BIN_EXE_trendmark"));
        command.current_dir(folder.path()).env_remove("RUST_LOG").args(["-c", &script, "bash"]);
        command.args(["run", "--impressions", "*.jsonl", "--store", "s.db"]);
        command
    });
    for finished in finished {
        finished.failed(1, &["error: ", "cannot read `", "Too many open files"]);
    }
}

#[test]
fn a_closed_output_ends_no_process() {
    let fixture = impressions(2);
    let started = std::time::Instant::now();
    let finished = run_processes(2, &fixture.path("hosts"), |process| {
        let job = fixture.command(&fixture.path("s.db"));
        let mut command = std::process::Command::new("bash");
        // Process 0 comes later, so that process 1 waits for it.
        let pause = if process == 0 { "sleep 1;" } else { "" };
        let script = format!("set -o pipefail; {pause} \"$@\" 2>&1 | true");
        command.env("RUST_LOG", "debug").args(["-c", &script, "bash"]);
        command.arg(job.get_program()).args(job.get_args());
        command
    });
    for finished in finished {
        finished.succeeded();
    }
    assert!(started.elapsed() >= std::time::Duration::from_secs(1));
    assert_eq!(committed(&fixture.path("s.db")), 200);
}

#[test]
fn processes_with_different_definitions_end_before_they_mix_results() {
    let fixture = impressions(2);
    let hour = Definition { epoch_length_ms: 3_600_000, ..Definition::default() };
    let other = impressions_of(hour, 2);
    let finished = run_processes(2, &fixture.path("hosts"), |process| {
        [&fixture, &other][process].command(&fixture.path("s.db"))
    });
    for finished in finished {
        finished.failed(1, &["error: ", "--epoch-length 30m", "--epoch-length 1h"]);
    }
    assert_eq!(committed(&fixture.path("s.db")), 0);
}

#[test]
fn processes_that_wait_for_a_missing_one_end_after_the_launch_timeout() {
    let fixture = impressions(1);
    let command = |process: usize| {
        let mut command = fixture.command(&fixture.path("s.db"));
        command.args(["--launch-timeout", "500ms", "--processes", "2", "--hostfile"]);
        command.arg(fixture.path("hosts")).arg("--process").arg(process.to_string());
        command
    };
    common::program::write_hostfile(2, &fixture.path("hosts"));
    for process in 0..2 {
        let finished = Running::start(&mut command(process)).finish();
        let said = "error: not all 2 processes connected within 0.5 s";
        let finished = finished.failed(1, &[said, "--hostfile"]);
        assert!(finished.waited < SOON, "{finished:#?}");
    }
}
