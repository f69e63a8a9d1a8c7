//! Attempt I: "window both plays and impressions by epoch duration, join the two windows together,
//! slide by epoch duration". The windows are of processing time, from the start of the job.

use crate::harness::Design;
use crate::log::{Arrived, counts};
use crate::output::Element;
use foldhash::{HashMap, HashMapExt};

/// The events of the open window.
pub struct WindowJoin {
    batches: u64,
    /// The first batch of the job, at which a window begins.
    first: u64,
    impressions: Vec<Arrived>,
    plays: Vec<Arrived>,
}

impl WindowJoin {
    /// A job with windows of `batches` batches.
    pub fn new(batches: u64, first: u64) -> WindowJoin {
        WindowJoin { batches, first, impressions: Vec::new(), plays: Vec::new() }
    }

    fn join(&mut self) -> Vec<Element> {
        let mut played: HashMap<_, Vec<i64>> = HashMap::new();
        for play in self.plays.drain(..) {
            played.entry(play.showing()).or_default().push(play.epoch);
        }
        let mut elements = Vec::new();
        for impression in self.impressions.drain(..) {
            elements.push(Element::shown(&impression));
            let plays = played.get(&impression.showing()).into_iter().flatten();
            if plays.into_iter().any(|&play| counts(impression.epoch, play)) {
                elements.push(Element::played(&impression));
            }
        }
        elements.sort_unstable();
        elements.dedup();
        elements
    }
}

impl Design for WindowJoin {
    fn process(&mut self, batch: u64, arrived: Vec<Arrived>) -> Vec<Element> {
        for event in arrived {
            let side = if event.is_play { &mut self.plays } else { &mut self.impressions };
            side.push(event);
        }
        let is_last_of_window = (batch + 1 - self.first).is_multiple_of(self.batches);
        if is_last_of_window { self.join() } else { Vec::new() }
    }

    fn held(&self) -> usize {
        self.impressions.len() + self.plays.len()
    }

    /// The first batch of the open window.
    fn reads_again_from(&self, last: u64) -> u64 {
        let read = last + 1 - self.first;
        self.first + read - read % self.batches
    }
}
