//! What a process knows of itself.

use super::job::definition_labels;
use super::{EPOCHS_MAX, PARTITIONS_MAX};
use crate::engine::{
    Counters, Part, PartitionState, STALLED_AFTER, Watched, WorkerMeter, resident_memory,
};
use crate::metrics::Samples;
use crate::metrics::list::{job, partitions, process};
use crate::query::Role;
use crate::serve::health::Pulse;
use crate::serve::site::JobFacts;
use crate::showings::StateSize;
use crate::time::{Epoch, clock_ms};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The ticks in a second of the times in `/proc`: the same on every Linux.
const TICKS: f64 = 100.0;

fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

/// Returns what a process knows of itself.
pub fn samples(facts: &JobFacts, counters: &Counters) -> Samples {
    let (now, mut samples) = (Instant::now(), Samples::default());
    let is_ready = Pulse::of(counters, facts.ready_within, now).check(facts.ready_within).is_ok();
    samples.set(&process::READY, &[], flag(is_ready));
    samples.set_known(&process::KEEPING_UP, &[], counters.is_keeping_up(now).map(flag));
    samples.set(&process::BUILD, &[env!("CARGO_PKG_VERSION")], 1.0);
    let numbers = [facts.process, facts.processes, facts.workers].map(|one| one.to_string());
    samples.set(&process::INFO, &numbers.each_ref().map(String::as_str), 1.0);
    samples.set(&process::HEALTHY, &[], flag(counters.meter().unhealthy().is_none()));
    samples.set(&process::REPLAYING, &[], flag(counters.is_replaying()));
    samples.set(&process::STARTED, &[], facts.started_at_ms as f64 / 1e3);
    samples.set_known(&process::CPU, &[], cpu_seconds());
    samples.set_known(&process::MEMORY, &[], resident_memory().map(|bytes| bytes as f64));
    if facts.state_max < u64::MAX {
        samples.set(&process::MEMORY_LIMIT, &[], facts.state_max as f64);
    }
    samples.set(&process::EVENTS, &[], counters.events() as f64);
    samples.set(&process::REPLAYED, &[], counters.replayed() as f64);
    samples.set(&process::READ_BYTES, &[], counters.bytes() as f64);
    for ((kind, reason), number) in counters.meter().malformed() {
        samples.set(&process::MALFORMED, &[kind.topic(), &reason], number as f64);
    }
    if facts.process == 0 {
        let [length, window, delay, future] = definition_labels(&facts.definition);
        let shown = facts.queries.iter().filter(|one| one.query.role != Role::Ledger);
        let queries = shown.map(|one| one.query.name).collect::<Vec<_>>().join(",");
        samples.set(&job::DEFINITION, &[&length, &window, &delay, &future, &queries], 1.0);
    }
    of_workers(&mut samples, counters);
    let delay_ms = facts.definition.max_delay_ms;
    of_partitions(&mut samples, counters.partitions(), delay_ms, clock_ms(), now);
    samples
}

/// Adds what the first process knows of its commits.
pub fn of_commits(samples: &mut Samples, counters: &Counters) {
    let meter = counters.meter();
    samples.set_distribution(&process::COMMIT, &[], meter.commits.now());
    samples.set_distribution(&process::EVENT_TO_ROW, &[], meter.event_to_row.now());
    samples.add(&process::PARTS, &["commit"], meter.commits.now().sum_seconds);
    if let Some((_, at)) = counters.committed() {
        let committed_ms = clock_ms() as f64 - at.elapsed().as_secs_f64() * 1e3;
        samples.set(&job::LAST_COMMIT, &[], committed_ms.round() / 1e3);
    }
    if counters.holder().is_some()
        && let Some((holder, lasted)) = counters.held_by()
    {
        let partition = &holder.partition;
        let labels = [partition.kind.topic(), partition.name.as_str(), holder.reason.word()];
        samples.set(&job::HELD, &labels, lasted.as_secs_f64());
    }
}

fn of_workers(samples: &mut Samples, counters: &Counters) {
    let meter = counters.meter();
    samples.set_distribution(&process::ROUND, &[], meter.rounds.now());
    let mut epochs: BTreeMap<Epoch, StateSize> = BTreeMap::new();
    for worker in meter.workers() {
        let name = worker.index.to_string();
        let labels = [name.as_str()];
        let number = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed) as f64;
        samples.set(&process::IN_FLIGHT, &labels, number(&worker.in_flight));
        samples.set(&process::ROWS_WAITING, &labels, number(&worker.rows_waiting));
        samples.set(&process::DATAFLOWS, &labels, number(&worker.dataflows));
        samples.set_known(&process::BUSY, &labels, worker.busy());
        for (epoch, size) in worker.epochs() {
            let all = epochs.entry(epoch).or_default();
            *all = all.plus(size);
        }
        of_time(samples, &worker);
    }
    for stall in meter.stalls() {
        if let Watched::Worker(worker) = stall.thread {
            let lasted = stall.lasted.as_secs_f64();
            samples.set(&process::STALLED, &[&worker.to_string()], lasted);
        }
    }
    for (number, (_, size)) in epochs.iter().rev().take(EPOCHS_MAX).enumerate() {
        let back = number.to_string();
        samples.set(&process::STATE_SHOWINGS, &[&back], size.showings as f64);
        samples.set(&process::STATE_BYTES, &[&back], size.bytes as f64);
    }
}

/// Adds the time of a worker to that of the parts and of the operators.
fn of_time(samples: &mut Samples, worker: &Arc<WorkerMeter>) {
    let [poll, admit, all] = [Part::Poll, Part::Admit, Part::Loop].map(|part| worker.time(part));
    let mut rest = all.saturating_sub(poll + admit + worker.operators.waited());
    let mut add = |part: &str, time: Duration| {
        samples.add(&process::PARTS, &[part], time.as_secs_f64());
    };
    add("poll", poll);
    add("admit", admit);
    for ((dataflow, operator), time) in worker.operators.times() {
        let part = match (dataflow.as_str(), operator.as_str()) {
            ("epoch", "Showings") => "arrange",
            ("epoch", _) => "count",
            ("table", _) => "publish",
            _ => continue,
        };
        add(part, time);
        rest = rest.saturating_sub(time);
    }
    add("control", rest);
    for ((dataflow, operator), time) in worker.operators.times() {
        samples.add(&process::OPERATORS, &[&dataflow, &operator], time.as_secs_f64());
    }
}

fn of_partitions(
    samples: &mut Samples,
    mut states: Vec<PartitionState>,
    max_delay_ms: i64,
    clock_ms: i64,
    now: Instant,
) {
    states.sort_by_key(|one| {
        let is_stalled = one.is_stalled(STALLED_AFTER, now);
        Reverse((is_stalled, !one.is_idle, one.lag.records.max(one.lag.bytes)))
    });
    let omitted = states.len().saturating_sub(PARTITIONS_MAX);
    samples.set(&partitions::OMITTED, &[], omitted as f64);
    for state in states.iter().take(PARTITIONS_MAX) {
        let labels = [state.partition.kind.topic(), state.partition.name.as_str()];
        let count = |number: Option<u64>| number.map(|number| number as f64);
        let seconds = |time_ms: Option<i64>| time_ms.map(|time_ms| time_ms as f64 / 1e3);
        samples.set(&partitions::OFFSET, &labels, state.next_offset as f64);
        samples.set_known(&partitions::LAG_RECORDS, &labels, count(state.lag_records()));
        samples.set_known(&partitions::LAG_BYTES, &labels, count(state.lag_bytes()));
        let time_lag = state.time_lag_ms(max_delay_ms, clock_ms);
        samples.set_known(&partitions::TIME_LAG, &labels, seconds(time_lag));
        samples.set_known(&partitions::WATERMARK, &labels, seconds(state.watermark_ms));
        let is_stalled = state.is_stalled(STALLED_AFTER, now);
        samples.set(&partitions::STALLED, &labels, flag(is_stalled));
        if let Some(reason) = state.held_by() {
            samples.set(&partitions::HELD, &[labels[0], labels[1], reason], 1.0);
        }
    }
}

/// The time of this process on processors, in seconds; `None` where the system does not tell.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may have anything in it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}
