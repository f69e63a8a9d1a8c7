//! Sources and stores in Kafka in a program without the feature `kafka`: each is an error that says
//! which feature to build.

use super::run::RunError;
use crate::arguments::Plan;
use crate::features::{Feature, MissingFeature};
use crate::kafka::KafkaSettings;
use crate::log::PartitionName;
use crate::query::QueryInstance;
use crate::sources::{Source, SourceError};
use crate::stores::{Claim, Store, StoreError, StoreReader};
use crate::time::Definition;

fn missing(topic: &str) -> MissingFeature {
    Feature::Kafka.missing(format!("`kafka:{topic}`"))
}

/// Refuses a plan with topics.
///
/// # Errors
/// When the plan has topics.
pub fn source(
    plan: &Plan,
) -> Result<Option<impl Fn() -> Box<dyn Source> + Send + Sync + 'static>, RunError> {
    match plan.inputs.topics.first() {
        Some((_, topic)) => Err(missing(topic).into()),
        None => Ok(None::<fn() -> Box<dyn Source>>),
    }
}

/// Refuses a store.
///
/// # Errors
/// Always.
pub fn store(
    _settings: &KafkaSettings,
    topic: &str,
    _definition: &Definition,
    _queries: &[QueryInstance],
    _claim: &Claim,
) -> Result<Box<dyn Store>, StoreError> {
    Err(missing(topic).into())
}

/// Refuses a store.
///
/// # Errors
/// Always.
pub fn reader(
    _settings: &KafkaSettings,
    topic: &str,
) -> Result<Box<dyn StoreReader + Send>, StoreError> {
    Err(missing(topic).into())
}

/// The end offsets of partitions, which are not known.
pub struct EndOffsets;

impl EndOffsets {
    /// Returns what refuses every question.
    pub fn new(_settings: &KafkaSettings) -> EndOffsets {
        EndOffsets
    }

    /// Refuses a partition.
    ///
    /// # Errors
    /// Always.
    pub fn of(&mut self, partition: &PartitionName) -> Result<Option<u64>, SourceError> {
        Err(Feature::Kafka.missing(format!("`{}`", partition.name)).into())
    }
}
