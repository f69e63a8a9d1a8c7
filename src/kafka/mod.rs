//! Settings shared by the Kafka source and the Kafka store: how to reach the brokers and the schema
//! registry, and which settings are secret. They depend on no client of Kafka,
//! so that every build can check them.

#[cfg(feature = "kafka")]
pub mod client;
#[cfg(feature = "kafka")]
mod connections;
mod given;
mod names;
#[cfg(feature = "kafka")]
pub mod notices;
mod registry;
mod settings;

pub use given::{GivenSetting, deserialize_settings, serialize_settings};
pub use names::{TopicNameError, parse_partition, parse_topic};
pub use registry::{RegistryError, RegistrySettings, SecretText};
pub use settings::{
    KafkaSettings, KafkaSettingsError, RESERVED_SETTINGS, check_servers, hide_users, is_secret,
};

#[cfg(test)]
mod tests;
