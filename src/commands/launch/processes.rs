//! The processes of one generation: started, heard, asked to end, killed, and reaped.

use super::supervised::VARIABLE;
use super::tell;
use crate::arguments::LaunchPlan;
use crate::console;
use crate::supervise::{Exit, Order, Sign};
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use tempfile::TempDir;

/// The longest line of a process that is printed in one piece, in bytes.
const LINE_MAX: u64 = 64 << 10;
/// The first of the ports for the processes, and their number. They lie below those that the system
/// gives to outgoing connections, which may take any of those before a process listens there.
const PORTS: (u32, u32) = (20_000, 12_000);

/// What a process has told.
pub struct Heard {
    pub generation: u64,
    pub process: usize,
    pub sign: Sign,
}

/// The processes of a generation, and what is needed to start the next one.
pub struct Processes {
    /// Where the file of this program was.
    program: PathBuf,
    given: Vec<OsString>,
    number: usize,
    has_addresses: bool,
    /// For the file of addresses.
    folder: TempDir,
    ports_tried: u32,
    heard: Sender<Heard>,
    generation: u64,
    /// Those that are not reaped.
    running: Vec<(usize, Running)>,
    /// Those that could not be started.
    unstarted: Vec<usize>,
}

/// A process that is not reaped.
struct Running {
    child: Child,
    connection: UnixStream,
    outputs: [JoinHandle<()>; 2],
}

impl Processes {
    /// Prepares processes with these arguments of `run`, whose signs are sent to `heard`.
    pub fn new(
        plan: &LaunchPlan,
        given: Vec<OsString>,
        heard: Sender<Heard>,
    ) -> io::Result<Processes> {
        Ok(Processes {
            program: std::env::current_exe()?,
            given,
            number: plan.processes,
            has_addresses: plan.has_addresses,
            folder: tempfile::Builder::new().prefix("trendmark-launch-").tempdir()?,
            ports_tried: 0,
            heard,
            generation: 0,
            running: Vec::new(),
            unstarted: Vec::new(),
        })
    }

    /// The number of the generation.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Starts all processes of a generation. Returns their ids, as text.
    pub fn start(&mut self, generation: u64, take_over: bool) -> String {
        assert!(self.running.is_empty(), "a generation starts when the one before has ended");
        self.generation = generation;
        let hostfile = self.folder.path().join("hosts");
        let has_own = !self.has_addresses && self.number > 1;
        if has_own && let Err(error) = self.write_addresses(&hostfile) {
            tell(format_args!("cannot choose addresses for the processes: {error}"));
            self.unstarted.extend(0..self.number);
            return "not started".into();
        }
        let mut ids = Vec::new();
        for process in 0..self.number {
            let mut command = self.command(process, take_over);
            if has_own {
                command.arg("--hostfile").arg(&hostfile);
            }
            match self.spawn(process, &mut command) {
                Ok(running) => {
                    ids.push(format!("process {process} is {}", running.child.id()));
                    self.running.push((process, running));
                }
                Err(error) => {
                    tell(format_args!("cannot start process {process}: {error}"));
                    self.unstarted.push(process);
                }
            }
        }
        ids.join(", ")
    }

    fn command(&self, process: usize, take_over: bool) -> Command {
        let mut command = Command::new(this_program(&self.program));
        command.arg0("trendmark").arg("run").args(&self.given);
        command.args(["--processes", &self.number.to_string()]);
        command.args(["--process", &process.to_string()]);
        if take_over {
            command.arg("--take-over");
        }
        // Ctrl-C in a terminal reaches a whole group: the processes are told by this one.
        command.process_group(0).env(VARIABLE, "1");
        command
    }

    fn spawn(&self, process: usize, command: &mut Command) -> io::Result<Running> {
        let (connection, theirs) = UnixStream::pair()?;
        let mut signs = connection.try_clone()?;
        command.stdin(Stdio::from(OwnedFd::from(theirs)));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (heard, generation) = (self.heard.clone(), self.generation);
        thread::spawn(move || {
            let mut bytes = [0; 64];
            while let Ok(count @ 1..) = signs.read(&mut bytes) {
                for sign in bytes[..count].iter().copied().filter_map(Sign::of_byte) {
                    // Nobody listens any more when the launch is over.
                    let _ = heard.send(Heard { generation, process, sign });
                }
            }
        });
        let (out, log) = (child.stdout.take(), child.stderr.take());
        let outputs = [
            thread::spawn(move || {
                copy_lines(out, |line| {
                    let _ = console::print_line(format_args!("process {process}: {line}"));
                });
            }),
            thread::spawn(move || {
                copy_lines(log, |line| {
                    console::message(format_args!("process {process}: {line}"));
                });
            }),
        ];
        Ok(Running { child, connection, outputs })
    }

    /// Writes addresses that are free at the moment. If another program takes one, the generation
    /// fails and the next one gets others.
    fn write_addresses(&mut self, hostfile: &Path) -> io::Result<()> {
        let (first, number) = PORTS;
        let start = std::process::id().wrapping_mul(97);
        let mut listeners = Vec::new();
        for _ in 0..number {
            let port = first + start.wrapping_add(self.ports_tried) % number;
            self.ports_tried = self.ports_tried.wrapping_add(1);
            // All are held at once, so that no two are the same.
            listeners.extend(TcpListener::bind(format!("127.0.0.1:{port}")));
            if listeners.len() == self.number {
                let lines = listeners.iter().map(|one| Ok(format!("{}\n", one.local_addr()?)));
                return std::fs::write(hostfile, lines.collect::<io::Result<String>>()?);
            }
        }
        let what = format!("too few free ports from {first} to {}", first + number - 1);
        Err(io::Error::new(io::ErrorKind::AddrInUse, what))
    }

    /// Reaps the processes that have ended, once each, after what they have said is printed.
    pub fn take_ended(&mut self) -> Vec<(usize, Exit)> {
        let mut ended: Vec<_> =
            self.unstarted.drain(..).map(|process| (process, Exit::NotStarted)).collect();
        let is_over = |(_, one): &mut (usize, Running)| {
            let status = one.child.try_wait();
            status.expect("a process can wait for its own children").is_some()
        };
        for (process, Running { mut child, outputs, .. }) in self.running.extract_if(.., is_over) {
            let status = child.wait().expect("its status is known");
            for output in outputs {
                // A thread that has panicked has ended this process.
                let _ = output.join();
            }
            let signal = || Exit::Signal(status.signal().unwrap_or_default());
            ended.push((process, status.code().map_or_else(signal, Exit::Code)));
        }
        ended
    }

    /// Asks all processes to publish what they have read, and to end.
    pub fn drain(&mut self) {
        for (_, one) in &mut self.running {
            // One that has ended needs no order.
            let _ = one.connection.write_all(&[Order::Drain.to_byte()]);
        }
    }

    /// Kills all processes that are left.
    pub fn kill(&mut self) {
        for (_, one) in &mut self.running {
            // It fails for one that has ended.
            let _ = one.child.kill();
        }
    }
}

/// Returns where this program is found: in its file, unless that was replaced by another version
/// meanwhile. A job goes on with the version that it began with.
fn this_program(file: &Path) -> &Path {
    let this = Path::new("/proc/self/exe");
    let identity = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    match identity(this) {
        Some(running) if identity(file) != Some(running) => this,
        _ => file,
    }
}

/// Prints what a process writes, line by line, until it has ended.
fn copy_lines(from: Option<impl Read>, print: impl Fn(&str)) {
    let Some(mut from) = from.map(BufReader::new) else { return };
    let mut line = Vec::new();
    while let Ok(1..) = from.by_ref().take(LINE_MAX).read_until(b'\n', &mut line) {
        print(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn lines_are_printed_one_by_one_and_long_ones_in_parts() {
        let long = "x".repeat(LINE_MAX as usize + 3);
        let written = format!("one\n\ntwo\r\n{long}\nand \u{fffd}").into_bytes();
        let lines = RefCell::new(Vec::new());
        copy_lines(Some(&written[..]), |line| lines.borrow_mut().push(line.to_owned()));
        let (part, rest) = long.split_at(LINE_MAX as usize);
        assert_eq!(lines.into_inner(), ["one", "", "two", part, rest, "and \u{fffd}"]);
    }
}
