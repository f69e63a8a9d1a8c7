//! The parts of the program that Cargo features build in.
//!
//! A part that is missing is named by the command that needs it, with the feature to build.

use std::fmt;

/// A part of the program that is built only with its Cargo feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Topics as sources and stores.
    Kafka,
    /// Encrypted connections to brokers, and SCRAM and OAuth authentication.
    KafkaTls,
    /// Parquet files.
    Parquet,
    /// Avro and Protobuf messages, with their schemas in a registry.
    SchemaRegistry,
}

/// The error for a missing part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{needed_by} needs the feature `{feature}`, which this program was built without; build it \
     with `--features {feature}`, or with `--features full` for everything"
)]
pub struct MissingFeature {
    /// The flag, value or file that needs the feature.
    pub needed_by: String,
    /// The feature.
    pub feature: Feature,
}

impl Feature {
    /// All features.
    pub const ALL: [Feature; 4] =
        [Feature::Kafka, Feature::KafkaTls, Feature::Parquet, Feature::SchemaRegistry];

    /// Returns its name in Cargo.
    pub fn name(self) -> &'static str {
        match self {
            Feature::Kafka => "kafka",
            Feature::KafkaTls => "kafka-tls",
            Feature::Parquet => "parquet",
            Feature::SchemaRegistry => "schema-registry",
        }
    }

    /// Whether this program was built with it.
    pub fn is_built_in(self) -> bool {
        match self {
            Feature::Kafka => cfg!(feature = "kafka"),
            Feature::KafkaTls => cfg!(feature = "kafka-tls"),
            Feature::Parquet => cfg!(feature = "parquet"),
            Feature::SchemaRegistry => cfg!(feature = "schema-registry"),
        }
    }

    /// Returns the error that `needed_by` needs this feature.
    pub fn missing(self, needed_by: impl Into<String>) -> MissingFeature {
        MissingFeature { needed_by: needed_by.into(), feature: self }
    }

    /// Checks that this feature is built in.
    ///
    /// # Errors
    /// When it is not, and `needed_by` needs it.
    pub fn require(self, needed_by: impl Into<String>) -> Result<(), MissingFeature> {
        if self.is_built_in() { Ok(()) } else { Err(self.missing(needed_by)) }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Returns the version of the program and the features that it was built with.
pub fn version() -> String {
    let built_in = Feature::ALL.into_iter().filter(|feature| feature.is_built_in());
    let names: Vec<&str> = built_in.map(Feature::name).collect();
    let features = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    format!("{} (features: {features})", env!("CARGO_PKG_VERSION"))
}
