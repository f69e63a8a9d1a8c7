//! The `trendmark` program: parses the arguments, runs a command, and sets the exit code.
//!
//! Exit codes: 0 success, 1 failure, 2 usage error, 3 and 4 a job that is stale or of which nothing
//! is known (`status`), 5 another job has the store, 6 input that cannot be used, 7 a launch that
//! has given up, 8 a worker that does not get on.

use clap::Parser;
use std::process::ExitCode;
use trendmark::arguments::Arguments;
use trendmark::{commands, console, panics};

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Makes a write beyond the limit of a file's size (`ulimit -f`) an error like that of a full disk.
/// Unless its signal is blocked, it kills the process without a word. Threads inherit this.
fn block_file_size_signal() {
    #[cfg(unix)]
    {
        use nix::sys::signal::{SigSet, Signal};
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGXFSZ);
        // It fails for no valid set of signals.
        let _ = signals.thread_block();
    }
}

fn main() -> ExitCode {
    block_file_size_signal();
    let arguments = Arguments::parse();
    console::start_log(arguments.command.logs_json());
    panics::exit_on_panic();
    match commands::execute(arguments.command) {
        Ok(exit_code) => ExitCode::from(exit_code),
        Err(error) => {
            console::error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}
