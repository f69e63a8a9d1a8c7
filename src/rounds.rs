//! Rounds: the timestamps of the dataflows of epochs, and their division into publications.
//!
//! A round is a small batch of events on one worker; its number is the publication that it
//! belongs to in the upper bits and a tick in the lower. Rounds of different workers need not
//! correspond: only the borders of publications do, and no worker enters a publication before
//! worker 0 has begun it.

const TICK_BITS: u32 = 24;

/// The publication in which a job rebuilds the state that its store reflects. Nothing of it is
/// committed. Publications are numbered from it on, so that no round is 0, the time at which every
/// dataflow starts.
pub const REPLAY: u64 = 1;

/// The first round of a publication.
pub fn first(publication: u64) -> u64 {
    publication << TICK_BITS
}

/// The last round of a publication.
pub fn last(publication: u64) -> u64 {
    first(publication + 1) - 1
}

/// The publication that a round belongs to.
pub fn publication(round: u64) -> u64 {
    round >> TICK_BITS
}

/// The round after this one, if the publication has one.
pub fn next(round: u64) -> Option<u64> {
    (publication(round + 1) == publication(round)).then_some(round + 1)
}
