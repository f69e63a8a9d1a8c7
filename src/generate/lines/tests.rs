//! Tests of the files beside a log.

use super::super::tests::{arguments, small};
use super::super::{GenerateArguments, Model, World, generate, rates};
use super::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

fn objects(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A model whose world has surges.
fn eventful(impressions: u64) -> Model {
    let surges = vec!["51474863@2026-01-01T01:00:00Z/1h×4".parse().unwrap()];
    let world = World { surge_share: 0.2, surges, ..World::default() };
    Model { world, partitions: 2, videos: 50, ..small(impressions) }
}

#[test]
fn titles_and_truth_are_written_beside_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let model = eventful(2_000);
    let with_titles = GenerateArguments { titles: true, ..arguments(folder.path(), model.clone()) };
    generate(&with_titles).unwrap();
    let logs = ["impressions-00.jsonl", "impressions-01.jsonl", "plays-00.jsonl", "plays-01.jsonl"];
    assert_eq!(names(folder.path()), [&logs[..], &["titles.jsonl", "truth.jsonl"]].concat());
    let titles = objects(&folder.path().join(TITLES_FILE));
    assert_eq!(titles.len(), 50);
    assert_eq!(titles[0]["video_id"], 51_474_863);
    let truth = objects(&folder.path().join(TRUTH_FILE));
    let surges: Vec<_> = truth.iter().take_while(|line| line["truth"] == "surge").collect();
    assert_eq!(surges.len(), rates::surges(&model).count());
    assert_eq!((&surges[0]["video_id"], &surges[0]["factor"]), (&51_474_863.into(), &4.into()));
    let mut shown: BTreeMap<u64, u64> = BTreeMap::new();
    for counts in &truth[surges.len()..] {
        assert_eq!(counts["truth"], "counts");
        *shown.entry(counts["epoch"].as_u64().unwrap()).or_default() +=
            counts["impressions"].as_u64().unwrap();
    }
    assert!((8..=10).contains(&shown.len()), "four hours: {shown:?}");
    assert!((1_980..=2_000).contains(&shown.values().sum::<u64>()), "all but future ones");
}

#[test]
fn denials_are_a_third_log_and_part_of_the_truth() {
    let folder = tempfile::tempdir().unwrap();
    let world = World { bot_rate: 0.2, ..World::default() };
    let model = Model { world, partitions: 1, ..small(2_000) };
    let mut bots = arguments(folder.path(), model);
    let summary = generate(&bots).unwrap();
    let all = ["denials-00.jsonl", "impressions-00.jsonl", "plays-00.jsonl", "truth.jsonl"];
    assert_eq!(names(folder.path()), all);
    let key = |line: &Value| (line["request_id"].to_string(), line["event_time"].to_string());
    let denials = objects(&folder.path().join("denials-00.jsonl"));
    assert!(denials.iter().all(|line| line.as_object().unwrap().len() == 3), "no video");
    let denials: BTreeSet<_> = denials.iter().map(key).collect();
    let truth = objects(&folder.path().join(TRUTH_FILE));
    let denied: BTreeSet<_> =
        truth.iter().filter(|line| line["truth"] == "denied").map(key).collect();
    assert_eq!(denials, denied);
    assert_eq!(summary.denials, denied.len() as u64);
    assert!(summary.to_string().contains("denials"));

    bots.model = Model { partitions: 1, ..small(100) };
    bots.force = true;
    generate(&bots).unwrap();
    assert_eq!(names(folder.path()), ["impressions-00.jsonl", "plays-00.jsonl"]);
}

#[test]
fn a_plain_log_has_a_truth_only_if_a_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut plain = arguments(&log, Model { partitions: 1, ..small(200) });
    generate(&plain).unwrap();
    assert_eq!(names(&log), ["impressions-00.jsonl", "plays-00.jsonl"]);
    let file = folder.path().join("truth of the log");
    plain.truth = Some(file.clone());
    plain.force = true;
    generate(&plain).unwrap();
    assert_eq!(names(&log).len(), 2);
    assert!(objects(&file).iter().all(|line| line["take_rate"] == 0.05));

    fs::remove_dir_all(&log).unwrap();
    plain.force = false;
    let error = generate(&plain).unwrap_err().to_string();
    assert!(error.contains("of the log` exists; give another file to --truth"), "{error}");
    assert!(!log.exists(), "nothing is written then");
}

#[test]
fn titles_and_truth_are_part_of_an_earlier_log() {
    let folder = tempfile::tempdir().unwrap();
    for name in [TITLES_FILE, TRUTH_FILE] {
        fs::write(folder.path().join(name), "old").unwrap();
        let mut plain = arguments(folder.path(), Model { partitions: 1, ..small(100) });
        let error = generate(&plain).unwrap_err().to_string();
        assert!(error.contains(&format!("{name}` is part of an earlier log")), "{error}");
        plain.force = true;
        generate(&plain).unwrap();
        assert!(!names(folder.path()).contains(&name.to_string()));
        names(folder.path())
            .iter()
            .for_each(|name| fs::remove_file(folder.path().join(name)).unwrap());
    }
}

#[test]
fn a_truth_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let truth = Some(folder.path().join("missing/truth"));
    let arguments =
        GenerateArguments { truth, ..arguments(&folder.path().join("log"), small(100)) };
    let error = generate(&arguments).unwrap_err().to_string();
    assert!(error.contains("cannot write") && error.contains("missing/truth"), "{error}");
}
