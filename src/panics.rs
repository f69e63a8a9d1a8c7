//! What a panic does: it ends the process, because the workers that are left would wait for ever.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// From now on a panic on any thread ends the process with exit code 1, unless it is contained.
pub fn end_the_process() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if CONTAINED.get() {
            return;
        }
        eprintln!(
            "error: a worker of this process has failed, which ends the job; if another process \
             of the job ended first, its message tells why"
        );
        report(panic);
        std::process::exit(1);
    }));
}

/// Runs what reads foreign bytes in a library: should it panic, the bytes are to blame.
///
/// # Errors
/// With what `read` answers, or a remark that it panicked.
pub fn contain<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let before = CONTAINED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(read));
    CONTAINED.set(before);
    result.unwrap_or_else(|_| Err("the reader failed on it".into()))
}
