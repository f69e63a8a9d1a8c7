//! Files and topics together. The name of a partition determines which of them it belongs to.

use super::files::FileSource;
use super::kafka::KafkaSource;
use super::{Discovered, PartitionReader, Source, SourceError};
use crate::log::PartitionName;

/// Files, Kafka topics, or both.
#[derive(Clone, Default)]
pub struct CombinedSource {
    /// The files.
    pub files: Option<FileSource>,
    /// The topics.
    pub kafka: Option<KafkaSource>,
}

impl Source for CombinedSource {
    fn discover(&mut self) -> Result<Vec<Discovered>, SourceError> {
        let mut discovered = match &mut self.files {
            Some(files) => files.discover()?,
            None => Vec::new(),
        };
        if let Some(kafka) = &mut self.kafka {
            discovered.extend(kafka.discover()?);
        }
        Ok(discovered)
    }

    fn open(
        &self,
        partition: &Discovered,
        offset: Option<u64>,
    ) -> Result<Box<dyn PartitionReader>, SourceError> {
        let name = &partition.name;
        match (&self.files, &self.kafka) {
            (_, Some(kafka)) if KafkaSource::is_kafka(name) => kafka.open(partition, offset),
            (Some(files), _) if !KafkaSource::is_kafka(name) => files.open(partition, offset),
            _ => Err(SourceError::NotFound(name.name.clone().into())),
        }
    }

    fn committed(&mut self, positions: &[(PartitionName, u64)]) {
        if let Some(kafka) = &mut self.kafka {
            kafka.committed(positions);
        }
    }
}
