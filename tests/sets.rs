//! The files of `--sets`: they say what the store says, appear and are replaced as the store lists
//! them, and survive crashes; what is wrong with their folder is said.

#![cfg(feature = "parquet")]

mod common;

use common::contents::{open, select};
use common::fixture::Fixture;
use common::kills::{kill, try_kills};
use common::members::{all_files, read};
use common::program::{Running, run_processes, start_processes};
use common::workspace::{Workspace, lines, stop, wait};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The number of kills, unless the environment sets another.
const KILLS: u64 = 20;
/// The longest time that a job runs before it is killed, in milliseconds.
const RUN_MAX_MS: u64 = 500;

/// The files that a store lists.
fn listed(store: &Path, folder: &Path) -> BTreeSet<PathBuf> {
    let path = "'epoch=' || epoch || '/' || version || '-' || part || '-' || digest || '.parquet'";
    let names = select(&open(store), &format!("{path} FROM sets"));
    names.into_iter().map(|name| folder.join(name)).collect()
}

/// What the files of a folder say, as the view `requests` says it.
fn members(folder: &Path) -> Vec<String> {
    let mut members: BTreeMap<(String, u128, u64), bool> = BTreeMap::new();
    for file in all_files(folder) {
        let of_epoch = file.parent().unwrap().file_name().unwrap().to_str().unwrap();
        let epoch = of_epoch.strip_prefix("epoch=").unwrap();
        for (request, video, played, _) in read(&file) {
            *members.entry((epoch.to_owned(), request, video)).or_default() |= played;
        }
    }
    let row = |((epoch, request, video), played): ((String, u128, u64), bool)| {
        let request = trendmark::event::RequestId::from_u128(request);
        format!("{epoch},{request},{video},{}", u8::from(played))
    };
    let mut rows: Vec<String> = members.into_iter().map(row).collect();
    rows.sort();
    rows
}

/// The same from the store.
fn requests(store: &Path) -> Vec<String> {
    select(&open(store), "epoch, request_id, video_id, played FROM requests")
}

/// What does not depend on when a job has published.
fn final_files(store: &Path) -> Vec<String> {
    select(&open(store), "epoch, part, rows, bytes, digest FROM sets")
}

fn command(fixture: &Fixture, name: &str) -> (Command, PathBuf, PathBuf) {
    let (store, folder) =
        (fixture.path(&format!("{name}.db")), fixture.path(&format!("sets-{name}")));
    let mut command = fixture.command(&store);
    command.arg("--sets").arg(&folder);
    (command, store, folder)
}

#[test]
fn the_files_say_what_the_store_says_and_are_the_same_for_any_number_of_workers() {
    let fixture = Fixture::generated(7, 20_000);
    let mut all = BTreeSet::new();
    for (processes, workers) in [(1, 1), (1, 3), (2, 2)] {
        let name = format!("{processes}x{workers}");
        let hosts = fixture.path(&format!("{name}.hosts"));
        let finished = run_processes(processes, &hosts, |_| {
            let (mut command, ..) = command(&fixture, &name);
            command.args(["--publish-interval=20ms", "--round-events=500"]);
            command.arg("--workers").arg(workers.to_string());
            command
        });
        finished.into_iter().for_each(|one| drop(one.succeeded()));
        let (_, store, folder) = command(&fixture, &name);
        assert_eq!(members(&folder), requests(&store));
        assert_eq!(all_files(&folder), listed(&store, &folder));
        all.insert(final_files(&store));
    }
    assert_eq!(all.len(), 1, "{all:#?}");
}

#[test]
fn the_final_files_are_the_same_however_often_a_job_is_killed() {
    try_kills(KILLS, |seed, kills_max| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let fixture = Fixture::generated(seed, 20_000);
        let mut kills = 0;
        while kills < kills_max && live(&fixture, &mut random) {
            kills += 1;
        }
        let (mut job, store, folder) = command(&fixture, "s");
        Running::start(&mut job).finish().succeeded();
        assert_eq!(members(&folder), requests(&store), "seed {seed}");
        assert_eq!(all_files(&folder), listed(&store, &folder), "seed {seed}");
        let (mut job, plain, _) = command(&fixture, "plain");
        Running::start(&mut job).finish().succeeded();
        assert_eq!(final_files(&store), final_files(&plain), "seed {seed}");
        kills
    });
}

/// Runs a job until it ends or is killed. Returns whether it was cut short.
fn live(fixture: &Fixture, random: &mut ChaCha8Rng) -> bool {
    let processes = random.random_range(1..=2);
    let limits = [
        format!("--workers={}", random.random_range(1..=2)),
        format!("--round-events={}", random.random_range(50..500)),
        format!("--publish-interval={}ms", random.random_range(0..40)),
    ];
    let job = start_processes(processes, &fixture.path("hosts"), |_| {
        let (mut command, ..) = command(fixture, "s");
        command.args(&limits).args(["--launch-timeout", "2s"]);
        command
    });
    std::thread::sleep(Duration::from_millis(random.random_range(0..RUN_MAX_MS)));
    let one = random.random_range(0..processes);
    kill(job, random.random::<bool>().then_some(one))
}

const INPUT: [&str; 6] = ["--impressions", "i.jsonl", "--sets", "sets", "--query", "requests"];

#[test]
fn files_appear_with_the_publications_and_many_are_gathered_into_few() {
    let place = Workspace::new();
    let (store, folder) = (place.path("s.db"), place.path("sets"));
    place.write("i.jsonl", "");
    let mut job = place.follow(&INPUT);
    let mut most = 0;
    for number in 0..100u64 {
        place.append("i.jsonl", lines(10 * number..10 * number + 10));
        wait(&mut job, &place, 10 * number as i64 + 10);
        most = most.max(listed(&store, &folder).len());
    }
    stop(job);
    // Two workers add one each time, and those of a publication come before it is asked.
    assert!((64..=90).contains(&most), "{most} files");
    assert_eq!(members(&folder), requests(&store));
    assert_eq!(all_files(&folder), listed(&store, &folder));
    // Whether it is final or not, another job goes on.
    place.append("i.jsonl", lines(995..1_005));
    place.run(&INPUT).succeeded();
    assert_eq!(members(&folder), requests(&store));
    let final_files = listed(&store, &folder);
    assert_eq!((all_files(&folder), final_files.len()), (final_files, 1));
}

/// A finished job.
fn finished() -> Workspace {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..100));
    place.run(&INPUT).succeeded();
    place
}

/// A job with another store, without sets.
fn at_other_store(place: &Workspace) -> Command {
    let mut command = common::program::trendmark();
    command.current_dir(place.0.path());
    command.args(["run", "--store", "other.db", "--impressions", "i.jsonl"]);
    command
}

#[test]
fn a_folder_that_cannot_be_used_is_said_and_nothing_is_written() {
    let no_sets = ["--impressions", "i.jsonl", "--query", "requests"];
    let place = finished();
    let before = (all_files(&place.path("sets")), place.select("* FROM sets"));
    place.run(&no_sets).failed(1, &["was written with sets = DIR, but this job has sets = none"]);
    let mut other = at_other_store(&place);
    other.args(["--sets", "sets"]);
    let said = ["error: the folder of --sets, `sets`, belongs to the store `", "s.db`", "other.db"];
    Running::start(&mut other).finish().failed(1, &said);
    let mut url = place.command(&no_sets);
    Running::start(url.args(["--sets", "s3://bucket"])).finish().failed(2, &["`s3://…` is a URL"]);
    fs::remove_file(place.path("other.db")).unwrap();
    place.write("file", "");
    let mut in_file = at_other_store(&place);
    in_file.args(["--sets", "file"]);
    Running::start(&mut in_file).finish().failed(1, &["`file`", "it is no folder: give one"]);
    assert_eq!((all_files(&place.path("sets")), place.select("* FROM sets")), before);
}

#[test]
fn a_file_of_an_open_epoch_that_is_missing_is_said() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..100));
    let mut job = place.follow(&INPUT);
    wait(&mut job, &place, 100);
    stop(job);
    let file = all_files(&place.path("sets")).pop_first().unwrap();
    fs::rename(&file, place.path("away")).unwrap();
    let missing = ["error: `", ".parquet` is missing or not complete", "put it back"];
    place.run(&INPUT).failed(1, &missing);
    fs::rename(place.path("away"), &file).unwrap();
    place.run(&INPUT).succeeded();
    assert_eq!(members(&place.path("sets")), requests(&place.path("s.db")));
}

#[test]
fn a_store_that_is_made_anew_does_not_remove_the_files_of_the_old_one() {
    let place = finished();
    let before = all_files(&place.path("sets"));
    for file in ["s.db", "s.db-wal", "s.db-shm", "s.db.lock"] {
        let _ = fs::remove_file(place.path(file));
    }
    let said = ["the store was made anew or restored", "give another --sets"];
    place.run(&INPUT).failed(1, &said);
    assert_eq!(all_files(&place.path("sets")), before);
}

#[test]
fn files_of_final_epochs_may_be_removed() {
    let place = finished();
    fs::remove_dir_all(place.path("sets/epoch=0")).unwrap();
    place.run(&INPUT).succeeded();
}

#[test]
fn a_folder_that_vanishes_is_not_made_anew() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..10));
    let mut job = place.follow(&INPUT);
    wait(&mut job, &place, 10);
    fs::rename(place.path("sets"), place.path("away")).unwrap();
    place.append("i.jsonl", lines(10..20));
    job.finish().failed(1, &["the folder of --sets is gone: put it back"]);
    assert!(!place.path("sets").exists());
    fs::rename(place.path("away"), place.path("sets")).unwrap();
    place.run(&INPUT).succeeded();
    assert_eq!(members(&place.path("sets")), requests(&place.path("s.db")));
}

#[test]
fn a_folder_in_a_source_is_refused() {
    let place = Workspace::new();
    place.write("in/i.jsonl", lines(0..10));
    let said = ["--sets `in` is in a source", "give another folder"];
    place.run(&["--impressions", "in", "--sets", "in"]).failed(2, &said);
}

#[test]
fn a_job_that_is_fenced_says_so_and_removes_nothing() {
    for round in 0..3 {
        let place = Workspace::new();
        place.write("i.jsonl", lines(0..500));
        let mut first = place.follow(&INPUT);
        wait(&mut first, &place, 500);
        place.append("i.jsonl", lines(500..600));
        std::thread::sleep(Duration::from_millis(10 * round));
        first.suspend();
        let mut second = place.command(&INPUT);
        let quick = ["--follow", "--publish-interval", "20ms", "--idle-timeout", "100ms"];
        let mut second = Running::start(second.args(quick).arg("--take-over"));
        place.append("i.jsonl", lines(600..700));
        wait(&mut second, &place, 700);
        first.resume();
        first.finish().failed(5, &["another job has taken over"]);
        stop(second);
        assert_eq!(members(&place.path("sets")), requests(&place.path("s.db")));
        let folder = place.path("sets");
        assert_eq!(all_files(&folder), listed(&place.path("s.db"), &folder));
    }
}

#[test]
fn a_disk_that_takes_no_file_ends_the_job_and_the_next_one_goes_on() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..20_000));
    let mut job = place.command(&INPUT);
    fs::create_dir(place.path("sets")).unwrap();
    fs::write(place.path("sets/epoch=0"), "in the way").unwrap();
    let said = ["cannot create the folder `sets/epoch=0`"];
    Running::start(&mut job).finish().failed(1, &said);
    fs::remove_file(place.path("sets/epoch=0")).unwrap();
    place.run(&INPUT).succeeded();
    assert_eq!(members(&place.path("sets")), requests(&place.path("s.db")));
}
