//! A whole job: the engine reads the log as it grows, and the store's rows of completeness are read
//! at each look.

use crate::common::{run_observed, settings};
use crate::judge::{Answer, Run};
use crate::log::{KINDS, Log, Look, Record};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use trendmark::engine::{Cluster, Counters, Observer};
use trendmark::log::PartitionName;
use trendmark::sources::{Batch, Discovered, Lag, PartitionReader, Polled, Source, SourceError};
use trendmark::stores::memory::MemoryStore;
use trendmark::stores::{Changeset, Progress, StoreReader};

const BATCH_RECORDS: usize = 2_048;

/// A log of which the records up to a time are written.
#[derive(Clone)]
struct Growing {
    partitions: Arc<BTreeMap<PartitionName, Vec<Record>>>,
    /// The time, in milliseconds; the last one is that of the end.
    written_ms: Arc<AtomicI64>,
}

impl Growing {
    fn new(log: &Log) -> Growing {
        let mut partitions: BTreeMap<PartitionName, Vec<Record>> = BTreeMap::new();
        for record in &log.records {
            let name = PartitionName { kind: record.kind, name: record.partition.to_string() };
            partitions.entry(name).or_default().push(*record);
        }
        Growing { partitions: Arc::new(partitions), written_ms: Arc::new(AtomicI64::new(i64::MIN)) }
    }

    /// The numbers of records of each partition that are written.
    fn written(&self) -> BTreeMap<&PartitionName, u64> {
        let at_ms = self.written_ms.load(Ordering::Relaxed);
        let written = |records: &[Record]| records.partition_point(|one| one.record_ms <= at_ms);
        let partitions = self.partitions.iter();
        partitions.map(|(name, records)| (name, written(records) as u64)).collect()
    }
}

impl Source for Growing {
    fn discover(&mut self) -> Result<Vec<Discovered>, SourceError> {
        let discovered = self.partitions.iter().map(|(name, records)| Discovered {
            name: name.clone(),
            size_bytes: size_of_val(&records[..]) as u64,
            end_offset: None,
            file: None,
        });
        Ok(discovered.collect())
    }

    fn open(
        &self,
        partition: &Discovered,
        offset: Option<u64>,
    ) -> Result<Box<dyn PartitionReader>, SourceError> {
        let next = offset.unwrap_or(0) as usize;
        Ok(Box::new(Reader { log: self.clone(), name: partition.name.clone(), next }))
    }
}

struct Reader {
    log: Growing,
    name: PartitionName,
    next: usize,
}

impl Reader {
    fn left(&self) -> (&[Record], bool) {
        let at_ms = self.log.written_ms.load(Ordering::Relaxed);
        let left = &self.log.partitions[&self.name][self.next..];
        (&left[..left.partition_point(|one| one.record_ms <= at_ms)], at_ms == i64::MAX)
    }
}

impl PartitionReader for Reader {
    fn poll(&mut self, batch: &mut Batch, records_max: usize) -> Result<Polled, SourceError> {
        let (left, is_whole) = self.left();
        let read = left.len().min(records_max).min(BATCH_RECORDS);
        let polled = match (read == left.len(), is_whole) {
            (false, _) => Polled::More,
            (true, false) => Polled::AtEnd,
            (true, true) => Polled::Exhausted,
        };
        let offsets = self.next as u64..;
        let events = offsets.zip(&left[..read]).map(|(offset, record)| record.event(offset));
        batch.events.extend(events);
        batch.bytes += size_of_val(&left[..read]) as u64;
        self.next += read;
        batch.next_offset = self.next as u64;
        Ok(polled)
    }

    fn lag(&self) -> Lag {
        Lag::of_records(Some(self.left().0.len() as u64))
    }
}

/// Reads the store when the job has committed all that is written, and has more written.
struct Looking {
    log: Growing,
    store: MemoryStore,
    state: Mutex<State>,
}

struct State {
    looks: std::vec::IntoIter<Look>,
    look: Option<Look>,
    committed: BTreeMap<PartitionName, u64>,
    run: Run,
}

impl Looking {
    /// Has the log written up to the next look, and looks at once where that adds nothing.
    fn go_on(&self, state: &mut State) {
        loop {
            state.look = state.looks.next();
            let at_ms = state.look.as_ref().map_or(i64::MAX, |look| look.at_ms);
            self.log.written_ms.store(at_ms, Ordering::Relaxed);
            match &state.look {
                Some(look) if self.has_all(&state.committed) => self.look(look, &mut state.run),
                _ => return,
            }
        }
    }

    fn has_all(&self, committed: &BTreeMap<PartitionName, u64>) -> bool {
        let written = self.log.written();
        written
            .into_iter()
            .all(|(name, records)| records == committed.get(name).copied().unwrap_or(0))
    }

    /// Takes down what the store says of the epochs that are asked for.
    fn look(&self, look: &Look, run: &mut Run) {
        if look.asked.is_empty() {
            return;
        }
        let progress = self.store.progress().expect("a store in memory");
        for row in self.store.completeness().expect("a store in memory") {
            let asked = look.asked.iter().find(|(epoch, _)| *epoch == row.epoch);
            let Some((epoch, age)) = asked else { continue };
            if progress.final_through.contains(*epoch) {
                continue;
            }
            let bounds = row.share_low.zip(row.share_high);
            let said = row.share.zip(bounds).map(|(share, (low, high))| [share, low, high]);
            let said = said.ok_or_else(|| row.unknown.clone().unwrap_or_default());
            let (kind, epoch, age, at_ms) = (row.kind, *epoch, *age, look.at_ms);
            run.answers.push(Answer { kind, epoch, age, at_ms, read: row.seen, said });
        }
    }
}

impl Observer for Looking {
    fn opened(&self, _progress: &Progress) {}

    fn committed(&self, changes: Changeset) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for partition in changes.partitions {
            state.committed.insert(partition.partition, partition.next_offset);
        }
        for stored in changes.completeness.curves {
            if stored.curve.first_odd.is_some() {
                state.run.note_odd(stored.kind, stored.epoch);
            }
        }
        if state.look.is_some() && self.has_all(&state.committed) {
            let State { look, run, .. } = &mut *state;
            look.iter().for_each(|look| self.look(look, run));
            self.go_on(&mut state);
        }
    }

    fn closing(&self) {}
}

/// Runs a job that follows a log, and returns what its store said on the way.
pub fn read(log: &Log, workers: usize) -> Run {
    let mut settings = settings();
    settings.definition = log.definition;
    settings.alignment_ms = log.definition.epoch_length_ms;
    settings.publish_interval = Duration::from_millis(5);
    settings.tick = Duration::from_millis(1);
    settings.poll_interval = Duration::from_millis(1);
    // In a log with few events, a partition without any holds the others back until it is idle.
    settings.idle_timeout = Duration::from_millis(500);
    let store = MemoryStore::new(&settings.definition, &settings.queries);
    let growing = Growing::new(log);
    // A partition without a record would hold the others back until it is idle.
    let mut looks = log.looks();
    let begin_ms = growing.partitions.values().map(|records| records[0].record_ms).max();
    looks.retain(|look| Some(look.at_ms) >= begin_ms);
    let (looks, run) = (looks.into_iter(), Run::default());
    let state = State { looks, look: None, committed: BTreeMap::new(), run };
    let state = Mutex::new(state);
    let looking = Arc::new(Looking { log: growing.clone(), store: store.clone(), state });
    {
        let mut state = looking.state.lock().unwrap_or_else(PoisonError::into_inner);
        looking.go_on(&mut state);
    }
    let observer = Some(Arc::clone(&looking) as Arc<dyn Observer>);
    let cluster = Cluster::threads(workers);
    let counters = Arc::new(Counters::default());
    run_observed(&cluster, settings, &growing, counters, Box::new(store.clone()), observer);
    let mut state = looking.state.lock().unwrap_or_else(PoisonError::into_inner);
    let mut run = std::mem::take(&mut state.run);
    assert!(state.look.is_none(), "the job ended before the log");
    for row in store.completeness().expect("a store in memory") {
        let whole = [row.share, row.share_low, row.share_high];
        assert_eq!(whole, [Some(1.0); 3], "a final epoch is whole: {row:?}");
        if KINDS.contains(&row.kind) {
            run.close(row.kind, row.epoch, row.seen, false);
        }
    }
    run
}
