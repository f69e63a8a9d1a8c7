//! `trendmark demo`: generates events and runs on them, at many minutes of event time a second.
//!
//! Nothing in it is for show: the events are written to files in a temporary folder as their time
//! comes, `run --follow` reads them, and the live table is read from the store.

use super::run::{RunError, start};
use super::show::{ShowError, latest_epochs_table};
use crate::arguments::{DemoArguments, RunArguments};
use crate::engine::Counters;
use crate::generate::{Generator, LogFormat, LogWriter, Model, ModelError, WriteError};
use crate::stores::StoreError;
use crate::stores::sqlite::SqliteReader;
use crate::time::Span;
use std::io::{IsTerminal, Write, stdout};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Enough epochs to see the oldest become final: one is open for its join window and the delay.
const EPOCHS_SHOWN: usize = 8;
const VIDEOS_SHOWN: usize = 3;
/// The most event time of a log, in milliseconds.
const YEAR_MS: i64 = 366 * 86_400_000;
const SHOW_INTERVAL: Duration = Duration::from_secs(1);
/// How often files are flushed: the pulse of the arriving events.
const FLUSH_INTERVAL: Duration = Duration::from_millis(50);

/// Why a demo has failed.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// There is no room for it.
    #[error("cannot make a temporary folder: {0}; set TMPDIR to a folder with room")]
    Folder(std::io::Error),
    /// No events can be made like that.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The events cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The job has failed.
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

/// Runs the demo until its time is up or `stop` is set, and says where its store is.
///
/// # Errors
/// When events cannot be written, the job fails, or its store cannot be read.
pub fn demo(arguments: &DemoArguments, stop: Arc<AtomicBool>) -> Result<(), DemoError> {
    let folder = tempfile::Builder::new().prefix("trendmark-demo-").tempdir();
    let folder = folder.map_err(DemoError::Folder)?.keep();
    let mut log = PacedLog::create(&folder, arguments)?;
    let store = folder.join("trends.db");
    let plan = run_arguments(&folder, &store, arguments).complete().map_err(RunError::from)?;
    let plan = plan.plan().map_err(RunError::from)?;
    let ended = Arc::new(AtomicBool::new(false));
    let counters = Arc::new(Counters::default());
    std::thread::scope(|scope| {
        let job = scope.spawn(|| {
            let result = start(&plan, Arc::clone(&counters), Arc::clone(&stop));
            ended.store(true, Ordering::Relaxed);
            result
        });
        let written = scope.spawn(|| {
            let result = log.write(arguments.duration.map(Span::duration), &stop, &ended);
            stop.store(true, Ordering::Relaxed);
            result
        });
        let shown = show_live(&store, &counters, &ended);
        written.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        job.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        shown
    })?;
    println!("{} events; the store is {}", counters.events(), store.display());
    println!("look at it: trendmark show --top 5 --store {}", store.display());
    println!("remove it:  rm -r {}", folder.display());
    Ok(())
}

fn run_arguments(folder: &Path, store: &Path, arguments: &DemoArguments) -> RunArguments {
    let pattern = |name: &str| vec![folder.join(name).to_string_lossy().into_owned()];
    RunArguments {
        impressions: pattern("impressions-*.jsonl"),
        plays: pattern("plays-*.jsonl"),
        store: Some(store.to_path_buf()),
        follow: true,
        workers: Some(arguments.workers),
        publish_interval: Some(Span { ms: 500 }),
        ..RunArguments::default()
    }
}

/// A generated log whose events are written when their time has come.
struct PacedLog {
    generator: Generator,
    writer: LogWriter,
    start_ms: i64,
    /// Event time that passes in a second, in milliseconds.
    pace_ms: i64,
}

impl PacedLog {
    fn create(folder: &Path, arguments: &DemoArguments) -> Result<PacedLog, DemoError> {
        let pace_ms = arguments.pace.ms.max(1);
        // A week, or until a year of event time has passed: longer than anybody will watch.
        let seconds = (YEAR_MS / pace_ms).clamp(1, 7 * 86_400);
        let model = Model {
            seed: arguments.seed,
            impressions: arguments.rate.saturating_mul(seconds.unsigned_abs()),
            duration_ms: pace_ms.saturating_mul(seconds),
            partitions: 4,
            ..Model::default()
        };
        let generator = Generator::new(&model)?;
        let writer = LogWriter::create(folder, LogFormat::Jsonl, model.partitions, false)?;
        Ok(PacedLog { generator, writer, start_ms: model.start_ms, pace_ms })
    }

    /// Writes events as their time comes, for some time or until somebody ends it.
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
            while let Some(arrival) = pending.take_if(|arrival| arrival.arrival_ms <= now_ms) {
                self.writer.write(&arrival)?;
                pending = self.generator.next();
            }
            self.writer.flush()?;
            std::thread::sleep(FLUSH_INTERVAL);
        }
    }
}

/// Prints the latest epochs of the store again and again, in place on a terminal.
fn show_live(store: &Path, counters: &Counters, ended: &AtomicBool) -> Result<(), DemoError> {
    let mut lines_above = 0;
    let mut due = Instant::now();
    loop {
        let over = ended.load(Ordering::Relaxed);
        if !over && Instant::now() < due {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        }
        due += SHOW_INTERVAL;
        // Earlier the file may be there without its tables.
        if counters.is_launched() {
            let reader = SqliteReader::open(store)?;
            let table = latest_epochs_table(&reader, EPOCHS_SHOWN, VIDEOS_SHOWN)?;
            let text = format!("{table}\n{} events so far\n", counters.events());
            lines_above = print_over(&text, lines_above)?;
        }
        if over {
            return Ok(());
        }
    }
}

/// Prints a text over the last one, if this is a terminal. Returns how many lines it has.
fn print_over(text: &str, lines_above: usize) -> std::io::Result<usize> {
    let mut out = stdout().lock();
    if out.is_terminal() && lines_above > 0 {
        write!(out, "\x1b[{lines_above}A\x1b[J")?;
    }
    write!(out, "{text}")?;
    out.flush()?;
    Ok(text.lines().count())
}
