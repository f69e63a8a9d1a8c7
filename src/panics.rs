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
        console::message(
            "error: a worker of this process has failed, which ends the job; if another process \
             of the job ended first, its message says why",
        );
        report(panic);
        std::process::exit(1);
    }));
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
