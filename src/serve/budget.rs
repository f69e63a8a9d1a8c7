//! The memory of answers and events: while they are made, while they are kept for others, and until
//! their clients have taken them. There is one bound for all.
//!
//! Who makes one takes as many bytes as it may need, and gives back what it does not: the others
//! come back when the last copy of the text is gone.

use super::table::{TABLE_BYTES_MAX, TEXT_BYTES_MAX};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// The most bytes of all answers and events.
pub const BYTES_MAX: usize = 256 << 20;
/// The bytes that one may take while it is made: its rows, and its text.
pub const MAKING_BYTES: usize = TABLE_BYTES_MAX + TEXT_BYTES_MAX;
/// How many are made at once. Each reads on a thread of its own.
pub const MAKERS: usize = 4;
/// How long a request waits for others before it is refused.
pub const WAIT: Duration = Duration::from_secs(5);

/// What answers and events may take.
pub struct Budget {
    bytes: Arc<Semaphore>,
    makers: Arc<Semaphore>,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget {
            bytes: Arc::new(Semaphore::new(BYTES_MAX)),
            makers: Arc::new(Semaphore::new(MAKERS)),
        }
    }
}

/// The right to make one.
pub struct Making {
    bytes: OwnedSemaphorePermit,
    _maker: OwnedSemaphorePermit,
}

impl Budget {
    /// Waits until one can be made. `give_way` drops what is kept, if there is not enough memory.
    /// `None` when it is too late.
    pub async fn begin(&self, until: Instant, give_way: impl FnOnce()) -> Option<Making> {
        // Those who have waited for another who failed do not wait once more each.
        if Instant::now() >= until {
            return None;
        }
        let makers = Arc::clone(&self.makers);
        let maker = timeout_at(until, makers.acquire_owned()).await.ok()?.ok()?;
        let wanted = u32::try_from(MAKING_BYTES).unwrap_or(u32::MAX);
        let bytes = || Arc::clone(&self.bytes);
        let bytes = match bytes().try_acquire_many_owned(wanted) {
            Ok(bytes) => bytes,
            Err(_) => {
                give_way();
                timeout_at(until, bytes().acquire_many_owned(wanted)).await.ok()?.ok()?
            }
        };
        Some(Making { bytes, _maker: maker })
    }
}

/// A text, and the bytes that it takes.
struct Held {
    text: Bytes,
    _bytes: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

impl Making {
    /// Gives back what the text does not take.
    pub fn finish(mut self, text: impl Into<Bytes>) -> Bytes {
        let text = text.into();
        let bytes = self.bytes.split(text.len()).unwrap_or(self.bytes);
        Bytes::from_owner(Held { text, _bytes: bytes })
    }
}

/// A call on another thread, which is given up if nobody waits for it any more.
struct Call<T>(JoinHandle<T>);

impl<T> Drop for Call<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Calls a function on one of the threads that may wait. It is not called if, before it has begun,
/// nobody waits for it any more. `None` if the server ends.
pub async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let mut call = Call(tokio::task::spawn_blocking(work));
    (&mut call.0).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    fn runtime() -> tokio::runtime::Runtime {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().max_blocking_threads(1).build().unwrap()
    }

    fn free(budget: &Budget) -> (usize, usize) {
        (budget.makers.available_permits(), budget.bytes.available_permits())
    }

    #[test]
    fn a_text_takes_its_bytes_until_its_last_copy_is_gone() {
        runtime().block_on(async {
            let budget = Budget::default();
            let until = Instant::now() + WAIT;
            let making = budget.begin(until, || panic!("there is enough")).await.unwrap();
            assert_eq!(free(&budget), (MAKERS - 1, BYTES_MAX - MAKING_BYTES));
            let text = making.finish(vec![b'x'; 1_000]);
            assert_eq!(free(&budget), (MAKERS, BYTES_MAX - 1_000));
            let copy = text.slice(10..20);
            drop(text);
            assert_eq!(free(&budget), (MAKERS, BYTES_MAX - 1_000));
            assert_eq!(&copy[..], [b'x'; 10]);
            drop(copy);
            assert_eq!(free(&budget), (MAKERS, BYTES_MAX));
        });
    }

    #[test]
    fn beyond_the_bound_what_is_kept_gives_way_and_then_nothing_begins() {
        runtime().block_on(async {
            let budget = Budget::default();
            let soon = || Instant::now() + Duration::from_millis(20);
            let mut kept = Vec::new();
            while let Some(making) = budget.begin(soon(), || ()).await {
                kept.push(making.finish(vec![0; TEXT_BYTES_MAX]));
            }
            assert!(kept.len() * TEXT_BYTES_MAX + MAKING_BYTES > BYTES_MAX);
            let mut cleared = 0;
            let making = budget.begin(soon(), || {
                cleared = kept.len();
                kept.clear();
            });
            assert!(making.await.is_some());
            assert!(cleared > 20, "{cleared}");
            // Too late, even if there is enough.
            assert!(budget.begin(Instant::now(), || ()).await.is_none());
        });
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_never_called() {
        let runtime = runtime();
        let calls = Arc::new(AtomicUsize::new(0));
        let (release, blocked) = mpsc::channel::<()>();
        runtime.block_on(async {
            let first = tokio::spawn(on_thread(move || blocked.recv().is_ok()));
            let others: Vec<_> = (0..50)
                .map(|_| {
                    let calls = Arc::clone(&calls);
                    let called = on_thread(move || calls.fetch_add(1, Ordering::Relaxed));
                    tokio::spawn(called)
                })
                .collect();
            tokio::time::sleep(Duration::from_millis(10)).await;
            others.iter().for_each(|one| one.abort());
            tokio::time::sleep(Duration::from_millis(10)).await;
            release.send(()).unwrap();
            assert_eq!(first.await.unwrap(), Some(true));
            assert_eq!(on_thread(|| 7).await, Some(7));
        });
        assert_eq!(calls.load(Ordering::Relaxed), 0);
    }
}
