//! Reads single partitions of Kafka, as the engine does.

use super::topics::{Cluster, TIMEOUT};
use std::time::{Duration, Instant};
use trendmark::decode::LogFields;
use trendmark::event::Kind;
use trendmark::sources::kafka::KafkaSource;
use trendmark::sources::{Batch, Discovered, PartitionReader, Polled, Source, SourceError};

/// A source of these topics.
pub fn source(cluster: &Cluster, topics: &[&str], until_end: bool) -> KafkaSource {
    let topics = topics.iter().map(|topic| (Kind::Impression, topic.to_string())).collect();
    KafkaSource::new(cluster.settings.clone(), topics, LogFields::default(), until_end)
}

/// A partition that is being read, with the results so far.
pub struct Read {
    pub reader: Box<dyn PartitionReader>,
    pub batch: Batch,
    pub polled: Polled,
}

impl Read {
    pub fn new(source: &KafkaSource, partition: &Discovered, offset: Option<u64>) -> Read {
        let reader = source.open(partition, offset).unwrap();
        Read { reader, batch: Batch::default(), polled: Polled::More }
    }

    pub fn poll(&mut self, records_max: usize) -> Result<Polled, SourceError> {
        self.polled = self.reader.poll(&mut self.batch, records_max)?;
        if self.polled != Polled::Exhausted {
            std::thread::sleep(Duration::from_micros(100));
        }
        Ok(self.polled)
    }

    /// Polls until the result is the wanted one.
    pub fn until(&mut self, wanted: Polled) {
        let started = Instant::now();
        while self.poll(100).unwrap() != wanted {
            assert!(started.elapsed() < TIMEOUT, "no {wanted:?}, but {:?}", self.polled);
        }
    }

    /// Reads until this number of events has arrived, or an error occurs.
    pub fn until_events(&mut self, events: usize) -> Result<(), SourceError> {
        let started = Instant::now();
        while self.batch.events.len() < events {
            assert!(started.elapsed() < TIMEOUT, "{} events", self.batch.events.len());
            self.poll(100)?;
        }
        Ok(())
    }

    /// Reads until an error occurs, and returns it.
    pub fn failure(&mut self) -> SourceError {
        self.until_events(usize::MAX).unwrap_err()
    }

    pub fn videos(&self) -> Vec<u64> {
        self.batch.events.iter().map(|event| event.video.0).collect()
    }

    pub fn offsets(&self) -> Vec<u64> {
        self.batch.events.iter().map(|event| event.offset).collect()
    }
}
