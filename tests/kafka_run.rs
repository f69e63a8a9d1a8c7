//! The whole program on topics: it computes the same rows from topics as from files.

#![cfg(feature = "kafka")]

mod common;

use common::contents::computed;
use common::program::{run, run_processes, trendmark};
use common::store_topics::{StoreTopics, wait};
use common::topics::{Cluster, EVENT_TIME_MS, real_broker, unique};
use rdkafka::admin::{AdminOptions, ResourceSpecifier};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// All queries, with limits so small and histories so short that each of them has rows.
const QUERIES: [&str; 15] = [
    "--query",
    "all",
    "--crowded-videos-max=3",
    "--trending-day-epochs=2",
    "--trending-days=2",
    "--trending-guard=1",
    "--trending-least-epochs=2",
    "--trending-least-plays=1",
    "--trending-recent=3",
    "--surge-day-epochs=2",
    "--surge-days=2",
    "--surge-guard=1",
    "--surge-least-epochs=2",
    "--surge-least-plays=1",
    "--surge-recent=3",
];

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
            // The least of the record time and the timestamp of the message is used.
            let record: Option<serde_json::Value> = serde_json::from_str(line).ok();
            let time_ms = record.and_then(|record| record["record_time"].as_i64());
            let time_ms = time_ms.unwrap_or(EVENT_TIME_MS);
            writer.write(&topic, partition, Some(line.as_bytes()), time_ms);
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
    let paths = ["run", "--impressions", &patterns[0], "--plays", &patterns[1]];
    let store = ["--store", from_files.to_str().unwrap()];
    run(paths.iter().chain(&QUERIES).chain(&store)).succeeded();

    let places = ["impressions", "plays"].map(|kind| to_topic(&cluster, folder, kind));
    let from_topics = folder.join("topics.db");
    let topics = ["run", "--impressions", &places[0], "--plays", &places[1]];
    let more = ["--bootstrap-servers", cluster.servers(), "--until-end", "--workers", "2"];
    let store = ["--store", from_topics.to_str().unwrap()];
    run(topics.iter().chain(&QUERIES).chain(&more).chain(&store)).succeeded();
    let expected = computed(&from_files);
    assert!(expected.values().all(|rows| !rows.is_empty()));
    assert_eq!(computed(&from_topics), expected);

    // What travels between processes is not self-describing.
    let from_processes = folder.join("processes.db");
    let finished = run_processes(2, &folder.join("hosts"), |_| {
        let mut command = trendmark();
        command.args(topics).args(QUERIES).args(&more[..3]).arg("--store").arg(&from_processes);
        command
    });
    finished.into_iter().for_each(|finished| drop(finished.succeeded()));
    assert_eq!(computed(&from_processes), expected);
}

#[test]
fn the_status_is_shown_although_no_broker_answers() {
    let cluster = Cluster::any();
    let folder = generated();
    let folder = folder.path();
    let topic = to_topic(&cluster, folder, "impressions");
    let store = folder.join("s.db");
    let store = ["--store", store.to_str().unwrap()];
    let job = ["run", "--impressions", &topic, "--until-end", "--bootstrap-servers"];
    run(job.iter().chain(&[cluster.servers()]).chain(&store)).succeeded();
    let status = ["status", "--bootstrap-servers", "127.0.0.1:1"];
    // Each question takes half a minute, so only one is asked.
    let shown = run(status.iter().chain(&store)).succeeded();
    assert!(shown.waited.as_secs() < 60, "{shown:#?}");
    assert!(shown.stdout.contains("unknown in 3 partitions"), "{shown:#?}");
    assert!(shown.stderr.contains("no answer from the Kafka brokers"), "{shown:#?}");
    let shown = run(["status"].iter().chain(&store)).succeeded();
    assert!(shown.stdout.contains("unknown in 3 partitions"), "{shown:#?}");
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
    let unknown = ["--kafka", "no.such.setting=1"];
    run(arguments.iter().chain(&servers).chain(&unknown)).failed(2, &["`no.such.setting`"]);
    let same = ["--store", "kafka:trends", "--impressions", "kafka:trends-ledger"];
    let both = [&["run"][..], &same, &servers].concat();
    run(both).failed(2, &["`trends-ledger` is a source and belongs to --store kafka:trends"]);
    assert!(!store.exists());
}

#[test]
fn a_log_generated_into_topics_gives_the_rows_of_the_same_log_in_files() {
    let Some(servers) = real_broker("generating into topics") else { return };
    let folder = generated();
    let folder = folder.path();
    let servers = ["--bootstrap-servers", &servers];
    let name = format!("kafka:{}", unique("generated"));
    let generate = |impressions, partitions, more: &[&str]| {
        let model = ["--impressions", impressions, "--partitions", partitions];
        let out = ["generate", "--out", &name];
        run(out.iter().chain(&model).chain(&servers).chain(more))
    };
    generate("20000", "3", &["--rate", "40000"]).succeeded();
    generate("1", "3", &[]).failed(1, &["-impressions` holds records", "--force"]);
    generate("1", "2", &["--force"]).failed(1, &["has 3 partitions", "--partitions 3"]);

    let stores = ["files.db", "topics.db"].map(|name| folder.join(name));
    let paths = ["impressions", "plays"].map(|kind| format!("{}/log/{kind}-*", folder.display()));
    let topics = ["impressions", "plays"].map(|kind| format!("{name}-{kind}"));
    let more = [&servers[..], &["--until-end"]].concat();
    for (store, inputs, more) in [(&stores[0], paths, &[][..]), (&stores[1], topics, &more)] {
        let job = ["run", "--impressions", &inputs[0], "--plays", &inputs[1]];
        let store = ["--store", store.to_str().unwrap()];
        run(job.iter().chain(&QUERIES).chain(&store).chain(more)).succeeded();
    }
    let expected = computed(&stores[0]);
    assert!(expected.values().all(|rows| !rows.is_empty()));
    assert_eq!(computed(&stores[1]), expected);
    generate("1", "3", &["--force"]).succeeded();
}

#[test]
fn titles_and_denials_are_generated_into_topics_and_the_truth_into_a_file() {
    let Some(servers) = real_broker("generating titles into topics") else { return };
    let folder = tempfile::tempdir().unwrap();
    let name = unique("generated");
    let (out, truth) = (format!("kafka:{name}"), folder.path().join("truth"));
    let out = ["generate", "--out", &out, "--bootstrap-servers", &servers, "--titles"];
    let model = ["--impressions", "2000", "--videos", "30", "--bot-rate", "0.2", "--truth"];
    run(out.iter().chain(&model).chain(&[truth.to_str().unwrap()])).succeeded();

    let topics = StoreTopics { settings: Cluster::at(&servers).settings.clone(), topic: name };
    let titles = topics.table("-titles");
    assert_eq!(titles.len(), 30);
    for (key, title) in &titles {
        assert_eq!(*key, title["video_id"].to_string());
        assert!(title["title"].is_string() && title["genre"].is_string());
    }
    let topic = format!("{}-titles", topics.topic);
    let described = ResourceSpecifier::Topic(&topic);
    let described = wait(topics.admin().describe_configs([&described], &AdminOptions::new()));
    let config = described.unwrap().remove(0).unwrap();
    assert_eq!(config.get("cleanup.policy").unwrap().value.as_deref(), Some("compact"));

    let key = |line: &Value| (line["request_id"].to_string(), line["event_time"].to_string());
    let denials = topics.records("-denials").into_iter().map(|(_, _, denial)| denial.unwrap());
    let denials: BTreeSet<_> = denials.map(|denial| key(&denial)).collect();
    let truth = std::fs::read_to_string(truth).unwrap();
    let truth = truth.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let denied: BTreeSet<_> =
        truth.filter(|line| line["truth"] == "denied").map(|line| key(&line)).collect();
    assert!(denied.len() > 10);
    assert_eq!(denials, denied);
}
