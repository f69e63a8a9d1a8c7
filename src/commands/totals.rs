//! What became of the records of a store, as text for people.

use crate::acceptance::LedgerRow;
use crate::engine::Records;
use crate::event::Kind;
use crate::log::{Loss, PartitionProgress};
use crate::sources::files::some_of;
use crate::stores::{Progress, StoreError, StoreReader};
use indicatif::HumanCount;
use std::fmt;

/// The share of late and future events above which people are warned, in hundredths.
const REJECTED_PERCENT_MAX: u64 = 1;

/// The events of a store since its first job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The events that were read.
    pub events: u64,
    /// The accepted ones, without duplicates.
    pub distinct: u64,
    /// The other accepted ones.
    pub duplicate: i64,
    /// Those rejected as late.
    pub late: u64,
    /// Those rejected as future.
    pub future: u64,
    /// The distinct ones of denied requests.
    pub denied: u64,
    /// The records of each log, by [`Kind`].
    pub records: [Records; Kind::COUNT],
}

impl Totals {
    /// Returns the totals of a store with this progress.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn of(reader: &dyn StoreReader, progress: &Progress) -> Result<Totals, StoreError> {
        let mut totals = Totals::default();
        for at in progress.partitions.values() {
            totals.records[at.partition.kind as usize].malformed += at.malformed;
        }
        Ok(reader.ledger()?.iter().fold(totals, Totals::add))
    }

    fn add(mut self, row: &LedgerRow) -> Totals {
        self.records[row.key.kind as usize].events += row.events;
        Totals {
            events: self.events + row.events,
            distinct: self.distinct + row.distinct_events,
            duplicate: self.duplicate + row.duplicate_events,
            late: self.late + row.late_events,
            future: self.future + row.future_events,
            denied: self.denied + row.denied_events,
            ..self
        }
    }

    /// The records that are no events.
    pub fn malformed(&self) -> u64 {
        self.records.iter().map(|records| records.malformed).sum()
    }

    /// Returns a warning if many events are late or future.
    pub fn warning(&self) -> Option<String> {
        let rejected = self.late + self.future;
        (rejected * 100 > self.events * REJECTED_PERCENT_MAX).then(|| {
            let percent = 100.0 * rejected as f64 / self.events as f64;
            format!(
                "{percent:.1} % of the events are late or future, and change no row: check their \
                 times, --max-delay, --max-future and --max-leap"
            )
        })
    }
}

impl fmt::Display for Totals {
    /// `1,000 events: 990 distinct, 5 duplicate, 4 late, 1 future; 3 malformed records`, and where
    /// there are any, `990 distinct (20 of denied requests)`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [events, distinct, late, future, malformed] =
            [self.events, self.distinct, self.late, self.future, self.malformed()].map(HumanCount);
        // A negative number means that the ledger is wrong.
        let sign = if self.duplicate < 0 { "-" } else { "" };
        let duplicate = HumanCount(self.duplicate.unsigned_abs());
        let denied = match self.denied {
            0 => String::new(),
            denied => format!(" ({} of denied requests)", HumanCount(denied)),
        };
        write!(
            formatter,
            "{events} events: {distinct} distinct{denied}, {sign}{duplicate} duplicate, {late} \
             late, {future} future; {malformed} malformed records"
        )
    }
}

/// What could not be used of some logs, as a store tells: the same after every job, until there is
/// more input, or another store.
pub struct Unused<'a> {
    /// The logs, and their records.
    logs: Vec<(Kind, Records)>,
    /// The partitions of these logs.
    partitions: Vec<&'a PartitionProgress>,
}

impl<'a> Unused<'a> {
    /// Returns what could not be used of the logs that are `wanted`.
    pub fn of(
        totals: &Totals,
        progress: &'a Progress,
        wanted: impl Fn(Kind) -> bool,
    ) -> Unused<'a> {
        let logs = Kind::ALL.into_iter().filter(|kind| wanted(*kind));
        let partitions = progress.partitions.values();
        Unused {
            logs: logs.map(|kind| (kind, totals.records[kind as usize])).collect(),
            partitions: partitions.filter(|at| wanted(at.partition.kind)).collect(),
        }
    }

    /// Returns a text for each log of which more than this share of the records is malformed, or
    /// without a share, all are. If only those that a job has `read` are all malformed, the text is
    /// about these. `first` is the first malformed record of a log, if it is known.
    pub fn malformed<'b>(
        &self,
        malformed_max: Option<f64>,
        read: &[Records; Kind::COUNT],
        first: impl Fn(Kind) -> Option<&'b str>,
    ) -> Vec<(Kind, String)> {
        let described = self.logs.iter().filter_map(|(kind, records)| {
            let read = read[*kind as usize];
            let text = if records.are_unusable(malformed_max) {
                records.describe(*kind)
            } else if read.are_useless(malformed_max) {
                let (read, topic) = (read.malformed, kind.topic());
                format!("all {read} records of the {topic} that this job has read are malformed")
            } else {
                return None;
            };
            let most = self.malformed_partitions(*kind).max_by_key(|at| at.malformed);
            let example = match (first(*kind), most) {
                (Some(first), _) => format!("; first: {first}"),
                (None, Some(most)) => format!("; most of them in {}", most.partition.name),
                (None, None) => String::new(),
            };
            Some((*kind, text + &example))
        });
        described.collect()
    }

    /// Whether every partition of a log that has malformed records has a damaged file.
    pub fn is_damage_alone(&self, kind: Kind) -> bool {
        let is_damaged = |at: &PartitionProgress| at.lost.as_ref().is_some_and(Loss::is_damage);
        self.malformed_partitions(kind).all(is_damaged)
    }

    /// Returns the partitions of a log that have malformed records.
    fn malformed_partitions(&self, kind: Kind) -> impl Iterator<Item = &PartitionProgress> {
        let of_log = self.partitions.iter().filter(move |at| at.partition.kind == kind);
        of_log.filter(|at| at.malformed > 0).copied()
    }

    /// Returns a text about the logs of which something is, or may be, missing, if there are any.
    pub fn missing(&self) -> Option<String> {
        let missing = self.losses(|_| true);
        (!missing.is_empty()).then(|| some_of(&missing))
    }

    /// Returns a text for each file that cannot be read to its end.
    pub fn damaged(&self) -> Vec<String> {
        self.losses(Loss::is_damage)
    }

    fn losses(&self, wanted: impl Fn(&Loss) -> bool) -> Vec<String> {
        let losses = self.partitions.iter().filter_map(|at| Some((at, at.lost.as_ref()?)));
        let losses = losses.filter(|(_, loss)| wanted(loss));
        losses.map(|(at, loss)| format!("{} {loss}", at.partition)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_rejected_events_are_worth_a_warning() {
        let totals = Totals { events: 1_000, distinct: 985, duplicate: 5, ..Totals::default() };
        let few = Totals { late: 9, future: 1, ..totals };
        assert_eq!(few.warning(), None);
        let text = "1,000 events: 985 distinct, 5 duplicate, 9 late, 1 future; 0 malformed records";
        assert_eq!(few.to_string(), text);
        let denied = Totals { denied: 1_200, ..totals }.to_string();
        assert!(denied.contains("985 distinct (1,200 of denied requests), 5 dup"), "{denied}");
        let many = Totals { late: 9, future: 2, ..totals };
        assert!(many.warning().unwrap().starts_with("1.1 % of the events are late or future"));
        assert_eq!(Totals::default().warning(), None);
    }
}
