//! A process that `trendmark launch` has started: it shows that it makes progress, obeys, and does
//! not outlive the launch, whose end closes their connection.

use crate::arguments::ArgumentError;
use crate::commands::stop::ask_to_stop;
use crate::console;
use crate::engine::Counters;
use crate::supervise::{Order, Sign};
use crate::time::Publication;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

/// The variable that tells a process that its standard input is the connection to the launch.
pub const VARIABLE: &str = "TRENDMARK_SUPERVISED";
/// The interval between two signs of life.
const INTERVAL: Duration = Duration::from_millis(250);

/// Begins to show the progress of this process to the launch that has started it, if one has.
///
/// # Errors
/// When the variable is set and there is no connection.
pub fn begin(counters: &Arc<Counters>, stop: &Arc<AtomicBool>) -> Result<(), ArgumentError> {
    if std::env::var_os(VARIABLE).is_none() {
        return Ok(());
    }
    let connection = connection().map_err(|error| {
        ArgumentError::Conflict(format!(
            "{VARIABLE} is set, and standard input is no connection to `trendmark launch`: \
             {error}; unset it"
        ))
    })?;
    let (counters, stop) = (Arc::clone(counters), Arc::clone(stop));
    thread::spawn(move || {
        follow(connection, &counters, &stop);
        console::fail(
            "`trendmark launch` is gone, and this process with it: what is committed remains, and \
             the next job goes on from there",
        );
    });
    Ok(())
}

fn connection() -> io::Result<UnixStream> {
    let connection = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // It fails for anything else.
    connection.peer_addr()?;
    connection.set_read_timeout(Some(INTERVAL))?;
    connection.set_write_timeout(Some(INTERVAL))?;
    Ok(connection)
}

/// Exchanges signs and orders until the other side is gone.
fn follow(mut connection: UnixStream, counters: &Counters, stop: &AtomicBool) {
    let mut known = Known::default();
    let mut orders = [0; 16];
    loop {
        let committed = counters.committed().map(|(publication, _)| publication);
        let workers = counters.meter().workers();
        let begun = workers.iter().filter_map(|worker| Some((worker.index, worker.begun()?)));
        let signs = known.signs(begun.collect(), committed);
        let bytes: Vec<u8> = signs.into_iter().map(Sign::to_byte).collect();
        // If the launch does not read, it is frozen itself; if it is gone, reading tells.
        let _ = connection.write(&bytes);
        match connection.read(&mut orders) {
            Ok(0) => return,
            Ok(count) => {
                if orders[..count].iter().any(|byte| Order::of_byte(*byte).is_some()) {
                    ask_to_stop(stop);
                }
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                _ => return,
            },
        }
    }
}

/// What the launch was told.
#[derive(Debug, Default)]
struct Known {
    /// How often each worker that is at work had begun something.
    begun: BTreeMap<usize, u64>,
    committed: Option<Publication>,
}

impl Known {
    /// Returns what the launch is to be told now.
    fn signs(&mut self, begun: BTreeMap<usize, u64>, committed: Option<Publication>) -> Vec<Sign> {
        let is_stuck = begun.iter().any(|(worker, begun)| self.begun.get(worker) == Some(begun));
        let has_committed = committed != self.committed;
        (self.begun, self.committed) = (begun, committed);
        let progress = if is_stuck { Sign::NoProgress } else { Sign::Progress };
        has_committed.then_some(Sign::Commit).into_iter().chain([progress]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_that_make_no_step_are_no_progress_unless_none_is_at_work() {
        // How often worker 3, and worker 4, have begun something.
        let looks = [
            ([None, None], None, "Progress"),
            ([None, None], None, "Progress"),
            ([Some(1), None], None, "Progress"),
            ([Some(1), None], None, "NoProgress"),
            ([Some(1), None], Some(1), "Commit NoProgress"),
            ([Some(2), None], Some(1), "Progress"),
            ([Some(2), None], Some(2), "Commit NoProgress"),
            ([None, None], Some(2), "Progress"),
            ([Some(5), Some(5)], Some(2), "Progress"),
            ([Some(6), Some(5)], Some(2), "NoProgress"),
            ([Some(7), Some(6)], Some(2), "Progress"),
        ];
        let mut known = Known::default();
        for (begun, committed, expected) in looks {
            let workers = (3..).zip(begun).filter_map(|(worker, begun)| Some((worker, begun?)));
            let signs = known.signs(workers.collect(), committed.map(Publication));
            let words: Vec<String> = signs.iter().map(|sign| format!("{sign:?}")).collect();
            assert_eq!(words.join(" "), expected, "{begun:?} {committed:?}");
        }
    }

    #[test]
    fn an_order_stops_the_job_and_the_end_of_the_launch_ends_it() {
        let (mut launch, process) = UnixStream::pair().unwrap();
        process.set_read_timeout(Some(INTERVAL)).unwrap();
        let (counters, stop) = (Counters::default(), Arc::new(AtomicBool::new(false)));
        // The job stops by itself, so that its time does not run out in this test.
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let following = thread::spawn(move || follow(process, &counters, &stop));
        let mut sign = [0];
        launch.read_exact(&mut sign).unwrap();
        assert_eq!(Sign::of_byte(sign[0]), Some(Sign::Progress));
        launch.write_all(&[0, Order::Drain.to_byte()]).unwrap();
        launch.read_exact(&mut sign).unwrap();
        assert!(!following.is_finished());
        drop(launch);
        following.join().unwrap();
    }
}
