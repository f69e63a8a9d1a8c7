//! Opens the store that a command reads.

use super::kafka;
use super::run::RunError;
use crate::arguments::{ArgumentError, StoreArguments, StoreLocation};
use crate::kafka::KafkaSettings;
use crate::stores::StoreReader;
use crate::stores::sqlite::SqliteReader;

/// A store opened for reading, with the Kafka settings.
pub struct OpenStore {
    /// The location of the store.
    pub location: StoreLocation,
    /// The reader of the store.
    pub reader: Box<dyn StoreReader + Send>,
    /// The Kafka settings, if brokers were given.
    pub kafka: Option<KafkaSettings>,
}

/// Opens a store for reading. Creates and changes nothing, and does not affect a running job.
///
/// # Errors
/// When the arguments are incomplete or invalid, or the store does not exist or cannot be read.
pub fn open(arguments: &StoreArguments) -> Result<OpenStore, RunError> {
    let arguments = arguments.with_config()?;
    let missing = ArgumentError::Missing("give --store, or a --config that has the key `store`");
    let location = StoreLocation::of(arguments.store.as_deref().ok_or(missing)?)?;
    let servers = arguments.bootstrap_servers.as_deref();
    let settings = servers
        .map(|servers| KafkaSettings::given(servers, &arguments.kafka))
        .transpose()
        .map_err(ArgumentError::from)?;
    let reader = reader(&location, settings.as_ref())?;
    Ok(OpenStore { location, reader, kafka: settings })
}

/// Opens the store at a location for reading.
///
/// # Errors
/// When the store does not exist or cannot be read, or is in Kafka and no brokers were given.
pub fn reader(
    location: &StoreLocation,
    settings: Option<&KafkaSettings>,
) -> Result<Box<dyn StoreReader + Send>, RunError> {
    Ok(match location {
        StoreLocation::Sqlite(path) => Box::new(SqliteReader::open(path)?),
        StoreLocation::Kafka { topic } => {
            let missing = ArgumentError::Missing("give --bootstrap-servers");
            kafka::reader(settings.ok_or(missing)?, topic)?
        }
    })
}
