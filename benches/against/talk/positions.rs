//! The offsets of a worker's partitions after each batch, which a restart needs: the place of the
//! offsets that a job with Spark's direct stream stores after each batch.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The offsets of the partitions that a worker reads, after a batch.
pub type Offsets = Vec<u64>;

fn path(folder: &Path, worker: usize) -> PathBuf {
    folder.join(format!("offsets-{worker}"))
}

/// Appends the offsets after a batch.
pub fn store(folder: &Path, worker: usize, batch: u64, offsets: &Offsets) {
    let numbers: Vec<String> = offsets.iter().map(u64::to_string).collect();
    let mut file = OpenOptions::new().create(true).append(true).open(path(folder, worker)).unwrap();
    // In one piece, so that no kill leaves a part of a line.
    file.write_all(format!("{batch} {}\n", numbers.join(" ")).as_bytes()).unwrap();
}

/// The batches with their offsets, the last at the end.
fn stored(folder: &Path, worker: usize) -> Vec<(u64, Offsets)> {
    let text = std::fs::read_to_string(path(folder, worker)).unwrap_or_default();
    let line = |line: &str| {
        let mut numbers = line.split(' ').map(|number| number.parse::<u64>().unwrap());
        (numbers.next().unwrap(), numbers.collect())
    };
    text.lines().map(line).collect()
}

/// The last batch after which every worker has stored its offsets.
pub fn last_batch(folder: &Path, workers: usize) -> Option<u64> {
    let last = |worker| stored(folder, worker).last().map(|(batch, _)| *batch);
    (0..workers).map(last).min().flatten()
}

/// The offsets after a batch; those of the start if there was none.
pub fn after(folder: &Path, worker: usize, batch: Option<u64>) -> Option<Offsets> {
    let batch = batch?;
    stored(folder, worker)
        .into_iter()
        .find(|(stored, _)| *stored == batch)
        .map(|(_, offsets)| offsets)
}
