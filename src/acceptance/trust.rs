//! Which stamps of a partition are plausible: the time that is trusted.
//!
//! The *stamp* of an event is the timestamp of its record, or its event time if there is none. Any
//! producer can claim any stamp, so a stamp alone proves nothing. With the maximum leap `J` and the
//! support `K` of the definition, and all events of the partition counted in the order of the log:
//!
//! - A *block* is `K` consecutive events; the first begins with the first event. A block that is
//!   not complete within `16 K` offsets is given up: the next event begins a new one.
//! - The *supported time* is the running maximum, over the complete blocks so far, of the lower
//!   median of the block's stamps: the element number `ceil(K / 2)` in ascending order.
//! - A stamp is plausible if it is at most `J` after the supported time. (Before the first block is
//!   complete, there is no supported time, and no stamp is plausible for this reason.)
//! - Otherwise it is plausible if and only if at least half of the `K` events that begin with its
//!   own have stamps no more than `J` before it. These events must lie within `16 K` offsets.
//! - If there are fewer events, the log alone does not decide. A *decision* is made once, recorded
//!   ([`Decision`]) and repeated by every replay. At an exhausted end, at least half of the events
//!   that there are must be as above. At a live end, and among records of which few are events, the
//!   stamp must not be later than a limit that the clock gave when a publication began.
//!
//! So a plausible stamp is supported by half of `K` events next to it, or it is not later than the
//! clock. ARCHITECTURE.md argues what follows if fewer than half are wrong.

use crate::event::Event;
use crate::log::Decision;
use crate::time::Definition;

/// The number of decisions of a partition beyond which a stamp that was refused stays refused. One
/// more decision is needed when the clock has passed such a stamp, so a producer could cause one in
/// each publication.
const DECISIONS_MAX: usize = 256;

/// The number of offsets in which `K` events must lie to support a time, as a multiple of `K`. It
/// bounds what is read ahead, and what is read again after a restart.
const SPAN: u64 = 16;

/// What is known about the end of a partition's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEnd {
    /// More records can be read now.
    NotReached,
    /// More records may follow later.
    Live,
    /// No more records will follow.
    Exhausted,
}

/// The limit that the clock gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockLimit {
    /// Stamps up to here are plausible, in milliseconds.
    pub limit_ms: i64,
    /// Whether later stamps are not plausible. Otherwise, a later limit decides on them.
    pub is_final: bool,
}

/// The next events of a partition, and what is known about what follows them.
#[derive(Clone, Copy, Debug)]
pub struct Ahead<'a> {
    /// The events that were read and are not judged, at least one.
    pub events: &'a [Event],
    /// The offset up to which records were read.
    pub next_offset: u64,
    /// Whether there are more.
    pub end: LogEnd,
    /// The limit for stamps that the log alone does not decide on.
    pub clock: ClockLimit,
}

impl Ahead<'_> {
    /// The last events of an exhausted partition, which ends after them.
    pub fn exhausted(events: &[Event]) -> Ahead<'_> {
        Ahead {
            events,
            next_offset: events.last().map_or(0, |event| event.offset + 1),
            end: LogEnd::Exhausted,
            clock: ClockLimit { limit_ms: i64::MIN, is_final: true },
        }
    }
}

/// Why an event cannot be judged yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// More of the records that follow must be read.
    Followers,
    /// The log ends, and a limit of the clock is needed.
    Clock,
}

/// The trusted time of one partition.
#[derive(Clone, Debug)]
pub struct Trust {
    max_leap_ms: i64,
    support: usize,
    supported_ms: Option<i64>,
    /// Stamps up to here are plausible, in milliseconds: the supported time plus the maximum leap.
    plausible_through_ms: i64,
    /// The stamps of the current block.
    stamps: Vec<i64>,
    /// The offset at which the current block is given up if it is not complete.
    block_ends: u64,
    decisions: Vec<Decision>,
    /// Whether the last decision may be extended: no later event was judged by its followers.
    is_extensible: bool,
}

impl Trust {
    /// Returns the trusted time at the beginning of a block, with the decisions on later events.
    pub fn new(
        definition: &Definition,
        supported_ms: Option<i64>,
        decisions: Vec<Decision>,
    ) -> Trust {
        let mut trust = Trust {
            max_leap_ms: definition.max_leap_ms,
            support: definition.leap_support,
            supported_ms: None,
            plausible_through_ms: i64::MIN,
            stamps: Vec::new(),
            block_ends: 0,
            decisions,
            is_extensible: false,
        };
        if let Some(supported_ms) = supported_ms {
            trust.raise(supported_ms);
        }
        trust
    }

    /// Returns the supported time, in milliseconds.
    pub fn supported_ms(&self) -> Option<i64> {
        self.supported_ms
    }

    /// Returns the decisions so far.
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// Forgets the decisions on events before an offset.
    pub fn forget_before(&mut self, offset: u64) {
        self.decisions.retain(|decision| decision.last >= offset);
    }

    /// The number of offsets in which the events of a block must lie.
    fn span(&self) -> u64 {
        SPAN * self.support as u64
    }

    /// Whether the stamp of the first of these events is plausible.
    ///
    /// # Errors
    /// If that cannot be said yet.
    #[inline]
    pub fn is_plausible(&mut self, ahead: &Ahead<'_>) -> Result<bool, Missing> {
        if ahead.events[0].stamp_ms() <= self.plausible_through_ms {
            return Ok(true);
        }
        self.is_leap_plausible(ahead)
    }

    /// Takes the stamps of events that are judged into account. They must be of one block.
    #[inline]
    pub fn pass(&mut self, events: &[Event]) {
        let Some(first) = events.first() else { return };
        if self.begins_block_at(first.offset) {
            self.stamps.clear();
            self.block_ends = first.offset.saturating_add(self.span());
        }
        self.stamps.extend(events.iter().map(Event::stamp_ms));
        if self.stamps.len() == self.support {
            self.end_block();
        }
    }

    /// Returns the stamps that are plausible whatever follows, in milliseconds: those up to here.
    pub fn plausible_through_ms(&self) -> i64 {
        self.plausible_through_ms
    }

    /// Returns how many of the next events may be of one block, and the offset before which they
    /// must lie. The first of them is at `offset` or later.
    pub fn room_in_block(&self, offset: u64) -> (usize, u64) {
        match self.begins_block_at(offset) {
            true => (self.support, offset.saturating_add(self.span())),
            false => (self.support - self.stamps.len(), self.block_ends),
        }
    }

    /// Whether an event at this offset or later would begin a block.
    #[inline]
    pub fn begins_block_at(&self, offset: u64) -> bool {
        self.stamps.is_empty() || offset >= self.block_ends
    }

    fn end_block(&mut self) {
        let middle = (self.support - 1) / 2;
        let (_, median_ms, _) = self.stamps.select_nth_unstable(middle);
        let median_ms = *median_ms;
        self.stamps.clear();
        self.raise(median_ms);
    }

    fn raise(&mut self, supported_ms: i64) {
        if Some(supported_ms) > self.supported_ms {
            self.supported_ms = Some(supported_ms);
            self.plausible_through_ms = supported_ms.saturating_add(self.max_leap_ms);
        }
    }

    #[cold]
    fn is_leap_plausible(&mut self, ahead: &Ahead<'_>) -> Result<bool, Missing> {
        let Event { offset, .. } = ahead.events[0];
        let stamp_ms = ahead.events[0].stamp_ms();
        if let Some(decision) = self.decision_on(offset) {
            return Ok(decision.is_plausible(stamp_ms));
        }
        let end = offset.saturating_add(self.span());
        let near = &ahead.events[..ahead.events.len().min(self.support)];
        let near = &near[..near.partition_point(|event| event.offset < end)];
        if near.len() == self.support {
            self.is_extensible = false;
            return Ok(self.is_supported(near));
        }
        let ClockLimit { limit_ms, is_final } = ahead.clock;
        match ahead.end {
            LogEnd::NotReached if ahead.next_offset < end => Err(Missing::Followers),
            LogEnd::Exhausted if ahead.next_offset < end => {
                Ok(self.decide(offset, stamp_ms, self.is_supported(near)))
            }
            _ if stamp_ms <= limit_ms => Ok(self.decide(offset, stamp_ms, true)),
            _ if is_final => Ok(self.decide(offset, stamp_ms, false)),
            _ => Err(Missing::Clock),
        }
    }

    fn decision_on(&self, offset: u64) -> Option<&Decision> {
        let at = self.decisions.partition_point(|decision| decision.last < offset);
        self.decisions.get(at).filter(|decision| decision.first <= offset)
    }

    /// Whether at least half of these events have stamps near that of the first, or later.
    fn is_supported(&self, events: &[Event]) -> bool {
        let least_ms = events[0].stamp_ms().saturating_sub(self.max_leap_ms);
        let supporters = events.iter().filter(|event| event.stamp_ms() >= least_ms).count();
        2 * supporters >= events.len()
    }

    /// Records a decision on an event. Returns whether its stamp is plausible.
    fn decide(&mut self, offset: u64, stamp_ms: i64, is_plausible: bool) -> bool {
        let is_full = self.decisions.len() >= DECISIONS_MAX;
        if let Some(last) = self.decisions.last_mut() {
            if offset <= last.last {
                // The log has lost records that followed: the digests will differ.
                return is_plausible;
            }
            let agrees = last.agrees_with(stamp_ms, is_plausible);
            if self.is_extensible && (agrees || is_full) {
                let is_plausible = if agrees { is_plausible } else { last.is_plausible(stamp_ms) };
                last.extend(offset, stamp_ms, is_plausible);
                return is_plausible;
            }
        }
        self.decisions.push(Decision::new(offset, stamp_ms, is_plausible));
        self.is_extensible = true;
        is_plausible
    }
}

#[cfg(test)]
mod tests;
