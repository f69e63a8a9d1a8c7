//! The estimate against a reference in plain Python, whose inputs and outputs are in
//! `vectors.json`.

use super::bins::{AgeCounts, Bins, EDGES};
use super::curves::{Curves, quantile};
use super::{Arrived, Estimate, Unknown};
use crate::time::{Definition, Epoch};
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<i64> {
    value.as_array().unwrap().iter().map(|number| number.as_i64().unwrap()).collect()
}

fn is_near(found: f64, expected: &Value) -> bool {
    let expected = expected.as_f64().unwrap();
    (found - expected).abs() <= 1e-9 * expected.abs().max(1e-3)
}

#[test]
fn ages_have_the_bins_of_the_reference() {
    let vectors = vectors();
    assert_eq!(numbers(&vectors["edges"]), EDGES);
    for one in vectors["bin_of"].as_array().unwrap() {
        let [age_ms, length_ms, bin] = numbers(one).try_into().unwrap();
        for start_ms in [0, -7 * length_ms, 1_000 * length_ms] {
            let mut bins = Bins::new(start_ms, length_ms);
            assert_eq!(
                bins.of(start_ms.saturating_add(age_ms)) as i64,
                bin,
                "{age_ms} {length_ms}"
            );
            // The same one again, from what is remembered.
            assert_eq!(bins.of(start_ms.saturating_add(age_ms)) as i64, bin);
        }
    }
    let curves = Curves::new(&Definition::default());
    for one in vectors["lag"].as_array().unwrap() {
        let [edge, lag] = numbers(one).try_into().unwrap();
        assert_eq!(curves.lag(edge as usize), lag);
    }
    for one in vectors["quantile"].as_array().unwrap() {
        let ordered: Vec<f64> =
            one[0].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect();
        assert!(is_near(quantile(&ordered, one[1].as_f64().unwrap()), &one[2]));
    }
}

#[test]
fn bins_that_are_remembered_are_those_that_are_computed() {
    let length_ms = 7_001;
    let mut remembering = Bins::new(123_456, length_ms);
    for step in 0..60_000i64 {
        let time_ms = 120_000 + step * 7 % 60_000 + step / 3;
        assert_eq!(remembering.of(time_ms), Bins::new(123_456, length_ms).of(time_ms), "{time_ms}");
    }
}

/// The reasons of the reference, by ours.
fn reason(unknown: Unknown) -> &'static str {
    match unknown {
        Unknown::Partial => "partial epoch",
        Unknown::NotReached => "not reached",
        Unknown::TooFew => "too few past epochs",
        Unknown::Unlike => "unlike past epochs",
        Unknown::Untimed => "no record times",
    }
}

#[test]
fn estimates_are_those_of_the_reference() {
    for run in vectors()["runs"].as_array().unwrap() {
        let definition = Definition {
            epoch_length_ms: run["length_ms"].as_i64().unwrap(),
            join_window_epochs: run["join_window"].as_i64().unwrap(),
            max_delay_ms: run["delay_ms"].as_i64().unwrap(),
            ..Definition::default()
        };
        let mut curves = Curves::new(&definition);
        curves.begin(Epoch(run["first_full"].as_i64().unwrap()));
        for (epoch, counts) in run["counts"].as_object().unwrap() {
            let counts = numbers(counts).into_iter().map(|count| count as u64).collect();
            let arrived = Arrived { counts: AgeCounts(counts), untimed: 0 };
            curves.add(Epoch(epoch.parse().unwrap()), &arrived);
        }
        let edges = numbers(&run["residual_edges"]);
        for (at, step) in run["steps"].as_array().unwrap().iter().enumerate() {
            if let Some(epoch) = step["close"].as_i64() {
                curves.close(Epoch(epoch));
                let curve = curves.get(Epoch(epoch)).unwrap();
                let first_odd = curve.first_odd.map_or(65, |edge| edge as i64);
                assert_eq!(first_odd, step["first_odd"].as_i64().unwrap(), "step {at}");
                match step["residuals"].as_array() {
                    None => assert!(curve.residuals.is_empty(), "step {at}"),
                    Some(expected) => {
                        for (edge, expected) in edges.iter().zip(expected) {
                            let found = curve.residuals[*edge as usize];
                            assert!(is_near(found, expected), "step {at}: {found} {expected}");
                        }
                    }
                }
                continue;
            }
            let [epoch, age, read] = numbers(&step["estimate"]).try_into().unwrap();
            match (curves.estimate(Epoch(epoch), age, read as u64), step["is"].as_array()) {
                (Ok(Estimate { share, low, high }), Some(expected)) => {
                    for (found, expected) in [share, low, high].into_iter().zip(expected) {
                        assert!(is_near(found, expected), "step {at}: {found} {expected}");
                    }
                }
                (Err(unknown), None) => assert_eq!(reason(unknown), step["is"], "step {at}"),
                (found, expected) => panic!("step {at}: {found:?}, not {expected:?}"),
            }
        }
    }
}
