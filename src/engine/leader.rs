//! The extra duties of worker 0: it makes decisions, discovers partitions and commits publications.

use super::committer::Committer;
use super::coordinator::{Coordinator, Rules};
use super::holding::Holding;
use super::protocol::Command;
use super::table::Parts;
use super::worker::State;
use super::{EngineError, Job};
use crate::log::{BlockStart, PartitionName, PartitionProgress};
use crate::query::Digests;
use crate::sources::SourceError;
use crate::stores::{Changeset, LeaseState, Progress, Store, StoreError};
use crate::time::{Definition, Publication, Through, clock_ms};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The interval between discoveries of partitions while following.
const DISCOVERY_INTERVAL: Duration = Duration::from_millis(500);

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
    /// The next offsets of partitions in the publication that is being committed.
    positions: Vec<(PartitionName, u64)>,
    committer: Option<Committer>,
    known: BTreeSet<PartitionName>,
    last_discovery: Option<Instant>,
    holding: Holding,
    looked_at: Option<Instant>,
}

impl Leader {
    /// Takes the job's store and sends the first commands.
    pub fn new(state: &mut State<'_>, job: &Job) -> Leader {
        let settings = &job.settings;
        let store = job.store.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        let progress = match store.as_deref().map(|store| load_progress(state, store)) {
            Some(Ok(progress)) => progress,
            Some(Err(error)) => {
                state.fail(error.into());
                Progress::default()
            }
            None => Progress::default(),
        };
        let rules = Rules {
            definition: settings.definition,
            workers: state.channels.workers(),
            alignment_ms: settings.alignment_ms,
            open_epochs_max: settings.definition.open_epochs_max(settings.alignment_ms),
            publish_interval: settings.publish_interval,
            follow: settings.follow,
            progress: progress.clone(),
        };
        let counters = &job.counters;
        let (job, workers) = (settings.job_description(), rules.workers);
        tracing::info!("job: {job}; {workers} workers; {}", describe(&progress));
        let coordinator = Coordinator::new(rules, Instant::now());
        state.channels.command(coordinator.begin());
        Leader {
            coordinator,
            progress,
            is_replayed: false,
            launched_at: Instant::now(),
            positions: Vec::new(),
            committer: store.map(|store| {
                let counters = Arc::clone(counters);
                Committer::start(store, std::thread::current(), counters)
            }),
            known: BTreeSet::new(),
            last_discovery: None,
            holding: Holding::default(),
            looked_at: None,
        }
    }

    /// Ends the job: the store is released and closed.
    pub(super) fn finish(self, ended: LeaseState) {
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
        commands.extend(self.coordinator.decide(Instant::now(), clock_ms()));
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
        let due = match self.last_discovery {
            None => true,
            Some(at) => job.settings.follow && at.elapsed() >= DISCOVERY_INTERVAL,
        };
        if due && !state.has_failed() {
            self.last_discovery = Some(Instant::now());
            let mut discovered = state.source.discover()?;
            discovered.retain(|partition| self.known.insert(partition.name.clone()));
            self.check_not_lost()?;
            commands.extend(self.coordinator.assign(discovered));
        }
        Ok(())
    }

    /// Checks that all partitions that must be replayed still exist.
    fn check_not_lost(&self) -> Result<(), SourceError> {
        if self.is_replayed {
            return Ok(());
        }
        let partitions = self.progress.partitions.values();
        let needed = partitions.filter(|at| at.replay_offset < at.next_offset);
        match needed.into_iter().find(|at| !self.known.contains(&at.partition)) {
            Some(lost) => Err(SourceError::Lost {
                partition: lost.partition.clone(),
                offset: lost.replay_offset,
            }),
            None => Ok(()),
        }
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
                committer.restore(rebuilt.rows);
            }
            Some((publication, parts)) => {
                let changes = assemble(&self.progress, publication, parts);
                self.progress.apply(&changes);
                let partitions = changes.partitions.iter();
                self.positions =
                    partitions.map(|at| (at.partition.clone(), at.next_offset)).collect();
                committer.commit(changes);
            }
            None => {}
        }
        if let Some(committed) = committer.take_committed()? {
            state.summary.publications += 1;
            job.counters.set_committed(committed.publication);
            tracing::info!("publication {}: committed", committed.publication);
            state.source.committed(&std::mem::take(&mut self.positions));
            commands.extend(self.coordinator.committed(committed));
        }
        Ok(())
    }
}

/// Returns the progress of the store, and reads the history that queries across epochs need.
fn load_progress(state: &mut State<'_>, store: &dyn Store) -> Result<Progress, StoreError> {
    let progress = store.progress()?;
    if let Some(across) = state.table.across()
        && let Some((queries, epochs)) = across.required_history(progress.final_through)
    {
        let history = store.history(queries, epochs)?;
        across.add_history(history);
    }
    Ok(progress)
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

/// Assembles the changeset of a publication from the parts of all workers.
fn assemble(before: &Progress, publication: Publication, parts: Parts) -> Changeset {
    let Parts { rows, digests, progress } = parts;
    let mut changes = Changeset { publication, rows, digests, ..Changeset::default() };
    changes.final_through = progress.first().map_or(Through::Nothing, |one| one.closed_through);
    let agree = progress.iter().all(|worker| worker.closed_through == changes.final_through);
    assert!(agree, "all workers have closed the same epochs at the end of a publication");
    for worker in progress {
        changes.ledger.merge(&worker.ledger);
        changes.partitions.extend(worker.partitions);
    }
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
