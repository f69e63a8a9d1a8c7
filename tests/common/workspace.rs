//! A folder with a store and its logs, and the commands that are run in it.

use super::contents::{open, select};
use super::event;
use super::files::line;
use super::program::{Finished, Running, trendmark};
use rusqlite::Connection;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// A folder for the files of a test.
pub struct Workspace(pub TempDir);

impl Workspace {
    pub fn new() -> Workspace {
        Workspace(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_string()
    }

    /// The name of the partition of an existing file: its canonical path.
    pub fn partition(&self, name: &str) -> String {
        self.path(name).canonicalize().unwrap().to_str().unwrap().to_owned()
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub fn append(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(bytes.as_ref()).unwrap();
    }

    /// `trendmark run` in this folder with its store and these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = trendmark();
        command.current_dir(self.0.path()).args(["run", "--store", "s.db"]).args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Finished {
        Running::start(&mut self.command(arguments)).finish()
    }

    /// A job with `--follow` and short intervals: it publishes at once and is soon idle.
    pub fn follow(&self, arguments: &[&str]) -> Running {
        let quick = ["--follow", "--publish-interval", "20ms", "--idle-timeout", "100ms"];
        Running::start(self.command(arguments).args(quick).args(["--workers", "2"]))
    }

    pub fn show(&self, arguments: &[&str]) -> String {
        let mut command = trendmark();
        command.current_dir(self.0.path()).args(["show", "--store", "s.db"]).args(arguments);
        Running::start(&mut command).finish().succeeded().stdout
    }

    pub fn select(&self, selection: &str) -> Vec<String> {
        select(&open(&self.path("s.db")), selection)
    }

    /// The number that `SELECT selection` returns; 0 while the table does not exist.
    pub fn number(&self, selection: &str) -> i64 {
        let Ok(connection) = Connection::open(self.path("s.db")) else { return 0 };
        let row = connection.query_row(&format!("SELECT {selection}"), [], |row| row.get(0));
        row.unwrap_or(0)
    }

    /// The dead letters in a file.
    pub fn letters(&self, name: &str) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn events_committed(&self) -> i64 {
        self.number("coalesce(sum(events), 0) FROM ledger")
    }
}

/// Lines of impressions with these numbers, one per second of event time.
pub fn lines(numbers: std::ops::Range<u64>) -> String {
    numbers.map(|number| line(&event(number, number, number % 5, number as i64 * 1_000))).collect()
}

/// The names of all files and folders in a workspace.
pub fn names(place: &Workspace) -> Vec<String> {
    let entries = std::fs::read_dir(place.0.path()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The number of distinct showings in the store, and of all impressions that were read.
pub fn counted(place: &Workspace) -> (i64, i64) {
    let distinct = "coalesce(sum(impressions), 0) FROM trends";
    (place.number(distinct), place.events_committed())
}

/// Waits until a job has committed this many events of a store.
pub fn wait(job: &mut Running, place: &Workspace, events: i64) {
    job.wait_until(&format!("{events} events are committed"), || {
        place.events_committed() >= events
    });
}

/// Interrupts a job, which must succeed. Returns what it said.
pub fn stop(job: Running) -> String {
    job.interrupt();
    job.finish().succeeded().stderr
}

pub fn rename(place: &Workspace, from: &str, to: &str) {
    std::fs::rename(place.path(from), place.path(to)).unwrap();
}
