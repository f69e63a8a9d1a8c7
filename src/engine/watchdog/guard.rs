//! The thread of the watchdog: looks at the threads of the process, warns, and ends it.

use super::{Look, Verdict, Watchdog, Watched};
use crate::console;
use crate::engine::EXIT_STALLED;
use crate::engine::metrics::Counters;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The thread of the watchdog. It ends when this is dropped.
pub struct Guard {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Guard {
    /// Starts to watch the threads of a process. With a limit of zero it ends no process.
    pub fn start(limit: Duration, counters: Arc<Counters>) -> Guard {
        let (end, ended) = channel();
        let thread = std::thread::spawn(move || {
            let mut watchdog = Watchdog::new(limit);
            let mut looked_at = Instant::now();
            while ended.recv_timeout(watchdog.interval()) == Err(RecvTimeoutError::Timeout) {
                let elapsed = looked_at.elapsed();
                looked_at = Instant::now();
                look(&mut watchdog, &counters, elapsed);
            }
        });
        Guard { end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            // It has panicked only if the process has ended.
            let _ = thread.join();
        }
    }
}

fn look(watchdog: &mut Watchdog, counters: &Counters, elapsed: Duration) {
    let meter = counters.meter();
    let workers = meter.workers();
    let of_workers = workers.iter().map(|worker| (Watched::Worker(worker.index), &worker.doing));
    let threads = of_workers.chain([(Watched::Store, &meter.store)]);
    let looks = threads.map(|(thread, doing)| {
        let (activity, begun) = doing.now();
        Look { thread, activity, begun }
    });
    let looks: Vec<Look> = looks.collect();
    let verdicts = watchdog.look(&looks, elapsed);
    meter.set_stalls(watchdog.stalls().collect(), watchdog.warn_after());
    for verdict in verdicts {
        match verdict {
            Verdict::Warn(stall) => tracing::warn!("{}", meter.describe(&stall)),
            Verdict::End(stall) => console::fail_with(
                i32::from(EXIT_STALLED),
                format_args!(
                    "{}: this process ends, so that it can be started again (--watchdog)",
                    meter.describe(&stall)
                ),
            ),
        }
    }
}
