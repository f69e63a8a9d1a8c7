//! `trendmark generate`: a realistic, seeded log for trials, tests and benchmarks.
//!
//! - [`settings`]: the flags, their defaults and limits.
//! - [`model`]: the stream of arrivals, in bounded memory; `chance` draws the random values and
//!   `queue` holds the batches that have not arrived.
//! - [`arrival`]: one record, with its ground truth.
//! - [`mod@write`]: the files; `json` and `columns` each write one partition.
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
mod chance;
#[cfg(feature = "parquet")]
mod columns;
mod json;
pub mod model;
mod queue;
pub mod settings;
pub mod summary;
pub mod write;

pub use arrival::{Arrival, Damage, GroundTruth, RequestName};
pub use model::Generator;
pub use settings::{Model, ModelError};
pub use summary::Summary;
pub use write::{LogFormat, LogWriter, WriteError};

use bar::Bar;
use std::path::PathBuf;

/// Write a realistic, seeded log of impressions and plays.
///
/// Members are shown videos and play some; their clients upload the events in batches, with delays.
/// Some records are duplicated, late, stamped with a wrong time, or damaged. Every rate is a flag.
#[derive(clap::Args, Clone, Debug)]
pub struct GenerateArguments {
    /// Folder to write impressions-*.jsonl and plays-*.jsonl to; it is created if missing
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,

    /// Format of the files
    #[arg(long, value_enum, default_value_t = LogFormat::Jsonl)]
    pub format: LogFormat,

    /// Replace an existing log in the folder
    #[arg(long)]
    pub force: bool,

    /// The model of the log.
    #[command(flatten)]
    pub model: Model,
}

/// Why a log could not be generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// A setting is out of range.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The files cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl GenerateError {
    /// Whether the arguments are the cause, so that the same command fails again.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            GenerateError::Model(_) | GenerateError::Write(WriteError::MissingFeature(_))
        )
    }
}

/// Generates a log and writes it; progress goes to standard error.
///
/// # Errors
/// When a setting is out of range, the folder holds a log, or a file cannot be written.
pub fn generate(arguments: &GenerateArguments) -> Result<Summary, GenerateError> {
    let model = &arguments.model;
    let mut generator = Generator::new(model)?;
    let mut writer =
        LogWriter::create(&arguments.out, arguments.format, model.partitions, arguments.force)?;
    let mut summary = Summary::default();
    let mut bar = Bar::new(model.impressions);
    for arrival in &mut generator {
        writer.write(&arrival)?;
        summary.count(&arrival);
        bar.show(&summary);
    }
    summary.bytes = writer.finish()?;
    summary.waiting_max = generator.waiting_max();
    bar.finish();
    Ok(summary)
}

#[cfg(test)]
mod tests;
