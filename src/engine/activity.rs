//! What a thread is doing, as others see it: a word in memory, written a few times in a round.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a worker, or the thread of the store, is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It waits for a task, or for the other processes; or it has ended.
    Waiting,
    /// It takes the store over, or reads from it: the store has limits of its own.
    OpeningStore,
    /// It closes the store, after what is being committed.
    ClosingStore,
    /// It commits this publication.
    Committing(u64),
    /// It reads and decodes records of the partition with this number.
    Polling(u64),
    /// It judges and sends events of the partition with this number.
    Admitting(u64),
    /// It opens the partition with this number.
    Opening(u64),
    /// It steps its dataflows, or waits for messages up to this many milliseconds.
    Stepping(u64),
    /// It decides, as worker 0.
    Leading,
    /// It looks for partitions.
    Discovering,
    /// It executes commands.
    Executing,
    /// It ends a round, and writes dead letters.
    EndingRound,
    /// It forwards rows.
    Forwarding,
    /// It maintains its source.
    Maintaining,
}

/// The bits of the number in the word.
const NUMBER_BITS: u32 = 56;

impl Activity {
    fn to_word(self) -> u64 {
        let (kind, number) = match self {
            Activity::Waiting => (0, 0),
            Activity::OpeningStore => (1, 0),
            Activity::ClosingStore => (2, 0),
            Activity::Committing(number) => (3, number),
            Activity::Polling(number) => (4, number),
            Activity::Admitting(number) => (5, number),
            Activity::Opening(number) => (6, number),
            Activity::Stepping(number) => (7, number),
            Activity::Leading => (8, 0),
            Activity::Discovering => (9, 0),
            Activity::Executing => (10, 0),
            Activity::EndingRound => (11, 0),
            Activity::Forwarding => (12, 0),
            Activity::Maintaining => (13, 0),
        };
        kind << NUMBER_BITS | number.min((1 << NUMBER_BITS) - 1)
    }

    fn of_word(word: u64) -> Activity {
        let number = word & ((1 << NUMBER_BITS) - 1);
        match word >> NUMBER_BITS {
            1 => Activity::OpeningStore,
            2 => Activity::ClosingStore,
            3 => Activity::Committing(number),
            4 => Activity::Polling(number),
            5 => Activity::Admitting(number),
            6 => Activity::Opening(number),
            7 => Activity::Stepping(number),
            8 => Activity::Leading,
            9 => Activity::Discovering,
            10 => Activity::Executing,
            11 => Activity::EndingRound,
            12 => Activity::Forwarding,
            13 => Activity::Maintaining,
            _ => Activity::Waiting,
        }
    }

    /// The number of the partition that it is about.
    pub fn partition(self) -> Option<u64> {
        match self {
            Activity::Polling(number) | Activity::Admitting(number) | Activity::Opening(number) => {
                Some(number)
            }
            _ => None,
        }
    }

    /// Whether it may last as long as it likes.
    pub fn is_waiting(self) -> bool {
        matches!(self, Activity::Waiting | Activity::OpeningStore | Activity::ClosingStore)
    }

    /// How long it may last besides what any activity may.
    pub fn grace(self) -> Duration {
        match self {
            Activity::Stepping(pause_ms) => Duration::from_millis(pause_ms),
            _ => Duration::ZERO,
        }
    }
}

impl fmt::Display for Activity {
    /// Formats it without the name of the partition.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Activity::Waiting => "waiting",
            Activity::OpeningStore => "opening the store",
            Activity::ClosingStore => "closing the store",
            Activity::Committing(number) => {
                return write!(formatter, "committing publication {number}");
            }
            Activity::Polling(_) => "reading",
            Activity::Admitting(_) => "judging events of",
            Activity::Opening(_) => "opening",
            Activity::Stepping(_) => "in a step of the dataflows",
            Activity::Leading => "deciding",
            Activity::Discovering => "looking for partitions",
            Activity::Executing => "executing commands",
            Activity::EndingRound => "ending a round, or writing dead letters",
            Activity::Forwarding => "forwarding rows",
            Activity::Maintaining => "maintaining its source",
        })
    }
}

/// What a thread is doing now, and how often it has begun something.
#[derive(Debug, Default)]
pub struct Doing {
    word: AtomicU64,
    begun: AtomicU64,
}

impl Doing {
    /// Notes that its thread begins something. Only that thread may.
    #[inline]
    pub fn begin(&self, activity: Activity) {
        self.word.store(activity.to_word(), Ordering::Relaxed);
        let begun = self.begun.load(Ordering::Relaxed);
        self.begun.store(begun.wrapping_add(1), Ordering::Relaxed);
    }

    /// Returns what it is doing, and how often it has begun something.
    pub fn now(&self) -> (Activity, u64) {
        let activity = Activity::of_word(self.word.load(Ordering::Relaxed));
        (activity, self.begun.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_activity_fits_into_a_word() {
        let doing = Doing::default();
        assert_eq!(doing.now(), (Activity::Waiting, 0));
        let all = [
            Activity::Waiting,
            Activity::OpeningStore,
            Activity::ClosingStore,
            Activity::Committing(7),
            Activity::Polling(0),
            Activity::Admitting(3),
            Activity::Opening((1 << NUMBER_BITS) - 1),
            Activity::Stepping(604_800_000),
            Activity::Leading,
            Activity::Discovering,
            Activity::Executing,
            Activity::EndingRound,
            Activity::Forwarding,
            Activity::Maintaining,
        ];
        for (number, activity) in all.into_iter().enumerate() {
            doing.begin(activity);
            assert_eq!(doing.now(), (activity, number as u64 + 1));
        }
        doing.begin(Activity::Polling(u64::MAX));
        assert_eq!(doing.now().0, Activity::Polling((1 << NUMBER_BITS) - 1));
    }
}
