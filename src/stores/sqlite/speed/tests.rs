//! Measures how long commits take. Run by hand.

use super::fixtures::{CommitNext, publication, queries, request, trend};
use super::*;

/// `cargo test --release --lib stores::sqlite -- --ignored --nocapture`; `TMPDIR` selects the disk.
#[test]
#[ignore = "a measurement"]
fn measure_commits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trends.db");
    let mut store =
        SqliteStore::open(&path, &Definition::default(), &queries(), &Claim::default()).unwrap();
    let time = |store: &mut SqliteStore, name: &str, rows: Vec<RowChange>| {
        let (count, started) = (rows.len(), Instant::now());
        store.commit_next(&publication(rows)).unwrap();
        let ms = started.elapsed().as_secs_f64() * 1e3;
        println!("{name}: {count} rows in {ms:.1} ms, {:.0} rows/s", count as f64 / ms * 1e3);
    };
    // 30,000 rows of four epochs with 50,000 videos each, in an order unrelated to the key.
    let videos = |round: u64| {
        (0..30_000).map(move |row: u64| {
            let mixed = (row + round * 30_000).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            trend((mixed >> 20) % 50_000, ((mixed >> 10) % 4) as i64, mixed % 100, row)
        })
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
