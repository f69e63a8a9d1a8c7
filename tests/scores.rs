//! `trending` and `surge` in whole jobs: the rows in a store are those computed from scratch from
//! its rows of `trends`, whatever workers and processes, however often the job was killed. The
//! history that a new job needs is then read from the store.

mod common;

use common::contents::{open, select};
use common::kills::kill;
use common::program::{Running, start_processes, trendmark, wait_until};
use common::workspace::Workspace;
use trendmark::scores::oracle::{ScoredRow, Table, rows};
use trendmark::scores::{Counts, Exposure, Settings};

/// The logs, and the definition: 72 epochs, of which most are final long before the end.
const LOGS: [&str; 14] = [
    "--impressions=log/impressions-*",
    "--plays=log/plays-*",
    "--epoch-length=10m",
    "--join-window=2",
    "--query=trends",
    "--query=trending",
    "--query=surge",
    "--trending-day-epochs=6",
    "--trending-days=2",
    "--trending-guard=1",
    "--trending-least-epochs=3",
    "--trending-least-plays=3",
    "--trending-recent=5",
    "--surge-recent=7",
];
const SURGE: [&str; 5] = [
    "--surge-day-epochs=6",
    "--surge-days=2",
    "--surge-guard=1",
    "--surge-least-epochs=3",
    "--surge-least-plays=3",
];

fn settings(exposure: Exposure, recent: i64) -> Settings {
    Settings {
        exposure,
        day: 6,
        days: 2,
        guard: 1,
        evidence_days: 3,
        least_epochs: 3,
        least_plays: 3.0,
        prior_plays: 3.0,
        recent,
        half_life: 2.0,
    }
}

/// A folder with a log of twelve hours.
fn place(seed: u64) -> Workspace {
    let place = Workspace::new();
    let mut command = trendmark();
    command.current_dir(place.path("")).args(["generate", "--out=log", "--impressions=40000"]);
    command.args(["--videos=60", "--partitions=3", "--play-rate=0.2", "--duration=12h"]);
    Running::start(command.arg(format!("--seed={seed}"))).finish().succeeded();
    place
}

/// The rows of `trends` in a store.
fn table(place: &Workspace) -> Table {
    let mut table = Table::new();
    let connection = open(&place.path("s.db"));
    let mut statement =
        connection.prepare("SELECT video_id, epoch, plays, impressions FROM trends").unwrap();
    let mut found = statement.query([]).unwrap();
    while let Some(row) = found.next().unwrap() {
        let number = |at| row.get::<_, i64>(at).unwrap().cast_unsigned();
        let counts = Counts { plays: number(2), impressions: number(3) };
        table.entry(number(0)).or_default().insert(row.get(1).unwrap(), counts);
    }
    table
}

/// The rows from scratch, as text.
fn from_scratch(table: &Table, settings: &Settings) -> Vec<String> {
    let text = |row: &ScoredRow| {
        let since = row.since.map_or(String::new(), |since| since.to_string());
        format!(
            "{},{},{},{},{},{},{since}",
            row.video,
            row.epoch,
            row.plays,
            row.scored.expected_thousandths,
            row.scored.score.thousandths,
            row.momentum,
        )
    };
    let mut rows: Vec<String> = rows(table, settings).iter().map(text).collect();
    rows.sort();
    rows
}

/// Compares the rows of both queries with those from scratch. Returns their number.
fn check(place: &Workspace, how: &str) -> usize {
    let (table, connection) = (table(place), open(&place.path("s.db")));
    let kinds = [("trending", Exposure::Impressions, 5), ("surge", Exposure::Time, 7)];
    let checked = kinds.map(|(name, exposure, recent)| {
        let columns = "video_id, epoch, plays, expected_plays, score, momentum";
        let selection = format!("{columns}, coalesce(since, '') FROM {name}");
        let expected = from_scratch(&table, &settings(exposure, recent));
        assert_eq!(select(&connection, &selection), expected, "{name}: {how}");
        expected.len()
    });
    checked.iter().sum()
}

#[test]
fn the_rows_are_those_from_scratch_for_any_workers_and_processes() {
    let place = place(1);
    let mut numbers = Vec::new();
    for (processes, workers) in [(1, "1"), (1, "3"), (2, "2")] {
        for file in ["s.db", "s.db-wal", "s.db-shm"] {
            let _ = std::fs::remove_file(place.path(file));
        }
        let job = start_processes(processes, &place.path("hosts"), |_| {
            let mut command = place.command(&LOGS);
            command.args(SURGE).args(["--workers", workers, "--publish-interval=5ms"]);
            command
        });
        job.into_iter().for_each(|process| {
            process.finish().succeeded();
        });
        numbers.push(check(&place, &format!("{processes} processes of {workers} workers")));
    }
    assert!(
        numbers[0] > 4_000 && numbers.iter().all(|number| *number == numbers[0]),
        "{numbers:?}"
    );
}

#[test]
fn the_rows_are_those_from_scratch_however_often_the_job_is_killed() {
    let place = place(2);
    let mut resumed = 0;
    // Each job is killed as soon as so many epochs are final, so the next one needs their rows.
    for (job, final_epochs) in [16, 30, 31, 45, 60].into_iter().enumerate() {
        let processes = 1 + job % 2;
        let mut job = start_processes(processes, &place.path("hosts"), |_| {
            let mut command = place.command(&LOGS);
            command.args(SURGE).args(["--launch-timeout", "10s", "--round-events=50"]);
            command.args(["--publish-interval=0ms", "--workers=1"]);
            command
        });
        let are_final = || place.number("count(*) FROM epochs WHERE final") >= final_epochs;
        wait_until("epochs are final", || are_final() || job[0].has_ended());
        resumed += usize::from(kill(job, (final_epochs % 2 == 0).then_some(processes - 1)));
    }
    Running::start(place.command(&LOGS).args(SURGE)).finish().succeeded();
    assert!(check(&place, &format!("{resumed} jobs that needed history")) > 4_000);
    assert!(resumed >= 2, "jobs ended before they could be killed");
}
