//! Who holds the job: the partition with the lowest watermark, since when, and why.
//!
//! For people only: no decision depends on it.

use super::protocol::SlowestWatermark;
use crate::log::PartitionName;
use crate::sources::Wait;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::{Duration, Instant};

/// After how long without progress people are warned; again whenever it has doubled.
const WARN_AFTER: Duration = Duration::from_secs(30);

/// Why the watermark of a partition stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// It has no more records, and is not idle yet.
    NoData,
    /// Its source waits.
    Source(Wait),
    /// It would run too far ahead of the slowest partition.
    Aligned,
    /// An epoch that its next event needs is not open on every worker.
    EpochNotOpen,
    /// Its next event waits for the beginning of a publication.
    NextPublication,
    /// Its worker takes no more events until some are processed or published.
    BackPressure,
    /// It is being read.
    Reading,
}

impl Reason {
    /// A word for programs.
    pub fn word(self) -> &'static str {
        match self {
            Reason::NoData => "no_data",
            Reason::Source(Wait::Schema) => "schema",
            Reason::Source(Wait::File) => "file",
            Reason::Source(Wait::Broker) => "broker",
            Reason::Aligned => "aligned",
            Reason::EpochNotOpen => "epoch_not_open",
            Reason::NextPublication => "next_publication",
            Reason::BackPressure => "back_pressure",
            Reason::Reading => "reading",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Reason::NoData => "it has no more records, and is not idle yet (--idle-timeout)",
            Reason::Source(Wait::Schema) => {
                "the schema registry does not give a schema that it needs"
            }
            Reason::Source(Wait::File) => "its file was moved or cut, and is being looked for",
            Reason::Source(Wait::Broker) => "its broker does not answer",
            Reason::Aligned => "it is too far ahead of the slowest partition (--alignment)",
            Reason::EpochNotOpen => "an epoch that it needs is not open yet",
            Reason::NextPublication => "its next event waits for the next publication",
            Reason::BackPressure => "back-pressure: its worker or the store is behind",
            Reason::Reading => "its records do not move its watermark",
        })
    }
}

/// The partition with the lowest watermark, and why that stands still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The partition.
    pub partition: PartitionName,
    /// The reason.
    pub reason: Reason,
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.partition, self.reason)
    }
}

/// Follows who holds the job.
#[derive(Debug, Default)]
pub struct Holding {
    /// The lowest watermark, and the partition that has it.
    lowest: Option<(SlowestWatermark, Holder)>,
    since: Option<Instant>,
    /// How long it must last before people are warned again.
    warned_after: Duration,
}

impl Holding {
    /// Notes the lowest watermark at this time and the partition that has it; `None` if no
    /// partition is active. Returns a warning when it has lasted long.
    pub fn update(
        &mut self,
        lowest: Option<(SlowestWatermark, Holder)>,
        now: Instant,
    ) -> Option<String> {
        let mark = |lowest: &Option<(SlowestWatermark, Holder)>| {
            lowest.as_ref().map(|(watermark, holder)| (*watermark, holder.partition.clone()))
        };
        if self.since.is_none() || mark(&lowest) != mark(&self.lowest) {
            self.since = Some(now);
            self.warned_after = WARN_AFTER;
        }
        self.lowest = lowest;
        let (holder, lasted) = self.now(now)?;
        (lasted >= self.warned_after).then(|| {
            self.warned_after = 2 * lasted;
            format!("for {} s no epoch could close because of {holder}", lasted.as_secs())
        })
    }

    /// Returns who holds the job, and for how long it has.
    pub fn now(&self, now: Instant) -> Option<(Holder, Duration)> {
        let (_, holder) = self.lowest.as_ref()?;
        Some((holder.clone(), now.duration_since(self.since?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;

    fn holder(name: &str, reason: Reason) -> Holder {
        Holder { partition: PartitionName { kind: Kind::Play, name: name.into() }, reason }
    }

    #[test]
    fn who_holds_for_30_s_is_named_and_again_when_that_has_doubled() {
        let start = Instant::now();
        let mut holding = Holding::default();
        let at = |watermark, name, reason| Some((watermark, holder(name, reason)));
        let (first, second) = (SlowestWatermark::At(7), SlowestWatermark::At(8));
        let steps = [
            (0, at(SlowestWatermark::Unknown, "a", Reason::NoData), None),
            (29, at(SlowestWatermark::Unknown, "a", Reason::NoData), None),
            (30, at(SlowestWatermark::Unknown, "a", Reason::BackPressure), Some("for 30 s")),
            (59, at(SlowestWatermark::Unknown, "a", Reason::NoData), None),
            (61, at(SlowestWatermark::Unknown, "a", Reason::NoData), Some("for 61 s")),
            (70, at(first, "a", Reason::Reading), None),
            (99, at(first, "b", Reason::Reading), None),
            (130, at(first, "b", Reason::Reading), Some("for 31 s")),
            (131, at(second, "b", Reason::Reading), None),
            (200, None, None),
            (300, None, None),
        ];
        for (second, lowest, expected) in steps {
            let said = holding.update(lowest, start + Duration::from_secs(second));
            match expected {
                None => assert_eq!(said, None, "{second} s"),
                Some(begin) => assert!(said.clone().unwrap().starts_with(begin), "{said:?}"),
            }
        }
        assert_eq!(holding.now(start + Duration::from_secs(300)), None);
        holding.update(at(first, "b", Reason::Aligned), start + Duration::from_secs(301));
        let (held, lasted) = holding.now(start + Duration::from_secs(305)).unwrap();
        assert_eq!((held, lasted.as_secs()), (holder("b", Reason::Aligned), 4));
    }
}
