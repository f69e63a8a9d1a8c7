//! Measures how long commits take. Run by hand.

use super::fixtures::{CommitNext, create, folder, publication, queries, request, trend};
use super::*;

/// 30,000 rows of four epochs with 50,000 videos each, in an order unrelated to the key.
fn videos(round: u64) -> impl Iterator<Item = RowChange> {
    (0..30_000).map(move |row: u64| {
        let mixed = (row + round * 30_000).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        trend((mixed >> 20) % 50_000, ((mixed >> 10) % 4) as i64, mixed % 100, row)
    })
}

/// `cargo test --release --lib stores::sqlite -- --ignored --nocapture`; `TMPDIR` selects the disk.
#[test]
#[ignore = "a measurement"]
fn measure_commits() {
    let (_folder, path) = folder();
    let mut store = create(&path);
    let time = |store: &mut SqliteStore, name: &str, rows: Vec<RowChange>| {
        let (count, started) = (rows.len(), Instant::now());
        store.commit_next(&publication(rows)).unwrap();
        let ms = started.elapsed().as_secs_f64() * 1e3;
        println!("{name}: {count} rows in {ms:.1} ms, {:.0} rows/s", count as f64 / ms * 1e3);
    };
    for round in 0..20 {
        let mut rows: Vec<_> = videos(round).collect();
        rows.sort_by_key(|change| (change.row.epoch, change.row.key.clone()));
        rows.dedup_by_key(|change| (change.row.epoch, change.row.key.clone()));
        rows.sort_by_key(|change| change.row.values[1]);
        time(&mut store, "trends", rows);
    }
    let requests = |first: u64, count: u64| {
        (first..first + count).map(move |number| {
            let id = crate::event::RequestId::from_u128(u128::from(number) << 64).0;
            let id = crate::event::RequestId(id).to_string();
            request(&id, number % 999, 7, false)
        })
    };
    time(&mut store, "requests, all at once", requests(0, 1_000_000).collect());
    for round in 0..10 {
        let first = 1_000_000 + round * 100_000;
        time(&mut store, "requests, more of the epoch", requests(first, 100_000).collect());
    }
    let started = Instant::now();
    drop(store);
    println!("close: {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
}

/// The size of the WAL in MiB after publications of 30,000 rows each, without a reader, with a
/// reader that begins anew from time to time, and with one that never ends.
#[test]
#[ignore = "a measurement"]
fn measure_the_wal() {
    for readers in ["none", "short ones, overlapping", "a long one"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trends.db");
        let claim = Claim::default();
        let mut store =
            SqliteStore::open(&path, &Definition::default(), &queries(), &claim).unwrap();
        let begin = || {
            let reader = Connection::open(&path).unwrap();
            reader.execute_batch("BEGIN; SELECT count(*) FROM epochs").unwrap();
            reader
        };
        let mut open = (readers != "none").then(begin);
        let (mut sizes, started) = (Vec::new(), Instant::now());
        for round in 0..40 {
            store.commit_next(&publication(videos(round).collect())).unwrap();
            let wal = std::fs::metadata(folder.path().join("trends.db-wal")).unwrap().len();
            sizes.push(wal >> 20);
            if readers.starts_with("short") {
                open = Some(begin());
            }
        }
        drop(open);
        let seconds = started.elapsed().as_secs_f64();
        println!("readers: {readers}: {seconds:.1} s, WAL in MiB: {sizes:?}");
    }
}
