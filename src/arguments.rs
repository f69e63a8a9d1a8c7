//! What is typed on the command line and written in the configuration, and what it means.
//!
//! The configuration has the flags of `trendmark run` as its keys; a flag that is given wins.

mod plan;

pub use plan::{Inputs, Messages, Plan, StorePlace};

use crate::dataflows;
use crate::engine::Settings;
use crate::generate::GenerateArguments;
use crate::kafka::{
    GivenSetting, KafkaSettingsError, RegistryError, RegistryText, TopicNameError, is_secret,
};
use crate::show::ShowArguments;
use crate::time::{Definition, format_duration, parse_duration_ms};
use clap::{Args, Parser, Subcommand};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

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
    /// Read impressions and plays, and keep a store of what they come to
    Run(Box<RunArguments>),
    /// Generate events and run on them at a lively pace, with a live table
    Demo(DemoArguments),
    /// Print a table of a store
    Show(ShowArguments),
    /// Tell how a job stands: generation, lag, watermarks, open epochs, replay distance
    Status(StatusArguments),
    /// Write a realistic, seeded log of events
    Generate(Box<GenerateArguments>),
}

/// `trendmark demo`: everything on one machine, in a temporary folder.
#[derive(Args, Clone, Debug)]
pub struct DemoArguments {
    /// How long to go on; without it, until Ctrl-C
    #[arg(long = "for", value_name = "DURATION")]
    pub duration: Option<Span>,

    /// Event time that passes in a second
    #[arg(long, value_name = "DURATION", default_value = "20m")]
    pub pace: Span,

    /// Impressions per second
    #[arg(long, value_name = "COUNT", default_value_t = 50_000)]
    pub rate: u64,

    /// Workers, each a thread
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    pub workers: usize,

    /// Seed of the events
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
}

/// `trendmark status`: of which store.
#[derive(Args, Clone, Debug)]
pub struct StatusArguments {
    /// The store, as given to `run`: a file or kafka:TOPIC
    #[arg(long, value_name = "FILE|kafka:TOPIC")]
    pub store: PathBuf,
    /// Brokers of Kafka, to read a store there, and where the logs end that are there
    #[arg(long, value_name = "HOST:PORT,…")]
    pub bootstrap_servers: Option<String>,
    /// Setting of librdkafka, such as security.protocol=SASL_SSL
    #[arg(long, value_name = "KEY=VALUE")]
    pub kafka: Vec<GivenSetting>,
    /// How it is printed: a table for people, or one JSON object
    #[arg(long, value_enum, default_value_t = StatusFormat::Table)]
    pub format: StatusFormat,
}

/// How a status is printed.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusFormat {
    /// For people
    Table,
    /// For programs
    Json,
}

/// `trendmark run`: its flags, which are the keys of its configuration too.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct RunArguments {
    /// Impressions: files, folders or patterns, .jsonl (also .gz, .zst) and .parquet; or topics of
    /// Kafka, kafka:TOPIC
    #[arg(long, value_name = "PLACE", num_args = 1.., help_heading = "Sources and store")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub impressions: Vec<String>,

    /// Plays: files, folders or patterns, .jsonl (also .gz, .zst) and .parquet; or topics of
    /// Kafka, kafka:TOPIC
    #[arg(long, value_name = "PLACE", num_args = 1.., help_heading = "Sources and store")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plays: Vec<String>,

    /// Name of a field in the records, if it is another: request_id=rid; the fields are
    /// request_id, video_id, event_time and record_time
    #[arg(long = "field", value_name = "FIELD=NAME", help_heading = "Sources and store")]
    #[serde(rename = "field", skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,

    /// Store: an SQLite file, or topics of Kafka, kafka:TOPIC; the job goes on where the last one
    /// that had it left off
    #[arg(long, value_name = "PLACE", help_heading = "Sources and store")]
    pub store: Option<PathBuf>,

    /// Take the store over from a job that still has it: it can write nothing more, and ends
    #[arg(long, help_heading = "Sources and store")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub take_over: bool,

    /// File to append malformed records to, one JSON object a line
    #[arg(long, value_name = "FILE", help_heading = "Sources and store")]
    pub dead_letter: Option<PathBuf>,

    /// Go on when everything is read: files may grow, and folders and patterns get new files;
    /// topics of Kafka always go on, unless --until-end is given
    #[arg(long, help_heading = "Sources and store")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub follow: bool,

    /// Read topics of Kafka to the ends that their partitions have at the start, and finish with
    /// every epoch final
    #[arg(long, conflicts_with = "follow", help_heading = "Sources and store")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub until_end: bool,

    /// Brokers of Kafka to begin with, separated by commas
    #[arg(long, value_name = "HOST:PORT,…", help_heading = "Kafka")]
    pub bootstrap_servers: Option<String>,

    /// What the messages of all topics are; Avro and Protobuf in Confluent framing, their schemas
    /// in a registry [default: json]
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = "Kafka")]
    pub kafka_format: Option<KafkaFormat>,

    /// URL of the schema registry, of Confluent or compatible
    #[arg(long, value_name = "URL", help_heading = "Kafka")]
    pub schema_registry: Option<RegistryText>,

    /// Who asks the schema registry: file:PATH or env:NAME that holds USER:PASSWORD, or that
    /// itself
    #[arg(long, value_name = "USER:PASSWORD", help_heading = "Kafka")]
    pub schema_registry_auth: Option<RegistryText>,

    /// Query to keep a table of, or `all` [default: trends]
    #[arg(long, value_name = "NAME", help_heading = "What is computed", help = query_help())]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<String>,

    /// Length of an epoch of event time [default: 30m]
    #[arg(long, value_name = "DURATION", help_heading = "What is computed")]
    pub epoch_length: Option<Span>,

    /// Epochs after that of an impression in which a play of it still counts [default: 4]
    #[arg(
        long,
        value_name = "EPOCHS",
        help_heading = "What is computed",
        allow_negative_numbers = true
    )]
    pub join_window: Option<i64>,

    /// How far a partition's watermark trails its latest event [default: 10m]
    #[arg(long, value_name = "DURATION", help_heading = "What is computed")]
    pub max_delay: Option<Span>,

    /// How far an event may be ahead of its record's own time [default: 10m]
    #[arg(long, value_name = "DURATION", help_heading = "What is computed")]
    pub max_future: Option<Span>,

    /// Workers in each process, each a thread [default: 1 for each core, or 1 with --processes]
    #[arg(long, value_name = "COUNT", help_heading = "Workers and processes")]
    pub workers: Option<usize>,

    /// Processes of this job; start each with its own --process [default: 1]
    #[arg(long, value_name = "COUNT", help_heading = "Workers and processes")]
    pub processes: Option<usize>,

    /// Number of this process, from 0; process 0 owns the store [default: 0]
    #[arg(long, value_name = "NUMBER", help_heading = "Workers and processes")]
    pub process: Option<usize>,

    /// File with a line `host:port` for each process [default: localhost:2101, :2102, …]
    #[arg(long, value_name = "FILE", help_heading = "Workers and processes")]
    pub hostfile: Option<PathBuf>,

    /// How long the processes wait for each other at the start [default: 1m]
    #[arg(long, value_name = "DURATION", help_heading = "Workers and processes")]
    pub launch_timeout: Option<Span>,

    /// How often to publish [default: 1s]
    #[arg(long, value_name = "DURATION", help_heading = "Pace and limits")]
    pub publish_interval: Option<Span>,

    /// Quiet time after the end of a partition until it holds no epoch open [default: 10s]
    #[arg(long, value_name = "DURATION", help_heading = "Pace and limits")]
    pub idle_timeout: Option<Span>,

    /// How often to look for more at the end of a partition [default: 10ms]
    #[arg(long, value_name = "DURATION", help_heading = "Pace and limits")]
    pub poll_interval: Option<Span>,

    /// How far a partition may run ahead of the slowest in event time [default: one epoch]
    #[arg(long, value_name = "DURATION", help_heading = "Pace and limits")]
    pub alignment: Option<Span>,

    /// Longest time that events wait for their round to fill [default: 100ms]
    #[arg(long, value_name = "DURATION", help_heading = "Pace and limits")]
    pub tick: Option<Span>,

    /// Most events of a topic in a round of a worker [default: 100000]
    #[arg(long, value_name = "EVENTS", help_heading = "Pace and limits")]
    pub round_events: Option<usize>,

    /// Most bytes of a topic in a round of a worker [default: 67108864]
    #[arg(long, value_name = "BYTES", help_heading = "Pace and limits")]
    pub round_bytes: Option<u64>,

    /// Most rounds of a worker under way at once [default: 16]
    #[arg(long, value_name = "ROUNDS", help_heading = "Pace and limits")]
    pub rounds_in_flight: Option<usize>,

    /// Bytes of events of an open epoch that a worker takes in together; fewer wait for the end of
    /// their publication [default: 2097152]
    #[arg(long, value_name = "BYTES", help_heading = "Pace and limits")]
    pub gather_bytes: Option<usize>,

    /// Most changed rows, and sums that are to become rows, that wait on a worker for the next
    /// publication [default: 1048576]
    #[arg(long, value_name = "ROWS", help_heading = "Pace and limits")]
    pub rows_waiting_max: Option<usize>,

    /// Setting of librdkafka, repeatable, or a table `kafka` in the configuration:
    /// security.protocol=SASL_SSL; the value file:PATH stands for what that file holds, env:NAME
    /// for a variable, so that no secret is written here
    #[arg(long = "kafka", value_name = "KEY=VALUE", help_heading = "Kafka")]
    #[serde(
        rename = "kafka",
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "crate::kafka::serialize_settings",
        deserialize_with = "crate::kafka::deserialize_settings"
    )]
    pub kafka: Vec<GivenSetting>,

    /// Configuration: a TOML file with these flags as keys
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Print the configuration that results, with all defaults, and do nothing else
    #[arg(long)]
    #[serde(skip)]
    pub print_config: bool,
}

/// What the messages of topics are.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KafkaFormat {
    /// JSON objects
    Json,
    /// Avro
    Avro,
    /// Protobuf
    Protobuf,
}

fn query_help() -> String {
    let queries = dataflows::ALL.iter().map(|query| format!("{}: {}", query.name, query.about));
    let queries: Vec<_> = queries.collect();
    format!(
        "Query to keep a table of, repeatable, or `all` [default: trends]; {}",
        queries.join("; ")
    )
}

/// A duration of event time or of a clock, as it is written: `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// In milliseconds.
    pub ms: i64,
}

impl Span {
    fn of(duration: Duration) -> Span {
        Span { ms: i64::try_from(duration.as_millis()).unwrap_or(i64::MAX) }
    }

    /// The time by a clock.
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.ms.unsigned_abs())
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Span, String> {
        parse_duration_ms(text).map(|ms| Span { ms })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&format_duration(self.ms))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
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

impl RunArguments {
    /// The arguments with those of the configuration where none was given, and defaults where
    /// there are none either.
    ///
    /// # Errors
    /// When there is a configuration that cannot be used.
    pub fn complete(&self) -> Result<RunArguments, ArgumentError> {
        let given = match &self.config {
            Some(path) => self.over(path)?,
            None => self.clone(),
        };
        Ok(given.with_defaults())
    }

    fn over(&self, path: &Path) -> Result<RunArguments, ArgumentError> {
        let read = |error| ArgumentError::ConfigRead { path: path.to_owned(), error };
        let text = std::fs::read_to_string(path).map_err(read)?;
        let wrong = |error| ArgumentError::Config {
            path: path.to_owned(),
            error: without_secrets(&error, &text),
        };
        // Read as arguments first, so that what is wrong is told with its line.
        let written: RunArguments = toml::from_str(&text).map_err(wrong)?;
        let mut table: toml::Table = toml::from_str(&text).map_err(wrong)?;
        match toml::Table::try_from(self) {
            Ok(given) => table.extend(given),
            Err(error) => unreachable!("arguments can be written as TOML: {error}"),
        }
        // Secrets are not written as TOML. Where a key is given twice, the last holds.
        table.remove("kafka");
        let merged: RunArguments = table.try_into().map_err(wrong)?;
        let kafka = [written.kafka, self.kafka.clone()].concat();
        let registry = self.schema_registry.clone().or(written.schema_registry);
        let auth = self.schema_registry_auth.clone().or(written.schema_registry_auth);
        let secrets =
            RunArguments { kafka, schema_registry: registry, schema_registry_auth: auth, ..merged };
        Ok(secrets)
    }

    fn with_defaults(self) -> RunArguments {
        let definition = Definition::default();
        let epoch_length = self.epoch_length.unwrap_or(Span { ms: definition.epoch_length_ms });
        let defaults = Settings::new(definition, Vec::new());
        let processes = self.processes.unwrap_or(1);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let query = match self.query {
            query if query.is_empty() => vec![dataflows::ALL[0].name.to_string()],
            query => query,
        };
        RunArguments {
            query,
            kafka_format: self.kafka_format.or(Some(KafkaFormat::Json)),
            epoch_length: Some(epoch_length),
            join_window: self.join_window.or(Some(definition.join_window_epochs)),
            max_delay: self.max_delay.or(Some(Span { ms: definition.max_delay_ms })),
            max_future: self.max_future.or(Some(Span { ms: definition.max_future_ms })),
            workers: self.workers.or(Some(if processes == 1 { cores } else { 1 })),
            processes: Some(processes),
            process: self.process.or(Some(0)),
            launch_timeout: self.launch_timeout.or(Some(plan::LAUNCH_TIMEOUT)),
            publish_interval: self.publish_interval.or(Some(Span::of(defaults.publish_interval))),
            idle_timeout: self.idle_timeout.or(Some(Span::of(defaults.idle_timeout))),
            poll_interval: self.poll_interval.or(Some(Span::of(defaults.poll_interval))),
            alignment: self.alignment.or(Some(epoch_length)),
            tick: self.tick.or(Some(Span::of(defaults.tick))),
            round_events: self.round_events.or(Some(defaults.round_events)),
            round_bytes: self.round_bytes.or(Some(defaults.round_bytes)),
            rounds_in_flight: self.rounds_in_flight.or(Some(defaults.rounds_in_flight)),
            gather_bytes: self.gather_bytes.or(Some(defaults.gather_bytes)),
            rows_waiting_max: self.rows_waiting_max.or(Some(defaults.rows_waiting_max)),
            ..self
        }
    }
}

/// What is wrong with a configuration. The line is quoted, unless it may hold a secret.
fn without_secrets(error: &toml::de::Error, text: &str) -> String {
    let Some(span) = error.span() else { return error.to_string() };
    let before = text.get(..span.start).unwrap_or(text);
    let begins_at = before.rfind('\n').map_or(0, |newline| newline + 1);
    let ends_at = text[begins_at..].find('\n').map_or(text.len(), |length| begins_at + length);
    if !is_secret(&text[begins_at..ends_at.max(span.end.min(text.len()))]) {
        return error.to_string();
    }
    format!("line {}, which may hold a secret", before.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests;
