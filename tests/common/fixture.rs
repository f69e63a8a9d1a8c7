//! A log in files with the expected results, and the commands that run on it.

use super::Log;
use super::contents::{Contents, all, contents, expected};
use super::files::write_log;
use super::program::{run_processes, trendmark};
use super::random::{definitions, from_seed, logs};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use trendmark::event::{Event, Kind};
use trendmark::generate::{Generator, Model, World};
use trendmark::log::PartitionName;
use trendmark::time::{Definition, rfc3339};

/// A log in files, and the expected contents of its store.
pub struct Fixture {
    pub folder: TempDir,
    pub definition: Definition,
    pub expected: Contents,
}

impl Fixture {
    pub fn of(definition: Definition, log: &Log) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let (log, files) = write_log(folder.path(), log);
        let expected = expected(definition, &log, &files);
        Fixture { folder, definition, expected }
    }

    /// A random log with at least one partition.
    pub fn random(seed: u8) -> Fixture {
        let strategy = (definitions(), logs(), logs())
            .prop_map(|(definition, one, other)| (definition, [one, other].concat()))
            // A log of denials alone is refused.
            .prop_filter("partitions", |(_, log)| log.iter().any(|(one, _)| one.kind.has_video()));
        let (definition, log) = from_seed(&strategy, seed);
        Fixture::of(definition, &log)
    }

    /// A log like those of `trendmark generate`: hours of event time, with every kind of disorder.
    pub fn generated(seed: u64, impressions: u64) -> Fixture {
        Fixture::of(Definition::default(), &Fixture::log(seed, impressions))
    }

    /// The same with bots, a tenth of the requests, which are denied.
    pub fn with_bots(seed: u64, impressions: u64) -> Fixture {
        let world = World { bot_rate: 0.1, ..World::default() };
        let model = Model { seed, impressions, partitions: 3, world, ..Model::default() };
        Fixture::of(Definition::default(), &log_of(&model))
    }

    /// The events of a generated log, impressions first.
    pub fn log(seed: u64, impressions: u64) -> Log {
        log_of(&Model { seed, impressions, partitions: 3, ..Model::default() })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command that runs the log into a store, without flags for processes.
    pub fn command(&self, store: &Path) -> Command {
        let mut command = trendmark();
        command.arg("run").args(["--query", "all"]).arg("--store").arg(store);
        for kind in Kind::ALL {
            let pattern = format!("{}-*", kind.topic());
            if std::fs::read_dir(self.folder.path())
                .unwrap()
                .any(|entry| entry.unwrap().file_name().to_str().unwrap().starts_with(kind.topic()))
            {
                command.arg(kind.flag()).arg(self.path(&pattern));
            }
        }
        let definition = self.definition;
        command.arg("--epoch-length").arg(format!("{}ms", definition.epoch_length_ms));
        command.arg("--join-window").arg(definition.join_window_epochs.to_string());
        command.arg("--max-delay").arg(format!("{}ms", definition.max_delay_ms));
        command.arg("--max-future").arg(format!("{}ms", definition.max_future_ms));
        command.arg("--max-leap").arg(format!("{}ms", definition.max_leap_ms));
        command.arg("--leap-support").arg(definition.leap_support.to_string());
        let all = Definition::default();
        if definition.from_ms != all.from_ms {
            command.arg("--from").arg(rfc3339(definition.from_ms));
        }
        if definition.until_ms != all.until_ms {
            command.arg("--until").arg(rfc3339(definition.until_ms));
        }
        command
    }

    /// Runs the log with these numbers of processes and workers, and returns the contents.
    pub fn run(&self, processes: usize, workers: usize) -> Contents {
        let store = self.path(&format!("{processes}x{workers}.db"));
        let hostfile = self.path(&format!("{processes}x{workers}.hosts"));
        let finished = run_processes(processes, &hostfile, |_| {
            let mut command = self.command(&store);
            command.args(["--round-events=50", "--publish-interval=20ms"]);
            command.arg("--workers").arg(workers.to_string());
            command
        });
        for finished in finished {
            finished.succeeded();
        }
        contents(&store, &all())
    }
}

fn log_of(model: &Model) -> Log {
    let mut log: BTreeMap<PartitionName, Vec<Event>> = BTreeMap::new();
    for arrival in Generator::new(model).unwrap() {
        let name = PartitionName { kind: arrival.kind, name: arrival.partition.to_string() };
        let events = log.entry(name).or_default();
        events.extend(arrival.event(events.len() as u64));
    }
    log.into_iter().collect()
}

/// Compares table by table, to keep the message of a failure short.
#[track_caller]
pub fn assert_same(found: &Contents, expected: &Contents, how: &str) {
    assert!(found.keys().eq(expected.keys()), "{how}");
    for (table, rows) in found {
        assert_eq!(rows, &expected[table], "{table}: {how}");
    }
}
