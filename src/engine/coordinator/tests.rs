//! Scenarios as text: events, and the commands that the coordinator sends in response.

use super::*;
use crate::engine::Failure;
use crate::event::Kind;
use crate::log::{PartitionName, PartitionProgress};
use crate::time::rfc3339;
use std::fmt::Write;

/// Runs a scenario: one `step → commands` a line, the commands separated by commas.
///
/// - `discover NAME:BYTES …`: partitions are found.
/// - `worker N …`: a report. Parts that are left out are unchanged: `round=PUBLICATION.TICK`,
///   `assigned=N`, `slowest=unknown|none|HH:MM`, `max=HH:MM`, `exhausted=yes|no`,
///   `wanted=EPOCH+…` (none: `-`), `completed=N`, `asked=N`, `granted=N`, and the flags `replayed`,
///   `quiet`, `busy` (not quiet), `reading` (in a round), `row_limit_near`, `scarce` and
///   `ample` (memory), `drained`, `stop`, `failed`.
/// - `committed N [through]`: the store has committed a publication.
/// - `after MS`: time passes.
///
/// The clock shows 20:00. Epochs of 30 minutes are numbered within the day. The join window is 1
/// and the maximum delay 0, so that a watermark of 02:00 closes epoch 2.
fn check(rules: &Rules, scenario: &str) {
    let mut test = Test::new(rules);
    for line in scenario.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (step, expected) = line.split_once('→').unwrap();
        let commands = test.step(step.trim());
        let commands: Vec<String> = commands.iter().map(text).collect();
        assert_eq!(commands.join(", "), expected.trim(), "{line}");
    }
}

const DAY: &str = "1970-01-01";

fn rules(workers: usize) -> Rules {
    let definition = Definition { join_window_epochs: 1, max_delay_ms: 0, ..Definition::default() };
    Rules {
        definition,
        workers,
        alignment_ms: 30 * 60_000,
        open_epochs_max: 3,
        publish_interval: Duration::from_secs(1),
        follow: false,
        progress: Progress::default(),
    }
}

struct Test {
    coordinator: Coordinator,
    reports: Vec<Report>,
    now: Instant,
}

impl Test {
    fn new(rules: &Rules) -> Test {
        let now = Instant::now();
        let report = |worker| Report {
            worker,
            round: Round::first(Publication::REPLAY),
            assigned: 0,
            replayed: false,
            asked: 0,
            granted: 0,
            watermarks: Watermarks::NONE,
            wanted: Vec::new(),
            completed: 0,
            round_is_empty: true,
            quiet: false,
            row_limit_near: false,
            memory_is_scarce: false,
            holder: None,
            drained: false,
            stop: false,
            failure: None,
        };
        let reports = (0..rules.workers).map(report).collect();
        Test { coordinator: Coordinator::new(rules.clone(), now), reports, now }
    }

    fn step(&mut self, step: &str) -> Vec<Command> {
        let words: Vec<&str> = step.split_whitespace().collect();
        let mut commands = match words[0] {
            "begin" => return self.coordinator.begin(),
            "discover" => self.coordinator.assign(words[1..].iter().map(partition).collect()),
            "worker" => {
                let report = &mut self.reports[words[1].parse::<usize>().unwrap()];
                words[2..].iter().for_each(|word| change(report, word));
                self.coordinator.receive(report.clone());
                Vec::new()
            }
            "committed" => {
                let final_through = words.get(2).map_or(Through::Nothing, |word| through(word));
                let publication = Publication(words[1].parse().unwrap());
                self.coordinator.committed(Committed { publication, final_through })
            }
            "after" => {
                self.now += Duration::from_millis(words[1].parse().unwrap());
                Vec::new()
            }
            other => panic!("unknown step: {other}"),
        };
        commands.extend(self.coordinator.decide(self.now, ms("20:00")));
        commands
    }
}

fn partition(word: &&str) -> Discovered {
    let (name, bytes) = word.split_once(':').unwrap();
    Discovered {
        name: PartitionName { kind: Kind::Play, name: name.into() },
        size_bytes: bytes.parse().unwrap(),
        end_offset: None,
        file: None,
    }
}

fn ms(time: &str) -> i64 {
    crate::time::parse_rfc3339_ms(&format!("{DAY}T{time}:00Z")).unwrap()
}

fn through(word: &str) -> Through {
    match word {
        "everything" => Through::Everything,
        epoch => Through::Epoch(Epoch(epoch.parse().unwrap())),
    }
}

fn change(report: &mut Report, word: &str) {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    match name {
        "round" => {
            let (publication, tick) = value.split_once('.').unwrap();
            let publication = Publication(publication.parse().unwrap());
            report.round = Round::at(publication, tick.parse().unwrap());
        }
        "assigned" => report.assigned = value.parse().unwrap(),
        "slowest" => {
            report.watermarks.slowest = match value {
                "unknown" => SlowestWatermark::Unknown,
                "none" => SlowestWatermark::NoneActive,
                time => SlowestWatermark::At(ms(time)),
            }
        }
        "max" => report.watermarks.max_ms = Some(ms(value)),
        "exhausted" => report.watermarks.exhausted = value == "yes",
        "wanted" if value == "-" => report.wanted.clear(),
        "wanted" => {
            report.wanted = value.split('+').map(|epoch| Epoch(epoch.parse().unwrap())).collect();
        }
        "completed" => report.completed = value.parse().unwrap(),
        "asked" => report.asked = value.parse().unwrap(),
        "granted" => report.granted = value.parse().unwrap(),
        "replayed" => report.replayed = true,
        "quiet" => (report.quiet, report.round_is_empty) = (true, true),
        "reading" => report.round_is_empty = false,
        "busy" => report.quiet = false,
        "row_limit_near" => report.row_limit_near = true,
        "scarce" => report.memory_is_scarce = true,
        "ample" => report.memory_is_scarce = false,
        "drained" => report.drained = true,
        "stop" => report.stop = true,
        "failed" => {
            let text = "a worker has failed".to_owned();
            report.failure = Some(Failure { text, exit_code: 5 });
        }
        other => panic!("unknown part of a report: {other}"),
    }
}

fn text(command: &Command) -> String {
    let mut text = String::new();
    let through = |through: &Through| match through {
        Through::Nothing => "nothing".to_owned(),
        Through::Epoch(epoch) => epoch.to_string(),
        Through::Everything => "everything".to_owned(),
    };
    let written = match command {
        Command::Assign { worker, partition, progress } => {
            let from = progress.as_ref().map(|at| format!(" from {}", at.replay_offset));
            let name = &partition.name.name;
            write!(text, "assign {name} to {worker}{}", from.unwrap_or_default())
        }
        Command::Open(epoch) => write!(text, "open {epoch}"),
        Command::Close(closed) => write!(text, "close {}", through(closed)),
        Command::Align { slowest_ms, limit_ms } => {
            let ahead_m = (limit_ms - slowest_ms) / 60_000;
            let bound = if ahead_m == 30 { String::new() } else { format!("+{ahead_m}") };
            write!(text, "align {}{bound}", &rfc3339(*slowest_ms)[11..16])
        }
        Command::Advance(round) => {
            let first = Round::first(round.publication());
            write!(text, "advance {}.{}", round.publication(), round.ahead_of(first))
        }
        Command::Begin { round, clock_ms, granted } => {
            assert_eq!(*clock_ms, ms("20:00"));
            let granted = granted.iter().enumerate().filter(|(_, granted)| **granted > 0);
            let granted = granted.map(|(worker, granted)| format!(" granting {worker}:{granted}"));
            write!(text, "begin {}{}", round.publication(), granted.collect::<String>())
        }
        Command::Finalize(final_through) => write!(text, "finalize {}", through(final_through)),
        Command::Generation(generation) => write!(text, "generation {generation}"),
        Command::Gather(epoch) => write!(text, "gather {epoch}"),
        Command::Drain => write!(text, "drain"),
        Command::End => write!(text, "end"),
        Command::Relocate(moved) => write!(text, "relocate {}", moved.partition.name),
        Command::Abort(failure) => write!(text, "abort {}: {failure}", failure.exit_code),
    };
    written.unwrap();
    text
}

#[test]
fn a_job_reads_its_files_to_their_ends() {
    check(
        &rules(1),
        "
        begin                                                →
        discover a:10 b:20                                   → assign b to 0, assign a to 0
        worker 0 assigned=2 slowest=unknown exhausted=no     →
        worker 0 replayed                                    → begin 1
        worker 0 round=1.0 wanted=0                          → open 0
        worker 0 slowest=00:10 max=00:20                     → align 00:10, close -2
        worker 0 slowest=01:10 max=01:10 wanted=2            → align 01:10, close 0, open 2
        worker 0 round=1.1                                   → advance 1.1
        after 999                                            →
        after 1                                              → begin 2
        worker 0 round=2.0 completed=1                       →
        after 5000                                           →
        committed 1 0                                        → finalize 0
        worker 0 quiet                                       → begin 3
        worker 0 round=3.0 busy slowest=none exhausted=yes wanted=- → close everything
        worker 0 completed=2                                 →
        committed 2 0                                        → begin 4
        worker 0 round=4.0                                   →
        committed 3 everything                               → finalize everything, end
        worker 0 quiet                                       →
        ",
    );
}

#[test]
fn partitions_are_assigned_largest_first() {
    check(
        &rules(2),
        "
        discover a:1 b:9 c:5 d:3 → assign b to 0, assign c to 1, assign d to 1, assign a to 1
        discover e:0 f:0         → assign e to 0, assign f to 1
        ",
    );
}

#[test]
fn the_slowest_worker_holds_epochs_open_and_holds_others_back() {
    check(
        &rules(2),
        "
        discover a:1 b:1                                   → assign a to 0, assign b to 1
        worker 0 assigned=2 replayed slowest=03:00 max=03:00 exhausted=no →
        worker 1 assigned=1 replayed slowest=02:00 max=02:00 exhausted=no →
        worker 1 assigned=2                                → begin 1
        worker 0 round=1.0                                 → align 02:00, close 2
        worker 1 round=1.0 slowest=unknown                 →
        worker 1 slowest=02:59                             → align 02:59, close 3
        worker 1 slowest=none                              → align 03:00, close 4
        ",
    );
}

#[test]
fn while_memory_is_scarce_anywhere_all_partitions_wait_for_the_slowest() {
    check(
        &rules(2),
        "
        worker 0 replayed                             →
        worker 1 replayed                             → begin 1
        worker 0 round=1.0 slowest=02:00 exhausted=no → align 02:00, close 2
        worker 1 round=1.0 slowest=03:00 exhausted=no →
        worker 1 scarce                               → align 02:00+0
        worker 0 slowest=02:10                        → align 02:10+0
        worker 1 ample                                → align 02:10
        ",
    );
}

#[test]
fn while_all_partitions_are_idle_the_largest_watermark_closes_epochs() {
    check(
        &Rules { follow: true, ..rules(1) },
        "
        discover a:1                                       → assign a to 0
        worker 0 assigned=1 replayed exhausted=no          → begin 1
        worker 0 round=1.0 slowest=unknown                 →
        worker 0 slowest=none                              →
        worker 0 slowest=none max=02:30                    → align 02:30, close 3
        worker 0 exhausted=yes                             →
        ",
    );
}

#[test]
fn epochs_open_in_order_up_to_the_limit() {
    check(
        &rules(2),
        "
        worker 0 replayed slowest=unknown exhausted=no     →
        worker 1 replayed                                  → begin 1
        worker 0 round=1.0 wanted=5+3                      → open 3, open 5
        worker 1 round=1.0 wanted=9+4+3                    → open 4
        worker 0 wanted=- completed=1                      →
        worker 1 completed=1                               → open 9
        ",
    );
}

#[test]
fn a_publication_ends_when_it_is_due_or_rows_near_their_limit_and_the_previous_one_is_committed() {
    check(
        &rules(1),
        "
        discover a:1                                         → assign a to 0
        worker 0 replayed assigned=1 slowest=00:00 exhausted=no → begin 1
        worker 0 round=1.0                                   → align 00:00, close -2
        after 5000                                           → begin 2
        worker 0 round=2.3                                   → advance 2.3
        after 2000                                           →
        committed 1                                          →
        after 999                                            →
        worker 0 quiet                                       → begin 3
        worker 0 round=3.1 busy                              → advance 3.1
        worker 0 row_limit_near                              →
        committed 2                                          → begin 4
        ",
    );
}

#[test]
fn a_job_that_is_stopped_publishes_what_was_read_and_ends() {
    check(
        &rules(1),
        "
        worker 0 replayed slowest=00:00 exhausted=no         → begin 1
        worker 0 round=1.4 stop                        → drain, align 00:00, close -2, advance 1.4
        worker 0 drained                                     → begin 2
        worker 0 round=2.0                                   →
        committed 1                                          → end
        ",
    );
    check(
        &rules(1),
        "
        worker 0 stop    → drain
        worker 0 drained → end
        ",
    );
}

#[test]
fn a_job_continues_from_the_progress_of_its_store() {
    let at = PartitionProgress {
        watermark_ms: Some(ms("02:00")),
        replay_offset: 7,
        ..PartitionProgress::read_to(PartitionName { kind: Kind::Play, name: "a".into() }, 9)
    };
    let progress = Progress {
        publication: Publication(41),
        final_through: Through::Epoch(Epoch(2)),
        partitions: [(at.partition.clone(), at)].into(),
        ..Progress::default()
    };
    check(
        &Rules { progress, open_epochs_max: 1, ..rules(1) },
        "
        begin                                               → close 2, finalize 2
        discover a:1 b:1                                    → assign a to 0 from 7, assign b to 0
        worker 0 assigned=2 slowest=01:40 max=05:00 exhausted=no →
        worker 0 wanted=1+3+4                               → open 3, open 4
        worker 0 wanted=- replayed slowest=02:00            → begin 42
        worker 0 round=42.1                                 → align 02:00, advance 42.1
        after 2000                                          → begin 43
        committed 42 2                                      →
        ",
    );
}

#[test]
fn a_worker_that_fails_ends_the_job() {
    check(&rules(2), "worker 1 failed → abort 5: a worker has failed");
}

#[test]
fn requests_are_answered_when_a_publication_begins_and_hold_epochs_open_until_then() {
    check(
        &Rules { follow: true, ..rules(2) },
        "
        discover a:1 b:1                                   → assign a to 0, assign b to 1
        worker 0 assigned=2 replayed slowest=none max=03:00 exhausted=no →
        worker 1 assigned=2 replayed slowest=02:00 max=02:00 exhausted=no → begin 1
        worker 0 round=1.0                                 → align 02:00, close 2
        worker 1 round=1.0                                 →
        after 999                                          →
        worker 0 asked=1                                   →
        after 1                                            → begin 2 granting 0:1
        worker 1 round=2.0 slowest=03:00 max=03:00         →
        worker 0 round=2.0 granted=1 slowest=02:30         → align 02:30, close 3
        worker 1 asked=1                                   →
        committed 1                                        →
        after 999                                          →
        after 1                                            → begin 3 granting 0:1 granting 1:1
        ",
    );
}

#[test]
fn while_no_partition_is_active_no_epoch_closes_that_the_clock_has_not_passed() {
    check(
        &Rules { follow: true, ..rules(1) },
        "
        discover a:1                                       → assign a to 0
        worker 0 assigned=1 replayed exhausted=no          → begin 1
        worker 0 round=1.0 slowest=none max=23:00          → align 20:10, close 38
        ",
    );
}

#[test]
fn what_the_slowest_partition_needs_is_opened_beyond_the_limit() {
    check(
        &rules(1),
        "
        worker 0 replayed slowest=02:00 max=09:00 exhausted=no wanted=8+9+10+11 \
            → open 8, open 9, open 10, open 11, begin 1
        worker 0 round=1.0 wanted=4+5+12                   → align 02:00, close 2, open 4
        ",
    );
}

#[test]
fn a_job_does_not_end_before_the_round_of_the_last_events() {
    check(
        &Rules {
            progress: Progress { final_through: Through::Everything, ..Progress::default() },
            ..rules(1)
        },
        "
        discover a:1                                       → assign a to 0
        worker 0 assigned=1 replayed slowest=none exhausted=no → begin 1
        worker 0 round=1.0 exhausted=yes reading           →
        worker 0 round=1.1 quiet                           → begin 2
        worker 0 round=2.0                                 →
        committed 1 everything                             → end
        ",
    );
}
