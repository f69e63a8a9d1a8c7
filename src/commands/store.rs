//! Opens the store that a command reads.

use super::run::RunError;
use crate::arguments::{ArgumentError, StoreArguments, StoreLocation};
use crate::kafka::KafkaSettings;
use crate::stores::StoreReader;
use crate::stores::kafka::KafkaReader;
use crate::stores::sqlite::SqliteReader;

/// A store that is read, and how Kafka is reached, where that was given.
pub struct OpenStore {
    /// Where it is.
    pub location: StoreLocation,
    /// What reads it.
    pub reader: Box<dyn StoreReader>,
    /// How Kafka is reached.
    pub kafka: Option<KafkaSettings>,
}

/// Opens a store for reading. Nothing is made or changed, and nobody is disturbed.
///
/// # Errors
/// When the arguments are incomplete or wrong, and when the store is not there or cannot be read.
pub fn open(arguments: &StoreArguments) -> Result<OpenStore, RunError> {
    let arguments = arguments.complete()?;
    let missing = ArgumentError::Missing("give --store, or a --config that has the key `store`");
    let location = StoreLocation::of(arguments.store.as_deref().ok_or(missing)?)?;
    let servers = arguments.bootstrap_servers.as_deref();
    let kafka = servers
        .map(|servers| KafkaSettings::given(servers, &arguments.kafka))
        .transpose()
        .map_err(ArgumentError::from)?;
    let reader: Box<dyn StoreReader> = match &location {
        StoreLocation::Sqlite(path) => Box::new(SqliteReader::open(path)?),
        StoreLocation::Kafka { topic } => {
            let missing = ArgumentError::Missing("give --bootstrap-servers");
            Box::new(KafkaReader::open(kafka.as_ref().ok_or(missing)?, topic)?)
        }
    };
    Ok(OpenStore { location, reader, kafka })
}
