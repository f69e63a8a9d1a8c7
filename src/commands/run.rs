//! `trendmark run`: sets up sources, store and job, and runs the engine.

use super::http::Listening;
use super::launch::supervised;
use super::stop::unless_stopped;
use super::totals::{Totals, Unused};
use super::watch::ProgressReporter;
use super::{kafka, store};
use crate::arguments::{ArgumentError, Plan, RunArguments, StoreLocation};
use crate::console;
use crate::engine::{
    self, Counters, DeadLetters, EXIT_FENCED, EXIT_USAGE, EngineError, Job, StoreOpener, Summary,
};
use crate::event::Kind;
use crate::features::MissingFeature;
use crate::log::PartitionName;
use crate::serve::{ListenError, Server};
use crate::sources::combined::CombinedSource;
use crate::sources::files::{FileSource, some_of};
use crate::sources::{Discovered, Source, SourceError};
use crate::stores::sqlite::{self, SqliteStore};
use crate::stores::{Claim, Store, StoreError};
use crate::time::Publication;
use crate::titles::{JobTitles, TitleFiles, TitleSource, TitleTable, TitlesError};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The share of malformed records of a log above which people are warned, unless they give another.
const MALFORMED_MAX: f64 = 0.01;

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
    /// The program was built without a feature that the job needs.
    #[error(transparent)]
    MissingFeature(#[from] MissingFeature),
    /// The address of the HTTP server cannot be used.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The HTTP server cannot start.
    #[error("cannot start the HTTP server: {0}")]
    Http(std::io::Error),
    /// The job failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The titles cannot be read.
    #[error(transparent)]
    Titles(#[from] TitlesError),
    /// The logs no longer give what the store holds.
    #[error(
        "{error}\n`--accept-loss {publication}` makes the epochs that have begun final as the \
         store has them, and counts later events for them as late"
    )]
    Loss {
        /// Why the job failed.
        error: EngineError,
        /// The last publication of the store.
        publication: Publication,
    },
    /// The job was asked to stop while it looked for its logs.
    #[error("stopped while looking for the logs: nothing was read")]
    Stopped,
    /// Too many records are malformed, or a file cannot be read to its end.
    #[error(
        "{what}; the rows of all other records are in the store, which has passed these: {remedy}"
    )]
    Unusable {
        /// The logs, with their numbers of records and an example, and the files.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The dead-letter file cannot be opened.
    #[error("cannot open the dead-letter file `{path}`: {error}")]
    DeadLetters {
        /// The file.
        path: PathBuf,
        /// The system error.
        error: std::io::Error,
    },
}

impl RunError {
    /// Whether the arguments are the cause, so that the same command fails again.
    pub fn is_usage(&self) -> bool {
        match self {
            RunError::Argument(error) => error.is_usage(),
            RunError::MissingFeature(_) => true,
            RunError::Source(error) => error.is_usage(),
            RunError::Store(error) => error.is_usage(),
            RunError::Titles(error) => error.is_usage(),
            RunError::Engine(error) => error.exit_code() == EXIT_USAGE,
            RunError::Listen(_)
            | RunError::Http(_)
            | RunError::Loss { .. }
            | RunError::Stopped
            | RunError::Unusable { .. }
            | RunError::DeadLetters { .. } => false,
        }
    }

    /// Returns the message of a job that was asked to stop before it had begun, as it can be at any
    /// other time: that is no failure.
    pub(super) fn as_stopped(&self) -> Option<String> {
        match self {
            RunError::Stopped => Some(self.to_string()),
            RunError::Engine(error) => error.as_stopped(),
            _ => None,
        }
    }

    /// Whether another job has the store, so that a supervisor must not start this one again.
    pub fn is_fenced(&self) -> bool {
        match self {
            RunError::Store(error) => error.is_fenced(),
            RunError::Engine(error) => error.exit_code() == EXIT_FENCED,
            _ => false,
        }
    }
}

/// Runs a job to its end or until `stop` is set. Returns the text to print: the final lines of the
/// first process, or the complete configuration with `--print-config`.
///
/// # Errors
/// When the arguments are invalid, a source or the store cannot be used, or the job fails.
pub fn run(arguments: &RunArguments, stop: Arc<AtomicBool>) -> Result<String, RunError> {
    let complete = arguments.with_config()?;
    if arguments.print_config {
        return Ok(complete.to_toml());
    }
    let plan = complete.plan()?;
    let counters = Arc::new(Counters::default());
    supervised::begin(&counters, &stop)?;
    let listening = Listening::begin(&plan)?;
    if let Some(listening) = &listening {
        console::message(format_args!("the page and the API: {}", listening.url()));
    }
    let started = Instant::now();
    let watch = ProgressReporter::start(Arc::clone(&counters), plan.settings.follow);
    let result = start(&plan, listening, Arc::clone(&counters), stop);
    watch.finish();
    let ended = match result {
        Ok(ended) => ended,
        Err(error) => {
            return error.as_stopped().map(|text| format!("{text}\n")).ok_or(error);
        }
    };
    if plan.cluster.process > 0 {
        return Ok(String::new());
    }
    let lines = report(&plan, &counters, &ended, started.elapsed());
    let Outcome { lines: last, malformed, damaged } = outcome(&plan, &counters, &ended)?;
    let remedy = match (damaged.is_empty(), malformed.is_empty()) {
        (false, true) => "restore the file, and start with a new store",
        (false, false) => {
            "restore the file, correct the log, or name its fields with --field, and start with a \
             new store; --max-malformed allows more malformed records, but no damage"
        }
        (true, _) => {
            "correct the log, or name its fields with --field, and start with a new store, or \
             allow more with --max-malformed"
        }
    };
    let unusable = [damaged, malformed].concat();
    if unusable.is_empty() || ended.summary.stopped {
        return Ok(lines + &last);
    }
    // The error follows on standard error.
    let _ = console::print(lines + &last);
    Err(RunError::Unusable { what: some_of(&unusable), remedy })
}

/// A job that has ended.
pub struct Ended {
    /// Its summary.
    pub summary: Summary,
    /// The malformed records of this process.
    dead_letters: Arc<DeadLetters>,
}

/// Runs a planned job to its end, with its HTTP server.
///
/// # Errors
/// When a source or the store cannot be used, or the job fails. Sources are checked before the
/// store is created.
pub fn start(
    plan: &Plan,
    listening: Option<Listening>,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
) -> Result<Ended, RunError> {
    let server = listening.map(|one| one.serve(plan, &counters)).transpose()?;
    refuse_outputs_among_sources(plan)?;
    let source = Arc::new(source(plan)?);
    let first = Arc::clone(&source);
    let discover = move || first().discover();
    let found = unless_stopped(&stop, discover).ok_or(RunError::Stopped)??;
    refuse_shared_files(plan, &found)?;
    let titles = titles(plan, &stop)?;
    let dead_letters = Arc::new(dead_letters(plan)?);
    // A link in a source folder may lead to the dead-letter file, which exists now.
    refuse_outputs_among_sources(plan)?;
    let job = Job {
        settings: plan.settings.clone(),
        source: Box::new(move || source()),
        store: Mutex::new((plan.cluster.process == 0).then(|| store_opener(plan, &stop))),
        titles: Mutex::new(titles),
        dead_letters: Arc::clone(&dead_letters),
        counters: Arc::clone(&counters),
        observer: server.as_ref().and_then(Server::observer),
        stop,
    };
    let summary = engine::run(&plan.cluster, job).map_err(|error| with_remedy(plan, error))?;
    Ok(Ended { summary, dead_letters })
}

/// Adds to the error that a log is lost how the job can go on.
fn with_remedy(plan: &Plan, error: EngineError) -> RunError {
    // The store is asked only if its answer matters.
    if !error.is_loss(|_| Some(u64::MAX)) || plan.cluster.process > 0 {
        return error.into();
    }
    let reader = store::reader(&plan.store, plan.kafka.as_ref());
    let Ok(Ok(progress)) = reader.map(|reader| reader.progress()) else { return error.into() };
    let next_offset =
        |partition: &PartitionName| progress.partitions.get(partition).map(|at| at.next_offset);
    match error.is_loss(next_offset) {
        true => RunError::Loss { error, publication: progress.publication },
        false => error.into(),
    }
}

/// Reads the titles, if there are any, before another job loses the store to this one. Only the
/// first process needs them.
fn titles(plan: &Plan, stop: &AtomicBool) -> Result<Option<JobTitles>, RunError> {
    if plan.cluster.process > 0 || plan.titles.is_empty() {
        return Ok(None);
    }
    let (places, kafka) = (plan.titles.clone(), plan.kafka.clone());
    let read = unless_stopped(stop, move || JobTitles::read(places, kafka.as_ref()));
    Ok(Some(read.ok_or(RunError::Stopped)??))
}

/// Returns a text for each place of titles with records that are none.
fn unusable_titles(table: &TitleTable) -> Vec<String> {
    let unusable = table.sources.iter().filter(|source| source.malformed > 0);
    let text = |source: &TitleSource| {
        let TitleSource { place, titles, malformed, first_malformed, .. } = source;
        let (all, first) = (titles + malformed, first_malformed.as_deref().unwrap_or_default());
        format!("{malformed} of {all} records of `{place}` are no titles; first: {first}")
    };
    unusable.map(text).collect()
}

/// Whether a file is the store, or one of the files beside it.
fn belongs_to_store(file: &Path, store: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
    let (Ok(file), Ok(store)) = (real(file), real(store)) else { return false };
    sqlite::files_of(&store).contains(&file)
}

/// Refuses a store or a dead-letter file that the sources would read.
fn refuse_outputs_among_sources(plan: &Plan) -> Result<(), ArgumentError> {
    let files = FileSource::new(plan.inputs.paths.clone(), plan.fields.clone(), true);
    let store = match &plan.store {
        StoreLocation::Sqlite(path) => Some(("store", path)),
        StoreLocation::Kafka { .. } => None,
    };
    let dead_letter = plan.dead_letter.as_ref().map(|path| ("dead-letter", path));
    if let (Some((_, store)), Some((_, letters))) = (store, dead_letter)
        && belongs_to_store(letters, store)
    {
        return Err(ArgumentError::Conflict(format!(
            "--dead-letter `{}` is a file of the store: give another file",
            letters.display()
        )));
    }
    if let Some((_, letters)) = dead_letter
        && TitleFiles::are_in(&plan.titles.files, letters)
    {
        return Err(ArgumentError::Conflict(format!(
            "--dead-letter `{}` is a file of titles: give another file",
            letters.display()
        )));
    }
    // If a file there would be read, so are those of epochs below.
    let set = plan.settings.sets.as_ref().map(|sets| sets.folder.join("1-0-0.parquet"));
    if let (Some(sets), Some(set)) = (&plan.settings.sets, &set)
        && files.would_read(set)
    {
        return Err(ArgumentError::Conflict(format!(
            "--sets `{}` is in a source, which would read its files; give another folder",
            sets.folder.display()
        )));
    }
    let mut outputs = store.into_iter().chain(dead_letter);
    match outputs.find(|(_, path)| files.would_read(path)) {
        Some((flag, path)) => Err(ArgumentError::Conflict(format!(
            "--{flag} `{}` is also a source, and would be read; give another \
             file",
            path.display()
        ))),
        None => Ok(()),
    }
}

/// Refuses a file that is to be read as two logs, unless the job leaves it out. Topics are refused
/// before.
fn refuse_shared_files(plan: &Plan, found: &[Discovered]) -> Result<(), ArgumentError> {
    let mut kinds: BTreeMap<&str, BTreeSet<Kind>> = BTreeMap::new();
    for PartitionName { kind, name } in found.iter().map(|one| &one.name) {
        kinds.entry(name).or_default().insert(*kind);
    }
    kinds.retain(|_, kinds| kinds.len() > 1);
    let shared = kinds.keys().copied().collect();
    match kinds.first_key_value() {
        Some((file, kinds)) if !have_appeared(plan, &shared) => {
            Err(ArgumentError::Conflict(format!(
                "`{file}` is given with {}: a file cannot hold more than one log, so give other \
                 files or patterns",
                Kind::flags_in_words(kinds.iter().copied())
            )))
        }
        _ => Ok(()),
    }
}

/// Whether files have appeared after a job that follows its logs had begun, which leaves them out,
/// and must be able to start again: no job has read them. Only the first process has the store.
fn have_appeared(plan: &Plan, files: &BTreeSet<&str>) -> bool {
    if !plan.settings.follow || plan.cluster.process > 0 {
        return plan.settings.follow;
    }
    let reader = store::reader(&plan.store, plan.kafka.as_ref());
    let Ok(Ok(progress)) = reader.map(|reader| reader.progress()) else { return false };
    let is_read = |partition: &PartitionName| files.contains(partition.name.as_str());
    progress.publication > Publication::REPLAY && !progress.partitions.keys().any(is_read)
}

/// Returns a function that makes the source of a worker.
fn source(plan: &Plan) -> Result<impl Fn() -> Box<dyn Source> + Send + Sync + 'static, RunError> {
    let (inputs, fields) = (plan.inputs.clone(), plan.fields.clone());
    let (follow, topics) = (plan.settings.follow, kafka::source(plan)?);
    let store = match &plan.store {
        StoreLocation::Sqlite(path) => sqlite::files_of(path).to_vec(),
        StoreLocation::Kafka { .. } => Vec::new(),
    };
    Ok(move || -> Box<dyn Source> {
        let files = (!inputs.paths.is_empty()).then(|| {
            FileSource::new(inputs.paths.clone(), fields.clone(), follow).avoiding(&store)
        });
        Box::new(CombinedSource { files, topics: topics.as_ref().map(|topics| topics()) })
    })
}

/// Returns a function that opens the store.
fn store_opener(plan: &Plan, stop: &Arc<AtomicBool>) -> StoreOpener {
    let claim = Claim { take_over: plan.take_over, stop: Arc::clone(stop) };
    let (definition, queries) = (plan.settings.definition, plan.settings.queries.clone());
    let (location, settings) = (plan.store.clone(), plan.kafka.clone());
    let (stop, store) = (Arc::clone(stop), location.to_string());
    let open = move || -> Result<Box<dyn Store>, StoreError> {
        match &location {
            StoreLocation::Sqlite(path) => {
                Ok(Box::new(SqliteStore::open(path, &definition, &queries, &claim)?))
            }
            StoreLocation::Kafka { topic } => {
                let Some(settings) = &settings else {
                    unreachable!("a plan with topics has brokers")
                };
                kafka::store(settings, topic, &definition, &queries, &claim)
            }
        }
    };
    Box::new(move || {
        let opened = unless_stopped(&stop, open);
        opened.unwrap_or(Err(StoreError::Stopped { store }))
    })
}

fn dead_letters(plan: &Plan) -> Result<DeadLetters, RunError> {
    let dead_letters = match &plan.dead_letter {
        Some(path) => DeadLetters::append_to(path, plan.cluster.process, plan.dead_letter_max)
            .map_err(|error| RunError::DeadLetters { path: path.clone(), error })?,
        None => DeadLetters::default(),
    };
    Ok(if plan.logs_malformed { dead_letters } else { dead_letters.without_log() })
}

/// Returns the final lines about a job.
fn report(plan: &Plan, counters: &Counters, ended: &Ended, elapsed: Duration) -> String {
    let (summary, malformed) = (&ended.summary, ended.dead_letters.malformed());
    let (events, seconds) = (counters.events(), elapsed.as_secs_f64());
    let whose = if plan.cluster.processes() > 1 { " in this process" } else { "" };
    let mut lines = format!(
        "{events} events and {malformed} malformed records{whose} in {seconds:.1} s ({:.2} M/s); \
         {} epochs, {} publications\n",
        events as f64 / seconds / 1e6,
        summary.epochs,
        summary.publications
    );
    let replayed = counters.replayed();
    if replayed > 0 {
        let replay_s = summary.replay.as_secs_f64();
        let rate = replayed as f64 / replay_s / 1e6;
        lines += &format!("replay: {replayed} events{whose} in {replay_s:.2} s ({rate:.2} M/s)\n");
    }
    lines
}

/// What the store tells after a job.
struct Outcome {
    /// The last lines.
    lines: String,
    /// The logs of which too many records are malformed, as texts, unless the damaged files explain
    /// that.
    malformed: Vec<String>,
    /// The files that cannot be read to their ends, as texts.
    damaged: Vec<String>,
}

/// Returns the last lines: the events of the store by their outcome, what is missing, and how final
/// its rows are. That follows from the store, so that the same command says the same once more.
/// What this job has read and left out, and the examples, do not.
fn outcome(plan: &Plan, counters: &Counters, ended: &Ended) -> Result<Outcome, RunError> {
    let reader = store::reader(&plan.store, plan.kafka.as_ref())?;
    let progress = reader.progress()?;
    let totals = Totals::of(reader.as_ref(), &progress)?;
    let unused = Unused::of(&totals, &progress, |kind| plan.inputs.include(kind));
    let read = &ended.summary.records;
    let malformed = |share| unused.malformed(share, read, |kind| ended.dead_letters.first(kind));
    let text_of = |(_, text): (Kind, String)| text;
    let mut warnings = Vec::from_iter(totals.warning());
    if !warnings.is_empty() {
        warnings.extend(counters.first_rejected().iter().map(|first| format!("  {first}")));
    }
    let malformed_max = plan.settings.malformed_max;
    let most = Some(malformed_max.unwrap_or(MALFORMED_MAX));
    warnings.extend(malformed(most).into_iter().map(text_of));
    warnings.extend(unused.missing().map(|missing| format!("incomplete input: {missing}")));
    warnings.extend(unusable_titles(&reader.titles()?));
    let left_out = &ended.summary.left_out;
    if !left_out.is_empty() {
        warnings.push(format!("found, but not read: {}", some_of(left_out)));
    }
    let mut lines = format!("in the store: {totals}\n");
    for warning in warnings {
        let begin = if warning.starts_with(' ') { "" } else { "warning: " };
        lines += &format!("{begin}{warning}\n");
    }
    let state = if ended.summary.stopped {
        "stopped early: open epochs are provisional"
    } else {
        "every epoch is final"
    };
    lines += &format!("{state}; show the rows: `trendmark show --store {}`\n", plan.store);
    let malformed = malformed(malformed_max).into_iter();
    let malformed = malformed.filter(|(kind, _)| !unused.is_damage_alone(*kind)).map(text_of);
    Ok(Outcome { lines, malformed: malformed.collect(), damaged: unused.damaged() })
}
