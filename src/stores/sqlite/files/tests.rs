//! Tests of the files of a store: how large the WAL becomes, and what happens when files are
//! deleted, moved, replaced or linked.

use super::fixtures::{CommitNext, create, folder, publication, queries, trend};
use super::*;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

/// A store whose WAL is copied at 1 MiB, and whose commits wait for readers at 4 MiB.
fn create_with_a_small_wal(path: &Path) -> SqliteStore {
    let mut store = create(path);
    store.connection.pragma_update(None, "wal_autocheckpoint", 128).unwrap();
    store.wal.wait_bytes = 4 << 20;
    store
}

/// The WAL is bounded while readers come and go, also if they leave no moment without one.
#[test]
fn the_wal_stays_small_while_readers_come_and_go() {
    let (folder, path) = folder();
    let wal = folder.path().join("trends.db-wal");
    let mut store = create_with_a_small_wal(&path);
    let is_over = AtomicBool::new(false);
    let mut largest = 0;
    std::thread::scope(|scope| {
        for number in 0..3 {
            let (is_over, path) = (&is_over, &path);
            scope.spawn(move || {
                let reader = Connection::open(path).unwrap();
                while !is_over.load(Ordering::Relaxed) {
                    reader.execute_batch("BEGIN; SELECT count(*) FROM epochs").unwrap();
                    std::thread::sleep(Duration::from_millis(20 + number));
                    reader.execute_batch("COMMIT").unwrap();
                }
            });
        }
        for round in 0..40 {
            store.wal.forget_waiting();
            let rows = (0..2_000).map(|id: u64| trend(id * 977 % 20_011, 5, round, 9));
            store.commit_next(&publication(rows.collect())).unwrap();
            largest = largest.max(fs::metadata(&wal).unwrap().len());
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(largest < 8 << 20, "{} KiB", largest >> 10);
}

#[test]
fn a_reader_that_never_ends_lets_the_wal_grow_and_commits_go_on() {
    let (folder, path) = folder();
    let mut store = create_with_a_small_wal(&path);
    store.commit_next(&publication(vec![trend(1, 5, 0, 1)])).unwrap();
    let reader = Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM trends").unwrap();
    let bytes = || fs::metadata(folder.path().join("trends.db-wal")).unwrap().len();
    let mut round = 0;
    while bytes() < 8 << 20 {
        round += 1;
        let rows = (0..5_000).map(|id: u64| trend(id * 977 % 20_011, 5, round, 9)).collect();
        store.commit_next(&publication(rows)).unwrap();
    }
    assert!(store.wal.has_warned());
    let count = "SELECT count(*) FROM trends";
    let seen: i64 = reader.query_row(count, [], |row| row.get(0)).unwrap();
    assert_eq!(seen, 1, "the reader sees what was there when it began");
    reader.execute_batch("COMMIT").unwrap();
    store.wal.forget_waiting();
    store.commit_next(&publication(vec![trend(1, 5, 0, 2)])).unwrap();
    assert_eq!(bytes(), 0, "emptied once the reader has ended");
}

/// The store loses its file while a job has it open. Nothing is committed into a file that nobody
/// can find again.
#[test]
#[cfg(unix)]
fn a_store_that_is_deleted_moved_or_replaced_ends_the_job() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage); 5] = [
        ("trends.db` was deleted or moved", |path| fs::remove_file(path).unwrap()),
        ("trends.db` was deleted or moved", |path| {
            fs::rename(path, path.with_extension("away")).unwrap();
        }),
        ("trends.db` was replaced", |path| {
            fs::copy(path, path.with_extension("new")).unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        }),
        ("trends.db-wal` was deleted", |path| fs::remove_file(wal::beside(path, "-wal")).unwrap()),
        ("trends.db` was deleted", |path| fs::remove_dir_all(path.parent().unwrap()).unwrap()),
    ];
    for (said, damage) in cases {
        for by_commit in [true, false] {
            let (_folder, path) = folder();
            let mut store = create(&path);
            store.commit_next(&publication(vec![trend(1, 5, 0, 1)])).unwrap();
            damage(&path.canonicalize().unwrap());
            let failed = match by_commit {
                true => store.commit_next(&publication(vec![trend(2, 5, 0, 1)])),
                false => store.renew(None),
            };
            let error = failed.unwrap_err();
            assert!(matches!(error, StoreError::FileLost { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains(said) && text.contains("publications up to 1"), "{text}");
        }
    }
}

#[test]
#[cfg(unix)]
fn a_store_with_a_second_name_is_refused_and_a_name_that_it_gets_later_ends_no_job() {
    let (folder, path) = folder();
    let mut store = create(&path);
    let other = folder.path().join("other.db");
    fs::hard_link(&path, &other).unwrap();
    store.commit_next(&publication(vec![trend(1, 5, 0, 1)])).unwrap();
    drop(store);
    for name in [&path, &other] {
        let claim = Claim::default();
        let opened = SqliteStore::open(name, &Definition::default(), &queries(), &claim);
        let error = opened.map(|_| ()).unwrap_err();
        assert!(matches!(error, StoreError::HardLinked { links: 2, .. }), "{error}");
    }
    fs::remove_file(&other).unwrap();
    drop(create(&path));
}

#[test]
fn a_lock_file_that_a_kill_left_behind_locks_nothing() {
    let (folder, path) = folder();
    fs::write(folder.path().join("trends.db.lock"), "4711\n").unwrap();
    drop(create(&path));
    assert!(!folder.path().join("trends.db.lock").exists());
}
