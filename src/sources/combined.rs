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

    fn may_have(&self, partition: &PartitionProgress) -> bool {
        match parse_partition(&partition.partition.name) {
            Some(_) => self.topics.as_ref().is_some_and(|topics| topics.may_have(partition)),
            None => self.files.as_ref().is_some_and(|files| files.may_have(partition)),
        }
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

#[cfg(feature = "kafka")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::LogFields;
    use crate::event::Kind;
    use crate::kafka::KafkaSettings;
    use crate::log::PartitionName;
    use crate::sources::kafka::KafkaSource;

    #[test]
    fn partitions_that_no_argument_stands_for_are_not_those_of_the_source() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        let (impression, play) = (Kind::Impression, Kind::Play);
        let paths = vec![(impression, path("i.jsonl")), (play, path("gone/p*.jsonl"))];
        let settings =
            KafkaSettings { bootstrap_servers: "localhost:9".into(), settings: Default::default() };
        let topics = vec![(play, "plays".to_owned())];
        let topics = KafkaSource::new(settings, topics, LogFields::default(), false);
        let both = CombinedSource {
            files: Some(FileSource::new(paths, LogFields::default(), true)),
            topics: Some(Box::new(topics)),
        };
        let may_have = |source: &CombinedSource, kind, name: &str| {
            let partition = PartitionName { kind, name: name.to_owned() };
            source.may_have(&PartitionProgress::read_to(partition, 1))
        };
        let cases = [
            (play, "kafka:plays/1".to_owned(), true),
            (impression, "kafka:plays/1".to_owned(), false),
            (play, "kafka:others/1".to_owned(), false),
            (impression, path("i.jsonl"), true),
            (impression, path("i.jsonl#2"), true),
            (play, path("i.jsonl"), false),
            (impression, path("j.jsonl"), false),
            // Its folder is gone.
            (play, path("gone/p1.jsonl"), true),
        ];
        for (kind, name, expected) in cases {
            assert_eq!(may_have(&both, kind, &name), expected, "{kind:?} {name}");
            assert!(!may_have(&CombinedSource::default(), kind, &name));
        }
    }
}
