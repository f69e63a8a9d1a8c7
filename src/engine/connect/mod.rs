//! Connects the processes of a job with each other, before timely starts.
//!
//! Timely can do this itself, but it writes to standard output, waits for ever, and fails on a
//! connection from a stranger. Here, each process listens at its address for the processes after
//! it, and calls those before it. Each connection begins with the protocol of [`greeting`], so that
//! nobody else is taken for a process of the job, and no connection counts that the caller has
//! given up. Each call is answered on a thread of its own: a silent stranger delays nobody.
//!
//! Between process 0 and each other there is a second connection, for signs of life
//! ([`super::peers`]).

mod greeting;
#[cfg(test)]
mod tests;

use super::Cluster;
use crate::console;
use greeting::{Exchange, Greeting, Purpose, Refusal, Role, Timed, dropped};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// How long the exchange of greetings may take.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an attempt to connect may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
/// The maximum number of callers that are answered at once; more wait.
const ANSWERED_MAX: usize = 64;
const PAUSE: Duration = Duration::from_millis(50);
/// How often people are told who is waited for.
const MESSAGE_INTERVAL: Duration = Duration::from_secs(5);

/// The connections to the other processes, by their numbers.
#[derive(Debug)]
pub struct Connections {
    /// The connections for timely: one to each other process.
    pub data: Vec<Option<TcpStream>>,
    /// The connections for signs of life: between process 0 and each other.
    pub life: Vec<Option<TcpStream>>,
}

/// Connects this process with all others.
///
/// # Errors
/// If this process cannot listen at its address, or `stop` is set, or another process has other
/// settings or ends, or not all processes are connected in time.
pub fn connect(cluster: &Cluster, stop: &AtomicBool) -> Result<Connections, String> {
    let own = &cluster.addresses[cluster.process];
    let listen = || -> io::Result<TcpListener> {
        let listener = TcpListener::bind(own)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let listener = listen().map_err(|error| {
        format!(
            "cannot listen at {own}: {error}; is another job running here? Each process needs an \
             address of its own, see --hostfile"
        )
    })?;
    let mut meeting = Meeting::new(cluster)?;
    let started = Instant::now();
    while meeting.missing().next().is_some() {
        if stop.load(Ordering::Relaxed) {
            return Err("it was stopped before all processes were connected".into());
        }
        if started.elapsed() >= cluster.launch_timeout {
            return Err(meeting.timed_out());
        }
        let progressed = meeting.accept(&listener) | meeting.take_answered()? | meeting.call()?;
        meeting.check_alive()?;
        meeting.tell();
        if !progressed {
            std::thread::sleep(PAUSE);
        }
    }
    meeting.connections().map_err(|error| format!("a connection has failed: {error}"))
}

/// What this process tells others, and what it expects of them.
struct Party {
    greeting: Greeting,
    secret: Vec<u8>,
}

/// A connection that is needed.
struct Slot {
    process: usize,
    purpose: Purpose,
    /// The instance of the other process, and the connection.
    taken: Option<(u128, TcpStream)>,
    /// Why the last attempt failed.
    reason: Option<String>,
}

/// The result of answering a caller.
type Answered = (SocketAddr, Result<(Greeting, TcpStream), Refusal>);

/// The connections so far.
struct Meeting<'a> {
    cluster: &'a Cluster,
    party: Arc<Party>,
    slots: Vec<Slot>,
    /// The number of callers that are being answered.
    answering: usize,
    answered: (Sender<Answered>, Receiver<Answered>),
    told_at: Instant,
    /// Why the last call was not answered.
    dropped: Option<String>,
    /// Whether a process has another secret.
    has_other_secret: bool,
}

impl<'a> Meeting<'a> {
    fn new(cluster: &'a Cluster) -> Result<Meeting<'a>, String> {
        let processes = cluster.addresses.len();
        let greeting = Greeting {
            version: env!("CARGO_PKG_VERSION").into(),
            process: cluster.process,
            processes,
            workers: cluster.workers,
            settings: Greeting::shortened(&cluster.settings),
            purpose: Purpose::Data,
            instance: random_number().map_err(|error| format!("no random numbers: {error}"))?,
            challenge: 0,
        };
        let slot = |process, purpose| Slot { process, purpose, taken: None, reason: None };
        let others = (0..processes).filter(|&process| process != cluster.process);
        let slots = others.flat_map(|process| {
            let watches = cluster.process == 0 || process == 0;
            let life = watches.then(|| slot(process, Purpose::Life));
            [slot(process, Purpose::Data)].into_iter().chain(life)
        });
        Ok(Meeting {
            cluster,
            party: Arc::new(Party { greeting, secret: cluster.secret.clone() }),
            slots: slots.collect(),
            answering: 0,
            answered: channel(),
            told_at: Instant::now(),
            dropped: None,
            has_other_secret: false,
        })
    }

    fn missing(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| slot.taken.is_none())
    }

    /// Begins to answer the processes that call. Returns whether there was one.
    fn accept(&mut self, listener: &TcpListener) -> bool {
        if self.answering >= ANSWERED_MAX {
            return false;
        }
        let Ok((mut stream, address)) = listener.accept() else { return false };
        self.answering += 1;
        let (party, answered) = (Arc::clone(&self.party), self.answered.0.clone());
        std::thread::spawn(move || {
            let result = party.answer(&mut stream).map(|greeting| (greeting, stream));
            // The meeting may be over.
            let _ = answered.send((address, result));
        });
        true
    }

    /// Takes the connections that were answered. Returns whether there were any.
    fn take_answered(&mut self) -> Result<bool, String> {
        let mut progressed = false;
        while let Ok((address, result)) = self.answered.1.try_recv() {
            self.answering -= 1;
            progressed = true;
            let kept = result.and_then(|(other, stream)| self.keep(&other, stream));
            match kept {
                Ok(()) => {}
                Err(Refusal::Fatal(reason)) => return Err(reason),
                Err(refusal @ (Refusal::Dropped(_) | Refusal::OtherSecret)) => {
                    self.has_other_secret |= refusal == Refusal::OtherSecret;
                    let reason = refusal.reason();
                    let said = format!("the connection from {address} is dropped: {reason}");
                    tracing::warn!("{said}");
                    self.dropped = Some(said);
                }
            }
        }
        Ok(progressed)
    }

    /// Keeps a connection, if it is needed.
    fn keep(&mut self, other: &Greeting, stream: TcpStream) -> Result<(), Refusal> {
        let of_process = self.slots.iter_mut().filter(|slot| slot.process == other.process);
        let mut free = None;
        for slot in of_process {
            let is_this = slot.purpose == other.purpose;
            match &slot.taken {
                Some((instance, _)) if is_this || *instance != other.instance => {
                    let reason = format!("there is a process {} already", other.process);
                    return Err(Refusal::Dropped(reason));
                }
                _ if is_this => free = Some(slot),
                _ => {}
            }
        }
        if let Some(slot) = free {
            slot.taken = Some((other.instance, stream));
        }
        Ok(())
    }

    /// Calls the earlier processes that are missing. Returns whether one answered.
    fn call(&mut self) -> Result<bool, String> {
        let own = self.cluster.process;
        let mut progressed = false;
        let earlier = self.slots.iter_mut().filter(|slot| slot.process < own);
        for slot in earlier.filter(|slot| slot.taken.is_none()) {
            let address = &self.cluster.addresses[slot.process];
            let mut stream = match dial(address) {
                Ok(stream) => stream,
                // What an earlier call was told says more.
                Err(error) => {
                    slot.reason.get_or_insert(error.to_string());
                    continue;
                }
            };
            match self.party.greet(&mut stream, slot.process, slot.purpose) {
                Ok(other) => {
                    slot.taken = Some((other.instance, stream));
                    progressed = true;
                }
                Err(Refusal::Fatal(reason)) => return Err(reason),
                Err(refusal @ (Refusal::Dropped(_) | Refusal::OtherSecret)) => {
                    self.has_other_secret |= refusal == Refusal::OtherSecret;
                    slot.reason = Some(refusal.reason());
                }
            }
        }
        Ok(progressed)
    }

    /// Notices a process that ends before all have met.
    fn check_alive(&self) -> Result<(), String> {
        let gone = |slot: &&Slot| slot.taken.as_ref().is_some_and(|(_, stream)| has_ended(stream));
        match self.slots.iter().find(gone) {
            Some(slot) => Err(format!(
                "process {} at {} has ended the connection before all processes had met: its \
                 message says why; was it started twice?",
                slot.process, self.cluster.addresses[slot.process]
            )),
            None => Ok(()),
        }
    }

    /// Tells people from time to time who is waited for.
    fn tell(&mut self) {
        if self.told_at.elapsed() >= MESSAGE_INTERVAL && self.missing().next().is_some() {
            self.told_at = Instant::now();
            console::message(format_args!("run: waiting for {}", self.missing_text()));
        }
    }

    /// Names the processes that are missing, and what is known of each.
    fn missing_text(&self) -> String {
        let mut named: Vec<String> = self
            .missing()
            .map(|slot| {
                let (process, address) = (slot.process, &self.cluster.addresses[slot.process]);
                let reason = match &slot.reason {
                    Some(reason) => reason,
                    None if self.is_known(process) => "it has called, and fell silent",
                    None => "it has not called",
                };
                format!("process {process} at {address} ({reason})")
            })
            .collect();
        named.dedup();
        named.join(", ")
    }

    /// Whether there is another connection with a process.
    fn is_known(&self, process: usize) -> bool {
        self.slots.iter().any(|slot| slot.process == process && slot.taken.is_some())
    }

    fn timed_out(&self) -> String {
        let processes = self.cluster.addresses.len();
        let within_s = self.cluster.launch_timeout.as_secs_f64();
        let missing = self.missing_text();
        let dropped = self.dropped.as_ref().map(|said| format!("; {said}")).unwrap_or_default();
        let timed_out = format!(
            "not all {processes} processes connected within {within_s} s; missing: {missing}"
        );
        match self.has_other_secret {
            true => format!(
                "the processes of this job do not share a secret: give all of them the same \
                 --cluster-secret; {timed_out}{dropped}"
            ),
            false => format!(
                "{timed_out}; start each with its own --process and the same --processes and \
                 --hostfile{dropped}"
            ),
        }
    }

    /// Returns the connections, without timeouts.
    fn connections(self) -> io::Result<Connections> {
        let none = || self.cluster.addresses.iter().map(|_| None).collect();
        let mut connections = Connections { data: none(), life: none() };
        for slot in self.slots {
            let Some((_, stream)) = slot.taken else { continue };
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(None)?;
            stream.set_write_timeout(None)?;
            match slot.purpose {
                Purpose::Data => connections.data[slot.process] = Some(stream),
                Purpose::Life => connections.life[slot.process] = Some(stream),
            }
        }
        Ok(connections)
    }
}

impl Party {
    fn greeting(&self, purpose: Purpose) -> Result<Greeting, Refusal> {
        let challenge = random_number().map_err(|error| dropped(&error))?;
        Ok(Greeting { purpose, challenge, ..self.greeting.clone() })
    }

    /// Exchanges greetings with a process that was called, and returns its greeting.
    fn greet(
        &self,
        stream: &mut TcpStream,
        process: usize,
        purpose: Purpose,
    ) -> Result<Greeting, Refusal> {
        stream.set_nodelay(true).map_err(|error| dropped(&error))?;
        let mut timed = Timed { stream, deadline: Instant::now() + GREETING_TIMEOUT };
        let caller = self.greeting(purpose)?.to_bytes();
        timed.send_greeting(&caller)?;
        let (other, answerer) = timed.receive_greeting()?;
        let exchange = Exchange { caller, answerer };
        let proof = timed.receive()?;
        // Sent before the check, so that both sides can say that the secrets differ.
        timed.send(&exchange.proof(&self.secret, Role::Caller))?;
        exchange.check(&self.secret, Role::Answerer, proof)?;
        self.check(&other)?;
        if other.process != process {
            let expected = format!("it is {other}, and should be process {process}");
            return Err(Refusal::Dropped(expected));
        }
        Ok(other)
    }

    /// Exchanges greetings with a process that has called, and returns its greeting.
    fn answer(&self, stream: &mut TcpStream) -> Result<Greeting, Refusal> {
        stream
            .set_nonblocking(false)
            .and_then(|()| stream.set_nodelay(true))
            .map_err(|error| dropped(&error))?;
        let mut timed = Timed { stream, deadline: Instant::now() + GREETING_TIMEOUT };
        let (other, caller) = timed.receive_greeting()?;
        let answerer = self.greeting(other.purpose)?.to_bytes();
        timed.send_greeting(&answerer)?;
        let exchange = Exchange { caller, answerer };
        timed.send(&exchange.proof(&self.secret, Role::Answerer))?;
        exchange.check(&self.secret, Role::Caller, timed.receive()?)?;
        self.check(&other)?;
        if other.process <= self.greeting.process || other.process >= other.processes {
            return Err(Refusal::Dropped(format!("it is {other}, and this is {}", self.greeting)));
        }
        Ok(other)
    }

    /// Checks that a process of this job, which knows the secret, has the same settings.
    fn check(&self, other: &Greeting) -> Result<(), Refusal> {
        self.greeting.difference(other).map_or(Ok(()), |reason| Err(Refusal::Fatal(reason)))
    }
}

fn random_number() -> io::Result<u128> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(u128::from_ne_bytes(bytes))
}

/// Whether the other side has ended a connection. It may have sent something to timely already.
fn has_ended(stream: &TcpStream) -> bool {
    let peeked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    match peeked {
        Ok(read) => read == 0,
        Err(error) => !matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::TimedOut
        ),
    }
}

/// Connects to an address, which may resolve to several.
fn dial(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for resolved in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&resolved, ATTEMPT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
