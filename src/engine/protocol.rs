//! How workers and the leader talk: reports of all workers to worker 0, and its commands to all of
//! them, over a dataflow of their own.
//!
//! Timely demands that dataflows are built in the same order on every worker, and no worker may
//! close an epoch or begin a publication on its own. So worker 0 decides ([`super::coordinator`])
//! and every worker executes its commands one by one, between two steps of its dataflows. Messages
//! from one worker to another keep their order; the timestamps here only push them along.

use crate::log::PartitionProgress;
use crate::sources::Discovered;
use crate::time::{Epoch, Round, Through};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandle;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;
use timely::worker::Worker;

/// What worker 0 knows of a worker: always its whole state, so that only the last report counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Who reports.
    pub worker: usize,
    /// What it computes, in words. All workers must compute the same.
    pub job: String,
    /// The round that it is in.
    pub round: Round,
    /// How many partitions it has seen assigned, to any worker.
    pub assigned: u64,
    /// Whether all its partitions have been replayed.
    pub replayed: bool,
    /// The watermarks of its partitions.
    pub watermarks: Watermarks,
    /// Epochs that its events need and that are not open.
    pub wanted: Vec<Epoch>,
    /// How many epoch dataflows it has completed.
    pub completed: u64,
    /// Whether it has dealt with all that is there, and for a moment nothing new has come.
    pub quiet: bool,
    /// Whether its rows fill half of their bound.
    pub pressed: bool,
    /// Whether it has executed [`Command::Drain`].
    pub drained: bool,
    /// Whether it was asked to stop.
    pub stop: bool,
    /// Why it cannot go on.
    pub failure: Option<String>,
}

/// The watermark of the slowest of some partitions that may hold an epoch open, which are those
/// that are neither idle nor exhausted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SlowestWatermark {
    /// Nothing is known yet of one of them, so that it holds every epoch open.
    Unknown,
    /// The least of their watermarks, in milliseconds.
    At(i64),
    /// There is none of them.
    NoneActive,
}

/// The watermarks of some partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermarks {
    /// The least of those that may hold an epoch open.
    pub slowest: SlowestWatermark,
    /// The largest of all, in milliseconds; none if nothing is known of any.
    pub max_ms: Option<i64>,
    /// Whether all are exhausted: nothing will ever come.
    pub exhausted: bool,
}

impl Watermarks {
    /// Those of no partitions.
    pub const NONE: Watermarks =
        Watermarks { slowest: SlowestWatermark::NoneActive, max_ms: None, exhausted: true };

    /// Those of two sets of partitions together.
    pub fn merge(self, other: Watermarks) -> Watermarks {
        Watermarks {
            slowest: self.slowest.min(other.slowest),
            max_ms: self.max_ms.max(other.max_ms),
            exhausted: self.exhausted && other.exhausted,
        }
    }
}

/// What every worker has to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A partition is read by this worker from now on.
    Assign {
        /// The worker that reads it.
        worker: usize,
        /// Which partition.
        partition: Discovered,
        /// How far the store says that it was read.
        progress: Option<PartitionProgress>,
    },
    /// Build the dataflow of an epoch.
    Open(Epoch),
    /// All these epochs take no more events.
    Close(Through),
    /// No partition may run further ahead than the alignment bound of this watermark, in
    /// milliseconds.
    Align(i64),
    /// Others are in this round: follow them.
    Advance(Round),
    /// The store holds all these epochs as final.
    Finalize(Through),
    /// Read no further.
    Drain,
    /// All is done.
    End,
    /// Give up: a worker has failed, for this reason.
    Abort(String),
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
    /// Builds the dataflow of the channels, on every worker.
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

    /// Sends commands to every worker, in this order. Only worker 0 may.
    pub fn command(&mut self, commands: Vec<Command>) {
        assert_eq!(self.worker, 0, "only worker 0 gives commands");
        for command in commands {
            for worker in 0..self.peers {
                self.commands_in.send((worker, command.clone()));
            }
        }
        push(&mut self.commands_in);
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.peers
    }

    /// The reports that have arrived, on worker 0.
    pub fn reports(&self) -> Vec<Report> {
        self.reports.take()
    }

    /// The next order that has arrived.
    pub fn next_command(&self) -> Option<Command> {
        self.commands.borrow_mut().pop_front()
    }
}

/// Sends what an input holds: an exchange keeps messages until the time advances.
fn push<D: Clone + 'static>(input: &mut Input<D>) {
    let next = input.time() + 1;
    input.advance_to(next);
}
