//! `trendmark generate`: a realistic, seeded log for trials, tests and benchmarks.
//!
//! - [`settings`]: the flags, their defaults and limits.
//! - [`model`]: the stream of arrivals, in bounded memory; `chance` draws the random values and
//!   `queue` holds the batches that have not arrived.
//! - [`arrival`]: one record, with its ground truth.
//! - [`world`]: the flags of rhythms, take rates and surges; `rhythm` and `rates` compute them,
//!   `keyed` draws what belongs to a video. [`surge`]: a planted surge. [`catalogue`]: the ids.
//! - [`truth`]: what was planted. [`mod@titles`], of `words`: the titles of the catalogue. `lines`:
//!   the files of both.
//! - `output`: files or topics. [`mod@write`]: the files; `json` and `columns` each write one
//!   partition. `topics`: the topics.
//! - `bar` and [`summary`]: the progress and the final summary.
//!
//! Benchmarks use the events without files:
//!
//! ```
//! use trendmark::generate::{Generator, Model};
//!
//! let model = Model { impressions: 1_000, malformed_rate: 0.0, ..Model::default() };
//! let events: Vec<_> = Generator::new(&model)?.filter_map(|arrival| arrival.event(0)).collect();
//! assert!(events.len() >= 1_000);
//! # Ok::<(), trendmark::generate::ModelError>(())
//! ```

pub mod arrival;
mod bar;
pub mod catalogue;
mod chance;
#[cfg(feature = "parquet")]
mod columns;
mod json;
mod keyed;
mod lines;
pub mod model;
mod output;
mod queue;
mod rates;
mod rhythm;
pub mod settings;
pub mod summary;
pub mod surge;
pub mod titles;
#[cfg(feature = "kafka")]
pub mod topics;
pub mod truth;
mod words;
pub mod world;
pub mod write;

pub use arrival::{Arrival, Damage, GroundTruth, RequestName};
pub use lines::write_titles;
pub use model::Generator;
pub use settings::{Model, ModelError};
pub use summary::Summary;
pub use surge::Surge;
pub use titles::{Title, titles};
pub use truth::{EpochCounts, Truth};
pub use world::World;
pub use write::{LogFormat, LogWriter, WriteError};

use crate::features::MissingFeature;
use crate::kafka::{GivenSetting, KafkaSettings, KafkaSettingsError, TopicNameError, parse_topic};
use bar::Bar;
use lines::{LineWriter, TRUTH_FILE};
use output::{Output, topics_name};
use rates::surges;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Write a realistic, seeded log of impressions and plays.
///
/// Members are shown videos and play some; their clients upload the events in batches, with delays.
/// Some records are duplicated, late, stamped with a wrong time, or damaged. Every rate is a flag.
#[derive(clap::Args, Clone, Debug)]
pub struct GenerateArguments {
    /// Folder to write impressions-*.jsonl and plays-*.jsonl to (and denials-*.jsonl, if there are
    /// bots), or kafka:NAME for the topics NAME-impressions and NAME-plays (and NAME-denials);
    /// created if missing
    #[arg(long, value_name = "FOLDER|kafka:NAME")]
    pub out: PathBuf,

    /// Format of the files
    #[arg(long, value_enum, default_value_t = LogFormat::Jsonl)]
    pub format: LogFormat,

    /// Replace an existing log in the folder; append to topics that hold records
    #[arg(long)]
    pub force: bool,

    /// Write titles.jsonl to the folder, or the compacted topic NAME-titles: the name, genre and
    /// launch date of every video
    #[arg(long)]
    pub titles: bool,

    /// File to write the truth to: surges, denied requests, and what was planted for each video and
    /// epoch
    /// [default: truth.jsonl in the folder, if there is more than noise to be found]
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,

    /// Impressions to write per second [default: as many as possible]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,

    /// Kafka brokers to connect to first, separated by commas
    #[arg(long, value_name = "HOST:PORT,…")]
    pub bootstrap_servers: Option<String>,

    /// librdkafka setting, repeatable, such as security.protocol=SASL_SSL
    #[arg(long, value_name = "KEY=VALUE")]
    pub kafka: Vec<GivenSetting>,

    /// The model of the log.
    #[command(flatten)]
    pub model: Model,
}

impl GenerateArguments {
    /// Writes a log to a folder, as fast as possible.
    pub fn to_folder(out: PathBuf, format: LogFormat, model: Model) -> GenerateArguments {
        GenerateArguments {
            out,
            format,
            force: false,
            titles: false,
            truth: None,
            rate: None,
            bootstrap_servers: None,
            kafka: Vec::new(),
            model,
        }
    }
}

/// Why a log could not be generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// A setting is out of range.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// `--out` names no valid topics.
    #[error(transparent)]
    TopicName(#[from] TopicNameError),
    /// The Kafka settings are invalid.
    #[error(transparent)]
    Kafka(#[from] KafkaSettingsError),
    /// Messages have another format than files.
    #[error("--format {0} is for files; leave it out, as messages are JSON")]
    Format(&'static str),
    /// Kafka settings, but no topics to write.
    #[error("--bootstrap-servers and --kafka are for --out kafka:NAME")]
    NoTopics,
    /// The program was built without a feature that the output needs.
    #[error(transparent)]
    MissingFeature(#[from] MissingFeature),
    /// The files cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The topics cannot be written.
    #[cfg(feature = "kafka")]
    #[error(transparent)]
    Topics(#[from] topics::TopicError),
}

impl GenerateError {
    /// Whether the arguments are the cause, so that the same command fails again.
    pub fn is_usage(&self) -> bool {
        match self {
            GenerateError::Write(error) => matches!(error, WriteError::MissingFeature(_)),
            GenerateError::Kafka(error) => error.is_usage(),
            #[cfg(feature = "kafka")]
            GenerateError::Topics(error) => error.is_usage(),
            _ => true,
        }
    }
}

/// Generates a log and writes it; progress goes to standard error.
///
/// # Errors
/// When a setting is out of range, there is a log already, or it cannot be written.
pub fn generate(arguments: &GenerateArguments) -> Result<Summary, GenerateError> {
    arguments.model.check()?;
    let truth_path = truth_path(arguments)?;
    let mut output = Output::create(arguments)?;
    let mut truth = truth_path.map(LineWriter::create).transpose()?;
    let mut generator = match &mut truth {
        Some(truth) => {
            surges(&arguments.model).try_for_each(|surge| truth.write(&Truth::Surge(surge)))?;
            Generator::with_truth(&arguments.model)?
        }
        None => Generator::new(&arguments.model)?,
    };
    let pace = arguments.rate.map(Pace::start);
    let mut summary = Summary::default();
    let mut bar = Bar::new(arguments.model.impressions);
    while let Some(arrival) = generator.next() {
        if let Some(early) = pace.as_ref().and_then(|pace| pace.early(summary.impressions)) {
            output.flush()?;
            bar.show_now(&summary);
            std::thread::sleep(early);
        }
        output.write(&arrival)?;
        summary.count(&arrival);
        bar.show(&summary);
        if let Some(truth) = &mut truth {
            generator.take_truth().try_for_each(|line| truth.write(&line))?;
        }
    }
    if let Some(truth) = &mut truth {
        generator.take_truth().try_for_each(|line| truth.write(&line))?;
        truth.flush()?;
    }
    summary.bytes = output.finish()?;
    summary.waiting_max = generator.waiting_max();
    bar.finish();
    Ok(summary)
}

/// The file to write the truth to, if any.
fn truth_path(arguments: &GenerateArguments) -> Result<Option<PathBuf>, GenerateError> {
    let GenerateArguments { out, truth, force, model, .. } = arguments;
    if let Some(path) = truth {
        if path.exists() && !force {
            return Err(WriteError::TruthExists(path.clone()).into());
        }
        return Ok(Some(path.clone()));
    }
    let is_folder = topics_name(out)?.is_none();
    Ok((is_folder && model.world.is_eventful()).then(|| out.join(TRUTH_FILE)))
}

/// Impressions at an even rate.
struct Pace {
    started: Instant,
    per_second: u64,
}

impl Pace {
    /// Records are written in portions of about this duration.
    const PORTION: Duration = Duration::from_millis(20);

    fn start(per_second: u64) -> Pace {
        Pace { started: Instant::now(), per_second }
    }

    /// How long to wait after this number of impressions; `None` while it is less than a portion.
    fn early(&self, impressions: u64) -> Option<Duration> {
        let due = Duration::from_secs_f64(impressions as f64 / self.per_second as f64);
        let early = due.checked_sub(self.started.elapsed())?;
        (early >= Pace::PORTION).then_some(early)
    }
}

#[cfg(test)]
mod tests;
