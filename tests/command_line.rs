//! The commands as a user types them: what they print, which exit codes they end with, and what
//! becomes of bad input.

mod common;

use common::contents::{contents, number, open, select};
use common::event;
use common::files::{FORMATS, Record, encode, gzip, line};
use common::program::{Finished, Running, run, trendmark, wait_until};
use rusqlite::Connection;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use trendmark::dataflows;

/// A folder for the files of a test.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_string()
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn append(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(bytes.as_ref()).unwrap();
    }

    /// `trendmark run` with this place's store and impressions, and more arguments, here.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = trendmark();
        command.current_dir(self.0.path()).args(["run", "--store", "s.db"]).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        Running::start(&mut self.command(arguments)).finish()
    }

    /// A followed job that publishes at once, reads at once and is soon idle.
    fn follow(&self, arguments: &[&str]) -> Running {
        let quick = ["--follow", "--publish-interval", "20ms", "--idle-timeout", "100ms"];
        Running::start(self.command(arguments).args(quick).args(["--workers", "2"]))
    }

    fn show(&self, arguments: &[&str]) -> String {
        let mut command = trendmark();
        command.current_dir(self.0.path()).args(["show", "--store", "s.db"]).args(arguments);
        Running::start(&mut command).finish().succeeded().stdout
    }

    fn select(&self, selection: &str) -> Vec<String> {
        select(&open(&self.path("s.db")), selection)
    }

    /// A number of the store, 0 while there is no such table.
    fn number(&self, selection: &str) -> i64 {
        let Ok(connection) = Connection::open(self.path("s.db")) else { return 0 };
        let row = connection.query_row(&format!("SELECT {selection}"), [], |row| row.get(0));
        row.unwrap_or(0)
    }

    fn events_committed(&self) -> i64 {
        self.number("coalesce(sum(events), 0) FROM ledger")
    }
}

/// Lines of as many impressions, a second apart, from a number on.
fn lines(numbers: std::ops::Range<u64>) -> String {
    numbers.map(|number| line(&event(number, number, number % 5, number as i64 * 1_000))).collect()
}

/// The lines of `show --format csv` without the header.
fn csv(place: &Place, arguments: &[&str]) -> Vec<String> {
    let shown = place.show(&[&["--format", "csv"], arguments].concat());
    shown.lines().skip(1).map(str::to_string).collect()
}

#[test]
fn what_is_typed_wrong_ends_with_code_2_and_leaves_nothing_behind() {
    let place = Place::new();
    place.write("i.jsonl", lines(0..3));
    let input = ["--impressions", "i.jsonl"];
    let wrong = [
        (vec!["--no-such-flag"], "--no-such-flag"),
        (vec!["--epoch-length", "30"], "a unit (ms, s, m, h or d) is missing"),
        (vec!["--epoch-length", "0s"], "--epoch-length is 0s"),
        (vec!["--join-window", "-1"], "--join-window is -1, but must be 0 to 1000"),
        (vec!["--workers", "0"], "--workers is 0"),
        (vec!["--process", "1"], "--process is 1"),
        (vec!["--query", "nothing"], "trends, requests, choices, all"),
        (vec!["--config", "absent.toml"], "cannot read the configuration `absent.toml`"),
        (vec!["--processes", "2", "--hostfile", "absent"], "cannot use the host file `absent`"),
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

fn names(place: &Place) -> Vec<String> {
    let entries = std::fs::read_dir(place.0.path()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_path_that_cannot_be_read_ends_with_code_1_before_anything_is_made() {
    let place = Place::new();
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
fn a_place_for_dead_letters_that_cannot_be_written_ends_with_code_1_before_any_work() {
    let place = Place::new();
    place.write("i.jsonl", lines(0..3));
    for path in [".", "absent/dead.jsonl", "i.jsonl/dead.jsonl"] {
        place
            .run(&["--impressions", "i.jsonl", "--dead-letter", path])
            .failed(1, &["cannot open the file of dead letters", path]);
    }
    assert_eq!(names(&place), ["i.jsonl"]);
}

#[test]
fn a_store_that_is_something_else_is_refused_and_left_as_it_was() {
    let place = Place::new();
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
    place.run(&["--impressions", "i.jsonl"]).failed(1, &["s.db"]);
    place.run(&["--impressions", "i.jsonl", "--store", "absent/s.db"]).failed(2, &["--store"]);
    let mut command = trendmark();
    command.current_dir(place.0.path()).args(["run", "--impressions", "i.jsonl"]);
    let finished = Running::start(command.args(["--store", "absent/s.db"])).finish();
    finished.failed(1, &["cannot make `absent/s.db`"]);
    run(["show", "--store", &place.text("absent.db")]).failed(1, &["no store at"]);
}

#[test]
fn a_store_with_results_is_refused_with_what_differs_or_because_it_is_occupied() {
    let place = Place::new();
    place.write("i.jsonl", lines(0..3));
    let input = ["--impressions", "i.jsonl"];
    place.run(&input).succeeded();
    let before = contents(&place.path("s.db"), &dataflows::ALL[..1]);
    let other = [
        (["--epoch-length", "1h"], ["epoch-length = 30m", "epoch-length = 1h"]),
        (["--join-window", "2"], ["join-window = 4 epochs", "join-window = 2 epochs"]),
        (["--max-delay", "90s"], ["max-delay = 10m", "max-delay = 90s"]),
        (["--max-future", "0s"], ["max-future = 10m", "max-future = 0ms"]),
        (["--query", "choices"], ["query = distinct,trends", "query = choices,distinct"]),
    ];
    for (arguments, said) in other {
        place.run(&[input, arguments].concat()).failed(1, &said);
    }
    place.run(&input).failed(1, &["already holds results"]);
    assert_eq!(contents(&place.path("s.db"), &dataflows::ALL[..1]), before);
}

#[test]
fn a_store_that_a_run_has_is_refused_to_another_with_the_number_of_the_process() {
    let place = Place::new();
    place.write("i.jsonl", lines(0..3));
    let input = ["--impressions", "i.jsonl"];
    let mut first = place.follow(&input);
    first.wait_until("it has committed", || place.events_committed() == 3);
    let owner = format!("another trendmark run has it, process {}", first.id());
    place.run(&input).failed(1, &["is in use", &owner]);
    first.interrupt();
    first.finish().succeeded();
}

#[test]
fn a_store_that_another_program_has_locked_is_refused_soon() {
    let place = Place::new();
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
    let place = Place::new();
    place.write("i.jsonl", lines(0..3));
    let mut job = place.follow(&["--impressions", "i.jsonl"]);
    job.wait_until("it has committed", || place.events_committed() == 3);
    let other = open(&place.path("s.db"));
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    place.append("i.jsonl", lines(3..10));
    let mut said = String::new();
    wait_until("it says that it waits", || {
        said = job.stderr();
        said.contains("another program holds a write lock")
    });
    assert_eq!(place.events_committed(), 3);
    other.execute_batch("ROLLBACK").unwrap();
    job.wait_until("the rest is committed", || place.events_committed() == 10);
    job.interrupt();
    job.finish().succeeded();
}

/// An event's line, for files in which it stands beside what is malformed.
fn good() -> String {
    line(&event(0, 1, 7, 0))
}

#[test]
fn every_malformed_record_is_counted_and_written_down_with_its_place_and_never_stops_a_run() {
    let place = Place::new();
    let with = |bad: &[u8]| [good().as_bytes(), bad, b"\n", good().as_bytes()].concat();
    let damaged = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    let many = lines(0..2_000);
    let parquet = encode("parquet", &[Record::Event(event(0, 1, 7, 0)), Record::Malformed]);
    let long = [&vec![b'x'; 100 << 20][..], b"\n", good().as_bytes()].concat();
    let cases: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        ("json.jsonl", with(b"{\"request_id\":"), "line 2", "not JSON"),
        ("array.jsonl", with(b"[1,2]"), "line 2", "not a JSON object"),
        ("missing.jsonl", with(b"{\"request_id\":\"r\"}"), "line 2", "missing field `video_id`"),
        (
            "type.jsonl",
            with(b"{\"request_id\":\"r\",\"video_id\":\"7\",\"event_time\":0}"),
            "line 2",
            "`video_id` is a string",
        ),
        (
            "empty.jsonl",
            with(b"{\"request_id\":\"\",\"video_id\":7,\"event_time\":0}"),
            "line 2",
            "`request_id` is empty",
        ),
        ("text.jsonl", with(b"{\"request_id\":\"\xff\"}"), "line 2", "invalid UTF-8"),
        (
            "zone.jsonl",
            with(b"{\"request_id\":\"r\",\"video_id\":7,\"event_time\":\"2026-01-01T00:00:00\"}"),
            "line 2",
            "has no zone",
        ),
        ("long.jsonl.zst", zstd::encode_all(&long[..], 1).unwrap(), "line 1", "longer than"),
        ("long.jsonl.gz", gzip(&long), "line 1", "longer than"),
        ("cut.jsonl.gz", damaged(gzip(many.as_bytes())), "line ", "damaged or cut off"),
        (
            "cut.jsonl.zst",
            damaged(zstd::encode_all(many.as_bytes(), 1).unwrap()),
            "line ",
            "damaged or cut off",
        ),
        ("no.jsonl.gz", b"not compressed at all".to_vec(), "line 1", "damaged or cut off"),
        ("cut.parquet", damaged(parquet.clone()), "file", "not a Parquet file"),
        ("null.parquet", parquet, "row 2", "`request_id`"),
        ("other.parquet", other_columns(), "file", "column"),
    ];
    for (name, bytes, ..) in &cases {
        place.write(&format!("in/{name}"), bytes);
    }
    let arguments = ["--impressions", "in", "--dead-letter", "dead.jsonl"];
    let finished = place.run(&arguments).succeeded();
    assert!(finished.stderr.contains("no more will be shown"), "{finished:#?}");
    let letters = std::fs::read_to_string(place.path("dead.jsonl")).unwrap();
    let letters: Vec<serde_json::Value> =
        letters.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (name, _, at, reason) in &cases {
        let partition = format!("in/{name}");
        let malformed = format!("malformed FROM partitions WHERE partition = '{partition}'");
        assert_eq!(place.select(&malformed), ["1"], "{name}");
        let letter = letters.iter().find(|letter| letter["partition"] == *partition).unwrap();
        assert!(letter["place"].as_str().unwrap().starts_with(at), "{letter}");
        assert!(letter["reason"].as_str().unwrap().contains(reason), "{letter}");
        assert_eq!(letter["topic"], "impressions");
    }
    assert_eq!(letters.len(), cases.len());
    let offset = |name: &str| {
        let name = format!("in/{name}");
        letters.iter().find(|letter| letter["partition"] == *name).unwrap()["offset"].clone()
    };
    assert_eq!((offset("json.jsonl"), offset("null.parquet")), (1.into(), 1.into()));
    let read = "sum(next_offset) FROM partitions";
    let accounted = "(SELECT sum(events) FROM ledger) + (SELECT sum(malformed) FROM partitions)";
    assert_eq!(place.number(read), place.number(accounted));
}

fn other_columns() -> Vec<u8> {
    use arrow_array::{ArrayRef, Int64Array, RecordBatch};
    let column: ArrayRef = std::sync::Arc::new(Int64Array::from(vec![1, 2, 3]));
    let rows = RecordBatch::try_from_iter([("color", column)]).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn dead_letters_that_cannot_be_written_any_more_are_still_counted() {
    let place = Place::new();
    place.write("i.jsonl", format!("{}no event\n", good()));
    let finished =
        place.run(&["--impressions", "i.jsonl", "--dead-letter", "/dev/full"]).succeeded();
    assert!(finished.stderr.contains("cannot write"), "{finished:#?}");
    assert_eq!(place.select("malformed FROM partitions"), ["1"]);
}

#[test]
fn a_line_of_100_mb_is_read_in_bounded_memory() {
    let place = Place::new();
    let file = std::fs::File::create(place.path("i.jsonl")).unwrap();
    file.set_len(100 << 20).unwrap(); // Sparse: zeros that take no room.
    drop(file);
    place.append("i.jsonl", format!("\n{}", good()));
    let mut job = place.follow(&["--impressions", "i.jsonl"]);
    job.wait_until("the event behind it is committed", || place.events_committed() == 1);
    let status = std::fs::read_to_string(format!("/proc/{}/status", job.id())).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    let peak_kib: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(peak_kib < 90 << 10, "{peak}");
    job.interrupt();
    job.finish().succeeded();
    assert_eq!(place.select("malformed FROM partitions"), ["1"]);
}

#[test]
fn following_reads_appended_lines_partial_lines_and_new_files_until_ctrl_c() {
    let place = Place::new();
    place.write("in/a.jsonl", lines(0..10));
    let mut job = place.follow(&["--impressions", "in", "--dead-letter", "dead.jsonl"]);
    job.wait_until("what is there is committed", || place.events_committed() == 10);
    assert_eq!(place.number("count(*) FROM trends WHERE final"), 0);
    let more = lines(10..12);
    let (one, rest) = more.split_at(more.len() - 20);
    place.append("in/a.jsonl", one);
    job.wait_until("the whole line is committed", || place.events_committed() == 11);
    place.append("in/a.jsonl", rest);
    job.wait_until("the other half has come", || place.events_committed() == 12);
    place.write("in/b.jsonl", lines(20..25));
    place.write("in/c.jsonl.gz", gzip(lines(25..30).as_bytes()));
    job.wait_until("new files are read", || place.events_committed() == 22);
    place.append("in/b.jsonl", "no event\n");
    let malformed = "coalesce(sum(malformed), 0) FROM partitions";
    job.wait_until("what is malformed is committed", || place.number(malformed) == 1);
    job.interrupt();
    let finished = job.finish().succeeded();
    assert!(finished.stdout.contains("open epochs are provisional"), "{finished:#?}");
    assert_eq!(place.events_committed(), 22);
    assert_eq!(std::fs::read_to_string(place.path("dead.jsonl")).unwrap().lines().count(), 1);
    assert_eq!(names(&place), ["dead.jsonl", "in", "s.db"], "no lock, no WAL");
}

#[test]
fn a_followed_file_that_is_cut_ends_the_job_with_code_1_and_what_was_committed_stays() {
    let place = Place::new();
    place.write("i.jsonl", lines(0..10));
    let mut job = place.follow(&["--impressions", "i.jsonl"]);
    job.wait_until("what is there is committed", || place.events_committed() == 10);
    place.write("i.jsonl", lines(0..2));
    job.finish().failed(1, &["i.jsonl", "offset 2", "offset 10"]);
    assert_eq!(place.events_committed(), 10);
}

#[test]
fn ctrl_c_while_files_are_read_commits_what_was_read() {
    let place = Place::new();
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
    let place = Place::new();
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
    assert_eq!(names(&place), ["i.jsonl", "job.toml"], "printing does nothing else");
    run(&[]);
    assert_eq!(place.select("join_window_epochs, max_delay_ms FROM job"), ["2,90000"]);
    assert_eq!(place.events_committed(), 3);
    let wrong = place.write("wrong.toml", "impressions = [\"i.jsonl\"]\nworker = 2\n");
    place.run(&["--config", wrong.to_str().unwrap()]).failed(2, &["line 2", "worker"]);
}

/// Impressions and a play of three videos in two epochs, one of them the greatest of all.
fn shown(place: &Place) {
    let impressions = [(1, 7, 0), (2, 7, 1), (1, u64::MAX, 2), (3, 1 << 63, 1_800_000)];
    let lines = impressions.map(|(request, video, at_ms)| line(&event(0, request, video, at_ms)));
    place.write("i.jsonl", lines.concat());
    place.write("p.jsonl", line(&event(0, 1, u64::MAX, 1_799_999)));
    let input = ["--impressions", "i.jsonl", "--plays", "p.jsonl", "--query", "all"];
    place.run(&input).succeeded();
}

#[test]
fn show_prints_tables_csv_and_json_with_all_filters() {
    let place = Place::new();
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
fn events_on_the_edges_of_epochs_and_of_time_itself_are_counted_where_they_belong() {
    let place = Place::new();
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
    let place = Place::new();
    let records = [Record::Event(event(0, 1, 7, 0)), Record::Event(event(1, 2, 7, 1))];
    let plain = String::from_utf8(encode("jsonl", &records)).unwrap();
    let renamed = plain.replace("request_id", "rid").replace("event_time", "at");
    place.write("i.jsonl", &renamed);
    place.write("i.jsonl.gz", gzip(renamed.as_bytes()));
    let arguments = ["--impressions", "i.jsonl", "i.jsonl.gz"];
    place
        .run(&[&arguments[..], &["--field", "request_id=rid", "--field", "event_time=at"]].concat())
        .succeeded();
    assert_eq!(csv(&place, &[]), ["7,0,1970-01-01T00:00:00Z,0,2,1"]);
    assert_eq!(place.select("duplicate_events FROM ledger"), ["2"]);
}

#[test]
fn every_format_of_the_same_events_is_the_same_log() {
    let records: Vec<Record> =
        (0..50).map(|n| Record::Event(event(n, n % 9, n % 4, n as i64 * 300_000))).collect();
    let all = FORMATS.map(|format| {
        let place = Place::new();
        place.write(&format!("i.{format}"), encode(format, &records));
        place.run(&["--impressions", &format!("i.{format}")]).succeeded();
        csv(&place, &[])
    });
    assert!(all.iter().all(|rows| *rows == all[0] && !rows.is_empty()), "{all:#?}");
}

#[test]
fn what_generate_writes_is_accounted_for_to_the_last_record() {
    for format in ["jsonl", "parquet"] {
        let place = Place::new();
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
            told("events stamped"),
            "{format}"
        );
        assert!(place.number("sum(late_events) FROM ledger") > 0, "{format}");
        assert!(place.number("sum(duplicate_events) FROM ledger") > 0, "{format}");
    }
}

#[test]
fn a_demo_ends_by_itself_and_says_where_its_store_is() {
    let place = Place::new();
    let mut command = trendmark();
    command
        .env("TMPDIR", place.0.path())
        .args(["demo", "--for", "3s", "--rate", "5000", "--pace", "2h"]);
    let said = Running::start(&mut command).finish().succeeded().stdout;
    assert!(said.contains("Video | Epoch"), "{said}");
    let store = said.split("the store is ").nth(1).unwrap().lines().next().unwrap();
    assert!(Path::new(store).starts_with(place.0.path()), "{said}");
    let shown = run(["show", "--format", "csv", "--store", store]).succeeded().stdout;
    assert!(shown.lines().count() > 10, "{shown}");
    assert!(number(&open(Path::new(store)), "count(*) FROM trends WHERE final") > 0, "{said}");
}

#[test]
fn a_full_disk_ends_the_job_with_code_1_and_keeps_what_was_committed() {
    let place = Place::new();
    place.write("i.jsonl", varied(60_000));
    // A limit on the size of files stands for the end of the disk: writing beyond it fails.
    let job = "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\"";
    let mut command = Command::new("bash");
    command.current_dir(place.0.path()).args(["-c", job, env!("CARGO_BIN_EXE_trendmark")]);
    command.args(["run", "--store", "s.db", "--impressions", "i.jsonl", "--query", "requests"]);
    command.args(["--round-events", "1000", "--publish-interval", "1ms", "--tick", "1ms"]);
    let finished = Running::start(&mut command).finish();
    finished.failed(1, &["error: cannot ", "s.db"]);
    let connection = open(&place.path("s.db"));
    assert_eq!(select(&connection, "* FROM pragma_integrity_check"), ["ok"]);
    let events = number(&connection, "coalesce(sum(events), 0) FROM ledger");
    assert!(events > 0 && events < 60_000, "{events}");
    assert_eq!(select(&connection, "next_offset FROM partitions"), [events.to_string()]);
    assert_eq!(number(&connection, "count(*) FROM requests"), events);
}

/// Impressions of different requests.
fn varied(count: u64) -> String {
    (0..count).map(|number| line(&event(number, number, number % 50, number as i64))).collect()
}
