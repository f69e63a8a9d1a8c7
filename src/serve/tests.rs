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

fn facts() -> JobFacts {
    JobFacts {
        started_at_ms: 0,
        definition: Definition::default(),
        store: "memory".into(),
        queries: queries(),
        workers: 1,
        processes: 1,
        sets: None,
        process: 0,
        ready_within: Duration::from_secs(60),
        state_max: u64::MAX,
    }
}

/// What all requests share, of a job on an empty store in memory, once it knows a publication.
/// What is returned with it ends it.
pub(super) fn site() -> (Arc<Site>, Arc<Feed>) {
    let store = MemoryStore::new(&Definition::default(), &queries()).take_over();
    let progress = store.progress().unwrap();
    let description = Description::of(&Definition::default(), &queries());
    let open: ReaderOpener = Box::new(move || Ok(Box::new(store.clone())));
    let snapshots = Arc::new(Snapshots::of_copy(description.clone(), open));
    let feed = Arc::new(Feed::new(description, Arc::clone(&snapshots)));
    let site = Site {
        job: Arc::new(facts()),
        snapshots,
        feed: Arc::clone(&feed),
        counters: Arc::default(),
        bytes: Default::default(),
        budget: Default::default(),
        number: 0,
        cache: Default::default(),
        committed: Default::default(),
        encoded: Default::default(),
        token: None,
    };
    feed.opened(&progress);
    let running = Arc::clone(&feed);
    std::thread::spawn(move || running.run());
    let began = Instant::now();
    while feed.state().head.is_none() {
        assert!(began.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(1));
    }
    (Arc::new(site), feed)
}

/// A job on a store in memory: what it commits, its server is told.
struct Job {
    store: MemoryStore,
    server: Server,
}

impl Job {
    fn start(store: &MemoryStore) -> Job {
        let store = store.take_over();
        let readable = store.clone();
        let open: ReaderOpener = Box::new(move || Ok(Box::new(readable.clone())));
        Job::at(store, &HttpAddress::any_local(), open)
    }

    fn at(store: MemoryStore, address: &HttpAddress, open: ReaderOpener) -> Job {
        let listener = address.listen().unwrap();
        let description = Description::of(&Definition::default(), &queries());
        let snapshots = Snapshots::of_copy(description, open);
        let server = Server::of_job(listener, facts(), snapshots, Arc::default(), None).unwrap();
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
        let (status, _, body) = self.ask(path, "Host: localhost");
        (status, serde_json::from_str(&body).unwrap())
    }

    /// The status, the head and the body of an answer.
    fn ask(&self, path: &str, headers: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.server.address()).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_owned(), body.to_owned())
    }

    /// The answer to a client that has those with these tags.
    fn status_with(&self, path: &str, tags: &str) -> u16 {
        self.ask(path, &format!("Host: localhost\r\nIf-None-Match: {tags}")).0
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

#[test]
fn a_tag_is_of_one_server_and_what_does_not_exist_is_never_known() {
    let store = || MemoryStore::new(&Definition::default(), &queries());
    // Two stores, whose publications have the same generation and number.
    let [one, other] = [0, 1].map(|_| Job::start(&store()));
    let path = "/api/v1/epochs";
    let tag = |job: &Job| {
        assert_eq!(job.rows_at(0), []);
        let (_, head, _) = job.ask(path, "Host: localhost");
        let tag = head.lines().find_map(|line| line.strip_prefix("etag: "));
        tag.unwrap().to_owned()
    };
    let (tag, of_other) = (tag(&one), tag(&other));
    assert_eq!(one.status_with(path, &tag), 304);
    assert_eq!(one.status_with(path, "*"), 304);
    assert_eq!(other.status_with(path, &of_other), 304);
    assert_eq!(other.status_with(path, &tag), 200, "{tag} {of_other}");
    for tags in [&tag, "*"] {
        assert_eq!(one.status_with("/api/v1/queries/nothing/rows", tags), 404);
        assert_eq!(one.status_with("/api/v1/trending", tags), 404);
    }
}

#[test]
fn a_server_answers_to_the_address_at_which_it_listens() {
    let store = MemoryStore::new(&Definition::default(), &queries()).take_over();
    let readable = store.clone();
    let open: ReaderOpener = Box::new(move || Ok(Box::new(readable.clone())));
    let job = Job::at(store, &"127.0.0.2:0".parse().unwrap(), open);
    assert_eq!(job.rows_at(0), []);
    let status = |host: &str| job.ask("/api/v1/epochs", &format!("Host: {host}")).0;
    let address = job.server.address().to_string();
    assert!(address.starts_with("127.0.0.2:"), "{address}");
    assert_eq!([status(&address), status("127.0.0.2"), status("localhost")], [200; 3]);
    assert_eq!([status("127.0.0.3"), status("evil.example")], [403; 2]);
}

#[test]
fn a_panic_while_the_store_is_read_is_survived_and_it_is_read_again() {
    let store = MemoryStore::new(&Definition::default(), &queries()).take_over();
    let (readable, opened) = (store.clone(), AtomicUsize::new(0));
    let open: ReaderOpener = Box::new(move || {
        let times = opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        assert!(times > 0, "on purpose");
        Ok(Box::new(readable.clone()))
    });
    let mut job = Job::at(store, &HttpAddress::any_local(), open);
    assert_eq!(job.rows_at(0), []);
    job.commit(vec![trend(1, 7, 3, 9)], -1);
    assert_eq!(job.rows_at(1), [(7, 3)]);
}
