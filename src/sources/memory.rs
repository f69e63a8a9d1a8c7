//! Decoded events in memory, for tests and for benchmarks of the engine alone.

use super::{Batch, Discovered, Lag, PartitionReader, Polled, Source, SourceError};
use crate::event::Event;
use crate::log::PartitionName;
use std::sync::Arc;

/// Partitions in memory, shared by all workers.
#[derive(Clone, Default)]
pub struct MemorySource {
    partitions: Vec<(PartitionName, Arc<[Event]>)>,
    batch_events_max: Option<usize>,
}

impl MemorySource {
    /// Creates a source of these partitions, in this order. The offsets of the events are used as
    /// given and must increase within a partition.
    pub fn new(partitions: Vec<(PartitionName, Vec<Event>)>) -> MemorySource {
        let partitions =
            partitions.into_iter().map(|(name, events)| (name, events.into())).collect();
        MemorySource { partitions, batch_events_max: None }
    }

    /// Limits the number of events per poll.
    pub fn with_batches_of(mut self, events: usize) -> MemorySource {
        self.batch_events_max = Some(events.max(1));
        self
    }
}

impl Source for MemorySource {
    fn discover(&mut self) -> Result<Vec<Discovered>, SourceError> {
        let discovered = self.partitions.iter().map(|(name, events)| Discovered {
            name: name.clone(),
            size_bytes: std::mem::size_of_val(&events[..]) as u64,
            end_offset: None,
            file: None,
        });
        Ok(discovered.collect())
    }

    fn open(
        &self,
        partition: &Discovered,
        offset: Option<u64>,
    ) -> Result<Box<dyn PartitionReader>, SourceError> {
        let found = self.partitions.iter().find(|(name, _)| *name == partition.name);
        let Some((_, events)) = found else {
            return Err(SourceError::NotFound(partition.name.name.clone().into()));
        };
        let offset = offset.unwrap_or(0);
        Ok(Box::new(MemoryReader {
            events: Arc::clone(events),
            next: events.partition_point(|event| event.offset < offset),
            batch_events_max: self.batch_events_max.unwrap_or(usize::MAX),
        }))
    }
}

struct MemoryReader {
    events: Arc<[Event]>,
    next: usize,
    batch_events_max: usize,
}

impl PartitionReader for MemoryReader {
    fn poll(&mut self, batch: &mut Batch, records_max: usize) -> Result<Polled, SourceError> {
        let length = records_max.min(self.batch_events_max).min(self.events.len() - self.next);
        let chunk = &self.events[self.next..self.next + length];
        batch.events.extend_from_slice(chunk);
        batch.bytes += std::mem::size_of_val(chunk) as u64;
        self.next += length;
        if let Some(last) = chunk.last() {
            batch.next_offset = last.offset + 1;
        }
        Ok(if self.next == self.events.len() { Polled::Exhausted } else { Polled::More })
    }

    fn lag(&self) -> Lag {
        Lag::of_records(Some((self.events.len() - self.next) as u64))
    }
}
