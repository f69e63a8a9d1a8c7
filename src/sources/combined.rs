//! Files and topics together. The name of a partition determines which of them it belongs to.

use super::files::FileSource;
use super::{Discovered, PartitionReader, Source, SourceError};
use crate::kafka::parse_partition;
use crate::log::PartitionName;

/// Files, Kafka topics, or both.
#[derive(Default)]
pub struct CombinedSource {
    /// The files.
    pub files: Option<FileSource>,
    /// The topics.
    pub topics: Option<Box<dyn Source>>,
}

impl Source for CombinedSource {
    fn discover(&mut self) -> Result<Vec<Discovered>, SourceError> {
        let mut discovered = match &mut self.files {
            Some(files) => files.discover()?,
            None => Vec::new(),
        };
        if let Some(topics) = &mut self.topics {
            discovered.extend(topics.discover()?);
        }
        Ok(discovered)
    }

    fn open(
        &self,
        partition: &Discovered,
        offset: Option<u64>,
    ) -> Result<Box<dyn PartitionReader>, SourceError> {
        let name = &partition.name.name;
        match (&self.files, &self.topics, parse_partition(name)) {
            (_, Some(topics), Some(_)) => topics.open(partition, offset),
            (Some(files), _, None) => files.open(partition, offset),
            _ => Err(SourceError::NotFound(name.into())),
        }
    }

    fn maintain(&mut self) -> Result<(), SourceError> {
        match &mut self.topics {
            Some(topics) => topics.maintain(),
            None => Ok(()),
        }
    }

    fn committed(&mut self, positions: &[(PartitionName, u64)]) {
        if let Some(topics) = &mut self.topics {
            topics.committed(positions);
        }
    }
}
