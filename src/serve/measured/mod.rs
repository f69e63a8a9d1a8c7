//! `/metrics`: what a process knows of itself, and in the first one what is committed.
//!
//! What a process measures is read from memory at each question. What is committed is read from
//! the store, once for each publication that somebody asks after, and told as it was before while
//! the store does not answer: a slow disk must not hide what it does.

mod job;
mod process;

use super::reply::Reply;
use super::site::{JobFacts, Site};
use crate::engine::Counters;
use crate::metrics::encode::{Format, encode};
use crate::metrics::list::job::{FRESHNESS, WATERMARK};
use crate::metrics::list::partitions::OMITTED;
use crate::metrics::{Metric, Samples, Value, list};
use crate::panics::catch_panic;
use crate::time::{Publication, clock_ms};
use job::Steady;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long an answer waits for the store. Prometheus waits for 10 s.
const STORE_MAX: Duration = Duration::from_secs(3);
/// The most partitions that a process tells.
const PARTITIONS_MAX: usize = 1_000;
/// The most open epochs that are told.
const EPOCHS_MAX: usize = 64;

/// What was told last of what is committed.
#[derive(Default)]
pub struct Committed {
    told: Mutex<Told>,
    /// Whether the store is being read for it.
    is_read: AtomicBool,
}

#[derive(Default)]
struct Told {
    publication: Option<Publication>,
    samples: Samples,
    steady: Steady,
}

impl Committed {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is committed, unless it was told already.
    fn read(&self, site: &Site) {
        let latest = site.feed.state().head.map(|head| head.publication);
        if latest.is_none() || latest == self.told().publication {
            return;
        }
        // A bug here must not end the job.
        let _ = catch_panic(|| {
            let read = site.snapshots.read(|snapshot| {
                let progress = snapshot.progress().clone();
                Ok((progress, snapshot.ledger()?, snapshot.completeness()?))
            });
            let (progress, ledger, completeness) = read.map_err(|error| error.text)?;
            let mut told = self.told();
            let definition = &site.job.definition;
            told.samples =
                job::samples(&progress, &ledger, &completeness, definition, &mut told.steady);
            told.publication = Some(progress.publication);
            Ok(())
        });
    }
}

/// Answers `/metrics` to a client with this header `Accept`. `site` is that of the first process.
pub async fn answer(
    site: Option<&Arc<Site>>,
    facts: &JobFacts,
    counters: &Counters,
    accept: &str,
) -> Reply {
    let mut samples = process::samples(facts, counters);
    if let Some(site) = site {
        if !site.committed.is_read.swap(true, Ordering::AcqRel) {
            let site = Arc::clone(site);
            let reading = tokio::task::spawn_blocking(move || {
                site.committed.read(&site);
                site.committed.is_read.store(false, Ordering::Release);
            });
            let _ = tokio::time::timeout(STORE_MAX, reading).await;
        }
        let omitted = number(&samples, &OMITTED).unwrap_or(0.0);
        samples.merge(&site.committed.told().samples);
        let omitted = number(&samples, &OMITTED).unwrap_or(0.0).max(omitted);
        samples.set(&OMITTED, &[], omitted);
        process::of_commits(&mut samples, counters);
        let watermark = number(&samples, &WATERMARK);
        let fresh = watermark.map(|seconds| clock_ms() as f64 / 1e3 - seconds);
        samples.set_known(&FRESHNESS, &[], fresh);
    }
    let format = Format::accepted(accept);
    let mut reply = Reply::text(200, format.content_type(), encode(list::all(), &samples, format));
    reply.headers.push(("vary", "accept".to_owned()));
    reply
}

fn number(samples: &Samples, metric: &Metric) -> Option<f64> {
    match samples.get(metric, &[]) {
        Some(Value::Number(number)) => Some(*number),
        _ => None,
    }
}
