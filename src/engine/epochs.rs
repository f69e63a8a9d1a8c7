//! The dataflows of the open epochs on a worker, one for each epoch, and a shared clock.
//!
//! An epoch dataflow takes touches in rounds and outputs the rows of every query. When its epoch
//! closes, every worker drops its input. Once all have, the frontier of the dataflow becomes empty:
//! event time has passed, and timely frees the operators and all their state.

use super::Settings;
use super::rows::ChangedRows;
use crate::event::{RequestId, Touch, VideoId};
use crate::query::{Build, Digests, QueryInstance};
use crate::showings::members::{EpochMembers, MembersOfEpoch, MembersQueue};
use crate::showings::sums::PendingSums;
use crate::showings::touches::{Lanes, Touches};
use crate::showings::{Layout, Memory, Showings, StateSize};
use crate::stores::RowChange;
use crate::time::{Epoch, Publication, Round, Through};
use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;
use timely::container::{CapacityContainerBuilder, NoopBuilder};
use timely::dataflow::operators::{Input, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::worker::Worker;

type TouchInput = InputHandle<Round, NoopBuilder<Touches>>;
type ClockInput = InputHandle<Round, CapacityContainerBuilder<Vec<()>>>;

/// The open epochs of a worker.
pub struct Epochs {
    queries: Vec<QueryInstance>,
    /// See [`Settings::layout`].
    layout: Layout,
    /// The epochs that take touches, in rising order.
    open: Vec<OpenEpoch>,
    /// The index in `open` of the last lookup: the next event mostly needs the same epoch.
    last_found: usize,
    /// The probes of epochs whose input is dropped but whose dataflow is not complete.
    closing: Vec<ProbeHandle<Round>>,
    completed: u64,
    live_max: usize,
    /// A dataflow without data; its frontier is the earliest round that any worker is in.
    clock: (ClockInput, ProbeHandle<Round>),
    rows: ChangedRows,
    memory: Memory,
    /// The number of sums that become rows at the end of their publication.
    waiting: PendingSums,
    /// The members of the sets, if they are written to files.
    members: Option<MembersQueue>,
}

/// An open epoch, which takes touches.
pub struct OpenEpoch {
    epoch: Epoch,
    input: TouchInput,
    lanes: Lanes,
    probe: ProbeHandle<Round>,
    /// Whether every worker has built the dataflow.
    ready: bool,
    /// Its state on this worker.
    size: Rc<Cell<StateSize>>,
    members: Option<MembersOfEpoch>,
}

impl OpenEpoch {
    /// The epoch.
    #[inline]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Sends a touch in the current round.
    #[inline]
    pub fn send(&mut self, request: RequestId, video: VideoId, touch: Touch) {
        let round = *self.input.time();
        if let Some(mut full) = self.lanes.push(round, request, video, touch) {
            self.input.send_batch(&mut full);
        }
    }

    /// Sends a denial in the current round.
    pub fn deny(&mut self, request: RequestId, touch: Touch) {
        let round = *self.input.time();
        if let Some(mut full) = self.lanes.deny(round, request, touch) {
            self.input.send_batch(&mut full);
        }
    }

    /// Sends the touches buffered in the lanes.
    fn flush(&mut self) {
        for mut touches in self.lanes.drain() {
            self.input.send_batch(&mut touches);
        }
    }

    fn advance_to(&mut self, round: Round) {
        self.flush();
        self.input.advance_to(round);
    }

    /// Sends the last touches and drops the input.
    fn close(mut self) -> ProbeHandle<Round> {
        self.flush();
        if let Some(members) = &self.members {
            members.close(self.input.time().publication());
        }
        self.probe
    }
}

impl Epochs {
    /// Builds the clock. Every worker must do so.
    pub fn build(worker: &mut Worker, settings: &Settings, round: Round) -> Epochs {
        let probe = ProbeHandle::new();
        let mut clock = worker.dataflow_named::<Round, _, _>("clock", |scope| {
            let (input, stream) = scope.new_input::<Vec<()>>();
            stream.probe_with(&probe);
            input
        });
        clock.advance_to(round);
        Epochs {
            queries: settings.queries.clone(),
            layout: settings.layout,
            open: Vec::new(),
            last_found: 0,
            closing: Vec::new(),
            completed: 0,
            live_max: 0,
            clock: (clock, probe),
            rows: ChangedRows::new(settings),
            memory: Memory::default(),
            waiting: PendingSums::default(),
            members: settings.sets.is_some().then(MembersQueue::default),
        }
    }

    /// Builds the dataflow of an epoch. Every worker must do so in the same order.
    pub fn open(&mut self, worker: &mut Worker, epoch: Epoch, round: Round) {
        let mut input = TouchInput::new_with_builder();
        let probe = ProbeHandle::new();
        let name = format!("epoch {}", epoch.0);
        let members = self.members.clone().map(|queue| MembersOfEpoch::new(epoch, queue));
        let size = worker.dataflow_named::<Round, _, _>(&name, |scope| {
            let touches = input.to_stream(scope);
            let waiting = self.waiting.clone();
            let (layout, memory) = (self.layout, &self.memory);
            let showings = Showings::keep(epoch, touches, layout, memory, waiting, members.clone());
            self.rows.digest(&showings, &probe);
            for (number, QueryInstance { query, parameters }) in self.queries.iter().enumerate() {
                if let Build::Epoch(build) = query.build {
                    self.rows.collect(build(&showings, parameters), number, epoch, &probe);
                }
            }
            showings.size()
        });
        input.advance_to(round);
        let lanes = Lanes::new(worker.peers(), self.memory.buffers.clone());
        let position = self.open.partition_point(|open| open.epoch < epoch);
        let ready = false;
        let opened = OpenEpoch { epoch, input, lanes, probe, ready, size, members };
        self.open.insert(position, opened);
        self.live_max = self.live_max.max(self.live());
    }

    /// Returns the epoch if touches can be sent to it: it must be open on every worker, so that
    /// touches do not pile up at a worker that has not built its dataflow.
    #[inline]
    pub fn ready(&mut self, epoch: Epoch) -> Option<&mut OpenEpoch> {
        let position = self.position(epoch)?;
        self.last_found = position;
        let open = &mut self.open[position];
        // The frontier is 0 until every worker has built the dataflow; afterwards it is a round.
        open.ready = open.ready || !open.probe.less_than(&Round::first(Publication::REPLAY));
        open.ready.then_some(open)
    }

    /// Returns open epochs by index. An index is valid until an epoch opens or closes.
    #[inline]
    pub fn at(&mut self, open: Range<usize>) -> &mut [OpenEpoch] {
        &mut self.open[open]
    }

    /// Returns the index of an open epoch.
    #[inline]
    pub fn position(&self, epoch: Epoch) -> Option<usize> {
        match self.open.get(self.last_found) {
            Some(open) if open.epoch == epoch => Some(self.last_found),
            _ => self.open.binary_search_by_key(&epoch, |open| open.epoch).ok(),
        }
    }

    /// Whether an epoch is open.
    pub fn is_open(&self, epoch: Epoch) -> bool {
        self.position(epoch).is_some()
    }

    /// Drops the inputs of these epochs.
    pub fn close(&mut self, through: Through) {
        let closed = self.open.partition_point(|open| through.contains(open.epoch));
        let closed = self.open.drain(..closed);
        self.closing.extend(closed.map(OpenEpoch::close));
    }

    /// Asks for all members of an epoch after the current publication, if it is open.
    pub fn gather_members(&mut self, epoch: Epoch) {
        let found = self.position(epoch).map(|position| &self.open[position]);
        if let Some(OpenEpoch { input, members: Some(members), .. }) = found {
            members.gather(input.time().publication());
        }
    }

    /// Advances all inputs to a round.
    pub fn advance_to(&mut self, round: Round) {
        for open in &mut self.open {
            open.advance_to(round);
        }
        self.clock.0.advance_to(round);
    }

    /// Returns the earliest round that is not complete on all workers.
    pub fn frontier(&self) -> Round {
        let open = self.open.iter().map(|open| &open.probe);
        let probes = open.chain(&self.closing).chain([&self.clock.1]);
        let first = |probe: &ProbeHandle<Round>| probe.with_frontier(|at| at.first().copied());
        let rounds = probes.filter_map(first);
        rounds.min().expect("the clock runs as long as the job")
    }

    /// Drops and counts epochs whose dataflows are complete.
    pub fn retire(&mut self) {
        let before = self.closing.len();
        self.closing.retain(|probe| !probe.done());
        self.completed += (before - self.closing.len()) as u64;
    }

    /// Returns the open epoch with the most showings on this worker, and their number.
    pub fn largest(&self) -> Option<(Epoch, u64)> {
        let sizes = self.open.iter().map(|open| (open.epoch, open.size.get().showings));
        sizes.max_by_key(|(_, showings)| *showings)
    }

    /// Returns the size of the state of all open epochs on this worker.
    pub fn size(&self) -> StateSize {
        self.open.iter().map(|open| open.size.get()).fold(StateSize::default(), StateSize::plus)
    }

    /// Returns the size of the state of each open epoch on this worker.
    pub fn sizes(&self) -> Vec<(Epoch, StateSize)> {
        self.open.iter().map(|open| (open.epoch, open.size.get())).collect()
    }

    /// The number of completed epoch dataflows.
    pub fn completed(&self) -> u64 {
        self.completed
    }

    /// The number of live epoch dataflows.
    pub fn live(&self) -> usize {
        self.open.len() + self.closing.len()
    }

    /// The maximum number of epoch dataflows alive at once.
    pub fn live_max(&self) -> usize {
        self.live_max
    }

    /// The number of rows that have changed since the replay but are not forwarded, including
    /// pending sums.
    pub fn rows_waiting(&self) -> usize {
        self.rows.pending() + self.waiting.sums()
    }

    /// Takes all members of the epochs that have closed in a publication, which may go on.
    pub fn take_closed_members(&self, publication: Publication) -> Vec<EpochMembers> {
        self.members.as_ref().map_or_else(Vec::new, |queue| queue.take_final(publication))
    }

    /// Takes the members of the sets after a publication, which must be complete.
    pub fn take_members(&self, publication: Publication) -> Vec<EpochMembers> {
        self.members.as_ref().map_or_else(Vec::new, |queue| queue.take(publication))
    }

    /// Takes the rows that changed in a publication, which must be complete, and their changes of
    /// the digests.
    pub fn take_rows(
        &mut self,
        publication: Publication,
    ) -> (impl Iterator<Item = RowChange> + use<>, Digests) {
        self.rows.take(publication)
    }
}
