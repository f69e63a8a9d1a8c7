//! The other processes of a job while it runs: are they alive?
//!
//! Process 0 and each other process send each other a byte twice a second ([`BEAT`]), over a
//! connection of their own, from threads that do nothing else. So a process counts as alive however
//! busy its workers are. A process that is frozen, or whose network or machine is gone, is named
//! within ten seconds, and one that has ended is named at once. Then this process ends too, which
//! the others notice: a job cannot go on without one of its processes, and nothing committed is
//! lost.

use crate::console;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A sign of life.
const BEAT: u8 = 1;
/// The last byte of a process whose part of the job is over.
const GOODBYE: u8 = 2;
/// The interval between signs of life.
const INTERVAL: Duration = Duration::from_millis(500);
/// How long a process may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(8);
/// If this process itself came to look so late, it was frozen, and the silence of others tells
/// nothing.
const LATE: Duration = Duration::from_secs(2);

/// The threads that watch the other processes.
#[derive(Debug, Default)]
pub struct Peers {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What is known of another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Alive,
    /// It has said goodbye.
    Over,
    /// Its connection has ended without a goodbye.
    Gone,
    Frozen,
}

/// What a look at a connection has given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    Beat,
    Goodbye,
    End,
}

/// How long another process has been silent.
#[derive(Debug, Default)]
struct Silence(Duration);

impl Silence {
    /// Decides after a look at the connection, `elapsed` after the look before.
    fn judge(&mut self, heard: Heard, elapsed: Duration) -> Verdict {
        match heard {
            Heard::Goodbye => return Verdict::Over,
            Heard::End => return Verdict::Gone,
            Heard::Beat => self.0 = Duration::ZERO,
            Heard::Nothing if elapsed >= LATE => self.0 = Duration::ZERO,
            Heard::Nothing => self.0 += elapsed,
        }
        if self.0 >= SILENCE_MAX { Verdict::Frozen } else { Verdict::Alive }
    }
}

impl Peers {
    /// Watches the processes at the other ends of these connections. If one of them is gone, this
    /// process ends with exit code 1 and a message.
    pub fn watch(connections: Vec<Option<TcpStream>>, addresses: &[String]) -> Peers {
        let is_over = Arc::new(AtomicBool::new(false));
        let connected = connections.into_iter().zip(addresses).enumerate();
        let threads = connected.filter_map(|(process, (stream, address))| {
            let (mut stream, address) = (stream?, address.clone());
            let is_over = Arc::clone(&is_over);
            Some(std::thread::spawn(move || {
                let verdict = follow(&mut stream, &is_over);
                if let Some(said) = described(verdict, process, &address) {
                    console::fail(said);
                }
            }))
        });
        Peers { threads: threads.collect(), is_over }
    }

    /// Says goodbye to the others.
    pub fn finish(self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            // A thread that has panicked has ended the process.
            let _ = thread.join();
        }
    }
}

/// Exchanges signs of life until one side says goodbye or is gone.
fn follow(stream: &mut TcpStream, is_over: &AtomicBool) -> Verdict {
    let mut silence = Silence::default();
    let mut looked_at = Instant::now();
    loop {
        if is_over.load(Ordering::Relaxed) {
            let _ = stream.write_all(&[GOODBYE]);
            return Verdict::Over;
        }
        // If it is not read by the other side, there is no room for it in the end: that is silence.
        let _ = stream.set_nonblocking(true).map(|()| stream.write(&[BEAT]));
        let heard = listen(stream, is_over);
        let verdict = silence.judge(heard, looked_at.elapsed());
        looked_at = Instant::now();
        if verdict != Verdict::Alive {
            return verdict;
        }
    }
}

/// Reads what has arrived after an interval.
fn listen(stream: &mut TcpStream, is_over: &AtomicBool) -> Heard {
    const STEP: Duration = Duration::from_millis(20);
    let began = Instant::now();
    let mut heard = Heard::Nothing;
    let mut bytes = [0; 64];
    while began.elapsed() < INTERVAL && !is_over.load(Ordering::Relaxed) {
        match stream.read(&mut bytes) {
            Ok(0) => return Heard::End,
            Ok(read) if bytes[..read].contains(&GOODBYE) => return Heard::Goodbye,
            Ok(_) => heard = Heard::Beat,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                std::thread::sleep(STEP);
            }
            Err(_) => return Heard::End,
        }
    }
    heard
}

fn described(verdict: Verdict, process: usize, address: &str) -> Option<String> {
    match verdict {
        Verdict::Alive | Verdict::Over => None,
        Verdict::Gone => Some(format!(
            "process {process} at {address} has ended before the job was over, which ends all \
             processes of the job; its message says why"
        )),
        Verdict::Frozen => Some(format!(
            "process {process} at {address} has not answered for {} s: it is frozen, or its \
             machine or network is down, which ends all processes of the job",
            SILENCE_MAX.as_secs()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at these intervals, in milliseconds, with what was heard: `-` nothing, `b` a beat,
    /// `g` a goodbye, `e` the end.
    fn verdict(looks: &[(char, u64)]) -> Verdict {
        let mut silence = Silence::default();
        let mut last = Verdict::Alive;
        for (heard, elapsed_ms) in looks {
            let heard = match heard {
                'b' => Heard::Beat,
                'g' => Heard::Goodbye,
                'e' => Heard::End,
                _ => Heard::Nothing,
            };
            last = silence.judge(heard, Duration::from_millis(*elapsed_ms));
        }
        last
    }

    #[test]
    fn eight_seconds_of_silence_are_too_long_unless_this_process_was_frozen_itself() {
        let cases: [(&[(char, u64)], Verdict); 8] = [
            (&[('b', 500)], Verdict::Alive),
            (&[('-', 1_900); 4], Verdict::Alive),
            (&[('-', 1_900); 5], Verdict::Frozen),
            (&[('-', 1_900), ('-', 1_900), ('-', 1_900), ('b', 500), ('-', 1_900)], Verdict::Alive),
            (&[('-', 60_000)], Verdict::Alive),
            (&[('-', 1_900), ('-', 1_900), ('-', 9_000), ('-', 1_900)], Verdict::Alive),
            (&[('g', 500)], Verdict::Over),
            (&[('b', 500), ('e', 500)], Verdict::Gone),
        ];
        for (looks, expected) in cases {
            assert_eq!(verdict(looks), expected, "{looks:?}");
        }
    }

    #[test]
    fn one_process_says_goodbye_and_another_does_not() {
        let pair = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (one, listener.accept().unwrap().0)
        };
        let (here, mut there) = pair();
        let peers = Peers::watch(vec![None, Some(here)], &["a".into(), "b".into()]);
        let watching = std::thread::spawn(move || follow(&mut there, &AtomicBool::new(false)));
        peers.finish();
        assert_eq!(watching.join().unwrap(), Verdict::Over);
        let (here, mut there) = pair();
        drop(here);
        assert_eq!(follow(&mut there, &AtomicBool::new(false)), Verdict::Gone);
    }
}
