//! Which operator a thread is in, asked from another thread.
//!
//! Timely notes the operator that a thread schedules in a variable of that thread, and its log
//! tells only what is over. So a thread that has stalled is interrupted by a signal, whose handler
//! reads the variable. That happens when a stall is told, and at no other time.
#![allow(unsafe_code)]

use nix::sys::pthread::{Pthread, pthread_kill, pthread_self};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

/// A signal that nothing else uses.
const SIGNAL: Signal = Signal::SIGURG;
/// How long to wait for the handler: a thread in an uninterruptible call never runs it.
const WAIT_MAX: Duration = Duration::from_millis(200);

/// No answer yet, no operator, or the number of the operator plus two.
static ANSWER: AtomicU64 = AtomicU64::new(0);

extern "C" fn answer(_signal: nix::libc::c_int) {
    let operator = timely::scheduling::current::operator_id();
    ANSWER.store(operator.map_or(1, |operator| operator as u64 + 2), Ordering::Release);
}

/// The identity of a thread, to ask for its operator.
#[derive(Clone, Copy, Debug)]
pub struct ThreadHandle(Pthread);

impl ThreadHandle {
    /// That of this thread.
    pub fn of_this() -> ThreadHandle {
        ThreadHandle(pthread_self())
    }

    /// Returns the number of the operator that a thread is in; `None` if it is in none, or does not
    /// say. The thread must not have ended.
    pub fn operator(self) -> Option<usize> {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            let handler = SigHandler::Handler(answer);
            let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
            // SAFETY: the handler reads a constant-initialised thread-local without a destructor,
            // and stores into an atomic: it neither allocates nor locks, so it may run anywhere.
            let _ = unsafe { sigaction(SIGNAL, &action) };
        });
        // One question at a time.
        static ASKED: Mutex<()> = Mutex::new(());
        let _asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
        ANSWER.store(0, Ordering::Release);
        pthread_kill(self.0, SIGNAL).ok()?;
        for _ in 0..WAIT_MAX.as_millis() {
            match ANSWER.load(Ordering::Acquire) {
                0 => std::thread::sleep(Duration::from_millis(1)),
                1 => return None,
                operator => return usize::try_from(operator - 2).ok(),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_thread_that_does_not_get_on_says_which_operator_it_is_in() {
        let (sender, handles) = channel();
        let (end, ended) = channel::<()>();
        let thread = std::thread::spawn(move || {
            sender.send(ThreadHandle::of_this()).unwrap();
            ended.recv().unwrap();
            let guard = timely::scheduling::current::enter(5);
            sender.send(ThreadHandle::of_this()).unwrap();
            ended.recv().unwrap();
            drop(guard);
        });
        assert_eq!(handles.recv().unwrap().operator(), None);
        end.send(()).unwrap();
        assert_eq!(handles.recv().unwrap().operator(), Some(5));
        end.send(()).unwrap();
        thread.join().unwrap();
    }
}
