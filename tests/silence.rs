//! Input that was named and not read, or read and not usable, is said: in an error if nothing was
//! usable, and otherwise in a warning at the start and in the last lines.

mod common;

use common::event;
use common::files::line;
use common::workspace::{Workspace, lines};

#[test]
fn a_folder_of_which_nothing_is_read_is_an_error_that_names_what_it_has() {
    let place = Workspace::new();
    for name in ["imp/_SUCCESS", "imp/part-00000.json", "imp/sub/a.jsonl", "imp/.hidden.jsonl"] {
        place.write(name, lines(0..1));
    }
    let said = ["nothing in the folder `imp` can be read", "part-00000.json`", "sub` (a folder"];
    place.run(&["--impressions", "imp"]).failed(1, &said);
    assert!(!place.path("s.db").exists());
    // A followed folder may be empty at the start.
    let mut job = place.follow(&["--impressions", "imp"]);
    place.write("imp/a.jsonl", lines(0..3));
    job.wait_until("a later file is read", || place.events_committed() == 3);
    job.interrupt();
    let finished = job.finish().succeeded();
    assert!(finished.stderr.contains("not read: "), "{finished:#?}");
    assert!(finished.stdout.contains("part-00000.json`"), "{finished:#?}");
}

#[test]
fn parts_of_tables_and_endings_in_any_case_are_read_and_other_files_are_named() {
    let place = Workspace::new();
    place.write("imp/a.JSONL", lines(0..1));
    place.write("imp/dt=2026-01-01/hour=00/part-0.NdJson", lines(1..3));
    place.write("imp/dt=2026-01-02/part-0.jsonl", lines(3..4));
    place.write("imp/dt=2026-01-02/part-1.csv", "");
    place.write("imp/b.json", lines(4..5));
    let finished = place.run(&["--impressions", "imp"]).succeeded();
    assert_eq!(place.events_committed(), 4);
    for text in [&finished.stdout, &finished.stderr] {
        assert!(text.contains("not read: "), "{finished:#?}");
        assert!(text.contains("b.json`") && text.contains("part-1.csv`"), "{finished:#?}");
    }
}

#[test]
fn a_job_that_could_use_nothing_of_a_log_fails_and_commits_the_other() {
    let place = Workspace::new();
    place.write("i.jsonl", "x\n".repeat(50));
    place.write("p.jsonl", lines(0..1));
    let input = ["--impressions", "i.jsonl", "--plays", "p.jsonl"];
    let said = ["all 50 records of the impressions are malformed; first: ", "i.jsonl line 1: "];
    let finished = place.run(&input);
    assert!(finished.stdout.contains("50 malformed records"), "{finished:#?}");
    finished.failed(6, &said);
    assert_eq!(place.select("events FROM ledger"), ["1"]);
    // Nothing is read any more.
    place.run(&input).succeeded();
}

#[test]
fn a_larger_share_of_malformed_records_than_allowed_fails_the_job_at_its_end() {
    let good = line(&event(0, 1, 7, 0));
    for (allowed, code) in [("30%", 0), ("0.2", 6), ("0", 6)] {
        let place = Workspace::new();
        place.write("i.jsonl", format!("x\n{}", good.repeat(3)));
        place.write("job.toml", format!("max-malformed = \"{allowed}\"\n"));
        for flag in [["--config", "job.toml"], ["--max-malformed", allowed]] {
            let arguments = [&["--impressions", "i.jsonl"], &flag[..]].concat();
            let finished = place.run(&arguments);
            assert_eq!(finished.code, Some(code), "{finished:#?}");
            assert_eq!(place.number("sum(impressions) FROM trends"), 1);
            std::fs::remove_file(place.path("s.db")).unwrap();
        }
    }
    let place = Workspace::new();
    place.write("i.jsonl", format!("x\n{good}"));
    // A job that follows has no end.
    let mut job = place.follow(&["--impressions", "i.jsonl", "--max-malformed", "10%"]);
    job.wait_until("all is read", || place.events_committed() == 1);
    job.interrupt();
    let finished = job.finish().succeeded();
    let said = "1 of the 2 records of the impressions are malformed";
    assert!(finished.stderr.contains(said), "{finished:#?}");
    assert!(finished.stdout.contains("warning: 1 of 2 records of the impr"), "{finished:#?}");
}
