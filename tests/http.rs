//! The HTTP server of a job: its answers are those of the store, its events lose and repeat
//! nothing, and no client ends, slows or holds the job.

mod common;

#[path = "http/answers.rs"]
mod answers;
#[path = "http/events.rs"]
mod events;
#[path = "http/limits.rs"]
mod limits;

use common::http::{Answer, Client};
use common::program::{Running, run};
use common::workspace::Workspace;
use rusqlite::Connection;
use std::path::PathBuf;

/// A job that follows its logs, and its server.
struct Served {
    place: Workspace,
    job: Running,
    client: Client,
}

/// Parameters with which even small logs have scores.
const SCORES: [&str; 10] = [
    "--trending-day-epochs=4",
    "--trending-days=2",
    "--trending-guard=1",
    "--trending-least-epochs=2",
    "--trending-least-plays=1",
    "--surge-day-epochs=4",
    "--surge-days=2",
    "--surge-guard=1",
    "--surge-least-epochs=2",
    "--surge-least-plays=1",
];

impl Served {
    /// A job with these arguments on the logs of a folder, which may grow.
    fn start(place: Workspace, arguments: &[&str]) -> Served {
        let served = ["--http-address", "127.0.0.1:0"];
        let job = place.follow(&[&served[..], arguments].concat());
        let client = Client::of(&job);
        Served { place, job, client }
    }

    /// A job with all queries on a generated log, once it has committed all events.
    fn generated(seed: u64) -> Served {
        let place = Workspace::new();
        let (out, seed) = (place.text("logs"), seed.to_string());
        let shape = ["--impressions", "4000", "--videos", "40", "--duration", "9h"];
        let generate = ["generate", "--out", &out, "--seed", &seed, "--partitions", "2"];
        run(generate.iter().chain(&shape)).succeeded();
        let logs = ["--impressions", "logs/impressions-*", "--plays", "logs/plays-*"];
        let mut served = Served::start(place, &[&logs[..], &["--query", "all"], &SCORES].concat());
        served.settle();
        served
    }

    /// Waits until everything is read and committed, and nothing changes any more: for longer than
    /// it takes a partition to be idle.
    fn settle(&mut self) {
        let (client, lines) = (self.client, self.lines());
        let (mut before, mut times) = (None, 0);
        self.job.wait_until("nothing changes any more", || {
            std::thread::sleep(std::time::Duration::from_millis(80));
            let answer = client.get("/api/v1/job");
            if answer.status != 200 {
                return false;
            }
            let json = answer.json();
            let partitions = client.get("/api/v1/partitions").rows();
            let malformed = partitions.iter().map(|row| row["malformed"].as_u64().unwrap());
            let read = json["job"]["events"].as_u64().unwrap() + malformed.sum::<u64>();
            let now = Some(json["publication"].clone());
            times = if read == lines && before == now { times + 1 } else { 0 };
            before = now;
            times >= 8
        });
    }

    /// The number of lines of all logs.
    fn lines(&self) -> u64 {
        let folders = [self.place.path("logs"), self.place.0.path().to_owned()];
        let entries = folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten();
        let files = entries.map(|entry| entry.unwrap().path());
        let logs = files.filter(|path| path.extension().is_some_and(|end| end == "jsonl"));
        logs.map(|path| std::fs::read_to_string(path).unwrap().lines().count() as u64).sum()
    }

    fn store(&self) -> Connection {
        common::contents::open(&self.place.path("s.db"))
    }

    fn store_path(&self) -> PathBuf {
        self.place.path("s.db")
    }

    /// Calls `check` with an answer, and with the store as of the same publication.
    fn at_same_publication(&self, path: &str, mut check: impl FnMut(&Answer, &Connection)) {
        let store = self.store();
        let mut is_checked = false;
        self.client.wait("the answer is of the publication that the store has", |client| {
            let snapshot = store.unchecked_transaction().unwrap();
            let publication = common::contents::number(&snapshot, "publications FROM job");
            let answer = client.get(path);
            let of_answer = answer.header("trendmark-publication").map(str::to_owned);
            if of_answer == Some(publication.to_string()) {
                check(&answer, &snapshot);
                is_checked = true;
            }
            is_checked
        });
    }
}
