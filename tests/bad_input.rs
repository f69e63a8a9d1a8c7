//! Bad input and a full disk, end to end: bad records are counted and reported, and no commit is
//! lost.

mod common;

use common::contents::{number, open, select};
use common::event;
use common::files::{gzip, line};
use common::program::{Running, trendmark, wait_until};
use common::workspace::{Workspace, lines};
use std::process::Command;

/// The line of a valid event, for files that also hold malformed records.
fn good() -> String {
    line(&event(0, 1, 7, 0))
}

/// Files with one malformed record each. No two begin alike: copies are not read.
fn cases() -> Vec<Case> {
    let with = |bad: &[u8]| [good().as_bytes(), bad, b"\n", good().as_bytes()].concat();
    let damaged = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    let many = |first| lines(first..first + 2_000).into_bytes();
    let long = |byte| [&vec![byte; 100 << 20][..], b"\n", good().as_bytes()].concat();
    let mut cases = vec![
        ("json.jsonl", with(b"{\"request_id\":"), "line 2", "not JSON"),
        ("array.jsonl", with(b"[1,2]"), "line 2", "not a JSON object"),
        ("missing.jsonl", with(b"{\"request_id\":\"r\"}"), "line 2", "missing field `video_id`"),
        (
            "type.jsonl",
            with(b"{\"request_id\":\"r\",\"video_id\":\"seven\",\"event_time\":0}"),
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
        ("long.jsonl.zst", zstd::encode_all(&long(b'x')[..], 1).unwrap(), "line 1", "longer than"),
        ("long.jsonl.gz", gzip(&long(b'y')), "line 1", "longer than"),
        ("cut.jsonl.gz", damaged(gzip(&many(0))), "line ", "damaged or cut off"),
        (
            "cut.jsonl.zst",
            damaged(zstd::encode_all(&many(5_000)[..], 1).unwrap()),
            "line ",
            "damaged or cut off",
        ),
        ("no.jsonl.gz", b"not compressed at all".to_vec(), "line 1", "damaged or cut off"),
    ];
    cases.extend(parquet_cases());
    cases
}

/// A file with a malformed record: name, bytes, location and reason.
type Case = (&'static str, Vec<u8>, &'static str, &'static str);

#[cfg(not(feature = "parquet"))]
fn parquet_cases() -> Vec<Case> {
    Vec::new()
}

#[cfg(feature = "parquet")]
fn parquet_cases() -> Vec<Case> {
    use common::files::{Record, encode};
    let parquet = encode("parquet", &[Record::Event(event(0, 1, 7, 0)), Record::Malformed]);
    let other = encode("parquet", &[Record::Event(event(9, 9, 9, 9))]);
    let cut = other[..other.len() / 2].to_vec();
    vec![
        ("cut.parquet", cut, "file", "not a Parquet file"),
        ("null.parquet", parquet, "row 2", "`request_id`"),
        ("other.parquet", other_columns(), "file", "column"),
    ]
}

#[test]
fn every_malformed_record_is_counted_and_recorded_with_its_location_and_never_stops_a_run() {
    let place = Workspace::new();
    let cases = cases();
    for (name, bytes, ..) in &cases {
        place.write(&format!("in/{name}"), bytes);
    }
    let arguments = ["--impressions", "in", "--dead-letter", "dead.jsonl"];
    // Some of the files are cut off.
    place.run(&arguments).failed(6, &["more are not logged", "cannot be read to its end"]);
    let letters = std::fs::read_to_string(place.path("dead.jsonl")).unwrap();
    let letters: Vec<serde_json::Value> =
        letters.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (name, _, at, reason) in &cases {
        let partition = place.partition(&format!("in/{name}"));
        let malformed = format!("malformed FROM partitions WHERE partition = '{partition}'");
        let letter = letters.iter().find(|letter| letter["partition"] == *partition).unwrap();
        assert!(letter["location"].as_str().unwrap().starts_with(at), "{letter}");
        assert!(letter["reason"].as_str().unwrap().contains(reason), "{letter}");
        assert_eq!(letter["topic"], "impressions");
        let lost = if *name == "other.parquet" { "3" } else { "1" };
        assert_eq!(place.select(&malformed), [lost], "{name}");
        assert_eq!(letter["records"].to_string(), lost, "{letter}");
    }
    assert_eq!(letters.len(), cases.len());
    let offset = |name: &str| {
        let name = place.partition(&format!("in/{name}"));
        letters.iter().find(|letter| letter["partition"] == *name).unwrap()["offset"].clone()
    };
    assert_eq!(offset("json.jsonl"), 1);
    if cfg!(feature = "parquet") {
        assert_eq!(offset("null.parquet"), 1);
    }
    let read = "sum(next_offset) FROM partitions";
    let accounted = "(SELECT sum(events) FROM ledger) + (SELECT sum(malformed) FROM partitions)";
    assert_eq!(place.number(read), place.number(accounted));
}

#[cfg(feature = "parquet")]
fn other_columns() -> Vec<u8> {
    use arrow_array::{ArrayRef, Int64Array, RecordBatch};
    let column: ArrayRef = std::sync::Arc::new(Int64Array::from(vec![1, 2, 3]));
    let rows = RecordBatch::try_from_iter([("color", column)]).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn dead_letters_that_cannot_be_written_end_the_job_and_nothing_is_committed_without_them() {
    let place = Workspace::new();
    place.write("i.jsonl", format!("{}no event\n", good()));
    let input = ["--impressions", "i.jsonl", "--workers", "2", "--dead-letter"];
    let said = ["cannot write dead letters to `/dev/full`", "No space left", "start the job again"];
    place.run(&[&input[..], &["/dev/full"]].concat()).failed(1, &said);
    assert_eq!(place.select("count(*) FROM partitions"), ["0"]);
    place.run(&[&input[..], &["dead.jsonl"]].concat()).succeeded();
    assert_eq!(place.select("malformed FROM partitions"), ["1"]);
    assert_eq!(place.letters("dead.jsonl").len(), 1);
}

#[test]
fn every_dead_letter_is_written_once_however_often_the_job_is_killed() {
    const LINES: u64 = 6_000;
    let place = Workspace::new();
    let line = |number: u64| match number % 2 {
        0 => lines(number..number + 1),
        _ => format!("no event {number}\n"),
    };
    let log = |from: u64| (from..from + LINES).map(line).collect::<String>();
    place.write("i.jsonl", log(0));
    place.write("j.jsonl", log(LINES));
    let arguments = ["--impressions", "i.jsonl", "j.jsonl", "--dead-letter", "dead.jsonl"];
    let few = ["--round-events", "50", "--publish-interval", "0ms"];
    let mut kills = 0;
    for pause_ms in [60, 90, 120, 150, 180, 210, 100, 140, 170] {
        let workers = ["--workers", ["1", "2"][kills % 2]];
        let mut job =
            Running::start(&mut place.command(&[&arguments[..], &few, &workers].concat()));
        std::thread::sleep(std::time::Duration::from_millis(pause_ms));
        kills += usize::from(!job.has_ended());
        job.kill();
        job.finish();
    }
    place.run(&arguments).succeeded();
    let offsets = |name: &str| {
        let partition = place.partition(name);
        let letters = place.letters("dead.jsonl").into_iter();
        let of_file = letters.filter(|letter| letter["partition"] == *partition);
        of_file.map(|letter| letter["offset"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let expected: Vec<u64> = (0..LINES).filter(|number| number % 2 == 1).collect();
    assert_eq!(offsets("i.jsonl"), expected, "{kills} kills");
    assert_eq!(offsets("j.jsonl"), expected, "{kills} kills");
    assert_eq!(place.number("sum(malformed) FROM partitions"), LINES as i64);
}

#[test]
fn a_line_of_100_mb_is_read_in_bounded_memory() {
    let place = Workspace::new();
    let file = std::fs::File::create(place.path("i.jsonl")).unwrap();
    file.set_len(100 << 20).unwrap(); // Sparse: zeros that take no disk space.
    drop(file);
    place.append("i.jsonl", format!("\n{}", good()));
    let mut job = place.follow(&["--impressions", "i.jsonl"]);
    job.wait_until("the event after it is committed", || place.events_committed() == 1);
    let status = std::fs::read_to_string(format!("/proc/{}/status", job.id())).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    let peak_kib: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(peak_kib < 90 << 10, "{peak}");
    job.interrupt();
    job.finish().succeeded();
    assert_eq!(place.select("malformed FROM partitions"), ["1"]);
}

/// A job whose files may have this many KiB. A limit is like a full disk: writes beyond it fail.
fn limited(place: &Workspace, kib: u32, arguments: &[&str]) -> Running {
    let limited = format!("ulimit -f {kib}; exec \"$0\" \"$@\"");
    let mut command = Command::new("bash");
    command.current_dir(place.0.path()).args(["-c", &limited, env!("CARGO_BIN_EXE_trendmark")]);
    Running::start(command.args(["run", "--store", "s.db"]).args(arguments))
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_of_what_is_written() {
    let place = Workspace::new();
    let junk: String = (0..20_000).map(|number| format!("no event {number}\n")).collect();
    place.write("i.jsonl", format!("{}{junk}", good()));
    let arguments = ["--impressions", "i.jsonl", "--dead-letter", "dead.jsonl"];
    let said = ["cannot write dead letters to `dead.jsonl`: ", "File too large"];
    limited(&place, 256, &arguments).finish().failed(1, &said);
    assert_eq!(place.select("count(*) FROM partitions"), ["0"]);
    limited(&place, 1, &["--impressions", "i.jsonl"]).finish().failed(1, &["error: ", "s.db"]);
}

#[test]
fn a_full_disk_ends_the_job_with_code_1_and_keeps_its_commits() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..10));
    let arguments = ["--impressions", "i.jsonl", "--query", "requests", "--follow"];
    let mut job =
        limited(&place, 1_024, &[&arguments[..], &["--publish-interval", "20ms"]].concat());
    job.wait_until("the existing lines are committed", || place.events_committed() == 10);
    place.append("i.jsonl", lines(10..100_000));
    job.finish().failed(1, &["error: cannot ", "s.db", "a limit on the size of files (ulimit -f)"]);
    let connection = open(&place.path("s.db"));
    assert_eq!(select(&connection, "* FROM pragma_integrity_check"), ["ok"]);
    let events = number(&connection, "coalesce(sum(events), 0) FROM ledger");
    assert!((10..100_000).contains(&events), "{events}");
    assert_eq!(select(&connection, "next_offset FROM partitions"), [events.to_string()]);
    assert_eq!(number(&connection, "count(*) FROM requests"), events);
}

/// A partition is judged by its records and not by its bytes: millions of empty lines fit into a
/// few compressed bytes, and would be read a little at a time.
#[test]
fn millions_of_empty_lines_in_a_few_compressed_bytes_hold_nobody() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..100));
    place.write("j.jsonl.zst", zstd::encode_all(&vec![b'\n'; 50_000_000][..], 1).unwrap());
    place.run(&["--impressions", "i.jsonl", "j.jsonl.zst"]).succeeded();
    assert_eq!(place.select("sum(distinct_events) FROM ledger"), ["100"]);
}

/// Late and future events may have any event time. Their number costs nothing that stays.
#[test]
fn junk_of_any_event_time_makes_no_store_long() {
    const JUNK: i64 = 20_000;
    let place = Workspace::new();
    let day_ms = 86_400_000;
    let junk_day = |n: i64| if n % 2 == 0 { -n } else { 50_040 + n };
    // Each honest event has a request of its own, so that none is a duplicate.
    let lines: String = (0..JUNK)
        .flat_map(|n| [(n as u64, 50_000), (0, junk_day(n))])
        .chain((0..300).map(|n| ((JUNK + n) as u64, 50_000)))
        .map(|(request, day)| line(&event(0, request, 1, day * day_ms)))
        .collect();
    place.write("i.jsonl", lines);
    place.run(&["--impressions", "i.jsonl"]).succeeded();
    assert_eq!(place.number("sum(events) FROM ledger"), 2 * JUNK + 300);
    assert_eq!(place.number("sum(distinct_events) FROM ledger"), JUNK + 300);
    let distant = place.select("kind, late_events + future_events FROM ledger WHERE epoch IS NULL");
    assert_eq!(distant, [format!("impression,{JUNK}")]);
    assert_eq!(place.number("count(*) FROM epochs"), 1);
}

/// The job ends with an error before the system would kill it, and keeps its commits.
#[test]
fn a_job_at_its_memory_limit_ends_with_an_error_that_names_the_epoch() {
    let place = Workspace::new();
    let in_one_epoch = |n: u64| line(&event(n, n, n % 5, n as i64 / 1_000));
    place.write("i.jsonl", (0..500_000).map(in_one_epoch).collect::<String>());
    let said = ["--state-max allows 23 MiB", "(1970-01-01T00:00:00Z), with", "on worker 0"];
    let finished = place
        .run(&["--impressions", "i.jsonl", "--workers", "1", "--state-max", "25000000"])
        .failed(1, &said);
    assert!(!finished.stderr.contains("panicked"), "{finished:#?}");
    let connection = open(&place.path("s.db"));
    assert_eq!(select(&connection, "* FROM pragma_integrity_check"), ["ok"]);
    place.run(&["--impressions", "i.jsonl"]).succeeded();
    assert_eq!(place.number("sum(distinct_events) FROM ledger"), 500_000);
}

/// Who holds the job is named in its progress lines and, from its lease, by `status`.
#[test]
fn a_partition_that_holds_the_job_is_named_with_the_reason() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..10));
    let mut job = Running::start(place.command(&["--impressions", "i.jsonl", "--follow"]).args([
        "--publish-interval",
        "20ms",
        "--idle-timeout",
        "1h",
    ]));
    let held = format!("impressions {} for ", place.partition("i.jsonl"));
    job.wait_until_said(&format!("held by {held}"));
    let status = || {
        let mut command = trendmark();
        command.current_dir(place.0.path()).args(["status", "--store", "s.db"]);
        Running::start(&mut command).finish().succeeded().stdout
    };
    wait_until("the status names it", || status().contains(&held));
    assert!(status().contains("it has no more records, and is not idle yet"), "{}", status());
    job.interrupt();
    job.finish().succeeded();
    assert!(!status().contains(&held), "{}", status());
}
