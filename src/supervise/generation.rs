//! The life of the generations of a job: when its processes start, when all are ended because one
//! has died or is frozen, when they start again, and when that is given up.
//!
//! ```text
//!            ┌── pause ◄── one died or is frozen, and all have ended ──┐
//!            ▼                                                         │
//! pause ─► running ── one has died: the others have a moment ───► ending
//!            │    └── one is frozen: all are killed ────────────────►  │
//!            └── asked to stop ─► draining ─► over ◄── a final exit code
//! ```

use std::fmt;
use std::time::{Duration, Instant};

/// How many generations in a row may end without a commit.
const BARREN_MAX: u32 = 10;
/// The pause before a generation that follows one with a commit; it doubles with each one without.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long the other processes have to say what they know when one has died.
const GRACE: Duration = Duration::from_secs(2);
/// How long a generation that was asked to stop may take.
const DRAIN_MAX: Duration = Duration::from_millis(9_500);
/// A worker may wait for a broker or a disk, so that no progress may last this much longer than
/// silence.
const PATIENCE: u32 = 3;
/// If the supervisor itself came to look so late, it was frozen, and the silence of processes tells
/// nothing.
const LATE: Duration = Duration::from_secs(2);

/// What a supervisor is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The number of processes of a generation.
    pub processes: usize,
    /// How long a process may be silent. It may make no progress three times as long.
    pub frozen_after: Duration,
    /// The exit codes after which the same command would fail again, or must not be repeated.
    pub final_codes: Vec<i32>,
}

/// How a process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this exit code.
    Code(i32),
    /// By a signal with this number.
    Signal(i32),
    /// It could not be started.
    NotStarted,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A process has shown that it runs, and that each of its workers makes progress.
    Progress(usize),
    /// A process has shown that it runs, and that one of its workers makes no progress.
    NoProgress(usize),
    /// The generation has committed.
    Commit,
    /// A process has ended, and is no more.
    Ended(usize, Exit),
    /// Somebody asks to stop.
    Stop,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Tell people.
    Say(Note),
    /// Start all processes of the generation with this number.
    Start(u64),
    /// Ask all processes to publish what they have read, and to end.
    Drain,
    /// Kill all processes that are left.
    Kill,
    /// It is over.
    End(Verdict),
}

/// What people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// A process has ended, which ends the generation.
    Ended(usize, Exit),
    /// A process has been silent for so long.
    Frozen(usize, Duration),
    /// A worker of a process has made no step for so long.
    Stuck(usize, Duration),
    /// All have ended, and start again after a pause. The number is that of the generations in a
    /// row that have ended without a commit.
    Again(Duration, u32),
    /// Not all processes have ended in time after they were asked to.
    NotDrained(Duration),
}

/// Why it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The job has ended by itself.
    Finished,
    /// It was asked to stop, and has.
    Stopped,
    /// It was asked to stop, and a process failed meanwhile, or did not end in time.
    NotStopped,
    /// It was asked to stop a second time, and was killed.
    Killed,
    /// A process has ended with an exit code after which it must not be started again.
    Refused(usize, i32),
    /// So many generations in a row have ended without a commit.
    GaveUp(u32),
}

/// A process of the generation.
#[derive(Clone, Copy, Debug)]
struct Process {
    heard_at: Instant,
    moved_at: Instant,
    exit: Option<Exit>,
}

/// What the generation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// There is none; the next one starts then.
    Pausing(Instant),
    Running,
    /// One process has failed; the others are killed then.
    Ending(Instant),
    /// It was asked to stop; what is left is killed then.
    Draining(Instant),
    Over,
}

/// Supervises the generations of a job.
#[derive(Clone, Debug)]
pub struct Supervisor {
    rules: Rules,
    phase: Phase,
    generation: u64,
    processes: Vec<Process>,
    /// The final exit code that was seen first, and whose it is.
    refused: Option<(usize, i32)>,
    has_committed: bool,
    /// The number of generations in a row that have ended without a commit.
    barren: u32,
    /// How often it was asked to stop.
    stops: u32,
    was_killed: bool,
    decided_at: Instant,
    said: Vec<Note>,
}

impl Supervisor {
    /// Returns a supervisor whose first generation starts at once.
    pub fn new(rules: Rules, now: Instant) -> Supervisor {
        Supervisor {
            rules,
            phase: Phase::Pausing(now),
            generation: 0,
            processes: Vec::new(),
            refused: None,
            has_committed: false,
            barren: 0,
            stops: 0,
            was_killed: false,
            decided_at: now,
            said: Vec::new(),
        }
    }

    /// Takes note of an event of the present generation.
    pub fn receive(&mut self, event: Event, now: Instant) {
        match event {
            Event::Progress(process) => {
                self.processes[process].heard_at = now;
                self.processes[process].moved_at = now;
            }
            Event::NoProgress(process) => self.processes[process].heard_at = now,
            Event::Commit => self.has_committed = true,
            Event::Ended(process, exit) => self.end(process, exit, now),
            Event::Stop => self.stops += 1,
        }
    }

    fn end(&mut self, process: usize, exit: Exit, now: Instant) {
        self.processes[process].exit = Some(exit);
        if let Exit::Code(code) = exit
            && self.rules.final_codes.contains(&code)
        {
            self.refused.get_or_insert((process, code));
        }
        if exit == Exit::Code(0) || self.was_killed {
            return;
        }
        self.said.push(Note::Ended(process, exit));
        if self.phase == Phase::Running {
            self.phase = Phase::Ending(now + GRACE);
        }
    }

    /// Decides what is to be done. Called at least every second.
    pub fn decide(&mut self, now: Instant) -> Vec<Command> {
        let late = now.saturating_duration_since(self.decided_at) >= LATE;
        self.decided_at = now;
        if late {
            for process in &mut self.processes {
                (process.heard_at, process.moved_at) = (now, now);
            }
        }
        let mut commands = Vec::new();
        if self.phase == Phase::Running {
            self.look_for_frozen(now, &mut commands);
        }
        let said = std::mem::take(&mut self.said);
        commands.splice(0..0, said.into_iter().map(Command::Say));
        match self.phase {
            Phase::Over => {}
            Phase::Pausing(_) if self.stops > 0 => self.over(Verdict::Stopped, &mut commands),
            Phase::Pausing(until) if now >= until => commands.push(self.start(now)),
            Phase::Pausing(_) => {}
            _ if self.has_ended() => self.conclude(now, &mut commands),
            _ if self.stops > 1 => self.kill(&mut commands),
            Phase::Running if self.stops > 0 => {
                self.phase = Phase::Draining(now + DRAIN_MAX);
                commands.push(Command::Drain);
            }
            Phase::Draining(until) if now >= until && !self.was_killed => {
                commands.push(Command::Say(Note::NotDrained(DRAIN_MAX)));
                self.kill(&mut commands);
            }
            Phase::Ending(until) if now >= until => self.kill(&mut commands),
            Phase::Running | Phase::Ending(_) | Phase::Draining(_) => {}
        }
        commands
    }

    /// Kills all processes if one of them is frozen.
    fn look_for_frozen(&mut self, now: Instant, commands: &mut Vec<Command>) {
        let limit = self.rules.frozen_after;
        let note = |(number, process): (usize, &Process)| {
            let since = |at: Instant| now.saturating_duration_since(at);
            match process {
                Process { exit: Some(_), .. } => None,
                Process { heard_at, .. } if since(*heard_at) >= limit => {
                    Some(Note::Frozen(number, since(*heard_at)))
                }
                Process { moved_at, .. } if since(*moved_at) >= limit * PATIENCE => {
                    Some(Note::Stuck(number, since(*moved_at)))
                }
                _ => None,
            }
        };
        let notes: Vec<Note> = self.processes.iter().enumerate().filter_map(note).collect();
        if !notes.is_empty() {
            commands.extend(notes.into_iter().map(Command::Say));
            self.phase = Phase::Ending(now);
            self.kill(commands);
        }
    }

    fn start(&mut self, now: Instant) -> Command {
        self.generation += 1;
        self.phase = Phase::Running;
        let process = Process { heard_at: now, moved_at: now, exit: None };
        self.processes = vec![process; self.rules.processes];
        (self.has_committed, self.was_killed) = (false, false);
        Command::Start(self.generation)
    }

    fn has_ended(&self) -> bool {
        self.processes.iter().all(|process| process.exit.is_some())
    }

    /// Kills what is left, once.
    fn kill(&mut self, commands: &mut Vec<Command>) {
        if !std::mem::replace(&mut self.was_killed, true) {
            commands.push(Command::Kill);
        }
    }

    /// Decides what follows a generation that has ended.
    fn conclude(&mut self, now: Instant, commands: &mut Vec<Command>) {
        let is_well = self.processes.iter().all(|process| process.exit == Some(Exit::Code(0)));
        self.barren = if self.has_committed { 0 } else { self.barren + 1 };
        let verdict = match (self.refused, self.phase) {
            _ if self.stops > 1 && !is_well => Verdict::Killed,
            (Some((process, code)), _) => Verdict::Refused(process, code),
            _ if is_well && self.stops > 0 => Verdict::Stopped,
            _ if is_well => Verdict::Finished,
            (None, Phase::Draining(_)) => Verdict::NotStopped,
            _ if self.stops > 0 => Verdict::Stopped,
            _ if self.barren >= BARREN_MAX => Verdict::GaveUp(self.barren),
            _ => {
                let doubled = PAUSE_MIN * 2_u32.pow(self.barren.saturating_sub(1));
                let pause = doubled.min(PAUSE_MAX);
                self.phase = Phase::Pausing(now + pause);
                commands.push(Command::Say(Note::Again(pause, self.barren)));
                return;
            }
        };
        self.over(verdict, commands);
    }

    fn over(&mut self, verdict: Verdict, commands: &mut Vec<Command>) {
        self.phase = Phase::Over;
        commands.push(Command::End(verdict));
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(formatter, "has ended with exit code {code}"),
            Exit::Signal(signal) => write!(formatter, "was killed by signal {signal}"),
            Exit::NotStarted => write!(formatter, "could not be started"),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Ended(process, exit) => write!(formatter, "process {process} {exit}"),
            Note::Frozen(process, silent) => write!(
                formatter,
                "process {process} has given no sign of life for {:.1} s: it is frozen, and all \
                 processes are killed",
                silent.as_secs_f64()
            ),
            Note::Stuck(process, lasted) => write!(
                formatter,
                "a worker of process {process} has made no step for {:.1} s: it is stuck, and all \
                 processes are killed",
                lasted.as_secs_f64()
            ),
            Note::Again(pause, barren) => {
                write!(formatter, "all processes start again in {} s", pause.as_secs())?;
                match barren {
                    0 => Ok(()),
                    _ => write!(formatter, ": {barren} in a row without a commit"),
                }
            }
            Note::NotDrained(limit) => write!(
                formatter,
                "not all processes have ended within {} s, and those that are left are killed: \
                 what is committed remains",
                limit.as_secs_f64()
            ),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Finished => formatter.write_str("the job has ended"),
            Verdict::Stopped => formatter.write_str("the job was stopped"),
            Verdict::NotStopped => formatter.write_str(
                "the job has failed while it was stopped: what is committed remains, and the next \
                 one goes on from it",
            ),
            Verdict::Killed => formatter.write_str(
                "the job was killed: what is committed remains, and the next one goes on from it",
            ),
            Verdict::Refused(process, code) => write!(
                formatter,
                "process {process} has ended with exit code {code}, after which the job is not \
                 started again; its message says why"
            ),
            Verdict::GaveUp(barren) => write!(
                formatter,
                "the processes have ended {barren} times in a row without a commit, and are not \
                 started again; their messages say why"
            ),
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
