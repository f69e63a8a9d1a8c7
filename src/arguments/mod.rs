//! The command line and the configuration file.
//!
//! - [`flags`]: the flags of all commands.
//! - [`parameters`]: the flags for the parameters that queries declare.
//! - [`config`]: the configuration file. Its keys are the flags of `run`; flags take precedence.
//! - `formats`: reads `--kafka-format`, the format of the topics of each log.
//! - `fields`: reads `--field`, the paths of the fields in the records of each log.
//! - `limits`: the limits of values of flags.
//! - [`launch`]: the flags of `launch`, and its plan.
//! - `http`: where the HTTP server listens, and the token of its clients.
//! - [`share`]: shares such as `1%`.
//! - [`plan`]: checks the arguments and turns them into a plan.

pub mod config;
mod fields;
pub mod flags;
mod formats;
mod http;
pub mod launch;
mod limits;
pub mod parameters;
pub mod plan;
pub mod share;

pub use flags::{
    DemoArguments, LogFormat, RowsFormat, RunArguments, ShowArguments, StatusArguments,
    StatusFormat, StoreArguments,
};
pub use formats::{FormatError, GivenFormat};
pub use http::HttpSettings;
pub use launch::{LaunchArguments, LaunchPlan};
pub use plan::{Inputs, Plan, StoreLocation};

use crate::features::{self, MissingFeature};
use crate::generate::GenerateArguments;
use crate::kafka::{KafkaSettingsError, RegistryError, TopicNameError};
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Exact real-time trends: plays and impressions of every video in every epoch of event time.
#[derive(Parser, Debug)]
#[command(name = "trendmark", version = features::version(), max_term_width = 100)]
pub struct Arguments {
    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands of `trendmark`.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Read impressions and plays, and maintain a store of the results
    Run(Box<RunArguments>),
    /// Run all processes of a job on this machine, and start them again when one dies or freezes
    Launch(Box<LaunchArguments>),
    /// Generate events, process them as they arrive, and show a live table
    Demo(DemoArguments),
    /// Print the rows of a store
    Show(ShowArguments),
    /// Print the status of a job: generation, lag, watermarks, open epochs, records to replay
    Status(StatusArguments),
    /// Write a realistic, seeded log of impressions and plays
    Generate(Box<GenerateArguments>),
    /// Print completions for a shell; source them, or save them in the shell's completions folder
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// Whether the log is to be JSON lines. What is wrong with the configuration is said later.
    pub fn logs_json(&self) -> bool {
        let Command::Run(arguments) = self else { return false };
        let configured = || arguments.with_config().ok()?.log_format;
        arguments.log_format.or_else(configured) == Some(LogFormat::Json)
    }
}

/// An error in the arguments or the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ArgumentError {
    /// The configuration file cannot be read.
    #[error("cannot read the configuration `{path}`: {error}")]
    ConfigRead {
        /// The file.
        path: PathBuf,
        /// The system error.
        error: std::io::Error,
    },
    /// The configuration file is invalid.
    #[error("invalid configuration `{path}`: {error}")]
    Config {
        /// The file.
        path: PathBuf,
        /// The problem and its line, which is not quoted: it may hold a secret.
        error: String,
    },
    /// The host file cannot be used.
    #[error("cannot use the host file `{path}`: {reason}")]
    Hostfile {
        /// The file.
        path: PathBuf,
        /// The problem.
        reason: String,
    },
    /// The file of the shared secret cannot be used.
    #[error("cannot use the file of --cluster-secret, `{path}`: {reason}")]
    ClusterSecret {
        /// The file.
        path: PathBuf,
        /// The problem.
        reason: String,
    },
    /// The token of the HTTP server cannot be used.
    #[error("cannot use the token in {place}: {reason}")]
    Token {
        /// The file or the variable.
        place: String,
        /// The problem.
        reason: String,
    },
    /// A required flag is missing.
    #[error("{0}")]
    Missing(&'static str),
    /// A `kafka:` argument does not name a valid topic.
    #[error(transparent)]
    Topic(#[from] TopicNameError),
    /// The Kafka settings are invalid.
    #[error(transparent)]
    Kafka(#[from] KafkaSettingsError),
    /// The program was built without a feature that an argument needs.
    #[error(transparent)]
    MissingFeature(#[from] MissingFeature),
    /// The settings of the schema registry are invalid.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Flags contradict each other.
    #[error("{0}")]
    Conflict(String),
    /// A flag has an invalid value.
    #[error("--{flag} is {given}, but {limit}")]
    Limit {
        /// The flag, without its dashes.
        flag: &'static str,
        /// The given value.
        given: String,
        /// The allowed values.
        limit: String,
    },
}

impl ArgumentError {
    /// Whether the arguments are the cause, and not a file or a variable that they name.
    pub fn is_usage(&self) -> bool {
        match self {
            ArgumentError::Kafka(error) => error.is_usage(),
            ArgumentError::Registry(error) => error.is_usage(),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests;
