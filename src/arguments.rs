//! What is typed on the command line and written in the configuration, and what it means.
//!
//! The configuration has the flags of `trendmark run` as its keys; a flag that is given wins.

use crate::dataflows;
use crate::decode::FieldNames;
use crate::engine::{Cluster, Settings};
use crate::event::Kind;
use crate::generate::GenerateArguments;
use crate::query::Query;
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

/// `trendmark run`: its flags, which are the keys of its configuration too.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct RunArguments {
    /// Impressions: files, folders or patterns; .jsonl (also .gz, .zst) and .parquet
    #[arg(long, value_name = "PATH", num_args = 1.., help_heading = "Sources and store")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub impressions: Vec<String>,

    /// Plays: files, folders or patterns; .jsonl (also .gz, .zst) and .parquet
    #[arg(long, value_name = "PATH", num_args = 1.., help_heading = "Sources and store")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plays: Vec<String>,

    /// Name of a field in the records, if it is another: request_id=rid; the fields are
    /// request_id, video_id, event_time and record_time
    #[arg(long = "field", value_name = "FIELD=NAME", help_heading = "Sources and store")]
    #[serde(rename = "field", skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,

    /// Store: an SQLite file that does not exist yet
    #[arg(long, value_name = "FILE", help_heading = "Sources and store")]
    pub store: Option<PathBuf>,

    /// File to append malformed records to, one JSON object a line
    #[arg(long, value_name = "FILE", help_heading = "Sources and store")]
    pub dead_letter: Option<PathBuf>,

    /// Go on when everything is read: files may grow, and folders and patterns get new files
    #[arg(long, help_heading = "Sources and store")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub follow: bool,

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

    /// How often to look for more at the end of partitions, and for new ones [default: 50ms]
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

    /// Most rounds of a worker under way at once [default: 4]
    #[arg(long, value_name = "ROUNDS", help_heading = "Pace and limits")]
    pub rounds_in_flight: Option<usize>,

    /// Most changed rows that wait on a worker for the next publication [default: 1048576]
    #[arg(long, value_name = "ROWS", help_heading = "Pace and limits")]
    pub rows_waiting_max: Option<usize>,

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
        /// What is wrong, and where.
        error: toml::de::Error,
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

/// What `trendmark run` is to do.
#[derive(Debug)]
pub struct Plan {
    /// What to compute, and how.
    pub settings: Settings,
    /// Who shares the work.
    pub cluster: Cluster,
    /// How long the processes of the job have to find each other.
    pub launch_timeout: Duration,
    /// Which files hold what.
    pub paths: Vec<(Kind, String)>,
    /// What their fields are called.
    pub fields: FieldNames,
    /// Where the results go.
    pub store: PathBuf,
    /// Where malformed records go.
    pub dead_letter: Option<PathBuf>,
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
        let wrong = |error| ArgumentError::Config { path: path.to_owned(), error };
        let text = std::fs::read_to_string(path).map_err(read)?;
        // Read as arguments first, so that what is wrong is told with its line.
        toml::from_str::<RunArguments>(&text).map_err(wrong)?;
        let mut table: toml::Table = toml::from_str(&text).map_err(wrong)?;
        match toml::Table::try_from(self) {
            Ok(given) => table.extend(given),
            Err(error) => unreachable!("arguments can be written as TOML: {error}"),
        }
        table.try_into().map_err(wrong)
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
            epoch_length: Some(epoch_length),
            join_window: self.join_window.or(Some(definition.join_window_epochs)),
            max_delay: self.max_delay.or(Some(Span { ms: definition.max_delay_ms })),
            max_future: self.max_future.or(Some(Span { ms: definition.max_future_ms })),
            workers: self.workers.or(Some(if processes == 1 { cores } else { 1 })),
            processes: Some(processes),
            process: self.process.or(Some(0)),
            launch_timeout: self.launch_timeout.or(Some(LAUNCH_TIMEOUT)),
            publish_interval: self.publish_interval.or(Some(Span::of(defaults.publish_interval))),
            idle_timeout: self.idle_timeout.or(Some(Span::of(defaults.idle_timeout))),
            poll_interval: self.poll_interval.or(Some(Span::of(defaults.poll_interval))),
            alignment: self.alignment.or(Some(epoch_length)),
            tick: self.tick.or(Some(Span::of(defaults.tick))),
            round_events: self.round_events.or(Some(defaults.round_events)),
            round_bytes: self.round_bytes.or(Some(defaults.round_bytes)),
            rounds_in_flight: self.rounds_in_flight.or(Some(defaults.rounds_in_flight)),
            rows_waiting_max: self.rows_waiting_max.or(Some(defaults.rows_waiting_max)),
            ..self
        }
    }

    /// What these arguments, once complete, are to do.
    ///
    /// # Errors
    /// When something is missing or out of its limits.
    pub fn plan(&self) -> Result<Plan, ArgumentError> {
        let impressions = self.impressions.iter().map(|path| (Kind::Impression, path.clone()));
        let plays = self.plays.iter().map(|path| (Kind::Play, path.clone()));
        let paths: Vec<_> = impressions.chain(plays).collect();
        if paths.is_empty() {
            return Err(ArgumentError::Missing("give --impressions or --plays, or both"));
        }
        let store = self.store.clone().ok_or(ArgumentError::Missing("give --store"))?;
        Ok(Plan {
            settings: self.settings()?,
            cluster: self.cluster()?,
            launch_timeout: within("launch-timeout", self.launch_timeout, 0, WEEK_MS)?
                .unwrap_or(LAUNCH_TIMEOUT)
                .duration(),
            paths,
            fields: self.field_names()?,
            store,
            dead_letter: self.dead_letter.clone(),
        })
    }

    fn settings(&self) -> Result<Settings, ArgumentError> {
        let definition = self.definition()?;
        let queries = std::iter::once(Ok(&dataflows::distinct::QUERY)).chain(self.queries()?);
        let defaults = Settings::new(definition, queries.collect::<Result<_, _>>()?);
        let clock = |flag, span: Option<Span>, default| {
            within(flag, span, 0, WEEK_MS).map(|span| span.map_or(default, Span::duration))
        };
        let count = |flag, value: Option<usize>, default| {
            let value = value.unwrap_or(default);
            let refused = || limit(flag, value, "must be at least 1");
            if value == 0 { Err(refused()) } else { Ok(value) }
        };
        let alignment = within("alignment", self.alignment, 0, YEAR_MS)?;
        Ok(Settings {
            publish_interval: clock(
                "publish-interval",
                self.publish_interval,
                defaults.publish_interval,
            )?,
            tick: clock("tick", self.tick, defaults.tick)?,
            idle_timeout: clock("idle-timeout", self.idle_timeout, defaults.idle_timeout)?,
            poll_interval: clock("poll-interval", self.poll_interval, defaults.poll_interval)?,
            alignment_ms: alignment.map_or(defaults.alignment_ms, |span| span.ms),
            round_events: count("round-events", self.round_events, defaults.round_events)?,
            round_bytes: self.round_bytes.unwrap_or(defaults.round_bytes).max(1),
            rounds_in_flight: count(
                "rounds-in-flight",
                self.rounds_in_flight,
                defaults.rounds_in_flight,
            )?,
            rows_waiting_max: count(
                "rows-waiting-max",
                self.rows_waiting_max,
                defaults.rows_waiting_max,
            )?,
            follow: self.follow,
            ..defaults
        })
    }

    fn definition(&self) -> Result<Definition, ArgumentError> {
        let default = Definition::default();
        let length = within("epoch-length", self.epoch_length, 1_000, YEAR_MS)?;
        let delay = within("max-delay", self.max_delay, 0, YEAR_MS)?;
        let future = within("max-future", self.max_future, 0, YEAR_MS)?;
        let join_window_epochs = self.join_window.unwrap_or(default.join_window_epochs);
        if !(0..=JOIN_WINDOW_MAX).contains(&join_window_epochs) {
            let most = format!("must be 0 to {JOIN_WINDOW_MAX}");
            return Err(limit("join-window", join_window_epochs, &most));
        }
        Ok(Definition {
            epoch_length_ms: length.map_or(default.epoch_length_ms, |span| span.ms),
            join_window_epochs,
            max_delay_ms: delay.map_or(default.max_delay_ms, |span| span.ms),
            max_future_ms: future.map_or(default.max_future_ms, |span| span.ms),
        })
    }

    fn queries(
        &self,
    ) -> Result<impl Iterator<Item = Result<&'static Query, ArgumentError>> + use<>, ArgumentError>
    {
        let mut queries: Vec<Result<&'static Query, ArgumentError>> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for name in &self.query {
            let named: Vec<&'static Query> = match name.as_str() {
                "all" => dataflows::ALL.to_vec(),
                name => vec![dataflows::find(name).ok_or_else(|| unknown_query(name))?],
            };
            queries.extend(named.into_iter().filter(|query| seen.insert(query.name)).map(Ok));
        }
        Ok(queries.into_iter())
    }

    fn cluster(&self) -> Result<Cluster, ArgumentError> {
        let (processes, process) = (self.processes.unwrap_or(1), self.process.unwrap_or(0));
        let workers = self.workers.unwrap_or(1);
        if !(1..=WORKERS_MAX).contains(&workers) {
            return Err(limit("workers", workers, &format!("must be 1 to {WORKERS_MAX}")));
        }
        if !(1..=WORKERS_MAX).contains(&processes) {
            return Err(limit("processes", processes, &format!("must be 1 to {WORKERS_MAX}")));
        }
        if process >= processes {
            return Err(limit("process", process, "must be less than --processes"));
        }
        if processes == 1 {
            return Ok(Cluster::threads(workers));
        }
        Ok(Cluster { workers, process, addresses: self.addresses(processes)? })
    }

    fn addresses(&self, processes: usize) -> Result<Vec<String>, ArgumentError> {
        let Some(path) = &self.hostfile else {
            return Ok((0..processes)
                .map(|process| format!("localhost:{}", 2101 + process))
                .collect());
        };
        let wrong = |reason: String| ArgumentError::Hostfile { path: path.clone(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let addresses: Vec<String> = lines.take(processes).map(str::to_string).collect();
        if addresses.len() < processes {
            let found = addresses.len();
            return Err(wrong(format!(
                "it names {found} processes, but --processes is {processes}"
            )));
        }
        match addresses.iter().find(|address| !address.contains(':')) {
            Some(address) => Err(wrong(format!("`{address}` is not host:port"))),
            None => Ok(addresses),
        }
    }

    fn field_names(&self) -> Result<FieldNames, ArgumentError> {
        let mut names = FieldNames::default();
        for field in &self.fields {
            let refused = |limit_text| limit("field", field, limit_text);
            let (field_name, name) =
                field.split_once('=').ok_or_else(|| refused("must be FIELD=NAME"))?;
            let slot = match field_name {
                "request_id" => &mut names.request_id,
                "video_id" => &mut names.video_id,
                "event_time" => &mut names.event_time,
                "record_time" => &mut names.record_time,
                _ => {
                    return Err(refused(
                        "the fields are request_id, video_id, event_time and record_time",
                    ));
                }
            };
            *slot = name.to_string();
        }
        let all = [&names.request_id, &names.video_id, &names.event_time, &names.record_time];
        let distinct: std::collections::BTreeSet<_> = all.into_iter().collect();
        if distinct.len() < all.len() {
            return Err(limit("field", self.fields.join(", "), "no two fields can have one name"));
        }
        Ok(names)
    }
}

const WEEK_MS: i64 = 7 * 86_400_000;
const YEAR_MS: i64 = 366 * 86_400_000;
/// Every play is kept in each epoch of its join window.
const JOIN_WINDOW_MAX: i64 = 1_000;
const WORKERS_MAX: usize = 1_024;
const LAUNCH_TIMEOUT: Span = Span { ms: 60_000 };

fn within(
    flag: &'static str,
    span: Option<Span>,
    least_ms: i64,
    most_ms: i64,
) -> Result<Option<Span>, ArgumentError> {
    match span {
        Some(span) if !(least_ms..=most_ms).contains(&span.ms) => {
            let (least, most) = (format_duration(least_ms), format_duration(most_ms));
            Err(limit(flag, span, &format!("must be {least} to {most}")))
        }
        _ => Ok(span),
    }
}

fn limit(flag: &'static str, given: impl fmt::Display, limit: &str) -> ArgumentError {
    ArgumentError::Limit { flag, given: given.to_string(), limit: limit.to_string() }
}

fn unknown_query(name: &str) -> ArgumentError {
    let names = dataflows::ALL.map(|query| query.name);
    limit("query", name, &format!("must be one of {}, all", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn run(arguments: &[&str]) -> RunArguments {
        let arguments = ["trendmark", "run"].iter().chain(arguments);
        match Arguments::try_parse_from(arguments).unwrap().command {
            Command::Run(run) => *run,
            other => panic!("not run: {other:?}"),
        }
    }

    #[test]
    fn a_flag_wins_over_the_configuration_and_both_over_the_default() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("job.toml");
        std::fs::write(&path, "join-window = 2\nmax-delay = \"5m\"\nplays = [\"p.jsonl\"]")
            .unwrap();
        let typed = run(&["--config", path.to_str().unwrap(), "--join-window", "3"]);
        let complete = typed.complete().unwrap();
        assert_eq!(complete.join_window, Some(3));
        assert_eq!(complete.max_delay, Some(Span { ms: 300_000 }));
        assert_eq!(complete.max_future, Some(Span { ms: 600_000 }));
        assert_eq!(complete.plays, ["p.jsonl"]);
    }

    #[test]
    fn the_printed_configuration_means_the_same_when_read_back() {
        let complete = run(&["--plays", "a", "b", "--store", "s.db", "--field", "video_id=v"])
            .complete()
            .unwrap();
        let printed = toml::to_string(&complete).unwrap();
        assert_eq!(toml::from_str::<RunArguments>(&printed).unwrap(), complete);
    }

    #[test]
    fn a_wrong_configuration_is_told_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("job.toml");
        for text in ["join-window = 2\nepoch-lenght = \"5m\"", "\nmax-delay = \"5 parsecs\""] {
            std::fs::write(&path, text).unwrap();
            let error = run(&["--config", path.to_str().unwrap()]).complete().unwrap_err();
            assert!(error.to_string().contains("line 2"), "{error}");
        }
    }

    #[test]
    fn every_default_is_told_in_the_help() {
        let help = Arguments::command()
            .find_subcommand_mut("run")
            .unwrap()
            .clone()
            .term_width(1_000)
            .render_long_help()
            .to_string();
        let defaults = toml::Table::try_from(RunArguments::default().with_defaults()).unwrap();
        for (flag, value) in defaults {
            let value = match value {
                toml::Value::String(text) => text,
                toml::Value::Array(values) => values[0].as_str().unwrap().to_string(),
                value => value.to_string(),
            };
            let told = help.split(&format!("--{flag} ")).nth(1).unwrap();
            let told = told.split("\n\n").next().unwrap();
            let exceptions = ["workers", "alignment"];
            let default = format!("[default: {value}]");
            assert!(told.contains(&default) || exceptions.contains(&&flag[..]), "{flag}: {told}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_flag_value_and_limit() {
        let sources = ["--plays", "a", "--store", "s.db"];
        let refused = [
            (vec!["--epoch-length", "0s"], "--epoch-length is 0s, but must be 1s to 366d"),
            (vec!["--join-window", "1001"], "--join-window is 1001, but must be 0 to 1000"),
            (vec!["--process", "1"], "--process is 1, but must be less than --processes"),
            (vec!["--workers", "0"], "--workers is 0, but must be 1 to 1024"),
            (
                vec!["--query", "trend"],
                "--query is trend, but must be one of trends, requests, choices, all",
            ),
            (
                vec!["--field", "video=v"],
                "--field is video=v, but the fields are request_id, \
                 video_id, event_time and record_time",
            ),
            (
                vec!["--field", "video_id=request_id"],
                "--field is video_id=request_id, but no two fields can have one name",
            ),
        ];
        for (arguments, message) in refused {
            let arguments = [&sources[..], &arguments].concat();
            let error = run(&arguments).complete().unwrap().plan().unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
