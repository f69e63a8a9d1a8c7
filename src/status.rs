//! Tells how a job stands: what its store reflects, how far behind its logs that is, and how much
//! a restart would read again. It disturbs nobody: it takes nothing over and locks nothing.

use crate::arguments::{ArgumentError, StatusArguments, StatusFormat, StorePlace};
use crate::decode::FieldNames;
use crate::kafka::KafkaSettings;
use crate::run::RunError;
use crate::sources::files::FileSource;
use crate::sources::kafka::KafkaSource;
use crate::sources::{Batch, Discovered, Polled, Source};
use crate::stores::description::Description;
use crate::stores::kafka::KafkaStore;
use crate::stores::sqlite::SqliteReader;
use crate::stores::{PartitionProgress, Progress, StoreError, watermark_ms};
use crate::time::{Epoch, format_duration, rfc3339};
use comfy_table::{CellAlignment, LineStyle, Table, presets};
use serde_json::{Value, json};

/// How a job stands.
struct Status {
    store: String,
    description: Description,
    progress: Progress,
    /// For each partition, how many of its records the store does not reflect, as far as that can
    /// be found out.
    behind: Vec<Option<u64>>,
}

/// The text that tells how a job stands.
///
/// # Errors
/// When the store is not there or cannot be read. A log that cannot be read leaves its lag open.
pub fn status(arguments: &StatusArguments) -> Result<String, RunError> {
    let servers = arguments.bootstrap_servers.as_deref();
    let kafka = servers
        .map(|servers| KafkaSettings::given(servers, &arguments.kafka))
        .transpose()
        .map_err(ArgumentError::from)?;
    let place = StorePlace::of(&arguments.store)?;
    let (description, mut progress) = read(&place, kafka.as_ref())?;
    progress.partitions.sort_by(|one, other| one.partition.cmp(&other.partition));
    let behind = progress.partitions.iter().map(|at| behind(at, kafka.as_ref())).collect();
    let status = Status { store: place.to_string(), description, progress, behind };
    Ok(match arguments.format {
        StatusFormat::Table => status.table(),
        StatusFormat::Json => status.json().to_string(),
    })
}

fn read(
    place: &StorePlace,
    kafka: Option<&KafkaSettings>,
) -> Result<(Description, Progress), RunError> {
    match place {
        StorePlace::Sqlite(path) => {
            let reader = SqliteReader::open(path)?;
            Ok((reader.description().clone(), reader.progress()?))
        }
        StorePlace::Kafka { topic } => {
            let missing = ArgumentError::Missing("give --bootstrap-servers");
            let stored = KafkaStore::read_progress(kafka.ok_or(missing)?, topic)?;
            let absent = || StoreError::NotFound(place.to_string().into());
            let stored = stored.ok_or_else(absent)?;
            Ok((stored.description, stored.progress))
        }
    }
}

/// How many records a partition has after what the store reflects. A file is read for that from
/// there to its end.
fn behind(at: &PartitionProgress, kafka: Option<&KafkaSettings>) -> Option<u64> {
    let name = &at.partition;
    let end = if KafkaSource::holds(name) {
        let source = KafkaSource::new(kafka?.clone(), vec![], FieldNames::default(), false);
        source.end_offset(name)
    } else {
        let files = FileSource::new(vec![], FieldNames::default(), false);
        let partition = Discovered { name: name.clone(), size_bytes: 0, end_offset: None };
        files.open(&partition, Some(at.next_offset)).and_then(|mut reader| {
            const RECORDS_MAX: usize = 4_096;
            let mut batch = Batch::default();
            while reader.poll(&mut batch, RECORDS_MAX)? == Polled::More {
                batch.clear();
            }
            Ok(batch.next_offset)
        })
    };
    match end {
        Ok(end) => Some(end.saturating_sub(at.next_offset)),
        Err(error) => {
            tracing::warn!("{error}");
            None
        }
    }
}

impl Status {
    /// How many records a restart would read again.
    fn replay(&self) -> u64 {
        let each = self.progress.partitions.iter();
        each.map(|at| at.next_offset.saturating_sub(at.replay_offset)).sum()
    }

    /// How many records the store does not reflect, of the partitions where that is known.
    fn behind(&self) -> u64 {
        self.behind.iter().flatten().sum()
    }

    fn final_through(&self) -> String {
        match self.progress.final_through {
            None => "no epoch yet".into(),
            Some(Epoch(i64::MAX)) => "every epoch: the run has ended".into(),
            Some(epoch) => {
                let start = self.description.definition.start_rfc3339(epoch);
                format!("through epoch {} ({start})", epoch.0)
            }
        }
    }

    fn open_epochs(&self) -> String {
        let open: Vec<String> =
            self.progress.digests.keys().map(|epoch| epoch.0.to_string()).collect();
        if open.is_empty() { "none with rows".into() } else { open.join(", ") }
    }

    fn watermark(&self) -> String {
        watermark_ms(&self.progress.partitions).map_or("none yet".into(), rfc3339)
    }

    fn definition(&self) -> String {
        let definition = &self.description.definition;
        let queries = self.description.queries.iter();
        let queries: Vec<String> =
            queries.map(|query| format!("{} {}", query.name, query.version)).collect();
        format!(
            "epoch-length {}, join-window {}, max-delay {}, max-future {}; queries {}",
            format_duration(definition.epoch_length_ms),
            definition.join_window_epochs,
            format_duration(definition.max_delay_ms),
            format_duration(definition.max_future_ms),
            queries.join(", ")
        )
    }

    fn table(&self) -> String {
        let progress = &self.progress;
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let lines = [
            ("Store", self.store.clone()),
            ("Definition", self.definition()),
            ("Generation", format!("{}", progress.generation)),
            ("Publications", format!("{}", progress.publications)),
            ("Final", self.final_through()),
            ("Open epochs", self.open_epochs()),
            ("Watermark", self.watermark()),
            ("Behind", format!("{} records", self.behind())),
            ("Replay", format!("{} records would be read again by a restart", self.replay())),
        ];
        for (name, value) in lines {
            table.add_row([name, &value]);
        }
        format!("{table}\n\n{}", self.partitions())
    }

    fn partitions(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::ASCII_NO_BORDERS.row_separator(LineStyle::none()));
        table.set_header([
            "Partition",
            "Next offset",
            "Behind",
            "Replay from",
            "Watermark",
            "Malformed",
            "Idle",
        ]);
        for (at, behind) in self.progress.partitions.iter().zip(&self.behind) {
            table.add_row([
                at.partition.to_string(),
                at.next_offset.to_string(),
                behind.map_or("?".into(), |records| records.to_string()),
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
        let partitions = progress.partitions.iter().zip(&self.behind).map(|(at, behind)| {
            json!({
                "topic": at.partition.kind.topic(),
                "partition": at.partition.name,
                "next_offset": at.next_offset,
                "behind": behind,
                "replay_offset": at.replay_offset,
                "watermark": at.watermark_ms.map(rfc3339),
                "malformed": at.malformed,
                "idle": at.idle,
            })
        });
        json!({
            "store": self.store,
            "definition": self.definition(),
            "generation": progress.generation,
            "publications": progress.publications,
            "final_through": progress.final_through.map(|epoch| epoch.0),
            "open_epochs": progress.digests.keys().map(|epoch| epoch.0).collect::<Vec<_>>(),
            "watermark": watermark_ms(&progress.partitions).map(rfc3339),
            "behind": self.behind(),
            "replay": self.replay(),
            "partitions": partitions.collect::<Vec<_>>(),
        })
    }
}
