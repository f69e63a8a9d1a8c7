//! The commands as a user types them: their output and exit codes.

mod common;

use common::contents::{contents, number, open};
use common::event;
use common::files::{FORMATS, Record, encode, gzip, line};
use common::program::{Running, run, trendmark, wait_until};
use common::workspace::{Workspace, lines, names};
use rusqlite::Connection;
use std::path::Path;
use trendmark::dataflows;

/// The lines of `show --format csv` without the header.
fn csv(place: &Workspace, arguments: &[&str]) -> Vec<String> {
    let shown = place.show(&[&["--format", "csv"], arguments].concat());
    shown.lines().skip(1).map(str::to_string).collect()
}

#[test]
fn wrong_usage_ends_with_code_2_and_leaves_nothing_behind() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..3));
    let input = ["--impressions", "i.jsonl"];
    let wrong = [
        (vec!["--no-such-flag"], "--no-such-flag"),
        (vec!["--epoch-length", "30"], "a unit (ms, s, m, h or d) is missing"),
        (vec!["--epoch-length", "0s"], "--epoch-length is 0s"),
        (vec!["--join-window", "-1"], "--join-window is -1, but must be 0 to 1000"),
        (vec!["--workers", "0"], "--workers is 0"),
        (vec!["--process", "1"], "--process is 1"),
        (vec!["--query", "nothing"], "--query is nothing, but must be one of trends, "),
        (vec!["--config", "absent.toml"], "cannot read the configuration `absent.toml`"),
        (vec!["--processes", "2", "--hostfile", "absent"], "cannot use the host file `absent`"),
        (vec!["--hostfile", "absent"], "cannot use the host file `absent`"),
        (vec!["--cluster-secret", "absent"], "cannot use the file of --cluster-secret"),
        (vec!["--plays", ""], "--plays is empty: give a file"),
        (vec!["--plays", "i*"], "is given with --impressions and with --plays"),
    ];
    for (arguments, said) in wrong {
        place.run(&[&input[..], &arguments].concat()).failed(2, &[said]);
    }
    let sources: [&[&str]; 2] = [&["run", "--store", "s.db"], &["run", "--impressions", "i.jsonl"]];
    for (arguments, said) in sources.into_iter().zip(["--impressions or --plays", "--store"]) {
        let mut command = trendmark();
        Running::start(command.current_dir(place.0.path()).args(arguments))
            .finish()
            .failed(2, &[said]);
    }
    run(["conquer"]).failed(2, &["conquer"]);
    run::<&str>([]).failed(2, &["Usage"]);
    assert_eq!(names(&place), ["i.jsonl"]);
}

#[test]
fn a_path_that_cannot_be_read_ends_with_code_1_before_anything_is_created() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..3));
    place.write("i.csv", "a,b");
    let before = names(&place);
    let refused = [
        ("absent.jsonl", "no file or folder at `absent.jsonl`"),
        ("absent-*.jsonl", "no file or folder at `absent-*.jsonl`"),
        ("i.csv", "`i.csv` is neither JSON Lines"),
        ("/dev/null", "neither a file nor a folder"),
    ];
    for (path, said) in refused {
        place.run(&["--impressions", "i.jsonl", "--plays", path]).failed(1, &["error: ", said]);
    }
    assert_eq!(names(&place), before);
}

#[test]
fn a_dead_letter_file_that_cannot_be_written_ends_with_code_1_before_any_work() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..3));
    for path in [".", "absent/dead.jsonl", "i.jsonl/dead.jsonl"] {
        place
            .run(&["--impressions", "i.jsonl", "--dead-letter", path])
            .failed(1, &["cannot open the dead-letter file", path]);
    }
    assert_eq!(names(&place), ["i.jsonl"]);
    // Opening a pipe that nobody reads waits for a reader.
    let pipe = place.text("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let input = ["--impressions", "i.jsonl", "--dead-letter"];
    place.run(&[&input[..], &["pipe"]].concat()).failed(1, &["a pipe that no program"]);
    assert_eq!(names(&place), ["i.jsonl", "pipe"]);
}

#[cfg(unix)]
#[test]
fn dead_letters_go_to_a_pipe_that_is_read() {
    use std::io::Read;
    let place = Workspace::new();
    place.write("i.jsonl", format!("{}no event\n", lines(0..3)));
    let mut command = place.command(&["--impressions", "i.jsonl", "--dead-letter", "/dev/stderr"]);
    let piped = std::process::Stdio::piped;
    let mut job = command.stdout(piped()).stderr(piped()).spawn().unwrap();
    let mut told = String::new();
    job.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!(job.wait().unwrap().code(), Some(0), "{told}");
    assert_eq!(told.matches("\"location\":\"line 4\"").count(), 1, "{told}");
}

#[test]
fn a_file_that_is_not_a_store_is_refused_and_left_unchanged() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..3));
    place.write("s.db", "these are notes, not a database of any kind");
    place.run(&["--impressions", "i.jsonl"]).failed(1, &["not a trendmark store"]);
    assert_eq!(std::fs::read(place.path("s.db")).unwrap()[..15], *b"these are notes");
    std::fs::remove_file(place.path("s.db")).unwrap();
    let other = Connection::open(place.path("s.db")).unwrap();
    other.execute_batch("CREATE TABLE notes (note TEXT)").unwrap();
    place.run(&["--impressions", "i.jsonl"]).failed(1, &["not a trendmark store"]);
    drop(other);
    std::fs::remove_file(place.path("s.db")).unwrap();
    std::fs::create_dir(place.path("s.db")).unwrap();
    place.run(&["--impressions", "i.jsonl"]).failed(1, &["s.db", "it is a folder"]);
    for command in ["show", "status"] {
        run([command, "--store", &place.text("s.db")]).failed(1, &["it is a folder"]);
    }
    place.run(&["--impressions", "i.jsonl", "--store", "absent/s.db"]).failed(2, &["--store"]);
    let mut command = trendmark();
    command.current_dir(place.0.path()).args(["run", "--impressions", "i.jsonl"]);
    let finished = Running::start(command.args(["--store", "absent/s.db"])).finish();
    finished.failed(1, &["cannot create `absent/s.db`"]);
    run(["show", "--store", &place.text("absent.db")]).failed(1, &["no store at"]);
}

#[test]
fn a_store_of_another_definition_is_refused_with_the_difference() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..3));
    let input = ["--impressions", "i.jsonl"];
    place.run(&input).succeeded();
    let before = contents(&place.path("s.db"), &dataflows::ALL[..1]);
    let other = [
        (["--epoch-length", "1h"], ["epoch-length = 30m", "epoch-length = 1h"]),
        (["--join-window", "2"], ["join-window = 4 epochs", "join-window = 2 epochs"]),
        (["--max-delay", "90s"], ["max-delay = 10m", "max-delay = 1m30s"]),
        (["--max-future", "0s"], ["max-future = 10m", "max-future = 0s"]),
        (["--query", "choices"], ["query = trends,", "query = choices;"]),
    ];
    for (arguments, said) in other {
        place.run(&[input, arguments].concat()).failed(1, &said);
    }
    assert_eq!(contents(&place.path("s.db"), &dataflows::ALL[..1]), before);
}

#[test]
fn a_store_locked_by_another_program_is_refused_soon() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..3));
    let other = Connection::open(place.path("s.db")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    place.run(&["--impressions", "i.jsonl"]).failed(1, &["another program has it locked"]);
    drop(other);
    place.run(&["--impressions", "i.jsonl"]).succeeded();
    assert_eq!(place.events_committed(), 3);
}

#[test]
fn a_write_lock_of_another_program_delays_a_commit_and_loses_nothing() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..3));
    let mut job = place.follow(&["--impressions", "i.jsonl"]);
    job.wait_until("the first lines are committed", || place.events_committed() == 3);
    let other = open(&place.path("s.db"));
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    place.append("i.jsonl", lines(3..10));
    let mut said = String::new();
    wait_until("it reports that it is waiting", || {
        said = job.stderr();
        said.contains("another program holds a write lock")
    });
    assert_eq!(place.events_committed(), 3);
    other.execute_batch("ROLLBACK").unwrap();
    job.wait_until("the other lines are committed", || place.events_committed() == 10);
    job.interrupt();
    job.finish().succeeded();
}

#[test]
fn following_reads_appended_lines_partial_lines_and_new_files_until_ctrl_c() {
    let place = Workspace::new();
    place.write("in/a.jsonl", lines(0..10));
    let mut job = place.follow(&["--impressions", "in", "--dead-letter", "dead.jsonl"]);
    job.wait_until("the existing lines are committed", || place.events_committed() == 10);
    assert_eq!(place.number("count(*) FROM trends WHERE final"), 0);
    let more = lines(10..12);
    let (one, rest) = more.split_at(more.len() - 20);
    place.append("in/a.jsonl", one);
    job.wait_until("the complete line is committed", || place.events_committed() == 11);
    place.append("in/a.jsonl", rest);
    job.wait_until("the completed line is committed", || place.events_committed() == 12);
    place.write("in/b.jsonl", lines(20..25));
    place.write("in/c.jsonl.gz", gzip(lines(25..30).as_bytes()));
    job.wait_until("the new files are committed", || place.events_committed() == 22);
    place.append("in/b.jsonl", "no event\n");
    let malformed = "coalesce(sum(malformed), 0) FROM partitions";
    job.wait_until("the malformed record is committed", || place.number(malformed) == 1);
    job.interrupt();
    let finished = job.finish().succeeded();
    assert!(finished.stdout.contains("open epochs are provisional"), "{finished:#?}");
    assert_eq!(place.events_committed(), 22);
    assert_eq!(std::fs::read_to_string(place.path("dead.jsonl")).unwrap().lines().count(), 1);
    assert_eq!(names(&place), ["dead.jsonl", "in", "s.db"], "no lock, no WAL");
}

#[test]
fn ctrl_c_while_files_are_read_commits_the_events_read_so_far() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..200_000));
    let arguments = ["--impressions", "i.jsonl", "--round-events", "100"];
    let slow = ["--rounds-in-flight", "1", "--publish-interval", "1ms", "--workers", "1"];
    let mut job = Running::start(&mut place.command(&[&arguments[..], &slow].concat()));
    job.wait_until("something is committed", || place.events_committed() > 0);
    job.interrupt();
    job.finish().succeeded();
    let events = place.events_committed();
    assert_eq!(place.select("next_offset FROM partitions"), [events.to_string()]);
    assert!(events > 0 && events <= 200_000, "{events}");
}

#[test]
fn the_printed_configuration_runs_the_same_job() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..3));
    let flags = ["--impressions", "i.jsonl", "--join-window", "2", "--query", "all"];
    let more = ["--max-delay", "1m30s", "--field", "video_id=video_id", "--workers", "2"];
    let flags = [&flags[..], &more].concat();
    let printed = place.run(&[&flags[..], &["--print-config"]].concat()).succeeded().stdout;
    place.write("job.toml", &printed);
    let run = |arguments: &[&str]| {
        let mut command = trendmark();
        command.current_dir(place.0.path()).args(["run", "--config", "job.toml"]);
        Running::start(command.args(arguments)).finish().succeeded()
    };
    assert_eq!(run(&["--print-config"]).stdout, printed);
    assert_eq!(names(&place), ["i.jsonl", "job.toml"], "printing has no other effect");
    run(&[]);
    assert_eq!(place.select("join_window_epochs, max_delay_ms FROM job"), ["2,90000"]);
    assert_eq!(place.events_committed(), 3);
    let forms = [
        ("impressions = 3", "expected a list"),
        ("workers = \"two\"", "expected a whole number"),
        ("rows-waiting-max = -1", "expected a whole number"),
        ("follow = 1", "expected true or false"),
    ];
    for (text, said) in forms {
        let wrong = place.write("form.toml", text);
        place.run(&["--config", wrong.to_str().unwrap()]).failed(2, &["in line 1", said]);
    }
    let wrong = place.write("wrong.toml", "impressions = [\"i.jsonl\"]\nworker = 2\n");
    place.run(&["--config", wrong.to_str().unwrap()]).failed(2, &["line 2", "worker"]);
}

/// Impressions of three videos in two epochs, and a play; one video has the largest possible id.
fn shown(place: &Workspace) {
    let impressions = [(1, 7, 0), (2, 7, 1), (1, u64::MAX, 2), (3, 1 << 63, 1_800_000)];
    let lines = impressions.map(|(request, video, at_ms)| line(&event(0, request, video, at_ms)));
    place.write("i.jsonl", lines.concat());
    place.write("p.jsonl", line(&event(0, 1, u64::MAX, 1_799_999)));
    let input = ["--impressions", "i.jsonl", "--plays", "p.jsonl", "--query", "all"];
    place.run(&input).succeeded();
}

#[test]
fn show_prints_tables_csv_and_json_with_all_filters() {
    let place = Workspace::new();
    shown(&place);
    let (first, second) = ("1970-01-01T00:00:00Z", "1970-01-01T00:30:00Z");
    let rows = [
        format!("7,0,{first},0,2,1"),
        format!("18446744073709551615,0,{first},1,1,1"),
        format!("9223372036854775808,1,{second},0,1,1"),
    ];
    let all = place.show(&["--format", "csv"]);
    let header = "video_id,epoch,epoch_start,plays,impressions,final";
    assert_eq!(all.lines().collect::<Vec<_>>(), [&[header.to_string()][..], &rows].concat());
    assert_eq!(csv(&place, &["--epoch", "1"]), rows[2..]);
    assert_eq!(csv(&place, &["--epoch", "-1"]), [""; 0]);
    assert_eq!(csv(&place, &["--video", "18446744073709551615"]), rows[1..2]);
    assert_eq!(csv(&place, &["--video", "9223372036854775808"]), rows[2..]);
    assert_eq!(csv(&place, &["--top", "1"]), rows[1..]);
    assert_eq!(csv(&place, &["--top", "1", "--epoch", "0"]), rows[1..2]);
    let json = place.show(&["--format", "json", "--video", "18446744073709551615"]);
    let row: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(row["video_id"].as_u64(), Some(u64::MAX));
    assert_eq!((&row["plays"], &row["final"]), (&1.into(), &true.into()));
    let table = place.show(&[]);
    assert!(table.starts_with("               Video | Epoch"), "{table}");
    assert!(table.contains("1 (00:00-00:30)") && table.contains("2 (00:30-01:00)"), "{table}");
    let chosen = place.show(&["--query", "choices", "--format", "csv"]);
    assert!(chosen.ends_with("18446744073709551615,0,1970-01-01T00:00:00Z,7,1,1,1\n"), "{chosen}");
    run(["show", "--store", &place.text("s.db"), "--query", "no"]).failed(1, &["no query `no`"]);
    run(["show", "--store", &place.text("s.db"), "--video", "-1"]).failed(2, &["-1"]);
}

#[test]
fn events_at_the_limits_of_epochs_and_of_event_time_are_in_the_right_epoch() {
    let place = Workspace::new();
    let record = |request: u64, time: &str| {
        format!("{{\"request_id\":\"r{request}\",\"video_id\":1,\"event_time\":{time}}}\n")
    };
    let times = [
        ("-62135596800000", "-34519776", "0001-01-01T00:00:00Z"),
        ("-1", "-1", "1969-12-31T23:30:00Z"),
        ("0", "0", "1970-01-01T00:00:00Z"),
        ("1799999", "0", "1970-01-01T00:00:00Z"),
        ("1800000", "1", "1970-01-01T00:30:00Z"),
        ("\"1970-01-01T02:59:59.999999+01:00\"", "3", "1970-01-01T01:30:00Z"),
        ("\"1970-01-01T02:00:00Z\"", "4", "1970-01-01T02:00:00Z"),
        ("253402128000000", "140778960", "9999-12-30T00:00:00Z"),
    ];
    let lines = (0u64..).zip(times).map(|(request, (time, ..))| record(request, time));
    place.write("i.jsonl", lines.collect::<String>());
    place.write("p.jsonl", record(0, "-62135596800000"));
    place.run(&["--impressions", "i.jsonl", "--plays", "p.jsonl"]).succeeded();
    let mut expected: Vec<String> =
        times.iter().map(|(_, epoch, start)| format!("{epoch},{start}")).collect();
    expected.sort();
    expected.dedup();
    assert_eq!(place.select("epoch, epoch_start FROM trends"), expected);
    assert_eq!(place.select("sum(impressions), sum(plays) FROM trends"), ["8,1"]);
}

#[test]
fn fields_with_other_names_are_read_in_every_format() {
    let place = Workspace::new();
    let renamed = |records: [Record; 2]| {
        let plain = String::from_utf8(encode("jsonl", &records)).unwrap();
        plain.replace("request_id", "rid").replace("event_time", "at")
    };
    let records = [Record::Event(event(0, 1, 7, 0)), Record::Event(event(1, 2, 7, 1))];
    let [one, two] = records.clone();
    place.write("i.jsonl", renamed(records));
    // The same events in another order: a copy would not be read.
    place.write("i.jsonl.gz", gzip(renamed([two, one]).as_bytes()));
    let arguments = ["--impressions", "i.jsonl", "i.jsonl.gz"];
    place
        .run(&[&arguments[..], &["--field", "request_id=rid", "--field", "event_time=at"]].concat())
        .succeeded();
    assert_eq!(csv(&place, &[]), ["7,0,1970-01-01T00:00:00Z,0,2,1"]);
    assert_eq!(place.select("duplicate_events FROM ledger"), ["2"]);
}

#[test]
fn the_same_events_give_the_same_rows_in_every_format() {
    let records: Vec<Record> =
        (0..50).map(|n| Record::Event(event(n, n % 9, n % 4, n as i64 * 300_000))).collect();
    let all = FORMATS.map(|format| {
        let place = Workspace::new();
        place.write(&format!("i.{format}"), encode(format, &records));
        place.run(&["--impressions", &format!("i.{format}")]).succeeded();
        csv(&place, &[])
    });
    assert!(all.iter().all(|rows| *rows == all[0] && !rows.is_empty()), "{all:#?}");
}

#[test]
fn every_generated_record_is_accounted_for() {
    for format in FORMATS.into_iter().filter(|format| ["jsonl", "parquet"].contains(format)) {
        let place = Workspace::new();
        let rates = ["--late-rate", "0.01", "--future-rate", "0.01", "--malformed-rate", "0.01"];
        let log = ["generate", "--out", "log", "--impressions", "20000", "--partitions", "3"];
        let mut command = trendmark();
        command.current_dir(place.0.path()).args(log).args(["--format", format, "--seed", "9"]);
        let said = Running::start(command.args(rates)).finish().succeeded().stdout;
        let told = |name: &str| -> i64 {
            let line = said.lines().find(|line| line.starts_with(name)).unwrap();
            line.rsplit(' ').next().unwrap().replace(',', "").parse().unwrap()
        };
        let (impressions, plays) = (format!("log/impressions-*.{format}"), "log/plays-*");
        place.run(&["--impressions", &impressions, "--plays", plays]).succeeded();
        let malformed = place.number("sum(malformed) FROM partitions");
        assert_eq!(malformed, told("malformed records"), "{format}");
        assert_eq!(place.number("sum(next_offset) FROM partitions"), told("records"), "{format}");
        assert_eq!(place.events_committed() + malformed, told("records"), "{format}");
        let fates = "count(*) FROM ledger WHERE events <> distinct_events + duplicate_events \
                     + late_events + future_events OR distinct_events < 0 OR duplicate_events < 0";
        assert_eq!(place.number(fates), 0, "{format}");
        assert_eq!(
            place.number("sum(future_events) FROM ledger"),
            told("future events"),
            "{format}"
        );
        assert!(place.number("sum(late_events) FROM ledger") > 0, "{format}");
        assert!(place.number("sum(duplicate_events) FROM ledger") > 0, "{format}");
    }
}

#[test]
fn a_demo_ends_by_itself_and_prints_the_path_of_its_store() {
    let place = Workspace::new();
    let mut command = trendmark();
    command
        .env("TMPDIR", place.0.path())
        .args(["demo", "--for", "3s", "--rate", "5000", "--pace", "2h"]);
    let said = Running::start(&mut command).finish().succeeded().stdout;
    assert!(said.contains(" | Epoch "), "{said}");
    let store = said.split("the store is ").nth(1).unwrap().lines().next().unwrap();
    assert!(Path::new(store).starts_with(place.0.path()), "{said}");
    let shown = run(["show", "--format", "csv", "--store", store]).succeeded().stdout;
    assert!(shown.lines().count() > 10, "{shown}");
    assert!(number(&open(Path::new(store)), "count(*) FROM trends WHERE final") > 0, "{said}");
}
