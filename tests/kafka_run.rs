//! The whole program on topics: it computes the same rows from topics as from files.

#![cfg(feature = "kafka")]

mod common;

use common::contents::computed;
use common::program::run;
use common::topics::{Cluster, EVENT_TIME_MS};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const PARTITIONS: i32 = 3;

/// A generated log, in files.
fn generated() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("log");
    let partitions = PARTITIONS.to_string();
    let arguments = ["generate", "--impressions", "20000", "--partitions", &partitions, "--out"];
    run(arguments.iter().copied().chain([out.to_str().unwrap()])).succeeded();
    folder
}

/// The files of a log of one kind, in the order of their names.
fn files(folder: &Path, kind: &str) -> Vec<PathBuf> {
    let entries = folder.join("log").read_dir().unwrap().map(|entry| entry.unwrap().path());
    let is_of = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(kind);
    let mut files: Vec<_> = entries.filter(is_of).collect();
    files.sort();
    files
}

/// Writes a log of one kind to a topic, one file per partition. Returns `kafka:TOPIC`.
fn to_topic(cluster: &Cluster, folder: &Path, kind: &str) -> String {
    let topic = cluster.create_topic(kind, PARTITIONS);
    let writer = cluster.writer();
    for (partition, file) in (0..).zip(files(folder, kind)) {
        for line in std::fs::read_to_string(file).unwrap().lines() {
            writer.write(&topic, partition, Some(line.as_bytes()), EVENT_TIME_MS);
        }
    }
    writer.flush();
    format!("kafka:{topic}")
}

#[test]
fn topics_give_the_same_rows_as_files() {
    let cluster = Cluster::any();
    let folder = generated();
    let folder = folder.path();
    let from_files = folder.join("files.db");
    let patterns =
        ["impressions", "plays"].map(|kind| format!("{}/log/{kind}-*", folder.display()));
    let paths = ["run", "--query", "all", "--impressions", &patterns[0], "--plays", &patterns[1]];
    let store = ["--store", from_files.to_str().unwrap()];
    run(paths.iter().chain(&store)).succeeded();

    let places = ["impressions", "plays"].map(|kind| to_topic(&cluster, folder, kind));
    let from_topics = folder.join("topics.db");
    let topics = ["run", "--query", "all", "--impressions", &places[0], "--plays", &places[1]];
    let more = ["--bootstrap-servers", cluster.servers(), "--until-end", "--workers", "2"];
    let store = ["--store", from_topics.to_str().unwrap()];
    run(topics.iter().chain(&more).chain(&store)).succeeded();
    let expected = computed(&from_files);
    assert!(expected.values().all(|rows| !rows.is_empty()));
    assert_eq!(computed(&from_topics), expected);
}

#[test]
fn wrong_kafka_settings_are_reported_and_no_store_is_created() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("s.db");
    let arguments = ["run", "--plays", "kafka:plays", "--store", store.to_str().unwrap()];
    run(arguments).failed(2, &["give --bootstrap-servers"]);
    let servers = ["--bootstrap-servers", "localhost:9092"];
    let password = ["--kafka", "sasl.password=file:/no/such/file"];
    run(arguments.iter().chain(&servers).chain(&password))
        .failed(1, &["`sasl.password`", "`/no/such/file`"]);
    let level = ["--kafka", "isolation.level=read_uncommitted"];
    run(arguments.iter().chain(&servers).chain(&level)).failed(2, &["`isolation.level` cannot be"]);
    assert!(!store.exists());
}
