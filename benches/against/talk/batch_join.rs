//! Attempt III: each batch of one side is joined with the window of the other side, the last
//! batches up to now.

use crate::harness::Design;
use crate::log::{Arrived, counts};
use crate::output::Element;
use foldhash::{HashMap, HashMapExt};
use std::collections::VecDeque;

/// The events of the last batches.
pub struct BatchJoin {
    batches: u64,
    impressions: VecDeque<Vec<Arrived>>,
    plays: VecDeque<Vec<Arrived>>,
}

impl BatchJoin {
    /// A job with windows of `batches` batches.
    pub fn new(batches: u64) -> BatchJoin {
        BatchJoin { batches, impressions: VecDeque::new(), plays: VecDeque::new() }
    }
}

/// The epochs of a batch's events by their showings.
fn indexed(batch: &[Arrived]) -> HashMap<([u64; 2], u64), Vec<i64>> {
    let mut index: HashMap<_, Vec<i64>> = HashMap::new();
    for event in batch {
        index.entry(event.showing()).or_default().push(event.epoch);
    }
    index
}

impl Design for BatchJoin {
    fn process(&mut self, _batch: u64, arrived: Vec<Arrived>) -> Vec<Element> {
        let (plays, impressions): (Vec<_>, Vec<_>) =
            arrived.into_iter().partition(|event| event.is_play);
        let mut elements: Vec<Element> = impressions.iter().map(Element::shown).collect();
        // New impressions with the plays of earlier batches.
        let shown = indexed(&impressions);
        for play in self.plays.iter().flatten() {
            let epochs = shown.get(&play.showing()).into_iter().flatten();
            for &epoch in epochs.filter(|&&epoch| counts(epoch, play.epoch)) {
                elements.push(Element::played(&Arrived { epoch, ..*play }));
            }
        }
        // New plays with the impressions of earlier batches and of this one.
        self.impressions.push_back(impressions);
        let played = indexed(&plays);
        for impression in self.impressions.iter().flatten() {
            let epochs = played.get(&impression.showing()).into_iter().flatten();
            if epochs.into_iter().any(|&play| counts(impression.epoch, play)) {
                elements.push(Element::played(impression));
            }
        }
        self.plays.push_back(plays);
        if self.plays.len() as u64 > self.batches {
            self.impressions.pop_front();
            self.plays.pop_front();
        }
        elements.sort_unstable();
        elements.dedup();
        elements
    }

    fn held(&self) -> usize {
        let events = |side: &VecDeque<Vec<Arrived>>| side.iter().map(Vec::len).sum::<usize>();
        events(&self.impressions) + events(&self.plays)
    }

    /// The first batch of the windows.
    fn reads_again_from(&self, last: u64) -> u64 {
        (last + 1).saturating_sub(self.batches)
    }
}
