//! The parts of the program that Cargo features build in: what needs a missing one says which
//! feature to build, and the tests that need it are reported as skipped.

mod common;

use common::workspace::Workspace;
use std::io::Write;
use trendmark::features::Feature;

/// Reports tests that this build cannot run. Not by `eprintln`, whose output is hidden when a test
/// succeeds.
fn skip(tests: &str, feature: Feature) {
    let skipped = format!("SKIPPED: {tests}; they need `cargo test --features {feature}`\n");
    std::io::stderr().write_all(skipped.as_bytes()).unwrap();
}

/// Runs a command that needs a feature, and checks the error if it is missing.
fn check(feature: Feature, tests: &str, command: &[&str]) {
    if feature.is_built_in() {
        return;
    }
    skip(tests, feature);
    let place = Workspace::new();
    place.write("i.jsonl", "");
    place.write("in/plays.parquet", "");
    let mut program = common::program::trendmark();
    let finished =
        common::program::Running::start(program.current_dir(place.0.path()).args(command)).finish();
    assert_eq!(finished.code, Some(2), "{finished:#?}");
    let named = format!("needs the feature `{feature}`, which this program was built without");
    assert!(finished.stderr.contains(&named), "{finished:#?}");
    assert!(finished.stderr.contains(&format!("--features {feature}")), "{finished:#?}");
    assert_eq!(common::workspace::names(&place), ["i.jsonl", "in"], "nothing was created");
}

#[test]
fn kafka_is_named_where_it_is_missing() {
    let servers = ["--bootstrap-servers", "localhost:1"];
    let sources = ["run", "--plays", "kafka:plays", "--store", "s.db"];
    let store = ["run", "--plays", "i.jsonl", "--store", "kafka:trends"];
    let show = ["show", "--store", "kafka:trends"];
    for command in [&sources[..], &store, &show] {
        let command = [command, &servers].concat();
        check(Feature::Kafka, "all tests of Kafka", &command);
    }
}

#[test]
fn parquet_is_named_where_it_is_missing() {
    let run = ["run", "--plays", "in", "--store", "s.db"];
    check(Feature::Parquet, "all tests of Parquet", &run);
    let generate = ["generate", "--out", "log", "--format", "parquet"];
    check(Feature::Parquet, "all tests of Parquet", &generate);
}

#[test]
fn the_schema_registry_is_named_where_it_is_missing() {
    if !Feature::Kafka.is_built_in() {
        return skip("all tests of Avro and Protobuf", Feature::SchemaRegistry);
    }
    let registry = ["--kafka-format", "avro", "--schema-registry", "http://localhost:1"];
    let run = ["run", "--plays", "kafka:plays", "--store", "s.db"];
    let command = [&run[..], &["--bootstrap-servers", "localhost:1"], &registry].concat();
    check(Feature::SchemaRegistry, "all tests of Avro and Protobuf", &command);
}

#[test]
fn the_version_names_the_features() {
    let version = common::program::run(["--version"]).succeeded().stdout;
    for feature in Feature::ALL {
        assert_eq!(version.contains(feature.name()), feature.is_built_in(), "{version}");
    }
}
