//! Counts of the records in a generated log.

use super::arrival::{Arrival, GroundTruth};
use crate::event::Kind;
use std::fmt;

/// Counts of the records in a log. The total is `impressions + plays + denials + duplicates +
/// malformed`; impressions and plays include orphans, late and future events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Impressions, without duplicates.
    pub impressions: u64,
    /// Plays, without duplicates.
    pub plays: u64,
    /// Denials of requests, without duplicates.
    pub denials: u64,
    /// Repeated events.
    pub duplicates: u64,
    /// Plays without an impression.
    pub orphans: u64,
    /// Events that arrive long after their event time.
    pub late: u64,
    /// Events that a wrong clock stamped in the future.
    pub future: u64,
    /// Malformed records.
    pub malformed: u64,
    /// The total size of all files, in bytes.
    pub bytes: u64,
    /// The maximum number of events that waited in memory at the same time.
    pub waiting_max: usize,
}

impl Summary {
    /// Counts one record.
    #[inline]
    pub fn count(&mut self, arrival: &Arrival) {
        match arrival.truth {
            GroundTruth::Duplicate => self.duplicates += 1,
            GroundTruth::Malformed(_) => self.malformed += 1,
            truth => {
                match arrival.kind {
                    Kind::Impression => self.impressions += 1,
                    Kind::Play => self.plays += 1,
                    Kind::Denial => self.denials += 1,
                }
                self.orphans += u64::from(truth == GroundTruth::Orphan);
                self.late += u64::from(truth == GroundTruth::Late);
                self.future += u64::from(truth == GroundTruth::Future);
            }
        }
    }

    /// The number of all records: lines or rows of the files.
    #[inline]
    pub fn records(&self) -> u64 {
        self.impressions + self.plays + self.denials + self.duplicates + self.malformed
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in [
            ("impressions", self.impressions),
            ("plays", self.plays),
            ("  without an impression", self.orphans),
            ("denials", self.denials),
            ("late events", self.late),
            ("future events", self.future),
            ("duplicates (additional)", self.duplicates),
            ("malformed records (additional)", self.malformed),
            ("records", self.records()),
            ("bytes", self.bytes),
        ] {
            if name == "denials" && count == 0 {
                continue;
            }
            writeln!(formatter, "{name:<32}{:>16}", grouped(count))?;
        }
        let waiting_max = grouped(self.waiting_max as u64);
        write!(formatter, "{:<32}{waiting_max:>16}", "maximum events in memory")
    }
}

/// Formats a number with thousands separators: `20,000,000`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        for (number, expected) in [(0, "0"), (999, "999"), (1_000, "1,000")] {
            assert_eq!(grouped(number), expected);
        }
        assert_eq!(grouped(20_000_000), "20,000,000");
    }

    #[test]
    fn a_summary_is_a_short_table() {
        let summary = Summary { impressions: 1_000, plays: 50, orphans: 1, ..Summary::default() };
        let text = summary.to_string();
        assert_eq!(text.lines().count(), 10);
        assert!(text.lines().any(|line| line.contains("records") && line.ends_with("1,050")));
    }
}
