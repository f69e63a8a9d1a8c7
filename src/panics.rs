//! Panic handling: a panic ends the process, because the remaining workers would wait for ever.

use crate::console;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Installs a hook that ends the process with exit code 1 when any thread panics, unless the panic
/// happens inside [`catch_panic`].
pub fn exit_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if CONTAINED.get() {
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
    let thread = std::thread::current();
    let name = thread.name()?;
    let process = name.strip_prefix("timely:recv-").or(name.strip_prefix("timely:send-"))?;
    Some(process.to_owned())
}

/// Calls library code that parses untrusted bytes, and turns a panic into an error: malformed bytes
/// are the likely cause.
///
/// # Errors
/// The error of `read`, or a message that the reader failed if `read` panicked.
pub fn catch_panic<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let before = CONTAINED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(read));
    CONTAINED.set(before);
    result.unwrap_or_else(|_| Err("the reader failed".into()))
}
