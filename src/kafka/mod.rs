//! What the Kafka source and the Kafka store share: how to reach the brokers, and what of it is
//! secret. Nothing else of the crate is known here.

mod names;
mod settings;

pub use names::{TopicNameError, topic_of};
pub use settings::{KafkaSettings, KafkaSettingsError, REFUSED};

#[cfg(test)]
mod tests;
