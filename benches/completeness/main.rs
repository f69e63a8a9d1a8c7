//! Do the intervals of completeness hold as often as they say?
//!
//! Logs of 340 epochs are made up whose delays are stationary, drift, wander, jump, have a daily
//! rhythm, or an outage. At ten ages of each epoch, the estimate of the share that has arrived is
//! compared with what the epoch came to: of the module alone, and of whole jobs that read the log
//! as it grows, from the rows in the store.
//!
//! `cargo bench --features full --bench completeness -- [--seeds N] [--jobs N] [--first-seed N]
//! [--kind N] [--epochs N]` prints a JSON object for each log and kind of events: with `--seeds`
//! seeds for the module and `--jobs` for whole jobs. `--delays FILE [--epoch-minutes N]` reads real
//! delays instead, which `flights.py` writes. `report.py` makes the tables of docs/completeness.md
//! of them. With `--test`, as in CI, one short log is enough, and the two ways must agree.

#[path = "../common/mod.rs"]
mod common;
mod job;
mod judge;
mod log;
mod module;
mod worlds;

use common::{is_test, parameter};
use judge::{Answer, Run, coverage, judge};
use log::{Log, delays, read_delays};
use std::path::PathBuf;
use worlds::{KINDS, make};

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The workers of a whole job.
const WORKERS: usize = 2;

fn print(log: &Log, seed: u64, of: &str, run: &Run) {
    for mut object in judge(log, run) {
        object["seed"] = seed.into();
        object["of"] = of.into();
        println!("{object}");
    }
}

fn main() {
    if is_test() {
        return test();
    }
    let (seeds, jobs) = (parameter("--seeds", 4, 0), parameter("--jobs", 1, 0));
    let delays = parameter("--delays", PathBuf::new(), PathBuf::new());
    if !delays.as_os_str().is_empty() {
        let log = read_delays(&delays, parameter("--epoch-minutes", 30, 0));
        print(&log, 0, "module", &module::read(&log));
        if jobs > 0 {
            print(&log, 0, "job", &job::read(&log, WORKERS));
        }
        return;
    }
    let (first, epochs) = (parameter("--first-seed", 1, 1), parameter("--epochs", 340, 0));
    let only = parameter("--kind", usize::MAX, 0);
    let wanted =
        KINDS.iter().enumerate().filter(|(number, _)| [*number, usize::MAX].contains(&only));
    for (_, log_kind) in wanted {
        for seed in first..first + seeds.max(jobs) {
            let log = make(log_kind, seed, epochs);
            if seed < first + seeds {
                print(&log, seed, "module", &module::read(&log));
            }
            if seed < first + jobs {
                print(&log, seed, "job", &job::read(&log, WORKERS));
            }
        }
    }
}

/// One log in both ways, and delays that are none.
fn test() {
    let log = make(&KINDS[0], 1, 90);
    let (module, job) = (module::read(&log), job::read(&log, WORKERS));
    for run in [&module, &job] {
        let (held, unknown) = coverage(run);
        let asked = log.judged() * 2 * log::AGES.len() as i64;
        assert!(run.answers.len() as i64 * 20 > asked * 19, "{} of {asked}", run.answers.len());
        assert!((0.85..0.99).contains(&held), "{held}");
        assert!(unknown < 0.05, "{unknown}");
    }
    let is_same = |one: &&Answer| job.answers.iter().any(|other| one.is_same(other));
    let same = module.answers.iter().filter(is_same).count();
    assert!(same * 20 > module.answers.len() * 19, "{same} of {}", module.answers.len());
    for (text, reason) in [
        ("play,1,2\nplay,3", "line 2 is not `kind,event,record`: play,3"),
        ("denial,1,2", "line 1: `denial` is neither impression nor play"),
        ("play,1,NaN", "line 1: `NaN` is not a number of minutes"),
        ("play,1,99999999999", "line 1: `99999999999` is not a number of minutes"),
    ] {
        assert_eq!(delays(text, 30).err().as_deref(), Some(reason));
    }
}
