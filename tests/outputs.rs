//! Where the program reads and writes: paths, pipes that nobody reads, generated logs, completions.

mod common;

use common::program::{Running, run, trendmark};
use common::workspace::{Workspace, lines, names};
use serde_json::Value;
use std::collections::BTreeMap;
use trendmark::features::Feature;

#[test]
fn a_store_or_dead_letter_file_that_would_be_read_is_a_usage_error() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..3));
    place.write("logs/i.jsonl", lines(0..3));
    let outputs = ["--dead-letter", "--store"];
    let places = [
        ("i.jsonl", "./i.jsonl"),
        ("logs", "logs/dead.jsonl"),
        ("lo*/*.jsonl", "logs/../logs/dead.jsonl"),
        ("logs/", "logs/i.jsonl"),
    ];
    for flag in outputs {
        for (input, output) in places {
            let arguments = ["run", "--follow", "--impressions", input, flag, output];
            let store = ["--store", "s.db"];
            let more = if flag == "--store" { &[][..] } else { &store };
            let mut command = trendmark();
            command.current_dir(place.0.path()).args(arguments).args(more);
            Running::start(&mut command).finish().failed(2, &[flag, output, "is also a source"]);
        }
    }
    assert_eq!(names(&place), ["i.jsonl", "logs"]);
    // The target of a link in a folder that is read.
    place.write("dead.txt", "");
    std::os::unix::fs::symlink(place.path("dead.txt"), place.path("logs/dead.jsonl")).unwrap();
    let linked = ["--impressions", "logs", "--dead-letter", "dead.txt"];
    place.run(&linked).failed(2, &["is also a source"]);
    std::fs::remove_file(place.path("dead.txt")).unwrap();
    place.run(&linked).failed(2, &["is also a source"]);
    std::fs::remove_file(place.path("logs/dead.jsonl")).unwrap();
    for file in ["s.db", "./s.db-wal", "s.db.lock"] {
        let beside = ["--impressions", "logs", "--dead-letter", file];
        place.run(&beside).failed(2, &["--dead-letter", "is a file of the store"]);
    }
    for input in ["logs", "logs/*", "lo*/*"] {
        let fine = ["--impressions", input, "--dead-letter", "logs/dead.json"];
        place.run(&fine).succeeded();
    }
}

#[test]
fn a_file_stays_the_same_partition_however_its_path_is_typed() {
    let place = Workspace::new();
    place.write("logs/i.jsonl", lines(0..3));
    std::os::unix::fs::symlink(place.path("logs"), place.path("link")).unwrap();
    std::os::unix::fs::symlink("i.jsonl", place.path("logs/a.jsonl")).unwrap();
    let typed = [
        "logs/i.jsonl",
        "logs/a.jsonl",
        "./logs/i.jsonl",
        "link",
        "logs/*.jsonl",
        &place.text("logs"),
    ];
    let mut count = 3;
    for path in typed {
        place.append("logs/i.jsonl", lines(count..count + 1));
        count += 1;
        let mut job = place.follow(&["--impressions", path]);
        job.wait_until("all is committed", || place.events_committed() == count as i64);
        job.interrupt();
        job.finish().succeeded();
        let name = place.partition("logs/i.jsonl");
        let partitions = place.select("partition, next_offset FROM partitions");
        assert_eq!(partitions, [format!("{name},{count}")], "{path}");
    }
}

#[test]
fn a_link_to_a_file_of_another_name_is_read_once_under_its_own_name() {
    let place = Workspace::new();
    place.write("objects/ab12", lines(0..3));
    std::fs::create_dir(place.path("logs")).unwrap();
    for name in ["logs/a.jsonl", "logs/b.jsonl"] {
        std::os::unix::fs::symlink(place.path("objects/ab12"), place.path(name)).unwrap();
    }
    place.run(&["--impressions", "logs"]).succeeded();
    let folder = place.partition("logs");
    assert_eq!(
        place.select("partition, next_offset FROM partitions"),
        [format!("{folder}/a.jsonl,3")]
    );
}

#[test]
fn a_rate_limits_the_records_that_are_written() {
    let place = Workspace::new();
    let began = std::time::Instant::now();
    let model = ["--impressions", "1000", "--rate", "2000", "--malformed-rate", "0"];
    let out = place.text("log");
    run([&["generate", "--out", &out][..], &model].concat()).succeeded();
    assert!(began.elapsed().as_millis() >= 400, "{:?}", began.elapsed());
    run(["generate", "--out", &out, "--force", "--rate", "0"]).failed(2, &["--rate"]);
    let servers = ["generate", "--out", "x", "--bootstrap-servers", "b:1"];
    run(servers).failed(2, &["--out kafka:NAME"]);
    let fast = place.text("fast");
    run([&["generate", "--out", &fast][..], &[model[0], model[1], model[4], model[5]]].concat())
        .succeeded();
    for file in std::fs::read_dir(&fast).unwrap() {
        let name = file.unwrap().file_name();
        let read = |folder: &str| std::fs::read(place.path(folder).join(&name)).unwrap();
        assert_eq!(read("log"), read("fast"), "the rate does not change the log");
    }
}

/// The counts of members, video by video and epoch by epoch, although bots are in the logs.
#[test]
fn a_job_finds_what_the_truth_of_a_generated_log_says() {
    for format in ["jsonl", "parquet"] {
        if format == "parquet" && !Feature::Parquet.is_built_in() {
            continue;
        }
        let place = Workspace::new();
        let on = |arguments: &[&str]| {
            let mut command = trendmark();
            Running::start(command.current_dir(place.0.path()).args(arguments)).finish().succeeded()
        };
        let log = ["generate", "--out", "log", "--format", format, "--impressions", "30000"];
        let world = ["--bot-rate", "0.1", "--surge-share", "0.2", "--overdispersion", "0.1"];
        // Whatever a reader leaves out as late would be missing.
        let rates = ["--videos", "200", "--late-rate", "0", "--play-delay-max", "1h"];
        on(&[&log[..], &world, &rates].concat());
        let [impressions, plays] =
            ["impressions", "plays"].map(|kind| format!("log/{kind}-*.{format}"));
        let denied = format!("log/denials-*.{format}");
        place
            .run(&["--impressions", &impressions, "--plays", &plays, "--denied", &denied])
            .succeeded();
        let counts = |lines: &str| -> BTreeMap<(i64, u64), (u64, u64)> {
            let objects = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let shown = objects.filter(|one| one["impressions"].as_u64().is_some_and(|n| n > 0));
            let number = |one: &Value, name: &str| one[name].as_u64().unwrap();
            let count = |one: Value| {
                let key = (one["epoch"].as_i64().unwrap(), number(&one, "video_id"));
                (key, (number(&one, "impressions"), number(&one, "plays")))
            };
            shown.map(count).collect()
        };
        let truth = std::fs::read_to_string(place.path("log/truth.jsonl")).unwrap();
        let rows = on(&["show", "--store", "s.db", "--format", "json"]).stdout;
        let expected = counts(&truth);
        assert!(expected.len() > 1_000, "{}", expected.len());
        assert!(counts(&rows) == expected, "{format}");
    }
}

#[test]
fn a_closed_output_is_not_an_error_and_ends_no_job() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..3));
    let job = ["run", "--impressions", "i.jsonl", "--store"];
    let commands: [&[&str]; 6] = [
        &[&job[..], &["s.db"]].concat(),
        &["status", "--store", "s.db"],
        &["show", "--store", "s.db"],
        &["generate", "--out", "log", "--impressions", "100"],
        &["completions", "bash"],
        &["demo", "--for", "1s"],
    ];
    for command in commands {
        for ending in ["| true", "2>&1 >out | true", "2>&1 | true"] {
            let force = if command[0] == "generate" { "--force" } else { "" };
            let script = format!(
                "set -o pipefail; {} {} {force} {ending}",
                env!("CARGO_BIN_EXE_trendmark"),
                command.join(" ")
            );
            let mut shell = std::process::Command::new("bash");
            shell.env("TMPDIR", place.0.path()).env("RUST_LOG", "info");
            shell.current_dir(place.0.path()).args(["-c", &script]);
            let finished = Running::start(&mut shell).finish();
            assert_eq!(finished.code, Some(0), "{finished:#?}");
        }
    }
}

#[test]
fn a_status_is_printed_again_until_nobody_reads_it() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..3));
    let mut job = place.follow(&["--impressions", "i.jsonl"]);
    job.wait_until("the lines are committed", || place.events_committed() == 3);
    let watch = "set -o pipefail; $0 status --store s.db --watch --format json | head -3";
    let mut shell = std::process::Command::new("bash");
    shell.current_dir(place.0.path()).args(["-c", watch, env!("CARGO_BIN_EXE_trendmark")]);
    let watched = Running::start(&mut shell).finish().succeeded();
    assert_eq!(watched.stdout.lines().count(), 3, "{watched:#?}");
    for line in watched.stdout.lines() {
        assert_eq!(serde_json::from_str::<Value>(line).unwrap()["pid"], job.id());
    }
}

#[test]
fn standard_error_is_json_lines_if_asked_for() {
    let place = Workspace::new();
    place.write("i.jsonl", format!("x\n{}", lines(0..3)));
    place.write("job.toml", "log-format = \"json\"\n");
    let job = ["run", "--impressions", "i.jsonl", "--store", "s.db"];
    let cases: [(&[&str], i32, &str); 3] = [
        (&["--log-format", "json"], 0, "malformed: "),
        (&["--config", "job.toml"], 0, "publication"),
        (&["--log-format", "json", "--join-window", "7"], 1, "was written with"),
    ];
    for (arguments, code, said) in cases {
        let mut command = trendmark();
        command.current_dir(place.0.path()).env("RUST_LOG", "info").args(job).args(arguments);
        let finished = Running::start(&mut command).finish().failed(code, &[said]);
        let mut has_error = false;
        for line in finished.stderr.lines() {
            let line: Value = serde_json::from_str(line).expect(line);
            assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
            assert!(line["message"].is_string() && line["level"].is_string(), "{line}");
            has_error |= line["level"] == "ERROR";
        }
        assert_eq!(has_error, code == 1, "{finished:#?}");
    }
    run([&job[..], &["--log-format", "xml"]].concat()).failed(2, &["xml"]);
    place.write("job.toml", "log-format = \"xml\"\n");
    place
        .run(&["--impressions", "i.jsonl", "--config", "job.toml"])
        .failed(2, &["unknown variant `xml`"]);
}

#[test]
fn completions_name_the_commands_and_flags() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(["completions", shell]).succeeded().stdout;
        for word in ["generate", "join-window", "take-over"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    run(["completions", "csh"]).failed(2, &["csh"]);
}
