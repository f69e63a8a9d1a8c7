//! The table dataflow: it brings the rows and the positions of all workers together, publication
//! by publication, where the store is.
//!
//! Its timestamps are publications. A worker hands a publication on when everything in its rounds
//! is complete everywhere, so what worker 0 has received of a complete publication is all that
//! changed in it: rows, ledger and positions that belong together.

use crate::ledger::Ledger;
use crate::sources::PartitionName;
use crate::stores::{PartitionProgress, Publication, RowChange};
use crate::time::Epoch;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::probe::Probe;
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::worker::Worker;

/// How far a worker got, as of a publication.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerProgress {
    /// Which worker.
    pub worker: usize,
    /// Its partitions that moved.
    pub partitions: Vec<PartitionProgress>,
    /// What became of the events that it read.
    pub ledger: Ledger,
    /// All epochs up to this one are complete on this worker.
    pub done_through: Option<Epoch>,
}

type Input<D> = InputHandle<u64, CapacityContainerBuilder<Vec<D>>>;

/// A worker's access to the table dataflow.
pub struct Table {
    rows_in: Input<RowChange>,
    progress_in: Input<WorkerProgress>,
    probe: ProbeHandle<u64>,
    received: Rc<RefCell<BTreeMap<u64, Received>>>,
    /// The progress of every partition, and how far each worker is done, on worker 0.
    partitions: BTreeMap<PartitionName, PartitionProgress>,
    done_through: Vec<Option<Epoch>>,
}

#[derive(Default)]
struct Received {
    rows: Vec<RowChange>,
    progress: Vec<WorkerProgress>,
}

impl Table {
    /// Builds the table dataflow, on every worker, before the given publication.
    pub fn build(worker: &mut Worker, publication: u64) -> Table {
        let (mut rows_in, mut progress_in) = (Input::new(), Input::new());
        let probe = ProbeHandle::new();
        let received: Rc<RefCell<BTreeMap<u64, Received>>> = Rc::default();
        let gathered = Rc::clone(&received);
        worker.dataflow_named::<u64, _, _>("table", |scope| {
            let rows = rows_in.to_stream(scope);
            let progress = progress_in.to_stream(scope);
            let gathered = rows.binary::<_, CapacityContainerBuilder<Vec<()>>, _, _, _, _>(
                progress,
                Exchange::new(|_: &RowChange| 0),
                Exchange::new(|_: &WorkerProgress| 0),
                "Gather",
                move |_, _| {
                    move |rows, progress, _output| {
                        let gathered = &mut *gathered.borrow_mut();
                        rows.for_each(|capability, chunk| {
                            let Some(publication) = capability.least() else { return };
                            gathered.entry(*publication).or_default().rows.append(chunk);
                        });
                        progress.for_each(|capability, chunk| {
                            let Some(publication) = capability.least() else { return };
                            gathered.entry(*publication).or_default().progress.append(chunk);
                        });
                    }
                },
            );
            gathered.probe_with(&probe);
        });
        rows_in.advance_to(publication);
        progress_in.advance_to(publication);
        let done_through = vec![None; worker.peers()];
        Table { rows_in, progress_in, probe, received, partitions: BTreeMap::new(), done_through }
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.done_through.len()
    }

    /// The publication that is to be handed on next.
    pub fn publication(&self) -> u64 {
        *self.rows_in.time()
    }

    /// Hands a worker's part of the publication on.
    pub fn hand_on(&mut self, rows: impl Iterator<Item = RowChange>, progress: WorkerProgress) {
        let next = self.publication() + 1;
        for row in rows {
            self.rows_in.send(row);
        }
        self.progress_in.send(progress);
        self.rows_in.advance_to(next);
        self.progress_in.advance_to(next);
    }

    /// The earliest publication that is complete and was not received yet, on worker 0.
    pub fn receive(&mut self) -> Option<(u64, Publication)> {
        let mut received = self.received.borrow_mut();
        let (publication, _) = received.first_key_value()?;
        if self.probe.less_than(&(publication + 1)) {
            return None;
        }
        let (publication, parts) = received.pop_first()?;
        drop(received);
        Some((publication, self.assemble(parts)))
    }

    fn assemble(&mut self, parts: Received) -> Publication {
        let mut ledger = Ledger::default();
        let mut moved = Vec::new();
        for progress in parts.progress {
            self.done_through[progress.worker] =
                self.done_through[progress.worker].max(progress.done_through);
            ledger.merge(progress.ledger);
            for partition in progress.partitions {
                self.partitions.insert(partition.partition.clone(), partition.clone());
                moved.push(partition);
            }
        }
        let final_through = self.done_through.iter().min().copied().flatten();
        if final_through == Some(Epoch(i64::MAX)) {
            moved = self.settled(moved);
        }
        moved.sort_by(|one, other| one.partition.cmp(&other.partition));
        Publication {
            rows: parts.rows,
            ledger,
            partitions: moved,
            final_through,
            ..Publication::default()
        }
    }

    /// All partitions, with nothing to replay: every epoch is final.
    fn settled(&self, moved: Vec<PartitionProgress>) -> Vec<PartitionProgress> {
        let malformed: BTreeMap<_, _> =
            moved.into_iter().map(|progress| (progress.partition, progress.malformed)).collect();
        let settled = self.partitions.values().map(|progress| PartitionProgress {
            replay_offset: progress.next_offset,
            replay_watermark_ms: progress.watermark_ms,
            malformed: malformed.get(&progress.partition).copied().unwrap_or(0),
            ..progress.clone()
        });
        settled.collect()
    }
}
