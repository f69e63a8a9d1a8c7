//! The `trendmark` program: parses the arguments, runs a command, and sets the exit code.
//!
//! Exit codes: 0 success, 1 failure, 2 usage error.

use clap::Parser;
use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use trendmark::arguments::{Arguments, Command};
use trendmark::commands::run::RunError;
use trendmark::commands::{demo, run, show, status};
use trendmark::{generate, panics};

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log_to_stderr();
    panics::exit_on_panic();
    match execute(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let is_usage =
                error.downcast_ref().is_some_and(|error| matches!(error, RunError::Argument(_)));
            ExitCode::from(if is_usage { 2 } else { 1 })
        }
    }
}

fn execute(command: Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Run(arguments) => run::run(&arguments, run::stop_on_interrupt())?,
        Command::Demo(arguments) => demo::demo(&arguments, run::stop_on_interrupt())?,
        Command::Show(arguments) => {
            // `show` flushes its output itself, and does not treat a closed pipe as an error.
            show::show(&arguments, &mut std::io::stdout().lock())?;
        }
        Command::Status(arguments) => println!("{}", status::status(&arguments)?),
        Command::Generate(arguments) => println!("{}", generate::generate(&arguments)?),
    }
    Ok(())
}

/// Logs to standard error. `RUST_LOG` sets the filter; the default is warnings and errors.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}
