//! Jobs that are killed repeatedly, and the number of kills that a test tries.

use super::program::{Finished, Running};
use std::sync::atomic::{AtomicU64, Ordering};

/// The most kills of one job.
const JOB_KILLS_MAX: u64 = 20;

/// Calls `check` with seeds until jobs have been killed `kills` times. `check` is given the maximum
/// number of kills of its job, and returns the actual number.
///
/// The environment variable `TRENDMARK_TEST_KILLS` sets another number of kills, and
/// `TRENDMARK_TEST_FIRST_SEED` the first seed, so that many kills can be tried in parts.
pub fn try_kills(kills: u64, check: impl Fn(u64, u64) -> u64 + Sync) {
    let number = |name: &str, default: u64| match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number")),
        Err(_) => default,
    };
    let kills = number("TRENDMARK_TEST_KILLS", kills);
    let first_seed = number("TRENDMARK_TEST_FIRST_SEED", 0);
    let (tried, seeds) = (AtomicU64::new(0), AtomicU64::new(first_seed));
    // Most of the time is spent waiting for jobs, so several run at once.
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while tried.load(Ordering::Relaxed) < kills {
                    let seed = seeds.fetch_add(1, Ordering::Relaxed);
                    tried.fetch_add(check(seed, JOB_KILLS_MAX), Ordering::Relaxed);
                }
            });
        }
    });
    let next_seed = seeds.into_inner();
    eprintln!("{} kills with seeds {first_seed} to {}", tried.into_inner(), next_seed - 1);
}

/// Kills one process of a job, or all of them, and waits until the others have ended by themselves.
/// Returns whether the job was cut short: by the kill, or because its processes did not connect in
/// time, which happens on busy machines and is another early end.
pub fn kill(mut job: Vec<Running>, only: Option<usize>) -> bool {
    let was_killed = job.iter_mut().any(|process| !process.has_ended());
    for (number, process) in job.iter_mut().enumerate() {
        if only.is_none_or(|only| only == number) {
            process.kill();
        }
    }
    let finished: Vec<Finished> = job.into_iter().map(Running::finish).collect();
    let not_met = |finished: &Finished| finished.stderr.contains("processes connected within");
    let was_cut_short = was_killed || finished.iter().any(not_met);
    let is_expected = |finished: &Finished| match finished.code {
        Some(0) | None => true,
        Some(code) => was_cut_short && code == 1,
    };
    assert!(finished.iter().all(is_expected), "{finished:#?}");
    was_cut_short
}
