//! Checks complete arguments and turns them into a [`Plan`].

use super::fields::log_fields;
use super::formats::format_of;
use super::limits::{WEEK_MS, checked_span, clock, invalid_value, watchdog};
use super::{ArgumentError, HttpSettings, RunArguments};
use crate::dataflows;
use crate::decode::{LogFields, MessageFormat};
use crate::engine::{Cluster, DeadLetters, SetsSettings, Settings};
use crate::event::Kind;
use crate::kafka::{KafkaSettings, RegistrySettings, parse_topic};
use crate::query::QueryInstance;
use crate::sets;
use crate::time::{Definition, Span};
use crate::titles::TitlePlaces;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A job of `trendmark run`, with checked settings.
#[derive(Debug)]
pub struct Plan {
    /// The settings of the engine.
    pub settings: Settings,
    /// The processes and workers of the job.
    pub cluster: Cluster,
    /// The sources of events.
    pub inputs: Inputs,
    /// The Kafka settings, if a source, the titles or the store are in Kafka.
    pub kafka: Option<KafkaSettings>,
    /// The format of the messages in the topics of impressions, and of plays.
    pub message_formats: [MessageFormat; Kind::COUNT],
    /// The schema registry, for Avro and Protobuf messages.
    pub registry: Option<RegistrySettings>,
    /// The paths of the fields in the records of each log.
    pub fields: LogFields,
    /// The places of titles.
    pub titles: TitlePlaces,
    /// The location of the store.
    pub store: StoreLocation,
    /// Whether to fence a job that still uses the store.
    pub take_over: bool,
    /// The file for malformed records.
    pub dead_letter: Option<PathBuf>,
    /// The most bytes of malformed records that are kept, of each process.
    pub dead_letter_max: u64,
    /// The HTTP server, if there is one.
    pub http: Option<HttpSettings>,
    /// Within which time rows must be committed, for the job to be ready.
    pub ready_within: Duration,
    /// Whether the first malformed records are logged.
    pub logs_malformed: bool,
}

/// The sources of events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Files, folders and patterns, each with the kind of its events.
    pub paths: Vec<(Kind, String)>,
    /// Kafka topics, each with the kind of its events.
    pub topics: Vec<(Kind, String)>,
    /// Whether topics are read only to their end offsets at the start.
    pub until_end: bool,
}

impl Inputs {
    /// Whether a log is among them.
    pub fn include(&self, kind: Kind) -> bool {
        self.paths.iter().chain(&self.topics).any(|(of, _)| *of == kind)
    }

    /// Whether a job on these inputs never ends by itself.
    fn is_endless(&self, follow: bool) -> bool {
        follow || (!self.topics.is_empty() && !self.until_end)
    }
}

/// The location of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreLocation {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// Kafka topics.
    Kafka {
        /// The topic of the rows. The names of the other topics begin with its name.
        topic: String,
    },
}

impl StoreLocation {
    /// Parses a value of `--store`.
    ///
    /// # Errors
    /// When `kafka:` is not followed by a valid topic name.
    pub fn of(place: &Path) -> Result<StoreLocation, ArgumentError> {
        refuse_url(place.to_str().unwrap_or_default())?;
        match place.to_str().map(parse_topic).transpose()?.flatten() {
            Some(topic) => Ok(StoreLocation::Kafka { topic: topic.into() }),
            None => Ok(StoreLocation::Sqlite(place.into())),
        }
    }
}

impl fmt::Display for StoreLocation {
    /// Formats the location as a value of `--store`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreLocation::Sqlite(path) => write!(formatter, "{}", path.display()),
            StoreLocation::Kafka { topic } => write!(formatter, "kafka:{topic}"),
        }
    }
}

/// Refuses a URL in place of a file, without quoting it: it may hold a password.
pub(super) fn refuse_url(place: &str) -> Result<(), ArgumentError> {
    let Some((scheme, _)) = place.split_once("://") else { return Ok(()) };
    let is_scheme = |letter: char| letter.is_ascii_alphanumeric() || "+-.".contains(letter);
    if scheme.is_empty() || !scheme.chars().all(is_scheme) {
        return Ok(());
    }
    let what = format!("`{scheme}://…` is a URL: give a file, or a topic as kafka:TOPIC");
    Err(ArgumentError::Conflict(what))
}

/// Refuses a source that is also a topic of the store.
fn refuse_topics_of_store(
    store: &str,
    inputs: &Inputs,
    titles: &TitlePlaces,
) -> Result<(), ArgumentError> {
    let queries = dataflows::ALL.iter().map(|query| query.name);
    let others: Vec<&str> = queries
        .chain(["ledger", "titles", "completeness", "progress", "lease", sets::FILES.name])
        .collect();
    let is_of_store = |topic: &str| match topic.strip_prefix(store) {
        Some("") => true,
        Some(rest) => rest.strip_prefix('-').is_some_and(|name| others.contains(&name)),
        None => false,
    };
    let mut topics = inputs.topics.iter().map(|(_, topic)| topic).chain(&titles.topics);
    match topics.find(|topic| is_of_store(topic)) {
        Some(topic) => Err(ArgumentError::Conflict(format!(
            "the topic `{topic}` is a source and belongs to --store kafka:{store}: give another \
             --store"
        ))),
        None => Ok(()),
    }
}

impl RunArguments {
    /// Checks complete arguments and returns the plan.
    ///
    /// # Errors
    /// When an argument is missing or invalid.
    pub fn plan(&self) -> Result<Plan, ArgumentError> {
        let inputs = self.inputs()?;
        let titles = self.title_places(&inputs)?;
        let store = self.store.as_ref().ok_or(ArgumentError::Missing("give --store"))?;
        let store = StoreLocation::of(store)?;
        if let StoreLocation::Kafka { topic } = &store {
            refuse_topics_of_store(topic, &inputs, &titles)?;
        }
        let in_kafka = !inputs.topics.is_empty()
            || !titles.topics.is_empty()
            || matches!(store, StoreLocation::Kafka { .. });
        let servers = self.bootstrap_servers.as_deref().unwrap_or("");
        let kafka = in_kafka.then(|| KafkaSettings::given(servers, &self.kafka)).transpose()?;
        let mut settings = self.settings(inputs.is_endless(self.follow))?;
        // A Kafka store cannot look up rows by key: the replay passes it the rows of open epochs.
        settings.accept_loss = self.accept_loss;
        settings.malformed_max = self.max_malformed.map(|share| share.0);
        settings.restores_rows = matches!(store, StoreLocation::Kafka { .. });
        settings.sets = self.sets(&store)?;
        Ok(Plan {
            settings,
            cluster: self.cluster()?,
            inputs,
            kafka,
            message_formats: Kind::ALL.map(|kind| format_of(&self.kafka_format, kind)),
            registry: self.registry()?,
            fields: log_fields(&self.fields)?,
            titles,
            store,
            take_over: self.take_over,
            dead_letter: self.dead_letter.clone(),
            dead_letter_max: self.dead_letter_max.unwrap_or(DeadLetters::BYTES_MAX),
            http: self.http()?,
            ready_within: clock("ready-within", self.ready_within, Duration::ZERO)?,
            logs_malformed: true,
        })
    }

    /// The files and topics of titles.
    fn title_places(&self, inputs: &Inputs) -> Result<TitlePlaces, ArgumentError> {
        let mut places = TitlePlaces::default();
        for place in &self.titles {
            match parse_topic(place)? {
                _ if place.is_empty() => {
                    let what = "--titles is empty: give a file, a pattern or a topic";
                    return Err(ArgumentError::Conflict(what.into()));
                }
                Some(topic) if inputs.topics.iter().any(|(_, of)| of == topic) => {
                    let what = format!("the topic `{topic}` is a log: give another one for titles");
                    return Err(ArgumentError::Conflict(what));
                }
                Some(topic) => places.topics.push(topic.to_owned()),
                None => places.files.push(place.clone()),
            }
        }
        places.topics.sort();
        places.topics.dedup();
        Ok(places)
    }

    /// Where the sets are written, if they are.
    fn sets(&self, store: &StoreLocation) -> Result<Option<SetsSettings>, ArgumentError> {
        let Some(folder) = &self.sets else { return Ok(None) };
        refuse_url(folder.to_str().unwrap_or_default())?;
        sets::require()?;
        let store = match store {
            StoreLocation::Sqlite(path) => {
                let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                absolute.display().to_string()
            }
            StoreLocation::Kafka { .. } => store.to_string(),
        };
        Ok(Some(SetsSettings { folder: folder.clone(), store }))
    }

    fn inputs(&self) -> Result<Inputs, ArgumentError> {
        let given = [&self.impressions, &self.plays, &self.denied];
        let mut inputs = Inputs { until_end: self.until_end, ..Inputs::default() };
        let of_kind = |(kind, places): (Kind, &'_ Vec<String>)| {
            places.iter().map(move |place| (kind, place.clone())).collect::<Vec<_>>()
        };
        for (kind, place) in Kind::ALL.into_iter().zip(given).flat_map(of_kind) {
            if place.is_empty() {
                let what = format!("{} is empty: give a file, a folder or a topic", kind.flag());
                return Err(ArgumentError::Conflict(what));
            }
            match parse_topic(&place)? {
                Some(topic) => inputs.topics.push((kind, topic.into())),
                None => inputs.paths.push((kind, place)),
            }
        }
        inputs.topics.sort();
        inputs.topics.dedup();
        if self.impressions.is_empty() && self.plays.is_empty() {
            return Err(ArgumentError::Missing("give --impressions or --plays, or both"));
        }
        let names: std::collections::BTreeSet<_> =
            inputs.topics.iter().map(|(_, topic)| topic).collect();
        if names.len() < inputs.topics.len() {
            let what = "a topic cannot hold two logs, of impressions, plays or denials: give each \
                        its own";
            return Err(ArgumentError::Conflict(what.into()));
        }
        if self.follow && self.until_end {
            let what = "--follow and --until-end exclude each other: give only one of them";
            return Err(ArgumentError::Conflict(what.into()));
        }
        if !inputs.paths.is_empty() && inputs.is_endless(false) && !self.follow {
            let what = "Kafka topics are followed and files are not: give --until-end or \
                        --follow, for both";
            return Err(ArgumentError::Conflict(what.into()));
        }
        Ok(inputs)
    }

    fn registry(&self) -> Result<Option<RegistrySettings>, ArgumentError> {
        let formats = Kind::ALL.map(|kind| format_of(&self.kafka_format, kind));
        let missing = match formats.into_iter().find(|format| *format != MessageFormat::Json) {
            None if self.schema_registry.is_some() => {
                let what = "JSON needs no --schema-registry: give --kafka-format avro or protobuf";
                return Err(ArgumentError::Conflict(what.into()));
            }
            None => return Ok(None),
            Some(MessageFormat::Protobuf) => "give --schema-registry, for --kafka-format protobuf",
            Some(_) => "give --schema-registry, for --kafka-format avro",
        };
        let url = self.schema_registry.as_ref().ok_or(ArgumentError::Missing(missing))?;
        Ok(Some(RegistrySettings::given(url, self.schema_registry_auth.as_ref())?))
    }

    fn settings(&self, follow: bool) -> Result<Settings, ArgumentError> {
        let definition = self.definition()?;
        let defaults = Settings::new(definition, self.queries(&definition)?);
        let count = |flag, value: Option<usize>, default| {
            let value = value.unwrap_or(default);
            let refused = || invalid_value(flag, value, "must be at least 1");
            if value == 0 { Err(refused()) } else { Ok(value) }
        };
        let alignment = checked_span("alignment", self.alignment, 0, YEAR_MS)?;
        if let Some(state_max) = self.state_max.filter(|bytes| *bytes < STATE_MAX_MIN) {
            let least = format!("must be at least {STATE_MAX_MIN} bytes");
            return Err(invalid_value("state-max", state_max, &least));
        }
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
            state_max: self.state_max.unwrap_or(defaults.state_max),
            watchdog: watchdog(self.watchdog, defaults.watchdog)?,
            follow,
            ..defaults
        })
    }

    fn definition(&self) -> Result<Definition, ArgumentError> {
        let default = Definition::default();
        let length = checked_span("epoch-length", self.epoch_length, 1_000, YEAR_MS)?;
        let delay = checked_span("max-delay", self.max_delay, 0, YEAR_MS)?;
        let future = checked_span("max-future", self.max_future, 0, YEAR_MS)?;
        let leap = checked_span("max-leap", self.max_leap, 0, YEAR_MS)?;
        let leap_support = self.leap_support.unwrap_or(default.leap_support);
        if !(1..=LEAP_SUPPORT_MAX).contains(&leap_support) {
            let most = format!("must be 1 to {LEAP_SUPPORT_MAX}");
            return Err(invalid_value("leap-support", leap_support, &most));
        }
        let join_window_epochs = self.join_window.unwrap_or(default.join_window_epochs);
        if !(0..=JOIN_WINDOW_MAX).contains(&join_window_epochs) {
            let most = format!("must be 0 to {JOIN_WINDOW_MAX}");
            return Err(invalid_value("join-window", join_window_epochs, &most));
        }
        let from_ms = self.from.map_or(default.from_ms, |moment| moment.ms);
        let until_ms = self.until.map_or(default.until_ms, |moment| moment.ms);
        if let (Some(from), Some(until)) = (self.from, self.until)
            && from >= until
        {
            return Err(invalid_value("until", until, &format!("must be after --from {from}")));
        }
        let epoch_length_ms = length.map_or(default.epoch_length_ms, |span| span.ms);
        let max_delay_ms = delay.map_or(default.max_delay_ms, |span| span.ms);
        let default_leap_ms = Definition::default_max_leap_ms(epoch_length_ms, max_delay_ms);
        Ok(Definition {
            epoch_length_ms,
            join_window_epochs,
            max_delay_ms,
            max_future_ms: future.map_or(default.max_future_ms, |span| span.ms),
            max_leap_ms: leap.map_or(default_leap_ms, |span| span.ms),
            leap_support,
            from_ms,
            until_ms,
        })
    }

    /// The queries of the job, each once: first the ledger query, then the requested queries, each
    /// preceded by the queries whose rows it reads.
    fn queries(&self, definition: &Definition) -> Result<Vec<QueryInstance>, ArgumentError> {
        let mut queries = vec![dataflows::LEDGER];
        for name in &self.query {
            let named = match name.as_str() {
                "all" => dataflows::ALL.to_vec(),
                name => vec![dataflows::find(name).ok_or_else(|| unknown_query(name))?],
            };
            queries.extend(
                named.into_iter().flat_map(|query| query.reads.iter().copied().chain([query])),
            );
        }
        queries.extend(self.sets.is_some().then_some(&sets::FILES));
        let mut seen = std::collections::BTreeSet::new();
        queries.retain(|query| seen.insert(query.name));
        let instance = |query| self.parameters.instance(query, definition);
        let queries: Vec<_> = queries.into_iter().map(instance).collect();
        match self.parameters.unused(&queries) {
            Some((flag, query)) => {
                let what =
                    format!("--{flag} is a parameter of the query {query}: give --query {query}");
                Err(ArgumentError::Conflict(what))
            }
            None => Ok(queries),
        }
    }

    fn cluster(&self) -> Result<Cluster, ArgumentError> {
        let (processes, process) = (self.processes.unwrap_or(1), self.process.unwrap_or(0));
        let workers = self.workers.unwrap_or(1);
        if !(1..=WORKERS_MAX).contains(&workers) {
            return Err(invalid_value("workers", workers, &format!("must be 1 to {WORKERS_MAX}")));
        }
        if !(1..=WORKERS_MAX).contains(&processes) {
            return Err(invalid_value(
                "processes",
                processes,
                &format!("must be 1 to {WORKERS_MAX}"),
            ));
        }
        if process >= processes {
            return Err(invalid_value("process", process, "must be less than --processes"));
        }
        let launch_timeout = checked_span("launch-timeout", self.launch_timeout, 0, WEEK_MS)?
            .map_or(Cluster::LAUNCH_TIMEOUT, Span::duration);
        // What is wrong with a file is said also if nothing of it is needed.
        let (addresses, secret) = (self.addresses(processes)?, self.cluster_secret()?);
        if processes == 1 {
            return Ok(Cluster { launch_timeout, ..Cluster::threads(workers) });
        }
        let settings = self.shared_settings();
        Ok(Cluster { workers, process, addresses, launch_timeout, secret, settings })
    }

    fn cluster_secret(&self) -> Result<Vec<u8>, ArgumentError> {
        let Some(path) = &self.cluster_secret else { return Ok(Vec::new()) };
        let wrong = |reason: String| ArgumentError::ClusterSecret { path: path.clone(), reason };
        let mut text = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut text))
            .map_err(|error| wrong(error.to_string()))?;
        match text.trim_ascii() {
            [] => Err(wrong("it is empty; write a long random text into it".into())),
            secret if secret.len() as u64 > SECRET_BYTES_MAX => {
                Err(wrong(format!("it is longer than {SECRET_BYTES_MAX} bytes")))
            }
            secret => Ok(secret.to_vec()),
        }
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
}

const YEAR_MS: i64 = 366 * 86_400_000;
/// The maximum length of a secret, in bytes.
const SECRET_BYTES_MAX: u64 = 4_096;
/// The smallest limit of memory, in bytes: a process without state takes about as much.
const STATE_MAX_MIN: u64 = 16 << 20;
/// The maximum join window in epochs. Every play is held in each epoch of its join window.
const JOIN_WINDOW_MAX: i64 = 1_000;
/// The maximum number of records that support a time; as many are read ahead.
const LEAP_SUPPORT_MAX: usize = 4_096;
const WORKERS_MAX: usize = 1_024;

fn unknown_query(name: &str) -> ArgumentError {
    let names: Vec<_> = dataflows::ALL.iter().map(|query| query.name).collect();
    invalid_value("query", name, &format!("must be one of {}, all", names.join(", ")))
}
