//! Decides whether an event counts, and in which epochs.

use crate::event::Kind;
use crate::time::{Definition, Epoch, EpochRange, Through};

/// The facts about an event that follow from its partition's log, up to and including the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The epoch of the event time.
    pub epoch: Epoch,
    /// Whether the event time lies too far after the timestamp of the record.
    pub is_future: bool,
    /// Whether the event time is before all that count.
    pub is_early: bool,
    /// The epochs that have closed for the partition.
    pub closed_through: Through,
}

/// The outcome for an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It contributes to these epochs; the range is not empty.
    Accepted(EpochRange),
    /// All epochs that it could contribute to have closed, or lie before those that count.
    Late,
    /// Its event time lies too far after the timestamp of its record.
    Future,
}

/// Decides on an event of the given kind. `closed_by_job` holds the epochs that the job has closed.
///
/// An impression contributes to its own epoch, a play or denial in epoch `q` to each epoch in
/// `q - H ..= q`,
/// except those that have closed for its partition or for the job.
#[inline]
pub fn admit(
    definition: &Definition,
    kind: Kind,
    reading: &Reading,
    closed_by_job: Through,
) -> Fate {
    if reading.is_future {
        return Fate::Future;
    }
    if reading.is_early {
        return Fate::Late;
    }
    let reach = match kind {
        Kind::Impression => EpochRange::only(reading.epoch),
        Kind::Play | Kind::Denial => definition.impression_epochs(reading.epoch),
    };
    let open = reading.closed_through.max(closed_by_job).remainder(reach);
    if open.is_empty() { Fate::Late } else { Fate::Accepted(open) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `kind epoch [future|early]; closed for the partition; closed for the job → fate`, with a
    /// join window of 4 epochs.
    const TABLE: &str = "
        impression 7;        nothing;    nothing    → 7..7
        impression 7;        6;          nothing    → 7..7
        impression 7;        7;          nothing    → late
        impression 7;        nothing;    7          → late
        impression 7;        nothing;    everything → late
        impression 7 future; nothing;    nothing    → future
        impression 7 future; 9;          nothing    → future
        play 7;              nothing;    nothing    → 3..7
        play 7;              4;          nothing    → 5..7
        play 7;              4;          6          → 7..7
        play 7;              6;          4          → 7..7
        play 7;              7;          4          → late
        play 7;              nothing;    everything → late
        play 7 future;       nothing;    nothing    → future
        impression 7 early;  nothing;    nothing    → late
        play 7 early;        nothing;    nothing    → late
        denial 7;            nothing;    nothing    → 3..7
        denial 7;            4;          6          → 7..7
        denial 7;            7;          4          → late
        denial 7 future;     nothing;    nothing    → future
    ";

    fn through(text: &str) -> Through {
        match text {
            "nothing" => Through::Nothing,
            "everything" => Through::Everything,
            epoch => Through::Epoch(Epoch(epoch.parse().unwrap())),
        }
    }

    fn fate(event: &str, partition: &str, job: &str) -> String {
        let words: Vec<&str> = event.split_whitespace().collect();
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == words[0]).unwrap();
        let reading = Reading {
            epoch: Epoch(words[1].parse().unwrap()),
            is_future: words.get(2) == Some(&"future"),
            is_early: words.get(2) == Some(&"early"),
            closed_through: through(partition),
        };
        match admit(&Definition::default(), kind, &reading, through(job)) {
            Fate::Accepted(epochs) => format!("{}..{}", epochs.first, epochs.last),
            Fate::Late => "late".into(),
            Fate::Future => "future".into(),
        }
    }

    #[test]
    fn an_event_counts_in_the_open_epochs_of_its_reach() {
        for line in TABLE.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (given, expected) = line.split_once('→').unwrap();
            let [event, partition, job] =
                given.split(';').map(str::trim).collect::<Vec<_>>().try_into().unwrap();
            assert_eq!(fate(event, partition, job), expected.trim(), "{line}");
        }
    }
}
