//! The module `completeness` alone: it is fed with a log as an exact job would, and asked.

use crate::judge::{Answer, Run};
use crate::log::{KINDS, Log, Record};
use std::collections::{BTreeMap, BTreeSet};
use trendmark::completeness::bins::UNITS;
use trendmark::completeness::{Arrivals, Counter, Curves};
use trendmark::event::Kind;
use trendmark::time::{Definition, Epoch, Through};

/// A partition: its latest event time and record time, in milliseconds.
#[derive(Default)]
struct Partition {
    event_ms: Option<i64>,
    record_ms: Option<i64>,
}

struct Reading {
    definition: Definition,
    partitions: BTreeMap<(Kind, u8), Partition>,
    /// What has arrived since the last look.
    counters: BTreeMap<(Epoch, Kind), Counter>,
    curves: BTreeMap<Kind, Curves>,
    open: BTreeSet<Epoch>,
    run: Run,
}

/// Reads a log, and asks whenever it is looked at.
pub fn read(log: &Log) -> Run {
    let names = log.records.iter().map(|record| (record.kind, record.partition));
    let definition = log.definition;
    let mut reading = Reading {
        definition,
        partitions: names.map(|name| (name, Partition::default())).collect(),
        counters: BTreeMap::new(),
        curves: KINDS.map(|kind| (kind, Curves::new(&definition))).into(),
        open: BTreeSet::new(),
        run: Run::default(),
    };
    let mut next = 0;
    for look in log.looks() {
        let end = log.records.partition_point(|record| record.record_ms <= look.at_ms);
        log.records[next..end].iter().for_each(|record| reading.take(record));
        next = end;
        reading.publish(reading.closed_through());
        for (epoch, age) in look.asked {
            reading.ask(epoch, age, look.at_ms);
        }
    }
    log.records[next..].iter().for_each(|record| reading.take(record));
    reading.publish(Through::Everything);
    reading.run
}

impl Reading {
    /// Counts a record, unless its event is future or late.
    fn take(&mut self, record: &Record) {
        let Definition { epoch_length_ms, max_delay_ms, max_future_ms, .. } = self.definition;
        let Some(partition) = self.partitions.get_mut(&(record.kind, record.partition)) else {
            return;
        };
        if record.event_ms > record.record_ms + max_future_ms {
            return;
        }
        partition.event_ms = partition.event_ms.max(Some(record.event_ms));
        let epoch = self.definition.epoch(record.event_ms);
        let watermark_ms = partition.event_ms.map(|at_ms| at_ms - max_delay_ms);
        if watermark_ms.is_some_and(|at| self.definition.closed_through(at).contains(epoch)) {
            return;
        }
        let start_ms = self.definition.start_ms(epoch);
        let counter = self.counters.entry((epoch, record.kind));
        let counter = counter.or_insert_with(|| Counter::new(start_ms, epoch_length_ms));
        counter.count(Some(record.record_ms), &mut partition.record_ms);
    }

    fn closed_through(&self) -> Through {
        let watermark_ms = |one: &Partition| Some(one.event_ms? - self.definition.max_delay_ms);
        let slowest_ms = self.partitions.values().map(watermark_ms).min().flatten();
        slowest_ms.map_or(Through::Nothing, |at_ms| self.definition.closed_through(at_ms))
    }

    /// Adds what has arrived to the curves, and closes epochs.
    fn publish(&mut self, closed_through: Through) {
        let mut arrivals = Arrivals::default();
        for ((epoch, kind), counter) in std::mem::take(&mut self.counters) {
            arrivals.add(epoch, kind, &counter);
        }
        for ((epoch, kind), arrived) in &arrivals.0 {
            let curves = self.curves.get_mut(kind).expect("a curve of each kind");
            curves.begin(epoch.plus(1));
            curves.add(*epoch, arrived);
            self.open.insert(*epoch);
        }
        while let Some(epoch) = self.open.first().copied()
            && closed_through.contains(epoch)
        {
            self.open.pop_first();
            for (kind, curves) in &mut self.curves {
                let events = curves.curve(epoch).timed();
                curves.close(epoch);
                let is_odd = curves.get(epoch).is_some_and(|curve| curve.first_odd.is_some());
                self.run.close(*kind, epoch, events, is_odd);
            }
        }
    }

    fn ask(&mut self, epoch: Epoch, age: i64, at_ms: i64) {
        if !self.open.contains(&epoch) {
            return;
        }
        for (kind, curves) in &mut self.curves {
            let of_kind = self.partitions.iter().filter(|((other, _), _)| other == kind);
            let reached_ms = of_kind.map(|(_, partition)| partition.record_ms).min().flatten();
            let start_ms = self.definition.start_ms(epoch);
            let reached_ms = reached_ms.map_or(-1, |at_ms| at_ms - start_ms);
            let reached = (reached_ms * UNITS).div_euclid(self.definition.epoch_length_ms);
            let read = curves.curve(epoch).timed();
            let said = curves.estimate(epoch, reached, read);
            let said = said.map(|one| [one.share, one.low, one.high]);
            let said = said.map_err(|reason| reason.to_string());
            self.run.answers.push(Answer { kind: *kind, epoch, age, at_ms, read, said });
        }
    }
}
