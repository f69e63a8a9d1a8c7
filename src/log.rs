//! The partitions of the logs, and how far each was read.

use crate::event::Kind;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of a partition, the same in every process and after a restart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionName {
    /// The log that the partition belongs to.
    pub kind: Kind,
    /// The name within the log: a file path, or a topic and partition number.
    pub name: String,
}

impl fmt::Display for PartitionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.kind.topic(), self.name)
    }
}

/// The file that holds the log of a partition. Its path may change, the log does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFile {
    /// The path of the file when it was last seen.
    pub path: String,
    /// The number of bytes that were read of it, so that it has at least as many; 0 if the path is
    /// that of a compressed file.
    pub read_bytes: u64,
    /// How the log begins.
    pub beginning: Beginning,
}

/// How a log begins: it tells one log from another when files are renamed or replaced.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Beginning {
    /// The number of bytes that the digest covers: 4 KiB, or as many as there were.
    pub bytes: u64,
    /// The first 128 bits of their BLAKE3 hash, in hexadecimal digits.
    pub digest: String,
}

/// What the judgement of a partition's events rests on, at the first event of a block of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlockStart {
    /// The offset of the first event of the block.
    pub offset: u64,
    /// The watermark before it, in milliseconds.
    pub watermark_ms: Option<i64>,
    /// The supported time before it, in milliseconds; `None` in the first block.
    pub supported_ms: Option<i64>,
}

/// Verdicts on the stamps of events that did not follow from the log alone, because the log ended
/// too early after them. They are committed, so that a replay repeats them.
///
/// Of the events in `first ..= last` whose stamp the supported time does not cover, those are
/// plausible whose stamp is at most `plausible_max_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The offset of the first event that was decided on.
    pub first: u64,
    /// The offset of the last event that was decided on.
    pub last: u64,
    /// The largest stamp that is plausible, in milliseconds; `None` if no stamp is.
    pub plausible_max_ms: Option<i64>,
    /// The smallest stamp that is not plausible, in milliseconds; `None` if every stamp is.
    pub implausible_min_ms: Option<i64>,
}

impl Decision {
    /// Returns the decision on one event.
    pub fn new(offset: u64, stamp_ms: i64, is_plausible: bool) -> Decision {
        let plausible_max_ms = is_plausible.then_some(stamp_ms);
        let implausible_min_ms = (!is_plausible).then_some(stamp_ms);
        Decision { first: offset, last: offset, plausible_max_ms, implausible_min_ms }
    }

    /// Whether a stamp is plausible, in milliseconds.
    pub fn is_plausible(&self, stamp_ms: i64) -> bool {
        self.plausible_max_ms.is_some_and(|most_ms| stamp_ms <= most_ms)
    }

    /// Whether a verdict on one more event is consistent with the verdicts so far.
    pub fn agrees_with(&self, stamp_ms: i64, is_plausible: bool) -> bool {
        match is_plausible {
            true => self.implausible_min_ms.is_none_or(|least_ms| stamp_ms < least_ms),
            false => self.plausible_max_ms.is_none_or(|most_ms| stamp_ms > most_ms),
        }
    }

    /// Includes the verdict on a later event.
    pub fn extend(&mut self, offset: u64, stamp_ms: i64, is_plausible: bool) {
        self.last = offset;
        if is_plausible {
            self.plausible_max_ms = self.plausible_max_ms.max(Some(stamp_ms));
        } else {
            let least_ms = self.implausible_min_ms.map_or(stamp_ms, |least| least.min(stamp_ms));
            self.implausible_min_ms = Some(least_ms);
        }
    }
}

/// What is, or may be, missing of a log in the store, although it was to be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// The offset of the first record that is, or may be, missing.
    pub offset: u64,
    /// What has happened to the log.
    pub cause: LossCause,
}

/// What has happened to a log of which something is, or may be, missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LossCause {
    /// Its file cannot be read to its end; where, and why not, as text.
    Damaged(String),
    /// Its file was cut or written anew while it was followed, and no copy was found.
    Cut,
    /// Its file was removed or replaced before it was read to its end.
    Removed,
    /// Its records were not read again for the open epochs, which became final as they were.
    NotReplayed,
}

impl Loss {
    /// Whether it remains although a file holds the log (again), so that reading goes on.
    pub fn outlives_file(&self) -> bool {
        matches!(self.cause, LossCause::Damaged(_) | LossCause::NotReplayed)
    }

    /// Whether records are missing for certain, in a file that is there.
    pub fn is_damage(&self) -> bool {
        matches!(self.cause, LossCause::Damaged(_))
    }

    /// Notes this loss as that of a partition, unless a known one is as grave. Returns whether it
    /// did. Damage is the gravest, and what a file may give back is the least.
    pub fn note_in(self, known: &mut Option<Loss>) -> bool {
        let gravity = |loss: &Loss| (loss.is_damage(), loss.outlives_file());
        let is_graver = known.as_ref().is_none_or(|known| gravity(known) < gravity(&self));
        if is_graver {
            *known = Some(self);
        }
        is_graver
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = self.offset;
        match &self.cause {
            LossCause::Damaged(why) => write!(formatter, "cannot be read to its end: {why}"),
            LossCause::Cut => write!(
                formatter,
                "was cut or written anew, without a copy, and what followed offset {offset}, if \
                 anything, is lost"
            ),
            LossCause::Removed => write!(
                formatter,
                "was removed or replaced, and what followed offset {offset}, if anything, is lost"
            ),
            LossCause::NotReplayed => write!(
                formatter,
                "was not read again from offset {offset} on (--accept-loss), so that later events \
                 of its open epochs are late"
            ),
        }
    }
}

/// The position of a partition as of a publication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionProgress {
    /// The partition.
    pub partition: PartitionName,
    /// The offset after the last record that the publication includes.
    pub next_offset: u64,
    /// The watermark, in milliseconds; `None` before the first event that is not future.
    pub watermark_ms: Option<i64>,
    /// The first offset that contributed to an epoch not yet final; `next_offset` if there is none.
    pub replay_offset: u64,
    /// The watermark just before the replay offset, in milliseconds.
    pub replay_watermark_ms: Option<i64>,
    /// The start of the block of events that contains the replay offset. Reading resumes there.
    pub block: BlockStart,
    /// The decisions on events of this block or later, in order.
    pub decisions: Vec<Decision>,
    /// The number of malformed records: in total, or since the previous publication, depending on
    /// the containing struct.
    pub malformed: u64,
    /// Whether the partition holds no epoch open, because it is exhausted or idle.
    pub idle: bool,
    /// The file that holds it, unless it is in Kafka or in memory.
    pub file: Option<LogFile>,
    /// What is, or may be, missing of it.
    pub lost: Option<Loss>,
}

/// Returns the lowest watermark of the partitions that hold epochs open, in milliseconds, or the
/// highest watermark of all partitions if none of them does.
pub fn watermark_ms<'a>(
    partitions: impl IntoIterator<Item = &'a PartitionProgress> + Clone,
) -> Option<i64> {
    let active = partitions.clone().into_iter().filter(|progress| !progress.idle);
    match active.map(|progress| progress.watermark_ms).min() {
        Some(least_ms) => least_ms,
        None => partitions.into_iter().filter_map(|progress| progress.watermark_ms).max(),
    }
}

#[cfg(test)]
impl PartitionProgress {
    /// A partition that was read up to an offset and needs no replay, for tests.
    pub fn read_to(partition: PartitionName, next_offset: u64) -> PartitionProgress {
        PartitionProgress {
            partition,
            next_offset,
            watermark_ms: None,
            replay_offset: next_offset,
            replay_watermark_ms: None,
            block: BlockStart::default(),
            decisions: Vec::new(),
            malformed: 0,
            idle: false,
            file: None,
            lost: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_losses_the_gravest_is_kept() {
        let damaged = LossCause::Damaged("line 3: damaged".into());
        // What is known, what is found, and whether that is graver.
        let cases = [
            (None, LossCause::Cut, true),
            (Some(LossCause::Cut), LossCause::Removed, false),
            (Some(LossCause::Removed), LossCause::NotReplayed, true),
            (Some(LossCause::Removed), damaged.clone(), true),
            (Some(LossCause::NotReplayed), damaged.clone(), true),
            (Some(LossCause::NotReplayed), LossCause::Cut, false),
            (Some(damaged.clone()), LossCause::NotReplayed, false),
            (Some(damaged.clone()), damaged, false),
        ];
        for (before, cause, is_graver) in cases {
            let before = before.map(|cause| Loss { offset: 3, cause });
            let (found, mut known) = (Loss { offset: 5, cause }, before.clone());
            assert_eq!(found.clone().note_in(&mut known), is_graver, "{before:?} {found:?}");
            assert_eq!(known, if is_graver { Some(found) } else { before });
        }
    }
}
