//! The terminal: results go to standard output; errors, progress and the log to standard error.
//!
//! A closed output ends no job. A closed standard output counts as success, and text for a closed
//! standard error is dropped. Progress bars, pictures, messages and log lines share one terminal
//! without overwriting each other.

use indicatif::{MultiProgress, ProgressBar};
use serde_json::json;
use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// The progress bars on standard error.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);
/// The picture at the bottom of the terminal, which the next picture replaces; empty if there is
/// none.
static PICTURE: Mutex<String> = Mutex::new(String::new());
/// Whether all lines of standard error are JSON objects.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// The characters of a line.
    pub columns: usize,
    /// The lines of the screen.
    pub lines: usize,
}

impl Size {
    /// The number of lines of a text on the terminal, where long lines are wrapped.
    pub fn height_of(self, text: &str) -> usize {
        text.lines().map(|line| line.chars().count().div_ceil(self.columns).max(1)).sum()
    }
}

/// Returns the size of the terminal, if standard output is one.
pub fn terminal() -> Option<Size> {
    let size = || terminal_size::terminal_size_of(io::stdout());
    let (width, height) = io::stdout().is_terminal().then(size)??;
    Some(Size { columns: usize::from(width.0).max(1), lines: usize::from(height.0) })
}

/// Prints a line to standard output, or nothing if it is closed.
///
/// # Errors
/// If it cannot be written for another reason, such as a full disk.
pub fn print_line(line: impl Display) -> io::Result<()> {
    print(format_args!("{line}\n"))
}

/// Prints a text to standard output, or nothing if it is closed.
///
/// # Errors
/// If it cannot be written for another reason, such as a full disk.
pub fn print(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Prints a text of whole lines to standard output, on a terminal over the previous one.
///
/// # Errors
/// If it cannot be written, also if it is closed.
pub fn repaint(text: &str) -> io::Result<()> {
    let mut picture = picture();
    let mut out = io::stdout().lock();
    out.write_all(erasing(&picture).as_bytes())?;
    out.write_all(text.as_bytes())?;
    out.flush()?;
    picture.clear();
    if terminal().is_some() {
        picture.push_str(text);
    }
    Ok(())
}

/// Leaves the picture as it is: what follows is written below it.
pub fn leave_picture() {
    picture().clear();
}

fn picture() -> MutexGuard<'static, String> {
    PICTURE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the control sequence that erases a picture at the bottom of the terminal.
fn erasing(picture: &str) -> String {
    match terminal() {
        Some(size) if !picture.is_empty() => format!("\x1b[{}A\r\x1b[J", size.height_of(picture)),
        _ => String::new(),
    }
}

/// Whether all lines of standard error are JSON objects.
pub fn is_json() -> bool {
    IS_JSON.load(Ordering::Relaxed)
}

/// Writes a line to standard error, above the progress bars.
pub fn message(line: impl Display) {
    write_message("INFO", "", &line);
}

/// Writes the message of an error to standard error.
pub fn error(error: impl Display) {
    write_message("ERROR", "error: ", &error);
}

fn write_message(level: &str, prefix: &str, message: &dyn Display) {
    let line = if is_json() {
        let mut timestamp = String::new();
        // It fails only if the text cannot grow.
        let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
        let message = message.to_string();
        json!({ "timestamp": timestamp, "level": level, "message": message }).to_string()
    } else {
        format!("{prefix}{message}")
    };
    let _ = Log.write_all(format!("{line}\n").as_bytes());
}

/// Ends the process with exit code 1 and an error message.
pub fn fail(error: impl Display) -> ! {
    fail_with(1, error)
}

/// Ends the process with an exit code and an error message. If several threads do, the first one is
/// heard.
pub fn fail_with(exit_code: i32, error: impl Display) -> ! {
    static FAILED: AtomicBool = AtomicBool::new(false);
    if FAILED.swap(true, Ordering::Relaxed) {
        loop {
            std::thread::park();
        }
    }
    self::error(error);
    std::process::exit(exit_code);
}

/// Shows a progress bar on standard error, if that is a terminal and people read it.
pub fn add_bar(bar: impl FnOnce() -> ProgressBar) -> Option<ProgressBar> {
    let is_shown = io::stderr().is_terminal() && !is_json();
    is_shown.then(|| BARS.add(bar()))
}

/// Logs to standard error, above the progress bars, and with `as_json` one JSON object a line.
/// `RUST_LOG` sets the filter; the default is warnings and errors.
pub fn start_log(as_json: bool) {
    IS_JSON.store(as_json, Ordering::Relaxed);
    let wanted = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let (filter, refused) = match EnvFilter::try_new(&wanted) {
        _ if wanted.is_empty() => (EnvFilter::new("warn"), None),
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new("warn"), Some(error)),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal() && !as_json)
        .with_writer(|| Log)
        .log_internal_errors(false);
    match as_json {
        true => log.json().flatten_event(true).with_current_span(false).init(),
        false => log.init(),
    }
    if let Some(error) = refused {
        tracing::warn!("RUST_LOG is `{wanted}`, which is no filter ({error}): `warn` is used");
    }
}

/// Standard error. Progress bars are out of the way while a line is written, and a picture is
/// erased: the next one comes below the line.
struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if io::stderr().is_terminal() {
            let erase = erasing(&std::mem::take(&mut *picture()));
            let _ = io::stdout().write_all(erase.as_bytes()).and_then(|()| io::stdout().flush());
        }
        BARS.suspend(|| io::stderr().write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_wrapped() {
        let size = Size { columns: 10, lines: 24 };
        assert_eq!(size.height_of("0123456789\n01234567890\n\n"), 1 + 2 + 1);
    }
}
