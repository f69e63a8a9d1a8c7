//! What is told of a publication: pure functions of what a store holds.

use super::{EPOCHS_MAX, PARTITIONS_MAX};
use crate::acceptance::LedgerRow;
use crate::completeness::Completeness;
use crate::log::PartitionProgress;
use crate::metrics::Samples;
use crate::metrics::list::{job, partitions};
use crate::stores::Progress;
use crate::time::{Definition, Epoch, Span, Through};
use std::collections::{BTreeMap, BTreeSet};

/// Sums that never fall, also when rows of the ledger are removed that are too old to be kept.
#[derive(Debug, Default)]
pub struct Steady {
    sums: BTreeMap<(&'static str, &'static str), Sum>,
}

#[derive(Debug, Default)]
struct Sum {
    last: i64,
    removed: i64,
}

impl Steady {
    fn of(&mut self, topic: &'static str, outcome: &'static str, sum: i64) -> f64 {
        let known = self.sums.entry((topic, outcome)).or_default();
        known.removed += (known.last - sum).max(0);
        known.last = sum;
        (sum + known.removed) as f64
    }
}

/// Returns what is told of a publication.
pub fn samples(
    progress: &Progress,
    ledger: &[LedgerRow],
    completeness: &[Completeness],
    definition: &Definition,
    steady: &mut Steady,
) -> Samples {
    let mut samples = Samples::default();
    samples.set(&job::PUBLICATION, &[], progress.publication.0 as f64);
    samples.set(&job::GENERATION, &[], progress.generation as f64);
    let seconds = |time_ms: i64| time_ms as f64 / 1e3;
    samples.set_known(&job::WATERMARK, &[], progress.watermark_ms().map(seconds));
    if let Through::Epoch(last) = progress.final_through {
        samples.set(&job::FINAL_THROUGH, &[], seconds(definition.end_ms(last)));
    }
    of_events(&mut samples, ledger, steady);
    of_epochs(&mut samples, progress.final_through, ledger, completeness, definition);
    of_partitions(&mut samples, progress);
    samples
}

fn of_events(samples: &mut Samples, ledger: &[LedgerRow], steady: &mut Steady) {
    let mut sums: BTreeMap<(&'static str, &'static str), i64> = BTreeMap::new();
    for row in ledger {
        let topic = row.key.kind.topic();
        for (outcome, count) in [("", row.events.cast_signed())].into_iter().chain(row.outcomes()) {
            *sums.entry((topic, outcome)).or_default() += count;
        }
    }
    for ((topic, outcome), sum) in sums {
        let sum = steady.of(topic, outcome, sum);
        match outcome {
            "" => samples.set(&job::EVENTS, &[topic], sum),
            outcome => samples.set(&job::EVENTS_BY_OUTCOME, &[topic, outcome], sum),
        }
    }
    let wrong = ledger.iter().filter(|row| !row.is_conserved()).count();
    samples.set(&job::CONSERVATION, &[], wrong as f64);
}

fn of_epochs(
    samples: &mut Samples,
    final_through: Through,
    ledger: &[LedgerRow],
    completeness: &[Completeness],
    definition: &Definition,
) {
    let with_events = ledger.iter().filter(|row| row.distinct_events > 0);
    let epochs: BTreeSet<Epoch> = with_events.filter_map(|row| row.key.epoch).collect();
    let (finals, open): (Vec<Epoch>, Vec<Epoch>) =
        epochs.into_iter().partition(|epoch| final_through.contains(*epoch));
    samples.set(&job::EPOCHS, &["final"], finals.len() as f64);
    samples.set(&job::EPOCHS, &["open"], open.len() as f64);
    let places: BTreeMap<Epoch, String> = open
        .iter()
        .rev()
        .take(EPOCHS_MAX)
        .enumerate()
        .map(|(n, at)| (*at, n.to_string()))
        .collect();
    for (epoch, back) in &places {
        let start = definition.start_ms(*epoch) as f64 / 1e3;
        samples.set(&job::OPEN_START, &[back], start);
    }
    for row in ledger {
        if let Some(back) = row.key.epoch.and_then(|epoch| places.get(&epoch)) {
            let distinct = row.distinct_events as f64;
            samples.set(&job::OPEN_EVENTS, &[back, row.key.kind.topic()], distinct);
        }
    }
    for row in completeness {
        if let Some(back) = places.get(&row.epoch) {
            samples.set_known(&job::COMPLETENESS, &[back, row.kind.topic()], row.share);
        }
    }
}

fn of_partitions(samples: &mut Samples, progress: &Progress) {
    let mut all: Vec<&PartitionProgress> = progress.partitions.values().collect();
    let active = all.iter().filter(|at| !at.idle).map(|at| at.watermark_ms);
    let known: Option<Vec<i64>> = active.collect();
    if let Some(known) = known
        && let (Some(least), Some(most)) = (known.iter().min(), known.iter().max())
    {
        samples.set(&job::DRIFT, &[], most.saturating_sub(*least) as f64 / 1e3);
    }
    all.sort_by_key(|at| (at.idle, at.watermark_ms));
    let omitted = all.len().saturating_sub(PARTITIONS_MAX);
    samples.set(&partitions::OMITTED, &[], omitted as f64);
    for at in all.into_iter().take(PARTITIONS_MAX) {
        let labels = [at.partition.kind.topic(), at.partition.name.as_str()];
        samples.set(&partitions::COMMITTED_OFFSET, &labels, at.next_offset as f64);
        let watermark = at.watermark_ms.map(|time_ms| time_ms as f64 / 1e3);
        samples.set_known(&partitions::COMMITTED_WATERMARK, &labels, watermark);
        samples.set(&partitions::MALFORMED, &labels, at.malformed as f64);
        samples.set(&partitions::IDLE, &labels, f64::from(u8::from(at.idle)));
        samples.set(&partitions::LOST, &labels, f64::from(u8::from(at.lost.is_some())));
    }
}

/// Returns the labels of the definition.
pub fn definition_labels(definition: &Definition) -> [String; 4] {
    let span = |ms| Span { ms }.to_string();
    [
        span(definition.epoch_length_ms),
        definition.join_window_epochs.to_string(),
        span(definition.max_delay_ms),
        span(definition.max_future_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acceptance::ledger::LedgerKey;
    use crate::event::Kind;
    use crate::log::PartitionName;
    use crate::metrics::{Metric, Value as Sample};
    use crate::time::Publication;

    fn row(epoch: i64, kind: Kind, counts: [i64; 5]) -> LedgerRow {
        let [events, distinct, duplicate, late, future] = counts;
        LedgerRow {
            key: LedgerKey { epoch: Some(Epoch(epoch)), kind },
            events: events as u64,
            distinct_events: distinct as u64,
            duplicate_events: duplicate,
            late_events: late as u64,
            future_events: future as u64,
            denied_events: 0,
        }
    }

    fn number(samples: &Samples, metric: &Metric, labels: &[&str]) -> Option<f64> {
        match samples.get(metric, labels) {
            Some(Sample::Number(number)) => Some(*number),
            _ => None,
        }
    }

    fn of(progress: &Progress, ledger: &[LedgerRow], steady: &mut Steady) -> Samples {
        samples(progress, ledger, &[], &Definition::default(), steady)
    }

    #[test]
    fn counters_are_the_sums_of_the_ledger_and_do_not_fall_when_rows_are_removed() {
        let mut steady = Steady::default();
        let mut ledger = vec![
            row(1, Kind::Play, [10, 5, 2, 2, 1]),
            row(2, Kind::Play, [3, 3, 0, 0, 0]),
            row(2, Kind::Impression, [7, 7, 0, 0, 0]),
        ];
        let found = of(&Progress::default(), &ledger, &mut steady);
        assert_eq!(number(&found, &job::EVENTS, &["plays"]), Some(13.0));
        let outcome = |samples: &Samples, outcome: &str| {
            number(samples, &job::EVENTS_BY_OUTCOME, &["plays", outcome])
        };
        let outcomes = ["distinct", "duplicate", "late", "future", "denied"];
        let expected = [8.0, 2.0, 2.0, 1.0, 0.0].map(Some);
        assert_eq!(outcomes.map(|name| outcome(&found, name)), expected);
        assert_eq!(number(&found, &job::EVENTS, &["denials"]), None);
        assert_eq!(number(&found, &job::CONSERVATION, &[]), Some(0.0));
        // The first epoch is removed, and others go on.
        ledger.remove(0);
        ledger[0] = row(2, Kind::Play, [5, 4, 1, 0, 0]);
        let found = of(&Progress::default(), &ledger, &mut steady);
        assert_eq!(number(&found, &job::EVENTS, &["plays"]), Some(13.0));
        ledger[0] = row(2, Kind::Play, [9, 8, 1, 0, 0]);
        let found = of(&Progress::default(), &ledger, &mut steady);
        assert_eq!(number(&found, &job::EVENTS, &["plays"]), Some(17.0));
    }

    #[test]
    fn a_row_that_does_not_add_up_is_a_violation() {
        let mut steady = Steady::default();
        let ledger = [
            row(1, Kind::Play, [10, 5, 2, 2, 0]),
            row(2, Kind::Play, [3, 4, -1, 0, 0]),
            row(3, Kind::Play, [3, 3, 0, 0, 0]),
        ];
        let found = of(&Progress::default(), &ledger, &mut steady);
        assert_eq!(number(&found, &job::CONSERVATION, &[]), Some(2.0));
    }

    #[test]
    fn open_epochs_are_numbered_from_the_latest_and_what_is_unknown_is_absent() {
        let progress = Progress {
            final_through: Through::Epoch(Epoch(2)),
            publication: Publication(9),
            ..Progress::default()
        };
        let kind = Kind::Impression;
        let ledger: Vec<_> =
            (1..=5).map(|epoch| row(epoch, kind, [epoch, epoch, 0, 0, 0])).collect();
        // Late events only: no epoch that has rows.
        let junk = row(99, kind, [1, 0, 0, 1, 0]);
        let complete = |epoch, share| Completeness {
            epoch: Epoch(epoch),
            kind,
            seen: 1,
            unread: None,
            share,
            share_low: None,
            share_high: None,
            unknown: None,
        };
        let all = [complete(5, None), complete(4, Some(0.97)), complete(1, Some(1.0))];
        let ledger = [ledger, vec![junk]].concat();
        let definition = Definition::default();
        let found = samples(&progress, &ledger, &all, &definition, &mut Steady::default());
        let epochs = ["final", "open"].map(|state| number(&found, &job::EPOCHS, &[state]));
        assert_eq!(epochs, [Some(2.0), Some(3.0)]);
        let events =
            ["0", "2", "3"].map(|back| number(&found, &job::OPEN_EVENTS, &[back, "impressions"]));
        assert_eq!(events, [Some(5.0), Some(3.0), None]);
        let share =
            ["0", "1", "2"].map(|back| number(&found, &job::COMPLETENESS, &[back, "impressions"]));
        assert_eq!(share, [None, Some(0.97), None]);
        assert_eq!(number(&found, &job::OPEN_START, &["0"]), Some(5.0 * 1_800.0));
        assert_eq!(number(&found, &job::FINAL_THROUGH, &[]), Some(3.0 * 1_800.0));
        assert_eq!(number(&found, &job::WATERMARK, &[]), None);
    }

    #[test]
    fn the_slowest_of_very_many_partitions_are_told() {
        let mut progress = Progress::default();
        for number in 0..1_200_i64 {
            let partition = PartitionName { kind: Kind::Play, name: number.to_string() };
            let watermark_ms = Some(number * 1_000);
            let at = PartitionProgress::read_to(partition.clone(), 7);
            progress.partitions.insert(partition, PartitionProgress { watermark_ms, ..at });
        }
        let found = of(&progress, &[], &mut Steady::default());
        let watermark =
            |name: &str| number(&found, &partitions::COMMITTED_WATERMARK, &["plays", name]);
        assert_eq!((watermark("999"), watermark("1000")), (Some(999.0), None));
        assert_eq!(number(&found, &partitions::OMITTED, &[]), Some(200.0));
        assert_eq!(number(&found, &job::DRIFT, &[]), Some(1_199.0));
    }
}
