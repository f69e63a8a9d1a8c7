//! The control dataflow: reports of all workers to worker 0, and its orders to all of them.
//!
//! Timely demands that dataflows are built in the same order on every worker, and no worker may
//! close an epoch or begin a publication on its own. So worker 0 decides ([`super::coordinator`])
//! and every worker obeys its orders one by one, between two steps of its dataflows. Messages from
//! one worker to another keep their order; the timestamps here only push them along.

use crate::sources::Discovered;
use crate::stores::PartitionProgress;
use crate::time::Epoch;
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
    /// What it computes. All workers must compute the same.
    pub job: String,
    /// The round that it is in.
    pub round: u64,
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
    /// Whether it has obeyed [`Order::Drain`].
    pub drained: bool,
    /// Whether it was asked to stop.
    pub stop: bool,
    /// Why it cannot go on.
    pub failure: Option<String>,
}

/// The watermarks of some partitions, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermarks {
    /// The least of those that may hold an epoch open, neither idle nor exhausted; none if there
    /// are none such. A partition of which nothing is known yet counts as `i64::MIN`.
    pub active_min_ms: Option<i64>,
    /// The largest of all.
    pub max_ms: Option<i64>,
    /// Whether all are exhausted: nothing will ever come.
    pub exhausted: bool,
}

impl Watermarks {
    /// Those of no partitions.
    pub const NONE: Watermarks = Watermarks { active_min_ms: None, max_ms: None, exhausted: true };

    /// Those of two sets of partitions together.
    pub fn and(self, other: Watermarks) -> Watermarks {
        let active = [self.active_min_ms, other.active_min_ms];
        Watermarks {
            active_min_ms: active.into_iter().flatten().min(),
            max_ms: self.max_ms.max(other.max_ms),
            exhausted: self.exhausted && other.exhausted,
        }
    }
}

/// What every worker has to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
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
    /// All epochs up to this one take no more events.
    Close(Epoch),
    /// No partition may run further ahead than the alignment bound of this watermark, in
    /// milliseconds.
    Align(i64),
    /// Others are in this round: follow them.
    Advance(u64),
    /// The store holds all epochs up to this one as final.
    Final(Epoch),
    /// Read no further.
    Drain,
    /// All is done.
    End,
    /// Give up: a worker has failed, for this reason.
    Abort(String),
}

type Input<D> = InputHandle<u64, CapacityContainerBuilder<Vec<D>>>;

/// A worker's access to the control dataflow.
pub struct Control {
    worker: usize,
    peers: usize,
    reports_in: Input<Report>,
    orders_in: Input<(usize, Order)>,
    reports: Rc<RefCell<Vec<Report>>>,
    orders: Rc<RefCell<VecDeque<Order>>>,
}

impl Control {
    /// Builds the control dataflow, on every worker.
    pub fn build(worker: &mut Worker) -> Control {
        let (mut reports_in, mut orders_in) = (Input::new(), Input::new());
        let (reports, orders) = (Rc::default(), Rc::default());
        let (reports_seen, orders_seen): (Rc<RefCell<Vec<_>>>, Rc<RefCell<VecDeque<_>>>) =
            (Rc::clone(&reports), Rc::clone(&orders));
        worker.dataflow_named::<u64, _, _>("control", |scope| {
            let to_first = Exchange::new(|_: &Report| 0);
            reports_in.to_stream(scope).sink(to_first, "Reports", move |(input, _frontier)| {
                input.for_each(|_capability, chunk| reports_seen.borrow_mut().append(chunk));
            });
            let to_each = Exchange::new(|(worker, _): &(usize, Order)| *worker as u64);
            orders_in.to_stream(scope).sink(to_each, "Orders", move |(input, _frontier)| {
                input.for_each(|_capability, chunk| {
                    orders_seen.borrow_mut().extend(chunk.drain(..).map(|(_, order)| order));
                });
            });
        });
        Control {
            worker: worker.index(),
            peers: worker.peers(),
            reports_in,
            orders_in,
            reports,
            orders,
        }
    }

    /// Sends a report to worker 0.
    pub fn report(&mut self, report: Report) {
        self.reports_in.send(report);
        push(&mut self.reports_in);
    }

    /// Sends orders to every worker, in this order. Only worker 0 may.
    pub fn order(&mut self, orders: Vec<Order>) {
        assert_eq!(self.worker, 0, "only worker 0 gives orders");
        for order in orders {
            for worker in 0..self.peers {
                self.orders_in.send((worker, order.clone()));
            }
        }
        push(&mut self.orders_in);
    }

    /// The reports that have arrived, on worker 0.
    pub fn reports(&self) -> Vec<Report> {
        self.reports.take()
    }

    /// The next order that has arrived.
    pub fn next_order(&self) -> Option<Order> {
        self.orders.borrow_mut().pop_front()
    }
}

/// Sends what an input holds: an exchange keeps messages until the time advances.
fn push<D: Clone + 'static>(input: &mut Input<D>) {
    let next = input.time() + 1;
    input.advance_to(next);
}
