//! The identity of a process, by which another process of the same machine sees that it is gone.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::sync::LazyLock;

/// A process, as other processes name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The name of its host.
    pub host: String,
    /// Its process id.
    pub pid: u32,
    /// The table of processes in which `pid` is its number: the boot of the kernel and the
    /// namespace. Empty where the system does not tell.
    pub machine: String,
    /// When it started, in ticks of the kernel since its boot: a later process may get the same id.
    pub started: u64,
}

static THIS: LazyLock<Process> = LazyLock::new(|| {
    let pid = std::process::id();
    Process {
        host: host().unwrap_or_else(|| "an unknown host".to_owned()),
        pid,
        machine: machine().unwrap_or_default(),
        started: started(pid).unwrap_or(0),
    }
});

impl Process {
    /// Returns this process.
    pub fn this() -> Process {
        THIS.clone()
    }

    /// Whether it is a process of this machine, and of the namespace of processes of this one, so
    /// that its end can be seen, and its clock is the same.
    pub fn is_here(&self) -> bool {
        !self.machine.is_empty() && self.machine == THIS.machine
    }

    /// Whether the process has ended. False if that cannot be known, as on another machine.
    pub fn is_gone(&self) -> bool {
        self.is_here() && started(self.pid) != Some(self.started)
    }
}

impl fmt::Display for Process {
    /// `process 4711 on alpha`
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "process {} on {}", self.pid, self.host)
    }
}

fn host() -> Option<String> {
    let read = |path| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let names = [
        read("/proc/sys/kernel/hostname"),
        std::env::var("HOSTNAME").ok(),
        std::env::var("COMPUTERNAME").ok(),
        read("/etc/hostname"),
    ];
    names.into_iter().flatten().find(|name| !name.is_empty())
}

fn machine() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), namespace.display()))
}

/// Returns when a process of this machine started, `None` if there is none that runs: fields 3 and
/// 22 of `/proc/PID/stat`, see proc_pid_stat(5).
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name of the program in parentheses, which may hold any character.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let has_ended = matches!(fields.next()?, "Z" | "X" | "x");
    let started = fields.nth(18)?.parse().ok()?;
    (!has_ended).then_some(started)
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    use super::*;
    #[cfg(target_os = "linux")]
    use std::process::{Command, Stdio};

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_that_was_killed_is_gone_and_a_later_one_with_its_id_is_another() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let this = Process::this();
        let pid = child.id();
        let child_process = Process { pid, started: started(pid).unwrap(), ..this.clone() };
        assert!(!child_process.is_gone() && !this.is_gone());
        child.kill().unwrap();
        // Nobody has waited for it yet, so the system still knows its id.
        while !child_process.is_gone() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(child_process.is_gone());
        let before = Process { started: this.started.wrapping_sub(1), ..this.clone() };
        assert!(before.is_gone());
        let elsewhere = Process { machine: "another".to_owned(), ..child_process };
        assert!(!elsewhere.is_gone(), "nothing is known of another machine");
    }
}
