//! What is typed on the command line and written in the configuration, and what it means.
//!
//! - [`flags`]: the flags of all commands.
//! - [`parameters`]: the flags of the queries' parameters, which the queries declare.
//! - [`config`]: the configuration, whose keys are the flags of `run`; a flag that is given wins.
//! - [`plan`]: what the flags mean, within limits.

pub mod config;
pub mod flags;
pub mod parameters;
pub mod plan;

pub use flags::{
    DemoArguments, RowsFormat, RunArguments, ShowArguments, StatusArguments, StatusFormat,
    StoreArguments,
};
pub use plan::{Inputs, Plan, StoreLocation};

use crate::generate::GenerateArguments;
use crate::kafka::{KafkaSettingsError, RegistryError, TopicNameError};
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Exact real-time trends: plays and impressions of every video in every epoch of event time.
#[derive(Parser, Debug)]
#[command(name = "trendmark", version, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Read impressions and plays, and maintain a store of the results
    Run(Box<RunArguments>),
    /// Generate events and run on them at a lively pace, with a live table
    Demo(DemoArguments),
    /// Print rows of a store
    Show(ShowArguments),
    /// Tell how a job stands: generation, lag, watermarks, open epochs, replay distance
    Status(StatusArguments),
    /// Write a realistic, seeded log of events
    Generate(Box<GenerateArguments>),
}

/// What is wrong with what was typed or written; all of it is a fault of usage.
#[derive(Debug, thiserror::Error)]
pub enum ArgumentError {
    /// The configuration cannot be read.
    #[error("cannot read the configuration `{path}`: {error}")]
    ConfigRead {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The configuration is not what it should be.
    #[error("the configuration `{path}` is wrong: {error}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where; without the line itself, where that may hold a secret.
        error: String,
    },
    /// The host file cannot be used.
    #[error("cannot use the host file `{path}`: {reason}")]
    Hostfile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A flag is missing that nothing can stand in for.
    #[error("{0}")]
    Missing(&'static str),
    /// A place is to be in Kafka, but is not.
    #[error(transparent)]
    Topic(#[from] TopicNameError),
    /// The settings of Kafka cannot be these.
    #[error(transparent)]
    Kafka(#[from] KafkaSettingsError),
    /// The schema registry cannot be this.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Flags contradict each other.
    #[error("{0}")]
    Conflict(String),
    /// A flag has a value that it cannot have.
    #[error("--{flag} is {given}, but {limit}")]
    Limit {
        /// The flag.
        flag: &'static str,
        /// Its value.
        given: String,
        /// What it can be.
        limit: String,
    },
}

#[cfg(test)]
mod tests;
