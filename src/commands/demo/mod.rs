//! `trendmark demo`: generates events and processes them, many minutes of event time per second.
//!
//! It is a real job: the events are written to files in a temporary folder when they are due,
//! `run --follow` reads them, and the live table is read from the store.

mod screen;
mod world;

use super::http::Listening;
use super::run::{RunError, start};
use super::show::ShowError;
use crate::arguments::{DemoArguments, RunArguments};
use crate::engine::Counters;
use crate::generate::summary::grouped;
use crate::generate::{Generator, LogFormat, LogWriter, ModelError, WriteError, write_titles};
use crate::stores::StoreError;
use crate::stores::sqlite::SqliteReader;
use crate::time::Span;
use screen::Screen;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The file of titles.
const TITLES: &str = "titles.jsonl";
const SHOW_INTERVAL: Duration = Duration::from_secs(1);
/// The most events between two flushes: all logs must go on together, also the past at the start.
const PORTION: usize = 5_000;
/// The interval at which files are flushed, so that events arrive.
const FLUSH_INTERVAL: Duration = Duration::from_millis(50);

/// Why a demo failed.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The temporary folder cannot be created.
    #[error("cannot create a temporary folder: {0}; set TMPDIR to a folder with free space")]
    Folder(std::io::Error),
    /// The flags are out of range for the generator.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The events cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The job failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The table cannot be read.
    #[error(transparent)]
    Show(#[from] ShowError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The table cannot be printed.
    #[error("cannot print the table: {0}")]
    Print(#[from] std::io::Error),
}

/// Runs the demo until its time is over or `stop` is set, and prints the path of its store.
///
/// # Errors
/// When events cannot be written, the job fails, or its store cannot be read.
pub fn demo(arguments: &DemoArguments, stop: Arc<AtomicBool>) -> Result<(), DemoError> {
    let folder = tempfile::Builder::new().prefix("trendmark-demo-").tempdir();
    let folder = folder.map_err(DemoError::Folder)?;
    let mut log = PacedLog::create(folder.path(), arguments)?;
    let store = store_in(folder.path());
    let plan =
        run_arguments(folder.path(), &store, arguments).with_config().map_err(RunError::from)?;
    let mut plan = plan.plan().map_err(RunError::from)?;
    plan.logs_malformed = false;
    let listening = Listening::begin(&plan)?;
    let folder = folder.keep();
    let url = listening.as_ref().map(Listening::url).unwrap_or_default();
    let ended = Arc::new(AtomicBool::new(false));
    let counters = Arc::new(Counters::default());
    std::thread::scope(|scope| {
        let job = scope.spawn(|| {
            let result = start(&plan, listening, Arc::clone(&counters), Arc::clone(&stop));
            ended.store(true, Ordering::Relaxed);
            result
        });
        let written = scope.spawn(|| {
            let result = log.write(arguments.duration.map(Span::duration), &stop, &ended);
            stop.store(true, Ordering::Relaxed);
            result
        });
        let shown = unless_closed(show_live(&title(&url, arguments), &folder, &counters, &ended));
        stop.store(true, Ordering::Relaxed);
        written.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        match job.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
            Err(error) if error.as_stopped().is_none() => return Err(error.into()),
            _ => {}
        }
        shown
    })?;
    Ok(())
}

fn title(url: &str, arguments: &DemoArguments) -> String {
    format!(
        "{url} shows it in a browser\ndemo: {} impressions and {} of event time per second",
        grouped(arguments.rate),
        arguments.pace
    )
}

/// Turns the error of a closed standard output into success.
fn unless_closed(shown: Result<(), DemoError>) -> Result<(), DemoError> {
    match shown {
        Err(DemoError::Print(error) | DemoError::Show(ShowError::Output(error)))
            if error.kind() == ErrorKind::BrokenPipe =>
        {
            Ok(())
        }
        shown => shown,
    }
}

fn run_arguments(folder: &Path, store: &Path, arguments: &DemoArguments) -> RunArguments {
    let pattern = |name: &str| vec![folder.join(name).to_string_lossy().into_owned()];
    RunArguments {
        impressions: pattern("impressions-*.jsonl"),
        plays: pattern("plays-*.jsonl"),
        denied: pattern("denials-*.jsonl"),
        titles: pattern(TITLES),
        query: ["trends", "take_rate", "trending", "surge"].map(str::to_owned).into(),
        store: Some(store.to_path_buf()),
        follow: true,
        workers: Some(arguments.workers),
        publish_interval: Some(Span { ms: 500 }),
        // Hours of event time may pass between two denials.
        idle_timeout: Some(Span { ms: 1_000 }),
        http_address: Some(arguments.http_address.clone()),
        ..RunArguments::default()
    }
}

/// A generated log whose events are written when they are due.
struct PacedLog {
    generator: Generator,
    writer: LogWriter,
    /// The event time when the demo begins; what comes before is written at once.
    start_ms: i64,
    /// Event time that passes per second, in milliseconds.
    pace_ms: i64,
}

impl PacedLog {
    fn create(folder: &Path, arguments: &DemoArguments) -> Result<PacedLog, DemoError> {
        let model = world::model(arguments);
        let generator = Generator::new(&model)?;
        let writer = LogWriter::create(
            folder,
            LogFormat::Jsonl,
            model.world.kinds(),
            model.partitions,
            false,
        )?;
        write_titles(folder.join(TITLES), &model)?;
        let start_ms = model.start_ms + world::past_ms(arguments);
        Ok(PacedLog { generator, writer, start_ms, pace_ms: arguments.pace.ms.max(1) })
    }

    /// Writes events when they are due, until `duration` is over or `stop` or `ended` is set.
    fn write(
        &mut self,
        duration: Option<Duration>,
        stop: &AtomicBool,
        ended: &AtomicBool,
    ) -> Result<(), WriteError> {
        let started = Instant::now();
        let mut pending = self.generator.next();
        loop {
            let elapsed = started.elapsed();
            let over = duration.is_some_and(|duration| elapsed >= duration);
            if over || stop.load(Ordering::Relaxed) || ended.load(Ordering::Relaxed) {
                return self.writer.flush();
            }
            let passed_ms = elapsed.as_secs_f64() * self.pace_ms as f64;
            let now_ms = self.start_ms.saturating_add(passed_ms as i64);
            let mut written = 0;
            while let Some(arrival) =
                pending.take_if(|arrival| arrival.arrival_ms <= now_ms && written < PORTION)
            {
                self.writer.write(&arrival)?;
                pending = self.generator.next();
                written += 1;
            }
            self.writer.flush()?;
            if written < PORTION {
                std::thread::sleep(FLUSH_INTERVAL);
            }
        }
    }
}

/// Paints the latest epochs of the store every second, until the job has ended.
fn show_live(
    title: &str,
    folder: &Path,
    counters: &Counters,
    ended: &AtomicBool,
) -> Result<(), DemoError> {
    let store = store_in(folder);
    let closing = format!(
        "the store is {store}\n\
         look at it: trendmark show --top 5 --store {store}\n\
         remove it:  rm -r {folder}",
        store = store.display(),
        folder = folder.display()
    );
    let mut screen = Screen::start(title.to_owned(), closing)?;
    let mut due = Instant::now();
    loop {
        let over = ended.load(Ordering::Relaxed);
        if !over && Instant::now() < due {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        }
        due += SHOW_INTERVAL;
        // Before the launch the file may exist without its tables.
        if counters.is_launched() {
            let reader = SqliteReader::open(&store)?;
            let events = grouped(counters.events());
            if over {
                return Ok(screen.finish(&reader, &format!("{events} events"))?);
            }
            screen.paint(&reader, &format!("{events} events so far; Ctrl-C ends it"))?;
        } else if over {
            return Ok(());
        }
    }
}

fn store_in(folder: &Path) -> PathBuf {
    folder.join("trends.db")
}
