//! What a generated log holds, in numbers.

use super::arrival::{Arrival, Truth};
use crate::event::Kind;
use std::fmt;

/// The records of a log, counted. All records are `impressions + plays + duplicates + malformed`;
/// orphans, late and future events are among the impressions and plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Impressions, without duplicates.
    pub impressions: u64,
    /// Plays, without duplicates.
    pub plays: u64,
    /// Events that arrived before.
    pub duplicates: u64,
    /// Plays that no impression belongs to.
    pub orphans: u64,
    /// Events that arrive long after they happened.
    pub late: u64,
    /// Events that a wrong clock has stamped in the future.
    pub future: u64,
    /// Records that are no events.
    pub malformed: u64,
    /// The size of all files, in bytes.
    pub bytes: u64,
    /// The most events that waited in memory for their arrival.
    pub waiting_max: usize,
}

impl Summary {
    /// Counts one record.
    #[inline]
    pub fn count(&mut self, arrival: &Arrival) {
        match arrival.truth {
            Truth::Duplicate => self.duplicates += 1,
            Truth::Malformed(_) => self.malformed += 1,
            truth => {
                match arrival.kind {
                    Kind::Impression => self.impressions += 1,
                    Kind::Play => self.plays += 1,
                }
                self.orphans += u64::from(truth == Truth::Orphan);
                self.late += u64::from(truth == Truth::Late);
                self.future += u64::from(truth == Truth::Future);
            }
        }
    }

    /// All records: lines or rows of the files.
    #[inline]
    pub fn records(&self) -> u64 {
        self.impressions + self.plays + self.duplicates + self.malformed
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in [
            ("impressions", self.impressions),
            ("plays", self.plays),
            ("  of them without impression", self.orphans),
            ("events that are late", self.late),
            ("events stamped in the future", self.future),
            ("duplicates, besides", self.duplicates),
            ("malformed records, besides", self.malformed),
            ("records", self.records()),
            ("bytes", self.bytes),
        ] {
            writeln!(formatter, "{name:<32}{:>16}", grouped(count))?;
        }
        let waiting_max = grouped(self.waiting_max as u64);
        write!(formatter, "{:<32}{waiting_max:>16}", "events waiting at once, at most")
    }
}

/// A number with its thousands set apart: `20,000,000`.
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
    fn thousands_are_set_apart() {
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
