//! A queue of event batches, ordered by arrival time.

use super::arrival::{GroundTruth, RequestName};
use crate::event::{Kind, VideoId};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Events of one request that arrive together, as consecutive records of one partition.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The arrival time, in milliseconds.
    pub arrival_ms: i64,
    /// The log that it belongs to.
    pub kind: Kind,
    /// The request of all of its events.
    pub request: RequestName,
    /// The events.
    pub events: Vec<QueuedEvent>,
}

/// An event of a batch.
#[derive(Clone, Copy, Debug)]
pub struct QueuedEvent {
    /// The video that was shown or played.
    pub video: VideoId,
    /// The event time, in milliseconds.
    pub event_time_ms: i64,
    /// The ground truth.
    pub truth: GroundTruth,
}

/// Batches in order of arrival; those of the same millisecond in the order in which they were sent.
#[derive(Default)]
pub struct Queue {
    order: BinaryHeap<Reverse<(i64, u64, u32)>>,
    slots: Vec<Option<Batch>>,
    free_slots: Vec<u32>,
    sent: u64,
    events: usize,
    events_max: usize,
}

impl Queue {
    /// Adds a batch, unless it is empty.
    pub fn push(&mut self, batch: Batch) {
        if batch.events.is_empty() {
            return;
        }
        self.events += batch.events.len();
        self.events_max = self.events_max.max(self.events);
        let arrival_ms = batch.arrival_ms;
        let slot = self.occupy(batch);
        self.order.push(Reverse((arrival_ms, self.sent, slot)));
        self.sent += 1;
    }

    fn occupy(&mut self, batch: Batch) -> u32 {
        if let Some(slot) = self.free_slots.pop() {
            self.slots[slot as usize] = Some(batch);
            return slot;
        }
        let Ok(slot) = u32::try_from(self.slots.len()) else {
            panic!("more than 2^32 batches wait: memory would have run out before");
        };
        self.slots.push(Some(batch));
        slot
    }

    /// The arrival time of the next batch, in milliseconds.
    #[inline]
    pub fn next_arrival_ms(&self) -> Option<i64> {
        self.order.peek().map(|Reverse((arrival_ms, _, _))| *arrival_ms)
    }

    /// Removes and returns the batch that arrives next.
    pub fn pop(&mut self) -> Option<Batch> {
        let Reverse((_, _, slot)) = self.order.pop()?;
        let batch = self.slots[slot as usize].take()?;
        self.free_slots.push(slot);
        self.events -= batch.events.len();
        Some(batch)
    }

    /// The maximum number of events that waited at the same time.
    pub fn events_max(&self) -> usize {
        self.events_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(arrival_ms: i64, video: u64, count: usize) -> Batch {
        let event =
            QueuedEvent { video: VideoId(video), event_time_ms: 0, truth: GroundTruth::OnTime };
        let request = RequestName::uuid(0);
        Batch { arrival_ms, kind: Kind::Play, request, events: vec![event; count] }
    }

    #[test]
    fn batches_of_the_same_time_arrive_as_they_were_sent() {
        let mut queue = Queue::default();
        for (arrival_ms, video) in [(2, 20), (1, 10), (2, 21), (1, 11)] {
            queue.push(batch(arrival_ms, video, 1));
        }
        assert_eq!(queue.next_arrival_ms(), Some(1));
        let videos: Vec<u64> =
            std::iter::from_fn(|| queue.pop()).map(|batch| batch.events[0].video.0).collect();
        assert_eq!(videos, [10, 11, 20, 21]);
    }

    #[test]
    fn the_maximum_queue_length_is_known() {
        let mut queue = Queue::default();
        queue.push(batch(1, 0, 3));
        queue.push(batch(2, 0, 4));
        queue.push(batch(3, 0, 0));
        queue.pop();
        queue.push(batch(4, 0, 2));
        assert_eq!(queue.events_max(), 7);
        assert_eq!(std::iter::from_fn(|| queue.pop()).count(), 2);
    }
}
