//! Connects the processes of a job with each other, before timely starts.
//!
//! Timely can do this itself, but it writes to standard output, waits for ever, and fails on a
//! connection from a stranger. The protocol is similar: each process listens at its address for the
//! processes after it, and calls those before it. The caller sends a greeting, the other process
//! replies with its own, and the caller confirms. So nobody else is taken for a process of the job,
//! and no connection counts that the caller has given up.

use super::Cluster;
use crate::console;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The first bytes of a greeting.
const MAGIC: [u8; 8] = *b"trndmrk1";
/// How long a connected program may take for its greeting.
const GREETING_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a caller may take to confirm: it waits for that alone.
const CONFIRMATION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an attempt to connect may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(50);
/// How often people are told who is waited for.
const MESSAGE_INTERVAL: Duration = Duration::from_secs(5);

/// The first bytes that a process sends over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Greeting {
    process: usize,
    processes: usize,
    /// The workers of each process, which must be the same everywhere.
    workers: usize,
}

/// The bytes of a greeting.
const GREETING_BYTES: usize = 32;

/// Why a connection is not used.
enum Refusal {
    /// It is dropped, and another may come.
    Dropped(String),
    /// The job cannot start.
    Fatal(String),
}

/// Returns a connection to each other process, and `None` for this one.
///
/// # Errors
/// If this process cannot listen at its address, or `stop` is set, or not all processes are
/// connected in time.
pub fn connect(cluster: &Cluster, stop: &AtomicBool) -> Result<Vec<Option<TcpStream>>, String> {
    let own = &cluster.addresses[cluster.process];
    let listen = || -> io::Result<TcpListener> {
        let listener = TcpListener::bind(own)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let listener = listen().map_err(|error| format!("cannot listen at {own}: {error}"))?;
    let mut meeting = Meeting {
        cluster,
        connections: cluster.addresses.iter().map(|_| None).collect(),
        told_at: Instant::now(),
    };
    let started = Instant::now();
    while meeting.is_incomplete() {
        if stop.load(Ordering::Relaxed) {
            return Err("it was stopped before all processes were connected".into());
        }
        if started.elapsed() >= cluster.launch_timeout {
            return Err(meeting.timed_out());
        }
        let progressed = meeting.accept(&listener)? | meeting.call()?;
        meeting.tell();
        if !progressed {
            std::thread::sleep(PAUSE);
        }
    }
    Ok(meeting.connections)
}

/// The connections so far.
struct Meeting<'a> {
    cluster: &'a Cluster,
    connections: Vec<Option<TcpStream>>,
    told_at: Instant,
}

impl Meeting<'_> {
    fn missing(&self) -> impl Iterator<Item = usize> + '_ {
        let processes = 0..self.connections.len();
        processes.filter(|&process| {
            process != self.cluster.process && self.connections[process].is_none()
        })
    }

    fn is_incomplete(&self) -> bool {
        self.missing().next().is_some()
    }

    fn greeting(&self) -> Greeting {
        let Cluster { process, workers, .. } = *self.cluster;
        Greeting { process, processes: self.connections.len(), workers }
    }

    /// Answers the call of a later process. Returns whether there was one.
    fn accept(&mut self, listener: &TcpListener) -> Result<bool, String> {
        let Ok((mut stream, address)) = listener.accept() else { return Ok(false) };
        match self.answer(&mut stream) {
            Ok(process) => self.connections[process] = Some(stream),
            Err(Refusal::Fatal(reason)) => return Err(reason),
            Err(Refusal::Dropped(reason)) => {
                tracing::warn!("the connection from {address} is dropped: {reason}");
            }
        }
        Ok(true)
    }

    /// Calls the earlier processes that are missing. Returns whether one answered.
    fn call(&mut self) -> Result<bool, String> {
        let own = self.cluster.process;
        let earlier: Vec<usize> = self.missing().take_while(|&process| process < own).collect();
        let mut progressed = false;
        for process in earlier {
            let address = &self.cluster.addresses[process];
            let called = dial(address).map_err(|error| dropped(&error));
            match called.and_then(|mut stream| self.greet(&mut stream, process).map(|()| stream)) {
                Ok(stream) => {
                    self.connections[process] = Some(stream);
                    progressed = true;
                }
                Err(Refusal::Fatal(reason)) => return Err(reason),
                Err(Refusal::Dropped(reason)) => {
                    tracing::debug!("process {process} at {address} does not answer: {reason}");
                }
            }
        }
        Ok(progressed)
    }

    /// Exchanges greetings with a process that was called.
    fn greet(&self, stream: &mut TcpStream, process: usize) -> Result<(), Refusal> {
        prepare(stream)
            .and_then(|()| stream.write_all(&self.greeting().to_bytes()))
            .map_err(|error| dropped(&error))?;
        let other = read_greeting(stream)?;
        let expected = Greeting { process, ..self.greeting() };
        self.check_workers(other)?;
        if other != expected {
            return Err(Refusal::Dropped(format!("it is {other}, and should be {expected}")));
        }
        stream.write_all(&[CONFIRMATION]).map_err(|error| dropped(&error))?;
        without_timeouts(stream)
    }

    /// Exchanges greetings with a process that has called. Returns which one it is.
    fn answer(&self, stream: &mut TcpStream) -> Result<usize, Refusal> {
        prepare(stream).map_err(|error| dropped(&error))?;
        let (own, other) = (self.greeting(), read_greeting(stream)?);
        stream.write_all(&own.to_bytes()).map_err(|error| dropped(&error))?;
        self.check_workers(other)?;
        let is_later = other.process > own.process && other.process < own.processes;
        if other.processes != own.processes || !is_later {
            return Err(Refusal::Dropped(format!("it is {other}, and this is {own}")));
        }
        if self.connections[other.process].is_some() {
            return Err(Refusal::Dropped(format!("there is a process {} already", other.process)));
        }
        let mut confirmation = [0];
        stream
            .set_read_timeout(Some(CONFIRMATION_TIMEOUT))
            .and_then(|()| stream.read_exact(&mut confirmation))
            .map_err(|error| dropped(&error))?;
        without_timeouts(stream)?;
        Ok(other.process)
    }

    /// Timely needs the same number of workers in every process.
    fn check_workers(&self, other: Greeting) -> Result<(), Refusal> {
        let own = self.greeting();
        if other.processes != own.processes || other.workers == own.workers {
            return Ok(());
        }
        Err(Refusal::Fatal(format!(
            "process {} has --workers {}, and process {} has --workers {}: start all processes \
             with the same flags",
            other.process, other.workers, own.process, own.workers
        )))
    }

    /// Tells people from time to time who is waited for.
    fn tell(&mut self) {
        if self.told_at.elapsed() >= MESSAGE_INTERVAL && self.is_incomplete() {
            self.told_at = Instant::now();
            console::message(format_args!("run: waiting for {}", self.missing_text()));
        }
    }

    fn missing_text(&self) -> String {
        let named = self
            .missing()
            .map(|process| format!("process {process} at {}", self.cluster.addresses[process]));
        named.collect::<Vec<_>>().join(", ")
    }

    fn timed_out(&self) -> String {
        format!(
            "not all {} processes connected within {} s: there is no {}; start each with its own \
             --process and the same --processes and --hostfile",
            self.connections.len(),
            self.cluster.launch_timeout.as_secs_f64(),
            self.missing_text()
        )
    }
}

/// The byte by which a caller confirms.
const CONFIRMATION: u8 = 1;

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(GREETING_TIMEOUT))?;
    stream.set_write_timeout(Some(GREETING_TIMEOUT))
}

fn without_timeouts(stream: &TcpStream) -> Result<(), Refusal> {
    stream
        .set_read_timeout(None)
        .and_then(|()| stream.set_write_timeout(None))
        .map_err(|error| dropped(&error))
}

fn read_greeting(stream: &mut TcpStream) -> Result<Greeting, Refusal> {
    let mut bytes = [0; GREETING_BYTES];
    stream.read_exact(&mut bytes).map_err(|error| dropped(&error))?;
    Greeting::of(bytes).ok_or_else(|| Refusal::Dropped("it is no trendmark process".into()))
}

fn dropped(error: &io::Error) -> Refusal {
    Refusal::Dropped(match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "it sends nothing".into(),
        ErrorKind::UnexpectedEof => "it ends the connection".into(),
        _ => error.to_string(),
    })
}

/// Connects to an address, which may resolve to several.
fn dial(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::from(ErrorKind::NotFound);
    for resolved in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&resolved, ATTEMPT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Greeting {
    fn to_bytes(self) -> [u8; GREETING_BYTES] {
        let mut bytes = [0; GREETING_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        for (at, number) in [(8, self.process), (16, self.processes), (24, self.workers)] {
            bytes[at..at + 8].copy_from_slice(&(number as u64).to_be_bytes());
        }
        bytes
    }

    fn of(bytes: [u8; GREETING_BYTES]) -> Option<Greeting> {
        let number = |at: usize| {
            let bytes = bytes[at..at + 8].try_into().ok()?;
            usize::try_from(u64::from_be_bytes(bytes)).ok()
        };
        if bytes[..8] != MAGIC {
            return None;
        }
        Some(Greeting { process: number(8)?, processes: number(16)?, workers: number(24)? })
    }
}

impl fmt::Display for Greeting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "process {} of {}", self.process, self.processes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses<const COUNT: usize>() -> Vec<String> {
        let held: Vec<_> = (0..COUNT).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        held.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect()
    }

    fn cluster(process: usize, addresses: &[String], launch_timeout_ms: u64) -> Cluster {
        let launch_timeout = Duration::from_millis(launch_timeout_ms);
        Cluster { workers: 1, process, addresses: addresses.to_vec(), launch_timeout }
    }

    /// Connects all processes, and returns how many connections each has.
    fn connected(addresses: &[String]) -> Vec<usize> {
        std::thread::scope(|scope| {
            let processes: Vec<_> = (0..addresses.len())
                .map(|process| {
                    let cluster = cluster(process, addresses, 20_000);
                    scope.spawn(move || connect(&cluster, &AtomicBool::new(false)).unwrap())
                })
                .collect();
            let connections = processes.into_iter().map(|process| process.join().unwrap());
            connections.map(|connections| connections.iter().flatten().count()).collect()
        })
    }

    #[test]
    fn every_process_is_connected_with_every_other() {
        assert_eq!(connected(&addresses::<4>()), [3, 3, 3, 3]);
    }

    #[test]
    fn strangers_are_dropped() {
        let addresses = addresses::<2>();
        let first = addresses[0].clone();
        let strangers = std::thread::spawn(move || {
            let greetings = [
                b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
                Vec::new(),
                Greeting { process: 7, processes: 2, workers: 1 }.to_bytes().to_vec(),
                Greeting { process: 1, processes: 3, workers: 1 }.to_bytes().to_vec(),
                Greeting { process: 0, processes: 2, workers: 1 }.to_bytes().to_vec(),
            ];
            for greeting in greetings {
                let started = Instant::now();
                let mut stream = loop {
                    match dial(&first) {
                        Ok(stream) => break stream,
                        Err(_) if started.elapsed() < Duration::from_secs(10) => {}
                        Err(error) => panic!("{error}"),
                    }
                };
                let _ = stream.write_all(&greeting);
            }
        });
        let first = cluster(0, &addresses, 20_000);
        let second = cluster(1, &addresses, 20_000);
        std::thread::scope(|scope| {
            let first = scope.spawn(|| connect(&first, &AtomicBool::new(false)).unwrap());
            strangers.join().unwrap();
            let second = connect(&second, &AtomicBool::new(false)).unwrap();
            assert!(second[0].is_some() && second[1].is_none());
            let first = first.join().unwrap();
            assert!(first[0].is_none() && first[1].is_some());
        });
    }

    #[test]
    fn processes_with_different_numbers_of_workers_say_so() {
        let addresses = addresses::<2>();
        let processes = [0, 1].map(|process| Cluster {
            workers: process + 1,
            ..cluster(process, &addresses, 20_000)
        });
        std::thread::scope(|scope| {
            let connected = processes.each_ref().map(|process| {
                scope.spawn(|| connect(process, &AtomicBool::new(false)).unwrap_err())
            });
            for said in connected.map(|process| process.join().unwrap()) {
                assert!(said.contains("process 1 has --workers 2"), "{said}");
                assert!(said.contains("process 0 has --workers 1"), "{said}");
            }
        });
    }

    #[test]
    fn a_missing_process_is_named() {
        let addresses = addresses::<3>();
        let said = connect(&cluster(1, &addresses, 100), &AtomicBool::new(false)).unwrap_err();
        let expected = format!(
            "not all 3 processes connected within 0.1 s: there is no process 0 at {}, process 2 at \
             {}; start each",
            addresses[0], addresses[2]
        );
        assert!(said.starts_with(&expected), "{said}");
        let stopped = connect(&cluster(1, &addresses, 60_000), &AtomicBool::new(true));
        assert!(stopped.unwrap_err().contains("stopped"));
        let taken = TcpListener::bind(&addresses[1]).unwrap();
        let said = connect(&cluster(1, &addresses, 100), &AtomicBool::new(false)).unwrap_err();
        assert!(said.starts_with(&format!("cannot listen at {}: ", addresses[1])), "{said}");
        drop(taken);
    }
}
