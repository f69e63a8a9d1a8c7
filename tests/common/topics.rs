//! Topics for tests: on a real broker if `TRENDMARK_TEST_KAFKA` names one, otherwise on
//! librdkafka's mock cluster where that is sufficient.

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use trendmark::kafka::KafkaSettings;
use trendmark::kafka::client::block_on;

pub const TIMEOUT: Duration = Duration::from_secs(30);

/// The address of the real broker; without one, prints that the test `what` is skipped.
pub fn real_broker(what: &str) -> Option<String> {
    let servers = std::env::var("TRENDMARK_TEST_KAFKA").ok();
    if servers.is_none() {
        // Not by `eprintln`, whose output is hidden when a test succeeds.
        let skipped = format!("SKIPPED: {what} needs TRENDMARK_TEST_KAFKA\n");
        std::io::stderr().write_all(skipped.as_bytes()).unwrap();
    }
    servers
}

/// A cluster and its connection settings.
pub struct Cluster {
    pub settings: KafkaSettings,
    pub mock: Option<MockCluster<'static, DefaultProducerContext>>,
    broker: Option<PathBuf>,
}

impl Cluster {
    /// The real broker if there is one, otherwise a mock.
    pub fn any() -> Cluster {
        match std::env::var("TRENDMARK_TEST_KAFKA") {
            Ok(servers) => Cluster::at(&servers),
            Err(_) => Cluster::mock(),
        }
    }

    pub fn at(servers: &str) -> Cluster {
        let settings =
            KafkaSettings { bootstrap_servers: servers.into(), settings: BTreeMap::new() };
        Cluster { settings, mock: None, broker: None }
    }

    pub fn mock() -> Cluster {
        let mock = MockCluster::new(1).unwrap();
        let mut cluster = Cluster::at(&mock.bootstrap_servers());
        cluster.mock = Some(mock);
        cluster
    }

    /// A real broker that belongs to the test, which may break it.
    pub fn own(options: &[&str]) -> Cluster {
        let folder = std::env::temp_dir().join(unique("trendmark-broker"));
        let servers = broker("start", &folder, options);
        let mut cluster = Cluster::at(servers.trim());
        cluster.broker = Some(folder);
        cluster
    }

    /// The folder of the broker that belongs to the test.
    pub fn folder(&self) -> &PathBuf {
        self.broker.as_ref().unwrap()
    }

    /// Runs a command of `tests/kafka/broker` on the broker that belongs to the test.
    pub fn order(&self, order: &str) {
        broker(order, self.folder(), &[]);
    }

    /// Sends a signal to the first broker of an own cluster.
    pub fn signal(&self, signal: &str) {
        let pid = std::fs::read_to_string(self.folder().join("node-1/pid")).unwrap();
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(pid.trim()).status();
        assert!(sent.unwrap().success());
    }

    pub fn servers(&self) -> &str {
        &self.settings.bootstrap_servers
    }

    /// The same cluster with one more setting.
    pub fn with(mut self, key: &str, value: &str) -> Cluster {
        self.settings.settings.insert(key.into(), value.into());
        self
    }

    fn config(&self) -> ClientConfig {
        let mut config = self.settings.client_config().unwrap();
        config.set("message.max.bytes", "16000000");
        config
    }

    /// Creates a topic with a unique name, and returns the name.
    pub fn create_topic(&self, name: &str, partitions: i32) -> String {
        let topic = unique(name);
        match &self.mock {
            Some(mock) => mock.create_topic(&topic, partitions, 1).unwrap(),
            None => assert!(self.create_named(&topic, partitions)),
        }
        topic
    }

    /// Creates a topic on a real broker. Returns `false` if one of that name still exists.
    pub fn create_named(&self, topic: &str, partitions: i32) -> bool {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
        let created = block_on(self.admin().create_topics([&new], &AdminOptions::new()));
        match &created.unwrap()[0] {
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => false,
            created => created.is_ok(),
        }
    }

    pub fn add_partitions(&self, topic: &str, partitions: usize) {
        let new = NewPartitions::new(topic, partitions);
        let added = block_on(self.admin().create_partitions([&new], &AdminOptions::new()));
        added.unwrap()[0].as_ref().unwrap();
    }

    pub fn delete_topic(&self, topic: &str) {
        block_on(self.admin().delete_topics(&[topic], &AdminOptions::new())).unwrap();
    }

    /// Deletes a topic, and those whose names continue its name with `-`.
    pub fn delete_topics(&self, topic: &str) {
        let consumer: BaseConsumer = self.config().create().unwrap();
        let metadata = consumer.fetch_metadata(None, TIMEOUT).unwrap();
        let names = metadata.topics().iter().map(|topic| topic.name());
        let is_named = |name: &str| name == topic || name.starts_with(&format!("{topic}-"));
        names.filter(|name| is_named(name)).for_each(|name| self.delete_topic(name));
    }

    /// Deletes the messages of partition 0 before an offset, as retention does.
    pub fn delete_records(&self, topic: &str, before: i64) {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(topic, 0, Offset::Offset(before)).unwrap();
        block_on(self.admin().delete_records(&offsets, &AdminOptions::new())).unwrap();
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().unwrap()
    }

    pub fn writer(&self) -> Writer {
        // Messages that are sent again keep their order, so offsets equal those of the log.
        Writer { producer: self.config().set("enable.idempotence", "true").create().unwrap() }
    }

    /// A writer that uses transactions.
    pub fn transactional_writer(&self) -> Writer {
        let id = unique("writer");
        let producer: BaseProducer = self.config().set("transactional.id", id).create().unwrap();
        producer.init_transactions(TIMEOUT).unwrap();
        Writer { producer }
    }

    /// The offset that a group has committed for partition 0 of a topic.
    pub fn committed(&self, group: &str, topic: &str) -> Option<i64> {
        let consumer: BaseConsumer = self.config().set("group.id", group).create().unwrap();
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition(topic, 0);
        let committed = consumer.committed_offsets(partitions, TIMEOUT).unwrap();
        committed.elements()[0].offset().to_raw().filter(|offset| *offset >= 0)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(folder) = &self.broker {
            broker("stop", folder, &[]);
        }
    }
}

fn broker(order: &str, folder: &std::path::Path, options: &[&str]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/broker");
    let mut command = Command::new(script);
    command.arg(order).arg("--folder").arg(folder).args(options);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{order}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A unique name.
pub fn unique(name: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{name}-{}-{}-{count}", now.as_micros(), std::process::id())
}

/// Writes messages.
pub struct Writer {
    pub producer: BaseProducer,
}

impl Writer {
    /// Writes a message with a timestamp, with or without a value.
    pub fn write(&self, topic: &str, partition: i32, value: Option<&[u8]>, time_ms: i64) {
        let mut record = BaseRecord::<(), [u8]>::to(topic).partition(partition).timestamp(time_ms);
        record.payload = value;
        while let Err((_, unsent)) = self.producer.send(record) {
            record = unsent;
            self.producer.poll(Duration::from_millis(10));
        }
    }

    /// Writes impressions of these videos, in order, and waits for their delivery.
    pub fn write_events(&self, topic: &str, partition: i32, videos: std::ops::Range<u64>) {
        for video in videos {
            self.write(topic, partition, Some(event(video).as_bytes()), EVENT_TIME_MS);
        }
        self.flush();
    }

    /// Writes such impressions to partition 0 in a transaction, which is committed or aborted.
    pub fn write_transaction(&self, topic: &str, videos: std::ops::Range<u64>, commit: bool) {
        self.producer.begin_transaction().unwrap();
        self.write_events(topic, 0, videos);
        match commit {
            true => self.producer.commit_transaction(TIMEOUT).unwrap(),
            false => self.producer.abort_transaction(TIMEOUT).unwrap(),
        }
    }

    pub fn flush(&self) {
        self.producer.flush(TIMEOUT).unwrap();
    }
}

pub const EVENT_TIME_MS: i64 = 1_767_225_600_000;

/// The record of an event with this video.
pub fn event(video: u64) -> String {
    format!(r#"{{"request_id":"r{video}","video_id":{video},"event_time":{EVENT_TIME_MS}}}"#)
}
