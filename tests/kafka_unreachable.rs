//! Jobs whose brokers do not answer end as soon as they are asked to, whether they wait for their
//! logs or for their store.

#![cfg(feature = "kafka")]

mod common;

use common::program::{Running, trendmark};
use common::workspace::{Workspace, lines};
use std::net::TcpListener;
use std::time::Duration;

/// How soon a job ends after a signal.
const SOON: Duration = Duration::from_secs(2);

/// The jobs that wait for brokers at an address, and what they say when they are stopped.
fn jobs(servers: &str) -> [(Vec<&str>, &'static str); 2] {
    let log = ["--impressions", "kafka:absent", "--store", "s.db", "--bootstrap-servers", servers];
    let store =
        ["--impressions", "i.jsonl", "--store", "kafka:absent", "--bootstrap-servers", servers];
    [
        (log.to_vec(), "stopped while looking for the logs: nothing was read"),
        (store.to_vec(), "stopped while waiting for `kafka:absent`: nothing was read"),
    ]
}

/// Starts each job, waits until it has called the brokers, and stops it.
fn check(servers: &str, mut wait_for_call: impl FnMut(&mut Running)) {
    let folder = Workspace::new();
    folder.write("i.jsonl", lines(0..10));
    for (arguments, said) in jobs(servers) {
        for signal in ["INT", "TERM"] {
            let mut command = trendmark();
            let mut job =
                Running::start(command.current_dir(folder.0.path()).arg("run").args(&arguments));
            wait_for_call(&mut job);
            job.signal(signal);
            let finished = job.finish().succeeded();
            assert!(finished.stdout.contains(said), "{finished:#?}");
            assert!(finished.waited < SOON, "{finished:#?}");
        }
    }
}

#[test]
fn ctrl_c_ends_a_job_whose_brokers_are_absent() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    check(&address, |job| {
        let threads = format!("/proc/{}/task", job.id());
        job.wait_until("it calls the brokers", || {
            let threads = std::fs::read_dir(&threads).unwrap().flatten();
            let mut names = threads.map(|one| std::fs::read_to_string(one.path().join("comm")));
            names.any(|name| name.is_ok_and(|name| name.starts_with("rdk:broker")))
        });
    });
}

#[test]
fn ctrl_c_ends_a_job_whose_brokers_accept_connections_and_never_answer() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let mut connections = Vec::new();
    check(&address, |_| connections.push(silent.accept().unwrap()));
    assert_eq!(connections.len(), 4);
}
