//! `trendmark status`: whether the job of a store runs as it should, its progress, its lag behind
//! the logs, and how many records a restart would replay. It only reads: it takes nothing over and
//! locks nothing.

mod verdict;

use super::CommandError;
use super::kafka::EndOffsets;
use super::run::RunError;
use super::store::{self, OpenStore};
use super::totals::{Totals, Unused};
use super::watch::age_text;
use crate::arguments::{StatusArguments, StatusFormat};
use crate::console;
use crate::decode::LogFields;
use crate::kafka::parse_partition;
use crate::log::PartitionProgress;
use crate::sources::files::FileSource;
use crate::sources::{Batch, Discovered, Polled, Source, SourceError};
use crate::stores::description::Description;
use crate::stores::lease::{EXPIRY, Lease};
use crate::stores::{Progress, StoreError, StoreReader};
use crate::time::{Through, clock_ms, rfc3339};
use comfy_table::{CellAlignment, LineStyle, Table, presets};
use indicatif::HumanCount;
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use verdict::{Facts, Sign, Verdict};

/// The interval of `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// The pause between two looks at a lease that is watched.
const LOOK_PAUSE: Duration = Duration::from_millis(250);

/// The status of a job.
struct Status {
    store: String,
    verdict: Verdict,
    description: Description,
    progress: Progress,
    lease: Option<Lease>,
    totals: Totals,
    /// The lag of each partition: the number of records that the store does not reflect; `None` if
    /// it is unknown.
    lag: Vec<Option<u64>>,
}

/// Prints the status of a job; again and again with `--watch`, until nobody reads it any more.
/// Returns the exit code, which tells whether the job runs as it should.
///
/// # Errors
/// When the store does not exist or cannot be read, or the output cannot be written. The lag of an
/// unreadable log is unknown.
pub fn status(arguments: &StatusArguments) -> Result<u8, CommandError> {
    let OpenStore { location, reader, kafka } = store::open(&arguments.store)?;
    let mut looks = Looks {
        store: location.to_string(),
        reader,
        ends: kafka.as_ref().map(EndOffsets::new),
        stale_after: arguments.stale_after.duration(),
        silent: None,
    };
    loop {
        let status = looks.status().map_err(RunError::from)?;
        let text = match arguments.format {
            StatusFormat::Table => format!("{}\n", status.table()),
            StatusFormat::Json => format!("{}\n", status.json()),
        };
        let exit_code = status.verdict.exit_code();
        if !arguments.watch {
            console::print(text)?;
            return Ok(exit_code);
        }
        match console::repaint(&text) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(exit_code),
            painted => painted?,
        }
        thread::sleep(WATCH_INTERVAL);
    }
}

/// Looks at a store, one after another.
struct Looks {
    store: String,
    reader: Box<dyn StoreReader + Send>,
    ends: Option<EndOffsets>,
    stale_after: Duration,
    /// The sign of a lease that was watched and did not change.
    silent: Option<(u64, i64)>,
}

impl Looks {
    fn status(&mut self) -> Result<Status, StoreError> {
        let (lease, sign) = self.lease()?;
        let progress = self.reader.progress()?;
        let ends = &mut self.ends;
        let lag: Vec<_> = progress.partitions.values().map(|at| lag(at, ends.as_mut())).collect();
        let verdict = Verdict::of(&Facts {
            is_finished: progress.final_through == Through::Everything,
            lease: sign,
            behind: waiting(&progress, &lag),
            stale_after: self.stale_after,
        });
        let totals = Totals::of(self.reader.as_ref(), &progress)?;
        let (store, description) = (self.store.clone(), self.reader.description().clone());
        Ok(Status { store, verdict, description, progress, lease, totals, lag })
    }

    /// Reads the lease, and watches it where its times alone do not tell whether its job lives.
    fn lease(&mut self) -> Result<(Option<Lease>, Option<Sign>), StoreError> {
        let Some(mut lease) = self.reader.lease()? else { return Ok((None, None)) };
        let mut has_changed = None;
        if sign(&lease, None).is_doubtful() {
            let (first, started) = (lease.sign(), Instant::now());
            while lease.sign() == first && self.silent != Some(first) && started.elapsed() < EXPIRY
            {
                thread::sleep(LOOK_PAUSE);
                lease = self.reader.lease()?.unwrap_or(lease);
            }
            has_changed = Some(lease.sign() != first);
            self.silent = (lease.sign() == first).then_some(first);
        }
        let sign = sign(&lease, has_changed);
        Ok((Some(lease), Some(sign)))
    }
}

/// Returns how many records surely wait for the job. The last line of a file may be unfinished,
/// which a job that follows it does not read yet.
fn waiting(progress: &Progress, lag: &[Option<u64>]) -> u64 {
    let of_one = |(at, lag): (&PartitionProgress, &Option<u64>)| match at.file {
        Some(_) => lag.unwrap_or(0).saturating_sub(1),
        None => lag.unwrap_or(0),
    };
    progress.partitions.values().zip(lag).map(of_one).sum()
}

fn sign(lease: &Lease, has_changed: Option<bool>) -> Sign {
    Sign {
        state: lease.state,
        is_here: lease.process.is_here(),
        is_gone: lease.process.is_gone(),
        age_ms: clock_ms().saturating_sub(lease.renewed_ms),
        has_changed,
        without_commit: lease.without_commit(),
    }
}

/// The lag of a partition, in records. A file is read from the store's position to its end for
/// that.
fn lag(at: &PartitionProgress, ends: Option<&mut EndOffsets>) -> Option<u64> {
    let name = &at.partition;
    let end = if parse_partition(&name.name).is_some() {
        ends?.of(name)
    } else {
        end_of_file(at).map(Some)
    };
    match end {
        Ok(end) => Some(end?.saturating_sub(at.next_offset)),
        Err(error) => {
            tracing::warn!("{error}");
            None
        }
    }
}

/// Returns the offset after the last record of a file, which is read from an offset for that. A
/// file that is gone has no more records.
fn end_of_file(at: &PartitionProgress) -> Result<u64, SourceError> {
    const RECORDS_MAX: usize = 4_096;
    let (name, file, offset) = (at.partition.clone(), at.file.clone(), at.next_offset);
    if file.as_ref().is_some_and(|file| !Path::new(&file.path).is_file()) {
        return Ok(offset);
    }
    let files = FileSource::new(vec![], LogFields::default(), false);
    let partition = Discovered { name, size_bytes: 0, end_offset: None, file };
    let mut reader = files.open(&partition, Some(offset))?;
    let mut batch = Batch::default();
    while reader.poll(&mut batch, RECORDS_MAX)? == Polled::More {
        batch.clear();
    }
    Ok(batch.next_offset)
}

impl Status {
    /// What the job does, or what became of it; empty if none has left a lease.
    fn state(&self) -> String {
        let Some(lease) = &self.lease else { return String::new() };
        let (age, name) = (age_text(lease.age()), lease.state.name());
        match self.verdict {
            Verdict::Lives => name.to_owned(),
            Verdict::Finished => format!("finished, {age} ago"),
            Verdict::Stopped | Verdict::Failed => format!("{name}, {age} ago"),
            Verdict::Died => format!("died, last sign of life {age} ago"),
            // The clock of its host may be ahead.
            Verdict::Silent => {
                format!("no sign of life for {}", age_text(lease.age().max(EXPIRY)))
            }
            Verdict::Stuck => {
                let quiet = age_text(lease.without_commit());
                format!("{name}, but it is behind and has committed nothing for {quiet}")
            }
            Verdict::Unknown => String::new(),
        }
    }

    /// Describes the job that has the store, or the last one that had it.
    fn job(&self) -> String {
        let Some(lease) = &self.lease else {
            return "unknown: none has left a lease in the store".to_owned();
        };
        let stale = if self.verdict.exit_code() == 3 { "stale: " } else { "" };
        format!("{stale}{}: {lease}", self.state())
    }

    fn job_json(&self) -> Option<Value> {
        let lease = self.lease.as_ref()?;
        Some(json!({
            "state": lease.state.name(),
            "alive": self.verdict.is_running(),
            "host": lease.process.host,
            "pid": lease.process.pid,
            "generation": lease.generation,
            "since": rfc3339(lease.since_ms),
            "renewed": rfc3339(lease.renewed_ms),
            "held_by": lease.holder,
        }))
    }

    /// The number of records that the job commits per second; none if it does not run.
    fn rate(&self) -> u64 {
        let lease = self.lease.as_ref().filter(|_| self.verdict.is_running());
        lease.map_or(0, |lease| lease.rate().round() as u64)
    }

    /// The number of records that a restart would read again.
    fn replay(&self) -> u64 {
        let each = self.progress.partitions.values();
        each.map(|at| at.next_offset.saturating_sub(at.replay_offset)).sum()
    }

    /// The total lag in records, if it is known of all partitions.
    fn lag(&self) -> Option<u64> {
        self.lag.iter().copied().sum()
    }

    fn lag_text(&self) -> String {
        let known: u64 = self.lag.iter().flatten().sum();
        match self.lag.iter().filter(|lag| lag.is_none()).count() {
            0 => format!("{known} records"),
            unknown => format!("{known} records, and unknown in {unknown} partitions"),
        }
    }

    fn final_through(&self) -> String {
        match self.progress.final_through {
            Through::Nothing => "no epoch yet".into(),
            Through::Everything => "every epoch: the job has finished".into(),
            Through::Epoch(epoch) => {
                let start = self.description.definition.start_rfc3339(epoch);
                format!("through epoch {epoch} ({start})")
            }
        }
    }

    fn open_epochs(&self) -> String {
        let open: Vec<String> = self.progress.digests.keys().map(ToString::to_string).collect();
        if open.is_empty() { "none with rows".into() } else { open.join(", ") }
    }

    fn watermark(&self) -> String {
        self.progress.watermark_ms().map_or("none yet".into(), rfc3339)
    }

    /// The age of the last commit. The clocks of two hosts may differ.
    fn last_commit(&self) -> String {
        match self.lease.as_ref().and_then(Lease::commit_age) {
            Some(age) => format!("{} ago", age_text(age)),
            None => "none yet".into(),
        }
    }

    /// What holds the job; empty if nothing does.
    fn held_by(&self) -> String {
        self.lease.as_ref().and_then(|lease| lease.holder.clone()).unwrap_or_default()
    }

    /// What is, or may be, missing of the logs; empty if nothing is.
    fn missing(&self) -> String {
        Unused::of(&self.totals, &self.progress, |_| true).missing().unwrap_or_default()
    }

    fn definition(&self) -> String {
        let queries: Vec<String> = self.description.tables().map(ToString::to_string).collect();
        format!("{}; queries {}", self.description.definition, queries.join(", "))
    }

    fn table(&self) -> String {
        let progress = &self.progress;
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let lines = [
            ("Store", self.store.clone()),
            ("Definition", self.definition()),
            ("Job", self.job()),
            ("Held by", self.held_by()),
            ("Generation", format!("{}", progress.generation)),
            ("Publications", progress.publication.to_string()),
            ("Last commit", self.last_commit()),
            ("Final", self.final_through()),
            ("Open epochs", self.open_epochs()),
            ("Watermark", self.watermark()),
            ("Events", self.totals.to_string()),
            ("Incomplete", self.missing()),
            ("Rate", format!("{} records/s", HumanCount(self.rate()))),
            ("Lag", self.lag_text()),
            ("Replay", format!("{} records would be read again by a restart", self.replay())),
        ];
        for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
            table.add_row([name, value.as_str()]);
        }
        format!("{table}\n\n{}", self.partitions())
    }

    fn partitions(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::ASCII_NO_BORDERS.row_separator(LineStyle::none()));
        table.set_header([
            "Partition",
            "Next offset",
            "Lag",
            "Replay from",
            "Watermark",
            "Malformed",
            "Idle",
        ]);
        for (at, lag) in self.progress.partitions.values().zip(&self.lag) {
            table.add_row([
                at.partition.to_string(),
                at.next_offset.to_string(),
                lag.map_or("?".into(), |records| records.to_string()),
                at.replay_offset.to_string(),
                at.watermark_ms.map_or("-".into(), rfc3339),
                at.malformed.to_string(),
                if at.idle { "yes".into() } else { String::new() },
            ]);
        }
        for column in [1, 2, 3, 5] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    fn json(&self) -> Value {
        let progress = &self.progress;
        let partitions = progress.partitions.values().zip(&self.lag).map(|(at, lag)| {
            json!({
                "topic": at.partition.kind.topic(),
                "partition": at.partition.name,
                "next_offset": at.next_offset,
                "lag": lag,
                "replay_offset": at.replay_offset,
                "watermark": at.watermark_ms.map(rfc3339),
                "malformed": at.malformed,
                "idle": at.idle,
                "lost": at.lost.as_ref().map(ToString::to_string),
            })
        });
        let process = self.lease.as_ref().map(|lease| &lease.process);
        let commit_age = self.lease.as_ref().and_then(Lease::commit_age);
        json!({
            "store": self.store,
            "state": self.verdict.name(),
            "reason": self.job(),
            "running": self.verdict.is_running(),
            "host": process.map(|process| &process.host),
            "pid": process.map(|process| process.pid),
            "definition": self.definition(),
            "generation": progress.generation,
            "publications": progress.publication,
            "final_through": progress.final_through.last(),
            "finished": progress.final_through == Through::Everything,
            "open_epochs": progress.digests.keys().collect::<Vec<_>>(),
            "watermark": progress.watermark_ms().map(rfc3339),
            "events": {
                "read": self.totals.events,
                "distinct": self.totals.distinct,
                "duplicate": self.totals.duplicate,
                "late": self.totals.late,
                "future": self.totals.future,
                "denied": self.totals.denied,
            },
            "malformed": self.totals.malformed(),
            "rate": self.rate(),
            "behind": self.lag(),
            "lag": self.lag(),
            "last_commit_age_ms": commit_age.map(|age| age.as_millis()),
            "last_commit": self.lease.as_ref().and_then(|lease| lease.committed_ms).map(rfc3339),
            "job": self.job_json(),
            "replay": self.replay(),
            "partitions": partitions.collect::<Vec<_>>(),
        })
    }
}
