//! The real program, started as a user or a script starts it. Every wait is bounded, and no process
//! outlives its test.

use std::ffi::OsStr;
use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The longest wait for anything before the test fails.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
/// The pause between two checks of a condition.
const POLL_PAUSE: Duration = Duration::from_millis(5);

/// The program without arguments.
pub fn trendmark() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trendmark"));
    command.env_remove("RUST_LOG");
    command
}

/// Runs the program to its end.
pub fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Finished {
    Running::start(trendmark().args(arguments)).finish()
}

/// Waits until a condition holds.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < WAIT_MAX, "waited {WAIT_MAX:?}, but not true: {what}");
        std::thread::sleep(POLL_PAUSE);
    }
}

/// A process that has been started. It is killed on drop.
pub struct Running {
    child: Child,
    command: String,
    stdout: File,
    stderr: File,
}

impl Running {
    /// Starts a command with its output redirected to unnamed temporary files.
    pub fn start(command: &mut Command) -> Running {
        let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        command.stdin(Stdio::null());
        command.stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
        let child = command.spawn().unwrap();
        Running { child, command: format!("{command:?}"), stdout, stderr }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until a condition holds, and fails at once if the process ends earlier.
    pub fn wait_until(&mut self, what: &str, mut is_so: impl FnMut() -> bool) {
        wait_until(what, || {
            let is_so = is_so();
            if !is_so && self.has_ended() {
                panic!("ended before this was true: {what}: {}", self.stderr());
            }
            is_so
        });
    }

    /// Waits until its standard error contains a text.
    pub fn wait_until_said(&mut self, text: &str) {
        let started = Instant::now();
        while !self.stderr().contains(text) {
            assert!(started.elapsed() < WAIT_MAX && !self.has_ended(), "{text}: {}", self.stderr());
            std::thread::sleep(POLL_PAUSE);
        }
    }

    /// Its standard error so far.
    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// Sends the signal of Ctrl-C.
    pub fn interrupt(&self) {
        self.signal("INT");
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let (name, id) = (format!("-{name}"), self.id().to_string());
        assert!(Command::new("kill").args([name, id]).status().unwrap().success());
    }

    /// Suspends all its threads, like a machine that hangs, until [`Running::go_on`].
    pub fn suspend(&mut self) {
        self.signal("STOP");
        let threads = format!("/proc/{}/task", self.id());
        self.wait_until("all threads are suspended", || {
            let threads = std::fs::read_dir(&threads).unwrap();
            threads.flatten().all(|thread| is_stopped(&thread.path()))
        });
    }

    /// Resumes it.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Kills it with SIGKILL, as the system does when memory runs out.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits until it ends.
    pub fn finish(mut self) -> Finished {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let (command, code) = (self.command.clone(), status.code());
                let (stdout, stderr) = (text(&self.stdout), text(&self.stderr));
                return Finished { command, code, stdout, stderr, waited: started.elapsed() };
            }
            if started.elapsed() >= WAIT_MAX {
                panic!("{} does not end: {}", self.command, self.stderr());
            }
            std::thread::sleep(POLL_PAUSE);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails if the process has ended already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a thread is suspended or has ended.
fn is_stopped(thread: &Path) -> bool {
    let status = std::fs::read_to_string(thread.join("status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_none_or(|state| state.trim_start().starts_with('T'))
}

/// Reads an open file from its start. It does not move the file's own position, which is where the
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
    /// The exit code; `None` if a signal ended the process.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// The time that [`Running::finish`] waited.
    pub waited: Duration,
}

impl Finished {
    /// Checks that it ended with code 0.
    #[track_caller]
    pub fn succeeded(self) -> Finished {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// Checks the exit code, and that standard error contains all of these texts.
    #[track_caller]
    pub fn failed(self, code: i32, said: &[&str]) -> Finished {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for said in said {
            assert!(self.stderr.contains(said), "missing: {said}\n{self:#?}");
        }
        self
    }
}

/// Starts the processes of one job, process 0 first. They find each other through a host file.
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
        // Shorter than `WAIT_MAX`, so that a failed launch is reported as such.
        if !command.get_args().any(|argument| argument == "--launch-timeout") {
            command.args(["--launch-timeout", "20s"]);
        }
        Running::start(&mut command)
    });
    started.collect()
}

/// Runs the processes of a job until they end; again if another program has taken one of the ports
/// between the search for free ports and their use.
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

/// The number of ports for host files, from this one. They lie below the ports that the system
/// gives to outgoing connections, which may take any of those before a job listens on it.
const PORTS: (u32, u32) = (20_000, 12_000);
/// The number of ports that this process has tried.
static PORTS_TRIED: AtomicU32 = AtomicU32::new(0);

/// Binds the next free port for a host file.
fn free_port() -> TcpListener {
    let (first, number) = PORTS;
    let start = std::process::id().wrapping_mul(97);
    for _ in 0..number {
        let port = first + start.wrapping_add(PORTS_TRIED.fetch_add(1, Ordering::Relaxed)) % number;
        if let Ok(listener) = TcpListener::bind(format!("127.0.0.1:{port}")) {
            return listener;
        }
    }
    panic!("no port from {first} on is free");
}

/// Writes a host file with local ports that are free at the moment.
pub fn write_hostfile(processes: usize, hostfile: &Path) {
    // All ports are held at once, so that no two are the same.
    let listeners: Vec<TcpListener> = (0..processes).map(|_| free_port()).collect();
    let addresses = listeners.iter().map(|listener| listener.local_addr().unwrap().to_string());
    let addresses: Vec<String> = addresses.collect();
    std::fs::write(hostfile, addresses.join("\n") + "\n").unwrap();
}
