//! Does memory stay flat while event time passes?
//!
//! A generated log of 72 hours at a constant rate is read from files, while the lowest watermark in
//! the store and the resident memory are sampled every 5 ms. After the first hours, as many epochs
//! close as open: memory must not grow, and live dataflows must not exceed their bound.
//!
//! `cargo bench --bench state -- [--impressions N]`

mod common;

use common::{parameter, resident_mib, run, settings};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use trendmark::decode::LogFields;
use trendmark::engine::{Cluster, Counters};
use trendmark::event::Kind;
use trendmark::generate::{GenerateArguments, LogFormat, Model, generate};
use trendmark::sources::files::FileSource;
use trendmark::stores::Claim;
use trendmark::stores::sqlite::SqliteStore;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HOUR_MS: i64 = 3_600_000;
const HOURS: i64 = 72;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let model = Model {
        impressions: parameter("--impressions", 30_000_000, 200_000),
        duration_ms: HOURS * HOUR_MS,
        ..Model::default()
    };
    let out = folder.path().to_path_buf();
    let arguments = GenerateArguments::to_folder(out, LogFormat::Parquet, model.clone());
    generate(&arguments).unwrap();
    let pattern = |name| folder.path().join(name).to_string_lossy().into_owned();
    let paths = vec![
        (Kind::Impression, pattern("impressions-*.parquet")),
        (Kind::Play, pattern("plays-*.parquet")),
    ];
    let source = FileSource::new(paths, LogFields::default(), false);
    let path = folder.path().join("state.db");
    let mut settings = settings();
    let store =
        SqliteStore::open(&path, &settings.definition, &settings.queries, &Claim::default())
            .unwrap();
    settings.publish_interval = Duration::from_millis(50);
    let bound = settings.definition.open_epochs_max(settings.alignment_ms);
    let ended = AtomicBool::new(false);
    let (summary, memory_mib) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| sample(&path, model.start_ms, &ended));
        let counters = Arc::new(Counters::default());
        let summary = run(&Cluster::threads(2), settings, &source, counters, Box::new(store));
        ended.store(true, Ordering::Relaxed);
        (summary, sampler.join().unwrap())
    });
    println!("live dataflows of epochs: at most {}, bound {bound}", summary.live_epochs_max);
    assert!(summary.live_epochs_max <= bound);
    for (hour, mib) in &memory_mib {
        println!("hour {hour:2}: {mib} MiB");
    }
    let within = |from, to| memory_mib.range(from..to).map(|(_, mib)| *mib).max();
    println!(
        "peak memory in hours 6 to 24: {:?} MiB; 24 to 48: {:?} MiB; 48 to 72: {:?} MiB",
        within(6, 24).unwrap_or(0),
        within(24, 48).unwrap_or(0),
        within(48, 72).unwrap_or(0)
    );
}

/// The peak resident memory in MiB in each hour of event time, by the lowest watermark.
fn sample(store: &Path, start_ms: i64, ended: &AtomicBool) -> BTreeMap<i64, u64> {
    let connection = rusqlite::Connection::open(store).unwrap();
    let mut memory_mib = BTreeMap::new();
    while !ended.load(Ordering::Relaxed) {
        let least = "SELECT min(watermark_ms) FROM partitions";
        let watermark_ms = connection.query_row(least, [], |row| row.get::<_, Option<i64>>(0));
        if let Ok(Some(watermark_ms)) = watermark_ms {
            let hour = (watermark_ms - start_ms).div_euclid(HOUR_MS);
            let most = memory_mib.entry(hour).or_default();
            *most = resident_mib().max(*most);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    memory_mib
}
