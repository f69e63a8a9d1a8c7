//! What the Kafka source and the Kafka store share: how to reach the brokers, and what of it is
//! secret. Nothing else of the crate is known here.

mod given;
mod names;
mod settings;

pub use given::{GivenSetting, deserialize_settings, serialize_settings};
pub use names::{TopicNameError, topic_of};
pub use settings::{KafkaSettings, KafkaSettingsError, REFUSED, is_secret};

#[cfg(test)]
mod tests;
