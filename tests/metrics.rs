//! The metrics of a job: they are those of the store, no restart moves them back, and what is not
//! known is absent. The health of a process, and what the watchdog does about one that hangs.

mod common;

#[path = "metrics/files.rs"]
mod files;
#[path = "metrics/hangs.rs"]
mod hangs;
#[path = "metrics/scrape.rs"]
mod scrape;
#[cfg(feature = "kafka")]
#[path = "metrics/topics.rs"]
mod topics;

use common::http::Client;
use common::program::{Running, start_processes};
use common::workspace::{Workspace, lines, wait};
use scrape::Scrape;
use std::process::Command;

/// Logs with plays, duplicates, late events and junk.
fn logs(place: &Workspace) -> i64 {
    let mut impressions = lines(0..400) + &lines(0..40);
    // Of the next day, so that what follows is late.
    impressions += &common::files::line(&common::event(900, 900, 3, 90_000_000));
    impressions += &lines(0..7);
    place.write("i.jsonl", impressions + "no event\n{\"request_id\": 3}\n");
    place.write("p.jsonl", lines(0..100));
    400 + 40 + 1 + 7 + 100
}

const LOGS: [&str; 4] = ["--impressions", "i.jsonl", "--plays", "p.jsonl"];

/// A job of two processes with a server each, and where they listen.
fn two_processes(place: &Workspace) -> (Vec<Running>, [Client; 2]) {
    let jobs = start_processes(2, &place.path("hosts"), |_| {
        let mut command = place.command(&LOGS);
        command.args(["--follow", "--publish-interval", "20ms", "--idle-timeout", "100ms"]);
        command.args(["--max-leap", "366d", "--workers", "2", "--http-address", "127.0.0.1:0"]);
        command
    });
    let clients = [0, 1].map(|number| Client::of(&jobs[number]));
    (jobs, clients)
}

/// Waits until what is committed is also told.
fn settled(client: &Client, events: i64) -> Scrape {
    let mut last = None;
    client.wait("the metrics are those of the last commit", |client| {
        let scrape = Scrape::of(client);
        let told = scrape.sum("trendmark_events_total", "");
        last = Some(scrape);
        told == Some(events as f64)
    });
    last.unwrap()
}

/// The counts of the ledger, by topic and outcome.
fn ledger(place: &Workspace) -> Vec<(String, String, f64)> {
    let outcomes = ["distinct", "duplicate", "late", "future", "denied"];
    let topics = ["impressions", "plays"];
    let each = topics.iter().flat_map(|topic| outcomes.map(|outcome| (*topic, outcome)));
    let kind = |topic: &str| topic.trim_end_matches('s').to_owned();
    let count = |topic: &str, outcome: &str| {
        let selection = format!(
            "coalesce(sum({outcome}_events), 0) FROM ledger WHERE kind = '{}'",
            kind(topic)
        );
        place.number(&selection) as f64
    };
    each.map(|(topic, outcome)| (topic.into(), outcome.into(), count(topic, outcome))).collect()
}

#[test]
fn counters_are_those_of_the_ledger_and_a_restart_moves_none_back() {
    let place = Workspace::new();
    let mut events = logs(&place);
    let (mut jobs, [first, second]) = two_processes(&place);
    wait(&mut jobs[0], &place, events);
    let before = settled(&first, events);
    for (topic, outcome, count) in ledger(&place) {
        let labels = format!("topic=\"{topic}\",outcome=\"{outcome}\"");
        let told = before.value("trendmark_events_by_outcome_total", &labels);
        assert_eq!(told, Some(count), "{labels}");
    }
    let outcome = |name: &str| {
        before.sum("trendmark_events_by_outcome_total", &format!("outcome=\"{name}\"")).unwrap()
    };
    assert!(outcome("late") > 0.0 && outcome("duplicate") > 0.0, "{before:?}");
    assert_eq!(before.value("trendmark_conservation_violations", ""), Some(0.0));
    let malformed = "trendmark_partition_committed_malformed_records_total";
    assert_eq!(before.sum(malformed, "topic=\"impressions\""), Some(2.0));
    // What both processes have read together is what is committed.
    let scrapes = [Scrape::of(&first), Scrape::of(&second)];
    let all = |name: &str| scrapes.iter().filter_map(|one| one.sum(name, "")).sum::<f64>();
    assert_eq!(all("trendmark_process_events_total"), events as f64);
    assert_eq!(all("trendmark_process_malformed_records_total"), 2.0);
    let told = |name: &str| scrapes.iter().filter(|one| one.sum(name, "").is_some()).count();
    assert_eq!((told("trendmark_events_total"), told("trendmark_process_info")), (1, 2));
    let ended = common::kills::kill(jobs, None);
    assert!(ended, "the job has ended by itself");
    place.append("p.jsonl", lines(100..150));
    events += 50;
    let (mut jobs, [first, _]) = two_processes(&place);
    let mut scrapes = vec![before];
    first.wait("all events are told", |client| {
        let scrape = Scrape::of(client);
        let told = scrape.sum("trendmark_events_total", "");
        scrapes.push(scrape);
        told == Some(events as f64)
    });
    for pair in scrapes.windows(2) {
        pair[1].assert_no_counter_of_the_job_fell(&pair[0]);
    }
    let last = scrapes.last().unwrap();
    assert!(last.value("trendmark_process_replayed_events_total", "") > Some(0.0), "{last:?}");
    assert_eq!(last.value("trendmark_generation", ""), Some(2.0));
    jobs[0].interrupt();
    jobs.drain(..).for_each(|job| drop(job.finish().succeeded()));
}

#[test]
fn both_formats_pass_the_check_of_prometheus_in_every_process() {
    let place = Workspace::new();
    let events = logs(&place);
    let (mut jobs, clients) = two_processes(&place);
    wait(&mut jobs[0], &place, events);
    settled(&clients[0], events);
    for client in &clients {
        let answer = client.get("/metrics");
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        check_metrics(&answer.body);
        let open = client.ask(
            "GET",
            "/metrics",
            &[("Accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")],
        );
        let kind = open.header("content-type").unwrap();
        assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
        assert!(open.body.ends_with("\n# EOF\n"), "{open:?}");
        assert!(open.body.contains("# TYPE trendmark_process_events counter\n"));
        assert_eq!(client.get("/healthz").body, "ok\n");
        client.wait("rows are committed", |client| client.get("/readyz").status == 200);
    }
    jobs[0].interrupt();
    jobs.drain(..).for_each(|job| drop(job.finish().succeeded()));
}

/// Lets `promtool` check a text, if it is there.
fn check_metrics(text: &str) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]);
    if let Some(said) = files::with_input(promtool, text) {
        assert!(said.is_empty(), "{said}");
    }
}

#[test]
fn the_end_of_a_file_is_no_lag_and_its_records_are_not_known() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..100));
    let arguments = ["--impressions", "i.jsonl", "--http-address", "127.0.0.1:0"];
    let mut job = place.follow(&arguments);
    wait(&mut job, &place, 100);
    let client = Client::of(&job);
    let lag = "trendmark_partition_event_time_lag_seconds";
    client.wait("the end is told", |client| Scrape::of(client).sum(lag, "") == Some(0.0));
    let scrape = Scrape::of(&client);
    assert_eq!(scrape.sum("trendmark_partition_lag_bytes", ""), Some(0.0));
    // A file has bytes, and nobody knows how many records.
    assert_eq!(scrape.sum("trendmark_partition_lag_records", ""), None);
    assert_eq!(scrape.sum("trendmark_partition_stalled", ""), Some(0.0));
    common::workspace::stop(job);
}

#[test]
fn times_of_parts_and_operators_are_told() {
    let place = Workspace::new();
    logs(&place);
    let mut job = place.follow(&[&LOGS[..], &["--http-address", "127.0.0.1:0"]].concat());
    let client = Client::of(&job);
    job.wait_until("there are operators", || {
        let scrape = Scrape::of(&client);
        let of = |part: &str| {
            let label = format!("part=\"{part}\"");
            scrape.value("trendmark_process_part_seconds_total", &label).unwrap_or(0.0)
        };
        let parts = ["poll", "admit", "arrange", "count", "publish", "control", "commit"];
        let showings = "dataflow=\"epoch\",operator=\"Showings\"";
        parts.iter().all(|part| of(part) > 0.0)
            && scrape.value("trendmark_process_operator_seconds_total", showings) > Some(0.0)
            && scrape.sum("trendmark_process_event_to_row_seconds_count", "") > Some(0.0)
            && scrape.sum("trendmark_process_worker_busy_ratio", "").is_some()
    });
    let scrape = Scrape::of(&client);
    let epochs = scrape.series("trendmark_process_operator_seconds_total");
    assert!(epochs.len() < 200, "{epochs:?}");
    assert!(!epochs.iter().any(|labels| labels.contains("dataflow=\"other\"")), "{epochs:?}");
    common::workspace::stop(job);
}
