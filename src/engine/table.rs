//! The table dataflow: it brings the rows and the positions of all workers together, publication
//! by publication, where the store is.
//!
//! Its timestamps are publications. A worker hands a publication on when everything in its rounds
//! is complete everywhere, so what worker 0 has received of a complete publication is all that
//! changed in it: rows, ledger and positions that belong together.

use crate::digest::{self, Digests};
use crate::ledger::Ledger;
use crate::sources::PartitionName;
use crate::stores::{PartitionProgress, Publication, RowChange, watermark_ms};
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerProgress {
    /// Its partitions that moved.
    pub partitions: Vec<PartitionProgress>,
    /// What became of the events that it read.
    pub ledger: Ledger,
    /// All epochs up to this one were closed. As every worker closed them in this publication or
    /// before, and the publication is complete, they are final.
    pub closed_through: Epoch,
    /// By how much its rows moved the digests.
    pub digests: Digests,
}

type Input<D> = InputHandle<u64, CapacityContainerBuilder<Vec<D>>>;

/// A worker's access to the table dataflow.
pub struct Table {
    rows_in: Input<RowChange>,
    progress_in: Input<WorkerProgress>,
    probe: ProbeHandle<u64>,
    received: Rc<RefCell<BTreeMap<u64, Received>>>,
    /// The progress of every partition, on worker 0.
    partitions: BTreeMap<PartitionName, PartitionProgress>,
    workers: usize,
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
                "GatherParts",
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
        let (partitions, workers) = (BTreeMap::new(), worker.peers());
        Table { rows_in, progress_in, probe, received, partitions, workers }
    }

    /// Learns how far the store says that partitions were read.
    pub fn resume(&mut self, partitions: &[PartitionProgress]) {
        let named = partitions.iter().map(|at| (at.partition.clone(), at.clone()));
        self.partitions.extend(named);
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.workers
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
        let mut publication = Publication { rows: parts.rows, ..Publication::default() };
        let mut closed_through = Epoch(i64::MAX);
        for progress in parts.progress {
            closed_through = closed_through.min(progress.closed_through);
            publication.ledger.merge(progress.ledger);
            digest::add(&mut publication.digests, &progress.digests);
            for partition in progress.partitions {
                self.partitions.insert(partition.partition.clone(), partition.clone());
                publication.partitions.push(partition);
            }
        }
        if closed_through == Epoch(i64::MAX) {
            publication.partitions = self.settled(publication.partitions);
        }
        publication.partitions.sort_by(|one, other| one.partition.cmp(&other.partition));
        publication.final_through = (closed_through > Epoch(i64::MIN)).then_some(closed_through);
        publication.watermark_ms = watermark_ms(self.partitions.values());
        publication
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
