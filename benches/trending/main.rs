//! Does a score find what is new, and does it mean what it says?
//!
//! Worlds of 1,500 titles are made up, with the truth behind them: rates, rhythms, noise, and
//! surges in which a title is played twice as often. Every method scores the same counts. Its
//! threshold is the one that gives one false alarm per 1,000 titles and day. Scores in standard
//! deviations are also compared with a normal distribution where nothing has happened, for final
//! rows, and for those of epochs that are still going on.
//!
//! `cargo bench --bench trending -- [--seeds N] [--first-seed N] [--kind N]` prints a JSON object
//! for each world and method. `benches/trending/report.py` makes docs/trending.md and its plot of
//! them. With `--test`, as in CI, it makes one world and scores three of its epochs.

#[path = "../common/mod.rs"]
mod common;
mod judge;
mod methods;
mod partial;
mod world;

use common::{is_test, parameter};
use judge::{Scores, calibration, judge};
use serde_json::json;
use world::{KINDS, Kind, World, make};

fn print_method(kind: &Kind, seed: u64, world: &World, name: &str, scores: &Scores) {
    let judged = judge(world, scores);
    let (all, rows) = calibration(world, scores, 0.0);
    let (large, large_rows) = calibration(world, scores, 5.0);
    let object = json!({
        "kind": kind.name, "seed": seed, "method": name, "at_once": judged.at_once,
        "within_one": judged.within_one, "surges": judged.surges, "precision": judged.precision,
        "delay": judged.delay, "threshold": judged.threshold,
        "rows": rows, "beyond": all, "large_rows": large_rows, "large_beyond": large,
    });
    println!("{object}");
}

fn main() {
    let (seeds, first) = (parameter("--seeds", 1, 1), parameter("--first-seed", 1, 1));
    let only = KINDS.get(parameter("--kind", usize::MAX, 0)).map(|kind| kind.name);
    let wanted = KINDS.iter().filter(|kind| only.is_none_or(|name| name == kind.name));
    if is_test() {
        let world = make(&KINDS[3], 1);
        assert!(partial::beyond(&world, 15, 3).1 > 1_000);
        return;
    }
    for kind in wanted {
        for seed in first..first + seeds {
            let world = make(kind, seed);
            for (name, scores) in &methods::all(&world) {
                print_method(kind, seed, &world, name, scores);
            }
            for minutes in partial::MINUTES {
                let (beyond, rows) = partial::beyond(&world, minutes, partial::EPOCHS);
                let object = json!({
                    "kind": kind.name, "seed": seed, "minutes": minutes, "rows": rows,
                    "beyond": beyond,
                });
                println!("{object}");
            }
        }
    }
}
