//! Avro and Protobuf with a schema registry: they give the same rows as JSON. Messages that cannot
//! be decoded are reported, and a job waits for a registry that is down.

#![cfg(feature = "schema-registry")]

mod common;

use apache_avro::types::Value as AvroValue;
use apache_avro::writer::datum::GenericDatumWriter;
use common::contents::{Contents, computed};
use common::program::{Running, run, trendmark};
use common::registry::TestRegistry;
use common::topics::{Cluster, EVENT_TIME_MS};
use protox::prost_reflect::prost::Message;
use protox::prost_reflect::{DynamicMessage, MessageDescriptor, Value};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const AVRO: &str = r#"{"type":"record","name":"Event","fields":[
    {"name":"request_id","type":"string"}, {"name":"video_id","type":"long"},
    {"name":"event_time","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"record_time","type":["null",{"type":"long","logicalType":"timestamp-micros"}]}]}"#;
const AVRO_EMPTY: &str = r#"{"type":"record","name":"Empty","fields":[]}"#;
const PROTOBUF: &str = r#"syntax = "proto3"; import "google/protobuf/timestamp.proto";
    import "envelope.proto";
    message Other { Envelope envelope = 1; }
    message Outer { message Event { uint64 video_id = 1; string request_id = 2;
        google.protobuf.Timestamp event_time = 5; optional int64 record_time = 6; } }"#;
const ENVELOPE: &str = r#"syntax = "proto3"; message Envelope { string name = 1; }"#;

/// Events as JSON, one impression or play per line.
fn lines(videos: u64) -> Vec<serde_json::Value> {
    let line = |number: u64| {
        let time = EVENT_TIME_MS + 1_000 * number as i64;
        let id = format!("00000000-0000-4000-8000-{:012x}", number / 2);
        let video = number * 7919 % videos;
        let mut line =
            serde_json::json!({ "request_id": id, "video_id": video, "event_time": time });
        if number.is_multiple_of(3) {
            line["record_time"] = (time + 5).into();
        }
        line
    };
    (0..3_000).map(line).collect()
}

fn frame(id: u32, place: &[u8], payload: &[u8]) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..], place, payload].concat()
}

fn to_avro(line: &serde_json::Value) -> Vec<u8> {
    let schema = apache_avro::Schema::parse_str(AVRO).unwrap();
    let record_time = match line["record_time"].as_i64() {
        Some(time) => AvroValue::Union(1, Box::new(AvroValue::TimestampMicros(time * 1_000))),
        None => AvroValue::Union(0, Box::new(AvroValue::Null)),
    };
    let id = line["request_id"].as_str().unwrap().to_string();
    let record = AvroValue::Record(vec![
        ("request_id".into(), AvroValue::String(id)),
        ("video_id".into(), AvroValue::Long(line["video_id"].as_i64().unwrap())),
        ("event_time".into(), AvroValue::TimestampMillis(line["event_time"].as_i64().unwrap())),
        ("record_time".into(), record_time),
    ]);
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    frame(7, &[], &writer.write_value_to_vec(record).unwrap())
}

/// The type `Outer.Event`, compiled by `protox`.
fn protobuf_event() -> MessageDescriptor {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("events.proto"), PROTOBUF).unwrap();
    std::fs::write(folder.path().join("envelope.proto"), ENVELOPE).unwrap();
    let mut compiler = protox::Compiler::new([folder.path()]).unwrap();
    compiler.open_file("events.proto").unwrap();
    compiler.descriptor_pool().get_message_by_name("Outer.Event").unwrap()
}

fn to_protobuf(event: &MessageDescriptor, line: &serde_json::Value) -> Vec<u8> {
    let mut message = DynamicMessage::new(event.clone());
    let id = line["request_id"].as_str().unwrap().to_string();
    message.set_field_by_name("request_id", Value::String(id));
    message.set_field_by_name("video_id", Value::U64(line["video_id"].as_u64().unwrap()));
    let field = event.get_field_by_name("event_time").unwrap();
    let time = line["event_time"].as_i64().unwrap();
    let mut stamp = DynamicMessage::new(field.kind().as_message().unwrap().clone());
    stamp.set_field_by_name("seconds", Value::I64(time / 1_000));
    stamp.set_field_by_name("nanos", Value::I32((time % 1_000 * 1_000_000) as i32));
    message.set_field_by_name("event_time", Value::Message(stamp));
    if let Some(time) = line["record_time"].as_i64() {
        message.set_field_by_name("record_time", Value::I64(time));
    }
    // The second message type of the schema, and in it the first nested type.
    frame(8, &[4, 2, 0], &message.encode_to_vec())
}

/// Writes messages to two partitions of a topic. Returns `kafka:TOPIC`.
fn to_topic(cluster: &Cluster, name: &str, messages: &[Vec<u8>]) -> String {
    let topic = cluster.create_topic(name, 2);
    let writer = cluster.writer();
    for (number, message) in messages.iter().enumerate() {
        writer.write(&topic, number as i32 % 2, Some(message), EVENT_TIME_MS);
    }
    writer.flush();
    format!("kafka:{topic}")
}

fn command(cluster: &Cluster, topics: [&str; 2], store: &Path, more: &[&str]) -> Command {
    let mut command = trendmark();
    command.args(["run", "--query", "all", "--impressions", topics[0], "--plays", topics[1]]);
    command.args(["--bootstrap-servers", cluster.servers(), "--until-end", "--workers", "2"]);
    command.arg("--store").arg(store).args(more);
    command
}

/// Runs a job on messages made from the lines, as impressions and as plays.
fn from_messages(
    cluster: &Cluster,
    folder: &Path,
    format: &str,
    more: &[&str],
    make: impl Fn(&serde_json::Value) -> Vec<u8>,
) -> Contents {
    let store = folder.join(format!("{format}.db"));
    let messages: Vec<_> = lines(50).iter().map(make).collect();
    let topics = ["impressions", "plays"].map(|kind| to_topic(cluster, kind, &messages));
    let more = [&["--kafka-format", format], more].concat();
    let mut command = command(cluster, [&topics[0], &topics[1]], &store, &more);
    Running::start(&mut command).finish().succeeded();
    computed(&store)
}

#[test]
fn avro_and_protobuf_give_the_same_rows_as_json() {
    let (cluster, registry) = (Cluster::any(), TestRegistry::start());
    let folder = tempfile::tempdir().unwrap();
    registry.register(7, "AVRO", AVRO, &[]);
    registry.register(8, "PROTOBUF", PROTOBUF, &[("envelope.proto", "a/envelope value", 3)]);
    registry.register_subject("a%2Fenvelope%20value", 3, "PROTOBUF", ENVELOPE);
    registry.require("Basic cmVhZGVyOnMzY3JldA==");
    let user = folder.path().join("user");
    std::fs::write(&user, "reader:s3cret\n").unwrap();
    let (url, auth) = (registry.url(), format!("file:{}", user.display()));
    let more = ["--schema-registry", &url, "--schema-registry-auth", &auth];

    let json = |line: &serde_json::Value| line.to_string().into_bytes();
    let expected = from_messages(&cluster, folder.path(), "json", &[], json);
    assert!(expected["trends"].len() > 10);
    let avro = from_messages(&cluster, folder.path(), "avro", &more, to_avro);
    assert_eq!(avro, expected);
    assert_eq!(registry.asked(), 1, "a schema is requested once");
    let event = protobuf_event();
    let protobuf =
        from_messages(&cluster, folder.path(), "protobuf", &more, |line| to_protobuf(&event, line));
    assert_eq!(protobuf, expected);
    assert_eq!(registry.asked(), 3);
}

#[test]
fn messages_that_cannot_be_decoded_are_malformed_with_a_reason() {
    let (cluster, registry) = (Cluster::any(), TestRegistry::start());
    let folder = tempfile::tempdir().unwrap();
    registry.register(7, "AVRO", AVRO, &[]);
    registry.register(8, "PROTOBUF", PROTOBUF, &[]);
    registry.register(6, "AVRO", AVRO_EMPTY, &[]);
    registry.register(5, "AVRO", "no schema", &[]);
    let good = to_avro(&lines(50)[0]);
    let garbage = [
        vec![],
        vec![0, 0, 0, 0],
        b"{\"request_id\":1}".to_vec(),
        frame(9, &[], &good[5..]),
        frame(8, &[0], b""),
        frame(6, &[], b""),
        frame(5, &[], b""),
        good[..good.len() - 1].to_vec(),
        good.clone(),
    ];
    let impressions = to_topic(&cluster, "impressions", &garbage);
    let plays = to_topic(&cluster, "plays", std::slice::from_ref(&good));
    let (store, dead) = (folder.path().join("s.db"), folder.path().join("dead.jsonl"));
    let url = format!("{}/", registry.url());
    let more = ["--kafka-format", "avro", "--schema-registry", &url, "--dead-letter"];
    let mut command = command(&cluster, [&impressions, &plays], &store, &more);
    let finished = Running::start(command.arg(&dead)).finish().succeeded();
    assert!(finished.stdout.contains("2 events and 8 malformed records"), "{finished:#?}");
    let dead = std::fs::read_to_string(dead).unwrap();
    for reason in [
        "not in Confluent framing: it has fewer than 5 bytes",
        "not in Confluent framing: its first byte is not 0",
        "the schema registry has no schema 9",
        "schema 8 cannot be used: its type is PROTOBUF, expected AVRO",
        "missing field `request_id`",
        "schema 5 cannot be used: ",
        "invalid Avro for its schema: unexpected end of data",
    ] {
        assert!(dead.contains(reason), "{reason}: {dead}");
    }
}

#[test]
fn a_job_waits_for_a_registry_that_is_down() {
    let (cluster, registry) = (Cluster::any(), TestRegistry::start());
    let folder = tempfile::tempdir().unwrap();
    registry.register(7, "AVRO", AVRO, &[]);
    registry.set_down(true);
    let messages: Vec<_> = lines(50).iter().map(to_avro).collect();
    let topics = ["impressions", "plays"].map(|kind| to_topic(&cluster, kind, &messages));
    let (store, url) = (folder.path().join("s.db"), registry.url());
    let more = ["--kafka-format", "avro", "--schema-registry", &url];
    let mut running =
        Running::start(&mut command(&cluster, [&topics[0], &topics[1]], &store, &more));
    let mut said = String::new();
    common::program::wait_until("the failure is reported", || {
        said = running.stderr();
        said.contains("no schema from the schema registry")
    });
    std::thread::sleep(Duration::from_secs(2));
    assert!(!running.has_ended());
    registry.set_down(false);
    let finished = running.finish().succeeded();
    assert!(finished.stdout.contains("6000 events and 0 malformed records"), "{finished:#?}");
}

#[test]
fn a_registry_that_denies_access_ends_the_job_and_no_secret_is_printed() {
    let (cluster, registry) = (Cluster::any(), TestRegistry::start());
    let folder = tempfile::tempdir().unwrap();
    registry.require("Basic other");
    let good = to_avro(&lines(50)[0]);
    let topics =
        ["impressions", "plays"].map(|kind| to_topic(&cluster, kind, std::slice::from_ref(&good)));
    let (store, url) = (folder.path().join("s.db"), registry.url());
    let more = ["--kafka-format", "avro", "--schema-registry", &url];
    let auth = ["--schema-registry-auth", "reader:s3cret"];
    let more = [&more[..], &auth].concat();
    let mut command = command(&cluster, [&topics[0], &topics[1]], &store, &more);
    let finished = Running::start(&mut command).finish();
    let said = ["denies access: it answers 401; check --schema-registry-auth"];
    let finished = finished.failed(1, &said);
    assert!(!finished.stderr.contains("s3cret") && !finished.stdout.contains("s3cret"));
}

/// Messages with ids that the registry does not know, or that cannot be.
fn of_unknown_schemas(count: u32) -> Vec<Vec<u8>> {
    let ids = (0..count).map(|number| match number % 3 {
        0 => (1 << 31) + number,
        _ => 1_000 + number,
    });
    ids.map(|id| frame(id, &[], b"junk")).collect()
}

#[test]
fn messages_of_unknown_schemas_pass_quickly_and_together() {
    let (cluster, registry) = (Cluster::any(), TestRegistry::start());
    let folder = tempfile::tempdir().unwrap();
    registry.register(7, "AVRO", AVRO, &[]);
    let good = to_avro(&lines(50)[0]);
    let mut messages = of_unknown_schemas(300);
    messages.push(good.clone());
    let impressions = to_topic(&cluster, "impressions", &messages);
    let plays = to_topic(&cluster, "plays", std::slice::from_ref(&good));
    let (store, url) = (folder.path().join("s.db"), registry.url());
    let more = ["--kafka-format", "avro", "--schema-registry", &url, "--dead-letter"];
    let dead = folder.path().join("dead.jsonl");
    let mut command = command(&cluster, [&impressions, &plays], &store, &more);
    let finished = Running::start(command.arg(&dead)).finish().succeeded();
    assert!(finished.stdout.contains("2 events and 300 malformed records"), "{finished:#?}");
    assert!(finished.waited < Duration::from_secs(20), "{:?}", finished.waited);
    // Each of 200 unknown ids twice, and the one that exists.
    assert!((401..=420).contains(&registry.asked()), "{}", registry.asked());
    let dead = std::fs::read_to_string(dead).unwrap();
    for reason in ["there can be no schema 2147483648: ids end at", "has no schema 1001"] {
        assert!(dead.contains(reason), "{reason}: {dead}");
    }
}

/// A proxy, or the registry itself, may answer an id with a 404 of another form. That counts only
/// if the place is a registry: any other server would answer every id so.
#[test]
fn an_odd_404_means_that_a_registry_does_not_know_the_id() {
    let (cluster, registry) = (Cluster::any(), TestRegistry::start());
    let folder = tempfile::tempdir().unwrap();
    registry.set_odd(true);
    let messages = of_unknown_schemas(5);
    let topics = ["impressions", "plays"].map(|kind| to_topic(&cluster, kind, &messages));
    let url = registry.url();
    let more = ["--kafka-format", "avro", "--schema-registry", &url];
    let start = |name: &str| {
        let store = folder.path().join(name);
        Running::start(&mut command(&cluster, [&topics[0], &topics[1]], &store, &more))
    };
    let finished = start("registry.db").finish();
    assert!(finished.stdout.contains("0 events and 10 malformed records"), "{finished:#?}");
    registry.set_odd(false);
    let waits = start("other.db");
    let said = "404, but not from a schema registry; check the URL";
    common::program::wait_until("the job waits and says so", || waits.stderr().contains(said));
}

#[test]
fn credentials_follow_a_redirect_within_the_registry_only() {
    let (cluster, registry) = (Cluster::any(), TestRegistry::start());
    let folder = tempfile::tempdir().unwrap();
    registry.register(7, "AVRO", AVRO, &[]);
    registry.require("Basic cmVhZGVyOnMzY3JldA==");
    let good = to_avro(&lines(50)[0]);
    let topics =
        ["impressions", "plays"].map(|kind| to_topic(&cluster, kind, std::slice::from_ref(&good)));
    let auth = ["--schema-registry-auth", "reader:s3cret"];
    let run = |name: &str, url: &str| {
        let more = [&["--kafka-format", "avro", "--schema-registry", url][..], &auth].concat();
        let store = folder.path().join(name);
        Running::start(&mut command(&cluster, [&topics[0], &topics[1]], &store, &more)).finish()
    };
    run("same.db", &format!("{}/moved", registry.url())).succeeded();
    registry.set_moved(&registry.url());
    run("absolute.db", &format!("{}/moved", registry.url())).succeeded();
    let other = TestRegistry::start();
    other.set_moved(&registry.url().replace("://", "://u:s3cret@"));
    let said = ["redirects to", "--schema-registry-auth is not sent to another place"];
    let finished = run("other.db", &format!("{}/moved", other.url())).failed(1, &said);
    assert!(!finished.stderr.contains("s3cret"), "{finished:#?}");
}

#[test]
fn the_logs_may_have_different_formats() {
    let (cluster, registry) = (Cluster::any(), TestRegistry::start());
    let folder = tempfile::tempdir().unwrap();
    registry.register(7, "AVRO", AVRO, &[]);
    let impressions: Vec<_> = lines(50).iter().map(to_avro).collect();
    // Half of the plays are framed, as Confluent's serializer of JSON Schema writes them.
    let json = |(number, line): (usize, serde_json::Value)| match number % 2 {
        0 => line.to_string().into_bytes(),
        _ => frame(5, &[], line.to_string().as_bytes()),
    };
    let plays: Vec<_> = lines(50).into_iter().enumerate().map(json).collect();
    let topics =
        [to_topic(&cluster, "impressions", &impressions), to_topic(&cluster, "plays", &plays)];
    let url = registry.url();
    let registry = ["--schema-registry", &url];
    for (name, formats) in [
        ("one.db", &["--kafka-format", "impressions=avro"][..]),
        ("both.db", &["--kafka-format", "avro", "plays=json"]),
    ] {
        let store = folder.path().join(name);
        let more = [formats, &registry].concat();
        let mut command = command(&cluster, [&topics[0], &topics[1]], &store, &more);
        let finished = Running::start(&mut command).finish().succeeded();
        assert!(finished.stdout.contains("6000 events and 0 malformed"), "{finished:#?}");
    }
}

#[test]
fn wrong_flags_are_reported() {
    let arguments =
        ["run", "--plays", "kafka:plays", "--store", "s.db", "--bootstrap-servers", "b:1"];
    let refused = |more: &[&str], said: &str| run(arguments.iter().chain(more)).failed(2, &[said]);
    refused(&["--kafka-format", "plays=xml"], "write json, avro or protobuf");
    refused(&["--kafka-format", "avro"], "give --schema-registry");
    refused(&["--kafka-format", "protobuf"], "give --schema-registry");
    refused(&["--schema-registry", "http://r"], "give --kafka-format avro or protobuf");
    let avro = ["--kafka-format", "avro", "--schema-registry"];
    let with = |url| [&avro[..], &[url]].concat();
    for url in ["r:8081", "http://", "http://user:s3cret@r", "http://r?x=s3cret"] {
        let finished = refused(&with(url), "--schema-registry is not a valid URL");
        assert!(!finished.stderr.contains("s3cret"), "{finished:#?}");
    }
    let auth = |auth| [&with("http://r")[..], &["--schema-registry-auth", auth]].concat();
    let finished = refused(&auth("s3cret"), "--schema-registry-auth is not USER:PASSWORD");
    assert!(!finished.stderr.contains("s3cret"), "{finished:#?}");
    refused(&auth("(hidden)"), "printed in place of the secret");
    run(arguments.iter().chain(&auth("file:/no/such/file"))).failed(1, &["`/no/such/file`"]);

    let printed = run(arguments.iter().chain(&auth("u:s3cret")).chain(&["--print-config"]));
    let printed = printed.succeeded().stdout;
    assert!(printed.contains("schema-registry-auth = \"(hidden)\""), "{printed}");
    assert!(printed.contains("schema-registry = \"http://r\""), "{printed}");
    assert!(printed.contains("kafka-format = \"avro\""), "{printed}");
}
