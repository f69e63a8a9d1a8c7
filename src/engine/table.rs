//! The table dataflow: it gathers the rows and positions of all workers on worker 0, by
//! publication, and contains the queries across epochs.
//!
//! Its timestamps are publications. A worker forwards a publication when all of its rounds are
//! complete on all workers. So once a publication is complete in the table dataflow, worker 0 has
//! all of its changes: a consistent set of rows, ledger and positions.
//!
//! ```text
//! rows of a worker ─┬──────────────────────────────────────────────────┬─► gathered on worker 0
//!                   └─► held rows ─► queries across epochs ─► changes ─┤
//! history ──────────────┘                                              │
//! members of the sets ─► files, listed ─────────────────────────────────┤
//! progress of a worker ────────────────────────────────────────────────┘
//! ```

use super::Settings;
use super::across::AcrossEpochs;
use super::completing::Reached;
use super::meter::Recorded;
use super::sets::{Routed, SetsFailure, route, write_sets};
use crate::acceptance::Ledger;
use crate::completeness::Arrivals;
use crate::event::Kind;
use crate::log::PartitionProgress;
use crate::query::{Digest, Digests, digest};
use crate::sets::{SetsError, Written};
use crate::showings::members::EpochMembers;
use crate::stores::RowChange;
use crate::time::{Epoch, Publication, Through};
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::probe::Probe;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::{InputHandle, ProbeHandle, Stream};
use timely::worker::Worker;

/// The progress of a worker as of a publication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerProgress {
    /// The positions of its partitions that moved.
    pub partitions: Vec<PartitionProgress>,
    /// The ledger of the events that it read.
    pub ledger: Ledger,
    /// The epochs that were closed. They are final, as every worker closed them in this publication
    /// or earlier, and the publication is complete.
    pub closed_through: Through,
    /// The changes of the digests by its rows.
    pub digests: Digests,
    /// When the events arrived that it read.
    pub arrivals: Arrivals,
    /// How far the records of each kind are read.
    pub reached: [Reached; Kind::COUNT],
    /// When its events were recorded.
    pub recorded: Recorded,
}

/// A part of a publication, gathered on worker 0.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Part {
    /// A changed row of a query across epochs.
    Row(RowChange),
    /// The change of an epoch's digest by rows of queries across epochs.
    Digest(Epoch, Digest),
    /// A file of the sets.
    Set(Written),
    /// The progress of a worker.
    Progress(Box<WorkerProgress>),
}

/// All parts of a publication.
#[derive(Debug, Default)]
pub struct Parts {
    /// The changed rows.
    pub rows: Vec<RowChange>,
    /// The changes of the digests.
    pub digests: Digests,
    /// The files of the sets.
    pub files: Vec<Written>,
    /// The progress of every worker.
    pub progress: Vec<WorkerProgress>,
}

pub(super) type Input<D> = InputHandle<Publication, CapacityContainerBuilder<Vec<D>>>;

/// A worker's access to the table dataflow.
pub struct Table {
    rows_in: Input<RowChange>,
    progress_in: Input<WorkerProgress>,
    /// The members of the sets, if they are written to files.
    members_in: Option<Input<Routed>>,
    sets_failure: SetsFailure,
    /// The generation of the job.
    generation: Rc<Cell<u64>>,
    /// This worker, and the number of all.
    worker: (usize, usize),
    across: Option<AcrossEpochs>,
    probe: ProbeHandle<Publication>,
    received: Rc<RefCell<BTreeMap<Publication, Parts>>>,
}

impl Table {
    /// Builds the table dataflow. Every worker must do so.
    pub fn build(worker: &mut Worker, settings: &Settings) -> Table {
        let (mut rows_in, mut progress_in) = (Input::new(), Input::new());
        let mut members_in = settings.sets.as_ref().map(|_| Input::new());
        let (sets_failure, generation) = (SetsFailure::default(), Rc::<Cell<u64>>::default());
        let (index, peers) = (worker.index(), worker.peers());
        let probe = ProbeHandle::new();
        let received = Rc::default();
        let across = worker.dataflow_named::<Publication, _, _>("table", |scope| {
            let rows = rows_in.to_stream(scope);
            let progress = progress_in.to_stream(scope);
            let progress = progress.map(|progress| Part::Progress(Box::new(progress)));
            let (across, parts) = match AcrossEpochs::build(settings, scope, rows.clone()) {
                Some((across, parts)) => (Some(across), parts.concat(progress)),
                None => (None, progress),
            };
            let parts = match (&settings.sets, &mut members_in) {
                (Some(sets), Some(members)) => {
                    let members = members.to_stream(scope);
                    let (definition, failure) = (settings.definition, Rc::clone(&sets_failure));
                    let generation = Rc::clone(&generation);
                    parts.concat(write_sets(members, sets, definition, generation, failure))
                }
                _ => parts,
            };
            gather(rows, parts, Rc::clone(&received), &probe);
            across
        });
        let worker = (index, peers);
        Table {
            rows_in,
            progress_in,
            members_in,
            sets_failure,
            generation,
            worker,
            across,
            probe,
            received,
        }
    }

    /// Returns the next publication to be forwarded.
    pub fn publication(&self) -> Publication {
        *self.rows_in.time()
    }

    /// The queries across epochs, if the job has any.
    pub fn across(&mut self) -> Option<&mut AcrossEpochs> {
        self.across.as_mut()
    }

    /// Notes the generation of the job, before any publication.
    pub fn set_generation(&self, generation: u64) {
        self.generation.set(generation);
    }

    /// Sends members of the sets of the current publication, which goes on.
    pub fn send_members(&mut self, members: Vec<EpochMembers>) {
        let (worker, peers) = self.worker;
        if let Some(members_in) = &mut self.members_in {
            for routed in route(worker, peers, members) {
                members_in.send(routed);
                // One is a message.
                members_in.flush();
            }
        }
    }

    /// Forwards this worker's part of the current publication, and advances to the next.
    pub fn forward(
        &mut self,
        rows: impl Iterator<Item = RowChange>,
        members: Vec<EpochMembers>,
        progress: WorkerProgress,
        next: Publication,
    ) {
        for row in rows {
            self.rows_in.send(row);
        }
        self.send_members(members);
        if let Some(members_in) = &mut self.members_in {
            members_in.advance_to(next);
        }
        self.progress_in.send(progress);
        self.rows_in.advance_to(next);
        self.progress_in.advance_to(next);
        if let Some(across) = &mut self.across {
            across.advance_to(next);
        }
    }

    /// Takes the error of a file of the sets, after which no publication is complete.
    pub fn take_failure(&self) -> Option<SetsError> {
        self.sets_failure.take()
    }

    /// Takes the earliest complete publication that was not yet taken, on worker 0.
    pub fn receive(&mut self) -> Option<(Publication, Parts)> {
        let mut received = self.received.borrow_mut();
        let (publication, _) = received.first_key_value()?;
        if self.probe.less_than(&publication.next()) {
            return None;
        }
        received.pop_first()
    }
}

/// Gathers rows and other parts on worker 0, by publication.
fn gather<'scope>(
    rows: Stream<'scope, Publication, Vec<RowChange>>,
    parts: Stream<'scope, Publication, Vec<Part>>,
    received: Rc<RefCell<BTreeMap<Publication, Parts>>>,
    probe: &ProbeHandle<Publication>,
) {
    let gathered = rows.binary::<_, CapacityContainerBuilder<Vec<()>>, _, _, _, _>(
        parts,
        Exchange::new(|_: &RowChange| 0),
        Exchange::new(|_: &Part| 0),
        "GatherParts",
        move |_, _| {
            move |rows, parts, _output| {
                let received = &mut *received.borrow_mut();
                rows.for_each(|capability, chunk| {
                    let Some(publication) = capability.least() else { return };
                    received.entry(*publication).or_default().rows.append(chunk);
                });
                parts.for_each(|capability, chunk| {
                    let Some(publication) = capability.least() else { return };
                    let gathered = received.entry(*publication).or_default();
                    chunk.drain(..).for_each(|part| gathered.add(part));
                });
            }
        },
    );
    gathered.probe_with(probe);
}

impl Parts {
    /// How far the records of each kind are read, by all workers.
    pub fn reached(&self) -> [Reached; Kind::COUNT] {
        Kind::ALL.map(|kind| {
            let of_workers = self.progress.iter().map(|worker| worker.reached[kind as usize]);
            of_workers.fold(Reached::NOTHING, Reached::merge)
        })
    }

    fn add(&mut self, part: Part) {
        match part {
            Part::Row(change) => self.rows.push(change),
            Part::Digest(epoch, moved) => {
                digest::merge(&mut self.digests, &Digests::from([(epoch, moved)]));
            }
            Part::Set(written) => self.files.push(written),
            Part::Progress(progress) => {
                digest::merge(&mut self.digests, &progress.digests);
                self.progress.push(*progress);
            }
        }
    }
}
