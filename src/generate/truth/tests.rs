//! Tests that the truth agrees with the log, and that what it says was planted is there.

use super::super::tests::{arrivals, small};
use super::super::{Arrival, Generator, GroundTruth, Model, World};
use super::*;
use crate::event::Kind;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap, HashSet};

const HOUR_MS: i64 = 3_600_000;

/// The log of a model, and its truth.
fn log_and_truth(model: &Model) -> (Vec<Arrival>, Vec<Truth>) {
    let mut generator = Generator::with_truth(model).unwrap();
    let (mut log, mut truth) = (Vec::new(), Vec::new());
    while let Some(arrival) = generator.next() {
        log.push(arrival);
        truth.extend(generator.take_truth());
    }
    truth.extend(generator.take_truth());
    (log, truth)
}

fn counts(truth: &[Truth]) -> Vec<EpochCounts> {
    let counts = truth.iter().filter_map(|line| match line {
        Truth::Counts(counts) => Some(*counts),
        _ => None,
    });
    counts.collect()
}

/// A plain count of a log: for each epoch and video its impressions, and those with a play.
fn recount(log: &[Arrival], denied: &HashSet<RequestName>) -> BTreeMap<(i64, u64), (u64, u64)> {
    let counts = |arrival: &&Arrival| {
        !matches!(arrival.truth, GroundTruth::Malformed(_))
            && arrival.event_time_ms <= arrival.arrival_ms
            && !denied.contains(&arrival.request)
    };
    let of_kind = |kind| log.iter().filter(move |arrival| arrival.kind == kind).filter(counts);
    let played: HashSet<_> = of_kind(Kind::Play).map(|play| (play.request, play.video)).collect();
    let shown: HashSet<_> = of_kind(Kind::Impression)
        .map(|shown| (shown.event_time_ms.div_euclid(HOUR_MS / 2), shown.request, shown.video))
        .collect();
    let mut found: BTreeMap<(i64, u64), (u64, u64)> = BTreeMap::new();
    for (epoch, request, video) in shown {
        let (impressions, plays) = found.entry((epoch, video.0)).or_default();
        *impressions += 1;
        *plays += u64::from(played.contains(&(request, video)));
    }
    found
}

fn denied(truth: &[Truth]) -> HashSet<RequestName> {
    let denied = truth.iter().filter_map(|line| match line {
        Truth::Denied { request, .. } => Some(*request),
        _ => None,
    });
    denied.collect()
}

/// Models with every kind of disorder, and with every kind of world.
fn models() -> impl Strategy<Value = Model> {
    let share = || prop_oneof![Just(0.0), 0.0..0.3f64];
    let world = (share(), share(), share(), share(), share(), share(), prop::bool::ANY).prop_map(
        |(
            daily_rhythm,
            video_rhythm,
            play_rate_spread,
            overdispersion,
            surge_share,
            bot_rate,
            surges,
        )| {
            let surge = "51474863@2026-01-01T01:00:00Z/1h×2".parse().unwrap();
            World {
                daily_rhythm,
                video_rhythm,
                play_rate_spread,
                overdispersion,
                surge_share,
                bot_rate,
                surges: if surges { vec![surge] } else { Vec::new() },
                ..World::default()
            }
        },
    );
    let disorder = (share(), share(), share(), share(), share(), prop::bool::ANY);
    (world, disorder, 0u64..2_000, any::<u64>(), 2i64..30).prop_map(
        |(world, (late, future, orphan, twice, malformed, scatter), impressions, seed, hours)| {
            Model {
                world,
                late_rate: late,
                future_rate: future,
                orphan_rate: orphan,
                duplicate_rate: twice,
                malformed_rate: malformed,
                scatter,
                seed,
                duration_ms: hours * HOUR_MS,
                play_rate: 0.2,
                videos: 60,
                browsing_time_ms: if scatter { 0 } else { HOUR_MS },
                ..small(impressions)
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, ..ProptestConfig::default() })]

    #[test]
    fn the_counts_of_the_truth_are_those_of_the_log(model in models()) {
        let (log, truth) = log_and_truth(&model);
        let counts = counts(&truth);
        let told: BTreeMap<_, _> = counts
            .iter()
            .map(|one| ((one.epoch.0, one.video.0), (one.impressions, one.plays)))
            .collect();
        prop_assert_eq!(told.len(), counts.len());
        prop_assert!(counts.is_sorted_by_key(|one| (one.epoch, one.video)));
        prop_assert_eq!(told, recount(&log, &denied(&truth)));
        prop_assert_eq!(log, arrivals(&model), "to tell the truth does not change the log");
    }

    #[test]
    fn the_truth_is_the_same_for_any_number_of_partitions(
            model in models(), partitions in 1u32..9
        ) {
        let other = Model { partitions, ..model.clone() };
        prop_assert_eq!(log_and_truth(&model).1, log_and_truth(&other).1);
    }
}

/// A world in which every epoch has some impressions of every video, without disorder.
fn dense(world: World) -> Model {
    let none = 0.0;
    Model {
        videos: 40,
        zipf: 0.5,
        orphan_rate: none,
        malformed_rate: none,
        future_rate: none,
        duration_ms: 24 * HOUR_MS,
        play_rate: 0.1,
        world,
        ..small(100_000)
    }
}

/// How many standard deviations the plays of some cells are from what is to be expected.
fn deviations(cells: impl Iterator<Item = EpochCounts>, rate: impl Fn(&EpochCounts) -> f64) -> f64 {
    let (mut difference, mut variance) = (0.0, 0.0);
    for cell in cells {
        let (impressions, rate) = (cell.impressions as f64, rate(&cell));
        difference += cell.plays as f64 - impressions * rate;
        variance += impressions * rate * (1.0 - rate);
    }
    difference / f64::sqrt(variance)
}

#[test]
fn a_surging_video_is_played_as_often_as_its_factor_says() {
    let surge: Surge = "51474863@2026-01-01T06:00:00Z/3h×3".parse().unwrap();
    let (_, truth) = log_and_truth(&dense(World { surges: vec![surge], ..World::default() }));
    let counts = counts(&truth);
    let is_surged = |one: &EpochCounts| {
        one.video == surge.video && surge.includes(Definition::default().start_ms(one.epoch))
    };
    let surged = || counts.iter().copied().filter(is_surged);
    let others = || counts.iter().copied().filter(|one| !is_surged(one));
    assert_eq!(surged().count(), 6);
    assert!(surged().map(|one| one.impressions).sum::<u64>() > 500);
    assert!(deviations(surged(), |_| 0.3).abs() < 3.0);
    assert!(deviations(surged(), |_| 0.1) > 10.0);
    assert!(deviations(others(), |_| 0.1).abs() < 3.0);
    let is_near = |number: f64, expected: f64| (number - expected).abs() < 1e-9;
    assert!(surged().all(|one| is_near(one.take_rate, 0.3) && is_near(one.usual_rate, 0.1)));
}

#[test]
fn plays_scatter_around_the_take_rates_of_the_truth_as_chance_has_it() {
    let world = World {
        surge_share: 0.5,
        overdispersion: 0.3,
        play_rate_spread: 0.4,
        daily_rhythm: 0.5,
        video_rhythm: 0.5,
        ..World::default()
    };
    let (_, truth) = log_and_truth(&Model { impressions: 200_000, ..dense(world) });
    let counts = counts(&truth);
    assert!(deviations(counts.iter().copied(), |one| one.take_rate).abs() < 3.0);
    let squares = |rate: fn(&EpochCounts) -> f64| {
        let cells = counts
            .iter()
            .filter(|one| one.impressions as f64 * one.usual_rate > 3.0 && one.take_rate < 0.9);
        let squares: Vec<f64> =
            cells.map(|one| deviations(std::iter::once(*one), rate).powi(2)).collect();
        assert!(squares.len() > 1_000);
        squares.iter().sum::<f64>() / squares.len() as f64
    };
    let (known, unknown) = (squares(|one| one.take_rate), squares(|one| one.usual_rate));
    assert!((0.9..1.1).contains(&known), "{known}");
    assert!(unknown > 3.0, "{unknown}");
}

#[test]
fn a_daily_rhythm_is_visible_in_the_impressions_and_not_in_the_take_rate() {
    let world = World { daily_rhythm: 0.6, ..World::default() };
    let (_, truth) = log_and_truth(&dense(world));
    let counts = counts(&truth);
    let first = Definition::default().epoch(Model::default().start_ms);
    let around = |hour: i64| {
        let hours = first.plus(2 * hour - 2)..first.plus(2 * hour + 2);
        counts.iter().copied().filter(move |one| hours.contains(&one.epoch))
    };
    let impressions = |hour| around(hour).map(|one| one.impressions).sum::<u64>() as f64;
    let (peak, trough) = (impressions(20), impressions(8));
    assert!((3.7..4.3).contains(&(peak / trough)), "{peak} to {trough}");
    assert!(deviations(around(20), |_| 0.1).abs() < 3.0);
    assert!(deviations(around(8), |_| 0.1).abs() < 3.0);
}

#[test]
fn videos_have_rhythms_of_their_own_and_all_together_none() {
    let swing = |video_rhythm| {
        let model = Model {
            duration_ms: 48 * HOUR_MS,
            ..dense(World { video_rhythm, ..World::default() })
        };
        let (_, truth) = log_and_truth(&model);
        let mut hours: BTreeMap<u64, [f64; 24]> = BTreeMap::new();
        let mut all = [0.0; 24];
        for one in counts(&truth) {
            let hour = (one.epoch.0 / 2 % 24) as usize;
            hours.entry(one.video.0).or_default()[hour] += one.impressions as f64;
            all[hour] += one.impressions as f64;
        }
        // The first wave of a day: the amplitude of what is shown.
        let amplitude = |hours: &[f64; 24]| {
            let (mut sine, mut cosine) = (0.0, 0.0);
            for (hour, impressions) in (0..24).zip(hours) {
                let angle = f64::from(hour) * std::f64::consts::TAU / 24.0;
                sine += impressions * angle.sin();
                cosine += impressions * angle.cos();
            }
            2.0 * f64::hypot(sine, cosine) / hours.iter().sum::<f64>()
        };
        let own = hours.values().map(amplitude).sum::<f64>() / hours.len() as f64;
        (own, amplitude(&all))
    };
    let ((without, _), (with, all)) = (swing(0.0), swing(0.8));
    assert!(without < 0.05, "{without}");
    // Uniform from 0 to 0.8; requests show half of the catalogue, which evens it out somewhat.
    assert!((0.2..0.5).contains(&with), "{with}");
    assert!(all < 0.05, "{all}");
}

#[test]
fn every_request_of_a_bot_is_denied_soon_after_its_last_impression() {
    let world = World { bot_rate: 0.1, denial_delay_max_ms: 180_000, ..World::default() };
    let model = Model { duplicate_rate: 0.2, late_rate: 0.05, ..dense(world) };
    let (log, truth) = log_and_truth(&model);
    let denied = denied(&truth);
    assert!((450..550).contains(&denied.len()), "{} of 5,000 requests", denied.len());
    let mut last_seen_ms: HashMap<RequestName, i64> = HashMap::new();
    let mut plays = [0, 0];
    for arrival in log.iter().filter(|arrival| arrival.truth != GroundTruth::Duplicate) {
        if arrival.kind == Kind::Impression {
            let last_ms = last_seen_ms.entry(arrival.request).or_default();
            *last_ms = arrival.event_time_ms.max(*last_ms);
        } else if arrival.kind == Kind::Play {
            plays[usize::from(denied.contains(&arrival.request))] += 1;
        }
    }
    let of_kind = |kind| log.iter().filter(move |arrival| arrival.kind == kind);
    let denials: HashSet<_> =
        of_kind(Kind::Denial).map(|one| (one.request, one.event_time_ms)).collect();
    assert!(of_kind(Kind::Denial).count() > denials.len(), "some arrive twice");
    assert_eq!(denials.iter().map(|(request, _)| *request).collect::<HashSet<_>>(), denied);
    for (request, event_time_ms) in denials {
        let after_ms = event_time_ms - last_seen_ms[&request];
        assert!((0..=180_000).contains(&after_ms), "{after_ms}");
    }
    for denial in of_kind(Kind::Denial) {
        let delay_ms = denial.arrival_ms - denial.event_time_ms;
        assert!((0..=model.arrival_delay_max_ms).contains(&delay_ms), "{denial:?}");
    }
    let [of_members, of_bots] = plays;
    assert!((8_600..9_400).contains(&of_members), "{of_members} of about 90,000");
    assert!((8_500..10_500).contains(&of_bots), "{of_bots} of about 10,000");
    let counts = counts(&truth);
    assert!(deviations(counts.iter().copied(), |_| 0.1).abs() < 3.0, "without bots");
}

#[test]
fn without_bots_there_is_no_denial() {
    let (log, truth) = log_and_truth(&dense(World::default()));
    assert!(log.iter().all(|arrival| arrival.kind != Kind::Denial) && denied(&truth).is_empty());
}

#[test]
fn only_few_epochs_are_in_memory() {
    let model = Model { duration_ms: 100 * HOUR_MS, ..dense(World::default()) };
    let mut generator = Generator::with_truth(&model).unwrap();
    let mut open_max = 0;
    while generator.next().is_some() {
        generator.take_truth().for_each(drop);
        open_max = open_max.max(generator.open_epochs());
    }
    assert!((1..=3).contains(&open_max), "{open_max}");
}

#[test]
fn a_line_of_each_kind_is_an_object() {
    let request = RequestName::text(7);
    let (video, epoch) = (VideoId(51_474_863), Epoch(981_792));
    let surge = Surge { video, start_ms: 7, duration_ms: 60_000, factor: 2.5 };
    let (take_rate, usual_rate) = (0.1, 0.05);
    let counts = EpochCounts { video, epoch, impressions: 9, plays: 1, take_rate, usual_rate };
    let lines =
        [Truth::Surge(surge), Truth::Denied { request, event_time_ms: 8 }, Truth::Counts(counts)];
    let objects =
        lines.map(|line| serde_json::from_str::<serde_json::Value>(&line.to_string()).unwrap());
    assert_eq!(
        objects,
        [
            serde_json::json!({
                "truth": "surge", "video_id": 51_474_863, "start_ms": 7, "duration_ms": 60_000,
                "factor": 2.5
            }),
            serde_json::json!({
                "truth": "denied", "request_id": "page-0000000000000007", "event_time": 8
            }),
            serde_json::json!({
                "truth": "counts", "video_id": 51_474_863, "epoch": 981_792, "impressions": 9,
                "plays": 1, "take_rate": 0.1, "usual_rate": 0.05
            }),
        ]
    );
}
