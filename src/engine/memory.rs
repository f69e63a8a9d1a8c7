//! The memory of this process, and how much it may take.
//!
//! All state of the job counts, whoever holds it, so the memory of the process is measured and not
//! estimated. Near the limit, partitions wait for the slowest one, whose progress closes epochs and
//! frees their state. At the limit the job ends with an error, before the system kills it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often the memory is measured.
const INTERVAL: Duration = Duration::from_millis(50);
/// The share of the limit, in hundredths, from which partitions wait for the slowest one.
const SCARCE_PERCENT: u64 = 80;

/// The memory of this process.
#[derive(Debug)]
pub struct Memory {
    limit: u64,
    used: AtomicU64,
    began: Instant,
    /// The time of the last measurement, in milliseconds since `began`, plus 1; 0 before the first.
    measured_at: AtomicU64,
}

/// How much memory is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supply {
    /// Enough.
    Ample,
    /// Little: partitions must not run ahead.
    Scarce,
    /// None: the number of bytes that the process takes.
    Exhausted(u64),
}

impl Memory {
    /// Limits the memory of this process to a number of bytes.
    pub fn limited_to(limit: u64) -> Memory {
        let (used, measured_at) = (AtomicU64::new(0), AtomicU64::new(0));
        Memory { limit, used, began: Instant::now(), measured_at }
    }

    /// Returns the limit, in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns how much memory is left. Measures it from time to time.
    pub fn supply(&self) -> Supply {
        let now = self.began.elapsed().as_millis() as u64 + 1;
        let before = self.measured_at.load(Ordering::Relaxed);
        if before == 0 || now.saturating_sub(before) >= INTERVAL.as_millis() as u64 {
            self.measured_at.store(now, Ordering::Relaxed);
            self.used.store(resident().unwrap_or(0), Ordering::Relaxed);
        }
        supply(self.used.load(Ordering::Relaxed), self.limit)
    }
}

fn supply(used: u64, limit: u64) -> Supply {
    match used {
        used if used >= limit => Supply::Exhausted(used),
        used if used >= limit / 100 * SCARCE_PERCENT => Supply::Scarce,
        _ => Supply::Ample,
    }
}

/// Returns the anonymous memory of this process, in bytes; `None` where the system does not tell.
pub fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    kib(&status, "RssAnon:")
}

/// Returns the memory that this process may take, in bytes: what its control group or its machine
/// has. `None` where the system does not tell.
pub fn available() -> Option<u64> {
    let groups = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let group =
        groups.iter().find_map(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok());
    let machine = std::fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| kib(&text, "MemTotal:"));
    group.into_iter().chain(machine).min()
}

/// Returns the bytes in a line such as `MemTotal:  1024 kB`.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(number << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_scarce_from_four_fifths_of_the_limit() {
        let supplies = [0, 79, 80, 99, 100, 200].map(|used| supply(used * 10, 1_000));
        let expected = [
            Supply::Ample,
            Supply::Ample,
            Supply::Scarce,
            Supply::Scarce,
            Supply::Exhausted(1_000),
            Supply::Exhausted(2_000),
        ];
        assert_eq!(supplies, expected);
        assert_eq!(kib("A: 1 kB\nMemTotal:  1024 kB\n", "MemTotal:"), Some(1 << 20));
        assert_eq!(kib("A: 1 kB\n", "MemTotal:"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_memory_of_this_process_is_measured() {
        let before = resident().unwrap();
        let block = vec![1_u8; 64 << 20];
        assert!(resident().unwrap() >= before + (60 << 20));
        drop(block);
        assert!(available().unwrap() > 64 << 20);
        assert_eq!(Memory::limited_to(1 << 40).supply(), Supply::Ample);
        assert!(matches!(Memory::limited_to(1 << 10).supply(), Supply::Exhausted(_)));
    }
}
