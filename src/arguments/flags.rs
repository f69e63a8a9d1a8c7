//! The flags of the commands. The flags of `run` are also the keys of its configuration file.

use super::formats::GivenFormat;
use super::parameters::QueryParameters;
use super::share::Share;
use crate::dataflows;
use crate::kafka::{GivenSetting, SecretText};
use crate::serve::HttpAddress;
use crate::time::{Moment, Span};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The flags of `trendmark demo`, which runs on one machine in a temporary folder.
#[derive(Args, Clone, Debug)]
pub struct DemoArguments {
    /// How long to run [default: until Ctrl-C]
    #[arg(long = "for", value_name = "DURATION")]
    pub duration: Option<Span>,

    /// Event time that passes per second
    #[arg(long, value_name = "DURATION", default_value = "20m")]
    pub pace: Span,

    /// Impressions per second
    #[arg(long, value_name = "COUNT", default_value_t = 50_000)]
    pub rate: u64,

    /// Number of worker threads
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    pub workers: usize,

    /// Seed of the generated events
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,

    /// Where to serve the page and the API; with port 0 the system chooses one
    #[arg(long, value_name = "HOST:PORT", default_value_t = HttpAddress::any_local())]
    pub http_address: HttpAddress,
}

/// The store to read, and how to connect to it.
#[derive(Args, Clone, Debug, Default)]
pub struct StoreArguments {
    /// Store to read, as given to `run`: a file, or kafka:TOPIC; a running job may be writing to it
    #[arg(long, value_name = "FILE|kafka:TOPIC")]
    pub store: Option<PathBuf>,

    /// Kafka brokers, for a store in Kafka and for the end offsets of sources in Kafka
    #[arg(long, value_name = "HOST:PORT,…")]
    pub bootstrap_servers: Option<String>,

    /// librdkafka setting, repeatable, such as security.protocol=SASL_SSL
    #[arg(long, value_name = "KEY=VALUE")]
    pub kafka: Vec<GivenSetting>,

    /// Configuration file of `run`, to read the store and the Kafka settings from
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The flags of `trendmark show`.
#[derive(Args, Clone, Debug)]
pub struct ShowArguments {
    /// The store.
    #[command(flatten)]
    pub store: StoreArguments,

    /// Query whose rows to print [default: the main table of the store]
    #[arg(long, value_name = "NAME")]
    pub query: Option<String>,

    /// Output format; a table has at most 1,000 rows, csv and json have all
    #[arg(long, value_enum, default_value_t = RowsFormat::Table)]
    pub format: RowsFormat,

    /// Only this epoch: its number since 1970, floor(time / epoch length), as in the column `epoch`
    /// of csv and json
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub epoch: Option<i64>,

    /// Only this video
    #[arg(long, value_name = "ID")]
    pub video: Option<u64>,

    /// Only the N rows with the largest values in each epoch; for trends, the videos with the most
    /// plays, then impressions
    #[arg(long, value_name = "N")]
    pub top: Option<u64>,

    /// Only rows that changed after this publication (commit); see the column `publication`
    #[arg(long, value_name = "PUBLICATION")]
    pub since: Option<u64>,
}

/// The output format of rows.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsFormat {
    /// A table, largest values first; `*` marks epochs that may still change
    Table,
    /// Comma-separated values with a header, sorted by epoch and id; `final` is 0 or 1
    Csv,
    /// JSON Lines: one object per row, sorted by epoch and id
    Json,
}

/// The flags of `trendmark status`.
#[derive(Args, Clone, Debug)]
pub struct StatusArguments {
    /// The store.
    #[command(flatten)]
    pub store: StoreArguments,

    /// Output format: a table for people, or one JSON object
    #[arg(long, value_enum, default_value_t = StatusFormat::Table)]
    pub format: StatusFormat,

    /// How long a running job may commit nothing while it is behind, until its status is stale
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    pub stale_after: Span,

    /// Print the status again every second, until Ctrl-C
    #[arg(long)]
    pub watch: bool,
}

/// The output format of a status.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusFormat {
    /// A table for people
    Table,
    /// One JSON object for programs
    Json,
}

/// The format of standard error.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people
    Text,
    /// JSON Lines: one object per line, with timestamp, level and message
    Json,
}

/// The flags of `trendmark run`, which are also the keys of its configuration file.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct RunArguments {
    /// Impressions: files, folders or patterns, .jsonl or .ndjson (also .gz, .zst) and .parquet;
    /// or Kafka topics, kafka:TOPIC
    #[arg(long, value_name = "PLACE", num_args = 1.., help_heading = "Sources and store")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub impressions: Vec<String>,

    /// Plays: files, folders or patterns, .jsonl or .ndjson (also .gz, .zst) and .parquet;
    /// or Kafka topics, kafka:TOPIC
    #[arg(long, value_name = "PLACE", num_args = 1.., help_heading = "Sources and store")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plays: Vec<String>,

    /// Denials, of requests that count for no video (bots, tests, erasures): files, folders or
    /// patterns, .jsonl or .ndjson (also .gz, .zst) and .parquet; or Kafka topics, kafka:TOPIC
    #[arg(long, value_name = "PLACE", num_args = 1.., help_heading = "Sources and store")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<String>,

    /// Titles of videos: files with video_id, title, genre and launched_at, .jsonl or .ndjson (also
    /// .gz, .zst), .csv and .parquet, or patterns; of a video in several files, the last one
    /// counts; or compacted topics, kafka:TOPIC, with the video as key
    #[arg(long, value_name = "PLACE", num_args = 1.., help_heading = "Sources and store")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub titles: Vec<String>,

    /// Map a field to its name in the records, such as request_id=rid, or to its path, such as
    /// request_id=payload.rid (a backslash before a dot makes it part of a name); for one log only:
    /// plays.request_id=page_id. The fields are request_id, video_id, event_time and record_time
    #[arg(long = "field", value_name = "FIELD=PATH", help_heading = "Sources and store")]
    #[serde(rename = "field", skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,

    /// Store: an SQLite file, or Kafka topics, kafka:TOPIC; the job resumes where the previous job
    /// on this store stopped
    #[arg(long, value_name = "PLACE", help_heading = "Sources and store")]
    pub store: Option<PathBuf>,

    /// Take the store over from a job that still uses it, without waiting for it; that job can
    /// commit nothing more and ends
    #[arg(long, help_heading = "Sources and store")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub take_over: bool,

    /// If the store is at this publication, read nothing again: the epochs that have begun become
    /// final as the store has them, and later events for them are late. For logs that are lost
    #[arg(long, value_name = "PUBLICATION", help_heading = "Sources and store")]
    pub accept_loss: Option<u64>,

    /// File to append malformed records to, one JSON object per line; process N of several appends
    /// to FILE.process-N
    #[arg(long, value_name = "FILE", help_heading = "Sources and store")]
    pub dead_letter: Option<PathBuf>,

    /// Maximum bytes of malformed records to keep: at half of them, FILE replaces FILE.old, and a
    /// new FILE begins [default: 1073741824]
    #[arg(long, value_name = "BYTES", help_heading = "Sources and store")]
    pub dead_letter_max: Option<u64>,

    /// Share of the records of a log that may be malformed, such as 1% or 0.01; with more, the job
    /// fails at its end with exit code 6, and with --follow it warns [default: fail only if all
    /// records of a log are malformed]
    #[arg(long, value_name = "SHARE", help_heading = "Sources and store")]
    pub max_malformed: Option<Share>,

    /// Folder of the sets: Parquet files of the request ids with an impression and with a play, of
    /// every video and epoch, which appear with the publications; several processes share it
    #[arg(long, value_name = "DIR", help_heading = "Sources and store")]
    pub sets: Option<PathBuf>,

    /// Continue at the end of the input: files may grow, and new files may appear in folders and
    /// patterns; Kafka topics are always followed, unless --until-end is given
    #[arg(long, help_heading = "Sources and store")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub follow: bool,

    /// Read Kafka topics up to the end offsets of their partitions at the start, and finish with
    /// every epoch final
    #[arg(long, conflicts_with = "follow", help_heading = "Sources and store")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub until_end: bool,

    /// Kafka brokers to connect to first, separated by commas
    #[arg(long, value_name = "HOST:PORT,…", help_heading = "Kafka")]
    pub bootstrap_servers: Option<String>,

    /// Format of the messages in topics: json, avro or protobuf; for one log only: plays=avro. Avro
    /// and Protobuf have Confluent framing, with their schemas in a registry [default: json]
    #[arg(long, value_name = "[LOG=]FORMAT", num_args = 1.., help_heading = "Kafka")]
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "super::formats::serialize",
        deserialize_with = "super::formats::deserialize"
    )]
    pub kafka_format: Vec<GivenFormat>,

    /// URL of the schema registry, Confluent or compatible
    #[arg(long, value_name = "URL", help_heading = "Kafka")]
    pub schema_registry: Option<SecretText>,

    /// Credentials for the schema registry: USER:PASSWORD, or file:PATH or env:NAME to read them
    /// from
    #[arg(long, value_name = "USER:PASSWORD", help_heading = "Kafka")]
    pub schema_registry_auth: Option<SecretText>,

    /// Query to compute and store, or `all` [default: trends]
    #[arg(long, value_name = "NAME", help_heading = "Queries and epochs", help = query_help())]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<String>,

    /// Length of an epoch of event time [default: 30m]
    #[arg(long, value_name = "DURATION", help_heading = "Queries and epochs")]
    pub epoch_length: Option<Span>,

    /// A play counts in its impression's epoch and in this many epochs after it [default: 4]
    #[arg(
        long,
        value_name = "EPOCHS",
        help_heading = "Queries and epochs",
        allow_negative_numbers = true
    )]
    pub join_window: Option<i64>,

    /// How far a partition's watermark trails its largest event time [default: 10m]
    #[arg(long, value_name = "DURATION", help_heading = "Queries and epochs")]
    pub max_delay: Option<Span>,

    /// How far an event time may be ahead of its record time [default: 10m]
    #[arg(long, value_name = "DURATION", help_heading = "Queries and epochs")]
    pub max_future: Option<Span>,

    /// How far a record's time may be ahead of the time that the records before it support, unless
    /// half of the records after it support it too [default: the longer of one epoch and
    /// --max-delay]
    #[arg(long, value_name = "DURATION", help_heading = "Queries and epochs")]
    pub max_leap: Option<Span>,

    /// Earliest event time that counts, such as 2026-01-01T00:00:00Z; events before it are late
    #[arg(long, value_name = "TIME", help_heading = "Queries and epochs")]
    pub from: Option<Moment>,

    /// End of the event times that count; events from then on are future
    #[arg(long, value_name = "TIME", help_heading = "Queries and epochs")]
    pub until: Option<Moment>,

    /// Number of consecutive records of a partition that together support a time; half of them must
    /// agree [default: 256]
    #[arg(long, value_name = "RECORDS", help_heading = "Queries and epochs")]
    pub leap_support: Option<usize>,

    /// Worker threads of each process [default: 1 per core, or 1 with --processes]
    #[arg(long, value_name = "COUNT", help_heading = "Workers and processes")]
    pub workers: Option<usize>,

    /// Number of processes of this job; start each with its own --process [default: 1]
    #[arg(long, value_name = "COUNT", help_heading = "Workers and processes")]
    pub processes: Option<usize>,

    /// Number of this process, from 0; process 0 owns the store [default: 0]
    #[arg(long, value_name = "NUMBER", help_heading = "Workers and processes")]
    pub process: Option<usize>,

    /// File with one line `host:port` per process [default: localhost:2101, :2102, …]
    #[arg(long, value_name = "FILE", help_heading = "Workers and processes")]
    pub hostfile: Option<PathBuf>,

    /// How long the processes wait for each other at the start [default: 1m]
    #[arg(long, value_name = "DURATION", help_heading = "Workers and processes")]
    pub launch_timeout: Option<Span>,

    /// File with a secret that all processes of the job share, so that nobody else can join it: a
    /// long random text, which is never sent
    #[arg(long, value_name = "FILE", help_heading = "Workers and processes")]
    pub cluster_secret: Option<PathBuf>,

    /// Where to serve the HTTP API and the page, such as 127.0.0.1:8080; process N of several adds
    /// N to the port, and process 0 has the API
    #[arg(long, value_name = "HOST:PORT", help_heading = "HTTP")]
    pub http_address: Option<HttpAddress>,

    /// File with a token that clients of the API must know; the variable TRENDMARK_HTTP_TOKEN may
    /// have it instead
    #[arg(long, value_name = "FILE", help_heading = "HTTP")]
    pub http_token_file: Option<PathBuf>,

    /// Age of the last commit from which on /readyz says that the job is not ready, if there is
    /// something to commit [default: the longer of 1m and three publish intervals]
    #[arg(long, value_name = "DURATION", help_heading = "HTTP")]
    pub ready_within: Option<Span>,

    /// Format of standard error: text, or json, one object per line with timestamp, level and
    /// message [default: text]
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        help_heading = "Log",
        hide_possible_values = true
    )]
    pub log_format: Option<LogFormat>,

    /// Interval between publications [default: 1s]
    #[arg(long, value_name = "DURATION", help_heading = "Pace and limits")]
    pub publish_interval: Option<Span>,

    /// Time without new records after which a partition is idle and no longer holds epochs open
    /// [default: 10s]
    #[arg(long, value_name = "DURATION", help_heading = "Pace and limits")]
    pub idle_timeout: Option<Span>,

    /// Interval between polls at the end of a partition [default: 10ms]
    #[arg(long, value_name = "DURATION", help_heading = "Pace and limits")]
    pub poll_interval: Option<Span>,

    /// How far a partition may run ahead of the slowest one, in event time [default: one epoch]
    #[arg(long, value_name = "DURATION", help_heading = "Pace and limits")]
    pub alignment: Option<Span>,

    /// Maximum time that events wait for their round to fill [default: 100ms]
    #[arg(long, value_name = "DURATION", help_heading = "Pace and limits")]
    pub tick: Option<Span>,

    /// Maximum events of one log (such as impressions) in a worker's round [default: 100000]
    #[arg(long, value_name = "EVENTS", help_heading = "Pace and limits")]
    pub round_events: Option<usize>,

    /// Maximum bytes of one log (such as impressions) in a worker's round [default: 67108864]
    #[arg(long, value_name = "BYTES", help_heading = "Pace and limits")]
    pub round_bytes: Option<u64>,

    /// Maximum rounds in flight per worker [default: 16]
    #[arg(long, value_name = "ROUNDS", help_heading = "Pace and limits")]
    pub rounds_in_flight: Option<usize>,

    /// Maximum changed rows, and sums not yet turned into rows, that wait on a worker for the next
    /// publication [default: 1048576]
    #[arg(long, value_name = "ROWS", help_heading = "Pace and limits")]
    pub rows_waiting_max: Option<usize>,

    /// Maximum memory of a process; near it partitions wait for the slowest one, and at it the job
    /// ends with an error [default: three quarters of the machine's]
    #[arg(long, value_name = "BYTES", help_heading = "Pace and limits")]
    pub state_max: Option<u64>,

    /// How long a worker may not get on before its process ends with exit code 8, so that it can be
    /// started again; 0s never ends it [default: 1m]
    #[arg(long, value_name = "DURATION", help_heading = "Pace and limits")]
    pub watchdog: Option<Span>,

    /// librdkafka setting, repeatable, or a table `kafka` in the configuration, such as
    /// security.protocol=SASL_SSL; a value file:PATH or env:NAME is read from that file or
    /// environment variable, so that no secret is written here
    #[arg(long = "kafka", value_name = "KEY=VALUE", help_heading = "Kafka")]
    #[serde(
        rename = "kafka",
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "crate::kafka::serialize_settings",
        deserialize_with = "crate::kafka::deserialize_settings"
    )]
    pub kafka: Vec<GivenSetting>,

    /// The query parameters.
    #[command(flatten)]
    #[serde(skip)]
    pub parameters: QueryParameters,

    /// Configuration file: TOML with these flags as keys
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Print the resulting configuration, with all defaults, and exit
    #[arg(long)]
    #[serde(skip)]
    pub print_config: bool,
}

fn query_help() -> String {
    let queries = dataflows::ALL.iter().map(|query| format!("{}: {}", query.name, query.about));
    let queries: Vec<_> = queries.collect();
    format!(
        "Query to compute and store, repeatable, or `all` [default: trends]; {}",
        queries.join("; ")
    )
}
