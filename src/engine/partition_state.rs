//! How far a partition is read, for people: pure functions of what a worker has seen of it.
//!
//! What is not known is `None`: nobody may take it for 0.

use super::holding::Reason;
use crate::log::PartitionName;
use crate::sources::{Lag, Wait};
use std::time::{Duration, Instant};

/// After how long without progress a partition that has more to read has stalled.
pub const STALLED_AFTER: Duration = Duration::from_secs(60);
/// How long ago a partition may have been at its end if its process keeps up.
pub const KEEPS_UP_WITHIN: Duration = Duration::from_secs(60);

/// What a worker has seen of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// The partition.
    pub partition: PartitionName,
    /// The offset after the last record that is processed.
    pub next_offset: u64,
    /// The watermark, in milliseconds.
    pub watermark_ms: Option<i64>,
    /// How much is not processed: bytes of a file, or records of a topic. The events that are read
    /// and not processed are records in both.
    pub lag: Lag,
    /// Whether it is a file.
    pub is_file: bool,
    /// Whether it is at its end, and everything read is processed.
    pub is_at_end: bool,
    /// Whether it holds no epoch open: it is exhausted or idle.
    pub is_idle: bool,
    /// Why its watermark stands still, if it does.
    pub reason: Reason,
    /// When it was last at its end.
    pub ended_at: Option<Instant>,
    /// When it was first seen at this offset.
    pub moved_at: Instant,
}

impl PartitionState {
    /// The records of a topic that are not processed, if anybody knows.
    pub fn lag_records(&self) -> Option<u64> {
        (!self.is_file && self.is_known()).then_some(self.lag.records)
    }

    /// The bytes of a file that are not processed, if anybody knows.
    pub fn lag_bytes(&self) -> Option<u64> {
        (self.is_file && self.is_known()).then_some(self.lag.bytes)
    }

    /// Whether the end of the log is known: a broker that does not answer may have more.
    fn is_known(&self) -> bool {
        !self.lag.is_partial && !matches!(self.reason, Reason::Source(Wait::Broker | Wait::File))
    }

    /// The event time between the last processed event and the clock, in milliseconds; 0 at the end
    /// of the log.
    pub fn time_lag_ms(&self, max_delay_ms: i64, clock_ms: i64) -> Option<i64> {
        if !self.is_known() {
            return None;
        }
        if self.is_at_end {
            return Some(0);
        }
        let latest_ms = self.watermark_ms?.saturating_add(max_delay_ms);
        Some(clock_ms.saturating_sub(latest_ms).max(0))
    }

    /// Whether there is, or may be, something to read and nothing was read for this long, although
    /// it does not wait for another partition.
    pub fn is_stalled(&self, after: Duration, now: Instant) -> bool {
        let has_more = self.lag.bytes > 0 || self.lag.records > 0;
        let is_held = match self.reason {
            Reason::Source(_) => true,
            Reason::BackPressure | Reason::NextPublication | Reason::Reading => has_more,
            Reason::NoData | Reason::Aligned | Reason::EpochNotOpen => false,
        };
        is_held && now.saturating_duration_since(self.moved_at) >= after
    }

    /// What it waits for, as a word; `None` if it is read, or at its end.
    pub fn held_by(&self) -> Option<&'static str> {
        match self.reason {
            Reason::Reading | Reason::NoData => None,
            reason => Some(reason.word()),
        }
    }

    /// Whether it was at its end lately; `None` if that is not known.
    fn keeps_up(&self, now: Instant) -> Option<bool> {
        if self.is_idle || self.is_at_end && self.is_known() {
            return Some(true);
        }
        let within = |at: Instant| now.saturating_duration_since(at) < KEEPS_UP_WITHIN;
        match self.ended_at {
            _ if !self.is_known() => None,
            ended_at => Some(ended_at.is_some_and(within)),
        }
    }
}

/// Whether a process that has run for this long keeps up with all of these partitions; `None` if
/// it has none, or it is not known.
pub fn keeping_up(states: &[PartitionState], ran: Duration, now: Instant) -> Option<bool> {
    if states.is_empty() {
        return None;
    }
    let all: Option<Vec<bool>> = states.iter().map(|state| state.keeps_up(now)).collect();
    let keeps_up = all?.into_iter().all(|one| one);
    (keeps_up || ran >= KEEPS_UP_WITHIN).then_some(keeps_up)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;

    /// A state a line: where it is (`file` or `topic`), its lag (`?` if it is not known), what it
    /// does, for how many seconds its offset stands still, how many seconds ago it was at its end
    /// (`-` never) → records, bytes, event-time lag in seconds, stalled, and whether a process that
    /// has run for an hour keeps up with it. Its last event is 100 s old.
    const STATES: &str = "
        topic 0   no_data         5   0    → 0 - 0   no  yes
        topic 9   reading         0   3    → 9 - 100 no  yes
        topic 9   reading         0   60   → 9 - 100 no  no
        topic 9   reading         0   -    → 9 - 100 no  no
        topic 9   reading         60  70   → 9 - 100 yes no
        topic ?   reading         99  -    → - - -   no  -
        topic 9   broker          59  -    → - - -   no  -
        topic 9   broker          60  0    → - - -   yes -
        topic 0   broker          60  0    → - - -   yes -
        topic 9   schema          60  -    → 9 - 100 yes no
        file  500 reading         1   -    → - 500 100 no  no
        file  500 file            60  -    → - - -   yes -
        file  7   no_data         999 0    → - 7 0   no  yes
        file  500 aligned         999 500  → - 500 100 no  no
        file  500 epoch_not_open  999 500  → - 500 100 no  no
        file  500 back_pressure   61  500  → - 500 100 yes no
        file  500 next_publication 61 500  → - 500 100 yes no
    ";

    fn state(fields: &[&str], now: Instant) -> PartitionState {
        let ago = |seconds: &str| now - Duration::from_secs(seconds.parse().unwrap());
        let is_file = fields[0] == "file";
        let number = fields[1].parse().ok();
        let lag = match is_file {
            true => Lag::of_bytes(number.unwrap()),
            false => Lag::of_records(number),
        };
        let reasons = [
            Reason::NoData,
            Reason::Aligned,
            Reason::EpochNotOpen,
            Reason::NextPublication,
            Reason::BackPressure,
            Reason::Reading,
            Reason::Source(Wait::Broker),
            Reason::Source(Wait::Schema),
            Reason::Source(Wait::File),
        ];
        let reason = reasons.into_iter().find(|reason| reason.word() == fields[2]).unwrap();
        PartitionState {
            partition: PartitionName { kind: Kind::Play, name: "p".into() },
            next_offset: 1,
            watermark_ms: Some(1_000_000 - 100_000 - 7),
            lag,
            is_file,
            is_at_end: fields[4] == "0",
            is_idle: false,
            reason,
            ended_at: (fields[4] != "-").then(|| ago(fields[4])),
            moved_at: ago(fields[3]),
        }
    }

    #[test]
    fn what_is_not_known_is_absent_and_what_waits_for_others_has_not_stalled() {
        let now = Instant::now() + Duration::from_secs(10_000);
        let hour = Duration::from_secs(3_600);
        let shown = |number: Option<u64>| number.map_or("-".to_owned(), |one| one.to_string());
        let word = |is_so: bool| if is_so { "yes" } else { "no" };
        for line in STATES.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (given, expected) = line.split_once('→').unwrap();
            let state = state(&given.split_whitespace().collect::<Vec<_>>(), now);
            let time_lag = state.time_lag_ms(7, 1_000_000).map(|lag| lag as u64 / 1_000);
            let keeps_up = keeping_up(std::slice::from_ref(&state), hour, now).map(word);
            let found = [
                shown(state.lag_records()),
                shown(state.lag_bytes()),
                shown(time_lag),
                word(state.is_stalled(STALLED_AFTER, now)).to_owned(),
                keeps_up.unwrap_or("-").to_owned(),
            ];
            let expected: Vec<&str> = expected.split_whitespace().collect();
            assert_eq!(found.as_slice(), expected.as_slice(), "{line}");
        }
    }

    #[test]
    fn a_process_keeps_up_if_all_its_partitions_do() {
        let now = Instant::now() + Duration::from_secs(10_000);
        let of = |line: &str| state(&line.split_whitespace().collect::<Vec<_>>(), now);
        let (ended, behind) = (of("topic 0 no_data 5 0"), of("topic 9 reading 0 70"));
        let silent = of("topic 0 broker 5 70");
        let (minute, second) = (Duration::from_secs(60), Duration::from_secs(1));
        let both = [ended.clone(), behind.clone()];
        assert_eq!(keeping_up(&both, minute, now), Some(false));
        // It has just begun.
        assert_eq!(keeping_up(&both, second, now), None);
        assert_eq!(keeping_up(std::slice::from_ref(&ended), second, now), Some(true));
        assert_eq!(keeping_up(&[ended, silent], minute, now), None);
        assert_eq!(keeping_up(&[], minute, now), None);
        let idle = PartitionState { is_idle: true, ..behind };
        assert_eq!(keeping_up(&[idle], minute, now), Some(true));
    }
}
