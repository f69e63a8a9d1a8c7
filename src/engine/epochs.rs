//! The dataflows of the open epochs on a worker: one each, and the clock that they share.
//!
//! A dataflow takes touches in rounds and yields the rows of every query. When its epoch closes,
//! every worker drops its input; once all have, the frontier of the dataflow becomes empty, which
//! is event time having passed, and timely frees its operators and all their state.

use super::Settings;
use crate::digest::{self, Digest, Digests};
use crate::event::{RequestId, Touch, VideoId};
use crate::query::{KEY_CELLS, Query, Row, Rows, VALUE_CELLS};
use crate::rounds;
use crate::showings::Showings;
use crate::showings::sums::Waiting;
use crate::showings::touches::{Lanes, Pool, Touches};
use crate::stores::RowChange;
use crate::time::Epoch;
use foldhash::fast::RandomState;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use timely::container::{CapacityContainerBuilder, NoopBuilder};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::{Input, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::worker::Worker;

type TouchInput = InputHandle<u64, NoopBuilder<Touches>>;
type ClockInput = InputHandle<u64, CapacityContainerBuilder<Vec<()>>>;

/// The open epochs of a worker.
pub struct Epochs {
    queries: Vec<&'static Query>,
    /// See [`Settings::gather_bytes`].
    gather_bytes: usize,
    /// Those that take touches, rising.
    open: Vec<OpenEpoch>,
    /// Where the last one that was asked for is among them: the next event mostly needs it again.
    last_found: usize,
    /// The probes of epochs whose input is dropped and whose dataflow is not complete.
    closing: Vec<ProbeHandle<u64>>,
    completed: u64,
    live_max: usize,
    /// A dataflow without data, whose frontier is the earliest round that any worker is in.
    clock: (ClockInput, ProbeHandle<u64>),
    rows: Rc<RefCell<ChangedRows>>,
    pool: Pool,
    /// The sums of queries that are to become rows when the publication is over.
    waiting: Waiting,
}

/// An epoch that takes touches.
pub struct OpenEpoch {
    epoch: Epoch,
    input: TouchInput,
    lanes: Lanes,
    probe: ProbeHandle<u64>,
    /// Whether every worker has built the dataflow.
    ready: bool,
}

impl OpenEpoch {
    /// Sends a touch in the current round.
    #[inline]
    pub fn send(&mut self, request: RequestId, video: VideoId, touch: Touch) {
        let round = *self.input.time();
        if let Some(mut full) = self.lanes.push(round, request, video, touch) {
            self.input.send_batch(&mut full);
        }
    }

    /// Sends what is in the lanes.
    fn flush(&mut self) {
        for mut touches in self.lanes.drain() {
            self.input.send_batch(&mut touches);
        }
    }

    fn advance_to(&mut self, round: u64) {
        self.flush();
        self.input.advance_to(round);
    }

    /// Sends the last touches and drops the input.
    fn close(mut self) -> ProbeHandle<u64> {
        self.flush();
        self.probe
    }
}

impl Epochs {
    /// Builds the clock, on every worker.
    pub fn build(worker: &mut Worker, settings: &Settings, round: u64) -> Epochs {
        let probe = ProbeHandle::new();
        let mut clock = worker.dataflow_named::<u64, _, _>("clock", |scope| {
            let (input, stream) = scope.new_input::<Vec<()>>();
            stream.probe_with(&probe);
            input
        });
        clock.advance_to(round);
        Epochs {
            queries: settings.queries.clone(),
            gather_bytes: settings.gather_bytes,
            open: Vec::new(),
            last_found: 0,
            closing: Vec::new(),
            completed: 0,
            live_max: 0,
            clock: (clock, probe),
            rows: Rc::new(RefCell::new(ChangedRows::new(settings))),
            pool: Pool::default(),
            waiting: Waiting::default(),
        }
    }

    /// Builds the dataflow of an epoch. Every worker must do so in the same order.
    pub fn open(&mut self, worker: &mut Worker, epoch: Epoch, round: u64) {
        let mut input = TouchInput::new_with_builder();
        let probe = ProbeHandle::new();
        worker.dataflow_named::<u64, _, _>(&format!("epoch {}", epoch.0), |scope| {
            let touches = input.to_stream(scope);
            let (pool, waiting) = (self.pool.clone(), self.waiting.clone());
            let showings = Showings::arrange(touches, self.gather_bytes, pool, waiting);
            for (query, definition) in self.queries.iter().enumerate() {
                let rows = (definition.build)(&showings);
                collect(rows, query, epoch, Rc::clone(&self.rows), &probe);
            }
        });
        input.advance_to(round);
        let lanes = Lanes::new(worker.peers(), self.pool.clone());
        let position = self.open.partition_point(|open| open.epoch < epoch);
        self.open.insert(position, OpenEpoch { epoch, input, lanes, probe, ready: false });
        self.live_max = self.live_max.max(self.live());
    }

    /// The epoch, if touches can be sent to it: it is open, and on every worker, so that touches do
    /// not pile up before a worker that has not built it.
    #[inline]
    pub fn ready(&mut self, epoch: Epoch) -> Option<&mut OpenEpoch> {
        let position = self.position(epoch)?;
        self.last_found = position;
        let open = &mut self.open[position];
        // A worker that has not built it holds its frontier at 0; afterwards it is in some round.
        open.ready = open.ready || !open.probe.less_than(&1);
        open.ready.then_some(open)
    }

    /// Where an open epoch is among all.
    #[inline]
    fn position(&self, epoch: Epoch) -> Option<usize> {
        match self.open.get(self.last_found) {
            Some(open) if open.epoch == epoch => Some(self.last_found),
            _ => self.open.binary_search_by_key(&epoch, |open| open.epoch).ok(),
        }
    }

    /// Whether an epoch was opened and not closed.
    pub fn is_open(&self, epoch: Epoch) -> bool {
        self.position(epoch).is_some()
    }

    /// Drops the inputs of all epochs up to one.
    pub fn close_through(&mut self, epoch: Epoch) {
        let closed = self.open.partition_point(|open| open.epoch <= epoch);
        let closed = self.open.drain(..closed);
        self.closing.extend(closed.map(OpenEpoch::close));
    }

    /// Enters a round.
    pub fn advance_to(&mut self, round: u64) {
        for open in &mut self.open {
            open.advance_to(round);
        }
        self.clock.0.advance_to(round);
    }

    /// The earliest round that anything may still happen in, on any worker.
    pub fn frontier(&self) -> u64 {
        let open = self.open.iter().map(|open| &open.probe);
        let probes = open.chain(&self.closing).chain([&self.clock.1]);
        let rounds = probes.map(|probe| {
            probe.with_frontier(|frontier| frontier.first().copied().unwrap_or(u64::MAX))
        });
        rounds.min().unwrap_or(u64::MAX)
    }

    /// Forgets epochs whose dataflows are complete.
    pub fn retire(&mut self) {
        let before = self.closing.len();
        self.closing.retain(|probe| !probe.done());
        self.completed += (before - self.closing.len()) as u64;
    }

    /// How many dataflows of epochs were completed.
    pub fn completed(&self) -> u64 {
        self.completed
    }

    /// How many dataflows of epochs live.
    fn live(&self) -> usize {
        self.open.len() + self.closing.len()
    }

    /// The most that ever lived at once.
    pub fn live_max(&self) -> usize {
        self.live_max
    }

    /// How many rows have changed since the replay and were not handed on, those included that
    /// are only sums as yet.
    pub fn rows_waiting(&self) -> usize {
        let changed = self.rows.borrow();
        let live = changed.publications.range(rounds::REPLAY + 1..);
        live.map(|(_, changed)| changed.rows.len()).sum::<usize>() + self.waiting.sums()
    }

    /// The rows that changed in a publication, which must be complete, and by how much they moved
    /// the digests.
    pub fn take_rows(
        &mut self,
        publication: u64,
    ) -> (impl Iterator<Item = RowChange> + use<>, Digests) {
        let changed = self.rows.borrow_mut().publications.remove(&publication).unwrap_or_default();
        let rows = changed.rows.into_iter().map(|((query, epoch, key), latest)| RowChange {
            query,
            row: Row { epoch, key, values: latest.values },
            deleted: !latest.exists(),
        });
        (rows, changed.digests)
    }
}

/// Collects the rows of a query as they change, and lets the probe pass behind them.
fn collect(
    rows: Rows<'_>,
    query: usize,
    epoch: Epoch,
    changed: Rc<RefCell<ChangedRows>>,
    probe: &ProbeHandle<u64>,
) {
    let collected = rows.inner.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(
        Pipeline,
        "Collect",
        move |_, _| {
            move |input, _output| {
                input.for_each(|_capability, chunk| {
                    let changed = &mut *changed.borrow_mut();
                    for (row, round, diff) in chunk.drain(..) {
                        changed.add(query, Row { epoch: epoch.0, ..row }, round, diff);
                    }
                });
            }
        },
    );
    collected.probe_with(probe);
}

/// The query, the epoch and the key of a row.
type RowName = (usize, i64, [u64; KEY_CELLS]);

/// Rows that changed, by publication.
struct ChangedRows {
    publications: BTreeMap<u64, Changed>,
    /// What tells the rows of each query apart in a digest.
    seeds: Vec<u64>,
    /// The query whose rows the store is to have back after the replay.
    restored: Option<usize>,
}

/// Rows that changed in a publication, each as it was last.
#[derive(Default)]
struct Changed {
    rows: HashMap<RowName, Latest, RandomState>,
    digests: Digests,
}

/// The last change of a row.
struct Latest {
    /// The round, doubled, plus one if the row exists after it. Within a round the old row goes
    /// and the new one comes, in any order; so the greatest rank tells how things stand.
    rank: u64,
    values: [u64; VALUE_CELLS],
}

impl Latest {
    fn exists(&self) -> bool {
        self.rank % 2 == 1
    }
}

impl ChangedRows {
    fn new(settings: &Settings) -> ChangedRows {
        ChangedRows {
            publications: BTreeMap::new(),
            seeds: settings.queries.iter().map(|query| digest::seed(query.name)).collect(),
            restored: settings.restored_query,
        }
    }

    fn add(&mut self, query: usize, row: Row, round: u64, diff: isize) {
        assert!(diff.abs() == 1, "a row comes or goes once a round, not {diff} times");
        let publication = rounds::publication(round);
        let changed = self.publications.entry(publication).or_default();
        let digest = changed.digests.entry(Epoch(row.epoch)).or_default();
        let moved = Digest::of(self.seeds[query], &row);
        *digest = if diff > 0 { digest.plus(moved) } else { digest.minus(moved) };
        // The store holds the rows that a replay rebuilds.
        if publication == rounds::REPLAY && self.restored != Some(query) {
            return;
        }
        let rank = 2 * round + u64::from(diff > 0);
        let name = (query, row.epoch, row.key);
        let latest = changed.rows.entry(name).or_insert(Latest { rank, values: row.values });
        if rank > latest.rank {
            *latest = Latest { rank, values: row.values };
        }
    }
}
