//! The protocol between the workers and the leader: all workers send reports to worker 0, and it
//! sends commands to all workers, over a separate dataflow.
//!
//! Timely requires that dataflows are built in the same order on every worker, and no worker may
//! close an epoch or begin a publication on its own. So worker 0 decides ([`super::coordinator`]),
//! and every worker executes its commands in order, between two steps of its dataflows. Messages
//! from one worker to another stay in order; advancing the timestamps only flushes them.

use super::holding::Holder;
use crate::log::PartitionProgress;
use crate::sources::{Discovered, Moved};
use crate::time::{Epoch, Round, Through};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandle;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;
use timely::worker::Worker;

/// The state of a worker. A report is always complete, so only the last one counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The reporting worker.
    pub worker: usize,
    /// Its current round.
    pub round: Round,
    /// The number of assignments that it has received, of partitions to any worker.
    pub assigned: u64,
    /// Whether all its partitions have been replayed.
    pub replayed: bool,
    /// The number of its requests: partitions that wait for the next publication, because they were
    /// idle or because an event needs a limit of the clock.
    pub asked: u64,
    /// How many of its requests [`Command::Begin`] has answered.
    pub granted: u64,
    /// The watermarks of its partitions.
    pub watermarks: Watermarks,
    /// Epochs that its events need but that are not open.
    pub wanted: Vec<Epoch>,
    /// The number of epoch dataflows that have completed on it.
    pub completed: u64,
    /// Whether nothing was read in its current round.
    pub round_is_empty: bool,
    /// Whether it has processed all available records, and nothing new has arrived for a moment.
    pub quiet: bool,
    /// Whether its waiting rows and sums have reached half of their limit.
    pub row_limit_near: bool,
    /// Whether little memory is left in its process.
    pub memory_is_scarce: bool,
    /// The partition with its lowest watermark, and why that stands still; of half a second ago.
    pub holder: Option<Holder>,
    /// Whether it has executed [`Command::Drain`].
    pub drained: bool,
    /// Whether it was asked to stop.
    pub stop: bool,
    /// The error that stopped it.
    pub failure: Option<Failure>,
}

/// The error that stopped a worker, as all processes of the job tell it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The message.
    pub text: String,
    /// The exit code of every process: a supervisor must treat all of them alike.
    pub exit_code: u8,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// The lowest watermark of the active ones in a set of partitions. Active partitions are those that
/// are neither idle nor exhausted; they hold epochs open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SlowestWatermark {
    /// One of them has no watermark yet, so it holds every epoch open.
    Unknown,
    /// The lowest of their watermarks, in milliseconds.
    At(i64),
    /// No partition is active.
    NoneActive,
}

/// The watermarks of a set of partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermarks {
    /// The lowest watermark of the active partitions.
    pub slowest: SlowestWatermark,
    /// The highest watermark of all, in milliseconds; `None` if no partition has one.
    pub max_ms: Option<i64>,
    /// Whether all are exhausted: no more records will ever follow.
    pub exhausted: bool,
}

impl Watermarks {
    /// The watermarks of the empty set.
    pub const NONE: Watermarks =
        Watermarks { slowest: SlowestWatermark::NoneActive, max_ms: None, exhausted: true };

    /// Returns the watermarks of the union of two sets of partitions.
    pub fn merge(self, other: Watermarks) -> Watermarks {
        Watermarks {
            slowest: self.slowest.min(other.slowest),
            max_ms: self.max_ms.max(other.max_ms),
            exhausted: self.exhausted && other.exhausted,
        }
    }
}

/// A command of worker 0 to all workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Assign a partition to a worker.
    Assign {
        /// The worker that reads it.
        worker: usize,
        /// The partition.
        partition: Discovered,
        /// The progress of the partition in the store, if it has any.
        progress: Option<Box<PartitionProgress>>,
    },
    /// Go on in the file that holds a partition now; end it if there is none.
    Relocate(Moved),
    /// The generation of the job. Told first.
    Generation(u64),
    /// Build the dataflow of an epoch.
    Open(Epoch),
    /// Close these epochs: they take no more events.
    Close(Through),
    /// Write the sets of this epoch anew after the current publication.
    Gather(Epoch),
    /// Do not let watermarks run ahead of a limit.
    Align {
        /// The lowest watermark, in milliseconds.
        slowest_ms: i64,
        /// The limit, in milliseconds.
        limit_ms: i64,
    },
    /// Follow the other workers into this round, of the same publication.
    Advance(Round),
    /// Begin a publication.
    Begin {
        /// Its first round.
        round: Round,
        /// The time of worker 0's clock, in milliseconds.
        clock_ms: i64,
        /// For each worker, the number of its requests that this answers. Worker 0 counts their
        /// partitions as active from now on.
        granted: Vec<u64>,
    },
    /// Note that these epochs are final in the store.
    Finalize(Through),
    /// Stop reading.
    Drain,
    /// End: the job is done.
    End,
    /// End: the job has failed, for this reason.
    Abort(Failure),
}

type Input<D> = InputHandle<u64, CapacityContainerBuilder<Vec<D>>>;

/// A worker's end of the channels between the workers and the leader.
pub struct Channels {
    worker: usize,
    peers: usize,
    reports_in: Input<Report>,
    commands_in: Input<(usize, Command)>,
    reports: Rc<RefCell<Vec<Report>>>,
    commands: Rc<RefCell<VecDeque<Command>>>,
}

impl Channels {
    /// Builds the dataflow of the channels. Every worker must do so.
    pub fn build(worker: &mut Worker) -> Channels {
        let (mut reports_in, mut commands_in) = (Input::new(), Input::new());
        let (reports, commands) = (Rc::default(), Rc::default());
        let (reports_seen, commands_seen): (Rc<RefCell<Vec<_>>>, Rc<RefCell<VecDeque<_>>>) =
            (Rc::clone(&reports), Rc::clone(&commands));
        worker.dataflow_named::<u64, _, _>("control", |scope| {
            let to_first = Exchange::new(|_: &Report| 0);
            reports_in.to_stream(scope).sink(to_first, "Reports", move |(input, _frontier)| {
                input.for_each(|_capability, chunk| reports_seen.borrow_mut().append(chunk));
            });
            let to_each = Exchange::new(|(worker, _): &(usize, Command)| *worker as u64);
            commands_in.to_stream(scope).sink(to_each, "Commands", move |(input, _frontier)| {
                input.for_each(|_capability, chunk| {
                    commands_seen.borrow_mut().extend(chunk.drain(..).map(|(_, command)| command));
                });
            });
        });
        Channels {
            worker: worker.index(),
            peers: worker.peers(),
            reports_in,
            commands_in,
            reports,
            commands,
        }
    }

    /// Sends a report to worker 0.
    pub fn report(&mut self, report: Report) {
        self.reports_in.send(report);
        push(&mut self.reports_in);
    }

    /// Sends commands to every worker, in order. Only worker 0 may call this.
    pub fn command(&mut self, commands: Vec<Command>) {
        assert_eq!(self.worker, 0, "only worker 0 sends commands");
        for command in commands {
            for worker in 0..self.peers {
                self.commands_in.send((worker, command.clone()));
            }
        }
        push(&mut self.commands_in);
    }

    /// The number of workers.
    pub fn workers(&self) -> usize {
        self.peers
    }

    /// Takes the reports that have arrived, on worker 0.
    pub fn reports(&self) -> Vec<Report> {
        self.reports.take()
    }

    /// Takes the next command that has arrived.
    pub fn next_command(&self) -> Option<Command> {
        self.commands.borrow_mut().pop_front()
    }
}

/// Flushes an input: an exchange buffers messages until the time advances.
fn push<D: Clone + 'static>(input: &mut Input<D>) {
    let next = input.time() + 1;
    input.advance_to(next);
}
