//! Runs a design on timely, batch by batch: a batch begins when all workers are done with the one
//! before, as in Spark Streaming.

use crate::log::{self, Arrived, Partition};
use crate::output::{Element, Table};
use crate::positions;
use crate::{Recovery, Run};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator as _;
use timely::dataflow::operators::{Input, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::worker::Worker;

/// A design of the talk: what one worker holds between batches, for the requests that are its own.
pub trait Design {
    /// Processes a batch. Returns the elements to write.
    fn process(&mut self, batch: u64, arrived: Vec<Arrived>) -> Vec<Element>;

    /// The number of events held.
    fn held(&self) -> usize;

    /// Is called after each batch, with a folder if checkpoints are kept.
    fn checkpoint(&mut self, _folder: Option<&Path>, _worker: usize, _batch: u64) {}

    /// The first batch that a restart with a checkpoint reads again, if `last` is the last that is
    /// complete.
    fn reads_again_from(&self, last: u64) -> u64;

    /// Restores the state at the beginning of a batch from the folder of the checkpoints.
    fn restore(&mut self, _folder: &Path, _worker: usize, _first: u64) {}
}

/// Makes a design; the number is the first batch of the job.
type Make = Box<dyn Fn(u64) -> Box<dyn Design> + Send + Sync>;

/// A job: its partitions, its batches, and where it starts.
pub struct Job {
    pub run: Run,
    partitions: Vec<PathBuf>,
    /// The arrival time at which batch 0 begins, in milliseconds.
    start_ms: i64,
    /// The number of batches until every window of the last events has ended.
    batches: u64,
    /// The last batch that an earlier process completed.
    completed: Option<u64>,
    /// The events read in each batch, by all workers.
    read: Vec<AtomicU64>,
    /// The events that each worker holds.
    held: Vec<AtomicU64>,
}

impl Job {
    /// Prepares a job.
    pub fn new(run: Run) -> Job {
        std::fs::create_dir_all(&run.out).unwrap();
        let partitions = log::partitions(&run.log);
        let (first_ms, last_ms) = log::arrivals(&partitions);
        let batch_ms = run.batch_seconds as i64 * 1000;
        let start_ms = first_ms.div_euclid(batch_ms) * batch_ms;
        let batches = ((last_ms - start_ms) / batch_ms) as u64 + 1 + run.window_batches;
        Job {
            partitions,
            start_ms,
            batches,
            completed: positions::last_batch(&run.out, run.workers),
            read: (0..batches).map(|_| AtomicU64::new(0)).collect(),
            held: (0..run.workers).map(|_| AtomicU64::new(0)).collect(),
            run,
        }
    }

    fn end_ms(&self, batch: u64) -> i64 {
        self.start_ms + (batch as i64 + 1) * self.run.batch_seconds as i64 * 1000
    }

    /// The batch after the last complete one.
    fn next(&self) -> u64 {
        self.completed.map_or(0, |batch| batch + 1)
    }

    /// The folder of checkpoints, if there are any.
    fn checkpoints(&self) -> Option<&Path> {
        (self.run.recovery == Recovery::Checkpoint).then_some(&self.run.out)
    }

    /// The partitions that a worker reads, from after a batch.
    fn share(&self, worker: usize, first: u64) -> Vec<Partition> {
        let paths = self.partitions.iter().skip(worker).step_by(self.run.workers);
        let offsets = positions::after(&self.run.out, worker, first.checked_sub(1));
        let offset = |at: usize| offsets.as_ref().map_or(0, |offsets| offsets[at]);
        paths.enumerate().map(|(at, path)| Partition::open(path, offset(at))).collect()
    }
}

/// Runs a job to the end of its log.
pub fn run(job: Job, make: impl Fn(u64) -> Box<dyn Design> + Send + Sync + 'static) {
    let (job, make): (_, Make) = (Arc::new(job), Box::new(make));
    let config = timely::Config::process(job.run.workers);
    timely::execute(config, move |worker| work(worker, &job, &make)).unwrap();
}

/// The first batch to read: earlier than the next one if what was in memory is read again.
fn first_batch(job: &Job, design: &mut dyn Design, worker: usize) -> u64 {
    let (Some(completed), Some(folder)) = (job.completed, job.checkpoints()) else {
        return job.next();
    };
    let first = design.reads_again_from(completed);
    design.restore(folder, worker, first);
    first
}

/// One worker.
fn work(worker: &mut Worker, job: &Arc<Job>, make: &Make) {
    let index = worker.index();
    // Windows begin with the job; with a checkpoint, with the job before.
    let mut design = make(if job.checkpoints().is_some() { 0 } else { job.next() });
    let first = first_batch(job, &mut *design, index);
    let mut partitions = job.share(index, first);
    let (mut input, probe) = (InputHandle::<u64, _>::new(), ProbeHandle::new());
    let table = Table::open(&job.run.out, index);
    let (job_of_operator, arrived) = (job.clone(), BTreeMap::new());
    let operator = Operator { job: job_of_operator, design, first, worker: index, table, arrived };
    build(worker, &mut input, &probe, operator);
    let mut totals = Totals::default();
    for batch in first..job.batches {
        input.advance_to(batch);
        for partition in &mut partitions {
            let events = partition.read_until(job.end_ms(batch), |event| input.send(event));
            job.read[batch as usize].fetch_add(events, Ordering::Relaxed);
        }
        input.advance_to(batch + 1);
        worker.step_while(|| probe.less_than(&(batch + 1)));
        if index == 0 {
            totals.add(job, batch);
        }
        if batch >= job.next() {
            let offsets = partitions.iter().map(|partition| partition.offset).collect();
            positions::store(&job.run.out, index, batch, &offsets);
        }
    }
    if index == 0 {
        totals.print();
    }
}

/// Builds the dataflow of one operator, which exchanges events by request and processes each batch
/// once it is complete.
fn build(
    worker: &mut Worker,
    input: &mut InputHandle<u64, CapacityContainerBuilder<Vec<Arrived>>>,
    probe: &ProbeHandle<u64>,
    mut operator: Operator,
) {
    let by_request = Exchange::new(|event: &Arrived| event.request[0]);
    worker.dataflow::<u64, _, _>(|scope| {
        scope
            .input_from(input)
            .unary_frontier(by_request, "design", |start, _| {
                // Held for the next batch, so that the probe waits for it even if it is empty.
                let mut next = Some(start.delayed(&operator.first));
                drop(start);
                move |(input, frontier), output| {
                    input.for_each_stamp(|stamp, data| {
                        let batch = *stamp.retain_least(output.output_index()).unwrap().time();
                        let arrived = operator.arrived.entry(batch).or_default();
                        data.for_each(|part| arrived.append(part));
                    });
                    while let Some(batch) = next.as_ref().map(|next| *next.time())
                        && !frontier.less_equal(&batch)
                    {
                        if batch == operator.job.batches {
                            next = None;
                            return;
                        }
                        operator.process(batch);
                        let next = next.as_mut().expect("it was there in this turn");
                        output.session(next).give(());
                        next.downgrade(&(batch + 1));
                    }
                }
            })
            .container::<Vec<()>>()
            .probe_with(probe);
    });
}

/// The operator of one worker.
struct Operator {
    job: Arc<Job>,
    design: Box<dyn Design>,
    /// The first batch that is read.
    first: u64,
    worker: usize,
    table: Table,
    /// The events of the batches that are not complete.
    arrived: BTreeMap<u64, Vec<Arrived>>,
}

impl Operator {
    fn process(&mut self, batch: u64) {
        let arrived = self.arrived.remove(&batch).unwrap_or_default();
        let elements = self.design.process(batch, arrived);
        // A batch that is only read again was written before.
        if batch >= self.job.next() {
            self.table.write(&elements);
            self.design.checkpoint(self.job.checkpoints(), self.worker, batch);
        }
        self.job.held[self.worker].store(self.design.held() as u64, Ordering::Relaxed);
    }
}

/// What worker 0 adds up after each batch.
#[derive(Default)]
struct Totals {
    read: u64,
    held_max: u64,
}

impl Totals {
    /// Adds a batch. Ends the process if it was the one to do so.
    fn add(&mut self, job: &Job, batch: u64) {
        self.read += job.read[batch as usize].load(Ordering::Relaxed);
        let held = job.held.iter().map(|held| held.load(Ordering::Relaxed)).sum();
        self.held_max = self.held_max.max(held);
        if job.run.kill_after.is_some_and(|events| self.read >= events) {
            self.print();
            end_at_once();
        }
    }

    fn print(&self) {
        let Totals { read, held_max } = self;
        println!("{}", serde_json::json!({ "events_read": read, "events_held_max": held_max }));
    }
}

/// Ends this process as `kill -9` does.
fn end_at_once() {
    #[cfg(unix)]
    nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL).unwrap();
    #[cfg(not(unix))]
    std::process::abort();
}
