//! Panic handling: a panic ends the process, because the remaining workers would wait for ever.
//!
//! There are two exceptions. A library that parses untrusted bytes may panic on them
//! ([`catch_panic`]), and a part of the program without which the job goes on must not end it
//! ([`survive`]).

use crate::console;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::thread;

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
    /// What the last panic that was contained in this thread has said.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Installs a hook that ends the process with exit code 1 when any thread panics, unless the panic
/// happens inside [`catch_panic`] or [`survive`].
pub fn exit_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if CONTAINED.get() {
            SAID.replace(Some(panic.to_string()));
            return;
        }
        if let Some(process) = lost_process() {
            console::fail(format_args!(
                "the connection to process {process} has ended before the job was over, which ends \
                 all processes of the job; the message of process {process} says why"
            ));
        }
        match console::is_json() {
            true => console::error(panic),
            false => report(panic),
        }
        console::fail("a worker of this process has failed, which ends the job: this is a bug");
    }));
}

/// The process at the other end of a connection, if this thread is one of timely's two threads for
/// it. They panic when the connection breaks, as their documentation says, and for nothing else.
fn lost_process() -> Option<String> {
    let thread = thread::current();
    let name = thread.name()?;
    let process = name.strip_prefix("timely:recv-").or(name.strip_prefix("timely:send-"))?;
    Some(process.to_owned())
}

fn contained<T>(work: impl FnOnce() -> T) -> thread::Result<T> {
    let before = CONTAINED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(before);
    result
}

/// Calls library code that parses untrusted bytes, and turns a panic into an error: malformed bytes
/// are the likely cause.
///
/// # Errors
/// The error of `read`, or a message that the reader failed if `read` panicked.
pub fn catch_panic<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    contained(read).unwrap_or_else(|_| Err("the reader failed".into()))
}

/// Calls a part of the program without which the job goes on. A panic, which is a bug, is logged,
/// and nothing is returned.
pub fn survive<T>(what: &str, work: impl FnOnce() -> T) -> Option<T> {
    let failed = |payload: Box<dyn Any + Send>| {
        let payload = payload.as_ref();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
        let said = SAID.take().unwrap_or_else(|| text.to_owned());
        tracing::error!("{what} has failed, which is a bug; the job goes on: {said}");
    };
    contained(work).map_err(failed).ok()
}

/// Completes a future as [`survive`] calls a function.
pub async fn survive_async<T>(what: &str, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| match survive(what, || work.as_mut().poll(context)) {
        Some(polled) => polled.map(Some),
        None => Poll::Ready(None),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_contained_in_what_may_fail_and_nowhere_else() {
        assert_eq!(survive("a test", || CONTAINED.get()), Some(true));
        assert_eq!(survive("a test", || -> u8 { panic!("on purpose") }), None);
        assert!(!CONTAINED.get());
        assert_eq!(
            catch_panic(|| -> Result<u8, _> { panic!("{}", 1) }).unwrap_err(),
            "the reader failed"
        );
        assert!(!CONTAINED.get());
    }

    #[test]
    fn a_future_that_panics_after_a_pause_returns_nothing() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let paused = |is_wrong: bool| async move {
            tokio::task::yield_now().await;
            assert!(!is_wrong, "on purpose");
            CONTAINED.get()
        };
        assert_eq!(runtime.block_on(survive_async("a test", paused(false))), Some(true));
        assert_eq!(runtime.block_on(survive_async("a test", paused(true))), None);
        assert!(!CONTAINED.get());
    }
}
