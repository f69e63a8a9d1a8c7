//! Tests of the records of a Kafka store and of the job's state, without a broker. The tests with a
//! broker are in `tests/kafka_store.rs`.

use super::topics::{TopicRole, check_settings};
use super::*;
use crate::acceptance::{Counts, Distinct, LedgerKey, LedgerTotals};
use crate::event::{Kind, RequestId};
use crate::log::PartitionProgress;
use crate::query::{Digest, Digests};
use crate::stores::sqlite::fixtures::{
    deleted, distinct, ledger, progress, publication, queries, request, through, trend,
};
use crate::time::{Epoch, Through};
use encode::{RowValue, read_key, read_value};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const UUID: &str = "0123abcd-4567-89ab-cdef-0123456789ab";

fn description() -> Description {
    Description::of(&Definition::default(), &queries())
}

fn state() -> State {
    let topics = BTreeMap::from([("trends".to_owned(), 8)]);
    State::new(StoredProgress::new(description(), topics), &[])
}

fn format(query: usize) -> RowEncoder {
    RowEncoder::of(&description().queries[query])
}

fn key(change: &RowChange) -> String {
    let mut record = Vec::new();
    format(change.query).write_key(&change.row, &mut record);
    String::from_utf8(record).unwrap()
}

fn value(change: &RowChange, stamp: &mut PublicationFields) -> String {
    let mut record = Vec::new();
    format(change.query).write_value(&change.row, stamp, &mut record);
    String::from_utf8(record).unwrap()
}

fn stamp(final_through: Option<i64>, watermark_ms: Option<i64>) -> PublicationFields {
    let final_through = final_through.map_or(Through::Nothing, through);
    PublicationFields::new(Definition::default(), final_through, watermark_ms, Publication(3))
}

/// The changes, numbered as the next publication of a state.
fn next(state: &State, changes: &Changeset) -> Changeset {
    Changeset { publication: state.stored.progress.publication.next(), ..changes.clone() }
}

fn commit(state: &mut State, changes: &Changeset) -> Vec<(usize, Row)> {
    let changes = next(state, changes);
    let staged = state.stage(&changes);
    let finals = staged.finals.clone();
    state.apply(staged, &changes);
    finals
}

fn final_through(final_through: Through) -> Changeset {
    Changeset { final_through, ..Changeset::default() }
}

#[test]
fn a_row_of_trends_has_all_fields() {
    let row = trend(7, 5, 1, 2);
    assert_eq!(key(&row), r#"{"video_id":7,"epoch":5}"#);
    assert_eq!(
        value(&row, &mut stamp(Some(4), Some(1_767_225_600_500))),
        r#"{"video_id":7,"epoch":5,"epoch_start":"1970-01-01T02:30:00Z","plays":1,"#.to_owned()
            + r#""impressions":2,"final":false,"watermark":"2026-01-01T00:00:00.5Z","#
            + r#""publication":3}"#
    );
    let value: Value = serde_json::from_str(&value(&row, &mut stamp(Some(5), None))).unwrap();
    assert_eq!((&value["final"], &value["watermark"]), (&json!(true), &json!(null)));
}

#[test]
fn a_row_of_another_query_has_its_request_as_a_uuid_and_no_finality() {
    let row = request(UUID, 9, 5, true);
    assert_eq!(key(&row), format!(r#"{{"request_id":"{UUID}","video_id":9,"epoch":5}}"#));
    let value: Value = serde_json::from_str(&value(&row, &mut stamp(Some(9), None))).unwrap();
    let expected = json!({
        "request_id": UUID, "video_id": 9, "epoch": 5, "epoch_start": "1970-01-01T02:30:00Z",
        "played": true, "publication": 3
    });
    assert_eq!(value, expected);
    let id = RequestId::from_u128(u128::MAX - 5).to_string();
    assert!(key(&request(&id, 9, 5, true)).contains(&id));
}

#[test]
fn video_ids_and_epochs_keep_their_full_range() {
    let mut stamp = stamp(None, None);
    for video in [0, 9, 10, i64::MAX as u64, u64::MAX] {
        for epoch in [-7, 0, 983_568] {
            let row = trend(video, epoch, 0, u64::MAX);
            assert_eq!(key(&row), format!(r#"{{"video_id":{video},"epoch":{epoch}}}"#));
            let value: Value = serde_json::from_str(&value(&row, &mut stamp)).unwrap();
            assert_eq!(value["video_id"].as_u64(), Some(video));
            assert_eq!(value["impressions"].as_u64(), Some(u64::MAX));
            assert_eq!(value["epoch"].as_i64(), Some(epoch));
            let start = Definition::default().start_rfc3339(Epoch(epoch));
            assert_eq!(value["epoch_start"], start);
        }
    }
}

#[test]
fn progress_round_trips_through_its_record() {
    let mut state = state();
    let mut first = publication(vec![trend(u64::MAX, 5, 0, 1)]);
    first.partitions = vec![progress("plays 0", 10, 1), progress("plays 1", u64::MAX, 0)];
    first.digests = Digests::from([(Epoch(-5), Digest(u64::MAX)), (Epoch(6), Digest(7))]);
    commit(&mut state, &first);
    let mut second = final_through(through(-5));
    let moved = progress("plays 0", 30, 2);
    second.partitions = vec![PartitionProgress { watermark_ms: None, ..moved.clone() }];
    second.digests = Digests::from([(Epoch(6), Digest(1))]);
    commit(&mut state, &second);
    let stored = StoredProgress::parse("kafka:trends", &state.stored.to_record()).unwrap();
    assert_eq!(stored, state.stored);
    let partitions = [
        PartitionProgress { watermark_ms: None, malformed: 3, ..moved },
        progress("plays 1", u64::MAX, 0),
    ];
    let expected = Progress {
        generation: 0,
        publication: Publication(2),
        final_through: through(-5),
        partitions: partitions.map(|at| (at.partition.clone(), at)).into(),
        digests: Digests::from([(Epoch(6), Digest(8))]),
    };
    assert_eq!(stored.progress, expected);
    let watermark_ms = progress("plays 1", 0, 0).watermark_ms;
    assert_eq!(stored.watermark_ms, watermark_ms, "without one, the last is kept");
}

#[test]
fn progress_of_another_format_is_refused_with_the_version_that_wrote_it() {
    let parsed = |record: &[u8]| StoredProgress::parse("kafka:trends", record);
    let refused = |record: &[u8]| parsed(record).unwrap_err().to_string();
    let older = refused(&StoredProgress { format: 1, ..state().stored }.to_record());
    assert!(older.contains("`kafka:trends` has store format 1 (trendmark 0.1.0)"), "{older}");
    assert!(older.contains("give another --store and read the logs again"), "{older}");
    let newer = refused(&StoredProgress { format: 99, ..state().stored }.to_record());
    assert!(newer.contains("store format 99 (trendmark later than 0."), "{newer}");
    assert!(refused(b"{}").contains("its last progress record is invalid"));
}

#[test]
fn rows_are_read_back_from_their_records() {
    let uuid = request(UUID, u64::MAX, -5, true);
    for change in [trend(u64::MAX, -5, 1, u64::MAX), trend(0, 0, 0, 0), uuid] {
        let query = &description().queries[change.query];
        let written = value(&change, &mut stamp(None, None));
        let read = read_value(query, written.as_bytes()).unwrap();
        assert_eq!(read, (RowValue::Set(change.row.clone()), Publication(3)));
        let name = read_key(query, key(&change).as_bytes()).unwrap();
        assert_eq!(name, (change.row.epoch, change.row.key));
    }
    let removed = request(UUID, 9, 5, true);
    let query = &description().queries[removed.query];
    let mut written = Vec::new();
    RowEncoder::of(query).write_removal(&removed.row, &mut stamp(None, None), &mut written);
    let expected = format!(
        r#"{{"request_id":"{UUID}","video_id":9,"epoch":5,"epoch_start":"1970-01-01T02:30:00Z","#
    ) + r#""removed":true,"publication":3}"#;
    assert_eq!(String::from_utf8(written.clone()).unwrap(), expected);
    assert_eq!(read_value(query, &written), Some((RowValue::Removed, Publication(3))));
    let query = &description().queries[0];
    assert_eq!(read_value(query, br#"{"video_id":7,"epoch":5}"#), None);
    assert_eq!(read_key(query, b"\"progress\""), None);
}

#[test]
fn the_summary_counts_what_was_written() {
    let key = LedgerKey { epoch: Some(Epoch(-3)), kind: Kind::Play };
    let counts = Counts { accepted: 9, late: 2, future: 1 };
    let totals = LedgerTotals { counts, distinct: Distinct { events: 4, denied: 3 } };
    let mut record = Vec::new();
    write_json(&totals.row(key), &mut record);
    let expected = r#"{"epoch":-3,"kind":"play","events":12,"distinct_events":4,"#.to_owned()
        + r#""duplicate_events":5,"late_events":2,"future_events":1,"#
        + r#""denied_events":3}"#;
    assert_eq!(String::from_utf8(record.clone()).unwrap(), expected);
    assert_eq!(LedgerTotals::of(&serde_json::from_slice(&record).unwrap()), totals);
}

#[test]
fn counts_add_up_over_publications_and_only_changes_are_written() {
    let mut state = state();
    let mut first = publication(vec![distinct(Kind::Play, 5, 3), distinct(Kind::Impression, 5, 2)]);
    first.ledger = ledger(5, Kind::Play, 4, 1, 0);
    first.ledger.merge(&ledger(5, Kind::Impression, 2, 0, 0));
    commit(&mut state, &first);
    let mut second = publication(vec![distinct(Kind::Play, 5, 6)]);
    second.ledger = ledger(5, Kind::Play, 10, 0, 7);
    let staged = state.stage(&next(&state, &second));
    let counts = Counts { accepted: 14, late: 1, future: 7 };
    let expected = LedgerTotals { counts, distinct: Distinct { events: 6, denied: 0 } };
    let key = LedgerKey { epoch: Some(Epoch(5)), kind: Kind::Play };
    assert_eq!(staged.ledger, BTreeMap::from([(key, expected)]));
}

#[test]
fn each_row_is_written_once_more_when_its_epoch_becomes_final() {
    let mut state = state();
    let rows = vec![trend(1, 4, 0, 1), trend(2, 5, 0, 1), trend(3, 5, 0, 1), trend(4, 5, 0, 1)];
    assert_eq!(commit(&mut state, &publication(rows)), []);
    let last = Changeset {
        rows: vec![trend(3, 5, 1, 1), deleted(trend(4, 5, 0, 0)), trend(1, 6, 0, 1)],
        ..final_through(through(5))
    };
    let finals = commit(&mut state, &last);
    assert_eq!(finals, [(0, trend(1, 4, 0, 1).row), (0, trend(2, 5, 0, 1).row)]);
    assert_eq!(commit(&mut state, &final_through(through(5))), [], "and never again");
    let finals = commit(&mut state, &final_through(Through::Everything));
    assert_eq!(finals, [(0, trend(1, 6, 0, 1).row)]);
}

#[test]
fn rows_rebuilt_by_a_replay_become_final() {
    let mut state = state();
    commit(&mut state, &final_through(through(4)));
    state.restore(&[trend(1, 4, 0, 1), trend(2, 5, 3, 4), request(UUID, 2, 5, true)]);
    assert_eq!(commit(&mut state, &final_through(through(5))), [(0, trend(2, 5, 3, 4).row)]);
}

#[test]
fn a_publication_that_was_not_committed_changes_nothing() {
    let mut state = state();
    commit(&mut state, &publication(vec![trend(1, 5, 0, 1)]));
    let before = state.stored.clone();
    let mut failed = final_through(through(5));
    failed.ledger = ledger(5, Kind::Play, 1, 0, 0);
    let failed = next(&state, &failed);
    drop(state.stage(&failed));
    assert_eq!(state.stored, before);
    assert_eq!(state.stage(&failed).finals.len(), 1);
    assert_eq!(state.stage(&failed).stored.progress.publication, Publication(2));
}

#[test]
fn topics_are_named_after_their_queries_and_names_are_checked() {
    let topics = Topics::new("trends", &description().queries).unwrap();
    let names: Vec<_> = topics.all().map(|topic| (topic.name.as_str(), topic.role)).collect();
    let expected = [
        ("trends", TopicRole::Rows),
        ("trends-requests", TopicRole::Increments),
        ("trends-ledger", TopicRole::Ledger),
        ("trends-titles", TopicRole::Titles),
        ("trends-completeness", TopicRole::Completeness),
        ("trends-progress", TopicRole::Progress),
        ("trends-lease", TopicRole::Lease),
    ];
    assert_eq!(names, expected);
    for (name, problem) in [
        ("", "no topic can have this name"),
        ("..", "no topic can have this name"),
        ("a/b", "has only letters"),
        ("häuser", "has only letters"),
        (&"a".repeat(245), "would have 254 bytes, 249 at most"),
        (&"a".repeat(237), "would have 250 bytes, 249 at most"),
    ] {
        let error = Topics::new(name, &description().queries).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
    assert!(Topics::new(&"a".repeat(236), &description().queries).is_ok());
}

#[test]
fn topic_settings_that_lose_rows_are_refused_with_the_command_that_fixes_them() {
    let topic = |role| Topic { name: "trends".to_owned(), role };
    let checked = |role, settings: &[(&str, &'static str)]| {
        let setting =
            |key: &str| settings.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
        check_settings(&topic(role), setting).map_err(|error| error.to_string())
    };
    let error = checked(TopicRole::Rows, &[("cleanup.policy", "delete")]).unwrap_err();
    assert!(error.contains("it has cleanup.policy=delete"), "{error}");
    assert!(error.contains("--entity-name trends --add-config cleanup.policy=compact"), "{error}");
    let both = [("cleanup.policy", "compact,delete"), ("retention.ms", "604800000")];
    assert!(checked(TopicRole::Ledger, &both).unwrap_err().contains("retention.ms=604800000"));
    let kept = [("cleanup.policy", "compact, delete"), ("retention.ms", "-1")];
    assert_eq!(checked(TopicRole::Progress, &kept), Ok(()));
    let compacted = [("cleanup.policy", "compact"), ("retention.ms", "604800000")];
    assert_eq!(checked(TopicRole::Rows, &compacted), Ok(()), "compaction ignores retention");
    assert_eq!(checked(TopicRole::Increments, &[("cleanup.policy", "delete")]), Ok(()));
}
