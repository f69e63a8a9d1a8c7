//! The events of a store by their outcome, as text for people.

use crate::acceptance::LedgerRow;
use crate::stores::{StoreError, StoreReader};
use indicatif::HumanCount;
use std::fmt;

/// The share of late and future events above which people are warned, in hundredths.
const REJECTED_PERCENT_MAX: u64 = 1;

/// The numbers of events of a store since its first job.
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
    /// The records that are no events.
    pub malformed: u64,
}

impl Totals {
    /// Reads the totals of a store.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn of(reader: &dyn StoreReader) -> Result<Totals, StoreError> {
        let progress = reader.progress()?;
        let malformed = progress.partitions.values().map(|at| at.malformed).sum();
        let totals = Totals { malformed, ..Totals::default() };
        Ok(reader.ledger()?.iter().fold(totals, Totals::add))
    }

    fn add(self, row: &LedgerRow) -> Totals {
        Totals {
            events: self.events + row.events,
            distinct: self.distinct + row.distinct_events,
            duplicate: self.duplicate + row.duplicate_events,
            late: self.late + row.late_events,
            future: self.future + row.future_events,
            ..self
        }
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
    /// `1,000 events: 990 distinct, 5 duplicate, 4 late, 1 future; 3 malformed records`
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [events, distinct, late, future, malformed] =
            [self.events, self.distinct, self.late, self.future, self.malformed].map(HumanCount);
        // A negative number means that the ledger is wrong.
        let sign = if self.duplicate < 0 { "-" } else { "" };
        let duplicate = HumanCount(self.duplicate.unsigned_abs());
        write!(
            formatter,
            "{events} events: {distinct} distinct, {sign}{duplicate} duplicate, {late} late, \
             {future} future; {malformed} malformed records"
        )
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
        let many = Totals { late: 9, future: 2, ..totals };
        assert!(many.warning().unwrap().starts_with("1.1 % of the events are late or future"));
        assert_eq!(Totals::default().warning(), None);
    }
}
