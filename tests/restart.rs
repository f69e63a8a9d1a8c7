//! A job that is killed at any moment and started again gives the same bytes as a job that was
//! never killed.
//!
//! Every start has another number of workers and processes, and other limits. By default only a few
//! dozen kills are tried; `TRENDMARK_TEST_KILLS=1000 cargo test --release --test restart` takes
//! longer.

mod common;

use common::contents::{all, contents};
use common::event;
use common::files::line;
use common::fixture::{Fixture, assert_same};
use common::kills::{kill, try_kills};
use common::program::{Running, start_processes, trendmark};
use common::workspace::{Workspace, lines};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fs;
use std::time::Duration;

/// The number of kills, unless the environment sets another.
const KILLS: u64 = 40;
/// The longest time that a job runs before it is killed, in milliseconds.
const RUN_MAX_MS: u64 = 400;

/// Runs a job until it ends or is killed. Returns whether it was cut short.
fn live(fixture: &Fixture, random: &mut ChaCha8Rng) -> bool {
    let store = fixture.path("s.db");
    let processes = random.random_range(1..=3);
    let limits = [
        format!("--workers={}", random.random_range(1..=2)),
        format!("--round-events={}", random.random_range(20..200)),
        format!("--publish-interval={}ms", random.random_range(0..40)),
        format!("--alignment={}m", random.random_range(0..90)),
    ];
    let job = start_processes(processes, &fixture.path("hosts"), |_| {
        let mut command = fixture.command(&store);
        command.args(&limits).args(["--launch-timeout", "2s"]);
        command
    });
    std::thread::sleep(Duration::from_millis(random.random_range(0..RUN_MAX_MS)));
    let one = random.random_range(0..processes);
    kill(job, random.random::<bool>().then_some(one))
}

/// Runs jobs until one is not cut short. Returns the number of kills.
fn live_until_done(fixture: &Fixture, random: &mut ChaCha8Rng, kills_max: u64) -> u64 {
    let mut kills = 0;
    while kills < kills_max && live(fixture, random) {
        kills += 1;
    }
    kills
}

#[test]
fn a_job_gives_the_same_bytes_however_often_it_is_killed() {
    try_kills(KILLS, check_killed);
}

/// Kills a job repeatedly, lets it end, and compares. Returns the number of kills.
fn check_killed(seed: u64, kills_max: u64) -> u64 {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let fixture = Fixture::generated(seed, 20_000);
    let kills = live_until_done(&fixture, &mut random, kills_max);
    Running::start(&mut fixture.command(&fixture.path("s.db"))).finish().succeeded();
    let found = contents(&fixture.path("s.db"), &all());
    assert_same(&found, &fixture.expected, &format!("seed {seed}, {kills} kills"));
    kills
}

/// A job that was ended early: epochs are open, and its whole file must be replayed.
fn interrupted() -> Workspace {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..1_000));
    let mut job = place.follow(&INPUT);
    job.wait_until("everything is committed", || place.events_committed() == 1_000);
    job.interrupt();
    job.finish().succeeded();
    place
}

const INPUT: [&str; 2] = ["--impressions", "i.jsonl"];

/// The contents of the store, except its generation.
fn stored(place: &Workspace) -> Vec<String> {
    ["* FROM trends", "* FROM ledger", "* FROM partitions", "publications FROM job"]
        .iter()
        .flat_map(|selection| place.select(selection))
        .collect()
}

#[test]
fn an_interrupted_job_resumes_and_counts_nothing_twice() {
    let place = interrupted();
    place.append("i.jsonl", lines(900..1_100));
    let mut job = place.follow(&INPUT);
    job.wait_until("everything is committed", || place.events_committed() == 1_200);
    job.interrupt();
    job.finish().succeeded();
    let ledger = "events, distinct_events, duplicate_events FROM ledger";
    assert_eq!(place.select(ledger), ["1200,1100,100"]);
    assert_eq!(place.select("sum(impressions) FROM trends"), ["1100"]);
}

#[test]
fn status_shows_the_lag_of_a_job_and_its_replay_distance() {
    let place = interrupted();
    place.append("i.jsonl", lines(1_000..1_050));
    let status = |arguments: &[&str]| {
        let mut command = trendmark();
        command.current_dir(place.0.path()).args(["status", "--store", "s.db"]).args(arguments);
        Running::start(&mut command).finish().succeeded().stdout
    };
    let told: serde_json::Value = serde_json::from_str(&status(&["--format", "json"])).unwrap();
    assert_eq!(told["generation"], 1);
    // All partitions are idle, so the highest watermark determines which epochs are closed.
    assert_eq!(told["final_through"], -5);
    assert_eq!(told["open_epochs"], serde_json::json!([0]));
    assert_eq!((&told["lag"], &told["replay"]), (&50.into(), &1_000.into()));
    // The last event is 999 s after the start of 1970, and the maximum delay is ten minutes.
    assert_eq!(told["watermark"], "1970-01-01T00:06:39Z");
    let table = status(&[]);
    for said in [
        "Generation",
        &format!("impressions {}", place.partition("i.jsonl")),
        "1000 records would be read again",
    ] {
        assert!(table.contains(said), "{table}");
    }
    let mut absent = trendmark();
    absent.args(["status", "--store", "/no/such.db"]);
    Running::start(&mut absent).finish().failed(1, &["no store at `/no/such.db`"]);
}

#[test]
fn a_finished_store_accepts_no_more_events_but_counts_them_as_late() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..10));
    place.run(&INPUT).succeeded();
    let before = stored(&place);
    place.run(&INPUT).succeeded();
    assert_eq!(stored(&place)[..before.len() - 1], before[..before.len() - 1]);
    place.append("i.jsonl", lines(10..13));
    place.run(&INPUT).succeeded();
    assert_eq!(place.select("distinct_events, late_events FROM ledger"), ["10,3"]);
}

#[test]
fn a_changed_log_is_refused_and_nothing_is_written() {
    let all = lines(0..1_000);
    let cut = lines(0..500);
    let other = all.replacen("\"video_id\":3", "\"video_id\":4", 1);
    let changed =
        lines(0..500) + &lines(500..1_000).replacen("\"video_id\":3", "\"video_id\":4", 1);
    // Two requests saw each other's video: the numbers of all rows are the same.
    let [first, second] = [&event(500, 500, 1, 500_000), &event(501, 501, 0, 501_000)].map(line);
    let exchanged = lines(0..500) + &first + &second + &lines(502..1_000);
    let reordered = lines(0..100) + &lines(101..1_000) + &lines(100..101);
    let gone = &["impressions FOLDER/i.jsonl was read up to offset 1000", "again from offset 0"];
    let differs = &[
        "replaying the logs gives other events or rows for epoch 0",
        "`--accept-loss PUBLICATION`",
    ];
    let others: [(Option<&str>, &[&str]); 6] = [
        (Some(&exchanged), differs),
        (Some(&cut), gone),
        (Some(&other), gone),
        (Some(&changed), differs),
        (None, gone),
        (Some(&reordered), &[]),
    ];
    for (content, said) in others {
        let place = interrupted();
        let before = stored(&place);
        match content {
            Some(content) => drop(place.write("i.jsonl", content)),
            None => fs::rename(place.path("i.jsonl"), place.path("away")).unwrap(),
        }
        place.write("other.jsonl", lines(0..1));
        let finished = place.run(&["--impressions", "*.jsonl"]);
        if said.is_empty() {
            finished.succeeded();
        } else {
            let folder = place.partition(".");
            let publication = place.number("publications FROM job").to_string();
            let filled =
                |said: &&str| said.replace("FOLDER", &folder).replace("PUBLICATION", &publication);
            let said: Vec<String> = said.iter().map(filled).collect();
            let said: Vec<&str> = said.iter().map(String::as_str).collect();
            finished.failed(1, &said);
            assert_eq!(stored(&place), before, "{said:?}");
        }
    }
}

#[test]
fn a_suspended_job_that_resumes_after_a_takeover_writes_nothing() {
    for _ in 0..5 {
        let place = Workspace::new();
        place.write("i.jsonl", lines(0..1_000));
        let mut zombie = place.follow(&INPUT);
        zombie.wait_until("everything is committed", || place.events_committed() == 1_000);
        zombie.suspend();
        place.append("i.jsonl", lines(1_000..1_500));
        let mut owner = place.follow(&[&INPUT[..], &["--take-over"]].concat());
        owner.wait_until("it owns the store", || place.number("generation FROM job") == 2);
        owner.wait_until("everything is committed", || place.events_committed() == 1_500);
        place.append("i.jsonl", lines(1_500..2_000));
        zombie.resume();
        let fenced = zombie.finish();
        fenced.failed(5, &["another job has taken over", "generation 1"]);
        owner.wait_until("everything is committed", || place.events_committed() == 2_000);
        owner.interrupt();
        owner.finish().succeeded();
        assert_eq!(place.select("sum(impressions) FROM trends"), ["2000"]);
        assert_eq!(place.select("sum(events), sum(distinct_events) FROM ledger"), ["2000,2000"]);
    }
}
