//! The topics of a Kafka store on the test broker, and publications to commit to it.

use super::topics::real_broker;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;
use std::collections::BTreeMap;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;
use trendmark::dataflows;
use trendmark::event::{Kind, RequestId, VideoId};
use trendmark::kafka::KafkaSettings;
use trendmark::log::{BlockStart, PartitionName, PartitionProgress};
use trendmark::query::{QueryInstance, Value as Cell};
use trendmark::stores::kafka::{KafkaReader, KafkaStore};
use trendmark::stores::{Changeset, Claim, RowChange, Store, StoreError, StoreReader};
use trendmark::time::{Definition, Epoch};

pub const TIMEOUT: Duration = Duration::from_secs(30);

/// The topics of a store with a unique name, on the test broker.
pub struct StoreTopics {
    pub settings: KafkaSettings,
    pub topic: String,
}

/// A committed record: its partition, its key, which may be empty, and its value.
pub type Record = (i32, String, Option<Value>);

impl StoreTopics {
    /// Returns `None` and prints that the test is skipped if there is no broker.
    pub fn new(test: &str) -> Option<StoreTopics> {
        real_broker(test).map(|servers| StoreTopics::at(servers, test))
    }

    pub fn at(bootstrap_servers: String, test: &str) -> StoreTopics {
        let started = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let settings = KafkaSettings { bootstrap_servers, settings: BTreeMap::new() };
        StoreTopics { settings, topic: format!("{test}.{started}") }
    }

    pub fn open(&self) -> Result<KafkaStore, StoreError> {
        self.open_with(false)
    }

    /// Opens the store even if another job has it.
    pub fn take_over(&self) -> KafkaStore {
        self.open_with(true).unwrap()
    }

    fn open_with(&self, take_over: bool) -> Result<KafkaStore, StoreError> {
        let claim = Claim { take_over, ..Claim::default() };
        KafkaStore::open(&self.settings, &self.topic, &Definition::default(), &queries(), &claim)
    }

    pub fn reader(&self) -> Result<KafkaReader, StoreError> {
        KafkaReader::open(&self.settings, &self.topic)
    }

    pub fn refusal(&self) -> String {
        match self.open() {
            Ok(_) => panic!("{} was not refused", self.topic),
            Err(error) => error.to_string(),
        }
    }

    pub fn config(&self) -> ClientConfig {
        self.settings.client_config().unwrap()
    }

    pub fn create(&self, suffix: &str, partitions: i32, settings: &[(&str, &str)]) {
        let name = format!("{}{suffix}", self.topic);
        let mut topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(-1));
        topic.config.extend(settings);
        let created = wait(self.admin().create_topics([&topic], &AdminOptions::new())).unwrap();
        assert!(created[0].is_ok(), "{created:?}");
        thread::sleep(Duration::from_millis(200));
    }

    pub fn delete(&self, suffix: &str) {
        let name = format!("{}{suffix}", self.topic);
        wait(self.admin().delete_topics(&[name.as_str()], &AdminOptions::new())).unwrap();
        thread::sleep(Duration::from_secs(1));
    }

    pub fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().unwrap()
    }

    /// All committed records of one of the topics, in the order of each partition.
    pub fn records(&self, suffix: &str) -> Vec<Record> {
        let name = format!("{}{suffix}", self.topic);
        let mut config = self.config();
        config.set("group.id", "test").set("isolation.level", "read_committed");
        config.set("enable.partition.eof", "true").set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create().unwrap();
        let metadata = consumer.fetch_metadata(Some(&name), TIMEOUT).unwrap();
        let partitions = metadata.topics()[0].partitions().len();
        let mut assignment = TopicPartitionList::new();
        for partition in 0..partitions {
            let partition = i32::try_from(partition).unwrap();
            assignment.add_partition_offset(&name, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&assignment).unwrap();
        let (mut records, mut ends) = (Vec::new(), 0);
        while ends < partitions {
            match consumer.poll(TIMEOUT).expect("a record or the end of a partition") {
                Ok(message) => {
                    let key =
                        String::from_utf8(message.key().unwrap_or_default().to_vec()).unwrap();
                    let value = message.payload().map(serde_json::from_slice);
                    records.push((message.partition(), key, value.transpose().unwrap()));
                }
                Err(KafkaError::PartitionEOF(_)) => ends += 1,
                Err(error) => panic!("{error}"),
            }
        }
        records
    }

    /// A topic as complete compaction would leave it: the last value of each key, without deleted
    /// ones.
    pub fn table(&self, suffix: &str) -> BTreeMap<String, Value> {
        let mut partitions = BTreeMap::new();
        let mut table = BTreeMap::new();
        for (partition, key, value) in self.records(suffix) {
            let before = *partitions.entry(key.clone()).or_insert(partition);
            assert_eq!(before, partition, "{key} is in two partitions");
            match value {
                Some(value) => table.insert(key, value),
                None => table.remove(&key),
            };
        }
        table
    }
}

/// Waits for a future that rdkafka's thread completes.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::sleep(Duration::from_millis(5)),
        }
    }
}

pub fn queries() -> [QueryInstance; 3] {
    let named = |name| dataflows::find(name).unwrap();
    [named("trends"), named("requests"), dataflows::LEDGER].map(QueryInstance::new)
}

pub fn change(query: usize, epoch: i64, key: &[Cell], values: &[Cell]) -> RowChange {
    let contract = queries()[query].query;
    let row = contract.row(Epoch(epoch), key.iter().copied(), values.iter().copied());
    RowChange { query, row, deleted: false }
}

pub fn trend(video: u64, epoch: i64, plays: u64, impressions: u64) -> RowChange {
    let values = [plays, impressions].map(Cell::Count);
    change(0, epoch, &[Cell::Video(VideoId(video))], &values)
}

pub fn request(text: &str, video: u64, epoch: i64) -> RowChange {
    let request = Cell::Request(RequestId::parse(text).unwrap());
    let values = [true, false].map(Cell::Flag);
    change(1, epoch, &[Cell::Video(VideoId(video)), request], &values)
}

pub fn publication(rows: Vec<RowChange>) -> Changeset {
    Changeset { rows, ..Changeset::default() }
}

/// Commits changes as the next publication.
pub fn commit(store: &mut KafkaStore, changes: &Changeset) -> Result<(), StoreError> {
    let publication = store.progress()?.publication.next();
    store.commit(&Changeset { publication, ..changes.clone() })
}

pub fn partition(name: &str, next_offset: u64, malformed: u64) -> PartitionProgress {
    PartitionProgress {
        partition: PartitionName { kind: Kind::Play, name: name.to_owned() },
        next_offset,
        watermark_ms: Some(1_767_225_600_500),
        replay_offset: next_offset / 2,
        replay_watermark_ms: None,
        block: BlockStart::default(),
        decisions: Vec::new(),
        malformed,
        idle: false,
        file: None,
        lost: None,
    }
}
