//! A server of a store that cannot be queried: it answers from its copy, and keeps up.

use super::*;
use crate::query::QueryInstance;
use crate::stores::memory::MemoryStore;
use crate::stores::sqlite::fixtures::{
    DISTINCT, REQUESTS, TRENDS, instances, request, through, trend,
};
use crate::stores::{Changeset, RowChange, Store, StoreReader};
use crate::time::{Definition, Publication};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use std::time::Instant;

fn queries() -> Vec<QueryInstance> {
    instances(&[&TRENDS, &REQUESTS, &DISTINCT])
}

/// A job on a store in memory: what it commits, its server is told.
struct Job {
    store: MemoryStore,
    server: Server,
}

impl Job {
    fn start(store: &MemoryStore) -> Job {
        let store = store.take_over();
        let definition = Definition::default();
        let readable = store.clone();
        let open: ReaderOpener = Box::new(move || Ok(Box::new(readable.clone())));
        let description = Description::of(&definition, &queries());
        let job = JobFacts {
            started_at_ms: 0,
            definition,
            store: "memory".into(),
            queries: queries(),
            workers: 1,
            processes: 1,
            sets: None,
            process: 0,
            ready_within: Duration::from_secs(60),
            state_max: u64::MAX,
        };
        let listener = HttpAddress::any_local().listen().unwrap();
        let snapshots = Snapshots::of_copy(description, open);
        let server = Server::of_job(listener, job, snapshots, Arc::default(), None).unwrap();
        server.observer().unwrap().opened(&store.progress().unwrap());
        Job { store, server }
    }

    fn commit(&mut self, rows: Vec<RowChange>, final_through: i64) {
        let publication = self.store.progress().unwrap().publication.next();
        let final_through = through(final_through);
        let changes = Changeset { publication, rows, final_through, ..Changeset::default() };
        self.store.commit(&changes).unwrap();
        self.server.observer().unwrap().committed(changes);
    }

    fn get(&self, path: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.server.address()).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap())
    }

    /// Waits until the server knows a publication, and returns its rows of `trends`.
    fn rows_at(&self, publication: u64) -> Vec<(i64, u64)> {
        let began = Instant::now();
        loop {
            let (status, answer) = self.get("/api/v1/queries/trends/rows?limit=10000");
            if status == 200 && answer["publication"] == publication {
                let rows = answer["rows"].as_array().unwrap().iter();
                let number = |row: &Value, name: &str| row[name].as_u64().unwrap();
                return rows
                    .map(|row| (number(row, "epoch").cast_signed(), number(row, "plays")))
                    .collect();
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{status} {answer}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_copy_answers_like_the_store_and_is_filled_again_by_the_next_job() {
    let store = MemoryStore::new(&Definition::default(), &queries());
    let mut job = Job::start(&store);
    assert_eq!(job.rows_at(0), []);
    job.commit(vec![trend(1, 7, 3, 9), trend(2, 8, 4, 9), request("r", 1, 7, true)], -1);
    job.commit(vec![trend(1, 7, 5, 9)], 7);
    assert_eq!(job.rows_at(2), [(7, 5), (8, 4)]);
    let (status, answer) = job.get("/api/v1/queries/requests/rows");
    assert_eq!(status, 404, "{answer}");
    let (_, epochs) = job.get("/api/v1/epochs?order=epoch");
    assert_eq!(
        (&epochs["rows"][0]["final"], &epochs["rows"][1]["final"]),
        (&true.into(), &false.into())
    );
    let mut next = Job::start(&job.store);
    drop(job);
    assert_eq!(next.rows_at(2), [(7, 5), (8, 4)]);
    next.commit(vec![trend(2, 8, 6, 9)], 7);
    assert_eq!(next.rows_at(3), [(7, 5), (8, 6)]);
    let (_, changed) = next.get("/api/v1/queries/trends/rows?since=2");
    assert_eq!(changed["total"], 1);
    assert_eq!(changed["generation"], 2);
}

#[test]
fn a_server_that_does_not_keep_up_drops_what_waits_and_reads_the_store_again() {
    let store = MemoryStore::new(&Definition::default(), &queries()).take_over();
    let definition = Definition::default();
    let readable = store.clone();
    let open: ReaderOpener = Box::new(move || Ok(Box::new(readable.clone())));
    let description = Description::of(&definition, &queries());
    let snapshots = Arc::new(Snapshots::of_copy(description.clone(), open));
    let feed = Arc::new(Feed::new(description, Arc::clone(&snapshots)));
    feed.opened(&store.progress().unwrap());
    let mut store = store;
    // More than may wait, before anybody takes them out.
    for publication in 1..=5_000 {
        let publication = Publication(publication);
        let rows = vec![trend(publication.0 % 9, 7, publication.0, 1)];
        let changes = Changeset { publication, rows, ..Changeset::default() };
        store.commit(&changes).unwrap();
        feed.committed(changes);
    }
    let running = Arc::clone(&feed);
    let thread = std::thread::spawn(move || running.run());
    let mut state = feed.follow();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let at_end = |state: &feed::State| {
        state.head.as_ref().is_some_and(|head| head.publication == Publication(5_000))
    };
    runtime.block_on(state.wait_for(at_end)).unwrap();
    let plays = snapshots.read(|snapshot| {
        let sums = snapshot.sums(&snapshot.description().queries[0], crate::time::Epoch(7))?;
        Ok((snapshot.progress().publication, sums.values[0]))
    });
    assert_eq!(plays, Ok((Publication(5_000), (4_992..=5_000).sum())));
    // What has changed is known of the last ones only.
    let is_known = |since| feed.ring().between(Publication(since), Publication(5_000)).is_some();
    assert!(!is_known(1) && is_known(4_999));
    feed.end();
    thread.join().unwrap();
}
