//! What this process uses: processor time and memory, as Linux tells it.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often memory is sampled.
const INTERVAL: Duration = Duration::from_millis(10);
/// Ticks of processor time a second. Linux gives user space 100, whatever its own are.
const TICKS: f64 = 100.0;

/// The processor time of this process so far, in seconds: user, and system.
pub fn processor_s() -> [f64; 2] {
    let status = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in parentheses, may have spaces. User time is the 12th field after it.
    let after_name = status.rsplit(')').next().unwrap_or_default();
    let mut fields = after_name.split_whitespace().skip(11).map(|text| text.parse().unwrap_or(0.0));
    [(); 2].map(|()| fields.next().unwrap_or(0.0) / TICKS)
}

/// Lets the peak of [`peak_bytes`] begin again.
///
/// # Panics
/// When the system does not allow it: the peak would be that of the preparation.
pub fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").expect("the peak of memory can be reset");
}

/// The resident memory now, in bytes.
pub fn resident_bytes() -> u64 {
    status("VmRSS:")
}

/// The peak of resident memory, in bytes.
pub fn peak_bytes() -> u64 {
    status("VmHWM:")
}

fn status(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let kib: u64 = line.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0);
    kib << 10
}

/// The resident memory every 10 ms until `is_over`, in bytes.
pub fn sample(is_over: &AtomicBool) -> Vec<u64> {
    let mut samples = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        samples.push(resident_bytes());
        std::thread::sleep(INTERVAL);
    }
    samples
}

/// The most in each tenth of the samples.
pub fn tenths(samples: &[u64]) -> Vec<u64> {
    let part = samples.len().div_ceil(10).max(1);
    samples.chunks(part).map(|part| part.iter().copied().max().unwrap_or(0)).collect()
}
