//! The metrics of a topic whose broker does not answer: what is not known is absent.

use crate::common::http::Client;
use crate::common::program::Running;
use crate::common::topics::Cluster;
use crate::common::workspace::{Workspace, wait};
use crate::scrape::Scrape;

#[test]
fn the_lag_of_a_topic_is_absent_while_its_broker_does_not_answer_and_the_job_lives() {
    let cluster = Cluster::mock();
    let topic = cluster.create_topic("metrics", 1);
    cluster.writer().write_events(&topic, 0, 0..50);
    let (place, log) = (Workspace::new(), format!("kafka:{topic}"));
    let arguments = ["--impressions", &log, "--bootstrap-servers", cluster.servers()];
    let more = ["--workers", "1", "--publish-interval", "20ms", "--http-address", "127.0.0.1:0"];
    let limits = ["--watchdog", "1s", "--ready-within", "4s"];
    let mut job = Running::start(&mut place.command(&[&arguments[..], &more, &limits].concat()));
    wait(&mut job, &place, 50);
    let client = Client::of(&job);
    let lags = ["trendmark_partition_lag_records", "trendmark_partition_event_time_lag_seconds"];
    let told = |scrape: &Scrape| lags.map(|name| scrape.sum(name, ""));
    job.wait_until("the end is known", || told(&Scrape::of(&client)) == [Some(0.0); 2]);
    let mock = cluster.mock.as_ref().unwrap();
    mock.broker_down(1).unwrap();
    job.wait_until("the lag is absent", || told(&Scrape::of(&client)) == [None; 2]);
    let scrape = Scrape::of(&client);
    assert_eq!(scrape.sum("trendmark_partition_held", "reason=\"broker\""), Some(1.0));
    assert_eq!(scrape.sum("trendmark_keeping_up", ""), None);
    job.wait_until("it is not ready", || client.get("/readyz").status == 503);
    let answer = client.get("/readyz").json();
    let said = format!("held by impressions {log}/0, because its broker does not answer");
    assert_eq!(answer["reason"], "held", "{answer}");
    assert!(answer["error"].as_str().unwrap().ends_with(&said), "{answer}");
    assert_eq!(client.get("/healthz").body, "ok\n");
    mock.broker_up(1).unwrap();
    cluster.writer().write_events(&topic, 0, 50..60);
    wait(&mut job, &place, 60);
    job.wait_until("it is ready", || client.get("/readyz").status == 200);
    job.wait_until("the end is known", || told(&Scrape::of(&client)) == [Some(0.0); 2]);
    crate::common::workspace::stop(job);
}
