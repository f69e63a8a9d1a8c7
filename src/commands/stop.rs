//! Ctrl-C and SIGTERM: how a command is asked to stop, also while it waits for other machines.

use crate::console;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

/// How long a job may take to stop after Ctrl-C.
const STOP_TIMEOUT: Duration = Duration::from_secs(9);
/// The pause between two looks at whether work was asked to stop.
const STOP_PAUSE: Duration = Duration::from_millis(50);
/// How long work may go on after that.
const GRACE: Duration = Duration::from_millis(700);

/// Returns a flag that the first Ctrl-C sets, or SIGTERM or SIGHUP. The second ends the process, as
/// does the time if the job does not stop: whatever it waits for, nothing committed is lost.
pub fn stop_on_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let was_interrupted = AtomicBool::new(false);
    on_interrupt(move || {
        if was_interrupted.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
        ask_to_stop(&flag);
    });
    stop
}

/// Asks a job to stop, once: it publishes what it has read, and ends soon or is ended.
pub(super) fn ask_to_stop(stop: &AtomicBool) {
    if stop.swap(true, Ordering::Relaxed) {
        return;
    }
    console::message("stopping: publishing what has been read (Ctrl-C again to exit at once)");
    thread::spawn(|| {
        thread::sleep(STOP_TIMEOUT);
        console::fail(format_args!(
            "not stopped within {} s, so the process ends now: what is committed remains, and the \
             next job goes on from there",
            STOP_TIMEOUT.as_secs()
        ));
    });
}

/// Returns the number of interrupts so far: Ctrl-C, SIGTERM and SIGHUP.
pub(super) fn count_interrupts() -> Arc<AtomicUsize> {
    let interrupts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&interrupts);
    on_interrupt(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    interrupts
}

fn on_interrupt(handler: impl FnMut() + Send + 'static) {
    if let Err(error) = ctrlc::set_handler(handler) {
        tracing::warn!("cannot handle Ctrl-C, so it will end the job at once: {error}");
    }
}

/// Does work that may wait for other machines, in a thread of its own, and returns its result, or
/// `None` if `stop` is set and the work does not end soon. Then it goes on, until the process ends:
/// the calls of client libraries cannot be interrupted. So it must be work that may end anywhere,
/// and that does not go on to anything else when `stop` is set.
///
/// # Panics
/// If the work panics.
pub(super) fn unless_stopped<T: Send + 'static>(
    stop: &AtomicBool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, result) = sync_channel(1);
    thread::spawn(move || {
        // Nobody waits for it any more if the job was asked to stop.
        let _ = done.send(work());
    });
    loop {
        let limit = if stop.load(Ordering::Relaxed) { GRACE } else { STOP_PAUSE };
        match result.recv_timeout(limit) {
            Ok(result) => return Some(result),
            Err(RecvTimeoutError::Timeout) if limit == GRACE => return None,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => panic!("the thread of this work has panicked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn work_that_waits_is_left_when_it_is_asked_to_stop_and_other_work_is_not() {
        let stop = Arc::new(AtomicBool::new(false));
        assert_eq!(unless_stopped(&stop, || 7), Some(7));
        let asks = Arc::clone(&stop);
        let (_never, waits) = sync_channel::<()>(0);
        let started = Instant::now();
        let result = unless_stopped(&stop, move || {
            asks.store(true, Ordering::Relaxed);
            waits.recv()
        });
        assert_eq!(result, None);
        assert!(started.elapsed() < 2 * GRACE, "{:?}", started.elapsed());
        // What is done soon is not left.
        assert_eq!(unless_stopped(&stop, || 8), Some(8));
    }
}
