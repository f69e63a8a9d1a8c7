//! Tests of the properties that every generated log has, on small logs.

use super::*;
use crate::acceptance::{Ahead, Fate, Judge, admit};
use crate::event::{Event, Kind, RequestId, VideoId};
use crate::features::Feature;
use crate::log::BlockStart;
use crate::time::{Definition, Through};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::Path;

pub(super) fn small(impressions: u64) -> Model {
    Model { impressions, ..Model::default() }
}

pub(super) fn arrivals(model: &Model) -> Vec<Arrival> {
    Generator::new(model).unwrap().collect()
}

pub(super) fn arguments(out: &Path, model: Model) -> GenerateArguments {
    GenerateArguments::to_folder(out.to_path_buf(), LogFormat::Jsonl, model)
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_string();
    entries.map(|path| (name(&path), fs::read(&path).unwrap())).collect()
}

fn generate_files(format: LogFormat, model: Model) -> (Summary, BTreeMap<String, Vec<u8>>) {
    let folder = tempfile::tempdir().unwrap();
    let arguments = GenerateArguments { format, ..arguments(folder.path(), model) };
    let summary = generate(&arguments).unwrap();
    (summary, files(folder.path()))
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let built_in =
        |format: &LogFormat| *format != LogFormat::Parquet || Feature::Parquet.is_built_in();
    for format in LogFormat::ALL.into_iter().filter(built_in) {
        let first = generate_files(format, small(5_000));
        assert_eq!(first, generate_files(format, small(5_000)), "{format:?}");
        let other = generate_files(format, Model { seed: 2, ..small(5_000) });
        assert_ne!(first.1, other.1, "{format:?}");
    }
}

/// Benchmarks of different versions are compared on the same events: a commit that changes them
/// must say so.
#[test]
fn the_first_arrivals_of_seed_1_stay_what_they_are() {
    let mut lines = String::new();
    for arrival in Generator::new(&small(1_000)).unwrap().take(3) {
        let name = arrival.request.written();
        lines += &format!(
            "{} {} {} {} {}\n",
            arrival.kind,
            name.as_str(),
            arrival.video.0,
            arrival.event_time_ms,
            arrival.arrival_ms
        );
    }
    let expected = "\
        impression 759867b6-c3c0-40a6-85b6-94a5a28b8b2a 40351167 1767225874713 1767225913686\n\
        impression 759867b6-c3c0-40a6-85b6-94a5a28b8b2a 59241207 1767225874713 1767225913686\n\
        impression 759867b6-c3c0-40a6-85b6-94a5a28b8b2a 73055289 1767225874713 1767225913686\n";
    assert_eq!(lines, expected);
}

/// A hash of the names and bytes of all files.
fn hash_of_files(model: Model) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, bytes) in generate_files(LogFormat::Jsonl, model).1 {
        hasher.update(name.as_bytes()).update(&bytes);
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

/// The hashes are of version 0.2.0.
#[test]
fn a_log_keeps_its_bytes_from_version_to_version() {
    let other = Model {
        seed: 7,
        scatter: true,
        partitions: 3,
        text_id_rate: 0.2,
        malformed_rate: 0.05,
        late_rate: 0.02,
        ..small(5_000)
    };
    let hashes = [small(5_000), other].map(hash_of_files);
    assert_eq!(hashes, ["63c4e6fa614baa06", "0f44482aab9cd33b"]);
}

#[test]
fn the_number_of_partitions_only_changes_the_partition() {
    let with = |partitions| {
        let all = arrivals(&Model { partitions, ..small(20_000) });
        all.into_iter().map(|arrival| Arrival { partition: 0, ..arrival }).collect::<Vec<_>>()
    };
    assert_eq!(with(1), with(7));
}

#[test]
fn requests_spread_evenly_over_partitions() {
    let mut counts = [0; 8];
    for arrival in arrivals(&small(100_000)) {
        counts[arrival.partition as usize] += 1;
    }
    assert!(counts.iter().all(|count| (11_000..16_000).contains(count)), "{counts:?}");
}

#[test]
fn arrivals_are_ordered_by_time() {
    assert!(arrivals(&small(50_000)).is_sorted_by_key(|arrival| arrival.arrival_ms));
}

#[test]
fn the_number_of_impressions_is_exact() {
    for impressions in [0, 1, 19, 20, 21, 10_007] {
        let (summary, _) = generate_files(LogFormat::Jsonl, small(impressions));
        assert_eq!(summary.impressions, impressions);
    }
}

#[test]
fn the_rates_are_those_of_the_settings() {
    let model = Model {
        late_rate: 0.03,
        future_rate: 0.02,
        malformed_rate: 0.04,
        orphan_rate: 0.1,
        duplicate_rate: 0.05,
        play_rate: 0.2,
        ..small(200_000)
    };
    let mut summary = Summary::default();
    arrivals(&model).iter().for_each(|arrival| summary.count(arrival));
    let events = (summary.impressions + summary.plays) as f64;
    for (name, found, base, rate) in [
        ("plays", summary.plays, summary.impressions as f64, model.play_rate),
        ("orphans", summary.orphans, summary.plays as f64, model.orphan_rate),
        // Late and future events are not repeated.
        ("duplicates", summary.duplicates, events * 0.95, model.duplicate_rate),
        ("late", summary.late, events, model.late_rate),
        ("future", summary.future, events, model.future_rate),
        ("malformed", summary.malformed, events, model.malformed_rate),
    ] {
        let share = found as f64 / base;
        assert!((share / rate - 1.0).abs() < 0.1, "{name}: {share} instead of {rate}");
    }
}

#[test]
fn a_request_shows_different_videos_in_contiguous_batches() {
    let model = Model { duplicate_rate: 0.0, late_rate: 0.0, ..small(20_000) };
    let mut shown: HashMap<RequestName, HashSet<VideoId>> = HashMap::new();
    let mut uploads: HashSet<(RequestName, i64)> = HashSet::new();
    let mut batches = 0;
    let mut before = None;
    for arrival in arrivals(&model) {
        if arrival.kind == Kind::Play || matches!(arrival.truth, GroundTruth::Malformed(_)) {
            continue;
        }
        assert!(shown.entry(arrival.request).or_default().insert(arrival.video));
        let upload = (arrival.request, arrival.arrival_ms);
        batches += usize::from(before != Some(upload));
        uploads.insert(upload);
        before = Some(upload);
    }
    assert_eq!(shown.len(), 1_000);
    assert!(shown.values().all(|videos| videos.len() == 20));
    // Plays of other requests that arrive in between are left out above.
    assert!(batches <= uploads.len() + 5, "{batches} batches in {} uploads", uploads.len());
    assert!((1_100..3_000).contains(&uploads.len()), "{} uploads", uploads.len());
}

#[test]
fn scattered_events_of_a_request_do_not_arrive_together() {
    let model = Model { scatter: true, ..small(20_000) };
    let arrivals = arrivals(&model);
    let shown: Vec<_> = arrivals.iter().filter(|one| one.kind == Kind::Impression).collect();
    let together = shown.windows(2).filter(|pair| pair[0].request == pair[1].request).count();
    // About forty requests are there at a time, so one in forty follows its own by chance.
    assert!(together * 20 < shown.len(), "{together} of {}", shown.len());
    let is_prompt = |one: &&Arrival| !matches!(one.truth, GroundTruth::Late | GroundTruth::Future);
    let delays = arrivals.iter().filter(is_prompt).map(|one| one.arrival_ms - one.event_time_ms);
    let half = delays.clone().filter(|delay| *delay > model.arrival_delay_max_ms / 2).count();
    let all = delays.clone().count();
    assert!((all * 4 / 10..all * 6 / 10).contains(&half), "{half} of {all}");
    assert!(delays.clone().all(|delay| (0..=model.arrival_delay_max_ms).contains(&delay)));
}

#[test]
fn a_play_follows_an_impression_of_its_request_unless_it_is_an_orphan() {
    let model = Model { future_rate: 0.0, ..small(50_000) };
    let all = arrivals(&model);
    let of_kind = |kind| all.iter().filter(move |arrival| arrival.kind == kind);
    let shown: HashMap<_, _> = of_kind(Kind::Impression)
        .map(|arrival| ((arrival.request, arrival.video), arrival.event_time_ms))
        .collect();
    let mut orphans = HashSet::new();
    for play in of_kind(Kind::Play) {
        match shown.get(&(play.request, play.video)) {
            Some(shown_ms) => {
                let delay_ms = play.event_time_ms - shown_ms;
                assert!((0..=model.play_delay_max_ms).contains(&delay_ms), "{play:?}");
            }
            None => _ = orphans.insert(play.request),
        }
    }
    let expected: HashSet<_> = all
        .iter()
        .filter(|arrival| arrival.truth == GroundTruth::Orphan)
        .map(|play| play.request)
        .collect();
    assert_eq!(orphans, expected);
}

/// The ground truth of every event, with its fate according to the log of its partition.
fn fates(model: &Model) -> Vec<(GroundTruth, Fate)> {
    let mut logs: BTreeMap<_, Vec<(GroundTruth, Event)>> = BTreeMap::new();
    for arrival in arrivals(model) {
        let log = logs.entry((arrival.kind, arrival.partition)).or_default();
        log.extend(arrival.event(log.len() as u64).map(|event| (arrival.truth, event)));
    }
    logs.iter().flat_map(|((kind, _), log)| fates_of(*kind, log)).collect()
}

fn fates_of(kind: Kind, log: &[(GroundTruth, Event)]) -> Vec<(GroundTruth, Fate)> {
    let definition = Definition::default();
    let mut judge = Judge::resume(&definition, BlockStart::default(), Vec::new());
    let events: Vec<Event> = log.iter().map(|(_, event)| *event).collect();
    let judged = log.iter().enumerate().map(|(at, (truth, _))| {
        let reading = judge.read(&Ahead::exhausted(&events[at..])).unwrap();
        (*truth, admit(&definition, kind, &reading, Through::Nothing))
    });
    judged.collect()
}

/// A late event of the last hours is accepted, because the log ends before its epoch closes.
#[test]
fn no_honest_event_is_late_and_every_future_event_is_found() {
    let rates = Model { late_rate: 0.01, future_rate: 0.01, ..small(100_000) };
    let slow = Model { flush_interval_ms: 1_200_000, duration_ms: 36_000_000, ..rates.clone() };
    for model in [rates, slow] {
        let fates = fates(&model);
        for (truth, fate) in &fates {
            match truth {
                GroundTruth::Future => assert_eq!(*fate, Fate::Future),
                GroundTruth::Late => assert_ne!(*fate, Fate::Future),
                _ => assert!(matches!(fate, Fate::Accepted(_)), "{truth:?} {fate:?}"),
            }
        }
        let late = fates.iter().filter(|(truth, _)| *truth == GroundTruth::Late).count();
        let judged_late = fates.iter().filter(|(_, fate)| *fate == Fate::Late).count();
        assert!(judged_late * 4 > late, "{judged_late} of {late}");
    }
}

#[test]
fn arrival_delays_reach_the_longest_and_never_exceed_it() {
    let model = small(200_000);
    let delays_ms: Vec<i64> = arrivals(&model)
        .iter()
        .filter(|arrival| {
            matches!(
                arrival.truth,
                GroundTruth::OnTime | GroundTruth::Orphan | GroundTruth::Duplicate
            )
        })
        .map(|arrival| arrival.arrival_ms - arrival.event_time_ms)
        .collect();
    assert!(delays_ms.iter().all(|delay_ms| (0..=model.arrival_delay_max_ms).contains(delay_ms)));
    assert!(delays_ms.iter().any(|delay_ms| *delay_ms > model.arrival_delay_max_ms * 9 / 10));
    let short = delays_ms.iter().filter(|delay_ms| **delay_ms < 120_000).count();
    assert!(short * 4 > delays_ms.len() * 3, "most delays are short");
}

#[test]
fn without_delays_every_event_arrives_when_it_happens() {
    let model = Model { arrival_delay_max_ms: 0, late_rate: 0.0, future_rate: 0.0, ..small(5_000) };
    assert!(arrivals(&model).iter().all(|arrival| arrival.arrival_ms == arrival.event_time_ms));
}

#[test]
fn twice_the_duration_does_not_need_more_memory() {
    let waiting_max = |hours: u64| {
        let duration_ms = hours as i64 * 3_600_000;
        let model = Model { duration_ms, ..small(hours * 10_000) };
        let mut generator = Generator::new(&model).unwrap();
        generator.by_ref().for_each(drop);
        generator.waiting_max() as f64
    };
    let (short, long) = (waiting_max(10), waiting_max(20));
    assert!(long < 1.2 * short, "{short} events, then {long}");
}

#[test]
fn every_line_is_an_event_except_the_malformed_ones() {
    let model = Model { malformed_rate: 0.02, text_id_rate: 0.1, ..small(5_000) };
    let (summary, files) = generate_files(LogFormat::Jsonl, model.clone());
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    assert_eq!(names.len(), 16);
    assert_eq!((names[0], names[15]), ("impressions-00.jsonl", "plays-07.jsonl"));
    let bytes: usize = files.values().map(Vec::len).sum();
    assert_eq!(summary.bytes, bytes as u64);

    let mut read = BTreeSet::new();
    let mut malformed = 0;
    for line in files.values().flat_map(|file| file.split_inclusive(|byte| *byte == b'\n')) {
        match parse(line) {
            Some(event) => _ = read.insert(event),
            None => malformed += 1,
        }
    }
    assert_eq!(malformed, summary.malformed);
    let events = arrivals(&model).into_iter().filter_map(|arrival| arrival.event(0));
    let expected: BTreeSet<Parsed> = events.map(parsed).collect();
    assert_eq!(read, expected);
}

pub(super) type Parsed = (RequestId, VideoId, i64, Option<i64>);

pub(super) fn parsed(event: Event) -> Parsed {
    (event.request, event.video, event.event_time_ms, event.record_time_ms)
}

fn parse(line: &[u8]) -> Option<Parsed> {
    let value: serde_json::Value = serde_json::from_slice(line).ok()?;
    assert!(value.as_object().is_none_or(|fields| fields.len() <= 4));
    Some((
        RequestId::parse(value["request_id"].as_str()?)?,
        VideoId(value["video_id"].as_u64()?),
        value["event_time"].as_i64()?,
        Some(value["record_time"].as_i64()?),
    ))
}

#[test]
fn an_earlier_log_is_replaced_only_by_force_and_then_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("plays-notes.jsonl"), "mine").unwrap();
    let eight = arguments(folder.path(), small(100));
    generate(&eight).unwrap();
    let mut two = arguments(folder.path(), Model { partitions: 2, ..small(100) });
    let error = generate(&two).unwrap_err().to_string();
    assert!(error.contains("impressions-00.jsonl") && error.contains("--force"), "{error}");

    two.force = true;
    generate(&two).unwrap();
    let names: Vec<_> = files(folder.path()).into_keys().collect();
    let expected = [
        "impressions-00.jsonl",
        "impressions-01.jsonl",
        "plays-00.jsonl",
        "plays-01.jsonl",
        "plays-notes.jsonl",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_folder_that_cannot_be_created_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = generate(&arguments(&file.join("log"), small(100))).unwrap_err().to_string();
    assert!(error.contains("file/log` cannot be used"), "{error}");
}
