//! What the Kafka source and the Kafka store share: how to reach the brokers, and what of it is
//! secret; and the schema registry that messages may need. Nothing else of the crate is known here.

mod given;
mod names;
mod registry;
mod settings;

pub use given::{GivenSetting, deserialize_settings, serialize_settings};
pub use names::{TopicNameError, topic_of};
pub use registry::{RegistryError, RegistrySettings, RegistryText};
pub use settings::{KafkaSettings, KafkaSettingsError, REFUSED, is_secret};

#[cfg(test)]
mod tests;
