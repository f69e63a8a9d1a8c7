//! Titles in a compacted topic: the store has what the topic says, soon after a message comes, and
//! after restarts; tombstones, messages that are no titles, new partitions, and another topic of
//! the same name.
#![cfg(feature = "kafka")]

mod common;

use common::program::{Running, trendmark};
use common::topics::{Cluster, Writer, real_broker, unique};
use common::workspace::{Workspace, lines, stop, wait};
use rdkafka::producer::{BaseRecord, Producer};
use std::time::Duration;

/// A job on a log of the videos 0 to 4, with titles in a topic.
struct Job {
    place: Workspace,
    cluster: Cluster,
    topic: String,
    writer: Writer,
}

impl Job {
    fn new(cluster: Cluster, partitions: i32) -> Job {
        let place = Workspace::new();
        place.write("i.jsonl", lines(0..10));
        let (topic, writer) = (unique("titles"), cluster.writer());
        match &cluster.mock {
            Some(mock) => mock.create_topic(&topic, partitions, 1).unwrap(),
            None => assert!(cluster.create_named(&topic, partitions)),
        }
        Job { place, cluster, topic, writer }
    }

    /// Writes a message of a video to a partition: a title, or none.
    fn write(&self, partition: i32, key: &str, value: Option<&str>) {
        let record = BaseRecord::<str, str>::to(&self.topic).partition(partition).key(key);
        let record = value.iter().fold(record, |record, value| record.payload(value));
        self.writer.producer.send(record).map_err(|(error, _)| error).unwrap();
        self.writer.producer.flush(Duration::from_secs(30)).unwrap();
    }

    fn title(&self, partition: i32, video: u64, title: &str) {
        let value = format!("{{\"title\":\"{title}\"}}");
        self.write(partition, &video.to_string(), Some(&value));
    }

    fn arguments(&self) -> Vec<String> {
        let topic = format!("kafka:{}", self.topic);
        let all = ["--impressions", "i.jsonl", "--titles", &topic, "--bootstrap-servers"];
        all.into_iter().chain([self.cluster.servers()]).map(str::to_owned).collect()
    }

    fn run(&self) -> Running {
        let arguments = self.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Running::start(&mut self.place.command(&arguments))
    }

    fn follow(&self) -> Running {
        let arguments = self.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut job = self.place.follow(&arguments);
        wait(&mut job, &self.place, 10);
        job
    }

    fn titles(&self) -> Vec<String> {
        self.place.select("video_id, title FROM titles")
    }

    fn wait_for(&self, job: &mut Running, expected: &[&str]) {
        job.wait_until(&format!("the titles are {expected:?}"), || self.titles() == expected);
    }

    /// What was read of each partition: titles, malformed messages, next offset.
    fn sources(&self) -> Vec<String> {
        let place = format!("replace(place, 'kafka:{}/', '')", self.topic);
        self.place.select(&format!("{place}, titles, malformed, next_offset FROM title_sources"))
    }
}

#[test]
fn the_store_has_the_titles_of_a_topic_that_changes_and_their_position() {
    let topic = Job::new(Cluster::any(), 2);
    topic.title(0, 0, "Zero");
    topic.title(1, 1, "One");
    let mut job = topic.follow();
    topic.wait_for(&mut job, &["0,Zero", "1,One"]);
    assert_eq!(topic.sources(), ["0,1,0,1", "1,1,0,1"]);
    topic.title(0, 0, "Null");
    topic.write(1, "1", None);
    topic.write(0, "{\"video_id\":2}", Some("{\"video_id\":\"2\",\"title\":\"Two\"}"));
    topic.wait_for(&mut job, &["0,Null", "2,Two"]);
    assert_eq!(topic.sources(), ["0,3,0,3", "1,2,0,2"]);
    stop(job);

    // What changes while no job runs. The next one reads to the end and ends.
    topic.title(1, 4, "Four");
    topic.write(0, "2", None);
    topic.run().finish().succeeded();
    assert_eq!(topic.titles(), ["0,Null", "4,Four"]);
    assert_eq!(topic.sources(), ["0,4,0,4", "1,3,0,3"]);
    let in_view = topic.place.select("video_id, title FROM trends");
    assert_eq!(in_view, ["0,Null", "1,", "2,", "3,", "4,Four"]);
}

#[test]
fn messages_that_are_no_titles_are_counted_and_told_and_the_others_count() {
    let topic = Job::new(Cluster::any(), 1);
    topic.title(0, 0, "Zero");
    topic.write(0, "x", None);
    topic.write(0, "1", Some("{\"video_id\":2,\"title\":\"x\"}"));
    topic.write(0, "1", Some("no JSON"));
    topic.title(0, 1, "One");
    let said = topic.run().finish().succeeded();
    assert_eq!(topic.titles(), ["0,Zero", "1,One"]);
    assert_eq!(topic.sources(), ["0,2,3,5"]);
    let first = "offset 1: its key is no video id, so that it takes no title back";
    let place = format!("kafka:{}/0", topic.topic);
    let warned = format!("titles: a record of `{place}` is no title: {first}");
    assert!(said.stderr.contains(&warned), "{}", said.stderr);
    let last = format!("3 of 5 records of `{place}` are no titles; first: {first}");
    assert!(said.stdout.contains(&last), "{}", said.stdout);
}

#[test]
fn titles_stay_when_a_job_is_killed_and_are_those_of_the_topic_after_it() {
    let topic = Job::new(Cluster::any(), 1);
    for round in 0..5u64 {
        (0..20).for_each(|video| topic.title(0, video, &format!("{round}-{video}")));
        let mut job = topic.run();
        std::thread::sleep(Duration::from_millis(100 * round));
        job.kill();
        job.finish();
    }
    topic.run().finish().succeeded();
    let mut expected: Vec<_> = (0..20).map(|video| format!("{video},4-{video}")).collect();
    expected.sort();
    assert_eq!(topic.titles(), expected);
}

#[test]
fn a_topic_that_is_not_there_is_told_and_the_store_is_not_made() {
    let topic = Job::new(Cluster::any(), 1);
    let (topic_of, servers) = (&topic, topic.cluster.servers());
    let run = |topic: &str, more: &[&str]| {
        let titles = format!("kafka:{topic}");
        let arguments = [&["--impressions", "i.jsonl", "--titles", &titles], more].concat();
        let mut command = trendmark();
        command.current_dir(topic_of.place.0.path()).arg("run").args(arguments);
        if !more.contains(&"--store") {
            command.args(["--store", "s.db"]);
        }
        Running::start(&mut command).finish()
    };
    let brokers = ["--bootstrap-servers", servers];
    run("x y", &brokers).failed(2, &["is not a valid topic"]);
    run("titles", &[]).failed(2, &["give --bootstrap-servers"]);
    let log = ["--plays", &format!("kafka:{}", topic.topic), "--until-end"];
    run(&topic.topic, &[&brokers[..], &log].concat()).failed(2, &["is a log: give another one"]);
    let store = ["--store", &format!("kafka:{}", topic.topic)];
    let ours = format!("{}-titles", topic.topic);
    run(&ours, &[&brokers[..], &store].concat()).failed(2, &["belongs to --store"]);
    if topic.cluster.mock.is_none() {
        let absent = unique("absent");
        let said = format!("cannot read the titles in `kafka:{absent}`: there is no such topic");
        run(&absent, &brokers).failed(1, &[&said]);
    }
    assert!(!topic.place.path("s.db").exists());
}

#[test]
fn new_partitions_are_read_and_a_topic_that_is_made_again_is_another_table() {
    let Some(servers) = real_broker("kafka_titles") else { return };
    let mut topic = Job::new(Cluster::at(&servers), 1);
    (0..3).for_each(|video| topic.title(0, video, "old"));
    let mut job = topic.follow();
    topic.wait_for(&mut job, &["0,old", "1,old", "2,old"]);
    topic.cluster.add_partitions(&topic.topic, 2);
    // A writer knows the partitions of its first message.
    topic.writer = topic.cluster.writer();
    topic.title(1, 3, "new");
    topic.wait_for(&mut job, &["0,old", "1,old", "2,old", "3,new"]);
    topic.cluster.delete_topic(&topic.topic);
    job.wait_until_said("its titles stay as they are");
    assert_eq!(topic.titles().len(), 4);
    common::program::wait_until("the topic is made again", || {
        topic.cluster.create_named(&topic.topic, 1)
    });
    topic.writer = topic.cluster.writer();
    topic.title(0, 7, "other");
    topic.wait_for(&mut job, &["7,other"]);
    stop(job);
}

#[test]
fn where_messages_were_deleted_the_topic_is_read_from_its_beginning() {
    let Some(servers) = real_broker("kafka_titles") else { return };
    let topic = Job::new(Cluster::at(&servers), 1);
    (0..5).for_each(|video| topic.title(0, video, "x"));
    topic.cluster.delete_records(&topic.topic, 3);
    topic.run().finish().succeeded();
    assert_eq!(topic.titles(), ["3,x", "4,x"]);
    assert_eq!(topic.sources(), ["0,2,0,5"]);
}
