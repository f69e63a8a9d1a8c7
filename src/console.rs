//! The terminal: results go to standard output; errors, progress and the log to standard error.
//!
//! A reader that goes away ends nothing. A closed standard output is success, and what cannot be
//! written to standard error is dropped. Progress bars, messages and log lines share one terminal
//! without overwriting each other.

use indicatif::{MultiProgress, ProgressBar};
use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::LazyLock;
use tracing_subscriber::EnvFilter;

/// The progress bars on standard error.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Prints a line to standard output, or nothing if nobody reads it any more.
///
/// # Errors
/// If it cannot be written for another reason, such as a full disk.
pub fn print_line(line: impl Display) -> io::Result<()> {
    print(format_args!("{line}\n"))
}

/// Prints a text to standard output, or nothing if nobody reads it any more.
///
/// # Errors
/// If it cannot be written for another reason, such as a full disk.
pub fn print(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    unless_closed(write!(out, "{text}").and_then(|()| out.flush()))
}

/// Turns the error that nobody reads an output any more into success.
///
/// # Errors
/// All other errors.
pub fn unless_closed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes a line to standard error, above the progress bars.
pub fn message(line: impl Display) {
    let _ = Log.write_all(format!("{line}\n").as_bytes());
}

/// Shows a progress bar on standard error, if that is a terminal.
pub fn add_bar(bar: impl FnOnce() -> ProgressBar) -> Option<ProgressBar> {
    io::stderr().is_terminal().then(|| BARS.add(bar()))
}

/// Logs to standard error, above the progress bars. `RUST_LOG` sets the filter; the default is
/// warnings and errors.
pub fn start_log() {
    let wanted = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let (filter, refused) = match EnvFilter::try_new(&wanted) {
        _ if wanted.is_empty() => (EnvFilter::new("warn"), None),
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new("warn"), Some(error)),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(|| Log)
        .log_internal_errors(false)
        .init();
    if let Some(error) = refused {
        tracing::warn!("RUST_LOG is `{wanted}`, which is no filter ({error}): `warn` is used");
    }
}

/// Standard error, with the progress bars out of the way while a line is written.
struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        BARS.suspend(|| io::stderr().write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
