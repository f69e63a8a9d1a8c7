//! The extra duties of worker 0: it makes decisions, discovers partitions and commits publications.

use super::activity::Activity;
use super::committer::Committer;
use super::completing::Completing;
use super::coordinator::{Coordinator, Rules};
use super::discovery::Discovery;
use super::holding::Holding;
use super::meter::Recorded;
use super::protocol::Command;
use super::sets::Filing;
use super::table::Parts;
use super::titling::Titling;
use super::worker::State;
use super::{EngineError, Job, Records, Settings};
use crate::completeness::StoredCurve;
use crate::event::Kind;
use crate::log::{BlockStart, Loss, LossCause, PartitionName, PartitionProgress};
use crate::query::{Digests, QueryInstance, Role};
use crate::sets::Folder;
use crate::sets::catalogue::FileChanges;
use crate::stores::{Changeset, LeaseState, Progress, RowChange, StoreError, StoreReader};
use crate::time::{Definition, EpochRange, Publication, Through, clock_ms};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How often it is looked who holds the job.
const HOLDING_INTERVAL: Duration = Duration::from_millis(500);

/// The leader of a job.
pub struct Leader {
    coordinator: Coordinator,
    /// The progress of the store, including the publication that is being committed.
    progress: Progress,
    /// Whether the replay is complete.
    is_replayed: bool,
    launched_at: Instant,
    /// The partitions of the publication that is being committed.
    moved: Vec<PartitionProgress>,
    /// When its events were recorded.
    recorded: Recorded,
    /// Partitions whose progress changes with the first publication, although nothing of them is
    /// read.
    settled: Vec<PartitionProgress>,
    /// The rows of the epochs that were given up, for a store that keeps rows in memory.
    given_up: Vec<RowChange>,
    committer: Option<Committer>,
    /// The files of the sets, if there are any.
    filing: Option<Filing>,
    titles: Titling,
    completing: Completing,
    /// The records of each log since the start.
    records: [Records; Kind::COUNT],
    /// The logs whose malformed records were warned of.
    warned: BTreeSet<Kind>,
    discovery: Discovery,
    holding: Holding,
    looked_at: Option<Instant>,
}

impl Leader {
    /// Opens the job's store and sends the first commands.
    pub fn new(state: &mut State<'_>, job: &Job) -> Leader {
        let settings = &job.settings;
        let opener = take(&job.store);
        // The lease is renewed from now on, also while the history is read.
        let opened = opener.map_or(Ok(None), |open| {
            let store = open()?;
            let (progress, reader) = (store.progress()?, store.reader()?);
            let folder = settings.sets.as_ref().map(|sets| Folder::new(sets.folder.clone()));
            let (waker, counters) = (std::thread::current(), Arc::clone(&job.counters));
            let (generation, observer) = (progress.generation, job.observer.clone());
            if let Some(observer) = &observer {
                observer.opened(&progress);
            }
            let committer = Committer::start(store, folder, generation, waker, counters, observer);
            job.counters.set_launched();
            Ok::<_, StoreError>(Some((progress, reader, committer)))
        });
        let mut committer = None;
        let begun = opened.map_err(EngineError::from).and_then(|opened| {
            let Some((progress, reader, started)) = opened else { return Ok(Beginning::default()) };
            committer = Some(started);
            begin(state, progress, reader.as_ref(), job)
        });
        let Beginning { progress, settled, given_up, committed, filing, titles, curves } = begun
            .unwrap_or_else(|error| {
                state.fail(error);
                Beginning::default()
            });
        let partitions: Vec<_> = progress.partitions.values().cloned().collect();
        state.source.resume(&partitions, committed);
        let rules = Rules {
            definition: settings.definition,
            workers: state.channels.workers(),
            alignment_ms: settings.alignment_ms,
            open_epochs_max: settings.definition.open_epochs_max(settings.alignment_ms),
            publish_interval: settings.publish_interval,
            follow: settings.follow,
            progress: progress.clone(),
        };
        let (job, workers) = (settings.job_description(), rules.workers);
        let generation = progress.generation;
        if !state.has_failed() {
            tracing::info!("job: {job}; {workers} workers; {}", describe(&progress));
        }
        let mut coordinator = Coordinator::new(rules, Instant::now());
        if titles.has_update() {
            coordinator.note_change();
        }
        state.channels.command(vec![Command::Generation(generation)]);
        state.channels.command(coordinator.begin());
        Leader {
            coordinator,
            progress,
            is_replayed: false,
            launched_at: Instant::now(),
            moved: Vec::new(),
            recorded: Recorded::default(),
            settled,
            given_up,
            committer,
            filing,
            titles,
            completing: Completing::new(&settings.definition, curves),
            records: Default::default(),
            warned: BTreeSet::new(),
            discovery: Discovery::default(),
            holding: Holding::default(),
            looked_at: None,
        }
    }

    /// Ends the job: says what was read and what was not, and releases and closes the store.
    pub(super) fn finish(self, state: &mut State<'_>, ended: LeaseState) {
        state.summary.left_out = self.discovery.left_out(state.source.as_ref());
        state.summary.records = self.records;
        if let Some(committer) = self.committer {
            committer.finish(ended);
        }
    }

    /// Handles reports, discovery and commits, and sends the resulting commands.
    pub(super) fn step(&mut self, state: &mut State<'_>, job: &Job) {
        let mut commands = Vec::new();
        for report in state.channels.reports() {
            self.coordinator.receive(report);
        }
        if let Err(error) = self.look_for_partitions(state, job, &mut commands) {
            state.fail(error);
        }
        if let Err(error) = self.commit(state, job, &mut commands) {
            self.committer = None;
            state.fail(error);
        }
        self.look_who_holds(job);
        if self.titles.look() {
            self.coordinator.note_change();
        }
        commands.extend(self.coordinator.decide(Instant::now(), clock_ms()));
        job.counters.set_uncommitted(self.coordinator.has_uncommitted());
        if !commands.is_empty() {
            commands.iter().for_each(|command| log(command, &job.settings.definition));
            state.channels.command(commands);
        }
    }

    /// Finds out from time to time which partition holds the job.
    fn look_who_holds(&mut self, job: &Job) {
        let now = Instant::now();
        if self.looked_at.is_some_and(|at| now.duration_since(at) < HOLDING_INTERVAL) {
            return;
        }
        self.looked_at = Some(now);
        // In the replay, watermarks lag behind the positions in the store.
        let holder = self.is_replayed.then(|| self.coordinator.holder()).flatten();
        if let Some(warning) = self.holding.update(holder, now) {
            tracing::warn!("{warning}");
        }
        job.counters.set_holder(self.holding.now(now));
    }

    /// Assigns new partitions: once at the start, and periodically when following.
    fn look_for_partitions(
        &mut self,
        state: &mut State<'_>,
        job: &Job,
        commands: &mut Vec<Command>,
    ) -> Result<(), EngineError> {
        if self.discovery.is_due(job.settings.follow) && !state.has_failed() {
            state.meter.doing.begin(Activity::Discovering);
            let source = state.source.as_mut();
            let (discovered, moved) = self.discovery.find(source, &self.progress)?;
            if !self.is_replayed {
                self.discovery.check_not_lost(source, &self.progress, &moved)?;
            }
            commands.extend(self.coordinator.assign(discovered));
            commands.extend(moved.into_iter().map(Command::Relocate));
        }
        Ok(())
    }

    /// Submits a complete publication to the store, and handles a finished commit.
    fn commit(
        &mut self,
        state: &mut State<'_>,
        job: &Job,
        commands: &mut Vec<Command>,
    ) -> Result<(), EngineError> {
        let Some(committer) = &self.committer else { return Ok(()) };
        match state.table.receive() {
            Some((Publication::REPLAY, rebuilt)) => {
                self.is_replayed = true;
                state.summary.replay = self.launched_at.elapsed();
                compare(&self.progress.digests, &rebuilt.digests)?;
                if self.progress.publication > Publication::REPLAY {
                    let seconds = state.summary.replay.as_secs_f64();
                    tracing::info!("replay: complete in {seconds:.2} s, rows equal the store");
                }
                let mut rows = rebuilt.rows;
                rows.append(&mut self.given_up);
                committer.restore(rows);
            }
            Some((publication, mut parts)) => {
                let mut settled = std::mem::take(&mut self.settled);
                settled.extend(self.discovery.take_gone());
                let written = std::mem::take(&mut parts.files);
                let arrivals: Vec<_> = parts
                    .progress
                    .iter_mut()
                    .map(|one| std::mem::take(&mut one.arrivals))
                    .collect();
                for one in &mut parts.progress {
                    self.recorded.append(std::mem::take(&mut one.recorded));
                }
                let reached = parts.reached();
                let mut changes = assemble(&self.progress, publication, parts, settled);
                let final_through = changes.final_through;
                changes.completeness = self.completing.publish(arrivals, &reached, final_through);
                let files = match &mut self.filing {
                    Some(filing) => filing.publish(&mut changes, written),
                    None => FileChanges::default(),
                };
                changes.titles = self.titles.take();
                self.progress.apply(&changes);
                Records::add(&mut self.records, &changes);
                if job.settings.follow {
                    let malformed_max = job.settings.malformed_max;
                    warn_of_malformed(&self.records, malformed_max, &mut self.warned);
                }
                self.moved.clone_from(&changes.partitions);
                committer.commit(changes, files);
                commands.extend(self.filing.iter_mut().flat_map(Filing::due));
            }
            None => {}
        }
        if let Some(committed) = committer.take_committed()? {
            state.summary.publications += 1;
            job.counters.set_committed(committed.publication);
            let meter = job.counters.meter();
            std::mem::take(&mut self.recorded).observe(&meter.event_to_row, clock_ms());
            tracing::info!("publication {}: committed", committed.publication);
            state.source.committed(&std::mem::take(&mut self.moved));
            commands.extend(self.coordinator.committed(committed));
        }
        Ok(())
    }
}

/// Warns, once for each log, that too many of these records are malformed. A job that follows its
/// logs has no end at which it could fail for that.
fn warn_of_malformed(
    records: &[Records; Kind::COUNT],
    malformed_max: Option<f64>,
    warned: &mut BTreeSet<Kind>,
) {
    for kind in Kind::ALL {
        let of_log = records[kind as usize];
        if of_log.are_unusable(malformed_max) && warned.insert(kind) {
            tracing::warn!("{}", of_log.describe(kind));
        }
    }
}

/// Where a job begins.
#[derive(Default)]
struct Beginning {
    /// The progress of the store, without what was given up.
    progress: Progress,
    /// See [`Leader`].
    settled: Vec<PartitionProgress>,
    /// See [`Leader`].
    given_up: Vec<RowChange>,
    /// When an earlier job has committed last.
    committed: Option<SystemTime>,
    /// See [`Leader`].
    filing: Option<Filing>,
    /// See [`Leader`].
    titles: Titling,
    /// The curves in the store.
    curves: Vec<StoredCurve>,
}

/// Takes what a job gives its leader once.
fn take<T>(given: &Mutex<Option<T>>) -> Option<T> {
    given.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Reads the history that queries across epochs need, from a store with this progress.
fn begin(
    state: &mut State<'_>,
    progress: Progress,
    store: &dyn StoreReader,
    job: &Job,
) -> Result<Beginning, EngineError> {
    let settings = &job.settings;
    let mut begun = Beginning { progress, ..Beginning::default() };
    let committed_ms = store.lease()?.and_then(|lease| lease.committed_ms);
    let committed_ms = committed_ms.and_then(|at_ms| u64::try_from(at_ms).ok());
    let committed = committed_ms.map(|at_ms| SystemTime::UNIX_EPOCH + Duration::from_millis(at_ms));
    match settings.accept_loss {
        Some(publication) if publication == begun.progress.publication.0 => {
            begun = give_up(store, settings, begun.progress)?;
        }
        Some(publication) => tracing::warn!(
            "--accept-loss {publication} has no effect: the store is at publication {}",
            begun.progress.publication
        ),
        None => {}
    }
    begun.committed = committed;
    begun.filing = Filing::begin(settings, &begun.progress, store)?;
    begun.titles = Titling::begin(take(&job.titles), settings.follow, store)?;
    begun.curves = store.curves()?;
    if let Some(across) = state.table.across()
        && let Some((queries, epochs)) = across.required_history(begun.progress.final_through)
    {
        let history = store.history(queries, epochs)?;
        across.add_history(history);
    }
    Ok(begun)
}

/// Makes all epochs final that any event has reached, as the store has them, so that nothing must
/// be read again.
fn give_up(
    store: &dyn StoreReader,
    settings: &Settings,
    mut progress: Progress,
) -> Result<Beginning, StoreError> {
    let definition = &settings.definition;
    let latest_ms = progress.partitions.values().filter_map(|at| at.watermark_ms).max();
    let reached =
        latest_ms.map(|at_ms| definition.epoch(at_ms.saturating_add(definition.max_delay_ms)));
    let Some(last) = reached.max(progress.digests.keys().next_back().copied()) else {
        return Ok(Beginning { progress, ..Beginning::default() });
    };
    let before = progress.final_through;
    progress.final_through = before.max(Through::Epoch(last));
    let main = |query: &QueryInstance| query.query.role == Role::Main;
    let given_up = match settings.queries.iter().position(main) {
        Some(main) if settings.restores_rows && before != Through::Everything => {
            let first = before.last().map_or(EpochRange::ALL.first, |epoch| epoch.plus(1));
            store.history(&[main], EpochRange { first, last })?
        }
        _ => Vec::new(),
    };
    progress.digests = Digests::new();
    let passed = progress.partitions.values_mut().filter(|at| at.replay_offset < at.next_offset);
    for at in passed {
        let loss = Loss { offset: at.replay_offset, cause: LossCause::NotReplayed };
        loss.note_in(&mut at.lost);
    }
    let settled = without_replay(&progress, Vec::new());
    progress.partitions =
        settled.iter().map(|at| (at.partition.clone(), with_malformed(&progress, at))).collect();
    let start = definition.start_rfc3339(last);
    tracing::warn!(
        "nothing is read again: the epochs through {last} ({start}) become final as the store has \
         them, and later events for them are late"
    );
    Ok(Beginning { progress, settled, given_up, ..Beginning::default() })
}

/// Returns the progress of a partition with the number of malformed records so far.
fn with_malformed(before: &Progress, at: &PartitionProgress) -> PartitionProgress {
    let malformed = before.partitions.get(&at.partition).map_or(0, |before| before.malformed);
    PartitionProgress { malformed, ..at.clone() }
}

/// Describes where a job begins, for the log.
fn describe(progress: &Progress) -> String {
    let partitions = progress.partitions.values();
    let records: u64 = partitions.map(|at| at.next_offset.saturating_sub(at.replay_offset)).sum();
    match progress.publication {
        Publication::REPLAY => "a new store".into(),
        last => format!("after publication {last}, {records} records to replay"),
    }
}

/// Logs the commands that matter to an operator.
fn log(command: &Command, definition: &Definition) {
    match command {
        Command::Open(epoch) => {
            tracing::info!("epoch {epoch} ({}): open", definition.start_rfc3339(*epoch));
        }
        Command::Close(Through::Epoch(epoch)) => {
            let start = definition.start_rfc3339(*epoch);
            tracing::info!("epochs through {epoch} ({start}): closed, and final once committed");
        }
        Command::Close(Through::Everything) => tracing::info!("all epochs: closed"),
        Command::Finalize(Through::Epoch(epoch)) => {
            tracing::info!("epochs through {epoch} ({}): final", definition.start_rfc3339(*epoch));
        }
        Command::Finalize(Through::Everything) => tracing::info!("all epochs: final"),
        Command::Drain => tracing::info!("stopping: publishing the events read so far"),
        Command::End => tracing::info!("the job has ended"),
        _ => {}
    }
}

/// Compares the digests of the rows rebuilt by a replay with the digests in the store.
fn compare(stored: &Digests, rebuilt: &Digests) -> Result<(), EngineError> {
    let epochs: BTreeSet<_> = stored.keys().chain(rebuilt.keys()).collect();
    match epochs.into_iter().find(|epoch| stored.get(epoch) != rebuilt.get(epoch)) {
        Some(epoch) => Err(EngineError::Replay { epoch: *epoch }),
        None => Ok(()),
    }
}

/// Assembles the changeset of a publication from the parts of all workers, and from the partitions
/// that are settled without being read.
fn assemble(
    before: &Progress,
    publication: Publication,
    parts: Parts,
    settled: Vec<PartitionProgress>,
) -> Changeset {
    let Parts { rows, digests, progress, .. } = parts;
    let mut changes = Changeset { publication, rows, digests, ..Changeset::default() };
    changes.final_through = progress.first().map_or(Through::Nothing, |one| one.closed_through);
    let agree = progress.iter().all(|worker| worker.closed_through == changes.final_through);
    assert!(agree, "all workers have closed the same epochs at the end of a publication");
    for worker in progress {
        changes.ledger.merge(&worker.ledger);
        changes.partitions.extend(worker.partitions);
    }
    let is_moved = |at: &PartitionProgress| {
        changes.partitions.iter().any(|moved| moved.partition == at.partition)
    };
    let settled: Vec<_> = settled.into_iter().filter(|at| !is_moved(at)).collect();
    let settled = settled.into_iter().map(|at| PartitionProgress { malformed: 0, ..at });
    changes.partitions.extend(settled);
    if changes.final_through == Through::Everything {
        changes.partitions = without_replay(before, changes.partitions);
    }
    changes.partitions.sort_by(|one, other| one.partition.cmp(&other.partition));
    changes
}

/// Returns all partitions, with nothing to replay, as every epoch is final.
fn without_replay(before: &Progress, moved: Vec<PartitionProgress>) -> Vec<PartitionProgress> {
    let unmoved =
        before.partitions.values().map(|at| PartitionProgress { malformed: 0, ..at.clone() });
    let all = unmoved.chain(moved).map(|at| (at.partition.clone(), at));
    let all: BTreeMap<PartitionName, PartitionProgress> = all.collect();
    let settled = all.into_values().map(|at| PartitionProgress {
        replay_offset: at.next_offset,
        replay_watermark_ms: at.watermark_ms,
        block: BlockStart { offset: at.next_offset, watermark_ms: at.watermark_ms, ..at.block },
        decisions: Vec::new(),
        ..at
    });
    settled.collect()
}
