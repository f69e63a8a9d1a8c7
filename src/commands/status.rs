//! `trendmark status`: the job and the progress of a store, its lag behind the logs, and how many
//! records a restart would replay. It only reads: it takes nothing over and locks nothing.

use super::kafka::EndOffsets;
use super::run::RunError;
use super::store::{self, OpenStore};
use super::totals::{Totals, Unused};
use super::watch::age_text;
use crate::arguments::{StatusArguments, StatusFormat};
use crate::decode::LogFields;
use crate::kafka::parse_partition;
use crate::log::PartitionProgress;
use crate::sources::files::FileSource;
use crate::sources::{Batch, Discovered, Polled, Source, SourceError};
use crate::stores::Progress;
use crate::stores::description::Description;
use crate::stores::lease::{EXPIRY, Lease};
use crate::time::{Through, rfc3339};
use comfy_table::{CellAlignment, LineStyle, Table, presets};
use serde_json::{Value, json};
use std::path::Path;

/// The status of a job.
struct Status {
    store: String,
    description: Description,
    progress: Progress,
    lease: Option<Lease>,
    totals: Totals,
    /// The lag of each partition: the number of records that the store does not reflect; `None` if
    /// it is unknown.
    lag: Vec<Option<u64>>,
}

/// Returns the status of a job as text.
///
/// # Errors
/// When the store does not exist or cannot be read. The lag of an unreadable log is unknown.
pub fn status(arguments: &StatusArguments) -> Result<String, RunError> {
    let OpenStore { location, reader, kafka } = store::open(&arguments.store)?;
    let (description, progress) = (reader.description().clone(), reader.progress()?);
    let mut ends = kafka.as_ref().map(EndOffsets::new);
    let lag = progress.partitions.values().map(|at| lag(at, ends.as_mut())).collect();
    let (store, totals) = (location.to_string(), Totals::of(reader.as_ref(), &progress)?);
    let lease = reader.lease()?;
    let status = Status { store, description, progress, lease, totals, lag };
    Ok(match arguments.format {
        StatusFormat::Table => status.table(),
        StatusFormat::Json => status.json().to_string(),
    })
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

/// Describes the job that has the store, or the last one that had it.
fn job(lease: &Lease) -> String {
    let ago = |age| format!("{} ago", age_text(age));
    match lease.state {
        ended if ended.is_over() => format!("{}, {}: {lease}", ended.name(), ago(lease.age())),
        _ if lease.process.is_gone() => {
            format!("died, last sign of life {}: {lease}", ago(lease.age()))
        }
        _ if lease.age() > EXPIRY => format!("no sign of life since {}: {lease}", ago(lease.age())),
        state => format!("{}: {lease}", state.name()),
    }
}

fn job_json(lease: &Lease) -> Value {
    json!({
        "state": lease.state.name(),
        // Not on a clock alone: a process of this machine that has died is seen at once.
        "alive": !lease.is_over() && lease.age() <= EXPIRY,
        "host": lease.process.host,
        "pid": lease.process.pid,
        "generation": lease.generation,
        "since": rfc3339(lease.since_ms),
        "renewed": rfc3339(lease.renewed_ms),
        "held_by": lease.holder,
    })
}

impl Status {
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
            ("Job", self.lease.as_ref().map_or("none yet".into(), job)),
            ("Held by", self.held_by()),
            ("Generation", format!("{}", progress.generation)),
            ("Publications", progress.publication.to_string()),
            ("Last commit", self.last_commit()),
            ("Final", self.final_through()),
            ("Open epochs", self.open_epochs()),
            ("Watermark", self.watermark()),
            ("Events", self.totals.to_string()),
            ("Incomplete", self.missing()),
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
        json!({
            "store": self.store,
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
            "lag": self.lag(),
            "last_commit": self.lease.as_ref().and_then(|lease| lease.committed_ms).map(rfc3339),
            "job": self.lease.as_ref().map(job_json),
            "replay": self.replay(),
            "partitions": partitions.collect::<Vec<_>>(),
        })
    }
}
