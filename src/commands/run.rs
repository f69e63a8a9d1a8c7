//! `trendmark run`: sets up sources, store and job, and runs the engine.

use super::watch::ProgressReporter;
use crate::arguments::{ArgumentError, Plan, RunArguments, StoreLocation};
use crate::engine::{self, Counters, DeadLetters, EngineError, Job, Summary};
use crate::sources::combined::CombinedSource;
use crate::sources::files::FileSource;
use crate::sources::kafka::registry::Registry;
use crate::sources::kafka::{KafkaSource, KafkaSourceError, MessageSettings};
use crate::sources::{Source, SourceError};
use crate::stores::kafka::KafkaStore;
use crate::stores::sqlite::SqliteStore;
use crate::stores::{Store, StoreError};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The arguments are invalid.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// A source cannot be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The job failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The dead-letter file cannot be opened.
    #[error("cannot open the dead-letter file `{path}`: {error}")]
    DeadLetters {
        /// The file.
        path: PathBuf,
        /// The system error.
        error: std::io::Error,
    },
}

/// Runs a job to its end or until `stop` is set.
///
/// # Errors
/// When the arguments are invalid, a source or the store cannot be used, or the job fails.
pub fn run(arguments: &RunArguments, stop: Arc<AtomicBool>) -> Result<(), RunError> {
    let complete = arguments.with_config()?;
    if arguments.print_config {
        print!("{}", complete.to_toml());
        return Ok(());
    }
    let plan = complete.plan()?;
    let counters = Arc::new(Counters::default());
    let started = Instant::now();
    let watch = ProgressReporter::start(Arc::clone(&counters), plan.settings.follow);
    let result = start(&plan, Arc::clone(&counters), stop);
    watch.finish();
    let (summary, malformed) = result?;
    if plan.cluster.process == 0 {
        report(&plan, &counters, &summary, malformed, started.elapsed());
    }
    Ok(())
}

/// Runs a planned job to its end. Returns its summary and the number of malformed records in this
/// process.
///
/// # Errors
/// When a source or the store cannot be used, or the job fails. Sources are checked before the
/// store is created.
pub fn start(
    plan: &Plan,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
) -> Result<(Summary, u64), RunError> {
    let source = source(plan)?;
    source.clone().discover()?;
    let dead_letters = Arc::new(dead_letters(plan)?);
    let store = match plan.cluster.process {
        0 => Some(store(plan)?),
        _ => None,
    };
    let job = Job {
        settings: plan.settings.clone(),
        source: Box::new(move || Box::new(source.clone())),
        store: Mutex::new(store),
        dead_letters: Arc::clone(&dead_letters),
        counters: Arc::clone(&counters),
        stop,
    };
    if plan.cluster.processes() > 1 {
        exit_if_not_launched(counters, plan.cluster.processes(), plan.launch_timeout);
    }
    let summary = engine::run(&plan.cluster, job)?;
    Ok((summary, dead_letters.malformed()))
}

fn source(plan: &Plan) -> Result<CombinedSource, RunError> {
    let (inputs, fields) = (&plan.inputs, &plan.fields);
    let files = (!inputs.paths.is_empty())
        .then(|| FileSource::new(inputs.paths.clone(), fields.clone(), plan.settings.follow));
    let settings = plan.kafka.clone().filter(|_| !inputs.topics.is_empty());
    let messages = match settings {
        Some(_) => messages(plan)?,
        None => MessageSettings::default(),
    };
    let kafka = settings.map(|settings| {
        KafkaSource::new(settings, inputs.topics.clone(), fields.clone(), inputs.until_end)
            .with_messages(messages)
    });
    Ok(CombinedSource { files, kafka })
}

fn messages(plan: &Plan) -> Result<MessageSettings, RunError> {
    let Some(settings) = &plan.registry else { return Ok(MessageSettings::default()) };
    match Registry::new(settings) {
        Ok(registry) => Ok(MessageSettings::framed(plan.message_format, Arc::new(registry))),
        Err(error) => Err(SourceError::Kafka(KafkaSourceError::Registry(error)).into()),
    }
}

fn store(plan: &Plan) -> Result<Box<dyn Store>, RunError> {
    let (definition, queries) = (&plan.settings.definition, &plan.settings.queries);
    match &plan.store {
        StoreLocation::Sqlite(path) => {
            Ok(Box::new(SqliteStore::open(path, definition, queries, plan.take_over)?))
        }
        StoreLocation::Kafka { topic } => {
            let Some(kafka) = &plan.kafka else { unreachable!("a plan with topics has brokers") };
            Ok(Box::new(KafkaStore::open(kafka, topic, definition, queries)?))
        }
    }
}

fn dead_letters(plan: &Plan) -> Result<DeadLetters, RunError> {
    let Some(path) = &plan.dead_letter else { return Ok(DeadLetters::default()) };
    let refused = |error| RunError::DeadLetters { path: path.clone(), error };
    DeadLetters::append_to(path).map_err(refused)
}

/// Ends this process if the others do not connect in time: timely would wait forever.
fn exit_if_not_launched(counters: Arc<Counters>, processes: usize, timeout: Duration) {
    std::thread::spawn(move || {
        let started = Instant::now();
        while !counters.is_launched() {
            if started.elapsed() >= timeout {
                eprintln!(
                    "error: not all {processes} processes connected within {} s; start each with \
                     its own --process and the same --processes and --hostfile",
                    timeout.as_secs_f64()
                );
                std::process::exit(1);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    });
}

fn report(plan: &Plan, counters: &Counters, summary: &Summary, malformed: u64, elapsed: Duration) {
    let (events, seconds) = (counters.events(), elapsed.as_secs_f64());
    let whose = if plan.cluster.processes() > 1 { " in this process" } else { "" };
    println!(
        "{events} events and {malformed} malformed records{whose} in {seconds:.1} s ({:.2} M/s); \
         {} epochs, {} publications",
        events as f64 / seconds / 1e6,
        summary.epochs,
        summary.publications
    );
    let replayed = counters.replayed();
    if replayed > 0 {
        let replay_s = summary.replay.as_secs_f64();
        let rate = replayed as f64 / replay_s / 1e6;
        println!("replay: {replayed} events{whose} in {replay_s:.2} s ({rate:.2} M/s)");
    }
    let state = if summary.stopped {
        "stopped early: open epochs are provisional"
    } else {
        "every epoch is final"
    };
    println!("{state}; `trendmark show --store {}`", plan.store);
}

/// Returns a flag that the first Ctrl-C sets. The second ends the process.
pub fn stop_on_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let handler = move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
        eprintln!("stopping: publishing what has been read (Ctrl-C again to exit at once)");
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        tracing::warn!("cannot handle Ctrl-C, so it will end the job at once: {error}");
    }
    stop
}
