//! Logs as others write them, end to end: each is read, and its rows are right.

mod common;

use common::workspace::Workspace;

/// A log of impressions as a file, and the flags that it needs.
struct Case {
    name: &'static str,
    impressions: &'static [u8],
    flags: &'static [&'static str],
    /// The rows of `trends`: video, impressions and plays.
    rows: &'static [&'static str],
}

/// The play of request `a` and video 1.
const PLAY: &str = r#"{"request_id": "a", "video_id": 1, "event_time": 1767225601000}"#;

/// Reads the file and one play of request `a` and video 1, and compares the rows.
fn check(case: &Case) {
    let place = Workspace::new();
    place.write(case.name, case.impressions);
    place.write("p.jsonl", PLAY);
    let sources = ["--impressions", case.name, "--plays", "p.jsonl"];
    let finished = place.run(&[&sources[..], case.flags].concat()).succeeded();
    assert!(finished.stdout.contains(" 0 malformed records"), "{}: {finished:#?}", case.name);
    let rows = place.select("video_id, impressions, plays FROM trends");
    assert_eq!(rows, case.rows, "{}", case.name);
}

#[test]
fn json_is_read_as_others_write_it() {
    for case in [
        Case {
            name: "quoted-digits.jsonl",
            impressions: br#"{"request_id":"a","video_id":"1","event_time":"1767225601000"}"#,
            flags: &[],
            rows: &["1,1,1"],
        },
        Case {
            name: "decimals.jsonl",
            impressions: br#"{"request_id":"a","video_id":1.0,"event_time":1.767225601e12}"#,
            flags: &[],
            rows: &["1,1,1"],
        },
        Case {
            name: "envelope.jsonl",
            impressions: br#"{"schema":{},"payload":{"request_id":"a","video_id":1,
                "event_time":1767225601000}}"#,
            flags: &[
                "--field=impressions.request_id=payload.request_id",
                "--field=impressions.video_id=payload.video_id",
                "--field=impressions.event_time=payload.event_time",
            ],
            rows: &["1,1,1"],
        },
        Case {
            name: "firehose.jsonl",
            impressions: br#"{"request_id":"a","video_id":1,"event_time":1767225601000}
                {"request_id":"b","video_id":1,"event_time":1767225601000}
                {"request_id":"c","video_id":1,"event_time":1767225601000}"#,
            flags: &[],
            rows: &["1,3,1"],
        },
    ] {
        let one_line = case.impressions.iter().copied().filter(|&byte| byte != b'\n');
        check(&Case { impressions: Vec::leak(one_line.collect()), ..case });
    }
}

#[test]
fn a_field_has_another_path_in_one_log_or_in_both() {
    let place = Workspace::new();
    let written = |id: &str, video: &str| {
        format!(r#"{{"e":{{"{id}":"a"}},"{video}":1,"event_time":1767225601000}}"#)
    };
    place.write("i.jsonl", written("rid", "v.id"));
    place.write("p.jsonl", written("page_id", "v.id"));
    let sources = ["--impressions", "i.jsonl", "--plays", "p.jsonl", "--field", r"video_id=v\.id"];
    let fields = ["--field", "request_id=e.rid", "--field", "plays.request_id=e.page_id"];
    place.run(&[&sources[..], &fields].concat()).succeeded();
    assert_eq!(place.select("video_id, impressions, plays FROM trends"), ["1,1,1"]);
    // The same from a file, and as the program prints it.
    place.write("job.toml", "field = [\"request_id=e.rid\", \"plays.request_id=e.page_id\"]\n");
    let printed = ["--config", "job.toml", "--impressions", "i.jsonl", "--print-config"];
    let printed = place.run(&printed).succeeded().stdout;
    assert!(printed.contains("\"plays.request_id=e.page_id\""), "{printed}");
}

/// Parquet files of pyarrow, polars and DuckDB.
#[cfg(feature = "parquet")]
#[test]
fn parquet_is_read_as_others_write_it() {
    const ROWS: &[&str] = &["1,3,1", "2,2,0", "3,1,0"];
    let files: [(&str, &[u8]); 4] = [
        ("brotli.parquet", include_bytes!("parquet/brotli.parquet")),
        ("int128.parquet", include_bytes!("parquet/int128.parquet")),
        ("fixed_text.parquet", include_bytes!("parquet/fixed_text.parquet")),
        ("unknown_type.parquet", include_bytes!("parquet/unknown_logical_type.parquet")),
    ];
    for (name, impressions) in files {
        let place = Workspace::new();
        place.write(name, impressions);
        place.write("p.jsonl", PLAY.replace("\"a\"", "\"r0\""));
        place.run(&["--impressions", name, "--plays", "p.jsonl"]).succeeded();
        assert_eq!(place.select("video_id, impressions, plays FROM trends"), ROWS, "{name}");
    }
}

#[test]
fn times_in_another_unit_are_told_of() {
    let place = Workspace::new();
    let written = |video: u64, time: &str| {
        format!("{{\"request_id\":\"a\",\"video_id\":{video},\"event_time\":{time}}}\n")
    };
    // All in seconds: nothing is late.
    place.write("i.jsonl", written(1, "1767225600") + &written(2, "1767225601"));
    let finished = place.run(&["--impressions", "i.jsonl"]).succeeded();
    let told = "its event time looks like seconds since 1970, expected milliseconds";
    assert_eq!(finished.stderr.matches(told).count(), 1, "{finished:#?}");
    assert!(finished.stderr.contains("i.jsonl, at offset 0: "), "{finished:#?}");
    // One in seconds and one in microseconds among others.
    let place = Workspace::new();
    let odd = written(2, "1767225600") + &written(3, "1767225600000000");
    place.write("i.jsonl", written(1, "1767225600000") + &odd);
    let finished = place.run(&["--impressions", "i.jsonl"]).succeeded();
    assert!(finished.stdout.contains(told), "{finished:#?}");
    let told = "line 3: `event_time` looks like microseconds since 1970, expected milliseconds";
    assert!(finished.stderr.contains(told), "{finished:#?}");
}
