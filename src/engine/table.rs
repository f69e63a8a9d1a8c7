//! The table dataflow: it brings the rows and the positions of all workers together, publication
//! by publication, where the store is; and it carries the queries across epochs.
//!
//! Its timestamps are publications. A worker forwards a publication when everything in its rounds
//! is complete everywhere, so what worker 0 has received of a complete publication is all that
//! changed in it: rows, ledger and positions that belong together.
//!
//! ```text
//! rows of a worker ─┬──────────────────────────────────────────────────┬─► gathered on worker 0
//!                   └─► held rows ─► queries across epochs ─► changes ─┤
//! history ──────────────┘                                              │
//! progress of a worker ────────────────────────────────────────────────┘
//! ```

use super::Settings;
use super::across::AcrossEpochs;
use crate::acceptance::Ledger;
use crate::log::PartitionProgress;
use crate::query::{Digest, Digests, digest};
use crate::stores::RowChange;
use crate::time::{Epoch, Publication, Through};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
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

/// How far a worker got, as of a publication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerProgress {
    /// Its partitions that moved.
    pub partitions: Vec<PartitionProgress>,
    /// What became of the events that it read.
    pub ledger: Ledger,
    /// How far epochs were closed. As every worker closed them in this publication or before, and
    /// the publication is complete, they are final.
    pub closed_through: Through,
    /// By how much its rows moved the digests.
    pub digests: Digests,
}

/// What worker 0 gathers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Part {
    /// A row of a query across epochs that changed.
    Row(RowChange),
    /// By how much the rows of queries across epochs moved a digest.
    Digest(Epoch, Digest),
    /// The progress of a worker.
    Progress(Box<WorkerProgress>),
}

/// All parts of a publication.
#[derive(Debug, Default)]
pub struct Parts {
    /// The changed rows.
    pub rows: Vec<RowChange>,
    /// By how much they moved the digests.
    pub digests: Digests,
    /// The progress of every worker.
    pub progress: Vec<WorkerProgress>,
}

pub(super) type Input<D> = InputHandle<Publication, CapacityContainerBuilder<Vec<D>>>;

/// A worker's access to the table dataflow.
pub struct Table {
    rows_in: Input<RowChange>,
    progress_in: Input<WorkerProgress>,
    across: Option<AcrossEpochs>,
    probe: ProbeHandle<Publication>,
    received: Rc<RefCell<BTreeMap<Publication, Parts>>>,
}

impl Table {
    /// Builds the table dataflow, on every worker.
    pub fn build(worker: &mut Worker, settings: &Settings) -> Table {
        let (mut rows_in, mut progress_in) = (Input::new(), Input::new());
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
            gather(rows, parts, Rc::clone(&received), &probe);
            across
        });
        Table { rows_in, progress_in, across, probe, received }
    }

    /// The publication that is to be forwarded next.
    pub fn publication(&self) -> Publication {
        *self.rows_in.time()
    }

    /// What only a job with queries across epochs has.
    pub fn across(&mut self) -> Option<&mut AcrossEpochs> {
        self.across.as_mut()
    }

    /// Forwards a worker's part of the publication, after which it is in the next one.
    pub fn forward(
        &mut self,
        rows: impl Iterator<Item = RowChange>,
        progress: WorkerProgress,
        next: Publication,
    ) {
        for row in rows {
            self.rows_in.send(row);
        }
        self.progress_in.send(progress);
        self.rows_in.advance_to(next);
        self.progress_in.advance_to(next);
        if let Some(across) = &mut self.across {
            across.advance_to(next);
        }
    }

    /// The earliest publication that is complete and was not received yet, on worker 0.
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
    fn add(&mut self, part: Part) {
        match part {
            Part::Row(change) => self.rows.push(change),
            Part::Digest(epoch, moved) => {
                digest::merge(&mut self.digests, &Digests::from([(epoch, moved)]));
            }
            Part::Progress(progress) => {
                digest::merge(&mut self.digests, &progress.digests);
                self.progress.push(*progress);
            }
        }
    }
}
