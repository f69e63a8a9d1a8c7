//! Files and topics together. The name of a partition determines which of them it belongs to.

use super::files::FileSource;
use super::{Discovered, Moved, PartitionReader, Source, SourceError};
use crate::kafka::parse_partition;
use crate::log::{LogFile, PartitionProgress};
use std::time::SystemTime;

/// Files, Kafka topics, or both.
#[derive(Default)]
pub struct CombinedSource {
    /// The files.
    pub files: Option<FileSource>,
    /// The topics.
    pub topics: Option<Box<dyn Source>>,
}

impl Source for CombinedSource {
    fn resume(&mut self, partitions: &[PartitionProgress], committed: Option<SystemTime>) {
        if let Some(files) = &mut self.files {
            files.resume(partitions, committed);
        }
    }

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

    fn take_moved(&mut self) -> Vec<Moved> {
        self.files.as_mut().map(Source::take_moved).unwrap_or_default()
    }

    fn may_go_on(&self, file: &LogFile) -> bool {
        self.files.as_ref().is_some_and(|files| files.may_go_on(file))
    }

    fn left_out(&self) -> Vec<String> {
        self.files.as_ref().map(Source::left_out).unwrap_or_default()
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

    fn committed(&mut self, partitions: &[PartitionProgress]) {
        if let Some(files) = &mut self.files {
            files.committed(partitions);
        }
        if let Some(topics) = &mut self.topics {
            topics.committed(partitions);
        }
    }
}
