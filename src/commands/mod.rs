//! The commands that `main` executes.

pub mod demo;
pub mod http;
#[cfg_attr(not(feature = "kafka"), path = "kafka_missing.rs")]
pub mod kafka;
#[cfg_attr(not(unix), path = "launch_missing.rs")]
pub mod launch;
pub mod run;
pub mod show;
pub mod status;
mod stop;
pub mod store;
mod totals;
pub mod watch;

use crate::arguments::{Arguments, Command};
use crate::console;
use crate::engine::{EXIT_FENCED, EXIT_UNUSABLE, EXIT_USAGE};
use crate::generate::{self, GenerateError};
use clap::CommandFactory;
use clap_complete::Shell;
use demo::DemoError;
use launch::LaunchError;
use run::RunError;
use show::ShowError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// `run` or `status` failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// `launch` failed.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// `demo` failed.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// `show` failed.
    #[error(transparent)]
    Show(#[from] ShowError),
    /// `generate` failed.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// The results cannot be printed.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] std::io::Error),
}

impl CommandError {
    /// Returns the exit code: 5 if another job has the store, 6 if the input was not usable, 2 if
    /// the arguments are wrong, 7 if a launch has given up, otherwise 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            CommandError::Run(error) | CommandError::Demo(DemoError::Run(error))
                if error.is_fenced() =>
            {
                EXIT_FENCED
            }
            CommandError::Run(RunError::Unusable { .. }) => EXIT_UNUSABLE,
            CommandError::Launch(error) => error.exit_code(),
            _ if self.is_usage() => EXIT_USAGE,
            _ => 1,
        }
    }

    /// Whether the arguments are the cause, so that the same command fails again.
    fn is_usage(&self) -> bool {
        match self {
            CommandError::Run(error)
            | CommandError::Demo(DemoError::Run(error))
            | CommandError::Show(ShowError::Open(error)) => error.is_usage(),
            CommandError::Demo(error) => matches!(error, DemoError::Model(_)),
            CommandError::Generate(error) => error.is_usage(),
            CommandError::Launch(_) | CommandError::Show(_) | CommandError::Output(_) => false,
        }
    }
}

/// Returns the completions of a shell.
fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "trendmark", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Executes a command to its end, and returns the exit code: 0, except for `status`. Output that
/// nobody reads any more is not an error.
///
/// # Errors
/// If the command fails.
pub fn execute(command: Command) -> Result<u8, CommandError> {
    match command {
        Command::Run(arguments) => {
            console::print(run::run(&arguments, stop::stop_on_interrupt())?)?;
        }
        Command::Launch(arguments) => console::print(launch::launch(&arguments)?)?,
        Command::Demo(arguments) => demo::demo(&arguments, stop::stop_on_interrupt())?,
        Command::Show(arguments) => show::show(&arguments, &mut std::io::stdout().lock())?,
        Command::Status(arguments) => return status::status(&arguments),
        Command::Generate(arguments) => console::print_line(generate::generate(&arguments)?)?,
        Command::Completions { shell } => console::print(completions(shell))?,
    }
    Ok(0)
}
