//! The flags of the commands. Those of `run` are the keys of its configuration too.

use super::parameters::QueryParameters;
use crate::dataflows;
use crate::decode::MessageFormat;
use crate::kafka::{GivenSetting, RegistryText};
use crate::time::Span;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

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

/// Which store is read, and how it is reached.
#[derive(Args, Clone, Debug, Default)]
pub struct StoreArguments {
    /// The store, as given to `run`: a file, or kafka:TOPIC; a job may be writing it
    #[arg(long, value_name = "FILE|kafka:TOPIC")]
    pub store: Option<PathBuf>,

    /// Brokers of Kafka, for a store there, and to tell where the logs end that are there
    #[arg(long, value_name = "HOST:PORT,…")]
    pub bootstrap_servers: Option<String>,

    /// Setting of librdkafka, such as security.protocol=SASL_SSL
    #[arg(long, value_name = "KEY=VALUE")]
    pub kafka: Vec<GivenSetting>,

    /// Configuration of `run`, to take the store and the settings of Kafka from
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `trendmark show`: what to print of which store.
#[derive(Args, Clone, Debug)]
pub struct ShowArguments {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArguments,

    /// The query whose rows are printed [default: the main table of the store]
    #[arg(long, value_name = "NAME")]
    pub query: Option<String>,

    /// How they are printed; a table has 1,000 rows at most, csv and json have all
    #[arg(long, value_enum, default_value_t = RowsFormat::Table)]
    pub format: RowsFormat,

    /// Only this epoch: its number since 1970 as in the column `epoch` of csv and json, which is
    /// floor(time / epoch length)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub epoch: Option<i64>,

    /// Only this video
    #[arg(long, value_name = "ID")]
    pub video: Option<u64>,

    /// Only the first N rows of each epoch: those with the largest values; of trends, the videos
    /// with the most plays, then impressions
    #[arg(long, value_name = "N")]
    pub top: Option<u64>,

    /// Only rows that changed after this publication (commit); see the column `publication`
    #[arg(long, value_name = "PUBLICATION")]
    pub since: Option<u64>,
}

/// How rows are printed.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsFormat {
    /// A table, largest first; `*` marks epochs that may still change
    Table,
    /// Comma-separated values with a header, by epoch and id; `final` is 0 or 1
    Csv,
    /// JSON Lines: one object per row, by epoch and id
    Json,
}

/// `trendmark status`: of which store.
#[derive(Args, Clone, Debug)]
pub struct StatusArguments {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArguments,

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
    pub kafka_format: Option<MessageFormat>,

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

    /// The parameters of queries.
    #[command(flatten)]
    #[serde(skip)]
    pub parameters: QueryParameters,

    /// Configuration: a TOML file with these flags as keys
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Print the configuration that results, with all defaults, and do nothing else
    #[arg(long)]
    #[serde(skip)]
    pub print_config: bool,
}

fn query_help() -> String {
    let queries = dataflows::ALL.iter().map(|query| format!("{}: {}", query.name, query.about));
    let queries: Vec<_> = queries.collect();
    format!(
        "Query to keep a table of, repeatable, or `all` [default: trends]; {}",
        queries.join("; ")
    )
}
