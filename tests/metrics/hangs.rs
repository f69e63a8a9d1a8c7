//! Processes that hang, or only seem to: `/healthz`, `/readyz` and the watchdog.

use crate::common::http::Client;
use crate::common::program::{Running, run};
use crate::common::workspace::{Workspace, lines, wait};
use crate::scrape::Scrape;
use rusqlite::Connection;
use std::time::{Duration, Instant};

/// A job whose dead letters go into a pipe that nobody reads: a worker waits for it for ever.
fn hanging(place: &Workspace, watchdog: &str) -> (Running, std::fs::File) {
    let pipe = place.path("letters");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    // Its end for reading is held open, and never read.
    let reader = std::fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    place.write("i.jsonl", "no event at all, and a long line as well\n".repeat(5_000));
    let arguments = ["--impressions", "i.jsonl", "--dead-letter", "letters", "--workers", "1"];
    let more = ["--follow", "--http-address", "127.0.0.1:0", "--watchdog", watchdog];
    (Running::start(&mut place.command(&[&arguments[..], &more].concat())), reader)
}

#[test]
fn a_worker_that_hangs_is_named_and_its_process_ends_with_exit_code_8() {
    let place = Workspace::new();
    let (mut job, reader) = hanging(&place, "6s");
    let client = Client::of(&job);
    job.wait_until("it is unhealthy", || client.get("/healthz").status == 503);
    let said = client.get("/healthz").error(503);
    assert!(said.starts_with("worker 0 has not got on for "), "{said}");
    assert!(said.contains(" s: reading impressions "), "{said}");
    assert!(said.ends_with("i.jsonl"), "{said}");
    let scrape = Scrape::of(&client);
    assert_eq!(scrape.value("trendmark_process_healthy", ""), Some(0.0));
    let stalled = scrape.value("trendmark_process_worker_stalled_seconds", "worker=\"0\"");
    assert!(stalled > Some(1.9), "{stalled:?}");
    let expected = "i.jsonl: this process ends, so that it can be started again (--watchdog)";
    let ended = job.finish().failed(8, &["error: worker 0 has not got on for 6 s: ", expected]);
    assert!(ended.stderr.contains("WARN worker 0 has not got on for 2 s: "), "{ended:?}");
    drop(reader);
}

#[test]
fn without_a_watchdog_a_worker_that_hangs_ends_no_process() {
    let place = Workspace::new();
    let (mut job, reader) = hanging(&place, "0s");
    let client = Client::of(&job);
    job.wait_until("the worker has stalled", || {
        let name = "trendmark_process_worker_stalled_seconds";
        Scrape::of(&client).value(name, "worker=\"0\"") > Some(3.0)
    });
    assert_eq!(client.get("/healthz").status, 200);
    job.kill();
    drop(reader);
}

/// A job that has committed its log, and follows it.
fn following(place: &Workspace, arguments: &[&str]) -> (Running, Client) {
    place.write("i.jsonl", lines(0..100));
    let served = ["--impressions", "i.jsonl", "--http-address", "127.0.0.1:0"];
    let mut job = place.follow(&[&served[..], arguments].concat());
    wait(&mut job, place, 100);
    let client = Client::of(&job);
    job.wait_until("it is ready", || client.get("/readyz").status == 200);
    (job, client)
}

#[test]
fn a_store_that_is_locked_makes_a_job_unready_and_ends_nothing() {
    let place = Workspace::new();
    let (mut job, client) = following(&place, &["--watchdog", "1s", "--ready-within", "1s"]);
    let lock = Connection::open(place.path("s.db")).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    place.append("i.jsonl", lines(100..200));
    job.wait_until("it is not ready", || client.get("/readyz").status == 503);
    let answer = client.get("/readyz");
    assert!(answer.error(503).starts_with("no commit for "), "{answer:?}");
    assert_eq!(answer.json()["reason"], "no_commit");
    assert_eq!(Scrape::of(&client).value("trendmark_ready", ""), Some(0.0));
    job.wait_until_said("the store has not answered for ");
    assert_eq!(client.get("/healthz").body, "ok\n");
    lock.execute_batch("ROLLBACK").unwrap();
    wait(&mut job, &place, 200);
    job.wait_until("it is ready again", || client.get("/readyz").status == 200);
    crate::common::workspace::stop(job);
}

#[test]
fn a_process_that_was_suspended_goes_on() {
    let place = Workspace::new();
    let (mut job, client) = following(&place, &["--watchdog", "1s"]);
    job.suspend();
    std::thread::sleep(Duration::from_secs(4));
    job.resume();
    place.append("i.jsonl", lines(100..200));
    wait(&mut job, &place, 200);
    assert_eq!(client.get("/healthz").body, "ok\n");
    let said = crate::common::workspace::stop(job);
    assert!(!said.contains("has not got on"), "{said}");
}

#[test]
fn a_long_poll_interval_is_no_stall() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..100));
    let patient = ["--impressions", "i.jsonl", "--poll-interval", "3s", "--workers", "1"];
    let more = ["--follow", "--http-address", "127.0.0.1:0", "--watchdog", "1s"];
    let mut job = Running::start(&mut place.command(&[&patient[..], &more].concat()));
    wait(&mut job, &place, 100);
    let (client, began) = (Client::of(&job), Instant::now());
    job.wait_until("it has paused a few times", || {
        assert_eq!(client.get("/healthz").body, "ok\n");
        began.elapsed() > Duration::from_secs(7)
    });
    assert!(!job.stderr().contains("has not got on"), "{}", job.stderr());
    job.kill();
}

#[test]
fn a_job_that_waits_for_another_process_says_so_and_lives() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..100));
    let arguments = ["--impressions", "i.jsonl", "--processes", "2", "--process", "0"];
    let more = ["--http-address", "127.0.0.1:0", "--watchdog", "1s", "--launch-timeout", "6s"];
    crate::common::program::write_hostfile(2, &place.path("hosts"));
    let hosts = ["--hostfile", "hosts"];
    let mut job = Running::start(&mut place.command(&[&arguments[..], &more, &hosts].concat()));
    let (client, began) = (Client::of(&job), Instant::now());
    job.wait_until("it has waited longer than the watchdog would", || {
        let answer = client.get("/readyz");
        assert_eq!(answer.json()["reason"], "starting", "{answer:?}");
        assert_eq!(client.get("/healthz").body, "ok\n");
        began.elapsed() > Duration::from_secs(3)
    });
    job.kill();
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..10));
    let job = ["run", "--impressions", "i.jsonl", "--store", "s.db"];
    let refused = |flag: &str, value: &str, said: &str| {
        run(job.iter().copied().chain([flag, value])).failed(2, &[said]);
    };
    refused("--watchdog", "10ms", "--watchdog is 10ms, but must be 0s, or at least 1s");
    refused("--watchdog", "8d", "--watchdog is 8d");
    refused("--watchdog", "soon", "--watchdog");
    refused("--ready-within", "8d", "--ready-within is 8d");
    refused("--ready-within", "soon", "--ready-within");
}
