//! A source in memory that repeats a part of a log, each time with new request ids and later times.
//!
//! So a log of any length takes the memory of its part, and an event costs a copy and a few
//! additions; `cost_ns` measures how much.

use crate::part::Record;
use std::sync::Arc;
use std::time::Instant;
use trendmark::event::{Event, Kind, RequestId, VideoId};
use trendmark::log::PartitionName;
use trendmark::sources::{Batch, Discovered, Lag, PartitionReader, Polled, Source, SourceError};

/// The records that a reader gives at most at once, as those of files do.
const BATCH_EVENTS: usize = 2_048;

/// A log that repeats a part.
#[derive(Clone)]
pub struct Repeated {
    /// The records of each partition: those of the impressions, then those of the plays.
    partitions: Arc<Vec<Vec<Record>>>,
    start_ms: i64,
    period_ms: i64,
    repetitions: u64,
    /// The most periods that a record wraps around.
    wraps_max: u64,
}

impl Repeated {
    /// A log that begins at `start_ms` and repeats a part of `period_ms`.
    pub fn new(
        partitions: Vec<Vec<Record>>,
        start_ms: i64,
        period_ms: i64,
        repetitions: u64,
    ) -> Repeated {
        let wraps = partitions.iter().flatten().map(|record| u64::from(record.wraps));
        let wraps_max = wraps.max().unwrap_or(0);
        Repeated { partitions: Arc::new(partitions), start_ms, period_ms, repetitions, wraps_max }
    }

    /// The records of the part.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.partitions.iter().flatten()
    }

    /// The number of events of the log.
    pub fn events(&self) -> u64 {
        self.records().count() as u64 * self.repetitions
    }

    /// The time that reading the part alone takes an event, in nanoseconds.
    pub fn cost_ns(&self) -> f64 {
        let mut batch = Batch::default();
        let once = Repeated { repetitions: 1, wraps_max: 0, ..self.clone() };
        let mut readers: Vec<_> =
            (0..self.partitions.len()).map(|partition| once.reader(partition)).collect();
        let start = Instant::now();
        let mut events = 0;
        for reader in &mut readers {
            loop {
                let polled = reader.poll(&mut batch, BATCH_EVENTS);
                events += batch.events.len();
                std::hint::black_box(&mut batch).clear();
                if matches!(polled, Ok(Polled::Exhausted)) {
                    break;
                }
            }
        }
        start.elapsed().as_nanos() as f64 / events.max(1) as f64
    }

    fn name(&self, partition: usize) -> PartitionName {
        let half = self.partitions.len() / 2;
        let kind = if partition < half { Kind::Impression } else { Kind::Play };
        PartitionName { kind, name: format!("{:04}", partition % half) }
    }

    fn reader(&self, partition: usize) -> Reader {
        let mut reader = Reader {
            log: self.clone(),
            partition,
            cycle: 0,
            salts: Vec::new(),
            next: 0,
            offset: 0,
        };
        reader.begin_cycle();
        reader
    }
}

impl Source for Repeated {
    fn discover(&mut self) -> Result<Vec<Discovered>, SourceError> {
        let discovered =
            self.partitions.iter().enumerate().map(|(partition, records)| Discovered {
                name: self.name(partition),
                size_bytes: size_of_val(&records[..]) as u64 * self.repetitions,
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
        assert_eq!(offset.unwrap_or(0), 0, "a job of this benchmark has a new store");
        let PartitionName { kind, name } = &partition.name;
        let first = if *kind == Kind::Impression { 0 } else { self.partitions.len() / 2 };
        match name.parse::<usize>() {
            Ok(number) => Ok(Box::new(self.reader(first + number))),
            Err(_) => Err(SourceError::NotFound(name.into())),
        }
    }
}

struct Reader {
    log: Repeated,
    partition: usize,
    /// The period that is being read.
    cycle: u64,
    /// What makes the ids of this cycle new, by the number of periods that a record wraps around;
    /// `None` for records of repetitions that there are not.
    salts: Vec<Option<[u64; 2]>>,
    next: usize,
    offset: u64,
}

impl Reader {
    fn begin_cycle(&mut self) {
        self.next = 0;
        self.salts.clear();
        for wraps in 0..=self.log.wraps_max {
            let repetition = self.cycle.checked_sub(wraps);
            let repetition = repetition.filter(|number| *number < self.log.repetitions);
            self.salts.push(repetition.map(salt));
        }
    }

    fn is_over(&self) -> bool {
        self.cycle == self.log.repetitions + self.log.wraps_max
    }
}

impl PartitionReader for Reader {
    fn poll(&mut self, batch: &mut Batch, records_max: usize) -> Result<Polled, SourceError> {
        let records_max = records_max.min(BATCH_EVENTS);
        let before = batch.events.len();
        while batch.events.len() - before < records_max && !self.is_over() {
            let log = &self.log;
            let records = &log.partitions[self.partition];
            let wanted = records_max - (batch.events.len() - before);
            let end = records.len().min(self.next + wanted);
            let shift_ms = log.start_ms + self.cycle as i64 * log.period_ms;
            let (offset, salts) = (&mut self.offset, &self.salts);
            let event = |record: &Record| {
                let salt = (*salts.get(usize::from(record.wraps))?)?;
                *offset += 1;
                Some(Event {
                    offset: *offset - 1,
                    request: RequestId([record.request[0] ^ salt[0], record.request[1] ^ salt[1]]),
                    video: VideoId(u64::from(record.video)),
                    event_time_ms: shift_ms + i64::from(record.event_ms),
                    record_time_ms: Some(shift_ms + i64::from(record.arrival_ms)),
                })
            };
            batch.events.extend(records[self.next..end].iter().filter_map(event));
            self.next = end;
            if end == records.len() {
                self.cycle += 1;
                self.begin_cycle();
            }
        }
        batch.bytes += size_of_val(&batch.events[before..]) as u64;
        batch.next_offset = self.offset;
        Ok(if self.is_over() { Polled::Exhausted } else { Polled::More })
    }

    fn lag(&self) -> Lag {
        Lag::of_records(None)
    }
}

/// What the words of the ids of a repetition are combined with: random bits keep ids random.
fn salt(repetition: u64) -> [u64; 2] {
    [1, 2].map(|word| splitmix(2 * repetition + word))
}

/// The generator SplitMix64, at a place of its sequence.
fn splitmix(place: u64) -> u64 {
    let bits = place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
