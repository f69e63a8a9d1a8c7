//! The configuration file: TOML with the flags of `run` as keys.

use super::ArgumentError;
use super::flags::{LogFormat, RunArguments, StoreArguments};
use super::formats;
use super::parameters::QueryParameters;
use super::plan::refuse_url;
use crate::dataflows;
use crate::engine::{Cluster, DeadLetters, Settings};
use crate::kafka::check_servers;
use crate::time::{Definition, Span};
use clap::{Args, Command};
use serde::Deserialize;
use std::ops::Range;
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// The least default of `--ready-within`, in milliseconds.
const READY_WITHIN_MS: i64 = 60_000;

impl RunArguments {
    /// Fills in missing arguments from the configuration file, then from the defaults.
    ///
    /// # Errors
    /// When the configuration file cannot be read or is invalid.
    pub fn with_config(&self) -> Result<RunArguments, ArgumentError> {
        let given = match &self.config {
            Some(path) => self.merged_over(path)?,
            None => self.clone(),
        };
        given.refuse_users()?;
        Ok(given.with_defaults())
    }

    /// Refuses addresses and URLs with users, before anything prints them.
    fn refuse_users(&self) -> Result<(), ArgumentError> {
        check_servers(self.bootstrap_servers.as_deref().unwrap_or_default())?;
        let paths = [&self.store, &self.dead_letter, &self.hostfile, &self.http_token_file];
        let paths = paths.into_iter().flatten();
        let paths = paths.filter_map(|path| path.to_str());
        let places =
            [&self.impressions, &self.plays, &self.denied, &self.titles].into_iter().flatten();
        let places = places.map(String::as_str);
        places.chain(paths).try_for_each(refuse_url)
    }

    fn merged_over(&self, path: &Path) -> Result<RunArguments, ArgumentError> {
        let written = RunArguments::read(path)?;
        let mut table = written.to_table();
        table.extend(self.to_table());
        // Secrets are hidden in TOML, so Kafka settings are merged below. Of two equal keys the
        // last one wins.
        table.remove("kafka");
        let merged = RunArguments::deserialize(table);
        let merged =
            merged.unwrap_or_else(|error| unreachable!("the serialized TOML parses: {error}"));
        Ok(RunArguments {
            kafka: [written.kafka, self.kafka.clone()].concat(),
            schema_registry: self.schema_registry.clone().or(written.schema_registry),
            schema_registry_auth: self
                .schema_registry_auth
                .clone()
                .or(written.schema_registry_auth),
            parameters: self.parameters.or_else(&written.parameters),
            ..merged
        })
    }

    /// Reads a configuration file.
    ///
    /// # Errors
    /// When the file cannot be read or is invalid.
    fn read(path: &Path) -> Result<RunArguments, ArgumentError> {
        let read = |error| ArgumentError::ConfigRead { path: path.to_owned(), error };
        let text = std::fs::read_to_string(path).map_err(read)?;
        RunArguments::from_toml(&text)
            .map_err(|error| ArgumentError::Config { path: path.to_owned(), error })
    }

    /// Parses the text of a configuration file.
    ///
    /// # Errors
    /// Returns the problem and its line as text without secrets.
    pub fn from_toml(text: &str) -> Result<RunArguments, String> {
        let told = |problem: Problem| problem.format_error(text);
        let mut table = DeTable::parse(text).map_err(Problem::of).map_err(told)?;
        let parameters = take_parameters(table.get_mut()).map_err(told)?;
        let arguments = RunArguments::deserialize(toml::Deserializer::from(table));
        let arguments = arguments.map_err(Problem::of).map_err(told)?;
        Ok(RunArguments { parameters, ..arguments })
    }

    /// Formats the arguments as the text of a configuration file. Secrets are hidden.
    pub fn to_toml(&self) -> String {
        let mut table = self.to_table();
        table.extend(self.parameters.to_table());
        match toml::to_string(&table) {
            Ok(text) => text,
            Err(error) => unreachable!("arguments can be written as TOML: {error}"),
        }
    }

    /// Returns the settings that must be the same in all processes of a job: names and values.
    pub(super) fn shared_settings(&self) -> Vec<(String, String)> {
        /// Where a process is, how it reaches others, and what only process 0 uses.
        const OF_ONE_PROCESS: [&str; 20] = [
            "bootstrap-servers",
            "cluster-secret",
            "dead-letter",
            "dead-letter-max",
            "hostfile",
            "http-address",
            "http-token-file",
            "kafka",
            "launch-timeout",
            "log-format",
            "process",
            "processes",
            "ready-within",
            "schema-registry",
            "schema-registry-auth",
            "state-max",
            "store",
            "take-over",
            "watchdog",
            "workers",
        ];
        let mut table = self.to_table();
        table.extend(self.parameters.to_table());
        OF_ONE_PROCESS.iter().for_each(|name| drop(table.remove(*name)));
        let text = |value: toml::Value| value.as_str().map_or(value.to_string(), str::to_owned);
        table.into_iter().map(|(name, value)| (name, text(value))).collect()
    }

    /// The arguments as a TOML table, without the query parameters.
    fn to_table(&self) -> toml::Table {
        match toml::Table::try_from(self) {
            Ok(table) => table,
            Err(error) => unreachable!("arguments can be written as TOML: {error}"),
        }
    }

    pub(super) fn with_defaults(self) -> RunArguments {
        let definition = Definition::default();
        let epoch_length = self.epoch_length.unwrap_or(Span { ms: definition.epoch_length_ms });
        let max_delay = self.max_delay.unwrap_or(Span { ms: definition.max_delay_ms });
        let max_leap_ms = Definition::default_max_leap_ms(epoch_length.ms, max_delay.ms);
        let defaults = Settings::new(definition, Vec::new());
        let publish_ms = self.publish_interval.map_or(0, |interval| interval.ms);
        let ready_within = Span { ms: READY_WITHIN_MS.max(publish_ms.saturating_mul(3)) };
        let processes = self.processes.unwrap_or(1);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let query = match self.query {
            query if query.is_empty() => vec![dataflows::ALL[0].name.to_string()],
            query => query,
        };
        let join_window_epochs = self.join_window.unwrap_or(definition.join_window_epochs);
        let epochs = Definition {
            epoch_length_ms: epoch_length.ms.max(1),
            join_window_epochs,
            max_delay_ms: max_delay.ms,
            ..definition
        };
        RunArguments {
            parameters: self.parameters.with_defaults(&query, &epochs),
            query,
            kafka_format: match self.kafka_format {
                formats if formats.is_empty() => vec![formats::DEFAULT],
                formats => formats,
            },
            dead_letter_max: self.dead_letter_max.or(Some(DeadLetters::BYTES_MAX)),
            epoch_length: Some(epoch_length),
            join_window: Some(join_window_epochs),
            max_delay: Some(max_delay),
            max_future: self.max_future.or(Some(Span { ms: definition.max_future_ms })),
            max_leap: self.max_leap.or(Some(Span { ms: max_leap_ms })),
            leap_support: self.leap_support.or(Some(definition.leap_support)),
            workers: self.workers.or(Some(if processes == 1 { cores } else { 1 })),
            processes: Some(processes),
            process: self.process.or(Some(0)),
            log_format: self.log_format.or(Some(LogFormat::Text)),
            launch_timeout: self.launch_timeout.or(Some(Span::of(Cluster::LAUNCH_TIMEOUT))),
            publish_interval: self.publish_interval.or(Some(Span::of(defaults.publish_interval))),
            idle_timeout: self.idle_timeout.or(Some(Span::of(defaults.idle_timeout))),
            poll_interval: self.poll_interval.or(Some(Span::of(defaults.poll_interval))),
            alignment: self.alignment.or(Some(epoch_length)),
            tick: self.tick.or(Some(Span::of(defaults.tick))),
            round_events: self.round_events.or(Some(defaults.round_events)),
            round_bytes: self.round_bytes.or(Some(defaults.round_bytes)),
            rounds_in_flight: self.rounds_in_flight.or(Some(defaults.rounds_in_flight)),
            state_max: self.state_max.or(Some(defaults.state_max)),
            rows_waiting_max: self.rows_waiting_max.or(Some(defaults.rows_waiting_max)),
            ready_within: self.ready_within.or(Some(ready_within)),
            watchdog: self.watchdog.or(Some(Span::of(defaults.watchdog))),
            ..self
        }
    }
}

impl StoreArguments {
    /// Fills in missing arguments from the configuration file.
    ///
    /// # Errors
    /// When the configuration file cannot be read or is invalid.
    pub fn with_config(&self) -> Result<StoreArguments, ArgumentError> {
        let Some(path) = &self.config else { return Ok(self.clone()) };
        let written = RunArguments::read(path)?;
        Ok(StoreArguments {
            store: self.store.clone().or(written.store),
            bootstrap_servers: self.bootstrap_servers.clone().or(written.bootstrap_servers),
            kafka: [written.kafka, self.kafka.clone()].concat(),
            config: None,
        })
    }
}

/// A problem in a configuration file, and its position.
struct Problem {
    message: String,
    span: Option<Range<usize>>,
}

impl Problem {
    fn of(error: toml::de::Error) -> Problem {
        const IN_WORDS: [(&str, &str); 5] = [
            ("expected a sequence", "expected a list, such as [\"logs/plays-*\"]"),
            ("expected usize", "expected a whole number"),
            ("expected u64", "expected a whole number"),
            ("expected i64", "expected a whole number"),
            ("expected a boolean", "expected true or false"),
        ];
        let message = IN_WORDS.iter().fold(error.message().to_owned(), |message, (from, to)| {
            message.strip_suffix(from).map(|start| format!("{start}{to}")).unwrap_or(message)
        });
        Problem { message, span: error.span() }
    }

    /// Formats the problem and its position. Nothing of the file is quoted, as any of it may be a
    /// secret; a message about a value quotes it, and is not given for keys that may hold one.
    fn format_error(self, text: &str) -> String {
        let Some(span) = self.span else { return self.message };
        let number = text.get(..span.start).unwrap_or(text).matches('\n').count() + 1;
        match secret_key_at(text, &span) {
            Some(key) => format!("`{key}` has a value of the wrong form in line {number}"),
            None => format!("{} in line {number}", self.message),
        }
    }
}

/// Returns the key that has the value at a position, if it may hold a secret.
fn secret_key_at(text: &str, span: &Range<usize>) -> Option<&'static str> {
    const KEYS: [&str; 4] =
        ["kafka", "bootstrap-servers", "schema-registry", "schema-registry-auth"];
    let table = DeTable::parse(text).ok()?;
    let is_at = |key: &&str| {
        let value = table.get_ref().get(*key).map(|value| value.span());
        value.is_some_and(|value| value.start <= span.start && span.start <= value.end)
    };
    KEYS.into_iter().find(is_at)
}

/// Moves the query parameters out of the table. All keys of the table must be known.
fn take_parameters(table: &mut DeTable<'_>) -> Result<QueryParameters, Problem> {
    let mut parameters = QueryParameters::default();
    let keys: Vec<_> = table.keys().map(|key| (key.get_ref().to_string(), key.span())).collect();
    let known = known_keys();
    for (key, span) in keys {
        let problem = |message| Problem { message, span: Some(span.clone()) };
        if !known.contains(&key) {
            return Err(problem(unknown(&key, &known)));
        }
        if QueryParameters::declares(&key)
            && let Some(value) = table.remove(key.as_str())
        {
            parameters.set(&key, &text_of(value.get_ref())).map_err(problem)?;
        }
    }
    Ok(parameters)
}

fn text_of(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(integer) => integer.to_string(),
        other => format!("a {}", other.type_str()),
    }
}

/// The valid keys of a configuration file.
fn known_keys() -> Vec<String> {
    let command = RunArguments::augment_args(Command::new("run"));
    let flags = command.get_arguments().filter_map(|flag| flag.get_long());
    flags.filter(|flag| !["config", "print-config"].contains(flag)).map(str::to_owned).collect()
}

fn unknown(key: &str, known: &[String]) -> String {
    const SIMILAR: f64 = 0.8;
    let similarity = |known: &String| (strsim::jaro_winkler(key, known), known.clone());
    let best = known.iter().map(similarity).max_by(|one, other| one.0.total_cmp(&other.0));
    match best.filter(|(similarity, _)| *similarity >= SIMILAR) {
        Some((_, best)) => format!("unknown key `{key}`, did you mean `{best}`?"),
        // The key is not quoted: it may be anything, a secret too.
        None => "unknown key: the keys are the flags in `trendmark run --help`".into(),
    }
}
