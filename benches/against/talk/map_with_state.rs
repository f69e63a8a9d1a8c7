//! Attempt II: `mapWithState`. "The join key is the `mapWithState` key. The state is the plays and
//! impressions sharing the same join key." A state without events for the timeout is dropped.
//!
//! As in Spark, each tenth batch scans all states, drops those that timed out, and writes the rest
//! as a checkpoint.

use crate::harness::Design;
use crate::log::{Arrived, counts};
use crate::output::Element;
use foldhash::{HashMap, HashMapExt};
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Spark's default: a checkpoint every ten batches.
const CHECKPOINT_BATCHES: u64 = 10;

/// What is known of a request.
#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    /// The batch of the last event.
    updated: u64,
    /// Different plays and impressions: the video, the epoch, and whether it is a play.
    events: Vec<(u64, i64, bool)>,
}

/// The states of the requests.
pub struct MapWithState {
    timeout_batches: u64,
    states: HashMap<[u64; 2], State>,
    /// The number of events in them.
    held: usize,
}

impl MapWithState {
    /// A job whose states time out after `timeout_batches` without an event.
    pub fn new(timeout_batches: u64) -> MapWithState {
        MapWithState { timeout_batches, states: HashMap::new(), held: 0 }
    }

    /// The mapping function: adds an event to the state of its request, and gives what it adds to
    /// the sets.
    fn update(&mut self, batch: u64, event: Arrived, elements: &mut Vec<Element>) {
        let state = self.states.entry(event.request).or_default();
        state.updated = batch;
        let new = (event.video, event.epoch, event.is_play);
        if state.events.contains(&new) {
            return;
        }
        let others = state
            .events
            .iter()
            .filter(|(video, _, is_play)| *video == event.video && *is_play != event.is_play);
        if event.is_play {
            for (_, epoch, _) in others.filter(|(_, shown, _)| counts(*shown, event.epoch)) {
                elements.push(Element::played(&Arrived { epoch: *epoch, ..event }));
            }
        } else {
            elements.push(Element::shown(&event));
            if others.into_iter().any(|(_, played, _)| counts(event.epoch, *played)) {
                elements.push(Element::played(&event));
            }
        }
        state.events.push(new);
        self.held += 1;
    }

    fn path(folder: &Path, worker: usize, batch: u64) -> PathBuf {
        folder.join(format!("state-{worker}-{batch}"))
    }

    /// Writes all states as words, and removes the checkpoint before the last. It survives the
    /// process, as the table does, not the machine.
    fn write(&self, folder: &Path, worker: usize, batch: u64) {
        let path = Self::path(folder, worker, batch);
        let mut file = BufWriter::new(fs::File::create(&path).unwrap());
        for (request, state) in &self.states {
            let count = state.events.len() as u64;
            let head = [request[0], request[1], state.updated, count];
            file.write_all(bytemuck::cast_slice(&head)).unwrap();
            for &(video, epoch, is_play) in &state.events {
                let words = [video, epoch as u64, u64::from(is_play)];
                file.write_all(bytemuck::cast_slice(&words)).unwrap();
            }
        }
        file.flush().unwrap();
        if let Some(before) = batch.checked_sub(2 * CHECKPOINT_BATCHES) {
            fs::remove_file(Self::path(folder, worker, before)).ok();
        }
    }
}

fn events_of(states: &HashMap<[u64; 2], State>) -> usize {
    states.values().map(|state| state.events.len()).sum()
}

/// The states of a checkpoint.
fn read(path: &Path) -> HashMap<[u64; 2], State> {
    let words = bytemuck::pod_collect_to_vec::<u8, u64>(&fs::read(path).unwrap());
    let mut states = HashMap::new();
    let mut rest = &words[..];
    while let [first, second, updated, count, after @ ..] = rest {
        let (events, others) = after.split_at(3 * *count as usize);
        let event = |words: &[u64]| (words[0], words[1] as i64, words[2] == 1);
        let events = events.chunks(3).map(event).collect();
        states.insert([*first, *second], State { updated: *updated, events });
        rest = others;
    }
    states
}

impl Design for MapWithState {
    fn process(&mut self, batch: u64, arrived: Vec<Arrived>) -> Vec<Element> {
        let mut elements = Vec::new();
        for event in arrived {
            self.update(batch, event, &mut elements);
        }
        elements
    }

    fn held(&self) -> usize {
        self.held
    }

    fn checkpoint(&mut self, folder: Option<&Path>, worker: usize, batch: u64) {
        if !(batch + 1).is_multiple_of(CHECKPOINT_BATCHES) {
            return;
        }
        let timeout = self.timeout_batches;
        self.states.retain(|_, state| batch - state.updated <= timeout);
        self.held = events_of(&self.states);
        if let Some(folder) = folder {
            self.write(folder, worker, batch);
        }
    }

    /// The batch after the last checkpoint.
    fn reads_again_from(&self, last: u64) -> u64 {
        (last + 1) / CHECKPOINT_BATCHES * CHECKPOINT_BATCHES
    }

    fn restore(&mut self, folder: &Path, worker: usize, first: u64) {
        if let Some(batch) = first.checked_sub(1) {
            self.states = read(&Self::path(folder, worker, batch));
            self.held = events_of(&self.states);
        }
    }
}
