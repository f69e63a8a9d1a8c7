//! Scenarios as text: what happens to the processes of a job, and what the supervisor does.

use super::*;

/// Runs a scenario of two processes, which may be silent for 10 s: one `step → commands` a line,
/// the commands separated by commas.
///
/// - `at SECONDS`: the time, since the start.
/// - `progress N …`, `no progress N …`: signs of life of processes; `commit`.
/// - `ended N CODE`, `killed N SIGNAL`, `unstarted N`: the ends of processes.
/// - `stop`: somebody asks to stop.
///
/// A step may have several parts, with `;` between them.
fn check(scenario: &str) {
    let rules =
        Rules { processes: 2, frozen_after: Duration::from_secs(10), final_codes: vec![2, 5, 6] };
    let began = Instant::now();
    let mut now = began;
    let mut supervisor = Supervisor::new(rules, now);
    for line in scenario.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (step, expected) = line.split_once('→').unwrap();
        for part in step.split(';').map(str::trim) {
            let words: Vec<&str> = part.split(' ').collect();
            let number = |at: usize| words[at].parse().unwrap();
            let mut each = |first: usize, event: fn(usize) -> Event| {
                for at in first..words.len() {
                    supervisor.receive(event(number(at)), now);
                }
            };
            match words[0] {
                "at" => now = began + Duration::from_secs_f64(words[1].parse().unwrap()),
                "progress" => each(1, Event::Progress),
                "no" => each(2, Event::NoProgress),
                "commit" => supervisor.receive(Event::Commit, now),
                "stop" => supervisor.receive(Event::Stop, now),
                "unstarted" => supervisor.receive(Event::Ended(number(1), Exit::NotStarted), now),
                end => {
                    let code = words[2].parse().unwrap();
                    let exit = if end == "ended" { Exit::Code(code) } else { Exit::Signal(code) };
                    supervisor.receive(Event::Ended(number(1), exit), now);
                }
            }
        }
        let commands = supervisor.decide(now);
        let commands: Vec<String> = commands.iter().map(text).collect();
        assert_eq!(commands.join(", "), expected.trim(), "{line}");
    }
}

fn text(command: &Command) -> String {
    match command {
        Command::Say(Note::Again(pause, barren)) => format!("again {} {barren}", pause.as_secs()),
        Command::Say(Note::Ended(process, Exit::Code(code))) => format!("ended {process} {code}"),
        Command::Say(Note::Ended(process, Exit::Signal(signal))) => {
            format!("killed {process} {signal}")
        }
        Command::Say(Note::Ended(process, Exit::NotStarted)) => format!("unstarted {process}"),
        Command::Say(Note::Frozen(process, _)) => format!("frozen {process}"),
        Command::Say(Note::Stuck(process, _)) => format!("stuck {process}"),
        Command::Say(Note::NotDrained(_)) => "not drained".into(),
        Command::Start(generation) => format!("start {generation}"),
        Command::Drain => "drain".into(),
        Command::Kill => "kill".into(),
        Command::End(verdict) => format!("end {verdict:?}"),
    }
}

#[test]
fn a_job_that_ends_by_itself_is_over() {
    check(
        "at 0 → start 1
         at 1; progress 0 1; commit →
         at 2; ended 1 0 →
         at 2.5; ended 0 0 → end Finished
         at 3 →",
    );
}

#[test]
fn the_processes_start_again_when_one_has_died_and_the_others_have_a_moment() {
    check(
        "at 0 → start 1
         at 1; commit; killed 1 9 → killed 1 9
         at 2.9 →
         at 3 → kill
         at 3.5 →
         at 4; killed 0 9 → again 1 0
         at 4.9 →
         at 5 → start 2
         at 6; commit; ended 0 1 → ended 0 1
         at 6.1; ended 1 1 → ended 1 1, again 1 0
         at 7.2 → start 3",
    );
}

#[test]
fn a_process_that_is_silent_is_frozen_and_one_without_progress_is_stuck_later() {
    check(
        "at 0 → start 1
         at 1 →
         at 2 →
         at 3; progress 0 1 →
         at 4; progress 0; no progress 1 →
         at 5; no progress 1 →
         at 6 →
         at 7 →
         at 8; progress 0 →
         at 9 →
         at 10 →
         at 11 →
         at 12 →
         at 13 →
         at 14 →
         at 14.9 →
         at 15 → frozen 1, kill
         at 15.1; killed 0 9 →
         at 15.2; killed 1 9 → again 1 1
         at 16.2 → start 2
         at 17; progress 0 1 →",
    );
    let mut scenario = String::from("at 0 → start 1\n");
    for second in 1..30 {
        scenario += &format!("at {second}; no progress 0; progress 1 →\n");
    }
    check(&(scenario + "at 30; no progress 0; progress 1 → stuck 0, kill"));
}

#[test]
fn the_silence_of_processes_tells_nothing_if_the_supervisor_itself_was_frozen() {
    check(
        "at 0 → start 1
         at 1; progress 0 1 →
         at 600 →
         at 601; progress 0 →
         at 602; progress 0 →
         at 603; progress 0 →
         at 604; progress 0 →
         at 605; progress 0 →
         at 606; progress 0 →
         at 607; progress 0 →
         at 608; progress 0 →
         at 609; progress 0 →
         at 610 → frozen 1, kill",
    );
}

#[test]
fn the_pause_doubles_until_a_commit_and_ten_generations_without_one_are_enough() {
    check(
        "at 0 → start 1
         at 0; ended 0 1; ended 1 1 → ended 0 1, ended 1 1, again 1 1
         at 1 → start 2
         at 1; unstarted 0; unstarted 1 → unstarted 0, unstarted 1, again 2 2
         at 3 → start 3
         at 3; killed 0 9; killed 1 9 → killed 0 9, killed 1 9, again 4 3
         at 7 → start 4
         at 7; commit; ended 0 0; ended 1 1 → ended 1 1, again 1 0
         at 8 → start 5
         at 8; ended 0 0; ended 1 1 → ended 1 1, again 1 1",
    );
    let mut scenario = String::new();
    let mut at = 0;
    for (index, pause) in [1, 2, 4, 8, 16, 32, 60, 60, 60].iter().enumerate() {
        let number = index + 1;
        scenario += &format!(
            "at {at} → start {number}
             at {at}; ended 0 0; ended 1 1 → ended 1 1, again {pause} {number}\n"
        );
        at += pause;
    }
    scenario += &format!(
        "at {at} → start 10
         at {at}; ended 0 0; ended 1 1 → ended 1 1, end GaveUp(10)"
    );
    check(&scenario);
}

#[test]
fn a_final_exit_code_ends_it_also_if_other_processes_have_other_codes() {
    check(
        "at 0 → start 1
         at 1; ended 1 1 → ended 1 1
         at 1.1; ended 0 5 → ended 0 5, end Refused(0, 5)",
    );
    check(
        "at 0 → start 1
         at 1; ended 1 0; ended 0 6 → ended 0 6, end Refused(0, 6)",
    );
    check(
        "at 0 → start 1
         at 1; ended 1 2 → ended 1 2
         at 3 → kill
         at 3; killed 0 9 → end Refused(1, 2)",
    );
}

#[test]
fn it_drains_when_it_is_asked_to_stop_and_kills_when_it_is_asked_again() {
    check(
        "at 0 → start 1
         at 1; stop → drain
         at 2; ended 0 0 →
         at 3; ended 1 0 → end Stopped",
    );
    check(
        "at 0 → start 1
         at 1; stop → drain
         at 2; stop → kill
         at 2; stop →
         at 3; killed 0 9; killed 1 9 → end Killed",
    );
    check("at 0; stop; stop → end Stopped");
}

#[test]
fn what_does_not_drain_in_time_is_killed() {
    check(
        "at 0 → start 1
         at 1; stop → drain
         at 2; ended 0 0 →
         at 10.4 →
         at 10.5 → not drained, kill
         at 10.6; killed 1 9 → end NotStopped",
    );
    check(
        "at 0 → start 1
         at 1; stop → drain
         at 2; ended 0 1; ended 1 1 → ended 0 1, ended 1 1, end NotStopped",
    );
}

#[test]
fn a_stop_between_two_generations_starts_no_other_one() {
    check(
        "at 0 → start 1
         at 1; killed 0 9 → killed 0 9
         at 1; stop →
         at 2; ended 1 1 → ended 1 1, end Stopped",
    );
    check(
        "at 0 → start 1
         at 1; killed 0 9; ended 1 1 → killed 0 9, ended 1 1, again 1 1
         at 1; stop → end Stopped",
    );
}
