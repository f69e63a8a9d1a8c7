//! Denials of the real program: rows lose the requests that are denied, in the epochs that are
//! open, whatever a job goes through meanwhile; what is wrong in their log is counted or refused.

mod common;

use common::contents::{all, computed, contents};
use common::fixture::{Fixture, assert_same};
use common::kills::{kill, try_kills};
use common::program::{Running, start_processes, trendmark};
use common::workspace::{Workspace, stop, wait};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::process::Command;
use std::time::Duration;

/// The number of kills, unless the environment sets another.
const KILLS: u64 = 15;
/// The longest time that a job runs before it is killed, in milliseconds.
const RUN_MAX_MS: u64 = 400;

const MINUTE_MS: i64 = 60_000;
const INPUT: [&str; 8] =
    ["--impressions", "i.jsonl", "--plays", "p.jsonl", "--denied", "d.jsonl", "--query", "all"];

/// A line of impressions or plays.
fn line(request: &str, video: u64, minute: i64) -> String {
    let time_ms = minute * MINUTE_MS;
    format!("{{\"request_id\":\"{request}\",\"video_id\":{video},\"event_time\":{time_ms}}}\n")
}

/// A line of denials.
fn denial(request: &str, minute: i64) -> String {
    format!("{{\"request_id\":\"{request}\",\"event_time\":{}}}\n", minute * MINUTE_MS)
}

/// People who play one of two videos, and a bot that plays all that it sees, in two epochs.
fn place_with_a_bot() -> Workspace {
    let place = Workspace::new();
    let people = (0..10).flat_map(|one| [1, 2].map(|video| line(&format!("p{one}"), video, one)));
    let bot = [1, 2, 3].map(|video| line("bot", video, 5));
    place.write("i.jsonl", people.chain(bot).chain([line("bot", 1, 31)]).collect::<String>());
    let plays = (0..10).map(|one| line(&format!("p{one}"), 1, one + 1));
    let of_bot = [1, 2, 3].map(|video| line("bot", video, 6));
    place.write("p.jsonl", plays.chain(of_bot).chain([line("bot", 1, 32)]).collect::<String>());
    place.write("d.jsonl", "");
    place
}

/// The rows of `trends` as `video,epoch,plays,impressions`.
fn trends(place: &Workspace) -> Vec<String> {
    place.select("video_id, epoch, plays, impressions FROM trends")
}

fn ledger(place: &Workspace, kind: &str) -> Vec<String> {
    place.select(&format!(
        "epoch, distinct_events, duplicate_events, late_events, denied_events FROM ledger \
         WHERE kind = '{kind}'"
    ))
}

/// The command that reads the same logs into another store, in one run.
fn at_once(place: &Workspace) -> Command {
    let mut command = trendmark();
    command.current_dir(place.0.path()).args(["run", "--store", "once.db"]).args(INPUT);
    command
}

/// The files of sets, which say what the store says.
#[cfg(feature = "parquet")]
mod sets {
    use super::common::contents::{open, select};
    use super::common::members::{all_files, read};
    use super::{Workspace, at_once};
    use std::collections::{BTreeMap, BTreeSet};
    use std::process::Command;
    use trendmark::event::RequestId;

    pub const FLAGS: [&str; 2] = ["--sets", "sets"];

    pub fn write_once(place: &Workspace) -> Command {
        let mut command = at_once(place);
        command.args(["--sets", "sets-once"]);
        command
    }

    /// Whether the union of the files is what `requests` has.
    pub fn are_right(place: &Workspace) -> bool {
        members(place) == place.select("epoch, request_id, video_id, played FROM requests")
    }

    /// The union of the files, without what any row calls denied, as the view `requests` says it.
    fn members(place: &Workspace) -> Vec<String> {
        let mut members: BTreeMap<(String, u128, u64), bool> = BTreeMap::new();
        let mut removed = BTreeSet::new();
        for file in all_files(&place.path("sets")) {
            let of_epoch = file.parent().unwrap().file_name().unwrap().to_str().unwrap();
            let epoch = of_epoch.strip_prefix("epoch=").unwrap();
            for (request, video, played, denied) in read(&file) {
                let member = (epoch.to_owned(), request, video);
                if denied {
                    removed.insert(member.clone());
                }
                *members.entry(member).or_default() |= played;
            }
        }
        members.retain(|member, _| !removed.contains(member));
        let row = |((epoch, request, video), played): ((String, u128, u64), bool)| {
            format!("{epoch},{},{video},{}", RequestId::from_u128(request), u8::from(played))
        };
        let mut rows: Vec<String> = members.into_iter().map(row).collect();
        rows.sort();
        rows
    }

    /// The final files of both stores are the same.
    pub fn check_final(place: &Workspace) {
        let files = "epoch, part, rows, bytes, digest FROM sets";
        assert_eq!(place.select(files), select(&open(&place.path("once.db")), files));
        assert!(are_right(place));
    }
}
#[cfg(not(feature = "parquet"))]
mod sets {
    use super::Workspace;

    pub const FLAGS: [&str; 0] = [];
    pub(super) use super::at_once as write_once;

    pub fn are_right(_: &Workspace) -> bool {
        true
    }

    pub fn check_final(_: &Workspace) {}
}

/// Starts a job that follows the logs.
fn follow(place: &Workspace) -> Running {
    place.follow(&[&INPUT[..], &sets::FLAGS].concat())
}

/// Kills a job with SIGKILL.
fn cut_short(mut job: Running) {
    job.kill();
    assert_eq!(job.finish().code, None);
}

#[test]
fn rows_lose_a_denied_request_in_the_open_epochs_and_it_does_not_come_back() {
    let place = place_with_a_bot();
    let mut job = follow(&place);
    wait(&mut job, &place, 24 + 14);
    assert_eq!(trends(&place), ["1,0,11,11", "1,1,1,1", "2,0,1,11", "3,0,1,1"]);

    place.append("d.jsonl", denial("bot", 40));
    wait(&mut job, &place, 24 + 14 + 1);
    let without = ["1,0,10,10", "2,0,0,10"];
    assert_eq!(trends(&place), without);
    assert_eq!(place.select("count(*) FROM requests"), ["20"]);
    assert_eq!(place.select("DISTINCT winner_id, loser_id, requests FROM choices"), ["1,2,10"]);
    assert_eq!(ledger(&place, "impression"), ["0,23,0,0,3", "1,1,0,0,1"]);
    assert_eq!(ledger(&place, "play"), ["0,13,0,0,3", "1,1,0,0,1"]);
    assert_eq!(ledger(&place, "denial"), ["1,1,0,0,0"]);

    // Killed, and started again: what comes later of the request stays out.
    cut_short(job);
    let mut job = follow(&place);
    place.append("i.jsonl", [line("bot", 4, 12), line("bot", 1, 5)].concat());
    place.append("p.jsonl", line("bot", 4, 13));
    place.append("d.jsonl", denial("bot", 40));
    wait(&mut job, &place, 24 + 14 + 1 + 4);
    assert_eq!(trends(&place), without);
    assert_eq!(ledger(&place, "impression"), ["0,24,1,0,4", "1,1,0,0,1"]);
    assert_eq!(ledger(&place, "play"), ["0,14,0,0,4", "1,1,0,0,1"]);
    assert_eq!(ledger(&place, "denial"), ["1,1,1,0,0"]);
    job.wait_until("the files say what the store says", || sets::are_right(&place));

    // A denial of a request that has not been seen yet; and time passes, so that epochs close.
    // First the denial: an idle log would not keep them from closing.
    place.append("d.jsonl", denial("next", 41));
    wait(&mut job, &place, 24 + 14 + 1 + 4 + 1);
    place.append("i.jsonl", [line("next", 1, 41), line("p0", 1, 600)].concat());
    wait(&mut job, &place, 24 + 14 + 1 + 4 + 3);
    job.wait_until("epoch 1 is final", || place.number("final FROM epochs WHERE epoch = 1") == 1);
    assert_eq!(trends(&place), ["1,0,10,10", "1,20,0,1", "2,0,0,10"]);

    // A denial that comes too late changes nothing, and is counted.
    cut_short(job);
    let mut job = follow(&place);
    let late = [denial("nobody", 600), denial("nobody", 601), denial("p1", 20)];
    place.append("d.jsonl", late.concat());
    wait(&mut job, &place, 24 + 14 + 1 + 4 + 3 + 3);
    assert_eq!(trends(&place), ["1,0,10,10", "1,20,0,1", "2,0,0,10"]);
    assert_eq!(ledger(&place, "denial"), ["0,0,0,1,0", "1,2,1,0,0", "20,1,1,0,0"]);
    stop(job);

    place.run(&[&INPUT[..], &sets::FLAGS].concat()).succeeded();
    let once = Running::start(&mut sets::write_once(&place)).finish().succeeded();
    assert!(once.stdout.contains("distinct (11 of denied requests)"), "{}", once.stdout);
    let (found, expected) = (computed(&place.path("s.db")), computed(&place.path("once.db")));
    assert_same(&found, &expected, "in steps, and at once");
    sets::check_final(&place);
}

#[test]
fn a_denial_reaches_as_far_as_a_play() {
    let place = Workspace::new();
    let shown = (0..8).map(|epoch| line("r", 1, 30 * epoch)).collect::<String>();
    place.write("i.jsonl", shown);
    place.write("p.jsonl", line("r", 1, 0));
    // In epoch 5, with a join window of 2.
    place.write("d.jsonl", denial("r", 150));
    place.run(&[&INPUT[..], &["--join-window", "2"]].concat()).succeeded();
    assert_eq!(trends(&place), ["1,0,1,1", "1,1,0,1", "1,2,0,1", "1,6,0,1", "1,7,0,1"]);
}

#[test]
fn an_epoch_whose_requests_are_all_denied_has_no_rows() {
    let place = Workspace::new();
    place.write("i.jsonl", line("r", 1, 0));
    place.write("p.jsonl", line("r", 1, 1));
    place.write("d.jsonl", denial("r", 2));
    let arguments = [&INPUT[..], &sets::FLAGS].concat();
    place.run(&arguments).succeeded();
    assert_eq!(trends(&place), Vec::<String>::new());
    assert_eq!(ledger(&place, "impression"), ["0,1,0,0,1"]);
    assert!(sets::are_right(&place));
    place.run(&arguments).succeeded();
}

#[test]
fn a_log_with_bots_gives_what_the_oracle_says_for_any_number_of_workers_and_processes() {
    let fixture = Fixture::with_bots(3, 20_000);
    for (processes, workers) in [(1, 1), (1, 3), (2, 2)] {
        let how = format!("{processes} processes with {workers} workers");
        assert_same(&fixture.run(processes, workers), &fixture.expected, &how);
    }
    let denied = |kind: &str| {
        let of_kind = |row: &&String| row.split(',').nth(1) == Some(kind);
        let number = |row: &String| row.rsplit(',').next().unwrap().parse::<u64>().unwrap();
        fixture.expected["ledger"].iter().filter(of_kind).map(number).sum::<u64>()
    };
    assert!(denied("impression") > 500 && denied("play") > 500);
    assert_eq!(denied("denial"), 0);
}

#[test]
fn a_log_with_bots_gives_the_same_bytes_however_often_a_job_is_killed() {
    try_kills(KILLS, |seed, kills_max| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let fixture = Fixture::with_bots(seed, 20_000);
        let mut kills = 0;
        while kills < kills_max && live(&fixture, &mut random) {
            kills += 1;
        }
        let store = fixture.path("s.db");
        Running::start(&mut fixture.command(&store)).finish().succeeded();
        let how = format!("seed {seed}, {kills} kills");
        assert_same(&contents(&store, &all()), &fixture.expected, &how);
        kills
    });
}

/// Runs a job until it ends or is killed. Returns whether it was cut short.
fn live(fixture: &Fixture, random: &mut ChaCha8Rng) -> bool {
    let store = fixture.path("s.db");
    let limits = [
        format!("--workers={}", random.random_range(1..=2)),
        format!("--round-events={}", random.random_range(20..200)),
        format!("--publish-interval={}ms", random.random_range(0..40)),
    ];
    let job = start_processes(random.random_range(1..=2), &fixture.path("hosts"), |_| {
        let mut command = fixture.command(&store);
        command.args(&limits).args(["--launch-timeout", "2s"]);
        command
    });
    std::thread::sleep(Duration::from_millis(random.random_range(0..RUN_MAX_MS)));
    kill(job, None)
}

#[test]
fn records_that_are_no_denials_are_counted_and_a_video_is_ignored() {
    let place = place_with_a_bot();
    let wrong = [
        "no JSON\n",
        "{\"event_time\":0}\n",
        "{\"request_id\":\"p1\"}\n",
        "{\"request_id\":\"\",\"event_time\":0}\n",
        "{\"request_id\":\"p1\",\"event_time\":\"yesterday\"}\n",
        "[\"p1\",0]\n",
    ];
    let right = ["{\"request_id\":\"bot\",\"video_id\":\"none\",\"event_time\":2400000}\n"];
    place.write("d.jsonl", [&wrong[..], &right].concat().concat());
    let finished = place.run(&[&INPUT[..], &["--dead-letter", "dead.jsonl"]].concat()).succeeded();
    assert!(finished.stdout.contains("; 6 malformed records"), "{}", finished.stdout);
    assert_eq!(trends(&place), ["1,0,10,10", "2,0,0,10"]);
    let malformed = "topic, malformed FROM partitions WHERE malformed > 0";
    assert_eq!(place.select(malformed), ["denials,6"]);
    let letters = place.letters("dead.jsonl");
    assert_eq!(letters.len(), 6);
    assert!(letters.iter().all(|letter| letter["topic"] == "denials"), "{letters:?}");
    assert!(letters[1]["reason"].as_str().unwrap().contains("`request_id`"), "{letters:?}");
}

#[test]
fn a_log_of_which_nothing_is_a_denial_ends_the_job_with_code_6() {
    let place = place_with_a_bot();
    place.write("d.jsonl", "{\"id\":\"bot\",\"event_time\":0}\n{\"id\":\"r\",\"event_time\":0}\n");
    let said = ["error: all 2 records of the denials are malformed; first: ", "`request_id`"];
    place.run(&INPUT).failed(6, &said);
    // The rows of the other logs are in the store. With the name of the field, they lose the bot.
    assert_eq!(trends(&place).len(), 4);
    std::fs::remove_file(place.path("s.db")).unwrap();
    place.run(&[&INPUT[..], &["--field", "denials.request_id=id"]].concat()).succeeded();
    assert_eq!(trends(&place), ["1,0,10,10", "1,1,1,1", "2,0,0,10"]);
}

#[test]
fn what_cannot_be_a_log_of_denials_is_refused() {
    let place = place_with_a_bot();
    let run = |more: &[&str]| place.run(&[&["--impressions", "i.jsonl"], more].concat());
    let both = ["--plays", "p.jsonl", "--denied", "p.jsonl"];
    let said = ["p.jsonl` is given with --plays and with --denied: a file cannot hold more than"];
    run(&both).failed(2, &said);
    let all = ["--plays", "i.jsonl", "--denied", "i.jsonl"];
    run(&all).failed(2, &["is given with --impressions and with --plays and with --denied"]);
    run(&["--denied", "absent.jsonl"]).failed(1, &["no file or folder at", "absent.jsonl"]);
    run(&["--denied", ""]).failed(2, &["--denied is empty: give a file"]);
    run(&["--denied", "https://there/d"]).failed(2, &["`https://…` is a URL"]);
    place.write("log/d.jsonl", denial("bot", 40));
    let among = ["--denied", "log", "--dead-letter", "log/dead.jsonl"];
    run(&among).failed(2, &["--dead-letter `log/dead.jsonl` is also a source"]);
    let no_video = ["--denied", "d.jsonl", "--field", "denials.video_id=v"];
    run(&no_video).failed(2, &["a denial is of a request, and has no video_id"]);
    let said = ["give --impressions or --plays, or both"];
    place.run(&["--denied", "d.jsonl"]).failed(2, &said);
    assert!(!place.path("s.db").exists());
}

#[test]
fn the_log_is_named_in_a_configuration_file_too() {
    let place = place_with_a_bot();
    place.write("d.jsonl", denial("bot", 40));
    place.write(
        "job.toml",
        "impressions = [\"i.jsonl\"]\nplays = [\"p.jsonl\"]\ndenied = [\"d.jsonl\"]\n",
    );
    place.run(&["--config", "job.toml"]).succeeded();
    assert_eq!(trends(&place), ["1,0,10,10", "2,0,0,10"]);
}

#[test]
fn without_denials_nothing_is_different() {
    let place = place_with_a_bot();
    place.run(&INPUT[..4]).succeeded();
    let (rows, ledger_without) = (trends(&place), place.select("* FROM ledger"));
    assert_eq!(rows, ["1,0,11,11", "1,1,1,1", "2,0,1,11", "3,0,1,1"]);
    assert!(ledger_without.iter().all(|row| row.ends_with(",0")), "{ledger_without:?}");
    // A log without denials, and one of denials of nobody, change no row.
    for (text, denials) in [(String::new(), vec![]), (denial("nobody", 1), vec!["0,1,0,0,0"])] {
        std::fs::remove_file(place.path("s.db")).unwrap();
        place.write("d.jsonl", text);
        place.run(&INPUT[..6]).succeeded();
        assert_eq!(trends(&place), rows);
        assert_eq!(ledger(&place, "denial"), denials);
        let others = "* FROM ledger WHERE kind <> 'denial'";
        assert_eq!(place.select(others), ledger_without);
    }
}

#[test]
fn a_log_of_denials_that_is_added_to_a_store_changes_its_open_epochs() {
    let place = place_with_a_bot();
    let mut job = place.follow(&INPUT[..4]);
    wait(&mut job, &place, 24 + 14);
    stop(job);
    place.write("d.jsonl", denial("bot", 40));
    place.run(&INPUT[..6]).succeeded();
    assert_eq!(trends(&place), ["1,0,10,10", "2,0,0,10"]);
}

#[test]
fn a_quiet_log_of_denials_holds_no_epoch_open() {
    let place = place_with_a_bot();
    let mut job = follow(&place);
    place.append("i.jsonl", line("p0", 1, 600));
    job.wait_until("epoch 1 is final", || place.number("final FROM epochs WHERE epoch = 1") == 1);
    stop(job);
}

#[cfg(feature = "kafka")]
#[test]
fn a_store_in_kafka_says_what_is_removed() {
    use common::store_topics::StoreTopics;
    let Some(topics) = StoreTopics::new("denied_in_kafka") else { return };
    let place = place_with_a_bot();
    let servers = topics.settings.bootstrap_servers.clone();
    let mut command = trendmark();
    command.current_dir(place.0.path()).arg("run").args(&INPUT[..6]).arg("--follow");
    command.args(["--query", "trends", "--query", "requests", "--publish-interval", "20ms"]);
    command.args(["--store", &format!("kafka:{}", topics.topic)]);
    let mut job = Running::start(command.args(["--bootstrap-servers", &servers]));
    let committed = |topics: &StoreTopics| match topics.reader() {
        Ok(reader) => {
            let rows = trendmark::stores::StoreReader::ledger(&reader).unwrap();
            rows.iter().map(|row| row.events).sum()
        }
        Err(_) => 0,
    };
    job.wait_until("all is committed", || committed(&topics) == 24 + 14);
    assert_eq!(topics.table("").len(), 4);
    place.append("d.jsonl", denial("bot", 40));
    job.wait_until("the denial is committed", || committed(&topics) == 24 + 14 + 1);
    stop(job);
    let table = topics.table("");
    let keys: Vec<&String> = table.keys().collect();
    assert_eq!(keys, ["{\"video_id\":1,\"epoch\":0}", "{\"video_id\":2,\"epoch\":0}"]);
    let records = topics.records("-requests");
    let values: Vec<_> = records.into_iter().map(|(_, _, value)| value.unwrap()).collect();
    let removed: Vec<_> = values.iter().filter(|value| value["removed"] == true).collect();
    assert_eq!(removed.len(), 4, "{values:?}");
    assert!(
        removed.iter().all(|value| value["request_id"].is_string() && value["shown"].is_null())
    );
}
