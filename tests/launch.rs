//! The real `trendmark launch`: a job of two processes that is killed, frozen, stopped and refused,
//! and whose store is the same as that of an undisturbed run.

mod common;

use common::contents::{all, contents};
use common::event;
use common::files::line;
use common::fixture::assert_same;
use common::link::Link;
use common::program::{Running, WAIT_MAX, start_processes, trendmark, wait_until};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How soon a job must have stopped.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);
/// The part of a log that is there when a job begins; the rest follows.
const FIRST_PART: f64 = 0.5;

/// Generated logs that grow, and a store.
struct World {
    folder: TempDir,
    publish_interval: &'static str,
    /// The rest of each file.
    rest: Vec<(PathBuf, String)>,
}

impl World {
    /// Logs of which the first part is there.
    fn new(seed: u64) -> World {
        let folder = tempfile::tempdir().unwrap();
        let (logs, live) = (folder.path().join("logs"), folder.path().join("live"));
        let mut generate = trendmark();
        generate.args(["generate", "--impressions", "6000", "--partitions", "2", "--seed"]);
        generate.arg(seed.to_string()).arg("--out").arg(&logs);
        Running::start(&mut generate).finish().succeeded();
        std::fs::create_dir(&live).unwrap();
        let mut rest = Vec::new();
        for entry in std::fs::read_dir(&logs).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let text = std::fs::read_to_string(logs.join(&name)).unwrap();
            let half = (text.len() as f64 * FIRST_PART) as usize;
            let half = half + text[half..].find('\n').unwrap() + 1;
            std::fs::write(live.join(&name), &text[..half]).unwrap();
            rest.push((live.join(&name), text[half..].to_owned()));
        }
        World { folder, publish_interval: "20ms", rest }
    }

    /// Small logs, of 300 impressions, that are there.
    fn small() -> World {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("live")).unwrap();
        let world = World { folder, publish_interval: "20ms", rest: Vec::new() };
        for file in 0..3 {
            let events = (0..100).map(|n| line(&event(n, n * 10 + file, n % 7, n as i64 * 1_000)));
            let name = format!("live/impressions-{file}.jsonl");
            std::fs::write(world.path(&name), events.collect::<String>()).unwrap();
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The rest of the logs arrives.
    fn grow(&self) {
        for (path, rest) in &self.rest {
            let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
            file.write_all(rest.as_bytes()).unwrap();
        }
    }

    /// A command on the logs and this store.
    fn command(&self, name: &str, store: &str) -> Command {
        let mut command = trendmark();
        command.current_dir(self.folder.path()).args([name, "--store", store]);
        command.args(["--query", "all", "--impressions", "live/impressions-*"]);
        if !self.rest.is_empty() {
            command.args(["--plays", "live/plays-*"]);
        }
        command.args(["--round-events", "50", "--publish-interval", self.publish_interval]);
        // A partition whose rest has not arrived is not over.
        command.args(["--idle-timeout", "1h"]);
        command
    }

    fn launch(&self, more: &[&str]) -> Launch {
        Launch(Running::start(self.command("launch", "s.db").args(["--processes=2"]).args(more)))
    }

    fn committed(&self) -> i64 {
        committed(&self.path("s.db"))
    }

    /// Lets a job read the logs to their ends, and compares its store with that of a run on a new
    /// one.
    fn check_against_undisturbed_run(&self) {
        let finished = self.launch(&[]).0.finish().succeeded();
        assert!(finished.stdout.contains("process 0: every epoch is final"), "{finished:#?}");
        Running::start(self.command("run", "undisturbed.db").arg("--workers=1"))
            .finish()
            .succeeded();
        let expected = contents(&self.path("undisturbed.db"), &all());
        assert_same(&contents(&self.path("s.db"), &all()), &expected, "beside an undisturbed run");
    }
}

fn committed(store: &Path) -> i64 {
    let Ok(connection) = rusqlite::Connection::open(store) else { return 0 };
    let events = "SELECT coalesce(sum(events), 0) FROM ledger";
    connection.query_row(events, [], |row| row.get(0)).unwrap_or(0)
}

/// A launch of two processes.
struct Launch(Running);

impl Launch {
    /// The ids of the processes of a generation, once it has started.
    fn processes(&mut self, generation: u64) -> Vec<u32> {
        let begins = format!("launch: generation {generation}: process 0 is ");
        self.0.wait_until_said(&begins);
        let said = self.0.stderr();
        let ids = said.lines().find_map(|line| line.strip_prefix(&begins)).unwrap();
        ids.split(", process 1 is ").map(|id| id.parse().unwrap()).collect()
    }
}

fn signal(id: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), id.to_string()]).status();
    assert!(sent.unwrap().success());
}

/// Whether a process is there and has not ended.
fn is_alive(id: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_some_and(|state| !state.trim_start().starts_with(['Z', 'X']))
}

#[test]
fn a_process_that_is_killed_brings_a_new_generation_and_the_store_is_as_if_undisturbed() {
    for killed in 0..2 {
        let world = World::new(1);
        let mut launch = world.launch(&["--follow"]);
        let ids = launch.processes(1);
        launch.0.wait_until("something is committed", || world.committed() > 0);
        let before = world.committed();
        signal(ids[killed], "KILL");
        world.grow();
        launch.0.wait_until_said(&format!("launch: process {killed} was killed by signal 9"));
        launch.0.wait_until_said("launch: all processes start again in 1 s");
        let again = launch.processes(2);
        assert!(ids.iter().all(|id| !again.contains(id) && !is_alive(*id)), "{ids:?} {again:?}");
        launch.0.wait_until("more is committed", || world.committed() > before);
        launch.0.signal("TERM");
        let finished = launch.0.finish().succeeded();
        assert!(finished.waited < STOPPED_WITHIN, "{finished:#?}");
        world.check_against_undisturbed_run();
    }
}

#[test]
fn the_processes_are_of_the_version_of_the_launch_also_when_its_file_is_replaced() {
    let world = World::small();
    let program = world.path("program");
    std::fs::copy(env!("CARGO_BIN_EXE_trendmark"), &program).unwrap();
    let mut command = Command::new(&program);
    command.current_dir(world.folder.path()).env_remove("RUST_LOG");
    command.args(["launch", "--processes", "2", "--follow", "--impressions", "live/impressions-*"]);
    command.args(["--publish-interval", "20ms", "--store", "s.db"]);
    let mut launch = Launch(Running::start(&mut command));
    let ids = launch.processes(1);
    launch.0.wait_until("everything is committed", || world.committed() == 300);
    std::fs::write(world.path("other"), "#!/bin/sh\nexit 2\n").unwrap();
    std::fs::rename(world.path("other"), &program).unwrap();
    signal(ids[1], "KILL");
    launch.processes(2);
    std::fs::write(world.path("live/impressions-3.jsonl"), line(&event(0, 9_999, 1, 99_000)))
        .unwrap();
    launch.0.wait_until("more is committed", || world.committed() == 301);
    launch.0.signal("TERM");
    launch.0.finish().succeeded();
}

#[test]
fn a_process_that_is_frozen_is_noticed_in_the_stated_time_and_all_start_again() {
    for frozen in 0..2 {
        let world = World::new(2);
        let mut launch = world.launch(&["--follow", "--frozen-after", "3s"]);
        let ids = launch.processes(1);
        launch.0.wait_until("something is committed", || world.committed() > 0);
        let before = world.committed();
        signal(ids[frozen], "STOP");
        let since = Instant::now();
        launch.0.wait_until_said(&format!("launch: process {frozen} has given no sign of life"));
        let noticed = since.elapsed();
        assert!((2_500..5_000).contains(&noticed.as_millis()), "{noticed:?}");
        world.grow();
        launch.processes(2);
        assert!(ids.iter().all(|id| !is_alive(*id)), "{ids:?}");
        launch.0.wait_until("more is committed", || world.committed() > before);
        launch.0.interrupt();
        launch.0.finish().succeeded();
        world.check_against_undisturbed_run();
    }
}

/// A launch that has read everything, and need commit nothing for an hour.
fn read_and_not_due(world: &mut World, frozen_after: &str) -> Launch {
    world.publish_interval = "1h";
    let mut launch = world.launch(&["--follow", "--frozen-after", frozen_after]);
    let read = |said: &str, process: usize| {
        let begins = format!("process {process}: run: ");
        let mut lines = said.lines().filter_map(|line| line.strip_prefix(&begins));
        lines.next_back().and_then(|line| line.split(' ').next()?.parse::<i64>().ok()).unwrap_or(0)
    };
    let started = Instant::now();
    loop {
        let said = launch.0.stderr();
        if read(&said, 0) + read(&said, 1) == 300 {
            return launch;
        }
        assert!(started.elapsed() < WAIT_MAX && !launch.0.has_ended(), "{said}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn sigterm_commits_what_was_read_and_ends_with_code_0_within_ten_seconds() {
    // Also if the processes get it too, as systemd sends it to all of a unit by default.
    for to_all in [false, true] {
        let mut world = World::small();
        let mut launch = read_and_not_due(&mut world, "30s");
        let ids = launch.processes(1);
        launch.0.signal("TERM");
        if to_all {
            ids.iter().for_each(|id| signal(*id, "TERM"));
        }
        let finished = launch.0.finish().succeeded();
        assert!(finished.waited < STOPPED_WITHIN, "{finished:#?}");
        assert!(finished.stderr.contains("launch: the job was stopped"), "{finished:#?}");
        assert_eq!(world.committed(), 300);
        assert!(ids.iter().all(|id| !is_alive(*id)));
    }
}

#[test]
fn a_second_sigterm_ends_all_at_once() {
    let mut world = World::small();
    let mut launch = read_and_not_due(&mut world, "1m");
    let ids = launch.processes(1);
    // Nothing can be committed without this process.
    signal(ids[1], "STOP");
    launch.0.signal("TERM");
    launch.0.wait_until_said("launch: stopping: ");
    launch.0.signal("TERM");
    let finished = launch.0.finish().failed(1, &["error: the job was killed"]);
    assert!(finished.waited < Duration::from_secs(3), "{finished:#?}");
    assert!(ids.iter().all(|id| !is_alive(*id)));
}

#[test]
fn wrong_arguments_start_nothing_and_final_exit_codes_start_nothing_again() {
    let world = World::small();
    let finished = world.launch(&["--process", "1"]).0.finish();
    let finished = finished.failed(2, &["error: --process is for `run`"]);
    assert!(!finished.stderr.contains("generation"), "{finished:#?}");
    let mut nothing = trendmark();
    nothing.args(["launch", "--processes", "2", "--store", "s.db"]);
    let finished = Running::start(&mut nothing).finish();
    let finished = finished.failed(2, &["error: give --impressions or --plays"]);
    assert!(!finished.stderr.contains("generation"), "{finished:#?}");
    // All records of the log are malformed.
    std::fs::write(world.path("live/impressions-0.jsonl"), "{}\n{}\n").unwrap();
    std::fs::write(world.path("live/impressions-1.jsonl"), "1\n").unwrap();
    std::fs::write(world.path("live/impressions-2.jsonl"), "2\n").unwrap();
    let finished = world.launch(&[]).0.finish();
    let said = ["launch: generation 1: ", "process 0 has ended with exit code 6, after which"];
    let finished = finished.failed(6, &said);
    assert!(!finished.stderr.contains("generation 2"), "{finished:#?}");
}

#[test]
fn a_launch_leaves_a_store_in_use_alone_with_exit_code_5() {
    let world = World::small();
    let mut owner = Running::start(world.command("run", "s.db").args(["--follow", "--workers=1"]));
    owner.wait_until("everything is committed", || world.committed() == 300);
    let finished = world.launch(&["--follow"]).0.finish();
    let finished = finished.failed(5, &["is in use by another job", "after which the job is not"]);
    assert!(!finished.stderr.contains("generation 2"), "{finished:#?}");
    // It takes the store if it is told to, but only once.
    let mut launch = world.launch(&["--follow", "--take-over"]);
    assert_eq!(owner.finish().code, Some(5));
    std::fs::write(world.path("live/impressions-3.jsonl"), line(&event(0, 9_999, 1, 99_000)))
        .unwrap();
    launch.0.wait_until("more is committed", || world.committed() == 301);
    let ids = launch.processes(1);
    let given = |id: u32| std::fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap();
    assert!(given(ids[0]).contains("--take-over"), "{}", given(ids[0]));
    signal(ids[0], "KILL");
    let again = launch.processes(2);
    assert!(!given(again[0]).contains("--take-over"), "{}", given(again[0]));
    launch.0.signal("TERM");
    launch.0.finish().succeeded();
}

#[test]
fn no_process_outlives_a_launch_that_is_killed() {
    let world = World::small();
    let mut launch = world.launch(&["--follow"]);
    let ids = launch.processes(1);
    launch.0.wait_until("everything is committed", || world.committed() == 300);
    launch.0.kill();
    let since = Instant::now();
    wait_until("they have ended", || ids.iter().all(|id| !is_alive(*id)));
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    assert_eq!(launch.0.finish().code, None);
    // The next one gets the store at once.
    let mut next = world.launch(&["--follow"]);
    next.processes(1);
    next.0.signal("TERM");
    next.0.finish().succeeded();
}

#[test]
fn a_supervised_process_without_its_launch_is_refused() {
    let world = World::small();
    let mut command = world.command("run", "s.db");
    let finished = Running::start(command.env("TRENDMARK_SUPERVISED", "1")).finish();
    finished.failed(2, &["error: TRENDMARK_SUPERVISED is set", "unset it"]);
}

#[test]
fn sigterm_to_one_process_or_to_all_ends_a_job_that_was_started_by_hand() {
    for told in [vec![0], vec![1], vec![0, 1]] {
        let world = World::small();
        let mut job = start_processes(2, &world.path("hosts"), |_| {
            let mut command = world.command("run", "s.db");
            command.arg("--follow");
            command
        });
        job[0].wait_until("everything is committed", || world.committed() == 300);
        told.iter().for_each(|process| job[*process].signal("TERM"));
        for process in job {
            let finished = process.finish().succeeded();
            assert!(finished.waited < STOPPED_WITHIN, "{finished:#?}");
        }
        assert_eq!(world.committed(), 300);
    }
}

#[test]
fn a_job_that_is_stopped_before_its_processes_have_met_has_not_failed() {
    let world = World::small();
    common::program::write_hostfile(2, &world.path("hosts"));
    let mut command = world.command("run", "s.db");
    command.args(["--processes", "2", "--process", "0", "--hostfile", "hosts"]);
    let mut alone = Running::start(&mut command);
    alone.wait_until_said("run: waiting for process 1");
    alone.signal("TERM");
    let finished = alone.finish().succeeded();
    assert!(finished.stdout.contains("stopped while waiting for the other"), "{finished:#?}");
}

#[test]
fn a_second_sigterm_ends_a_process_that_cannot_commit() {
    let world = World::small();
    let mut job = Running::start(world.command("run", "s.db").args(["--follow", "--workers=1"]));
    job.wait_until("everything is committed", || world.committed() == 300);
    let other = rusqlite::Connection::open(world.path("s.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    job.signal("TERM");
    job.wait_until_said("stopping: publishing what has been read");
    std::thread::sleep(Duration::from_millis(500));
    assert!(!job.has_ended(), "{}", job.stderr());
    job.signal("TERM");
    let finished = job.finish().failed(1, &[]);
    assert!(finished.waited < Duration::from_secs(2), "{finished:#?}");
}

#[test]
fn a_link_that_is_cut_ends_both_processes_and_they_go_on_when_it_is_there_again() {
    let world = World::new(3);
    let hosts = world.path("hosts");
    common::program::write_hostfile(2, &hosts);
    let addresses = std::fs::read_to_string(&hosts).unwrap();
    let (first, second) = addresses.split_once('\n').unwrap();
    let link = Link::to(first);
    std::fs::write(world.path("linked"), format!("{}\n{second}\n", link.address)).unwrap();
    let start = |more: &[&str]| {
        let start = |process: &str, hosts: &str| {
            let mut command = world.command("run", "s.db");
            command.args(["--processes", "2", "--process", process, "--hostfile", hosts]);
            Running::start(command.args(more))
        };
        [start("0", "hosts"), start("1", "linked")]
    };
    let mut job = start(&["--follow"]);
    job[0].wait_until("something is committed", || world.committed() > 0);
    link.cut();
    let since = Instant::now();
    for process in job {
        process.finish().failed(1, &["has not answered for 8 s: it is frozen, or its machine"]);
    }
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
    world.grow();
    for process in start(&[]) {
        process.finish().succeeded();
    }
    world.check_against_undisturbed_run();
}

#[cfg(feature = "kafka")]
#[test]
fn sigterm_to_a_launch_that_follows_topics_loses_nothing() {
    use common::topics::{Cluster, EVENT_TIME_MS, real_broker, unique};
    use trendmark::stores::StoreReader;
    use trendmark::stores::kafka::KafkaReader;

    let Some(servers) = real_broker("a launch that follows topics") else { return };
    let cluster = Cluster::at(&servers);
    let (topic, store) = (cluster.create_topic("impressions", 2), unique("launched"));
    let committed = || -> u64 {
        let Ok(reader) = KafkaReader::open(&cluster.settings, &store) else { return 0 };
        reader.ledger().unwrap().iter().map(|row| row.events).sum()
    };
    let writer = cluster.writer();
    let write = |numbers: std::ops::Range<u64>| {
        for n in numbers {
            let text = line(&event(n, n, n % 7, EVENT_TIME_MS + n as i64));
            writer.write(&topic, (n % 2) as i32, Some(text.as_bytes()), EVENT_TIME_MS);
        }
        writer.flush();
    };
    let launch = |more: &[&str]| {
        let mut command = trendmark();
        command.args(["launch", "--processes", "2", "--bootstrap-servers", &servers]);
        command.args(["--impressions", &format!("kafka:{topic}")]);
        command.args(["--store", &format!("kafka:{store}")]).args(more);
        Launch(Running::start(&mut command))
    };
    write(0..200);
    let mut first = launch(&[]);
    first.0.wait_until("the first events are committed", || committed() == 200);
    write(200..2_000);
    first.0.signal("TERM");
    let finished = first.0.finish().succeeded();
    assert!(finished.waited < STOPPED_WITHIN, "{finished:#?}");
    let before = committed();
    assert!((200..=2_000).contains(&before), "{before}");
    launch(&["--until-end"]).0.finish().succeeded();
    assert_eq!(committed(), 2_000);
}
