//! Tests that exactly the committed data is read back, by trendmark and by other programs.

use super::fixtures::{
    CommitNext, DISTINCT, REQUESTS, TRENDS, create, deleted, distinct, folder, instances, ledger,
    progress, publication, queries, request, through, trend,
};
use super::*;
use crate::acceptance::Fate;
use crate::event::{Kind, VideoId};
use crate::query::{Digest, Digests, Query};
use crate::stores::StoredRow;
use crate::time::Publication;
use std::fs;
use std::ops::ControlFlow;
use std::sync::Arc;

const UUID: &str = "0123abcd-4567-89ab-cdef-0123456789ab";

fn refusal(path: &Path, definition: &Definition, queries: &[QueryInstance]) -> StoreError {
    match SqliteStore::open(path, definition, queries, &Claim::default()) {
        Ok(_) => panic!("{} was not refused", path.display()),
        Err(error) => error,
    }
}

/// Reads rows like the program `sqlite3`: one line per row, with `|` between columns.
fn select(path: &Path, statement: &str) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare(statement).unwrap();
    let columns = statement.column_count();
    let line = |row: &rusqlite::Row<'_>| {
        let text = |column| match row.get(column)? {
            rusqlite::types::Value::Null => Ok("NULL".to_owned()),
            rusqlite::types::Value::Integer(integer) => Ok(integer.to_string()),
            rusqlite::types::Value::Text(text) => Ok(text),
            other => Ok(format!("{other:?}")),
        };
        (0..columns).map(text).collect::<rusqlite::Result<Vec<_>>>().map(|row| row.join("|"))
    };
    let rows = statement.query_map([], line).unwrap();
    rows.collect::<rusqlite::Result<_>>().unwrap()
}

fn scan(path: &Path, query: &str, selection: &Selection, order: RowOrder) -> Vec<StoredRow> {
    let reader = SqliteReader::open(path).unwrap();
    let mut rows = Vec::new();
    let query = reader.description().table(query).unwrap();
    let mut collect = |row: &StoredRow| {
        rows.push(row.clone());
        ControlFlow::Continue(())
    };
    reader.visit(query, selection, order, &mut collect).unwrap();
    assert_eq!(reader.count(query, selection).unwrap(), rows.len() as u64);
    rows
}

/// A job reads its history by its own numbers of the queries.
#[test]
fn the_queries_may_be_named_in_another_order() {
    let (_folder, path) = folder();
    let mut store = create(&path);
    store.commit_next(&publication(vec![trend(7, 1, 2, 3)])).unwrap();
    drop(store);
    let other = instances(&[&DISTINCT, &REQUESTS, &TRENDS]);
    let store =
        SqliteStore::open(&path, &Definition::default(), &other, &Claim::default()).unwrap();
    let history = store.reader().unwrap().history(&[2], EpochRange::ALL).unwrap();
    assert_eq!(history, [RowChange { query: 2, ..trend(7, 1, 2, 3) }]);
}

/// The values of a row of `trends`.
fn values(stored: &StoredRow) -> [Value; 3] {
    TRENDS.values_of(&stored.row)[..].try_into().unwrap()
}

#[test]
fn the_trends_view_has_the_documented_columns() {
    let (_folder, path) = folder();
    let mut store = create(&path);
    let rows = vec![trend(7, 981_793, 2, 9), trend(7, -1, 0, 1), trend(8, 981_793, 1, 1)];
    let final_through = through(0);
    store.commit_next(&Changeset { final_through, ..publication(rows) }).unwrap();
    let statement = "SELECT * FROM trends ORDER BY epoch, video_id";
    let expected = [
        "7|-1|1969-12-31T23:30:00Z|0|1|1|NULL|NULL|NULL",
        "7|981793|2026-01-01T00:30:00Z|2|9|0|NULL|NULL|NULL",
        "8|981793|2026-01-01T00:30:00Z|1|1|0|NULL|NULL|NULL",
    ];
    assert_eq!(select(&path, statement), expected);
    let names = "SELECT group_concat(name) FROM pragma_table_info('trends')";
    let expected = "video_id,epoch,epoch_start,plays,impressions,final,title,genre,launched_at";
    assert_eq!(select(&path, names), [expected]);
}

#[test]
fn video_ids_beyond_the_signed_range_are_right_when_read() {
    let (_folder, path) = folder();
    let mut store = create(&path);
    let ids = [u64::MAX, 10_000_000_000_000_000_000, 1 << 63, (1 << 63) - 1, 10, 9, 0];
    store.commit_next(&publication(ids.iter().map(|id| trend(*id, 1, 0, 1)).collect())).unwrap();
    let rows = scan(&path, "trends", &Selection::default(), RowOrder::Key);
    let mut expected = ids.map(|id| Value::Video(VideoId(id)));
    expected.reverse();
    assert_eq!(rows.iter().map(|row| values(row)[0]).collect::<Vec<_>>(), expected);
    let one = |condition: &str| {
        select(&path, &format!("SELECT video_id FROM trends WHERE video_id = {condition}"))
    };
    assert_eq!(one("9"), ["9"]);
    assert_eq!(one("'18446744073709551615'"), ["18446744073709551615"]);
    assert_eq!(one("'9223372036854775808'"), ["9223372036854775808"]);
    for id in ids {
        let selection = Selection { video: Some(VideoId(id)), ..Selection::default() };
        assert_eq!(scan(&path, "trends", &selection, RowOrder::Key).len(), 1, "video {id}");
    }
}

#[test]
fn a_later_row_replaces_an_earlier_one_and_a_deleted_one_is_gone() {
    let (_folder, path) = folder();
    let mut store = create(&path);
    let rows = vec![trend(1, 5, 0, 1), trend(2, 5, 0, 1), request(UUID, 1, 5, false)];
    store.commit_next(&publication(rows)).unwrap();
    let rows = vec![trend(1, 5, 1, 2), deleted(trend(2, 5, 0, 0)), request(UUID, 1, 5, true)];
    store.commit_next(&publication(rows)).unwrap();
    assert_eq!(select(&path, "SELECT video_id, plays, impressions FROM trends"), ["1|1|2"]);
    assert_eq!(select(&path, "SELECT played, publication FROM requests"), ["1|2"]);
}

#[test]
fn requests_are_shown_as_uuids_and_filtered_by_publication() {
    let (_folder, path) = folder();
    let mut store = create(&path);
    store.commit_next(&publication(vec![request(UUID, 1, 5, false)])).unwrap();
    let second = "ffffffff-ffff-ffff-ffff-ffffffffffff";
    store.commit_next(&publication(vec![request(second, u64::MAX, 5, true)])).unwrap();
    let first = format!("{UUID}|5|1970-01-01T02:30:00Z|1|0|0|1");
    let second = format!("{second}|5|1970-01-01T02:30:00Z|18446744073709551615|1|0|2");
    assert_eq!(select(&path, "SELECT * FROM requests"), [first, second.clone()]);
    assert_eq!(select(&path, "SELECT * FROM requests WHERE publication > 1"), [second]);
    let selection = Selection { since: Some(Publication(1)), ..Selection::default() };
    let rows = scan(&path, "requests", &selection, RowOrder::Key);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].publication, Publication(2));
}

#[test]
fn the_events_of_the_ledger_are_the_sum_of_the_others() {
    let (_folder, path) = folder();
    let mut store = create(&path);
    let commit = |store: &mut SqliteStore, ledger, rows| {
        store.commit_next(&Changeset { ledger, ..publication(rows) }).unwrap();
    };
    let rows = vec![distinct(Kind::Impression, 5, 3)];
    commit(&mut store, ledger(5, Kind::Impression, 4, 2, 1), rows);
    let rows = vec![distinct(Kind::Impression, 5, 5)];
    commit(&mut store, ledger(5, Kind::Impression, 3, 1, 0), rows);
    commit(&mut store, ledger(3, Kind::Play, 0, 1, 0), vec![]);
    for _ in 0..2 {
        let mut distant = Ledger::default();
        distant.record(None, Kind::Play, Fate::Late, 2);
        commit(&mut store, distant, vec![]);
    }
    assert_eq!(
        select(&path, "SELECT * FROM ledger ORDER BY epoch"),
        ["NULL|play|4|0|0|4|0|0", "3|play|1|0|0|1|0|0", "5|impression|11|5|2|3|1|0"]
    );
    assert_eq!(store.ledger().unwrap()[0].key, LedgerKey { epoch: None, kind: Kind::Play });
    assert_eq!(select(&path, "SELECT count(*) FROM epochs"), ["2"]);
    let wrong = "SELECT count(*) FROM ledger WHERE events != distinct_events + duplicate_events \
                 + late_events + future_events";
    assert_eq!(select(&path, wrong), ["0"]);
}

#[test]
fn partitions_keep_their_last_position_and_all_their_malformed_records() {
    let (_folder, path) = folder();
    let mut store = create(&path);
    for (next_offset, malformed) in [(10, 1), (30, 2)] {
        let partitions = vec![progress("0", next_offset, malformed)];
        store.commit_next(&Changeset { partitions, ..Changeset::default() }).unwrap();
    }
    let statement = "SELECT topic, partition, next_offset, watermark, watermark_ms, replay_offset, \
                     replay_watermark_ms, malformed, idle FROM partitions";
    let expected = "plays|0|30|2026-01-01T00:00:00.5Z|1767225600500|15|NULL|3|0";
    assert_eq!(select(&path, statement), [expected]);
}

#[test]
fn epochs_are_final_up_to_the_last_final_one_whenever_they_are_first_seen() {
    let (_folder, path) = folder();
    let mut store = create(&path);
    store.commit_next(&publication(vec![trend(1, 4, 0, 1), trend(1, 5, 0, 1)])).unwrap();
    let finals = || select(&path, "SELECT epoch, final FROM epochs");
    assert_eq!(finals(), ["4|0", "5|0"]);
    let final_through = through(4);
    store.commit_next(&Changeset { final_through, ..Changeset::default() }).unwrap();
    assert_eq!(finals(), ["4|1", "5|0"]);
    let ledger = ledger(2, Kind::Play, 0, 1, 0);
    store.commit_next(&Changeset { ledger, ..Changeset::default() }).unwrap();
    assert_eq!(finals(), ["2|1", "4|1", "5|0"]);
    let final_through = Through::Everything;
    store.commit_next(&Changeset { final_through, ..Changeset::default() }).unwrap();
    assert_eq!(finals(), ["2|1", "4|1", "5|1"]);
    let reader = SqliteReader::open(&path).unwrap();
    let progress = reader.progress().unwrap();
    assert_eq!(progress.final_through, final_through);
    assert_eq!(progress.publication, Publication(4));
    let written = select(&path, "SELECT final_through, finished FROM job");
    assert_eq!(written, ["4|1"], "`final_through` stays when every epoch becomes final");
}

#[test]
fn a_publication_that_cannot_be_written_changes_nothing() {
    let (_folder, path) = folder();
    let mut store = create(&path);
    store.commit_next(&publication(vec![trend(1, 5, 0, 1)])).unwrap();
    let rows = vec![trend(1, 5, 9, 9), trend(2, 6, 9, 9)];
    let partitions = vec![progress("0", u64::MAX, 0)];
    let ledger = ledger(6, Kind::Play, 1, 0, 0);
    let failed = store.commit_next(&Changeset { partitions, ledger, ..publication(rows) });
    assert!(matches!(failed, Err(StoreError::Database { .. })), "{failed:?}");
    assert_eq!(select(&path, "SELECT video_id, epoch, impressions FROM trends"), ["1|5|1"]);
    assert!(select(&path, "SELECT * FROM ledger").is_empty());
    store.commit_next(&publication(vec![trend(1, 5, 1, 1)])).unwrap();
    assert_eq!(select(&path, "SELECT publications FROM job"), ["2"]);
}

#[test]
fn a_full_disk_ends_the_run_and_keeps_what_was_committed() {
    let (_folder, path) = folder();
    let mut store = create(&path);
    store.commit_next(&publication(vec![trend(1, 5, 0, 1)])).unwrap();
    store.connection.pragma_update(None, "max_page_count", 40).unwrap();
    let failed =
        store.commit_next(&publication((0..100_000).map(|id| trend(id, 5, 9, 9)).collect()));
    let message = failed.unwrap_err().to_string();
    assert!(message.contains("trends.db`: database or disk is full"), "{message}");
    assert_eq!(select(&path, "SELECT video_id, plays FROM trends"), ["1|0"]);
}

#[test]
fn commits_survive_a_kill() {
    let (folder, path) = folder();
    let mut store = create(&path);
    store.commit_next(&publication(vec![trend(1, 5, 0, 1)])).unwrap();
    let begun = store.begin().unwrap();
    let rows = publication((0..100).map(|id| trend(id, 5, 9, 9)).collect());
    let rows = Changeset { publication: Publication(2), ..rows };
    let mut next = store.progress.clone();
    next.apply(&rows);
    store.write(&begun, &rows, &next, &store.lease).unwrap();
    // A kill would leave the database and its WAL as they are now.
    let copy = folder.path().join("copy.db");
    fs::copy(&path, &copy).unwrap();
    fs::copy(folder.path().join("trends.db-wal"), folder.path().join("copy.db-wal")).unwrap();
    assert_eq!(scan(&copy, "trends", &Selection::default(), RowOrder::Key).len(), 1);
}

#[test]
fn a_store_is_read_while_it_is_written() {
    let (_folder, path) = folder();
    let mut store = create(&path);
    store.commit_next(&publication((0..100).map(|id| trend(id, 5, 0, 1)).collect())).unwrap();
    let reader = SqliteReader::open(&path).unwrap();
    let query = reader.description().table("trends").unwrap();
    let mut impressions = Vec::new();
    let mut each = |row: &StoredRow| {
        let [video, _, shown] = values(row);
        if video == Value::Video(VideoId(50)) {
            let rows = (0..100).map(|id| trend(id, 5, 0, 2)).collect();
            store.commit_next(&publication(rows)).unwrap();
        }
        impressions.push(shown);
        ControlFlow::Continue(())
    };
    reader.visit(query, &Selection::default(), RowOrder::Key, &mut each).unwrap();
    assert_eq!(impressions, [Value::Count(1); 100], "a scan sees one publication");
    assert_eq!(select(&path, "SELECT DISTINCT impressions FROM trends"), ["2"]);
}

#[test]
fn a_closed_store_is_one_file() {
    let (folder, path) = folder();
    let mut store = create(&path);
    store.commit_next(&publication(vec![trend(1, 5, 0, 1)])).unwrap();
    assert!(folder.path().join("trends.db-wal").exists());
    drop(store);
    assert_eq!(scan(&path, "trends", &Selection::default(), RowOrder::Key).len(), 1);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_store_of_another_definition_is_refused_with_both_values() {
    let (_folder, path) = folder();
    create(&path).commit_next(&publication(vec![trend(1, 5, 0, 1)])).unwrap();
    let before = fs::read(&path).unwrap();
    let definition = Definition::default();
    let others = [
        (Definition { epoch_length_ms: 3_600_000, ..definition }, "epoch-length = 30m", "= 1h;"),
        (
            Definition { join_window_epochs: 2, ..definition },
            "join-window = 4 epochs",
            "= 2 epochs;",
        ),
        (Definition { max_delay_ms: 90_000, ..definition }, "max-delay = 10m", "= 1m30s;"),
        (Definition { max_future_ms: 0, ..definition }, "max-future = 10m", "= 0s;"),
    ];
    for (other, stored, given) in others {
        let error = refusal(&path, &other, &queries());
        assert!(matches!(error, StoreError::OtherDefinition { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains(stored) && message.contains(given), "{message}");
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_store_of_other_queries_is_refused() {
    static NEWER: Query = Query { version: 2, ..copy(&TRENDS) };
    const fn copy(query: &Query) -> Query {
        Query { ..*query }
    }
    let (_folder, path) = folder();
    create(&path).commit_next(&publication(vec![trend(1, 5, 0, 1)])).unwrap();
    let definition = Definition::default();
    let fewer = refusal(&path, &definition, &instances(&[&TRENDS, &DISTINCT])).to_string();
    assert!(fewer.contains("query = requests,trends,"), "{fewer}");
    assert!(fewer.contains("query = trends;"), "{fewer}");
    let newer =
        refusal(&path, &definition, &instances(&[&NEWER, &REQUESTS, &DISTINCT])).to_string();
    assert!(newer.contains("query trends = version 1"), "{newer}");
    assert!(newer.contains("query trends = version 2"), "{newer}");
}

#[test]
fn a_store_returns_the_progress_that_was_committed() {
    let (_folder, path) = folder();
    let mut store = create(&path);
    let fresh = Progress { generation: 1, ..Progress::default() };
    assert_eq!(store.progress().unwrap(), fresh);
    let mut first = publication(vec![trend(1, 5, 0, 1)]);
    first.digests = Digests::from([(Epoch(5), Digest(u64::MAX)), (Epoch(6), Digest(7))]);
    store.commit_next(&first).unwrap();
    let mut second = publication(vec![]);
    second.digests = Digests::from([(Epoch(5), Digest(3)), (Epoch(6), Digest(1))]);
    second.final_through = through(5);
    store.commit_next(&second).unwrap();
    drop(store);
    let mut later = create(&path);
    let progress = later.progress().unwrap();
    assert_eq!((progress.generation, progress.publication), (2, Publication(2)));
    assert_eq!(progress.final_through, through(5));
    assert_eq!(progress.digests, Digests::from([(Epoch(6), Digest(8))]));
    assert_eq!(select(&path, "SELECT digest FROM epochs WHERE epoch = 5"), ["2"]);
    later.commit_next(&publication(vec![trend(1, 6, 2, 3)])).unwrap();
    assert_eq!(select(&path, "SELECT publications FROM job"), ["3"]);
}

#[test]
fn a_fenced_job_cannot_commit() {
    let (_folder, path) = folder();
    let mut fenced = create(&path);
    fenced.commit_next(&publication(vec![trend(1, 5, 0, 1)])).unwrap();
    let claim = Claim { take_over: true, ..Claim::default() };
    let mut owner = SqliteStore::open(&path, &Definition::default(), &queries(), &claim).unwrap();
    let error = fenced.commit_next(&publication(vec![trend(1, 5, 9, 9)])).unwrap_err();
    assert!(matches!(error, StoreError::Fenced { generation: 1, .. }), "{error}");
    drop(fenced);
    owner.commit_next(&publication(vec![trend(2, 5, 0, 1)])).unwrap();
    assert_eq!(select(&path, "SELECT video_id, plays FROM trends"), ["1|0", "2|0"]);
    // The new owner still holds the lock after the fenced job has ended.
    assert!(StoreLock::acquire(&path).unwrap().is_err());
}

#[test]
fn a_file_of_another_program_is_refused_and_left_unchanged() {
    let (folder, path) = folder();
    let text = "video_id,epoch\n".repeat(100);
    fs::write(&path, &text).unwrap();
    let error = refusal(&path, &Definition::default(), &queries());
    assert!(matches!(error, StoreError::NotAStore { .. }), "{error}");
    assert!(matches!(SqliteReader::open(&path), Err(StoreError::NotAStore { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), text);

    let other = folder.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE job (id)").unwrap();
    let before = fs::read(&other).unwrap();
    let error = refusal(&other, &Definition::default(), &queries());
    assert!(matches!(error, StoreError::NotAStore { .. }), "{error}");
    assert!(matches!(SqliteReader::open(&other), Err(StoreError::NotAStore { .. })));
    assert_eq!(fs::read(&other).unwrap(), before);
}

#[test]
fn an_empty_file_becomes_a_store() {
    let (_folder, path) = folder();
    fs::write(&path, "").unwrap();
    assert!(matches!(SqliteReader::open(&path), Err(StoreError::NotAStore { .. })));
    create(&path).commit_next(&publication(vec![trend(1, 5, 0, 1)])).unwrap();
    assert_eq!(select(&path, "SELECT count(*) FROM trends"), ["1"]);
}

#[test]
fn a_store_in_use_is_refused_by_any_path() {
    let (folder, path) = folder();
    let store = create(&path);
    let link = folder.path().join("link.db");
    #[cfg(unix)]
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for name in [&path, &link] {
        // Asked to stop, it does not wait, and says which store it means.
        let claim = Claim { stop: Arc::new(true.into()), ..Claim::default() };
        let opened = SqliteStore::open(name, &Definition::default(), &queries(), &claim);
        let error = opened.map(|_| ()).unwrap_err();
        let StoreError::Stopped { store } = &error else { panic!("{error}") };
        assert_eq!(Path::new(store), path.canonicalize().unwrap());
    }
    drop(store);
    create(&path);
}

/// The superuser may write anywhere, so this test is meaningful only for other users.
#[test]
#[cfg(unix)]
fn a_store_on_a_read_only_disk_can_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, _) = folder();
    let path = folder.path().join("50% of #1?.db");
    create(&path).commit_next(&publication(vec![trend(1, 5, 0, 1)])).unwrap();
    let allow = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    allow(&path, 0o444);
    allow(folder.path(), 0o555);
    let rows = scan(&path, "trends", &Selection::default(), RowOrder::Key);
    allow(folder.path(), 0o755);
    assert_eq!(rows.len(), 1);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_store_that_another_program_writes_is_refused() {
    let (_folder, path) = folder();
    drop(create(&path));
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = refusal(&path, &Definition::default(), &queries());
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
}

#[test]
fn a_commit_waits_for_another_writer_but_not_for_ever() {
    let (_folder, path) = folder();
    let mut store = create(&path);
    store.busy_limit = Duration::from_millis(200);
    store.connection.busy_timeout(Duration::from_millis(50)).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.commit_next(&publication(vec![trend(1, 5, 0, 1)])).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    other.execute_batch("ROLLBACK").unwrap();
    store.commit_next(&publication(vec![trend(1, 5, 0, 1)])).unwrap();
}

#[test]
fn reading_a_missing_store_creates_no_file() {
    let (folder, path) = folder();
    assert!(matches!(SqliteReader::open(&path), Err(StoreError::NotFound(_))));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_store_in_a_missing_folder_is_refused() {
    let (folder, _) = folder();
    let path = folder.path().join("missing").join("trends.db");
    let error = refusal(&path, &Definition::default(), &queries());
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
}

#[test]
fn the_top_of_an_epoch_has_the_largest_values_then_the_smallest_ids() {
    let (_folder, path) = folder();
    let mut store = create(&path);
    let rows = [(9, 2, 5), (1, 2, 4), (10, 2, 5), (2, 9, 9), (3, 0, 90)];
    let rows = rows.map(|(video, plays, impressions)| trend(video, 5, plays, impressions));
    store.commit_next(&publication(rows.to_vec())).unwrap();
    let videos = |top, order| {
        let selection = Selection { top, ..Selection::default() };
        let rows = scan(&path, "trends", &selection, order);
        rows.iter().map(|row| values(row)[0].to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(videos(None, RowOrder::Values), "2 9 10 1 3");
    assert_eq!(videos(Some(3), RowOrder::Values), "2 9 10");
    assert_eq!(videos(Some(3), RowOrder::Key), "2 9 10");
    assert_eq!(videos(Some(u64::MAX), RowOrder::Key), "1 2 3 9 10");
    let reader = SqliteReader::open(&path).unwrap();
    let query = reader.description().table("trends").unwrap();
    assert_eq!(reader.latest_epochs(query, 3).unwrap(), Some(EpochRange::only(Epoch(5))));
}
