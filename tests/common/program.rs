//! The real program, started as a person or a script starts it. Every wait is bounded, and no
//! process outlives its test.

use std::ffi::OsStr;
use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often what is waited for is looked at.
const GLANCE: Duration = Duration::from_millis(5);

/// The program, with its arguments to be added.
pub fn trendmark() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trendmark"));
    command.env_remove("RUST_LOG");
    command
}

/// Runs the program to its end.
pub fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Finished {
    Running::start(trendmark().args(arguments)).finish()
}

/// Waits until something is so.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        std::thread::sleep(GLANCE);
    }
}

/// A process that has started. It is killed when this is dropped.
pub struct Running {
    child: Child,
    command: String,
    stdout: File,
    stderr: File,
}

impl Running {
    /// Starts a command, whose output goes to files that have no names.
    pub fn start(command: &mut Command) -> Running {
        let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        command.stdin(Stdio::null());
        command.stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
        let child = command.spawn().unwrap();
        Running { child, command: format!("{command:?}"), stdout, stderr }
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until something is so, and fails at once if the process ends before.
    pub fn wait_until(&mut self, what: &str, mut is_so: impl FnMut() -> bool) {
        wait_until(what, || {
            let is_so = is_so();
            if !is_so && self.has_ended() {
                panic!("ended before {what}: {}", self.stderr());
            }
            is_so
        });
    }

    /// What it has written to standard error.
    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// Sends what Ctrl-C sends.
    pub fn interrupt(&self) {
        self.signal("INT");
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let (name, id) = (format!("-{name}"), self.id().to_string());
        assert!(Command::new("kill").args([name, id]).status().unwrap().success());
    }

    /// Stops all of its threads, as a machine does that hangs, until it is told to go on.
    pub fn stop(&mut self) {
        self.signal("STOP");
        let threads = format!("/proc/{}/task", self.id());
        self.wait_until("it is stopped", || {
            let threads = std::fs::read_dir(&threads).unwrap();
            threads.flatten().all(|thread| is_stopped(&thread.path()))
        });
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal("CONT");
    }

    /// Ends it as the system does when memory runs out.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Finished {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let (command, code) = (self.command.clone(), status.code());
                let (stdout, stderr) = (text(&self.stdout), text(&self.stderr));
                return Finished { command, code, stdout, stderr, waited: started.elapsed() };
            }
            if started.elapsed() >= PATIENCE {
                panic!("{} does not end: {}", self.command, self.stderr());
            }
            std::thread::sleep(GLANCE);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It fails when the process has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a thread is stopped, or has ended.
fn is_stopped(thread: &Path) -> bool {
    let status = std::fs::read_to_string(thread.join("status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_none_or(|state| state.trim_start().starts_with('T'))
}

/// Reads an open file from its start, through a position of its own: the file's is where the
/// process writes.
fn text(file: &File) -> String {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    let count = file.read_at(&mut bytes, 0).unwrap();
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

/// A process that has ended.
#[derive(Debug)]
pub struct Finished {
    pub command: String,
    /// None if a signal has ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// How long its end was waited for.
    pub waited: Duration,
}

impl Finished {
    /// Checks that it ended well.
    #[track_caller]
    pub fn succeeded(self) -> Finished {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// Checks that it ended with a code and that standard error says all of these.
    #[track_caller]
    pub fn failed(self, code: i32, said: &[&str]) -> Finished {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for said in said {
            assert!(self.stderr.contains(said), "not said: {said}\n{self:#?}");
        }
        self
    }
}

/// The processes of one job, process 0 first. They find each other through a file of hosts.
pub fn start_processes(
    processes: usize,
    hostfile: &Path,
    command: impl Fn(usize) -> Command,
) -> Vec<Running> {
    write_hostfile(processes, hostfile);
    let started = (0..processes).map(|process| {
        let mut command = command(process);
        command.arg("--processes").arg(processes.to_string());
        command.arg("--process").arg(process.to_string());
        command.arg("--hostfile").arg(hostfile);
        // Shorter than the patience of the test, so that one that cannot start is told.
        if !command.get_args().any(|argument| argument == "--launch-timeout") {
            command.args(["--launch-timeout", "20s"]);
        }
        Running::start(&mut command)
    });
    started.collect()
}

/// Runs the processes of a job to their ends, and again if another program took one of the ports
/// between their being found free and being used.
pub fn run_processes(
    processes: usize,
    hostfile: &Path,
    command: impl Fn(usize) -> Command,
) -> Vec<Finished> {
    const ATTEMPTS: usize = 5;
    for _ in 1..ATTEMPTS {
        let started = start_processes(processes, hostfile, &command);
        let finished: Vec<Finished> = started.into_iter().map(Running::finish).collect();
        if !finished.iter().any(|finished| finished.stderr.contains("Address already in use")) {
            return finished;
        }
    }
    panic!("no free ports in {ATTEMPTS} attempts");
}

/// Writes a file of hosts with ports of this machine that were free just now.
pub fn write_hostfile(processes: usize, hostfile: &Path) {
    // All are held at once, so that no two are the same.
    let listeners: Vec<TcpListener> =
        (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses = listeners.iter().map(|listener| listener.local_addr().unwrap().to_string());
    let addresses: Vec<String> = addresses.collect();
    std::fs::write(hostfile, addresses.join("\n") + "\n").unwrap();
}
