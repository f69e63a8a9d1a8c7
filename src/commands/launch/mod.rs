//! `trendmark launch`: does what the supervisor decides ([`crate::supervise`]): starts, watches and
//! ends the processes of a job on this machine.

mod processes;
pub(super) mod supervised;

use super::stop;
use crate::arguments::{ArgumentError, LaunchArguments, LaunchPlan};
use crate::console;
use crate::engine::{EXIT_FENCED, EXIT_UNUSABLE, EXIT_USAGE};
use crate::supervise::{Command, Event, Rules, Sign, Supervisor, Verdict};
use processes::{Heard, Processes};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The longest time between two looks at the processes.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// The exit code of a launch that has given up: the processes end again and again without a commit.
const EXIT_GAVE_UP: u8 = 7;

/// Why a launch failed.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The arguments are invalid.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// There is no place for the addresses of the processes.
    #[error("cannot create a temporary folder: {0}; set TMPDIR to a folder with free space")]
    Folder(std::io::Error),
    /// The job has not ended well.
    #[error("{0}")]
    Ended(Verdict),
}

impl LaunchError {
    /// Returns the exit code: that of the process for which the job is not started again, or 7 if
    /// it was started ten times in vain.
    pub fn exit_code(&self) -> u8 {
        match self {
            LaunchError::Argument(error) if error.is_usage() => EXIT_USAGE,
            LaunchError::Ended(Verdict::Refused(_, code)) => u8::try_from(*code).unwrap_or(1),
            LaunchError::Ended(Verdict::GaveUp(_)) => EXIT_GAVE_UP,
            _ => 1,
        }
    }
}

/// Runs all processes of a job until it ends by itself or is asked to stop. Returns the text to
/// print: the complete configuration with `--print-config`, otherwise nothing.
///
/// # Errors
/// When the arguments are invalid, the processes must not be started again or end again and again,
/// or the job was not stopped well.
pub fn launch(arguments: &LaunchArguments) -> Result<String, LaunchError> {
    let complete = arguments.run.with_config()?;
    if arguments.run.print_config {
        return Ok(complete.to_toml());
    }
    let plan = arguments.plan(&complete)?;
    // The program and the command come before.
    let given = LaunchArguments::for_run(std::env::args_os().skip(2));
    match supervise(&plan, given, &stop::count_interrupts())? {
        verdict @ (Verdict::Finished | Verdict::Stopped) => {
            tell(verdict);
            Ok(String::new())
        }
        verdict => Err(LaunchError::Ended(verdict)),
    }
}

/// Supervises the job to its end.
fn supervise(
    plan: &LaunchPlan,
    given: Vec<std::ffi::OsString>,
    interrupts: &AtomicUsize,
) -> Result<Verdict, LaunchError> {
    let rules = Rules {
        processes: plan.processes,
        frozen_after: plan.frozen_after,
        final_codes: [EXIT_USAGE, EXIT_FENCED, EXIT_UNUSABLE].map(i32::from).to_vec(),
    };
    let mut supervisor = Supervisor::new(rules, Instant::now());
    let (heard, hears) = channel();
    let mut processes = Processes::new(plan, given, heard).map_err(LaunchError::Folder)?;
    // A job that has the store for once must not take it from another one when it starts again.
    let mut take_over = plan.take_over;
    let mut interrupted = 0;
    loop {
        for event in listen(&hears, processes.generation()) {
            take_over &= event != Event::Commit;
            supervisor.receive(event, Instant::now());
        }
        for (process, exit) in processes.take_ended() {
            supervisor.receive(Event::Ended(process, exit), Instant::now());
        }
        while interrupted < interrupts.load(Ordering::Relaxed) {
            interrupted += 1;
            supervisor.receive(Event::Stop, Instant::now());
        }
        for command in supervisor.decide(Instant::now()) {
            match command {
                Command::Say(note) => tell(note),
                Command::Start(generation) => {
                    let ids = processes.start(generation, take_over);
                    tell(format_args!("generation {generation}: {ids}"));
                }
                Command::Drain => {
                    tell("stopping: the job publishes what it has read (again to kill it)");
                    processes.drain();
                }
                Command::Kill => processes.kill(),
                Command::End(verdict) => return Ok(verdict),
            }
        }
    }
}

/// Waits for signs of the processes of a generation, and returns what they tell.
fn listen(hears: &Receiver<Heard>, generation: u64) -> Vec<Event> {
    let first = match hears.recv_timeout(LOOK_INTERVAL) {
        Ok(heard) => Some(heard),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => unreachable!("there is a sender as long as this"),
    };
    let all = first.into_iter().chain(hears.try_iter());
    all.filter(|heard| heard.generation == generation)
        .map(|Heard { process, sign, .. }| match sign {
            Sign::Progress => Event::Progress(process),
            Sign::NoProgress => Event::NoProgress(process),
            Sign::Commit => Event::Commit,
        })
        .collect()
}

fn tell(what: impl std::fmt::Display) {
    console::message(format_args!("launch: {what}"));
}
