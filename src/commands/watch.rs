//! Shows the progress of a job on standard error: a bar on a terminal, else a line every 5 s.

use crate::engine::Counters;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const BAR: &str = "{wide_bar} {bytes} of {total_bytes}, {msg}, {eta} left";
const SPINNER: &str = "{spinner} {bytes}, {msg}";
const BAR_INTERVAL: Duration = Duration::from_millis(200);
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// A thread that shows the progress of a job.
pub struct ProgressReporter {
    end: Sender<()>,
    thread: JoinHandle<()>,
}

impl ProgressReporter {
    /// Starts to show progress. With `follow` there is no total and no estimate of the time left.
    pub fn start(counters: Arc<Counters>, follow: bool) -> ProgressReporter {
        let (end, ended) = channel();
        let thread = std::thread::spawn(move || {
            let started = Instant::now();
            let bar = stderr().is_terminal().then(|| new_bar(follow));
            let interval = if bar.is_some() { BAR_INTERVAL } else { LINE_INTERVAL };
            while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                let rate = counters.events() as f64 / started.elapsed().as_secs_f64();
                match &bar {
                    Some(bar) => {
                        bar.set_length(counters.bytes_total());
                        bar.set_position(counters.bytes());
                        bar.set_message(format!("{} events/s", HumanCount(rate as u64)));
                    }
                    None => eprintln!("{}", line(&counters, rate)),
                }
            }
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
        });
        ProgressReporter { end, thread }
    }

    /// Ends the thread.
    pub fn finish(self) {
        // The thread may have ended already because standard error is closed.
        let _ = self.end.send(());
        let _ = self.thread.join();
    }
}

fn line(counters: &Counters, rate: f64) -> String {
    format!(
        "run: {} of {}, {} events, {} events/s",
        HumanBytes(counters.bytes()),
        HumanBytes(counters.bytes_total()),
        HumanCount(counters.events()),
        HumanCount(rate as u64)
    )
}

fn new_bar(follow: bool) -> ProgressBar {
    let bar = ProgressBar::new(0);
    match ProgressStyle::with_template(if follow { SPINNER } else { BAR }) {
        Ok(style) => bar.with_style(style),
        Err(error) => unreachable!("the template is fixed: {error}"),
    }
}
