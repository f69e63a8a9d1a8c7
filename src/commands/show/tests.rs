//! Golden tests of the printed output.

use super::*;
use crate::stores::Claim;
use crate::stores::sqlite::fixtures::{
    CommitNext, DISTINCT, KINDS, TRENDS, instances, publication, queries, request, through, trend,
};
use crate::stores::sqlite::{SqliteReader, SqliteStore};
use crate::stores::{Changeset, RowChange};
use crate::time::Through;
use clap::Parser;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The first epoch of 2026-01-01.
const NEW_YEAR: i64 = 981_792;
const UUID: &str = "0123abcd-4567-89ab-cdef-0123456789ab";

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    show: ShowArguments,
}

fn store(
    definition: &Definition,
    rows: Vec<RowChange>,
    final_through: Through,
) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trends.db");
    let mut store = SqliteStore::open(&path, definition, &queries(), &Claim::default()).unwrap();
    store.commit_next(&Changeset { final_through, ..publication(rows) }).unwrap();
    store.commit_next(&publication(vec![request(UUID, 2, NEW_YEAR, true)])).unwrap();
    (folder, path)
}

fn arguments(path: &Path, options: &str) -> ShowArguments {
    let store = ["show", "--store", path.to_str().unwrap()];
    Arguments::try_parse_from(store.into_iter().chain(options.split_whitespace())).unwrap().show
}

fn printed(path: &Path, options: &str) -> String {
    let mut out = Vec::new();
    show(&arguments(path, options), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn two_epochs() -> (TempDir, PathBuf) {
    let rows = vec![
        trend(10, NEW_YEAR, 1, 20),
        trend(9, NEW_YEAR, 1, 20),
        trend(u64::MAX, NEW_YEAR, 12, 345),
        trend(9, NEW_YEAR + 1, 0, 7),
    ];
    store(&Definition::default(), rows, through(NEW_YEAR))
}

#[test]
fn the_trends_table_is_printed_exactly() {
    let (_folder, path) = two_epochs();
    let expected = "               Video | Epoch            | Plays | Impressions
---------------------+------------------+-------+-------------
18446744073709551615 | 1 (00:00-00:30)  |    12 |         345
                   9 | 1 (00:00-00:30)  |     1 |          20
                  10 | 1 (00:00-00:30)  |     1 |          20
                   9 | 2 (00:30-01:00)* |     0 |           7
* provisional
";
    assert_eq!(printed(&path, ""), expected);
}

#[test]
fn a_table_of_several_days_has_dates() {
    let rows = vec![trend(9, NEW_YEAR - 1, 1, 2), trend(9, NEW_YEAR, 3, 4)];
    let (_folder, path) = store(&Definition::default(), rows, Through::Everything);
    let expected = "\
Video | Epoch                       | Plays | Impressions
------+-----------------------------+-------+-------------
    9 | 2025-12-31 48 (23:30-00:00) |     1 |           2
    9 | 2026-01-01 1 (00:00-00:30)  |     3 |           4
";
    assert_eq!(printed(&path, ""), expected);
}

#[test]
fn short_epochs_are_shown_with_their_seconds() {
    let definition = Definition { epoch_length_ms: 1_500, ..Definition::default() };
    let (_folder, path) = store(&definition, vec![trend(9, 1, 0, 1)], Through::Everything);
    let table = printed(&path, "--epoch 1");
    assert!(table.contains("| 2 (00:00:01.5-00:00:03) |"), "{table}");
    let csv = printed(&path, "--format csv");
    assert!(csv.ends_with("9,1,1970-01-01T00:00:01.5Z,0,1,1\n"), "{csv}");
}

#[test]
fn csv_is_ordered_by_epoch_and_by_id_as_a_number() {
    let (_folder, path) = two_epochs();
    let expected = "\
video_id,epoch,epoch_start,plays,impressions,final
9,981792,2026-01-01T00:00:00Z,1,20,1
10,981792,2026-01-01T00:00:00Z,1,20,1
18446744073709551615,981792,2026-01-01T00:00:00Z,12,345,1
9,981793,2026-01-01T00:30:00Z,0,7,0
";
    assert_eq!(printed(&path, "--format csv"), expected);
}

#[test]
fn json_is_one_object_per_row() {
    let (_folder, path) = two_epochs();
    let json = printed(&path, "--format json --top 1");
    let expected = concat!(
        r#"{"video_id":18446744073709551615,"epoch":981792,"epoch_start":"2026-01-01T00:00:00Z","#,
        r#""plays":12,"impressions":345,"final":true}"#,
        "\n",
        r#"{"video_id":9,"epoch":981793,"epoch_start":"2026-01-01T00:30:00Z","#,
        r#""plays":0,"impressions":7,"final":false}"#,
        "\n",
    );
    assert_eq!(json, expected);
    for line in json.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

#[test]
fn rows_are_filtered_by_epoch_video_and_publication() {
    let (_folder, path) = two_epochs();
    let lines = |options: &str| printed(&path, &format!("--format csv {options}")).lines().count();
    assert_eq!(lines("--epoch 981793"), 2);
    assert_eq!(lines("--epoch -3"), 1);
    assert_eq!(lines("--video 9"), 3);
    assert_eq!(lines("--video 18446744073709551615"), 2);
    assert_eq!(lines("--video 9 --epoch 981792"), 2);
    assert_eq!(lines("--top 2"), 4);
    assert_eq!(lines("--since 0"), 5);
    assert_eq!(lines("--since 1"), 1);
    assert_eq!(lines("--query requests --since 1"), 2);
    assert_eq!(lines("--query requests --since 1 --video 2"), 2);
    assert_eq!(lines("--query requests --since 1 --video 3"), 1);
}

#[test]
fn other_queries_are_shown_with_uuids() {
    let (_folder, path) = two_epochs();
    let csv = "request_id,epoch,epoch_start,video_id,played,final,publication\n\
               0123abcd-4567-89ab-cdef-0123456789ab,981792,2026-01-01T00:00:00Z,2,1,1,2\n";
    assert_eq!(printed(&path, "--query requests --format csv"), csv);
    let json = r#"{"request_id":"0123abcd-4567-89ab-cdef-0123456789ab","epoch":981792,"#;
    assert!(printed(&path, "--query requests --format json").starts_with(json));
    let table = "\
Request                              | Epoch           | Video | Played
-------------------------------------+-----------------+-------+--------
0123abcd-4567-89ab-cdef-0123456789ab | 1 (00:00-00:30) |     2 | 1
";
    assert_eq!(printed(&path, "--query requests"), table);
}

#[test]
fn a_long_table_says_how_many_rows_are_missing() {
    let rows = (0..1_234).map(|video| trend(video, NEW_YEAR, 0, 1)).collect();
    let (_folder, path) = store(&Definition::default(), rows, Through::Everything);
    let table = printed(&path, "");
    let expected = "234 more rows: narrow with --epoch, --video or --top, or print all with \
                    --format csv";
    assert_eq!(table.lines().last(), Some(expected));
    assert_eq!(printed(&path, "--top 1000").lines().count(), 1_002);
    assert_eq!(printed(&path, "--format csv").lines().count(), 1_235);
}

#[test]
fn an_empty_table_is_reported() {
    let (_folder, path) = two_epochs();
    assert!(printed(&path, "--video 12345").ends_with("\nno rows\n"));
}

#[test]
fn the_live_table_has_the_latest_epochs_and_says_which_are_final() {
    let (_folder, path) = two_epochs();
    let reader = SqliteReader::open(&path).unwrap();
    let expected = "               Video | Epoch           | Plays | Impressions | Final
---------------------+-----------------+-------+-------------+-------
18446744073709551615 | 1 (00:00-00:30) |    12 |         345 | yes
                   9 | 2 (00:30-01:00) |     0 |           7 | no
";
    assert_eq!(latest_epochs_table(&reader, 2, 1).unwrap(), expected);
    assert_eq!(latest_epochs_table(&reader, 1, 9).unwrap().lines().count(), 3);
}

/// A pipe without a reader.
struct ClosedPipe;

impl Write for ClosedPipe {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let rows = (0..10_000).map(|video| trend(video, NEW_YEAR, 0, 1)).collect();
    let (_folder, path) = store(&Definition::default(), rows, Through::Everything);
    for format in ["table", "csv", "json"] {
        show(&arguments(&path, &format!("--format {format}")), &mut ClosedPipe).unwrap();
    }
}

#[test]
fn a_missing_store_or_query_is_an_error_and_creates_no_file() {
    let (folder, path) = two_epochs();
    let error = show(&arguments(&path, "--query trend"), &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "the store has no query `trend`; it has trends, requests");
    let missing = folder.path().join("missing.db");
    let error = show(&arguments(&missing, ""), &mut Vec::new()).unwrap_err();
    assert!(matches!(error, ShowError::Open(RunError::Store(StoreError::NotFound(_)))), "{error}");
    assert!(!missing.exists());
}

#[test]
fn only_queries_with_videos_are_filtered_by_video() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trends.db");
    let queries = instances(&[&TRENDS, &KINDS, &DISTINCT]);
    drop(SqliteStore::open(&path, &Definition::default(), &queries, &Claim::default()).unwrap());
    let asked = arguments(&path, "--query kinds --video 1");
    let error = show(&asked, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, ShowError::NoVideos(_)), "{error}");
}
