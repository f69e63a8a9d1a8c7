//! A topic of titles in a program without the feature `kafka`: an error that says which feature to
//! build.

use super::records::Reading;
use crate::features::{Feature, MissingFeature};
use crate::kafka::KafkaSettings;
use std::convert::Infallible;

/// Why a topic of titles cannot be read: this program has no Kafka.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct TopicError(#[from] MissingFeature);

impl TopicError {
    /// Whether the arguments are the cause: always.
    pub fn is_usage(&self) -> bool {
        true
    }
}

/// A topic of titles, which no program without Kafka has.
#[derive(Debug)]
pub struct TitleTopic(Infallible);

impl TitleTopic {
    /// Refuses to read a topic.
    pub(super) fn read(_: KafkaSettings, topic: &str) -> Result<TitleTopic, TopicError> {
        Err(Feature::Kafka.missing(format!("--titles kafka:{topic}")).into())
    }

    pub(super) fn readings(&self) -> impl Iterator<Item = &Reading> {
        match self.0 {}
        #[expect(unreachable_code, reason = "the type of the iterator")]
        std::iter::empty()
    }

    pub(super) fn again(&mut self) {
        match self.0 {}
    }
}
